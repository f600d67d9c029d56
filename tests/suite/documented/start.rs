//! `docs/start.md` from its first command to its last, in the order of the page.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mailroom_servers::{reachable_dir, stop_leftover};
use mailroom_tests::host::tail;
use mailroom_tests::{LATER, SOON, Shell, eventually, paths};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{all_good, commands};

const PAGE: &str = "docs/start.md";
const DEV: &str = "mailroom dev";
const LOG: &str = "dev.log";

/// Waits until the log of `mailroom dev` says a text.
async fn says(shop: &Path, text: &str) -> Result<()> {
    eventually(&format!("dev says `{text}`"), LATER, async || {
        Ok(fs::read_to_string(shop.join(LOG))?.contains(text))
    })
    .await
    .with_context(|| tail(&shop.join(LOG), 40))
}

/// Waits until what a command prints is as wanted.
async fn shows(shell: &Shell, command: &str, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
    eventually(&format!("`{command}` shows it"), LATER, async || {
        Ok(is_wanted(&shell.ran(command).await?.ok()?))
    })
    .await
}

/// The second terminal, with the lines that `dev` says to type there.
fn second_terminal(shop: &Path) -> Result<Shell> {
    let mut shell = Shell::of(shop)?;
    let log = fs::read_to_string(shop.join(LOG))?;
    let exports = log.lines().filter_map(|line| line.trim().strip_prefix("export "));
    let mut found = 0;
    for (name, value) in exports.filter_map(|export| export.split_once('=')) {
        shell = shell.with(name, value.trim_matches('\''));
        found += 1;
    }
    ensure!(found == 2, "{found} lines with `export` in\n{log}");
    Ok(shell)
}

async fn from_a_dropped_file_to_a_replay(shop: &Path) -> Result<()> {
    says(shop, "Ready.").await?;
    let shell = second_terminal(shop)?;
    all_good(&shell, &commands(PAGE, "Drop a handler")?).await?;
    says(shop, "Handler totals runs").await?;

    let completed = |count: usize| move |text: &str| text.matches("completed").count() == count;
    all_good(&shell, &commands(PAGE, "Send a message")?).await?;
    shows(&shell, "mailroom inbox list", completed(1)).await?;
    shows(&shell, "mailroom outbox list", completed(2)).await?;

    all_good(&shell, &commands(PAGE, "A dead letter")?).await?;
    shows(&shell, "mailroom dead list", |text| text.contains("amount_cents is not a whole number")).await?;

    all_good(&shell, &commands(PAGE, "Mend the handler")?).await?;
    says(shop, "Handler totals now runs").await?;

    all_good(&shell, &commands(PAGE, "Replay")?).await?;
    shows(&shell, "mailroom inbox list", completed(2)).await?;
    shows(&shell, "mailroom dead list", |text| text.contains("No dead letters match.")).await
}

async fn interrupted(mut dev: Child) -> Result<()> {
    let pid = dev.id().context("dev has ended by itself")?;
    Command::new("kill").args(["-s", "INT", &pid.to_string()]).status().await?;
    let ended = timeout(SOON, dev.wait()).await.context("dev ignores SIGINT")??;
    ensure!(ended.success(), "dev ended with {ended}");
    Ok(())
}

#[tokio::test]
async fn a_message_is_handled_and_a_dead_letter_is_mended_and_replayed_as_the_page_says() -> Result<()> {
    let folder = paths::target()?.join("worlds").join(format!("start{:010x}", fastrand::u64(..1 << 40)));
    fs::create_dir_all(&folder)?;
    all_good(&Shell::of(&folder)?, &commands(PAGE, "Build")?).await?;
    let typed = commands(PAGE, "Start a host")?;
    ensure!(typed.last().is_some_and(|command| command == DEV), "{typed:?}");
    // Each command has a shell of its own, which `cd` would not outlast.
    for command in typed.iter().filter(|command| !command.starts_with("cd ") && *command != DEV) {
        Shell::of(&folder)?.ran(command).await?.ok().with_context(|| command.clone())?;
    }
    let shop = folder.join("shop");

    let log = File::create(shop.join(LOG))?;
    let mut dev = Shell::of(&shop)?.command(&format!("exec {DEV}"));
    let dev = dev.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let result = match from_a_dropped_file_to_a_replay(&shop).await {
        Ok(()) => interrupted(dev).await,
        Err(error) => Err(error),
    };
    let data = reachable_dir(&shop.join("mailroom-dev"))?;
    for server in ["postgres", "kafka"] {
        stop_leftover(&data.join(server))?;
    }
    result
}
