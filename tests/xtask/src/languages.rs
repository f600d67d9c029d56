//! Handlers in other languages for the tests: their toolchains, and the component of each SDK's conformance handler.

use crate::install::{self, Need};
use crate::run::{Result, built, command, finish, root, succeeds};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Folders of each language's handler, and of its SDK.
const HANDLERS: [(&str, &str); 5] = [
    ("tests/conformance/rust", "guest-sdk/rust"),
    ("tests/conformance/javascript", "guest-sdk/javascript"),
    ("tests/conformance/python", "guest-sdk/python"),
    ("tests/conformance/go", "guest-sdk/go"),
    ("tests/conformance/c", "guest-sdk/c"),
];
const CONTRACT: &str = "wit";
/// Folders that hold what tools have made of sources.
const MADE: [&str; 6] = ["node_modules", "venv", "build", "target", "__pycache__", "wit"];

pub(crate) static PYTHON_VENV: Need = Need {
    what: "Python's venv",
    package: "python3-venv",
    is_there: || succeeds("python3", &["-m", "venv", "--help"]),
};

static NEEDS: [Need; 6] = [
    Need { what: "Node.js", package: "nodejs", is_there: || succeeds("node", &["--version"]) },
    Need { what: "npm", package: "npm", is_there: || succeeds("npm", &["--version"]) },
    Need { what: "clang 19", package: "clang-19", is_there: || succeeds("clang-19", &["--version"]) },
    Need { what: "wasm-ld 19", package: "lld-19", is_there: || succeeds("wasm-ld-19", &["--version"]) },
    Need {
        what: "clang's library for wasm32",
        package: "libclang-rt-19-dev-wasm32",
        is_there: || Path::new("/usr/lib/llvm-19/lib/clang/19/lib/wasi").exists(),
    },
    Need {
        what: "wasi-libc",
        package: "wasi-libc",
        is_there: || Path::new("/usr/include/wasm32-wasi").exists(),
    },
];

/// Makes sure of the toolchains.
pub(crate) fn install() -> Result {
    install::packages(&NEEDS.iter().chain([&PYTHON_VENV]).collect::<Vec<_>>())?;
    if succeeds("go", &["version"]) {
        return Ok(());
    }
    Err("missing: Go 1.26 or newer, which Debian's packages do not have; https://go.dev/dl has it".into())
}

/// Builds what is older than its sources, by the program's own command.
pub(crate) fn build() -> Result {
    let root = root()?;
    let mailroom = built("mailroom")?;
    let mailroom = mailroom.to_string_lossy();
    for (folder, sdk) in HANDLERS {
        let sources = [folder, sdk, CONTRACT].map(|of| newest(&root.join(of)));
        let sources = sources.into_iter().collect::<Result<Vec<_>>>()?.into_iter().max();
        let is_current = |file: &str| {
            let made = fs::metadata(root.join(folder).join(file)).map(|file| written(&file)).ok();
            made.is_some() && made > sources
        };
        if !is_current("conformance.wasm") {
            finish(command(&mailroom, &["handler", "build", folder])?)?;
        }
        let other_engine = "conformance-starlingmonkey.wasm";
        if folder.ends_with("javascript") && !is_current(other_engine) {
            let mut npm = command("npm", &["run", "--silent", "build:starlingmonkey"])?;
            npm.current_dir(root.join(folder));
            finish(npm)?;
            fs::copy(
                root.join(folder).join("build").join(other_engine),
                root.join(folder).join(other_engine),
            )?;
        }
    }
    Ok(())
}

/// Nanoseconds since 1970.
fn written(file: &fs::Metadata) -> i64 {
    file.mtime().saturating_mul(1_000_000_000).saturating_add(file.mtime_nsec())
}

/// Returns when the newest source below a folder was written.
fn newest(folder: &Path) -> Result<i64> {
    let mut newest = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if !MADE.iter().any(|made| name == *made) {
                newest = newest.max(self::newest(&path)?);
            }
        } else if path.extension().is_none_or(|ending| ending != "wasm") {
            newest = newest.max(written(&entry.metadata()?));
        }
    }
    Ok(newest)
}
