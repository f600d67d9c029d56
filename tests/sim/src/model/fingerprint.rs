//! Fingerprints of states, so large that no two states of a search share one by chance.

use std::fmt;

/// Mixes words into 128 bits.
pub(crate) fn mixed(words: &[u64]) -> u128 {
    let (mut low, mut high) = (0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344_u64);
    for word in words {
        low = folded(low ^ word, 0x9e37_79b9_7f4a_7c15);
        high = folded(high.rotate_left(23) ^ word, 0xd6e8_feb8_6659_fd93);
    }
    (u128::from(folded(high, 0xa076_1d64_78bd_642f)) << 64) | u128::from(low)
}

fn folded(one: u64, other: u64) -> u64 {
    let product = (u128::from(one) + 0x1_0001) * u128::from(other);
    let halves = product ^ (product >> 64);
    u64::try_from(halves & u128::from(u64::MAX)).unwrap_or(0)
}

/// Numbers from here on that are no moments are names of transactions.
pub(crate) const IDS_FROM: i64 = 1_000_000;
/// Numbers from here on, below those of transactions, are names of rows.
pub(crate) const SEQS_FROM: i64 = 1000;

/// A state as text, in which moments count by their distance from now, and names by their order: nothing is done with
/// them but to compare them.
#[derive(Debug)]
pub(crate) struct Text {
    now: u64,
    /// Ages above it are all the same.
    age_max: u64,
    words: Vec<u64>,
    /// Places of words that are names.
    names: Vec<usize>,
    /// Number of parts of `Moment(` that came last.
    of_moment: u8,
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_moment = self.of_moment == 2;
        self.of_moment = match (text, self.of_moment) {
            ("Moment", _) => 1,
            ("(", 1) => 2,
            _ => 0,
        };
        match text.parse::<i64>() {
            Ok(moment) if is_moment => {
                let age = self.now.wrapping_sub(moment.cast_unsigned());
                self.words.push(if age < u64::MAX / 2 { age.min(self.age_max) } else { age });
            }
            Ok(name) if name >= SEQS_FROM => {
                self.names.push(self.words.len());
                self.words.push(name.cast_unsigned());
            }
            _ => {
                for chunk in text.as_bytes().chunks(7) {
                    // The eighth byte tells where it ends.
                    let bytes = chunk.iter().chain([&0xff]);
                    self.words.push(bytes.fold(0, |word, byte| (word << 8) | u64::from(*byte)));
                }
            }
        }
        Ok(())
    }
}

impl Text {
    /// Begins one at this time.
    pub(crate) fn at(now: u64, age_max: u64) -> Self {
        Self { now, age_max, words: Vec::with_capacity(1024), names: Vec::new(), of_moment: 0 }
    }

    /// Gives 128 bits that stand for it.
    pub(crate) fn mixed(mut self) -> u128 {
        let name = |at: &usize| self.words.get(*at).copied().unwrap_or(0);
        let mut order: Vec<u64> = self.names.iter().map(name).collect();
        order.sort_unstable();
        order.dedup();
        let rows = order.partition_point(|name| name.cast_signed() < IDS_FROM);
        for at in &self.names {
            let Some(word) = self.words.get_mut(*at) else { continue };
            let place = order.binary_search(word).unwrap_or(0);
            // Rows and transactions are counted apart.
            let place = if place < rows { place } else { place - rows + 500 };
            *word = u64::try_from(place).unwrap_or(0);
        }
        mixed(&self.words)
    }
}

/// Text that was made of a value, to be taken apart again.
pub(crate) struct AsIs(pub(crate) String);

impl fmt::Debug for AsIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Numbers come one by one, as they do when a value is written.
        let is_digit = |sign: char| sign.is_ascii_digit();
        let mut rest = self.0.as_str();
        while !rest.is_empty() {
            let end = if rest.starts_with(is_digit) {
                rest.find(|sign| !is_digit(sign))
            } else if rest.starts_with("Moment(") {
                f.write_str("Moment")?;
                f.write_str("(")?;
                rest = rest.get("Moment(".len()..).unwrap_or_default();
                continue;
            } else {
                rest.find("Moment(").into_iter().chain(rest.find(is_digit)).min()
            };
            let (piece, left) = rest.split_at(end.unwrap_or(rest.len()));
            f.write_str(piece)?;
            rest = left;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use mailroom_core::time::Moment;

    use super::*;

    fn of(now: u64, state: &impl fmt::Debug) -> u128 {
        let mut text = Text::at(now, 100);
        write!(text, "{state:?}").unwrap();
        text.mixed()
    }

    #[test]
    fn moments_count_by_their_distance_and_names_by_their_order() {
        assert_eq!(of(5, &Moment(7)), of(6, &Moment(8)));
        assert_ne!(of(5, &Moment(7)), of(6, &Moment(7)));
        assert_eq!(of(0, &(1001, 1003, 1_000_007)), of(0, &(1005, 1006, 1_000_001)));
        assert_ne!(of(0, &(1001, 1003)), of(0, &(1003, 1001)));
        assert_ne!(of(0, &(1001, 7)), of(0, &(1001, 8)));
    }

    #[test]
    fn fingerprints_of_what_differs_in_one_place_differ() {
        let all: std::collections::BTreeSet<u128> =
            (0..900).map(|number| of(0, &("a state", number))).collect();
        assert_eq!(all.len(), 900);
        assert_ne!(mixed(&[0]), mixed(&[0, 0]));
    }
}
