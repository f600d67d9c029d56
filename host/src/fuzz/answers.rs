//! Answers of a server to the SQL of a handler, which may have asked for anything, or be another's server.

use super::TIME;
use crate::db::MessageFilter;

const BYTES_MAX: usize = 64;

/// A message's kind, a length that it may state instead of its own, and its body.
type Raw = (u8, Option<u32>, Vec<u8>);

#[test]
fn whatever_a_server_says_no_message_is_passed_that_is_too_long_and_how_it_comes_in_pieces_is_the_same() {
    bolero::check!().with_test_time(TIME).with_type::<(Vec<Raw>, u8)>().for_each(|(messages, piece)| {
        let said: Vec<u8> = messages.iter().flat_map(said).collect();
        let at_once = passed(&said, said.len());
        assert_eq!(passed(&said, usize::from(*piece)), at_once);
        assert!(at_once.0.len() <= said.len());
        stated_lengths(&at_once.0).for_each(|length| assert!(length <= BYTES_MAX, "{length}"));
    });
}

fn said((kind, lie, body): &Raw) -> Vec<u8> {
    let length = lie.unwrap_or_else(|| u32::try_from(body.len()).unwrap() + 4);
    [&[*kind], length.to_be_bytes().as_slice(), body].concat()
}

/// Passes it on; gives what passes, and whether the server is heard to its end.
fn passed(said: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let (mut filter, mut passed) = (MessageFilter::new(BYTES_MAX), Vec::new());
    let is_whole = said.chunks(piece.max(1)).all(|piece| filter.pass(piece, &mut passed).is_ok());
    (passed, is_whole)
}

/// The length that each message states.
fn stated_lengths(mut passed: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let (&[_, a, b, c, d], _) = passed.split_first_chunk::<5>()?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
        passed = passed.get(1 + length.max(4)..).unwrap_or_default();
        Some(length)
    })
}
