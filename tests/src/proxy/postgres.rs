//! The frame of Postgres' protocol, as far as it tells which statement is run. Statements are prepared
//! once and run by name, and a commit means whatever its transaction has run.

use std::collections::HashMap;

use super::Request;
use super::requests::length_at;

/// Version 3.0; before it a client may ask for encryption, which the tests' server has not.
const STARTUP: [u8; 4] = [0, 3, 0, 0];

/// Statements that one client has sent so far.
#[derive(Debug, Default)]
pub(super) struct Client {
    started: bool,
    prepared: HashMap<Vec<u8>, String>,
    /// Statements that ran since the last `begin`.
    transaction: Vec<String>,
}

/// Effect of a message.
enum Does<'m> {
    Run(String),
    Simple(&'m [u8]),
    Other,
}

impl Client {
    /// Returns how long the message is that begins here.
    pub(super) fn length(&self, read: &[u8]) -> Option<usize> {
        if self.started { Some(1 + length_at(read, 1)?) } else { length_at(read, 0) }
    }

    /// Notes what the message does, and says whether it is what the trap names.
    pub(super) fn see(&mut self, message: &[u8], named: Option<Request>) -> bool {
        match (self.does(message), named) {
            (Does::Run(statement), Some(Request::Statement(part))) => statement.contains(part),
            (Does::Simple(said), Some(Request::CommitAfter(part))) if begins(said, b"commit") => {
                self.transaction.iter().any(|statement| statement.contains(part))
            }
            (Does::Run(_) | Does::Simple(_) | Does::Other, _) => false,
        }
    }

    fn does<'m>(&mut self, message: &'m [u8]) -> Does<'m> {
        if !self.started {
            self.started = message.get(4..8) == Some(&STARTUP);
            return Does::Other;
        }
        let mut texts = message.get(5..).unwrap_or_default().split(|byte| *byte == 0);
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        match message.first() {
            // Parse: the statement's name and its text.
            Some(b'P') => {
                self.prepared.insert(first.to_owned(), String::from_utf8_lossy(second).into_owned());
                Does::Other
            }
            // Bind: the portal's name and the statement's. It is always followed by Execute.
            Some(b'B') => match self.prepared.get(second) {
                Some(statement) => {
                    self.transaction.push(statement.clone());
                    Does::Run(statement.clone())
                }
                None => Does::Other,
            },
            Some(b'Q') => {
                if begins(first, b"begin") {
                    self.transaction.clear();
                }
                Does::Simple(first)
            }
            Some(_) | None => Does::Other,
        }
    }
}

/// Tells whether it begins with the word, in whatever case it is written.
fn begins(said: &[u8], word: &[u8]) -> bool {
    said.get(..word.len()).is_some_and(|first| first.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Request = Request::CommitAfter("insert into outbox");

    fn message(tag: u8, texts: &[&str]) -> Vec<u8> {
        let body: Vec<u8> = texts.iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect();
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], length.as_slice(), &body].concat()
    }

    fn started() -> Client {
        let mut client = Client::default();
        let startup = [[0, 0, 0, 8], STARTUP].concat();
        assert_eq!(client.length(&startup), Some(8));
        client.see(&startup, None);
        client
    }

    #[test]
    fn a_commit_is_known_by_what_its_transaction_ran_under_a_prepared_name() {
        let mut client = started();
        client.see(&message(b'P', &["s1", "insert into outbox values (1)"]), None);
        for (opens, closes, runs, named) in [
            ("BEGIN", "COMMIT", "s1", true),
            ("begin read write", "commit", "s1", true),
            ("BEGIN", "COMMIT", "s2", false),
        ] {
            client.see(&message(b'Q', &[opens]), Some(SETTLE));
            let run = message(b'B', &["", runs]);
            assert_eq!(client.length(&run), Some(run.len()));
            assert_eq!(client.see(&run, Some(Request::Statement("into outbox"))), named);
            assert_eq!(client.see(&message(b'Q', &[closes]), Some(SETTLE)), named, "{runs}");
        }
    }

    #[test]
    fn a_question_for_encryption_is_no_startup() {
        let mut client = Client::default();
        client.see(&[0, 0, 0, 8, 4, 210, 22, 47], None);
        assert!(!client.started);
    }
}
