//! Rust, by cargo.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::author::AuthorError;
use crate::author::project::Project;
use crate::author::tool::{self, Tool};

const TARGET: &str = "wasm32-wasip2";
const CARGO: Tool = Tool {
    program: "cargo",
    version_argument: "--version",
    oldest: (1, 95),
    install: "see https://rustup.rs, or `rustup update stable`",
};
const RUSTC: Tool = Tool { program: "rustc", ..CARGO };

pub(super) fn build(project: &Project) -> Result<Vec<u8>, AuthorError> {
    let mut cargo = CARGO.command(&project.folder)?;
    let mut rustc = RUSTC.command(&project.folder)?;
    let library = rustc.args(["--print", "target-libdir", "--target", TARGET]).output();
    let library =
        library.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    if !Path::new(&library).is_dir() {
        return Err(AuthorError::Tool(format!(
            "Rust's target {TARGET} is not installed; install it: rustup target add {TARGET}"
        )));
    }
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let said = tool::output(&mut cargo)?;
    let messages = said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let built = messages.filter_map(|message: Value| component_of(&message, &project.folder)).next_back();
    let Some(built) = built else {
        let why = "cargo built no component; Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`";
        return Err(AuthorError::Build(why.to_owned()));
    };
    fs::read(&built).map_err(AuthorError::file(Path::new(&built)))
}

/// The component that cargo tells of, where it is the project's own.
fn component_of(message: &Value, folder: &Path) -> Option<String> {
    let of_project = Path::new(message.get("manifest_path")?.as_str()?).parent()?.canonicalize().ok()?
        == folder.canonicalize().ok()?;
    let files = message.get("filenames")?.as_array()?;
    let file = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
    of_project.then(|| file.to_owned())
}
