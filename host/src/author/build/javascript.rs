//! JavaScript and TypeScript, by npm: the project's script `build` bundles the source and compiles it with an engine.

use std::fs;

use crate::author::AuthorError;
use crate::author::project::Project;
use crate::author::tool::{self, Tool};

const INSTALL: &str = "see https://nodejs.org, or apt-get install nodejs npm";
const NODE: Tool = Tool { program: "node", version_argument: "--version", oldest: (20, 0), install: INSTALL };
const NPM: Tool = Tool { program: "npm", version_argument: "--version", oldest: (9, 0), install: INSTALL };

pub(super) fn build(project: &Project) -> Result<Vec<u8>, AuthorError> {
    NODE.command(&project.folder)?;
    if project.json_field("package.json", "/scripts/build").is_none() {
        let why = "package.json has no script `build`; it makes build/NAME.wasm, see a project of `mailroom handler new`";
        return Err(AuthorError::Build(why.to_owned()));
    }
    // npm keeps this file of what it has installed.
    let installed = project.folder.join("node_modules/.package-lock.json");
    let is_older = || {
        let changed = |path| fs::metadata(path).and_then(|of| of.modified()).ok();
        changed(installed.clone()) < changed(project.folder.join("package.json"))
    };
    // What a lock file names is installed as it is, unless the project asks for more since.
    let verb = match (installed.exists(), project.folder.join("package-lock.json").exists()) {
        (false, true) => Some("ci"),
        (true, _) if !is_older() => None,
        (_, _) => Some("install"),
    };
    if let Some(verb) = verb {
        let mut npm = NPM.command(&project.folder)?;
        tool::run(npm.args([verb, "--no-audit", "--no-fund"]))?;
    }
    let built = project.folder.join("build").join(format!("{}.wasm", project.name));
    // What an earlier build left is not to be taken for this one's.
    fs::remove_file(&built).ok();
    let mut npm = NPM.command(&project.folder)?;
    tool::run(npm.args(["run", "--silent", "build"]))?;
    let absent = |_| AuthorError::Build(format!("`npm run build` has not made {}", built.display()));
    fs::read(&built).map_err(absent)
}
