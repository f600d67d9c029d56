//! Changes of the drop folder are told in one line each.

use std::fs::{self, File};
use std::io::Write as _;

use anyhow::Result;
use mailroom_tests::{Host, Manifest, SOON, Setup, World, becomes, guest, in_world};
use serde_json::Value;

use crate::arrange::Scripted;

fn lines(host: &Host, text: &str) -> Result<usize> {
    Ok(host.log()?.lines().filter(|line| line.contains(text)).count())
}

/// Returns what the registry says of a handler, as `handler list` shows it.
async fn listed(world: &World, handler: &str) -> Result<Value> {
    let listed = world.mailroom(&["handler", "list", "--json"]).await?.json()?;
    let found = listed.as_array().and_then(|all| all.iter().find(|one| one["name"] == handler)).cloned();
    Ok(found.unwrap_or_default())
}

#[test]
fn a_rename_an_edited_manifest_and_a_removal_are_told_in_one_line_each() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let handlers = world.folder().join("handlers");
        let host = world.start_host("a")?;
        host.wait_log("Handler scripted runs").await?;

        for end in ["toml", "wasm"] {
            fs::rename(handlers.join(format!("scripted.{end}")), handlers.join(format!("renamed.{end}")))?;
        }
        host.wait_log("Handler scripted is now renamed: it runs").await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("it works under its new name", 1, SOON, async || world.db.completed().await).await?;
        assert_eq!(lines(&host, "Handler scripted is ")?, 1);
        assert_eq!(lines(&host, "Handler renamed runs")?, 0);

        let manifest =
            Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]).with("concurrency = 3");
        fs::write(handlers.join("renamed.toml"), manifest.to_toml())?;
        host.wait_log("Handler renamed now runs").await?;

        fs::remove_file(handlers.join("renamed.wasm"))?;
        host.wait_log("Handler renamed is removed; its messages wait").await?;
        becomes("the registry says so", Value::from("removed"), SOON, async || {
            Ok(listed(world, "renamed").await?["state"].clone())
        })
        .await?;
        assert_eq!((lines(&host, "Handler renamed now runs")?, lines(&host, "is removed")?), (1, 1));
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_file_that_is_written_in_place_is_taken_when_it_is_whole() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let handlers = world.folder().join("handlers");
        let host = world.start_host("a")?;
        host.wait_log("Handler scripted runs").await?;
        let good = fs::read(guest("noop")?)?;
        let (first, rest) = good.split_at(good.len() / 2);

        // Whoever copies slowly, with a pause that the periodic look falls into.
        let mut file = File::create(handlers.join("scripted.wasm"))?;
        file.write_all(first)?;
        host.wait_log("Handler scripted keeps").await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the version before goes on", 1, SOON, async || world.db.completed().await).await?;
        file.write_all(rest)?;
        drop(file);

        host.wait_log("Handler scripted now runs").await?;
        assert_eq!(lines(&host, "Handler scripted keeps")?, 1);
        let digest = world.db.digest_of(&guest("noop")?).await?;
        becomes("the registry says so", (Value::from(digest), Value::Null), SOON, async || {
            let listed = listed(world, "scripted").await?;
            Ok((listed["digest"].clone(), listed["last_error"].clone()))
        })
        .await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_checkout_of_the_folder_is_told_in_one_line_a_handler() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        let handlers = world.folder().join("handlers");
        let before = Manifest::takes(&[&input]);
        for name in ["changed", "gone", "same"] {
            world.drop_handler(name, "edition-one", &before)?;
        }
        let host = world.start_host("a")?;
        for name in ["changed", "gone", "same"] {
            host.wait_log(&format!("Handler {name} runs")).await?;
        }

        // As git does it: files are removed and made anew, in the order of their names.
        let after = before.clone().publishes(&[&output]).to_toml();
        for (name, content) in [
            ("changed.toml", Some(after.clone().into_bytes())),
            ("changed.wasm", Some(fs::read(guest("edition-two")?)?)),
            ("gone.toml", None),
            ("gone.wasm", None),
            ("new.toml", Some(after.into_bytes())),
            ("new.wasm", Some(fs::read(guest("noop")?)?)),
        ] {
            let path = handlers.join(name);
            if path.exists() {
                fs::remove_file(&path)?;
            }
            if let Some(content) = content {
                fs::write(&path, content)?;
            }
        }

        for line in ["Handler changed now runs", "Handler gone is removed", "Handler new runs"] {
            host.wait_log(line).await?;
            assert_eq!(lines(&host, line)?, 1, "{line}");
        }
        assert_eq!((lines(&host, "Handler same")?, lines(&host, "keeps")?), (1, 0));
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn the_registry_tells_version_and_state_and_since_when_both_are_so() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let handlers = world.folder().join("handlers");
        let manifest = Manifest::takes(&[&scripted.input]);
        world.drop_handler("scripted", "scripted", &manifest.clone().with("version = \"1.2.3\""))?;
        let host = world.start_host("a")?;
        becomes("it runs", Value::from("1.2.3"), SOON, async || {
            Ok(listed(world, "scripted").await?["version"].clone())
        })
        .await?;
        let first = listed(world, "scripted").await?;
        assert!(first["state"] == "running" && first["since"].is_string(), "{first}");

        fs::write(handlers.join("scripted.toml"), "nonsense")?;
        becomes("the mistake is shown", true, SOON, async || {
            Ok(listed(world, "scripted").await?["last_error"].is_string())
        })
        .await?;
        assert_eq!(listed(world, "scripted").await?["since"], first["since"], "the same runs as before");

        world.drop_handler("scripted", "noop", &manifest.with("version = \"1.2.4\""))?;
        becomes("the next version runs", Value::from("1.2.4"), SOON, async || {
            Ok(listed(world, "scripted").await?["version"].clone())
        })
        .await?;
        let second = listed(world, "scripted").await?;
        assert!(second["since"].as_str() > first["since"].as_str(), "{second}");
        assert!(second["last_error"].is_null(), "{second}");
        let shown = world.mailroom(&["status"]).await?.ok()?;
        assert!(shown.contains("1.2.4") && shown.contains("VERSION"), "{shown}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_file_that_is_far_too_large_is_refused_and_the_others_run() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let handlers = world.folder().join("handlers");
        File::create(handlers.join("huge.wasm"))?.set_len(200 << 20)?;
        fs::create_dir(handlers.join("folder.wasm"))?;
        let host = world.start_host("a")?;

        host.wait_log("Handler huge does not run").await?;
        host.wait_log("has more than 67108864 bytes; strip its debug information").await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("the good one works", 1, SOON, async || world.db.completed().await).await?;
        let huge = handlers.join("huge.wasm");
        let checked = world.mailroom(&["handler", "check", &huge.to_string_lossy()]).await?;
        checked.refused(1, &["has more than 67108864 bytes"])?;
        host.stop().await?;
        Ok(())
    });
}
