//! JavaScript and TypeScript, by npm: the project's script `build` bundles the source and compiles it with an engine.

use crate::author::AuthorError;
use crate::author::project::{Project, is_older};
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
    // What a lock file names is installed as it is, unless the project asks for more since.
    let verb = match (installed.exists(), project.folder.join("package-lock.json").exists()) {
        (false, true) => Some("ci"),
        (true, _) if !is_older(&installed, &project.folder.join("package.json")) => None,
        (_, _) => Some("install"),
    };
    if let Some(verb) = verb {
        let mut npm = NPM.command(&project.folder)?;
        tool::run(npm.args([verb, "--no-audit", "--no-fund"]))?;
    }
    project.built_by(NPM.command(&project.folder)?.args(["run", "--silent", "build"]))
}
