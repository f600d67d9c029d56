//! Commands that pages say to type are run as they are written: here, or where a test takes a page's commands
//! by [`commands`]. What is not run stands in a list, with the reason.

mod start;

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Page, SOON, Setup, Shell, eventually, in_world, paths};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// Pages and headings whose commands are run, except those of [`NOT_RUN`].
const RUN: [(&str, &str); 24] = [
    ("README.md", "A handler"),
    ("README.md", "Run it"),
    ("docs/handlers.md", "A new handler"),
    ("docs/start.md", "Build"),
    ("docs/start.md", "Start a host"),
    ("docs/start.md", "Drop a handler"),
    ("docs/start.md", "Send a message"),
    ("docs/start.md", "A dead letter"),
    ("docs/start.md", "Mend the handler"),
    ("docs/start.md", "Replay"),
    ("handlers/README.md", "handlers"),
    ("handlers/totals-c/README.md", "totals-c"),
    ("handlers/totals-go/README.md", "totals-go"),
    ("handlers/totals-javascript/README.md", "totals-javascript"),
    ("handlers/totals-python/README.md", "totals-python"),
    ("handlers/totals-rust/README.md", "totals-rust"),
    ("handlers/totals-typescript/README.md", "totals-typescript"),
    ("host/templates/c/README.md", "{{name}}"),
    ("host/templates/go/README.md", "{{name}}"),
    ("host/templates/javascript/README.md", "{{name}}"),
    ("host/templates/python/README.md", "{{name}}"),
    ("host/templates/rust/README.md", "{{name}}"),
    ("host/templates/typescript/README.md", "{{name}}"),
    ("tests/guests/README.md", "Test guests"),
];

const INTO_THE_REPOSITORY: &str =
    "it puts files beside the sources; `handlers/README.md` has the same build, and the first page the copy";
const STEPS_OF_THE_SDK: &str = "it shows what the SDK's own `build` runs, with words in place of folders";
const FROM_A_REGISTRY: &str =
    "no registry has the SDK yet; a project of `handler new` is built the same way from a folder";

const NO_ENGINE: &str =
    "it needs an engine of containers or a cluster; `deployment` runs what its containers would";
const OF_THE_MACHINE: &str =
    "it changes the machine; `deployment` judges the unit, `commands` the pages and the script";
const BY_PROMTOOL: &str = "`deployment` says the same to promtool";

const A_DEBUG_BUILD: &str = "it takes minutes; tests have the same program from a debug build in their path";

/// Commands that no test runs, and why.
const NOT_RUN: [(&str, &str, &str); 24] = [
    ("README.md", "cargo xtask demo", "it takes a minute; `first_light` and `reload` go the same way"),
    ("README.md", "cargo xtask test", "it is what runs this"),
    (
        "README.md",
        "cargo build --release -p mailroom && export PATH=\"$PWD/target/release:$PATH\"",
        A_DEBUG_BUILD,
    ),
    ("docs/start.md", "cargo build --release -p mailroom", A_DEBUG_BUILD),
    ("docs/start.md", "export PATH=\"$PWD/target/release:$PATH\"", A_DEBUG_BUILD),
    (
        "docs/handlers.md",
        "npm i -D @bytecodealliance/componentize-js@0.23.0 @bytecodealliance/preview2-shim@0.17.9",
        "the conformance handler has the same packages, and a test here compares their versions",
    ),
    (
        "guest-sdk/javascript/README.md",
        "esbuild src/totals.js --bundle --format=esm --platform=neutral --main-fields=module,main \
         --external:mailroom:* --external:wasi:* --inject:SDK/src/quickjs.js --outfile=build/totals.js",
        STEPS_OF_THE_SDK,
    ),
    (
        "guest-sdk/javascript/README.md",
        "componentize-qjs --sync --js build/totals.js --wit WIT --world quickjs-handler --output build/totals.wasm",
        STEPS_OF_THE_SDK,
    ),
    ("guest-sdk/python/README.md", "python3 -m venv venv", FROM_A_REGISTRY),
    (
        "guest-sdk/python/README.md",
        "venv/bin/pip install mailroom-guest componentize-py==0.25.1",
        FROM_A_REGISTRY,
    ),
    (
        "guest-sdk/python/README.md",
        "venv/bin/mailroom-guest build src/totals.py build/totals.wasm",
        FROM_A_REGISTRY,
    ),
    (
        "guest-sdk/python/README.md",
        "venv/bin/componentize-py -w full-handler componentize totals -o build/totals.wasm -p src -p \
         venv/lib/python3.11/site-packages",
        STEPS_OF_THE_SDK,
    ),
    (
        "host/templates/rust/README.md",
        "cargo test",
        "it compiles the SDK once more; that of `totals-rust` is run",
    ),
    ("handlers/*/README.md", "cargo build", INTO_THE_REPOSITORY),
    ("docs/deployment.md", "deploy/make-secrets", "`deployment` runs it, into a folder of its own"),
    ("docs/*.md", "docker ", NO_ENGINE),
    ("docs/*.md", "kubectl ", NO_ENGINE),
    ("docs/*.md", "helm ", NO_ENGINE),
    ("docs/*.md", "install -D ", OF_THE_MACHINE),
    ("docs/*.md", "systemctl ", OF_THE_MACHINE),
    ("docs/*.md", "journalctl ", OF_THE_MACHINE),
    ("docs/*.md", "mailroom man ", OF_THE_MACHINE),
    ("docs/*.md", "mailroom completion ", OF_THE_MACHINE),
    ("docs/*.md", "promtool ", BY_PROMTOOL),
];

fn why_not(page: &str, command: &str) -> Option<usize> {
    let is_of = |of: &str| match of.split_once('*') {
        Some((before, after)) => page.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
        None => page == of,
    };
    let is_it = |(of, what, _): &(&str, &str, &str)| {
        is_of(of) && (command == *what || of.contains('*') && command.starts_with(what))
    };
    NOT_RUN.iter().position(is_it)
}

/// Returns what a page says to type below a heading, but for what is not run.
pub(crate) fn commands(page: &str, heading: &str) -> Result<Vec<String>> {
    ensure!(
        RUN.contains(&(page, heading)),
        "{page}, {heading:?}: its commands are in no list of those that are run"
    );
    let typed = Page::read(page)?.commands().into_iter().filter(|typed| typed.heading == heading);
    let run = typed.map(|typed| typed.command).filter(|command| why_not(page, command).is_none());
    Ok(run.collect())
}

#[test]
fn each_command_that_a_page_says_to_type_is_run_or_its_reason_is_told() -> Result<()> {
    let mut wrong = Vec::new();
    let (mut run, mut not_run) = (BTreeSet::new(), BTreeSet::new());
    for page in Page::all()? {
        for typed in page.commands() {
            let place = RUN.iter().position(|of| *of == (page.path.as_str(), typed.heading.as_str()));
            let reason = why_not(&page.path, &typed.command);
            match (place, reason) {
                (_, Some(reason)) => not_run.insert(reason),
                (Some(place), None) => run.insert(place),
                (None, None) => {
                    wrong
                        .push(format!("{}, {:?}: nobody runs `{}`", page.path, typed.heading, typed.command));
                    false
                }
            };
        }
    }
    let unused = RUN.iter().enumerate().filter(|(place, _)| !run.contains(place));
    wrong.extend(
        unused.map(|(_, (page, heading))| format!("{page} has no command below {heading:?} any more")),
    );
    let unused = NOT_RUN.iter().enumerate().filter(|(place, _)| !not_run.contains(place));
    wrong.extend(unused.map(|(_, (page, command, _))| format!("{page} has no command `{command}` any more")));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn packages_that_pages_say_to_install_are_those_that_tests_use() -> Result<()> {
    let file =
        |path: &str| std::fs::read_to_string(paths::root().join(path)).with_context(|| path.to_owned());
    let used: Value = serde_json::from_str(&file("tests/conformance/javascript/package.json")?)?;
    let used_by_python = file("handlers/totals-python/requirements.txt")?;
    let mut found = 0;
    for page in ["docs/handlers.md", "guest-sdk/javascript/README.md", "guest-sdk/python/README.md"] {
        let text = file(page)?;
        let words = text.split(|c: char| c.is_whitespace() || c == '`' || c == '"');
        for word in words.map(|word| word.trim_end_matches([',', '.', ';', ':'])) {
            if let Some((package, version)) = word.rsplit_once('@').filter(|(package, _)| !package.is_empty())
            {
                if version.chars().all(|c| c.is_ascii_digit() || c == '.') && !package.contains(':') {
                    let of = used.pointer(&format!("/devDependencies/{}", package.replace('/', "~1")));
                    ensure!(
                        of.and_then(Value::as_str) == Some(version),
                        "{page}: {word}, and the tests use {of:?}"
                    );
                    found += 1;
                }
            } else if word.contains("==") {
                ensure!(
                    used_by_python.lines().any(|line| line == word),
                    "{page}: {word}, and the tests use {used_by_python}"
                );
                found += 1;
            }
        }
    }
    ensure!(found > 5, "packages are named in another way than this test reads");
    Ok(())
}

/// Runs commands one after another, each to a good end.
async fn all_good(shell: &Shell, commands: &[String]) -> Result<()> {
    for command in commands {
        shell.ran(command).await?.ok().with_context(|| command.clone())?;
    }
    Ok(())
}

#[tokio::test]
async fn components_are_built_and_invoked_as_the_pages_of_handlers_and_guests_say() -> Result<()> {
    let shell = Shell::of(&paths::root())?;
    all_good(&shell, &commands("handlers/README.md", "handlers")?).await?;
    all_good(&shell, &commands("tests/guests/README.md", "Test guests")?).await
}

#[test]
fn a_host_is_set_up_and_runs_by_what_the_first_page_says() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        let page = Page::read("README.md")?;
        let config = page.fenced("Run it", "toml").context("the first page has no configuration")?;
        let [url, brokers] = ["postgres://mailroom_host:PASSWORD@localhost:5432/shop", "localhost:9092"];
        ensure!(config.contains(url) && config.contains(brokers), "{config}");
        let config = config.replace(url, &world.db.url()).replace(brokers, world.kafka.brokers());
        // Beside the folder that a world has, as on an empty machine.
        let folder = world.folder().join("first-page");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("mailroom.toml"), config)?;
        let shell = Shell::of(&folder)?;
        let typed = commands("README.md", "Run it")?;
        let run = typed.iter().position(|command| command == "mailroom run").context("it runs no host")?;
        let (before, after) = typed.split_at(run);
        all_good(&shell, before).await?;

        let log = std::fs::File::create(folder.join("host.log"))?;
        let mut host = shell.command("exec mailroom run");
        let mut host = host.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let status = after.get(1).context("nothing is said to look at the host with")?;
        eventually("the host is told of", SOON, async || {
            Ok(!shell.ran(status).await?.ok()?.contains("No host has registered"))
        })
        .await?;
        let pid = host.id().context("the host has ended by itself")?;
        Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status().await?;
        let ended = timeout(SOON, host.wait()).await.context("the host ignores SIGTERM")??;
        ensure!(ended.success(), "it ended with {ended}");
        Ok(())
    });
}
