//! `[limits]`: what a call may use, as the host has it and as a manifest has it over the host.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::declare::settings;
use super::host::{MIB, MILLISECOND, SECOND};

settings! {
    /// Limits of all handlers (`[limits]`).
    #[derive(Debug, Clone)]
    pub struct Limits(reader) {
        /// Most memory that a manifest may ask for.
        memory_max: u64 = "limits.memory-max", size(256 * MIB, MIB..=4096 * MIB);
        /// Stack of a guest, the same for all handlers.
        stack: u64 = "limits.stack", size(512 << 10, 64 << 10..=16 * MIB);
    } and {
        /// Limits of a call where its manifest has none.
        call: CallLimits = CallLimits::read(reader, None);
    }
}

settings! {
    /// Limits of one call: the host's, or a manifest's over those of its `host`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct CallLimits(reader, host: Option<&Limits>) {
        /// Wall-clock time of a call; at most two thirds of `host.expiry`.
        #[serde(serialize_with = "as_text")]
        deadline: Duration = "limits.deadline",
            duration(host.map_or(10 * SECOND, |host| host.call.deadline), MILLISECOND..=600 * SECOND);
        /// Instructions of a call, in wasmtime's units of fuel.
        fuel: u64 = "limits.fuel",
            count(host.map_or(20_000_000_000, |host| host.call.fuel), 1..=1_000_000_000_000_000);
        /// Linear memory of a call; a manifest may ask for `limits.memory-max` at most.
        memory: u64 = "limits.memory",
            size(
                host.map_or(64 * MIB, |host| host.call.memory),
                MIB..=host.map_or(4096 * MIB, |host| host.memory_max)
            );
        /// Elements of each table of a call; a manifest may ask for 40,000 in any case.
        table_elements: u64 = "limits.table-elements",
            count(
                host.map_or(TABLE_ELEMENTS, |host| host.call.table_elements),
                1..=host.map_or(1_000_000, Limits::table_elements_max)
            );
        /// Messages and state writes of a call; 0 forbids them.
        effects: u32 = "limits.effects",
            count(host.map_or(1000, |host| host.call.effects), 0..=100_000);
        /// Bytes of all effects of a call. A header counts 48 bytes and its own. One host call or reply may be four times as
        /// large, and at least 4 MiB.
        output_bytes: u64 = "limits.output-bytes",
            size(host.map_or(8 * MIB, |host| host.call.output_bytes), 0..=1024 * MIB);
        /// HTTP requests of a call; 0 forbids them.
        http_requests: u32 = "limits.http-requests",
            count(host.map_or(100, |host| host.call.http_requests), 0..=10_000);
        /// Bytes that are kept of the end of a call's stdout, stderr and log lines, 0 keeps none; more is swallowed and
        /// counted, and never an error of the guest. As many bytes of its log lines, the first ones, get into the host's log.
        log_bytes: u32 = "limits.log-bytes",
            size(host.map_or(64 << 10, |host| host.call.log_bytes), 0..=16 << 20);
        /// Lines that a call may log (`grants.log`); one more is a fault, `log-lines`.
        log_lines: u32 = "limits.log-lines",
            count(host.map_or(1000, |host| host.call.log_lines), 0..=1_000_000);
        /// Values that a call may load from the state of its key, or from the shared state.
        state_values: u32 = "limits.state-values",
            count(host.map_or(10_000, |host| host.call.state_values), 1..=1_000_000);
        /// Bytes of the values that a call may load, with their names.
        state_bytes: u64 = "limits.state-bytes",
            size(host.map_or(16 * MIB, |host| host.call.state_bytes), 1..=1024 * MIB);
    }
}

/// Python's toolchain makes tables of some ten thousand elements.
const TABLE_ELEMENTS: u64 = 40_000;

impl Limits {
    /// The largest table that a manifest may ask for, for which the pool has room.
    #[must_use]
    pub fn table_elements_max(&self) -> u64 {
        self.call.table_elements.max(TABLE_ELEMENTS)
    }
}

fn as_text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}
