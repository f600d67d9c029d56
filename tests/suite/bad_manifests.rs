//! Manifests that are no good: each line is named with its remedy, and what ran goes on.

use std::fs;

use mailroom_tests::{Manifest, SOON, Setup, becomes, guest, in_world};

use crate::arrange::Scripted;

#[test]
fn each_mistake_in_a_manifest_is_named_by_check() {
    in_world(Setup::default(), async |world| {
        let component = guest("scripted")?;
        let manifest = world.folder().join("scripted.toml");
        for (line, named) in [
            ("colour = \"red\"", "colour: unknown key; allowed are"),
            (
                "grants.network = true",
                "unknown key; [grants] has the keys config, http, log, publish, sql, state",
            ),
            ("grants.log = \"loud\"", "must be \"off\" or \"error\""),
            ("grants.config = [\"API_TOKEN\"]", "set it there, or as MAILROOM__HANDLER_CONFIG__API_TOKEN"),
            ("limits.fuel = 0", "limits.fuel = 0: must be a whole number from 1"),
            ("limits.deadline = \"0s\"", "from \"1ms\" to"),
            ("limits.memory = 0", "must be a size such as"),
            // The suite's hosts have an expiry of three seconds.
            (
                "limits.deadline = \"5s\"",
                "must be at most \"2s\", two thirds of this host's host.expiry = \"3s\"",
            ),
            ("version = \" \"", "version = \" \": must be text that is not blank"),
        ] {
            fs::write(&manifest, line)?;
            let args =
                ["handler", "check", &component.to_string_lossy(), "--manifest", &manifest.to_string_lossy()];
            world.mailroom(&args).await?.refused(1, &["its manifest is wrong", named])?;
        }
        // A handler may well have no effects and keep no output.
        fs::write(&manifest, "limits.effects = 0\nlimits.output-bytes = 0\nlimits.log-bytes = 0")?;
        let args =
            ["handler", "check", &component.to_string_lossy(), "--manifest", &manifest.to_string_lossy()];
        world.mailroom(&args).await?.ok()?;
        Ok(())
    });
}

#[test]
fn a_manifest_that_is_no_good_changes_nothing_of_what_runs_and_the_others_run() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        world.drop_handler("idle", "noop", &Manifest::takes(&[&scripted.input]).with("concurrency = 0"))?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the good one works", 1, SOON, async || world.db.completed().await).await?;
        let refused = "select count(*) from mailroom.handler
                        where name = 'idle' and state = 'refused' and last_error like '%concurrency = 0%'";
        becomes("the bad one is listed", 1, SOON, async || world.db.one::<i64>(refused).await).await?;

        fs::write(world.folder().join("handlers/scripted.toml"), "grants.state = 7")?;

        let kept = "select count(*) from mailroom.handler
                     where name = 'scripted' and state = 'running' and last_error like '%grants.state = 7%'";
        becomes("the mistake is listed", 1, SOON, async || world.db.one::<i64>(kept).await).await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;
        becomes("it goes on as before", 2, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
