//! What `status` says of lanes: whose they are, and since when nobody's.

use anyhow::{Context as _, Result};
use mailroom_tests::{SOON, Setup, World, becomes, eventually, in_world};
use serde_json::Value;

use crate::arrange::Scripted;

/// The lanes by kind and by whether a living host has them.
async fn lanes(world: &World, kind: &str, alive: bool) -> Result<Vec<Value>> {
    let mut status = world.mailroom(&["status", "--json"]).await?.json()?;
    let lanes = status.get_mut("lanes").and_then(Value::as_array_mut).context("no lanes")?;
    lanes.retain(|lane| lane["kind"] == kind && lane["alive"] == alive);
    Ok(lanes.clone())
}

#[test]
fn lanes_are_shown_with_their_owners_and_as_nobodys_once_these_are_dead() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 2).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the message is completed", 1, SOON, async || world.db.completed().await).await?;
        becomes("all outbox lanes are owned", 64, SOON, async || {
            Ok(lanes(world, "outbox", true).await?.len())
        })
        .await?;

        let inbox = lanes(world, "inbox", true).await?;
        assert_eq!(inbox.len(), 2, "{inbox:?}");
        for lane in &inbox {
            assert_eq!(
                (lane["worker"].as_str(), lane["topic"].as_str()),
                (Some("a"), Some(&*scripted.input))
            );
            assert!(lane["owned_since"].is_string() && lane["free_since"].is_null(), "{lane}");
            assert_eq!(lane["token"], 1);
        }
        let shown = world.mailroom(&["status"]).await?.ok()?;
        assert!(shown.contains("LANES OF") && !shown.contains("nobody"), "{shown}");

        host.kill().await?;
        eventually("the lanes are nobody's", SOON, async || {
            Ok(lanes(world, "inbox", false).await?.len() == 2)
        })
        .await?;
        assert!(lanes(world, "inbox", false).await?.iter().all(|lane| lane["free_since"].is_string()));
        let shown = world.mailroom(&["status"]).await?.ok()?;
        assert!(shown.contains("nobody") && shown.contains("have no owner, for "), "{shown}");
        Ok(())
    });
}
