//! The demo of `compose.yaml` with the settings, commands and files of its services: orders become parcels, its check of
//! health says so, and a real Prometheus has the alerts and the answers to whatever the dashboards ask.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Admin, LATER, SOON, Setup, Shell, eventually, guest, in_world, paths};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::super::{Scratch, at, items, text, words, yaml};
use super::{COMPOSE, environment};

/// Panels that show nothing while nothing is wrong.
const EMPTY_WHILE_ALL_IS_WELL: [&str; 10] = [
    "Blocked keys",
    "Dead letters",
    "Dead letters and blocked keys",
    "Dead letters by reason",
    "Faults",
    "Faults by kind",
    "Hosts that do not answer",
    "Not for the handler",
    "Records that Kafka refuses",
    "Share of faults",
];

const SETUP: Setup = Setup { own_postgres: false, own_kafka: true, unmigrated: true, env: &[] };

/// Places here of what a service's text names within its container.
struct Places {
    secrets: String,
    brokers: String,
}

impl Places {
    fn here(&self, text: &str) -> String {
        let text = text.replace("/run/secrets", &self.secrets).replace("kafka:9092", &self.brokers);
        let sql = paths::root().join("deploy/compose/orders.sql").display().to_string();
        // Any port, which the log names.
        text.replace("/shop/orders.sql", &sql).replace("0.0.0.0:9180", "0.0.0.0:0").replace("$$", "$")
    }

    fn shell(&self, scratch: &Scratch, service: &Value) -> Result<Shell> {
        let handlers = scratch.path().join("handlers").display().to_string();
        let shell = Shell::of(scratch.path())?.with("MAILROOM__HOST__HANDLERS", &handlers);
        let env = environment(service)?.into_iter();
        Ok(env.fold(shell, |shell, (name, value)| shell.with(&name, &self.here(&value))))
    }

    /// A service's command line as a process, once it is started.
    fn start(&self, service: &Value, pointer: &str) -> Result<Command> {
        let line = items(service, pointer)?.iter().map(|word| word.as_str().context("a word"));
        let line = line.collect::<Result<Vec<_>>>()?;
        let (program, args) = line.split_first().context("a command")?;
        let mut command = Command::new(program);
        command.args(args.iter().map(|arg| self.here(arg))).stdin(Stdio::null()).stdout(Stdio::null());
        command.kill_on_drop(true);
        Ok(command)
    }
}

#[test]
fn orders_become_parcels_and_prometheus_has_what_alerts_and_dashboards_ask() {
    in_world(SETUP, async |world| {
        let (scratch, compose) = (Scratch::new()?, yaml(COMPOSE)?);
        let service = |name: &str| at(&compose, &format!("/services/{name}"));
        let places = Places { secrets: scratch.secrets().await?, brokers: world.kafka.brokers().to_owned() };
        fs::write(format!("{}/postgres-url", places.secrets), world.db.url())?;
        for topic in ["orders", "invoices", "parcels"] {
            world.kafka.create(topic, 3).await?;
        }
        for handler in ["invoice", "shipping"] {
            let manifest = text(&format!("handlers/{handler}/{handler}.toml"))?;
            scratch.write(&format!("handlers/{handler}.toml"), &manifest)?;
            fs::copy(guest(handler)?, scratch.path().join(format!("handlers/{handler}.wasm")))?;
        }

        let migrate = service("migrate")?;
        let command = format!("mailroom {}", words(migrate, "/command/0")?);
        places.shell(&scratch, migrate)?.ran(&command).await?.ok()?;
        let mut shop = places.start(service("shop")?, "/command")?.spawn()?;
        let log = scratch.path().join("host.log");
        let mut host = places.shell(&scratch, service("mailroom")?)?.command("exec mailroom run");
        let mut host = host.stdin(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        let parcels = "select count(*) from mailroom.outbox where topic = 'parcels' and status = 'completed'";
        let arrived = async || Ok(world.db.one::<i64>(parcels).await? > 3);
        let arrived = eventually("parcels are on Kafka", LATER, arrived).await;
        arrived.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;

        let port = admin_port(&log).await?;
        healthy(&places, service("mailroom")?, port).await?;
        watched(&scratch, &places, port).await?;
        shop.kill().await?;
        Ok(host.kill().await?)
    });
}

/// The port that the host was given.
async fn admin_port(log: &Path) -> Result<u16> {
    const SAYS: &str = "Metrics, health and the dashboard are at http://";
    eventually("the host listens", SOON, async || Ok(fs::read_to_string(log)?.contains(SAYS))).await?;
    let log = fs::read_to_string(log)?;
    let behind = log.rsplit(SAYS).next().unwrap_or_default();
    let address = behind.split(|sign: char| !sign.is_ascii_digit() && !".:".contains(sign)).next();
    Ok(address.context("an address")?.parse::<SocketAddr>()?.port())
}

/// Runs the check of the container's health, which has to tell a host from none.
async fn healthy(places: &Places, service: &Value, port: u16) -> Result<()> {
    let check = async |port: u16| {
        let line = items(service, "/healthcheck/test")?.iter().skip(1);
        let line = line.map(|word| places.here(word.as_str().unwrap_or_default()));
        let mut line = line.map(|word| word.replace("/9180", &format!("/{port}")));
        let mut command = Command::new(line.next().context("a program")?);
        Ok(command.args(line).stderr(Stdio::null()).status().await?.success())
    };
    eventually("it is healthy", SOON, async || check(port).await).await?;
    let unused = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    ensure!(!check(unused).await?, "nobody is healthy too");
    Ok(())
}

/// Has a Prometheus look at the host, by the configuration of its service.
async fn watched(scratch: &Scratch, places: &Places, port: u16) -> Result<()> {
    let config = text("deploy/prometheus/prometheus.yaml")?;
    let here = places.here(&config).replace("mailroom:9180", &format!("127.0.0.1:{port}"));
    let here = here.replace("_interval: 15s", "_interval: 1s");
    ensure!(here.matches("_interval: 1s").count() == 2 && here.contains(&port.to_string()), "{here}");
    let config = scratch.write("prometheus/prometheus.yaml", &here)?;
    scratch.write("prometheus/alerts.yaml", &text("deploy/prometheus/alerts.yaml")?)?;
    let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let mut prometheus = prometheus(scratch, &config, address)?;
    let asked = Admin::at(address);

    let up = async || {
        // It may not listen yet.
        let Ok(up) = query(asked, "sum(up{job=\"mailroom\"})").await else { return Ok(false) };
        Ok(up.first().is_some_and(|series| series.pointer("/value/1").is_some_and(|value| value == "1")))
    };
    let log = scratch.path().join("prometheus.log");
    let seen = eventually("the host is scraped with its token", LATER, up).await;
    seen.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    let evaluated = async || {
        let rules = api(asked, "/api/v1/rules").await?;
        let groups = items(&rules, "/groups")?.iter();
        let rules: Vec<&Value> = groups.flat_map(|group| group["rules"].as_array()).flatten().collect();
        for rule in &rules {
            ensure!(rule["health"] != "err", "{rule}");
            // One host has what it needs within the test's minute, or its alert waits longer than that.
            ensure!(rule["state"] != "firing" || rule["name"] == "MailroomNewDeadLetters", "{rule}");
        }
        Ok(rules.len() >= 15 && rules.iter().all(|rule| rule["health"] == "ok"))
    };
    eventually("all alerts are judged", SOON, evaluated).await?;
    for board in ["overview", "handlers", "postgres"] {
        answered(asked, board).await?;
    }
    Ok(prometheus.kill().await?)
}

fn prometheus(scratch: &Scratch, config: &str, address: SocketAddr) -> Result<Child> {
    let log = File::create(scratch.path().join("prometheus.log"))?;
    let mut command = Command::new(paths::prometheus("prometheus")?);
    command.args(["--config.file", config, "--web.listen-address", &address.to_string()]);
    command.arg("--storage.tsdb.path").arg(scratch.path().join("tsdb"));
    command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().context("prometheus: run `cargo xtask install`")
}

/// Asks what each panel asks, with all hosts and handlers chosen.
async fn answered(asked: Admin, board: &str) -> Result<()> {
    let dashboard: Value = serde_json::from_str(&text(&format!("deploy/grafana/dashboards/{board}.json"))?)?;
    for panel in items(&dashboard, "/panels")?.iter().filter(|panel| panel["type"] != "row") {
        let title = words(panel, "/title")?;
        for target in items(panel, "/targets")? {
            let expression = words(target, "/expr")?.replace("$__rate_interval", "1m");
            let expression =
                expression.replace("=\"$job\"", "=\"mailroom\"").replace("=~\"$handler\"", "=~\".*\"");
            let expression = expression.replace("=~\"$instance\"", "=~\".*\"");
            ensure!(!expression.contains('$'), "{board}, {title}: {expression}");
            let has_answer = async || Ok(!query(asked, &expression).await?.is_empty());
            if EMPTY_WHILE_ALL_IS_WELL.contains(&title) {
                has_answer().await?;
            } else {
                eventually(&format!("{board}, {title} has data"), SOON, has_answer).await?;
            }
        }
    }
    Ok(())
}

/// Series that an expression gives now.
async fn query(asked: Admin, expression: &str) -> Result<Vec<Value>> {
    let quoted: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let data = api(asked, &format!("/api/v1/query?query={quoted}")).await?;
    Ok(items(&data, "/result")?.to_vec())
}

async fn api(asked: Admin, path: &str) -> Result<Value> {
    // In HTTP 1.0 a body comes in one piece.
    let answer = asked.send(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await?;
    let body: Value = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    ensure!(
        answer.status == 200 && body.get("status").is_some_and(|status| status == "success"),
        "{path}: {body}"
    );
    Ok(at(&body, "/data")?.clone())
}
