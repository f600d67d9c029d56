//! Files that this binary carries: templates, SDKs and the contract.

use std::path::Path;

use rust_embed::{EmbeddedFile, RustEmbed};

use super::AuthorError;

/// Files with which a new project of each language begins. A name ends with `.in` where tools would take the
/// file itself for a project.
#[derive(RustEmbed)]
#[folder = "templates"]
pub(super) struct Templates;

/// The SDKs, until registries have them.
#[derive(RustEmbed)]
#[folder = "../guest-sdk"]
#[exclude = "*/node_modules/*"]
#[exclude = "*/__pycache__/*"]
#[exclude = "*/build/*"]
#[exclude = "*/dist/*"]
#[exclude = "*/test/*"]
#[exclude = "*/tests/*"]
#[exclude = "*/scripts/*"]
#[exclude = "*/venv/*"]
#[exclude = "*.egg-info/*"]
#[exclude = "c/Makefile"]
#[exclude = "*_test.go"]
#[exclude = "*/wit/*"]
pub(super) struct Sdks;

/// The contract and what it depends on.
#[derive(RustEmbed)]
#[folder = "../wit"]
pub(super) struct Wit;

/// The files below a folder, by their paths from there.
pub(super) fn below<F: RustEmbed>(folder: &str) -> impl Iterator<Item = (String, EmbeddedFile)> {
    let prefix = format!("{folder}/");
    F::iter().filter_map(move |path| {
        let below = path.strip_prefix(&prefix)?.to_owned();
        Some((below, F::get(&path)?))
    })
}

/// Makes the folders above a file.
pub(super) fn make_folder_of(path: &Path) -> Result<(), AuthorError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(AuthorError::file(folder))
}

/// Writes a file with the folders above it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorError> {
    make_folder_of(path)?;
    std::fs::write(path, bytes).map_err(AuthorError::file(path))
}
