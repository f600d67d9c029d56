//! What one call may hold of memory and tables, all its modules together. It refuses growth rather than
//! trap, so that a guest that can do with less goes on, and remembers that it refused.

use wasmtime::ResourceLimiter;

use super::engine::{INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// One call's memory.
pub(super) struct Meter {
    limit: u64,
    held: u64,
    peak: u64,
    refused: bool,
}

impl Meter {
    /// `limit` in bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, held: 0, peak: 0, refused: false }
    }

    /// The most that was held, in bytes.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Whether the guest wanted more than the limit: a trap that follows is most likely its allocator's.
    pub(super) fn refused(&self) -> bool {
        self.refused
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
        if held > self.limit {
            self.refused = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
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
        Ok(desired <= TABLE_ELEMENTS_MAX)
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
