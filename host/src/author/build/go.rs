//! Go, by the standard compiler, as a module for WASI preview 1.

use std::fs;

use crate::author::AuthorError;
use crate::author::embedded;
use crate::author::project::Project;
use crate::author::tool::{self, Tool};

const GO: Tool =
    Tool { program: "go", version_argument: "version", oldest: (1, 26), install: "see https://go.dev/dl" };

pub(super) fn build(project: &Project) -> Result<Vec<u8>, AuthorError> {
    let module = project.folder.join("build/module.wasm");
    embedded::make_folder_of(&module)?;
    let mut go = GO.command(&project.folder)?;
    go.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("CGO_ENABLED", "0")]);
    // Without paths and the state of the repository the same source gives the same bytes.
    go.args([
        "build",
        "-buildmode=c-shared",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w -checklinkname=0",
        "-o",
        "build/module.wasm",
        ".",
    ]);
    tool::run(&mut go)?;
    fs::read(&module).map_err(AuthorError::file(&module))
}
