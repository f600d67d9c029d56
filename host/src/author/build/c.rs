//! C and C++, by clang, as the project's Makefile says.

use std::fs;
use std::process::Command;

use crate::author::AuthorError;
use crate::author::project::Project;
use crate::author::tool::{self, Tool};

const INSTALL: &str = "apt-get install make clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc";
const MAKE: Tool = Tool { program: "make", version_argument: "--version", oldest: (4, 0), install: INSTALL };
/// Names of the compiler, those of one version first: they are the ones whose libraries are installed for it.
const CLANGS: [&str; 7] = ["clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-17", "clang"];

pub(super) fn build(project: &Project) -> Result<Vec<u8>, AuthorError> {
    let mut make = MAKE.command(&project.folder)?;
    let is_there = |clang: &&str| Command::new(clang).arg("--version").output().is_ok();
    let Some(clang) = CLANGS.into_iter().find(is_there) else {
        return Err(AuthorError::Tool(format!("clang is not installed; install it: {INSTALL}")));
    };
    let module = format!("{}.core.wasm", project.name);
    tool::run(make.args(["--silent", &module, &format!("CLANG={clang}")]))?;
    let module = project.folder.join(module);
    fs::read(&module).map_err(AuthorError::file(&module))
}
