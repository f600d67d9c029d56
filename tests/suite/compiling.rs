//! Components that cost a compiler more than they are worth: refused within limits of time and memory, and nobody else
//! waits.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::wat::Core;
use mailroom_tests::{Manifest, SOON, Setup, World, becomes, guest, in_world};

use crate::arrange::Scripted;

/// A function of nested loops in which every local changes: what the compiler does grows by far more than its text.
fn bomb(locals: usize, loops: usize) -> Result<Vec<u8>> {
    let one_more = |local: usize| format!("(local.set {local} (i32.add (local.get {local}) (i32.const 1)))");
    let all: String = (1..=locals).map(one_more).collect();
    let function = format!(
        "(func $x (param i32) (result i32) (local {}) {} {all} {} (local.get 1))",
        "i32 ".repeat(locals),
        "(loop ".repeat(loops),
        "(br_if 0 (local.get 0)))".repeat(loops),
    );
    let handle = "(drop (call $x (i32.const 0))) i32.const 16";
    Core { declares: &function, handle, ..Core::default() }.component()
}

/// More than ten seconds of one processor, and hundreds of megabytes.
fn slow_bomb() -> Result<Vec<u8>> {
    bomb(40_000, 3)
}

fn drop_bomb(world: &World, name: &str, bytes: &[u8]) -> Result<()> {
    let manifest = Manifest::takes(&["bombs"]).to_toml();
    fs::write(world.folder().join(format!("handlers/{name}.toml")), manifest)?;
    world.drop_component(name, bytes)
}

const SHORT: (&str, &str) = ("MAILROOM__HOST__COMPILE_TIMEOUT", "3s");
const SMALL: (&str, &str) = ("MAILROOM__HOST__COMPILE_MEMORY_MAX", "64MiB");

#[test]
fn a_component_that_takes_too_long_to_compile_is_refused_with_its_remedy_and_the_version_that_runs_goes_on() {
    in_world(Setup { env: &[SHORT], ..Setup::default() }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        host.wait_log("Handler scripted runs").await?;

        world.drop_component("scripted", &slow_bomb()?)?;

        host.wait_log("Handler scripted keeps ").await?;
        let log = host.log()?;
        let said =
            log.lines().find(|line| line.contains("Handler scripted keeps ")).context("nothing is said")?;
        ensure!(
            said.contains("more than 3s of processor time") && said.contains("host.compile-timeout"),
            "{said}"
        );
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the version before works", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn however_many_components_compile_slowly_a_small_one_is_loaded_beside_them() {
    in_world(Setup::default(), async |world| {
        let slow = slow_bomb()?;
        for number in 0..4 {
            // Each is another file, so that none is found compiled.
            let mut bytes = slow.clone();
            bytes.extend([0, 2, 1, b'0' + number]);
            drop_bomb(world, &format!("slow-{number}"), &bytes)?;
        }
        let host = world.start_host("a")?;
        let scripted = Scripted::drop_into(world, 1).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("it is loaded and works", 1, SOON, async || world.db.completed().await).await?;
        let still = "select count(*) from mailroom.handler where name like 'slow-%' and state = 'compiling'";
        ensure!(world.db.column::<i64>(still).await? != [0], "the slow ones still compile");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_is_refused_and_the_host_does_not_grow() {
    in_world(Setup { env: &[SMALL], ..Setup::default() }, async |world| {
        Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        host.wait_log("Handler scripted runs").await?;
        let before = host.resident_bytes()?;

        drop_bomb(world, "large", &slow_bomb()?)?;

        host.wait_log("Handler large does not run: compiling it took more than 64.0 MiB of memory").await?;
        ensure!(host.log()?.contains("host.compile-memory-max"), "the remedy is named");
        let grown = host.resident_bytes()?.saturating_sub(before);
        ensure!(grown < 32 << 20, "the host grew by {grown} bytes");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_second_check_of_a_file_does_not_compile_it_again() {
    in_world(Setup::default(), async |world| {
        let file = guest("scripted")?;
        let check = async || world.mailroom(&["handler", "check", &file.to_string_lossy()]).await?.ok();
        let kept = || -> Result<Vec<_>> {
            let entries = fs::read_dir(world.folder().join("compiled"))?;
            let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            paths.retain(|path| path.extension().is_some_and(|end| end == "cwasm"));
            Ok(paths)
        };
        let first = check().await?;
        let kept_first = kept()?;
        let [code] = kept_first.as_slice() else { anyhow::bail!("{kept_first:?} are kept") };
        let written = fs::metadata(code)?.modified()?;
        let long_ago = written - Duration::from_secs(3600);
        fs::File::open(code)?.set_modified(long_ago)?;

        let second = check().await?;

        ensure!(first == second, "{first}{second}");
        ensure!(kept()? == kept_first, "it is the same file");
        ensure!(fs::metadata(code)?.modified()? > long_ago, "and it was used");
        Ok(())
    });
}

#[test]
fn check_ends_within_the_limit_too() {
    in_world(Setup { env: &[SHORT], ..Setup::default() }, async |world| {
        let file = world.folder().join("slow.wasm");
        fs::write(&file, slow_bomb()?)?;
        let ran = world.mailroom(&["handler", "check", &file.to_string_lossy()]).await?;
        ran.refused(1, &["more than 3s of processor time", "host.compile-timeout"])?;
        Ok(())
    });
}
