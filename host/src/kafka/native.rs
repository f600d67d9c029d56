//! What rdkafka does not wrap, through librdkafka's C interface.
#![expect(
    unsafe_code,
    reason = "rdkafka panics on header names that are not UTF-8, and has no topic ids and only some of the mock cluster"
)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::{ptr, slice};

use rdkafka::bindings as c;
use rdkafka::message::BorrowedMessage;
use uuid::Uuid;

use crate::message::{Header, HeaderName};

/// The record's headers, whatever bytes their names have: rdkafka's own reading panics on names that
/// are not UTF-8, and a hostile record would do so again on every redelivery.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut list = ptr::null_mut();
    // SAFETY: the message is alive; the list that is given out is owned by it.
    let status = unsafe { c::rd_kafka_message_headers(message.ptr(), &raw mut list) };
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

/// Kafka's id of a topic: one that was deleted and made again has another. `None` where the cluster
/// does not know the topic, or does not answer within the time.
pub(super) fn topic_id(client: *mut c::rd_kafka_t, topic: &str, timeout_ms: i32) -> Option<Uuid> {
    let name = CString::new(topic).ok()?;
    let mut names = [name.as_ptr()];
    // SAFETY: the client outlives the call; queue, collection, options and event are made and destroyed
    // here; the description is read before its event is destroyed.
    unsafe {
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options =
            c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let queue = c::rd_kafka_queue_new(client);
        c::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = c::rd_kafka_queue_poll(queue, timeout_ms);
        let id = described_id(event);
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        id
    }
}

/// # Safety
/// `event` is null or an event that is alive.
unsafe fn described_id(event: *mut c::rd_kafka_event_t) -> Option<Uuid> {
    // SAFETY: every pointer is checked, and all belong to the event.
    unsafe {
        let result = (!event.is_null()).then(|| c::rd_kafka_event_DescribeTopics_result(event))?;
        let mut count = 0_usize;
        let descriptions =
            (!result.is_null()).then(|| c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count))?;
        let description = *(count > 0 && !descriptions.is_null()).then_some(descriptions)?;
        let id = c::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return None;
        }
        let high = c::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
        let low = c::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
        let id = Uuid::from_u64_pair(high, low);
        (!id.is_nil()).then_some(id)
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
