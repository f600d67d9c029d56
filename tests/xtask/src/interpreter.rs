//! The component that runs scripts, which the program brings along: built from the packages of a registry that its
//! lock file names. No two builds give the same bytes, since QuickJS draws numbers for its tables, so that the digest is kept
//! beside it.

use crate::run::{Result, command, finish, output, root};
use std::fs;

const FOLDER: &str = "host/interpreter";
const MADE: &str = "build/interpreter.wasm";
const KEPT: &str = "interpreter.wasm";
const DIGEST: &str = "interpreter.sha256";

/// Builds it anew.
pub(crate) fn renew() -> Result {
    let folder = root()?.join(FOLDER);
    for args in [&["ci", "--no-audit", "--no-fund"][..], &["run", "--silent", "build"]] {
        let mut npm = command("npm", args)?;
        npm.current_dir(&folder);
        finish(npm)?;
    }
    fs::copy(folder.join(MADE), folder.join(KEPT))?;
    let said = output(command("sha256sum", &[&folder.join(KEPT).to_string_lossy()])?)?;
    let digest = said.split_whitespace().next().unwrap_or_default();
    Ok(fs::write(folder.join(DIGEST), format!("{digest}\n"))?)
}
