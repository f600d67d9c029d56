//! Result of a call, on its way from the worker through the machine to its settlement.

use std::sync::Arc;

use mailroom_core::state::{Read, Write};

use crate::message::Outgoing;
use crate::pipeline::decide::Verdict;
use crate::pipeline::outcome::Usage;

/// Result of a call, as it is settled.
#[derive(Debug, Clone)]
pub(crate) struct Effects {
    pub(crate) verdict: Verdict,
    /// Digest of the version that ran.
    pub(crate) digest: Arc<str>,
    /// Messages that a completed call emitted, in order.
    pub(crate) outgoing: Vec<Outgoing>,
    /// State that the call read and did not write.
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    /// End of what it wrote to stdout, stderr and the log.
    pub(crate) last_output: Option<String>,
    pub(crate) usage: Usage,
    /// True if the database refused what the call left, and the message was judged anew without it.
    pub(crate) refused: bool,
}

impl Effects {
    /// Gives the bytes that they take in memory until they are written.
    pub(crate) fn bytes(&self) -> usize {
        let outgoing = self.outgoing.iter().map(Outgoing::bytes).sum::<usize>();
        let reads = self.reads.iter().map(Read::bytes).sum::<usize>();
        let writes = self.writes.iter().map(Write::bytes).sum::<usize>();
        let words = self.verdict.bytes() + self.last_output.as_ref().map_or(0, String::len);
        size_of::<Self>() + outgoing + reads + writes + words
    }
}
