//! Reading a message: its JSON payload, its headers, and bytes that may be text.
//!
//! Nothing is copied that is not asked for, and nothing is guessed: a payload that cannot be read
//! is an answer to the host, never a panic.

use serde::de::DeserializeOwned;

use crate::{Data, Message, Stop};

impl Message {
    /// The payload, read as JSON.
    ///
    /// # Errors
    /// [`Stop::Reject`], naming the message and what is wrong, where the payload is missing (a
    /// tombstone) or is not the JSON that `T` expects: trying again could not mend it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Stop> {
        serde_json::from_slice(self.some_payload()?.as_bytes()).map_err(|error| {
            Stop::reject(format!(
                "the payload of message `{}` is not the JSON that this handler expects: {error}",
                self.message_id
            ))
        })
    }

    /// The payload as text.
    ///
    /// # Errors
    /// [`Stop::Reject`] where the payload is missing (a tombstone) or is not valid UTF-8.
    pub fn text(&self) -> Result<&str, Stop> {
        let no_text = || Stop::reject(format!("the payload of message `{}` is no text", self.message_id));
        self.some_payload()?.as_text().ok_or_else(no_text)
    }

    fn some_payload(&self) -> Result<&Data, Stop> {
        let missing = || Stop::reject(format!("message `{}` has no payload", self.message_id));
        self.payload.as_ref().ok_or_else(missing)
    }

    /// The value of the last header with this name, as Kafka's own clients choose among repeated
    /// ones. `None` where there is none or its value is null.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Data> {
        self.headers.iter().rev().find(|header| header.name == name)?.value.as_ref()
    }

    /// The values of all headers with this name, in order; `None` is a null value.
    pub fn headers_named<'m>(&'m self, name: &'m str) -> impl Iterator<Item = Option<&'m Data>> {
        self.headers.iter().filter(move |header| header.name == name).map(|header| header.value.as_ref())
    }
}

impl Data {
    /// The bytes, whichever form they came in.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, or `None` where the bytes are not valid UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(bytes.to_owned())
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Data, Header, Message, Position, Stop};

    fn message(payload: Option<Data>) -> Message {
        Message {
            id: "0192f0c1-0000-7000-8000-000000000001".to_owned(),
            message_id: "order-7".to_owned(),
            event_type: "order.placed".to_owned(),
            source: "orders".to_owned(),
            schema_version: None,
            position: Position { topic: "orders".to_owned(), partition: 0, offset: 7 },
            key: None,
            payload,
            content_type: None,
            headers: Vec::new(),
            produced_at_ms: 0,
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            attempt: 1,
            max_attempts: 3,
            delivery: 1,
        }
    }

    #[test]
    fn json_is_read_from_text_and_from_bytes() {
        for payload in [Data::from("[1, 2]"), Data::from(b"[1, 2]".as_slice())] {
            assert_eq!(message(Some(payload)).json::<Vec<u8>>(), Ok(vec![1, 2]));
        }
    }

    #[test]
    fn what_is_not_the_expected_json_is_rejected_with_the_message_and_the_reason() {
        for (payload, reason) in [
            (None, "message `order-7` has no payload"),
            (Some(Data::from("[1")), "EOF while parsing a list at line 1 column 2"),
            (Some(Data::from("[300]")), "invalid value: integer `300`, expected u8 at line 1 column 4"),
        ] {
            let Err(Stop::Reject(words)) = message(payload).json::<Vec<u8>>() else {
                panic!("expected a rejection with `{reason}`");
            };
            assert!(words.contains("order-7") && words.ends_with(reason), "{words}");
        }
    }

    #[test]
    fn text_is_given_or_rejected() {
        assert_eq!(message(Some(Data::from(""))).text(), Ok(""));
        assert_eq!(message(Some(Data::from("ü".as_bytes()))).text(), Ok("ü"));
        for payload in [None, Some(Data::from([0xff].as_slice()))] {
            assert!(matches!(message(payload).text(), Err(Stop::Reject(_))));
        }
    }

    #[test]
    fn of_repeated_headers_the_last_one_counts() {
        let mut message = message(None);
        for value in [Some(Data::from("first")), Some(Data::from("last"))] {
            message.headers.push(Header { name: "reply-to".to_owned(), value });
        }
        message.headers.push(Header { name: "empty".to_owned(), value: None });

        assert_eq!(message.header("reply-to").and_then(Data::as_text), Some("last"));
        assert_eq!(message.header("empty"), None);
        assert_eq!(message.header("missing"), None);
        let values: Vec<Option<&str>> =
            message.headers_named("reply-to").map(|value| value.and_then(Data::as_text)).collect();
        assert_eq!(values, [Some("first"), Some("last")]);
        assert_eq!(message.headers_named("empty").collect::<Vec<_>>(), [None]);
    }
}
