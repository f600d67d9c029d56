//! Python, by componentize-py in the project's own virtual environment.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::author::AuthorError;
use crate::author::embedded;
use crate::author::project::{Project, is_older};
use crate::author::tool::{self, Tool};

const PYTHON: Tool = Tool {
    program: "python3",
    version_argument: "--version",
    oldest: (3, 11),
    install: "see https://www.python.org/downloads, or apt-get install python3 python3-venv",
};
/// The program that the SDK installs.
const BUILDER: &str = "venv/bin/mailroom-guest";
const REQUIREMENTS: &str = "requirements.txt";
const ENTRY: &str = "src/handler.py";

pub(super) fn build(project: &Project) -> Result<Vec<u8>, AuthorError> {
    // A program with a path is looked for from here, not from the folder that it runs in.
    let folder = project.folder.canonicalize().map_err(AuthorError::file(&project.folder))?;
    let builder = folder.join(BUILDER);
    if is_older(&builder, &folder.join(REQUIREMENTS)) {
        tool::run(PYTHON.command(&project.folder)?.args(["-m", "venv", "--clear", "venv"]))?;
        let mut pip = Command::new(folder.join("venv/bin/pip"));
        pip.current_dir(&project.folder).args(["install", "--quiet", "--disable-pip-version-check"]);
        tool::run(pip.args(["-r", REQUIREMENTS]))?;
    }
    let built = format!("build/{}.wasm", project.name);
    embedded::make_folder_of(&folder.join(&built))?;
    let mut build = Command::new(builder);
    build.current_dir(&project.folder).arg("build").arg(entry(project)?).arg(built);
    project.built_by(&mut build)
}

/// The module with the handler, from the project's folder.
fn entry(project: &Project) -> Result<PathBuf, AuthorError> {
    if project.folder.join(ENTRY).exists() {
        return Ok(PathBuf::from(ENTRY));
    }
    let source = project.folder.join("src");
    let entries = fs::read_dir(&source).map_err(AuthorError::file(&source))?;
    let modules: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "py"))
        .collect();
    match modules.as_slice() {
        [one] => Ok(PathBuf::from("src").join(one.file_name().unwrap_or_default())),
        _ => Err(AuthorError::Build(format!("{}: the handler is to be {ENTRY}", project.folder.display()))),
    }
}
