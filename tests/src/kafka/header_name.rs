//! Headers with any bytes for a name. The client's own builder takes text only, and what the host does
//! with a name that is not UTF-8 is one of the things to show.

#![expect(unsafe_code, reason = "librdkafka takes a name of any bytes, the client's safe builder only text")]

use anyhow::{Result, ensure};
use rdkafka::bindings;
use rdkafka::message::{BorrowedHeaders, OwnedHeaders};

/// The headers in their order; `None` where there are none.
pub(super) fn headers(list: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<Option<OwnedHeaders>> {
    if list.is_empty() {
        return Ok(None);
    }
    let headers = OwnedHeaders::new_with_capacity(list.len());
    for (name, value) in list {
        let at = std::ptr::from_ref::<BorrowedHeaders>(headers.as_borrowed());
        let value_at = value.as_ref().map_or(std::ptr::null(), |value| value.as_ptr());
        let value_size = value.as_ref().map_or(0, Vec::len);
        // SAFETY: `at` points to librdkafka's own list, of which `headers` is the only owner and which no
        // reference outlives; name and value are copied, with the sizes given.
        let code = unsafe {
            bindings::rd_kafka_header_add(
                at.cast_mut().cast::<bindings::rd_kafka_headers_t>(),
                name.as_ptr().cast(),
                isize::try_from(name.len())?,
                value_at.cast(),
                isize::try_from(value_size)?,
            )
        };
        ensure!(
            code == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            "header refused: {code:?}"
        );
    }
    Ok(Some(headers))
}
