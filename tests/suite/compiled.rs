//! The store of compiled code: where it cannot be used, handlers run all the same.

use std::fs;

use mailroom_tests::{SOON, Setup, becomes, eventually, in_world};

use crate::arrange::{Scripted, mailroom_after};

#[test]
fn a_host_that_cannot_keep_compiled_code_says_so_and_runs() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        fs::write(world.folder().join("compiled"), "a file in place of the folder")?;
        let host = world.start_host("a")?;
        host.wait_log("Compiled code is not kept").await?;

        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("it is completed", 1, SOON, async || world.db.completed().await).await?;
        assert_eq!(host.log()?.matches("ompiled code").count(), 1, "one line");
        host.stop().await?;
        Ok(())
    });
}

/// No file may grow beyond so many KiB: less than a component's code, and the host goes on where a write fails.
const FULL: &str = "trap '' XFSZ; ulimit -f 300";

#[test]
fn a_full_disk_costs_the_kept_code_and_nothing_else() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host_of(&mailroom_after(world, FULL)?, "a")?;
        host.wait_log("Compiled code cannot be kept").await?;

        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("it is completed", 1, SOON, async || world.db.completed().await).await?;
        let left = fs::read_dir(world.folder().join("compiled"))?.count();
        assert_eq!(left, 0, "nothing half-written stays");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn damaged_code_is_compiled_anew_by_the_next_start() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the first is completed", 1, SOON, async || world.db.completed().await).await?;
        let folder = world.folder().join("compiled");
        let kept = || -> anyhow::Result<Vec<_>> {
            let paths = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
            let paths: Vec<_> = paths.collect::<std::io::Result<_>>()?;
            Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "cwasm")).collect())
        };
        eventually("its code is kept", SOON, async || {
            Ok(kept()?.iter().any(|code| code.with_extension("sum").exists()))
        })
        .await?;
        let stopped = host.stop().await?;
        for code in kept()? {
            let good = fs::read(&code)?;
            fs::remove_file(&code)?;
            fs::write(&code, good.get(..good.len() / 2).unwrap_or_default())?;
        }

        let host = stopped.restart()?;

        host.wait_log("its content is not what was written; its component is compiled anew").await?;
        world.kafka.send(&scripted.emits("k", 2)).await?;
        becomes("the second is completed", 2, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
