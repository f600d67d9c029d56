//! Meter of what an instance may hold of memory, all its modules together, and of each table. It refuses
//! growth rather than trap, so that a guest that can do with less goes on, and remembers that it refused.

use wasmtime::ResourceLimiter;

use super::engine::{INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use super::output::Output;
use crate::config::CallLimits;

/// One instance's memory and tables, and what was refused in the call.
pub(super) struct Meter {
    memory_max: u64,
    table_elements_max: u64,
    held: u64,
    peak: u64,
    output: Output,
    memory_refused: Option<Refusal>,
    table_refused: Option<Refusal>,
}

/// The last growth that was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    /// Bytes that the guest had written by then.
    pub(super) written: u64,
    /// True if the guest got nothing more since.
    pub(super) stands: bool,
}

impl Meter {
    pub(super) fn new(limits: &CallLimits, output: Output) -> Self {
        Self {
            memory_max: limits.memory,
            table_elements_max: limits.table_elements,
            held: 0,
            peak: 0,
            output,
            memory_refused: None,
            table_refused: None,
        }
    }

    /// Forgets the call that ended, but not what the instance holds.
    pub(super) fn renew(&mut self) {
        let Self {
            memory_max: _,
            table_elements_max: _,
            held,
            peak,
            output: _,
            memory_refused,
            table_refused,
        } = self;
        *peak = *held;
        (*memory_refused, *table_refused) = (None, None);
    }

    /// Tells whether it was refused anything in this call.
    pub(super) fn has_refused(&self) -> bool {
        self.memory_refused.is_some() || self.table_refused.is_some()
    }

    /// The most that was held, in bytes.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Returns the refusal of more memory than the limit: a trap that follows may be the guest's allocator's.
    pub(super) fn memory_refused(&self) -> Option<Refusal> {
        self.memory_refused
    }

    /// Returns the refusal of a larger table than the limit.
    pub(super) fn table_refused(&self) -> Option<Refusal> {
        self.table_refused
    }

    fn refusal(&self) -> Option<Refusal> {
        Some(Refusal { written: self.output.bytes(), stands: true })
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current))?;
        let held = self.held.saturating_add(more);
        if held > self.memory_max {
            self.memory_refused = self.refusal();
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if let Some(refusal) = &mut self.memory_refused {
            refusal.stands = false;
        }
        self.held = held;
        self.peak = self.peak.max(held);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = u64::try_from(desired)? <= self.table_elements_max;
        match &mut self.table_refused {
            _ if !allowed => self.table_refused = self.refusal(),
            Some(refusal) => refusal.stands = false,
            None => {}
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}
