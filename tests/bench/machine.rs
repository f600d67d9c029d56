//! Machine on which it was measured.

use std::fs;
use std::thread::available_parallelism;

use anyhow::Result;
use mailroom_tests::paths;
use sqlx::{Connection as _, PgConnection};

use crate::stage::Stage;

/// Cores and versions, for the line under the table.
pub(crate) async fn line(stage: &Stage) -> Result<String> {
    let mut postgres = PgConnection::connect(stage.postgres_url()).await?;
    let version: String = sqlx::query_scalar("show server_version").fetch_one(&mut postgres).await?;
    postgres.close().await?;
    let postgres = version.split_whitespace().next().unwrap_or_default();
    let cores = available_parallelism()?;
    Ok(format!("{cores} cores for all of it, PostgreSQL {postgres}, Apache Kafka {}", kafka()?))
}

/// Returns the version that its jars are named by.
fn kafka() -> Result<String> {
    for file in fs::read_dir(paths::kafka_jars())? {
        let name = file?.file_name();
        let version =
            name.to_str().and_then(|name| name.strip_prefix("kafka-clients-")?.strip_suffix(".jar"));
        if let Some(version) = version {
            return Ok(version.to_owned());
        }
    }
    Ok("of unknown version".to_owned())
}
