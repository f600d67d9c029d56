//! Certificates of Postgres: one that is not trusted is no outage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Host, SOON, Setup, World, becomes, in_world};
use sqlx::AssertSqlSafe;

use crate::arrange::Scripted;

/// Certificates and their keys, by an authority of their own, as files of a folder.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes one for the server, which is known by its address, and one for the role.
    pub(crate) fn new(folder: PathBuf, role: &str) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let certificates = Self { folder };
        certificates.make("authority", &["-subj", "/CN=authority"])?;
        let by = ["-CA", "authority.crt", "-CAkey", "authority.key", "-addext", "basicConstraints=CA:FALSE"];
        let server = ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1"];
        certificates.make("server", &[by.as_slice(), &server].concat())?;
        let subject = format!("/CN={role}");
        certificates.make("client", &[by.as_slice(), &["-subj", subject.as_str()]].concat())?;
        Ok(certificates)
    }

    fn make(&self, name: &str, args: &[&str]) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(&self.folder).args(["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256"]).args(args);
        openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
        let made = openssl.output().context("openssl cannot be started: `cargo xtask install`")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Has this world's own Postgres use them, and take whom this line of `pg_hba.conf` names as it says.
    pub(crate) async fn install(&self, world: &World, rule: &str) -> Result<()> {
        let rules = format!("{rule}\nhost all all 127.0.0.1/32 scram-sha-256");
        for (name, text) in [
            ("root.crt", fs::read_to_string(self.file("authority.crt"))?),
            ("server.crt", fs::read_to_string(self.file("server.crt"))?),
            ("server.key", fs::read_to_string(self.file("server.key"))?),
            ("pg_hba.conf", rules),
        ] {
            let write = format!(
                "copy (select unnest(string_to_array('{text}', e'\\n'))) to program 'umask 077; cat > {name}'"
            );
            world.db.execute(AssertSqlSafe(write)).await?;
        }
        for statement in [
            "alter system set ssl_ca_file = 'root.crt'",
            "alter system set ssl = on",
            "select pg_reload_conf()",
        ] {
            world.db.execute(statement).await?;
        }
        Ok(())
    }
}

/// Puts the authority where the host looks for it, and sees it work without a word of an outage.
async fn goes_on_with(ours: &Certificates, root: &Path, world: &World, host: Host) -> Result<()> {
    let scripted = Scripted::drop_into(world, 1).await?;
    fs::copy(ours.file("authority.crt"), root)?;
    world.kafka.send(&scripted.emits("k", 1)).await?;

    becomes("the message is handled", 1, SOON, async || world.db.completed().await).await?;
    ensure!(!host.log()?.contains("is away or refuses"), "Postgres was never away: {}", host.log()?);
    host.stop().await?;
    Ok(())
}

#[test]
fn a_host_that_does_not_trust_the_certificate_of_postgres_says_what_to_do_and_goes_on_once_that_is_done() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        let ours = Certificates::new(world.folder().join("ours"), "nobody")?;
        let others = Certificates::new(world.folder().join("others"), "nobody")?;
        ours.install(world, "").await?;
        let root = world.folder().join("root.crt");
        fs::copy(others.file("authority.crt"), &root)?;
        let url = format!("{}?sslmode=verify-full&sslrootcert={}", world.db.url(), root.display());
        let env = [("MAILROOM__POSTGRES__URL", url.as_str()), ("MAILROOM__ADMIN__LISTEN", "127.0.0.1:0")];
        const REMEDY: &str = "check sslmode, sslrootcert and the server's certificate";

        let mut host = world.start_host_with("a", &env)?;
        host.wait_log("invalid peer certificate").await?;
        host.wait_log(&format!("refuses; waiting until somebody acts (0 s so far): {REMEDY}")).await?;
        let (_, failing) = host.admin().await?.failing().await?;
        ensure!(failing.iter().any(|(name, why)| name == "postgres" && why.contains(REMEDY)), "{failing:?}");
        world.mailroom_with(&["status"], &env).await?.refused(4, &["invalid peer certificate", REMEDY])?;
        host.still_runs()?;
        goes_on_with(&ours, &root, world, host).await
    });
}

#[test]
fn a_file_of_a_certificate_that_cannot_be_read_is_named() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        let ours = Certificates::new(world.folder().join("ours"), "nobody")?;
        ours.install(world, "").await?;
        let root = world.folder().join("root.crt");
        let url = format!("{}?sslmode=verify-full&sslrootcert={}", world.db.url(), root.display());
        let env = [("MAILROOM__POSTGRES__URL", url.as_str())];
        let told = format!("{}, the file of sslrootcert, cannot be read", root.display());

        let mut host = world.start_host_with("a", &env)?;
        host.wait_log(&told).await?;
        host.wait_log("refuses; waiting until somebody acts (0 s so far): check the configuration").await?;
        world.mailroom_with(&["status"], &env).await?.refused(4, &[&told, "No such file"])?;
        fs::create_dir(&root)?;
        world.mailroom_with(&["status"], &env).await?.refused(4, &[&told, "is a directory"])?;
        host.still_runs()?;
        fs::remove_dir(&root)?;
        goes_on_with(&ours, &root, world, host).await
    });
}
