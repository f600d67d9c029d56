//! The stored form of headers, both ways.

use super::TIME;
use super::record::{Raw, headers};
use crate::message::{headers_from_json, headers_to_json};

/// The form of what stands in the column, and two texts in it.
type Stored = (u8, String, String);

#[test]
fn headers_read_back_as_they_were_written_and_whatever_else_is_stored_is_read_or_refused() {
    bolero::check!().with_test_time(TIME).with_type::<(Vec<Raw>, Stored)>().for_each(|(raw, stored)| {
        read_back(raw);
        read_or_refused(stored);
    });
}

fn read_back(raw: &[Raw]) {
    let headers = headers(raw);
    let Some(stored) = headers_to_json(&headers) else {
        assert!(headers.is_empty());
        return;
    };
    assert_eq!(headers_from_json(&stored), Ok(headers), "{stored}");
    let value: serde_json::Value = serde_json::from_str(&stored).unwrap();
    assert!(!holds_nul(&value), "jsonb cannot hold {stored}");
}

fn read_or_refused((form, name, value): &Stored) {
    let (name, value) = (serde_json::to_string(name).unwrap(), serde_json::to_string(value).unwrap());
    let stored = match form % 8 {
        0 => name,
        1 => format!("[[{name}, {value}]]"),
        2 => format!("[[{name}, {{\"base64\": {value}}}]]"),
        3 => format!("[[{name}, {{\"base64\": {value}, \"more\": 1}}]]"),
        4 => format!("[[{{\"base64\": {name}}}, null]]"),
        5 => format!("[[{name}, {value}, null]]"),
        6 => format!("[[{name}]"),
        _ => format!("[[{name}, [{value}]]]"),
    };
    let Ok(headers) = headers_from_json(&stored) else { return };
    let again = headers_to_json(&headers).unwrap();
    assert_eq!(headers_from_json(&again), Ok(headers), "{stored} became {again}");
}

fn holds_nul(value: &serde_json::Value) -> bool {
    match value.as_array() {
        Some(list) => list.iter().any(holds_nul),
        None => value.as_str().is_some_and(|text| text.contains('\0')),
    }
}
