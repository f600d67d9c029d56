//! Handlers that are scripts: one file of JavaScript or TypeScript, run by a component that this program brings along.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::compile::digest;

/// QuickJS with the SDK, made by `cargo xtask interpreter`.
static INTERPRETER: &[u8] = include_bytes!("../../interpreter/interpreter.wasm");

/// Endings of the files that are scripts.
pub(super) const ENDINGS: [&str; 2] = ["js", "ts"];

/// One version of a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// The name of its file.
    pub(super) file: String,
    /// Text of the script; what is no UTF-8 is replaced.
    pub(super) source: String,
    /// SHA-256 of the file, hex.
    pub(super) digest: Arc<str>,
}

impl Script {
    /// The script that a file holds, where its ending says that it holds one.
    pub(super) fn of(path: &Path, bytes: &[u8]) -> Option<Self> {
        let ending = path.extension()?.to_str()?;
        ENDINGS.contains(&ending).then(|| Self {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            source: String::from_utf8_lossy(bytes).into_owned(),
            digest: digest(bytes),
        })
    }
}

/// The component that runs scripts, and its digest.
pub(super) fn interpreter() -> (Cow<'static, [u8]>, Arc<str>) {
    static DIGEST: LazyLock<Arc<str>> = LazyLock::new(|| digest(INTERPRETER));
    (Cow::Borrowed(INTERPRETER), Arc::clone(&DIGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_the_one_that_its_recipe_made() {
        let made = include_str!("../../interpreter/interpreter.sha256");
        assert_eq!(&*interpreter().1, made.trim(), "run `cargo xtask interpreter`");
    }

    #[test]
    fn a_script_is_known_by_its_ending() {
        let of = |name: &str| Script::of(Path::new(name), b"1").map(|script| script.file);
        assert_eq!(of("handlers/totals.js"), Some("totals.js".to_owned()));
        assert_eq!(of("handlers/totals.ts"), Some("totals.ts".to_owned()));
        assert_eq!(of("handlers/totals.wasm"), None);
    }
}
