//! The server's messages on their way to the client: a kind, a length, and a body of that length.
//!
//! In place of a message that is too long the client gets an error, and the server loses the connection. One that
//! answers nothing, such as a notice, is dropped instead, since its statement may be a commit that is done.

/// Bytes of a message's kind and length.
const HEADER_BYTES: usize = 5;
/// Bytes of the length, which counts itself.
const LENGTH_BYTES: usize = 4;

/// A message that is longer than the client may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong {
    kind: u8,
    bytes: usize,
    bytes_max: usize,
}

impl TooLong {
    /// Names the limit, and what whoever wrote the statement can do.
    pub(super) fn message(&self) -> String {
        let Self { kind, bytes, bytes_max } = self;
        match kind {
            b'D' => format!(
                "a row of {bytes} bytes was refused: an answer may have {bytes_max} bytes; ask for less of it, as \
                 with left or substring"
            ),
            b'E' => format!(
                "an error of {bytes} bytes was refused: an answer may have {bytes_max} bytes; have the statement \
                 say less when it fails"
            ),
            _ => format!("a message of {bytes} bytes was refused: an answer may have {bytes_max} bytes"),
        }
    }
}

/// Passes the messages of a connection that are short enough. A longer one is known by its header, before any of it
/// has passed.
#[derive(Debug)]
pub(crate) struct MessageFilter {
    bytes_max: usize,
    /// The beginning of a header, which passes once it is whole.
    header: Vec<u8>,
    /// Bytes that the current message still has.
    rest: usize,
    is_dropped: bool,
}

impl MessageFilter {
    /// `bytes_max` is the greatest length that a message may state.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, header: Vec::with_capacity(HEADER_BYTES), rest: 0, is_dropped: false }
    }

    /// Adds to `passed` what passes of the next bytes.
    ///
    /// # Errors
    /// Where a message is too long. `passed` ends with the one before, and nothing may follow.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], passed: &mut Vec<u8>) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let (body, behind) = bytes.split_at(bytes.len().min(self.rest));
                if !self.is_dropped {
                    passed.extend_from_slice(body);
                }
                self.rest -= body.len();
                bytes = behind;
                continue;
            }
            let missing = HEADER_BYTES - self.header.len();
            let (header, behind) = bytes.split_at(bytes.len().min(missing));
            self.header.extend_from_slice(header);
            bytes = behind;
            if let &[kind, a, b, c, d] = self.header.as_slice() {
                self.begin(kind, u32::from_be_bytes([a, b, c, d]), passed)?;
                self.header.clear();
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: u8, length: u32, passed: &mut Vec<u8>) -> Result<(), TooLong> {
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        self.rest = bytes.saturating_sub(LENGTH_BYTES);
        self.is_dropped = bytes > self.bytes_max;
        if !self.is_dropped {
            passed.extend_from_slice(&self.header);
            return Ok(());
        }
        if is_unasked(kind) {
            return Ok(());
        }
        Err(TooLong { kind, bytes, bytes_max: self.bytes_max })
    }
}

/// Tells whether nobody waits for messages of the kind: notices, notifications and reports of settings. An
/// error instead would be mistaken for the answer to what was asked, which may be a commit that is being
/// done.
fn is_unasked(kind: u8) -> bool {
    matches!(kind, b'N' | b'A' | b'S')
}

/// Gives an error in the server's form, after which its statement has failed.
pub(super) fn error_response(sqlstate: &str, message: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (field, text) in [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', sqlstate), (b'M', message)] {
        fields.push(field);
        fields.extend(text.bytes().filter(|byte| *byte != 0));
        fields.push(0);
    }
    fields.push(0);
    let length = u32::try_from(LENGTH_BYTES + fields.len()).unwrap_or(u32::MAX);
    [b"E", length.to_be_bytes().as_slice(), &fields].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 20;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(LENGTH_BYTES + body.len()).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    /// Gives what passes where the bytes come in pieces of a size.
    fn passed(bytes: &[u8], piece: usize) -> (Vec<u8>, Result<(), TooLong>) {
        let (mut filter, mut passed) = (MessageFilter::new(BYTES_MAX), Vec::new());
        for piece in bytes.chunks(piece) {
            if let Err(too_long) = filter.pass(piece, &mut passed) {
                return (passed, Err(too_long));
            }
        }
        (passed, Ok(()))
    }

    #[test]
    fn what_is_short_enough_passes_as_it_is_however_it_comes_in_pieces() {
        let messages =
            [message(b'T', b"ab"), message(b'D', &[7; 16]), message(b'N', b""), message(b'Z', b"I")].concat();
        for piece in 1..=messages.len() {
            assert_eq!(passed(&messages, piece), (messages.clone(), Ok(())), "{piece}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_any_of_it_has_passed() {
        let before = message(b'T', b"ab");
        for kind in [b'D', b'E', b'd'] {
            let messages = [before.clone(), message(kind, &[7; 17]), message(b'Z', b"I")].concat();
            let too_long = TooLong { kind, bytes: 21, bytes_max: BYTES_MAX };
            for piece in 1..=messages.len() {
                assert_eq!(passed(&messages, piece), (before.clone(), Err(too_long)), "{piece}");
            }
        }
        let endless = [before.as_slice(), b"D\xff\xff\xff\xff"].concat();
        assert_eq!(passed(&endless, 3).0, before);
    }

    #[test]
    fn what_nobody_asked_for_is_dropped_where_it_is_too_long_and_what_follows_passes() {
        let (before, behind) = (message(b'N', b"short"), message(b'C', b"COMMIT"));
        for kind in [b'N', b'A', b'S'] {
            let messages = [before.clone(), message(kind, &[7; 1000]), behind.clone()].concat();
            for piece in 1..=messages.len() {
                assert_eq!(passed(&messages, piece), ([before.clone(), behind.clone()].concat(), Ok(())));
            }
        }
    }

    #[test]
    fn an_error_in_the_servers_form_passes_itself() {
        let error = error_response("54000", "a\0b");
        let mut passed = Vec::new();
        MessageFilter::new(100).pass(&error, &mut passed).unwrap();
        assert_eq!(passed, b"E\0\0\0\x1eSERROR\0VERROR\0C54000\0Mab\0\0".as_slice());
    }
}
