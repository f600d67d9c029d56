//! A folder with the source of one handler.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::AuthorError;
use super::language::Language;
use super::tool;
use crate::config::HandlerName;

/// Project on which `handler build`, `test` and `dev` work.
#[derive(Debug)]
pub(crate) struct Project {
    /// Folder of the project.
    pub(crate) folder: PathBuf,
    /// The language of its source.
    pub(crate) language: Language,
    /// The handler's name: that of the folder's one manifest.
    pub(crate) name: HandlerName,
}

impl Project {
    /// Recognises the project in a folder.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub(crate) fn open(folder: &Path) -> Result<Self, AuthorError> {
        let refused = |why: String| AuthorError::Refused(format!("{}: {why}", folder.display()));
        if !folder.is_dir() {
            return Err(refused("there is no such folder".to_owned()));
        }
        let found: Vec<Language> = Language::ALL
            .into_iter()
            .filter(|language| {
                *language != Language::Typescript && folder.join(language.project_file()).exists()
            })
            .collect();
        let language = match found.as_slice() {
            // Projects of other languages may have a Makefile, too.
            [one, Language::C] => *one,
            [Language::Javascript] if folder.join("tsconfig.json").exists() => Language::Typescript,
            [one] => *one,
            [] => {
                let files: Vec<&str> = Language::ALL.into_iter().map(Language::project_file).collect();
                return Err(refused(format!(
                    "it is no project of a handler: it has none of {}; \
                     `mailroom handler new NAME --lang LANGUAGE` makes one",
                    distinct(&files).join(", ")
                )));
            }
            several => {
                let files: Vec<&str> = several.iter().map(|language| language.project_file()).collect();
                return Err(refused(format!(
                    "it is a project of several languages ({}); keep one",
                    files.join(", ")
                )));
            }
        };
        let name = Self::name(folder, language).map_err(refused)?;
        let name = HandlerName::parse(&name)
            .map_err(|error| refused(format!("the handler's name {name:?} {error}")))?;
        Ok(Self { folder: folder.to_owned(), language, name })
    }

    /// Gives the stem of the one manifest, which is a TOML file that no tool of the language reads.
    fn name(folder: &Path, language: Language) -> Result<String, String> {
        let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name != language.project_file() && !TOOL_FILES.contains(&name.as_str()))
            .filter_map(|name| Some(name.strip_suffix(".toml")?.to_owned()))
            .collect();
        names.sort();
        match names.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err("it has no manifest: NAME.toml names the handler and says what it may do".to_owned()),
            several => Err(format!("it has several manifests ({}.toml); keep one", several.join(".toml, "))),
        }
    }

    /// The component, beside its manifest.
    pub(crate) fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// Returns the path of the manifest.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }

    /// A source that was changed after the component was built.
    pub(crate) fn newer_source(&self) -> Option<PathBuf> {
        let component = self.component();
        sources(&self.folder, self.language).into_iter().find(|source| is_older(&component, source))
    }

    /// Reads what the component is built from, and how it is to run.
    pub(crate) fn sources(&self) -> Sources {
        let own = [self.manifest(), self.folder.join(self.language.project_file())];
        let files = sources(&self.folder, self.language).into_iter().chain(own);
        let digest = |file: PathBuf| {
            let bytes = fs::read(&file).ok()?;
            Some((file, Sha256::digest(bytes).into()))
        };
        Sources(files.filter_map(digest).collect())
    }

    /// Runs a tool that leaves the component in `build`, and reads it.
    pub(super) fn built_by(&self, tool: &mut Command) -> Result<Vec<u8>, AuthorError> {
        let built = self.folder.join("build").join(format!("{}.wasm", self.name));
        // What an earlier build left is not to be taken for this one's.
        fs::remove_file(&built).ok();
        tool::run(tool)?;
        let absent = |_| AuthorError::Build(format!("the build has not made {}", built.display()));
        fs::read(&built).map_err(absent)
    }

    /// The field of a JSON file in the folder.
    pub(super) fn json_field(&self, file: &str, pointer: &str) -> Option<Value> {
        let text = fs::read(self.folder.join(file)).ok()?;
        serde_json::from_slice::<Value>(&text).ok()?.pointer(pointer).cloned()
    }
}

/// The sources of a project as they were at a moment: SHA-256 by file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(BTreeMap<PathBuf, [u8; 32]>);

/// Files that end like a manifest and belong to tools.
const TOOL_FILES: [&str; 6] =
    ["rust-toolchain.toml", "rustfmt.toml", "clippy.toml", "deny.toml", "ruff.toml", "uv.toml"];

/// Folders that hold no source of the author's.
const NO_SOURCES: [&str; 8] =
    ["target", "node_modules", "venv", "build", "cases", "test", "tests", "__pycache__"];

fn sources(folder: &Path, language: Language) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let is_hidden = name.to_string_lossy().starts_with('.');
        if path.is_dir() {
            if !is_hidden && !NO_SOURCES.iter().any(|no_source| name == *no_source) {
                found.extend(sources(&path, language));
            }
        } else if path.extension().is_some_and(|ending| language.endings().iter().any(|one| ending == *one)) {
            found.push(path);
        }
    }
    found
}

/// Says whether a file was written before another, or is absent.
pub(super) fn is_older(file: &Path, than: &Path) -> bool {
    let written = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    written(file) < written(than)
}

fn distinct<'t>(texts: &[&'t str]) -> Vec<&'t str> {
    let mut distinct = texts.to_vec();
    distinct.dedup();
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mailroom-project-{:x}", fastrand::u64(..)));
        fs::create_dir_all(&folder).unwrap();
        for file in files {
            fs::write(folder.join(file), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_project_is_known_by_its_file_and_named_by_its_manifest() {
        for (files, language) in [
            (&["Cargo.toml", "orders.toml", "rustfmt.toml"][..], Language::Rust),
            (&["package.json", "orders.toml"], Language::Javascript),
            (&["package.json", "tsconfig.json", "orders.toml"], Language::Typescript),
            (&["requirements.txt", "orders.toml"], Language::Python),
            (&["go.mod", "orders.toml"], Language::Go),
            (&["Makefile", "orders.toml"], Language::C),
            (&["go.mod", "Makefile", "orders.toml"], Language::Go),
        ] {
            let project = Project::open(&folder(files)).unwrap();
            assert_eq!((project.language, project.name.as_str()), (language, "orders"), "{files:?}");
        }
    }

    #[test]
    fn what_is_no_project_is_refused_with_what_it_lacks() {
        for (files, why) in [
            (
                &[][..],
                "it is no project of a handler: it has none of Cargo.toml, package.json, requirements.txt",
            ),
            (&["Cargo.toml", "go.mod", "a.toml"], "several languages (Cargo.toml, go.mod); keep one"),
            (&["Cargo.toml"], "it has no manifest: NAME.toml"),
            (&["go.mod", "a.toml", "b.toml"], "several manifests (a.toml, b.toml); keep one"),
            (&["go.mod", "A_B!.toml"], "the handler's name"),
        ] {
            let said = Project::open(&folder(files)).unwrap_err().to_string();
            assert!(said.contains(why), "{files:?}: {said}");
        }
    }
}
