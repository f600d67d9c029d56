//! Suggestions of what to try while everything still runs.

use std::path::Path;

use anyhow::Result;

use crate::stage::Stage;
use crate::tell::plain;

/// Prints it.
pub(crate) fn print(stage: &Stage) -> Result<()> {
    let here = std::env::current_dir()?;
    let short = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    let (url, brokers) = (stage.db.url(), stage.kafka.brokers());
    let (mailroom, config) = (short(stage.binary()), short(stage.config()));
    plain(&format!(
        "Everything is left running. In another terminal, in this folder, try:

  export MAILROOM__POSTGRES__URL='{url}' MAILROOM__KAFKA__BROKERS='{brokers}'
  {mailroom} status
  {mailroom} dead list
  {mailroom} dead replay --code carrier-refused
  {mailroom} inbox list
  psql \"$MAILROOM__POSTGRES__URL\" -c 'select * from mailroom.outbox_messages order by seq desc limit 5'
  psql \"$MAILROOM__POSTGRES__URL\" -c \"select mailroom.publish('orders', 'ada', 'order.placed',
    '{{\\\"order_id\\\": \\\"mine\\\", \\\"customer\\\": \\\"ada\\\", \\\"amount_cents\\\": 4200}}')\"
  {mailroom} outbox list

The host's configuration is {config}. Ctrl-C here ends everything."
    ));
    Ok(())
}
