//! Cost of metrics: the same records through the native handler, beside a host without an admin port, which records
//! nothing, and in one that is scraped each second.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::interval;

use crate::figure::{Figure, Measured, Rates};
use crate::ground::ROUNDS;
use crate::handled;
use crate::stage::Stage;

/// Time between two scrapes: fifteen times as often as Prometheus scrapes by default.
const SCRAPES: Duration = Duration::from_secs(1);

/// Runs both in turn; the host without a port is the floor.
pub(crate) async fn measure(stage: &Stage, messages: u32) -> Result<Figure> {
    let mut rates = Rates::aiming_at(0.98);
    for _ in 0..ROUNDS {
        let silent = silent(stage, messages).await?;
        rates.add(scraped(stage, messages).await?, silent);
    }
    Ok(Figure { of: "Kafka → handled, native, metrics scraped each second", is: Measured::Rates(rates) })
}

async fn silent(stage: &Stage, messages: u32) -> Result<f64> {
    let ground = handled::native(stage, "silent", messages).await?;
    ground.configure("\n[admin]\nlisten = \"off\"\n")?;
    ground.worked_off(handled::UNREAD, handled::RATE, messages).await
}

async fn scraped(stage: &Stage, messages: u32) -> Result<f64> {
    let ground = handled::native(stage, "scraped", messages).await?;
    ground.configure("\n[admin]\nlisten = \"127.0.0.1:0\"\n")?;
    let mut host = ground.start_host()?;
    let admin = host.admin().await?;
    let scraping = async {
        let mut tick = interval(SCRAPES);
        loop {
            tick.tick().await;
            admin.metrics().await.context("a scrape was not answered")?;
        }
    };
    tokio::select! {
        done = ground.until_none(&mut host, handled::UNREAD) => done?,
        failed = scraping => return failed,
    }
    host.stop().await?;
    ground.rated(handled::RATE, messages).await
}
