//! Functions of librdkafka that rdkafka does not wrap, through its C interface.
#![expect(
    unsafe_code,
    reason = "rdkafka panics on header names that are not UTF-8, and has no topic ids, no isolation levels and only \
              some of the mock cluster"
)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::{ptr, slice};

use rdkafka::bindings as c;
use rdkafka::types::RDKafkaErrorCode as Code;
use uuid::Uuid;

use crate::message::{Header, HeaderName, Record};

/// The record of a message that a consumer was given.
///
/// # Safety
/// The message is alive, with its topic.
pub(super) unsafe fn record(message: &c::rd_kafka_message_t) -> Record {
    let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: key and payload have the lengths that stand beside them, and are copied.
    unsafe {
        Record {
            partition: message.partition,
            offset: message.offset,
            key: bytes(message.key, message.key_len),
            payload: bytes(message.payload, message.len),
            headers: headers(message),
            timestamp_ms: c::rd_kafka_message_timestamp(message, &raw mut kind).max(0),
        }
    }
}

/// # Safety
/// `start` is null or has so many bytes behind it.
unsafe fn bytes(start: *const c_void, length: usize) -> Option<Vec<u8>> {
    // SAFETY: as promised by the caller.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) }.to_vec())
}

/// The headers, whatever bytes their names have: rdkafka's own reading panics on names that are not UTF-8, and a
/// hostile record would do so again on every redelivery.
///
/// # Safety
/// The message is alive.
unsafe fn headers(message: *const c::rd_kafka_message_t) -> Vec<Header> {
    let mut list = ptr::null_mut();
    // SAFETY: the list that is given out is owned by the message.
    let status = unsafe { c::rd_kafka_message_headers(message, &raw mut list) };
    if status != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
        return Vec::new();
    }
    (0..).map_while(|index| header(list, index)).collect()
}

fn header(list: *const c::rd_kafka_headers_t, index: usize) -> Option<Header> {
    let mut name: *const c_char = ptr::null();
    let mut value: *const c_void = ptr::null();
    let mut size = 0_usize;
    // SAFETY: the list is alive; name and value point into it, and are copied before it ends.
    unsafe {
        let status = c::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size);
        if status != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return None;
        }
        let name = CStr::from_ptr(name).to_bytes().to_vec();
        let name = String::from_utf8(name)
            .map_or_else(|error| HeaderName::Bytes(error.into_bytes()), HeaderName::Text);
        let value = (!value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
        Some(Header { name, value })
    }
}

/// Gives a client the name and the password with which it logs in from now on.
///
/// # Errors
/// Says why librdkafka does not take them.
pub(super) fn log_in_as(client: *mut c::rd_kafka_t, name: &str, password: &str) -> Result<(), String> {
    let text = |text| CString::new(text).map_err(|_| "a name or password has a zero byte".to_owned());
    let (name, password) = (text(name)?, text(password)?);
    // SAFETY: the client outlives the call, which copies both; the error is read before it is destroyed.
    unsafe {
        let error = c::rd_kafka_sasl_set_credentials(client, name.as_ptr(), password.as_ptr());
        if error.is_null() {
            return Ok(());
        }
        let problem = CStr::from_ptr(c::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        c::rd_kafka_error_destroy(error);
        Err(problem)
    }
}

/// Description of one topic by the cluster.
pub(super) struct Description {
    pub(super) name: String,
    /// No error: the topic is there.
    pub(super) error: Code,
    /// Nil where the cluster has no topic ids.
    pub(super) id: Uuid,
    pub(super) partitions: Vec<i32>,
    /// Partitions of which no broker that lives is the leader.
    pub(super) leaderless: Vec<i32>,
}

/// Asks for topics in one request. Each that was asked for is answered.
///
/// # Errors
/// Where the cluster does not answer within the time, or refuses the request as a whole.
pub(super) fn describe_topics(
    client: *mut c::rd_kafka_t,
    topics: &[String],
    timeout_ms: i32,
) -> Result<Vec<Description>, Code> {
    let names: Result<Vec<CString>, _> = topics.iter().map(|name| CString::new(name.as_str())).collect();
    let names = names.map_err(|_| Code::InvalidTopic)?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the client and the names outlive the call; queue, collection, options and event are made and
    // destroyed here; the descriptions are read before their event is destroyed.
    unsafe {
        let topics = c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options =
            c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        c::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let queue = c::rd_kafka_queue_new(client);
        c::rd_kafka_DescribeTopics(client, topics, options, queue);
        // The request ends by itself within its timeout; a little more is for the way.
        let event = c::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1_000));
        let described = if event.is_null() { Err(Code::OperationTimedOut) } else { descriptions(event) };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        described
    }
}

/// # Safety
/// `event` is the result of a DescribeTopics request, and alive.
unsafe fn descriptions(event: *mut c::rd_kafka_event_t) -> Result<Vec<Description>, Code> {
    // SAFETY: every pointer is checked, and all belong to the event.
    unsafe {
        let error = c::rd_kafka_event_error(event);
        if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(Code::BadMessage);
        }
        let mut count = 0_usize;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let topics = if topics.is_null() { &[] } else { slice::from_raw_parts(topics, count) };
        Ok(topics.iter().map(|topic| description(*topic)).collect())
    }
}

/// # Safety
/// `topic` belongs to an event that is alive.
unsafe fn description(topic: *const c::rd_kafka_TopicDescription_t) -> Description {
    // SAFETY: what is read belongs to the description, and is copied.
    unsafe {
        let name = CStr::from_ptr(c::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        // No error is null, whose code is "no error".
        let error = c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(topic)).into();
        let id = c::rd_kafka_TopicDescription_topic_id(topic);
        let id = if id.is_null() {
            Uuid::nil()
        } else {
            let high = c::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
            let low = c::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
            Uuid::from_u64_pair(high, low)
        };
        let mut count = 0_usize;
        let infos = c::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let infos = if infos.is_null() { &[] } else { slice::from_raw_parts(infos, count) };
        let number = |info: &_| c::rd_kafka_TopicPartitionInfo_partition(*info);
        let is_leaderless = |info: &&_| {
            let leader = c::rd_kafka_TopicPartitionInfo_leader(**info);
            leader.is_null() || c::rd_kafka_Node_id(leader) < 0
        };
        Description {
            name,
            error,
            id,
            partitions: infos.iter().map(number).collect(),
            leaderless: infos.iter().filter(is_leaderless).map(number).collect(),
        }
    }
}

/// Stands for the end of a log, as `RD_KAFKA_OFFSET_SPEC_LATEST` does.
const LATEST: i64 = -1;

/// Asks where partitions of a topic end, with records of open transactions. Each that was asked for is answered.
///
/// # Errors
/// Where the cluster does not answer within the time, or does not tell the end of one.
pub(super) fn log_ends(
    client: *mut c::rd_kafka_t,
    topic: &str,
    partitions: &[i32],
    timeout_ms: i32,
) -> Result<BTreeMap<i32, i64>, Code> {
    let topic = CString::new(topic).map_err(|_| Code::InvalidTopic)?;
    // SAFETY: the client and the name outlive the call; list, options, queue and event are made and destroyed here; an
    // element that was added is written before the next is; ends are read before their event is destroyed.
    unsafe {
        let list = c::rd_kafka_topic_partition_list_new(i32::try_from(partitions.len()).unwrap_or(0));
        for partition in partitions {
            let element = c::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), *partition);
            (*element).offset = LATEST;
        }
        let options =
            c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
        c::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let level = c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED;
        // No error is null, and destroying it does nothing.
        c::rd_kafka_error_destroy(c::rd_kafka_AdminOptions_set_isolation_level(options, level));
        let queue = c::rd_kafka_queue_new(client);
        c::rd_kafka_ListOffsets(client, list, options, queue);
        // The request ends by itself within its timeout; a little more is for the way.
        let event = c::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1_000));
        let listed = if event.is_null() { Err(Code::OperationTimedOut) } else { listed(event) };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_topic_partition_list_destroy(list);
        listed
    }
}

/// # Safety
/// `event` is the result of a ListOffsets request, and alive.
unsafe fn listed(event: *mut c::rd_kafka_event_t) -> Result<BTreeMap<i32, i64>, Code> {
    // SAFETY: every pointer is checked, and all belong to the event.
    unsafe {
        let error = c::rd_kafka_event_error(event);
        if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let result = c::rd_kafka_event_ListOffsets_result(event);
        if result.is_null() {
            return Err(Code::BadMessage);
        }
        let mut count = 0_usize;
        let infos = c::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        let infos = if infos.is_null() { &[] } else { slice::from_raw_parts(infos, count) };
        let places = infos.iter().map(|info| c::rd_kafka_ListOffsetsResultInfo_topic_partition(*info));
        let end = |place: &c::rd_kafka_topic_partition_t| {
            let error = Code::from(place.err);
            if error == Code::NoError { Ok((place.partition, place.offset)) } else { Err(error) }
        };
        places.filter_map(|place| place.as_ref()).map(end).collect()
    }
}

/// Mends the mock cluster that belongs to this client, if there is one. It names broker 0 as its
/// controller and has none, so that questions for topic ids would wait in vain; and it makes the first
/// member of a group wait for three seconds.
pub(super) fn mend_mock_cluster(client: *mut c::rd_kafka_t) {
    // SAFETY: the client is alive, and with it the cluster that it owns.
    unsafe {
        let cluster = c::rd_kafka_handle_mock_cluster(client);
        if !cluster.is_null() {
            c::rd_kafka_mock_broker_add(cluster, 0);
            c::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 100);
        }
    }
}

/// The names of all of librdkafka's properties, aliases included, as it prints them.
#[cfg(test)]
pub(super) fn property_names() -> Vec<String> {
    unsafe extern "C" {
        fn tmpfile() -> *mut c_void;
        fn rewind(file: *mut c_void);
        fn fgetc(file: *mut c_void) -> std::ffi::c_int;
        fn fclose(file: *mut c_void) -> std::ffi::c_int;
    }
    let mut text = Vec::new();
    // SAFETY: the file is open until it is closed, once.
    unsafe {
        let file = tmpfile();
        assert!(!file.is_null());
        c::rd_kafka_conf_properties_show(file.cast());
        rewind(file);
        text.extend(std::iter::from_fn(|| u8::try_from(fgetc(file)).ok()));
        fclose(file);
    }
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| line.split_once('|')).map(|(name, _)| name.trim());
    let is_name = |name: &&str| !name.is_empty() && *name != "Property" && !name.starts_with('-');
    names.filter(is_name).map(str::to_owned).collect()
}
