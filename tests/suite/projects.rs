//! Handlers in each language, from an empty folder to handled messages by the commands that pages
//! and `handler new` say.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mailroom_tests::{Page, SOON, Setup, Shell, World, becomes, in_world};
use serde_json::json;

use crate::documented::commands;

/// Time for a build that loads what it needs from registries, on a machine that is busy.
const BUILT: Duration = Duration::from_secs(300);
const ORDERS: usize = 50;
const CUSTOMERS: usize = 5;

/// Types what the first page says, in this language: makes and builds a project, runs its cases and drops it into a host.
/// Then orders are placed.
async fn from_nothing_to_handled_orders(world: &World, language: &str) -> Result<()> {
    world.kafka.create("orders", 1).await?;
    world.kafka.create("totals", 1).await?;
    fs::copy(world.settings_file()?, world.folder().join("mailroom.toml"))?;
    let compiled = world.folder().join("compiled").display().to_string();
    let shell = Shell::of(world.folder())?.with("MAILROOM__HOST__COMPILED", &compiled);
    let first_page = commands("README.md", "A handler")?;
    let guide = commands("docs/handlers.md", "A new handler")?;
    let [new, build, test, drop] = first_page.as_slice() else { bail!("other commands: {first_page:?}") };
    let Some((same, invoke)) = guide.split_at_checked(4) else { bail!("fewer commands: {guide:?}") };
    assert_eq!(same, first_page, "the guide says the same");
    let new = new.replace("--lang python", &format!("--lang {language}"));
    let said = shell.ran(&new).await?.ok()?;
    let printed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(printed, [build, test, drop], "`new` says the same");
    shell.ran(build).await?.ok()?;
    let said = shell.ran(test).await?.ok()?;
    assert!(said.contains("3 cases, 0 failed"), "{said}");
    for command in invoke {
        shell.ran(command).await?.ok()?;
    }
    as_its_own_page_says(world, language).await?;

    let host = world.start_host("a")?;
    shell.ran(drop).await?.ok()?;
    let place = "select count(mailroom.publish('orders', 'c' || n % $1, 'order.placed',
                        json_build_object('customer', 'c' || n % $1, 'amount_cents', n)))
                   from generate_series(1, $2) n";
    let placed: i64 = sqlx::query_scalar(place)
        .bind(i32::try_from(CUSTOMERS)?)
        .bind(i32::try_from(ORDERS)?)
        .fetch_one(world.db.pool())
        .await?;
    assert_eq!(usize::try_from(placed)?, ORDERS);

    let totals = async || world.kafka.read_all("totals").await;
    becomes("each order has changed a total", ORDERS, BUILT, async || Ok(totals().await?.len())).await?;
    let mut last = BTreeMap::new();
    for total in totals().await? {
        last.insert(total.key_text(), total.number("total_cents")?);
    }
    let sum = |customer: usize| (1..=ORDERS).filter(|n| n % CUSTOMERS == customer).sum::<usize>();
    let expected =
        (0..CUSTOMERS).map(|customer| (format!("c{customer}"), i64::try_from(sum(customer)).unwrap_or(-1)));
    assert_eq!(last, expected.collect());
    let settled = "select count(*) from mailroom.inbox where status = 'completed' and attempts_made <= 1";
    becomes("each order is settled at its first attempt", placed, SOON, async || world.db.one(settled).await)
        .await?;
    host.stop().await?;
    Ok(())
}

/// Types what the page of the new project says. Its tools compile but once: commands that are the first page's without the
/// folder are run for one language.
async fn as_its_own_page_says(world: &World, language: &str) -> Result<()> {
    let folder = world.folder().join("totals");
    let page = Page::read(&folder.join("README.md").to_string_lossy())?;
    let written: Vec<String> = page.commands().into_iter().map(|typed| typed.command).collect();
    let typed = commands(&format!("host/templates/{language}/README.md"), "{{name}}")?;
    let typed: Vec<String> = typed.iter().map(|command| command.replace("{{name}}", "totals")).collect();
    assert!(typed.iter().all(|command| written.contains(command)), "{written:?}");
    let same = ["mailroom handler build", "mailroom handler test", "cp totals.toml totals.wasm ../handlers/"];
    assert!(same.iter().all(|same| typed.iter().any(|command| command == same)), "{typed:?}");
    let is_run = |command: &&String| language == "c" || !same.contains(&command.as_str());
    let shell = Shell::of(&folder)?;
    for command in typed.iter().filter(is_run) {
        shell.ran(command).await?.ok()?;
    }
    Ok(())
}

/// A project `totals` in a world's folder.
struct Project<'w> {
    world: &'w World,
    path: PathBuf,
}

impl<'w> Project<'w> {
    async fn new(world: &'w World, language: &str) -> Result<Self> {
        let path = world.folder().join("totals");
        let into = path.to_str().context("the folder's name is text")?;
        let said =
            world.mailroom(&["handler", "new", "totals", "--lang", language, "--into", into]).await?.ok()?;
        for command in ["handler build", "handler test"] {
            assert!(said.contains(&format!("mailroom {command} {into}")), "{said}");
        }
        Ok(Self { world, path })
    }

    async fn ran(&self, verb: &[&str]) -> Result<mailroom_tests::Ran> {
        let folder = self.path.to_str().context("the folder's name is text")?;
        self.world.mailroom(&[&["handler"], verb, &[folder]].concat()).await
    }

    async fn build(&self) -> Result<String> {
        self.ran(&["build"]).await?.ok()
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.path.join(file), text)?)
    }
}

fn handles_orders(language: &'static str) {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| {
        from_nothing_to_handled_orders(world, language).await
    });
}

#[test]
fn a_new_project_in_rust_handles_orders() {
    handles_orders("rust");
}

#[test]
fn a_new_project_in_typescript_handles_orders() {
    handles_orders("typescript");
}

#[test]
fn a_new_project_in_javascript_handles_orders() {
    handles_orders("javascript");
}

#[test]
fn a_new_project_in_python_handles_orders() {
    handles_orders("python");
}

#[test]
fn a_new_project_in_go_handles_orders() {
    handles_orders("go");
}

#[test]
fn a_new_project_in_c_handles_orders() {
    handles_orders("c");
}

#[test]
fn a_build_that_fails_says_why_in_the_tools_words_and_leaves_the_component_as_it_was() {
    in_world(Setup::default(), async |world| {
        let project = Project::new(world, "go").await?;
        project.build().await?;
        let before = fs::read(project.path.join("totals.wasm"))?;
        project.write("main.go", "package main\n\nfunc main() { undefined() }\n")?;

        project.ran(&["build"]).await?.refused(1, &["undefined: undefined", "go build", "failed"])?;

        assert_eq!(fs::read(project.path.join("totals.wasm"))?, before);
        project.ran(&["test"]).await?.refused(1, &["main.go was changed after", "mailroom handler build"])?;
        project.write("main.go", "package main\n\nfunc main() {}\n")?;
        project.ran(&["build"]).await?.refused(1, &["mailroom:contract/handler@0.1.0"])?;
        assert_eq!(fs::read(project.path.join("totals.wasm"))?, before);
        Ok(())
    });
}

#[test]
fn a_folder_that_is_no_project_and_a_name_that_is_none_are_refused_with_the_remedy() {
    in_world(Setup::default(), async |world| {
        let path = world.folder().join("p");
        fs::create_dir(&path)?;
        let folder = path.to_str().context("the folder's name is text")?;
        let build = async || world.mailroom(&["handler", "build", folder]).await;
        build()
            .await?
            .refused(2, &["it is no project", "Cargo.toml", "mailroom handler new NAME --lang LANGUAGE"])?;
        fs::write(path.join("go.mod"), "module p\n")?;
        build().await?.refused(2, &["it has no manifest"])?;
        fs::write(path.join("p.toml"), "")?;
        world
            .mailroom(&["handler", "test", folder])
            .await?
            .refused(3, &["p.wasm", "mailroom handler build"])?;
        fs::write(path.join("Cargo.toml"), "")?;
        build().await?.refused(2, &["several languages (Cargo.toml, go.mod)"])?;

        let new = ["handler", "new", "totals", "--lang", "rust", "--into", folder];
        world.mailroom(&new).await?.refused(2, &["is not empty"])?;
        world.mailroom(&["handler", "new", "Totals!", "--lang", "rust"]).await?.refused(2, &["a-z, 0-9"])?;
        world
            .mailroom(&["handler", "new", "totals", "--lang", "cobol"])
            .await?
            .refused(2, &["possible values", "python"])?;
        Ok(())
    });
}

#[test]
fn cases_tell_differences_by_their_place_and_what_makes_two_runs_differ() {
    in_world(Setup::default(), async |world| {
        let project = Project::new(world, "go").await?;
        let source = fs::read_to_string(project.path.join("main.go"))?;
        let told = source.replace(
            "import \"mailroom/guest\"",
            "import (\n\t\"math/rand\"\n\t\"time\"\n\n\t\"mailroom/guest\"\n)",
        );
        let told = told
            .replace("map[string]any{", "map[string]any{\"at\": time.Now().Unix(), \"dice\": rand.Int63(), ");
        project.write("main.go", &told)?;
        project.build().await?;
        let case = json!({
            "message": {"payload": {"customer": "ada", "amount_cents": 1}, "key": "ada"},
            "expect": {"outcome": "rejected", "state": {"keyed": {"total_cents": 2}}, "fuel-max": 1},
        });
        fs::remove_dir_all(project.path.join("cases"))?;
        fs::create_dir(project.path.join("cases"))?;
        project.write("cases/one.json", &case.to_string())?;

        let said = project.ran(&["test"]).await?;
        assert_eq!(said.code, Some(1));
        for line in [
            "FAIL one",
            "two runs differ by the time (wasi:clocks)",
            "emitted[0].payload.at: expected",
            "two runs differ by random bytes (wasi:random)",
            "emitted[0].payload.dice: expected",
            "outcome: expected \"rejected\", was \"completed\"",
            "state.keyed.total_cents: expected 2, was 1",
            "fuel: expected at most 1, was",
            "1 case, 1 failed",
        ] {
            assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
        }

        Ok(())
    });
}

#[test]
fn a_case_is_blessed_as_it_is_written_and_one_that_cannot_run_keeps_no_other_from_it() {
    in_world(Setup::default(), async |world| {
        let project = Project::new(world, "go").await?;
        project.build().await?;
        fs::remove_dir_all(project.path.join("cases"))?;
        fs::create_dir(project.path.join("cases"))?;
        let case = json!({
            "message": {"payload": {"customer": "ada", "amount_cents": 1}, "key": "ada"},
            "expect": {"outcome": "rejected", "fuel-max": 1},
        });
        project.write("cases/one.json", &case.to_string())?;
        let report = project.path.join("junit.xml");
        let report = report.to_str().context("the folder's name is text")?;
        assert_eq!(project.ran(&["test", "--bless", "--junit", report]).await?.code, Some(0));
        assert!(fs::read_to_string(report)?.contains("testcase name=\"one\""));
        let said = project.ran(&["test"]).await?;
        assert!(said.stdout.contains("fuel: expected at most 1"), "a bound is the author's: {}", said.stdout);

        let given = "{\n  \"message\": {\"payload\": {\"customer\": \"ada\", \"amount_cents\": 1e0}, \"key\": \"ada\"}";
        project.write("cases/one.json", &format!("{given}}}"))?;
        assert_eq!(project.ran(&["test", "--bless"]).await?.code, Some(0));
        let blessed = fs::read_to_string(project.path.join("cases/one.json"))?;
        assert!(blessed.starts_with(&format!("{given},\n  \"expect\": {{")), "the message stays: {blessed}");

        let never_asked = json!({
            "message": {"payload": {"customer": "ada", "amount_cents": 1}},
            "http": [{"request": "GET https://a.example/x"}], "expect": {},
        });
        project.write("cases/two.json", &never_asked.to_string())?;
        project
            .write("cases/three.json", "{\"message\": {\"payload\": 1, \"topic\": \"x\"}, \"expect\": {}}")?;
        let said = project.ran(&["test"]).await?.stdout;
        for line in [
            "ok   one",
            "http[0]: the handler did not ask for GET https://a.example/x",
            "message: topic: unknown key",
            "3 cases, 2 failed",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
        project.ran(&["test", "--only", "four"]).await?.refused(3, &["none of the 3 cases", "\"four\""])?;
        fs::remove_file(project.path.join("cases/two.json"))?;
        fs::remove_file(project.path.join("cases/three.json"))?;

        for (case, why) in [
            ("{", "is not JSON"),
            ("[]", "must be a JSON object"),
            ("{\"expect\": {}}", "message: is missing"),
            (
                "{\"message\": {\"payload\": 1}, \"expects\": {}}",
                "expects: unknown key; there are message, state",
            ),
            ("{\"message\": {\"payload\": 1}, \"expect\": {\"output\": 1}}", "expect.output: unknown key"),
            (
                "{\"message\": {\"payload\": 1}, \"expect\": {\"outcome\": \"done\"}}",
                "expect.outcome: must be completed",
            ),
            (
                "{\"message\": {\"payload\": 1}, \"expect\": {\"fuel-max\": \"x\"}}",
                "expect.fuel-max: must be a whole",
            ),
        ] {
            project.write("cases/one.json", case)?;
            project.ran(&["test"]).await?.refused(2, &["cases/one.json", why])?;
        }
        Ok(())
    });
}
