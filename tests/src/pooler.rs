//! A PgBouncer before the database of one test.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpStream;

use crate::wait::{SOON, eventually};

/// Debian has it here, which is on no search path.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Time for which PgBouncer lets a client keep its server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// Mode in which a client keeps it for as long as it is connected.
    Session,
    /// Mode in which a client keeps it for a transaction.
    Transaction,
}

/// A running PgBouncer. Dropping it ends it.
#[derive(Debug)]
pub struct Pooler {
    child: Child,
    mode: PoolMode,
    url: String,
    users: PathBuf,
}

impl Pooler {
    /// Starts one before the database of the URL, with its files in a new folder.
    ///
    /// # Errors
    /// Where it is not installed or does not take connections.
    pub(crate) async fn start(mode: PoolMode, url: &str, folder: &Path) -> Result<Self> {
        let (user, place) =
            url.strip_prefix("postgres://").and_then(|url| url.split_once('@')).context("no user")?;
        let (user, password) = user.split_once(':').context("no password")?;
        let (address, database) = place.split_once('/').context("no database")?;
        let (host, server_port) = address.split_once(':').context("no port")?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let (users, settings) = (folder.join("users.txt"), folder.join("pgbouncer.ini"));
        fs::write(&users, format!("\"{user}\" \"{password}\"\n"))?;
        let mode_name = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        };
        // Round robin: in transaction mode each transaction is another backend's.
        let text = format!(
            "[databases]\n{database} = host={host} port={server_port} dbname={database}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {}\npool_mode = {mode_name}\nserver_round_robin = 1\ndefault_pool_size = 40\n",
            users.display(),
        );
        fs::write(&settings, text)?;
        let log = File::create(folder.join("pgbouncer.log"))?;
        // Ends with the test's thread, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        if is_root()? {
            // It refuses to be root.
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
        }
        command.arg(PROGRAM).arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child =
            command.spawn().with_context(|| format!("{PROGRAM} cannot be started: `cargo xtask install`"))?;
        let url = format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}");
        let pooler = Self { child, mode, url, users };
        let takes = async || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok());
        eventually("PgBouncer takes connections", SOON, takes).await?;
        Ok(pooler)
    }

    /// Returns the URL by which clients find the database.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns its `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        let place = self.url.rsplit('@').next().unwrap_or(&self.url);
        place.split('/').next().unwrap_or(place).to_owned()
    }

    /// Has it take another role.
    ///
    /// # Errors
    /// Where its files or its process are gone.
    pub fn admit(&self, role: &str, password: &str) -> Result<()> {
        let mut users = File::options().append(true).open(&self.users)?;
        writeln!(users, "\"{role}\" \"{password}\"")?;
        let told = Command::new("kill").args(["-s", "HUP", &self.child.id().to_string()]).status()?;
        ensure!(told.success(), "PgBouncer is gone");
        Ok(())
    }

    /// Returns the mode that it was set to.
    #[must_use]
    pub fn mode(&self) -> PoolMode {
        self.mode
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output()?;
    Ok(String::from_utf8_lossy(&id.stdout).trim() == "0")
}
