//! A new project from a template.

use std::fs;
use std::path::Path;

use super::AuthorError;
use super::embedded::{self, Sdks, Templates, Wit};
use super::language::Language;
use crate::config::HandlerName;

/// Folder in which a project keeps the SDK's sources, until a registry has them.
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn pages(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] })
            .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
            .collect()
    }

    #[test]
    fn links_of_a_new_projects_pages_lead_to_files_of_the_project() {
        for language in Language::ALL {
            let folder = std::env::temp_dir().join(format!("mailroom-new-{:x}", fastrand::u64(..)));
            scaffold(&folder, &HandlerName::parse("totals").unwrap(), language).unwrap();
            let root = folder.canonicalize().unwrap();
            let pages = pages(&root);
            assert!(pages.len() > 1, "its own and the SDK's: {pages:?}");
            for page in pages {
                let text = fs::read_to_string(&page).unwrap();
                // Between fences is code, where brackets and parentheses may stand like a link's.
                let prose = text.split("```").step_by(2);
                let behind_brackets = prose.flat_map(|part| part.split("](").skip(1));
                let links = behind_brackets.filter_map(|rest| Some(rest.split_once(')')?.0));
                for link in links.filter(|link| !link.contains("://")) {
                    let file = page.with_file_name(link.split('#').next().unwrap()).canonicalize();
                    assert!(file.is_ok_and(|file| file.starts_with(&root)), "{language:?}: {link}");
                }
            }
            fs::remove_dir_all(&folder).unwrap();
        }
    }
}
