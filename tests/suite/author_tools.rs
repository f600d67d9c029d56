//! Tools that an author of handlers has without any server: `handler check`, `handler invoke` and `config keys`.

mod desk;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mailroom_tests::{Manifest, Web, guest, paths, snapshot};
use serde_json::json;

use desk::at_desk;

#[test]
fn what_the_tools_say_of_each_example_is_in_its_snapshot() {
    at_desk(async |desk| {
        for folder in fs::read_dir(paths::root().join("handlers"))? {
            let folder = folder?.path();
            let is_in_rust = folder.join("Cargo.toml").exists();
            if !is_in_rust || !folder.join("message.json").exists() {
                continue;
            }
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let wasm = desk.copy(&guest(&name)?, &format!("{name}.wasm"))?;
            let message = desk.copy(&folder.join("message.json"), "message.json")?;
            let ungranted = desk.transcript(&["handler", "check", &wasm]).await?;
            desk.copy(&folder.join(format!("{name}.toml")), &format!("{name}.toml"))?;
            let invoke = ["handler", "invoke", &wasm, "--message", &message];
            let parts = [
                ungranted,
                desk.transcript(&["handler", "check", &wasm]).await?,
                desk.transcript(&["handler", "check", &wasm, "--json"]).await?,
                desk.transcript(&invoke).await?,
                desk.transcript(&[&invoke[..], &["--json", "--times", "3"]].concat()).await?,
            ];
            snapshot::unchanged(&kept(&name), &parts.join("\n"))?;
        }
        Ok(())
    });
}

#[test]
fn what_the_tools_say_of_broken_files_is_in_its_snapshot() {
    at_desk(async |desk| {
        let good = fs::read(guest("noop")?)?;
        let cut = good.get(..good.len().min(100)).unwrap_or_default();
        let newer = replaced(&good, b"mailroom:contract/handler@0.1.0", b"mailroom:contract/handler@0.2.0");
        let broken = [
            ("core-module", b"\0asm\x01\0\0\0".to_vec()),
            ("garbage", b"this is no component".to_vec()),
            ("truncated", cut.to_vec()),
            ("unknown-import", fs::read(guest("unknown-import")?)?),
            ("no-export", fs::read(guest("no-export")?)?),
            ("newer-contract", newer),
        ];
        let message = desk.write("message.json", br#"{"payload": "x"}"#)?;
        let mut parts = Vec::new();
        for (name, bytes) in broken {
            let wasm = desk.write(&format!("{name}.wasm"), &bytes)?;
            parts.push(desk.transcript(&["handler", "check", &wasm]).await?);
            parts.push(desk.transcript(&["handler", "invoke", &wasm, "--message", &message]).await?);
        }
        snapshot::unchanged(&kept("broken"), &parts.join("\n"))
    });
}

#[test]
fn each_outcome_of_an_invoked_call_has_its_exit_code_and_its_words() {
    at_desk(async |desk| {
        let wasm = desk.copy(&guest("scripted")?, "scripted.wasm")?;
        desk.write("scripted.toml", Manifest::takes(&["in"]).publishes(&["out"]).to_toml().as_bytes())?;
        for (behave, code, words) in [
            ("emit", 0, ["scripted: completed", "emitted   scripted.done to out"]),
            ("retry", 10, ["scripted: retry", "dropped: scripted.done to out"]),
            ("skip", 11, ["scripted: skipped", "told to skip"]),
            ("reject", 12, ["scripted: rejected", "told to reject"]),
            ("fail", 13, ["scripted: failure", "code      told"]),
            ("panic", 14, ["fault     trap", "told to panic"]),
        ] {
            let message = json!({"payload": {"behave": behave, "topic": "out"}, "key": "k"});
            let message = desk.write("message.json", message.to_string().as_bytes())?;
            let ran = desk.ran(&["handler", "invoke", &wasm, "--message", &message]).await?;
            ran.refused(code, &words)?;
        }
        Ok(())
    });
}

#[test]
fn what_one_call_leaves_as_state_can_be_given_to_the_next() {
    at_desk(async |desk| {
        let wasm = desk.copy(&guest("scripted")?, "scripted.wasm")?;
        desk.write("scripted.toml", Manifest::takes(&["in"]).to_toml().as_bytes())?;
        let message = desk.write("message.json", br#"{"payload": {"add": 2}, "key": "k"}"#)?;
        let state = desk.write("state.json", br#"{"keyed": {"sum": 40}}"#)?;
        let invoke = ["handler", "invoke", &wasm, "--message", &message, "--state", &state, "--json"];

        let first = desk.ran(&invoke).await?.json()?;
        desk.write("state.json", first["state"].to_string().as_bytes())?;
        let second = desk.ran(&[&invoke[..], &["--times", "3"]].concat()).await?.json()?;

        assert_eq!(first["state"], json!({"keyed": {"sum": "42"}, "shared": {}}));
        assert_eq!(second["state"]["keyed"]["sum"], "44", "each of several calls finds what was given");
        assert_eq!(second["calls"]["outcomes"], json!({"completed": 3}));
        assert!(second["calls"]["median_us"].is_f64(), "{second}");
        Ok(())
    });
}

#[test]
fn what_an_invoked_call_was_denied_names_the_grant() {
    at_desk(async |desk| {
        let wasm = desk.copy(&guest("scripted")?, "scripted.wasm")?;
        let message = desk.write("message.json", br#"{"payload": {"topic": "out"}, "key": "k"}"#)?;

        let ran = desk.ran(&["handler", "invoke", &wasm, "--message", &message]).await?;

        ran.refused(13, &["denied    publish to out", "grants.publish = [\"out\"]"])
    });
}

#[test]
fn an_invoked_call_reads_the_configuration_that_it_is_given_and_its_value_is_not_told() {
    at_desk(async |desk| {
        let wasm = desk.copy(&guest("scripted")?, "scripted.wasm")?;
        let manifest = Manifest::takes(&["in"]).grants("config = [\"API_TOKEN\"]").grants("log = \"info\"");
        desk.write("scripted.toml", manifest.to_toml().as_bytes())?;
        let script = json!({"payload": {"config": "API_TOKEN", "log": [["info", "", "hello"]]}});
        let message = desk.write("message.json", script.to_string().as_bytes())?;
        let invoke = ["handler", "invoke", &wasm, "--message", &message];

        let lacks = desk.ran(&invoke).await?;
        let given = desk.ran(&[&invoke[..], &["--set", "api-token=hunter2"]].concat()).await?.ok()?;
        let wrong = desk.ran(&[&invoke[..], &["--set", "api-token"]].concat()).await?;

        let named =
            ["grants.config = \"API_TOKEN\": must name keys of [handler-config]", "--set API_TOKEN=VALUE"];
        lacks.refused(1, &named)?;
        assert!(given.contains("config    API_TOKEN = a value of 7 bytes"), "{given}");
        assert!(given.contains("output    [info] hello") && !given.contains("hunter2"), "{given}");
        wrong.refused(2, &["must be KEY=VALUE"])?;
        let denied = script.to_string().replace("API_TOKEN", "OTHER").replace("info", "debug");
        desk.write("message.json", denied.as_bytes())?;
        let named =
            ["denied    configuration key OTHER", "denied    a log line of level debug", "grants.log"];
        desk.ran(&[&invoke[..], &["--set", "api-token=hunter2"]].concat()).await?.refused(13, &named)
    });
}

#[test]
fn an_invoked_call_sends_requests_only_where_it_was_told_to_and_they_were_granted() {
    at_desk(async |desk| {
        let web = Web::start().await?;
        let wasm = desk.copy(&guest("fetcher")?, "fetcher.wasm")?;
        let ungranted = desk.ran(&["handler", "check", &wasm]).await?.ok()?;
        assert!(ungranted.contains("it reaches no network, no files"), "{ungranted}");
        let granted = web.origin("127.0.0.1");
        desk.write("fetcher.toml", Manifest::takes(&["in"]).http(&[&granted]).to_toml().as_bytes())?;
        desk.write("mailroom.toml", b"http.addresses = [\"127.0.0.1/32\"]")?;
        let url = web.url("127.0.0.1", "/echo?token=secret");
        let message = json!({"payload": {"requests": [{"url": url}]}}).to_string();
        let message = desk.write("message.json", message.as_bytes())?;
        let invoke = ["handler", "invoke", &wasm, "--message", &message];

        let checked = desk.ran(&["handler", "check", &wasm]).await?.ok()?;
        let offline = desk.ran(&invoke).await?;
        let online = desk.ran(&[&invoke[..], &["--http"]].concat()).await?;
        let json = desk.ran(&[&invoke[..], &["--http", "--json"]].concat()).await?.json()?;

        assert!(checked.contains(&format!("it reaches {granted} over HTTP, nothing else")), "{checked}");
        let refused = format!("refused   GET {granted}/echo");
        offline.refused(13, &[&refused, "it is granted", "with --http only"])?;
        assert!(!offline.stdout.contains("grants.http"), "{}", offline.stdout);
        online.refused(0, &[&format!("requested GET {granted}/echo?…: 200 OK")])?;
        assert!(!online.stdout.contains("secret"), "{}", online.stdout);
        let asked =
            json!([{"did": "request", "request": format!("GET {granted}/echo?…"), "answer": "200 OK"}]);
        assert_eq!(json["asked"], asked);
        assert_eq!(web.requests().len(), 2);
        Ok(())
    });
}

#[test]
fn all_mistakes_in_a_message_are_named_by_their_keys() {
    at_desk(async |desk| {
        let wasm = desk.copy(&guest("scripted")?, "scripted.wasm")?;
        let message = br#"{"key": 7, "atempt": 2, "id": "x", "headers": [1], "attempt": 0, "position": {"partition": "p"}}"#;
        let message = desk.write("message.json", message)?;
        let named = [
            "payload: is missing",
            "key: must be text",
            "atempt: unknown key; there are attempt",
            "id: must be a UUID",
            "headers: must be an object",
            "attempt: must be a whole number from 1",
            "position.partition: must be a whole number",
        ];

        desk.ran(&["handler", "invoke", &wasm, "--message", &message]).await?.refused(2, &named)?;
        desk.write("message.json", b"{")?;
        desk.ran(&["handler", "invoke", &wasm, "--message", &message]).await?.refused(2, &["is not JSON"])?;
        let absent = desk.ran(&["handler", "invoke", &wasm, "--message", "absent.json"]).await?;
        absent.refused(3, &["absent.json"])
    });
}

/// A component with nothing in it, written by the project's own script.
const BUILDS_NOTHING: &str = "fs.mkdirSync('build', {recursive: true}); \
     fs.writeFileSync('build/totals.wasm', Buffer.from([0, 97, 115, 109, 13, 0, 1, 0]))";

#[test]
fn a_build_that_makes_no_handler_says_so_and_leaves_the_component_as_it_was() {
    at_desk(async |desk| {
        let folder = desk.folder("totals")?;
        let package = json!({"scripts": {"build": format!("node -e \"{BUILDS_NOTHING}\"")}});
        desk.write("totals/package.json", package.to_string().as_bytes())?;
        desk.write("totals/totals.toml", b"")?;
        let component = desk.write("totals/totals.wasm", b"the one before")?;

        let built = desk.ran(&["handler", "build", &folder]).await?;

        built.refused(1, &["what was built is no handler", "it exports nothing"])?;
        assert_eq!(fs::read(component)?, b"the one before");
        Ok(())
    });
}

#[test]
fn a_new_version_that_asks_for_more_ends_the_check_with_5() {
    at_desk(async |desk| {
        let old = desk.copy(&guest("shipping")?, "old.wasm")?;
        let new = desk.copy(&guest("invoice")?, "new.wasm")?;
        desk.write("old.toml", b"grants.publish = [\"a\"]\nlimits.fuel = 7000000\n")?;
        let more = b"grants.publish = [\"a\", \"b\"]\ngrants.state = true\ngrants.http = [\"api.example.com\"]\ngrants.log = \"warn\"\nlimits.fuel = 8000000\n";
        desk.write("new.toml", more)?;

        let grown = desk.ran(&["handler", "check", &old, &new]).await?;
        let json = desk.ran(&["handler", "check", &old, &new, "--json"]).await?;
        let same = desk.ran(&["handler", "check", &new, &new]).await?;

        grown.refused(
            5,
            &[
                "imports   mailroom:contract/state@",
                "takes     topics orders; event types order.placed",
                "grants    publish to b",
                "grants    state",
                "grants    log from off to warn",
                "grants    HTTP to api.example.com",
                "limits    fuel from 7000000 to 8000000",
            ],
        )?;
        assert!(!grown.stdout.contains("to a\n"), "what was there before is not told: {}", grown.stdout);
        assert!(serde_json::from_str::<serde_json::Value>(&json.stdout)?["grown"].is_array());
        assert!(same.ok()?.contains("Nothing grows"));
        Ok(())
    });
}

#[test]
fn keys_of_settings_are_listed_without_a_configuration_and_as_their_page_has_them() {
    at_desk(async |desk| {
        desk.write("mailroom.toml", b"no = = settings")?;
        desk.ran(&["config", "check"]).await?.refused(2, &["is not TOML"])?;
        let page = fs::read_to_string(paths::root().join("docs/configuration.md"))?;
        for command in [&["config", "keys"][..], &["config", "keys", "--manifest"]] {
            let text = desk.ran(command).await?.ok()?;
            let table = desk.ran(&[command, &["--markdown"]].concat()).await?.ok()?;
            let declared = desk.ran(&[command, &["--json"]].concat()).await?.json()?;
            assert!(page.contains(&table), "{table}");
            let declared = declared.as_array().context("a list")?;
            assert!(declared.len() > 30, "{declared:?}");
            for setting in declared {
                let (key, kind) = (&setting["key"], &setting["type"]);
                let (key, kind) = (key.as_str().context("a key")?, kind.as_str().context("a type")?);
                assert!(text.contains(&format!("{key}\n  {kind}")), "{key}: {text}");
            }
        }
        Ok(())
    });
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("suite/author_tools/{name}.snapshot"))
}

/// All places of `old` as `new`, which is as long.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len(), "lengths stand in the file, too");
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        bytes.windows(old.len()).enumerate().filter(|(_, window)| *window == old).map(|(at, _)| at).collect();
    for at in places {
        bytes.splice(at..at + new.len(), new.iter().copied());
    }
    bytes
}
