//! The demo: an application, a Postgres, a Kafka, the real `mailroom` with two handlers, and at the end a
//! check of what the database and the topics hold. It plays; the check judges, and the exit code is the
//! check's: 0 only where it holds. Whatever happens, what was started is stopped.

mod args;
mod tell;
mod stage;
mod order;
mod shop;
mod watch;
mod evidence;
mod tamper;
mod check;
mod summary;
mod next;

use std::pin::Pin;
use std::process::ExitCode;
use std::task::Poll;

use anyhow::{Context as _, Result};
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

use args::{Args, Asked};
use check::Breach;
use evidence::Evidence;
use order::Order;
use shop::Shop;
use stage::Stage;
use tell::{Colour, Tell};
use watch::Watch;

/// The shells' code for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(args)) => args,
        Ok(Asked::Help) => {
            tell::plain(args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(args))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("the demo could not be shown: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<u8> {
    let tell = Tell::from_now();
    let mut interrupted = Box::pin(interruption()?);
    let stage = select! {
        stage = Stage::start(&tell) => stage?,
        () = &mut interrupted => return Ok(INTERRUPTED),
    };
    let shown = select! {
        shown = show(&stage, args, &tell) => shown.map(Some),
        () = &mut interrupted => Ok(None),
    };
    if args.keep
        && let Ok(Some(_)) = shown
    {
        next::print(&stage)?;
        interrupted.await;
    } else if shown.is_err() {
        eprintln!("the end of the host's log:\n{}", stage.log_tail());
    }
    let stopped = stage.stop(&tell).await;
    let code = match shown? {
        Some(breaches) => u8::from(!breaches.is_empty()),
        None => INTERRUPTED,
    };
    stopped.map(|()| code)
}

/// The play, and what the check found.
async fn show(stage: &Stage, args: Args, tell: &Tell) -> Result<Vec<Breach>> {
    let orders = order::plan(args.orders);
    let shop = Shop::open(stage.db.pool()).await?;
    let watch = Watch::new(stage.db.pool(), tell);
    select! {
        played = play(stage, &shop, &watch, &orders, tell) => played?,
        failed = watch.report_for_ever() => failed?,
        died = stage.host_ends() => died?,
    }
    if let Some(tampering) = args.tampering {
        let done = tamper::tamper(tampering, stage).await?;
        tell.event(Colour::Red, &format!("--break {}: {done}", tampering.word()));
    }
    tell.event(Colour::Bold, "checking the database against the topics");
    let evidence = Evidence::gather(stage).await?;
    let breaches = check::check(&evidence);
    let withdrawn = orders.iter().filter(|order| order.withdrawn).count();
    summary::print_counts(&evidence, withdrawn, &breaches, tell);
    summary::print_latencies(stage.db.pool()).await?;
    summary::print_verdict(&breaches, tell);
    Ok(breaches)
}

/// Orders flow; halfway the first handler is replaced.
async fn play(
    stage: &Stage,
    shop: &Shop<'_>,
    watch: &Watch<'_>,
    orders: &[Order],
    tell: &Tell,
) -> Result<()> {
    let (before, after) = orders.split_at(orders.len() / 2);
    // The last are kept back until the second edition is at work, however long it takes to compile.
    let (after, last) = after.split_at(after.len() * 4 / 5);
    let pace = shop::pace(orders.len());
    tell.event(Colour::Bold, "the application writes orders, each with its message in one transaction:");
    tell.detail(
        "insert into orders …; select mailroom.publish('orders', customer, 'order.placed', …); commit",
    );
    shop.write(before, pace).await?;
    stage.replace_invoice()?;
    tell.event(Colour::Cyan, "handlers/invoice.wasm is replaced by its second edition while messages flow");
    shop.write(after, pace).await?;
    watch.second_edition().await?;
    shop.write(last, pace).await?;
    tell.event(Colour::Bold, "all orders are written; waiting until everything is settled and published");
    watch.settled(tell).await
}

/// Ends at the first SIGINT or SIGTERM.
fn interruption() -> Result<impl Future<Output = ()>> {
    let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    Ok(std::future::poll_fn(move |context| {
        let came = signals.iter_mut().any(|signal| Pin::new(signal).poll_recv(context).is_ready());
        if came { Poll::Ready(()) } else { Poll::Pending }
    }))
}
