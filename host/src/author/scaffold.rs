//! A new project from a template.

use std::fs;
use std::path::Path;

use super::AuthorError;
use super::embedded::{self, Sdks, Templates, Wit};
use super::language::Language;
use crate::config::HandlerName;

/// Where a project keeps the SDK's sources, until a registry has them.
const SDK_FOLDER: &str = "mailroom-guest";
/// The template of what is the same in each language.
const COMMON: &str = "common";

/// Writes a new project into a folder, which has to be absent or empty.
///
/// # Errors
/// Where the folder has files, or cannot be written.
pub(crate) fn scaffold(folder: &Path, name: &HandlerName, language: Language) -> Result<(), AuthorError> {
    let has_files = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if folder.exists() && (has_files || !folder.is_dir()) {
        let refused = "is not empty; a new project needs a folder that is absent or empty (--into DIR)";
        return Err(AuthorError::Refused(format!("{} {refused}", folder.display())));
    }
    let sdk = folder.join(SDK_FOLDER);
    for (path, file) in embedded::below::<Sdks>(language.sdk()) {
        embedded::write(&sdk.join(path), &file.data)?;
    }
    if let Some(wit) = language.wit() {
        for path in Wit::iter() {
            let text = Wit::get(&path).map(|file| file.data).unwrap_or_default();
            embedded::write(&sdk.join(wit).join(&*path), &text)?;
        }
    }
    // After the SDK: a template may replace what of it holds for its own repository only.
    for template in [COMMON, language.as_str()] {
        for (path, file) in embedded::below::<Templates>(template) {
            let path = filled(path.strip_suffix(".in").unwrap_or(&path), name);
            let text = filled(&String::from_utf8_lossy(&file.data), name);
            embedded::write(&folder.join(path), text.as_bytes())?;
        }
    }
    Ok(())
}

/// A template's text for a handler of this name; most languages' names have no dashes.
fn filled(text: &str, name: &HandlerName) -> String {
    let name = name.as_str();
    text.replace("{{name}}", name).replace("{{ident}}", &name.replace(['-', '.'], "_"))
}
