//! The machine's remarks as log lines.

use std::collections::BTreeSet;

use mailroom_core::handler_machine::command::Remark;
use mailroom_core::ids::LaneId;

/// Writes a remark about a handler and its consumer group to the log.
pub(super) fn log(remark: &Remark, handler: &str, group: &str) {
    match remark {
        Remark::LaneLost(lane) => {
            tracing::warn!(handler.name = handler, "Lane {lane} is another host's now");
        }
        Remark::Doubt(lanes) => doubt(lanes, handler),
        Remark::Stalled { lane, waits_for, since } => tracing::warn!(
            handler.name = handler,
            "Lane {lane} has not gone on for {since:?}: it waits for {waits_for}; it is taken anew and read again"
        ),
        Remark::CallsGivenUp { calls, since } => tracing::error!(
            handler.name = handler,
            "None of {calls} calls of {handler} has ended for {since:?}, far beyond its deadline: they are given up, and \
             their messages wait until this process is started anew. Find out what native code of {handler} blocks"
        ),
        Remark::OffsetMoved(partition) => tracing::warn!(
            handler.name = handler,
            "The offset of {partition} is another host's, or was moved by hand; finding its place again"
        ),
        Remark::RecordRefused { partition, offset } => tracing::error!(
            handler.name = handler,
            "The database refuses the record at offset {offset} of {partition}, even without its content: the \
             partition is not read until a restart. Find out why from the log of Postgres"
        ),
        Remark::MemoryFull => tracing::debug!(
            handler.name = handler,
            "The memory for messages of {handler} is full: its partitions are read on once there is room"
        ),
        Remark::EffectsFull => tracing::debug!(
            handler.name = handler,
            "Calls of {handler} left as much as worker.effects-bytes-max allows: the next begin once some of it is written"
        ),
        Remark::TooManyWaitingKeys(partition) => tracing::warn!(
            handler.name = handler,
            "More keys of {handler} wait than ingest.waiting-keys-max allows to be remembered: {partition} is not \
             read until fewer wait. See mailroom dead list for what they wait behind"
        ),
        Remark::SequenceFellBack { known, drawn } => tracing::error!(
            "The sequence mailroom.inbox_seq_seq gave {drawn} after {known}: Postgres has lost what was committed \
             last, as after a failover to a standby that lagged, or the sequence was set back, as where rows were \
             copied without it. Messages go on above {known}; what was acknowledged in between and is gone has to be \
             found from Kafka"
        ),
        Remark::BreakerOpened { recovery, error } => tracing::warn!(
            messaging.consumer.group.name = group,
            "The breaker of {group} is open for {recovery:?}: nothing of it is started. Last fault: {error}"
        ),
        Remark::BreakerClosed => {
            tracing::info!(messaging.consumer.group.name = group, "The breaker of {group} is closed");
        }
        Remark::Paused => tracing::info!(
            messaging.consumer.group.name = group,
            "{group} is paused: nothing of it is started"
        ),
        Remark::GraceOver(lane) => tracing::warn!(
            handler.name = handler,
            "Calls of lane {lane} did not end within the grace; their messages stay pending"
        ),
        Remark::Reread { lane, count } => {
            tracing::debug!(
                handler.name = handler,
                "Lane {lane} was read again up to act {count} of an operator"
            );
        }
    }
}

fn doubt(lanes: &BTreeSet<LaneId>, handler: &str) {
    let lanes: Vec<i32> = lanes.iter().map(|lane| lane.0).collect();
    tracing::warn!(
        handler.name = handler,
        ?lanes,
        "Whether messages of lanes {lanes:?} were settled is not known: the lanes are taken anew and read again"
    );
}
