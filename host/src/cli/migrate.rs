//! `mailroom migrate`: applies the migrations of this binary, or shows them.

use clap::Args;

use super::failure::Failure;
use super::print;
use crate::config::Config;
use crate::db::{SEARCH_PATH, migrate as schema, reach};

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Change nothing: list what is applied and print the SQL of what is not
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn migrate(migrate: Migrate, config: &Config) -> Result<(), Failure> {
    let Some(postgres) = config.postgres.direct() else {
        let problem = "a migration needs a session of its own, which a pooler in transaction mode does not give: set \
                       postgres.direct-url, or MAILROOM__POSTGRES__DIRECT_URL for this command, to Postgres itself";
        return Err(Failure::Usage(problem.to_owned()));
    };
    let db = reach::reach(&postgres).await?;
    let (applied, pending) = schema::pending(&db).await?;
    if migrate.dry_run {
        for (version, description) in &applied {
            print::line(&format!("-- {version:04} {description}: applied"))?;
        }
        for migration in &pending {
            print::line(&format!("-- {:04} {}: pending", migration.version, migration.description))?;
        }
        if !pending.is_empty() {
            print::line(&format!("\nset search_path = {SEARCH_PATH};"))?;
        }
        for migration in &pending {
            let (version, description) = (migration.version, &migration.description);
            print::line(&format!("\n-- {version:04} {description}\n{}", migration.sql.trim_end()))?;
        }
        return Ok(());
    }
    schema::apply(&db, |migration| {
        eprintln!("Applying {:04} {}", migration.version, migration.description);
    })
    .await?;
    print::line(&format!(
        "The schema is up to date: {} migrations, {} new.",
        applied.len() + pending.len(),
        pending.len()
    ))
}
