//! Keeps the bindings of the SDKs in Go and C, generated from `wit/` for the world with everything that a host can
//! grant. Go's also need a small run-time library; it comes with the generator and is kept beside them, so that an
//! author needs no module but the SDK.

use crate::run::{Result, command, output, root, succeeds};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};

/// Use of the bindings that are generated from `wit/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Replace the folders of bindings.
    Renew,
    /// Compare; an error names what differs.
    Check,
}

/// Contents by path within a folder.
type Sources = BTreeMap<PathBuf, Vec<u8>>;

const WORLD: &str = "full-handler";
const C: &str = "guest-sdk/c/bindings";
const GO: &str = "guest-sdk/go/internal/bindings";
/// The functions that the bindings export are written by hand.
const GO_EXPORTS: &str = "guest-sdk/go/internal/exports";
const GO_RUNTIME: &str = "guest-sdk/go/internal/abi";
/// Prefix under which the generator expects its library, and the one where the SDK has it: a second module
/// would be one more `replace` in each author's `go.mod`. Both sort before what they are imported with, so
/// that gofmt's order holds.
const GO_RUNTIME_IMPORTS: (&str, &str) = ("go.bytecodealliance.org/pkg/wit/", "mailroom/guest/internal/abi/");
/// The library's files for bindings without `async`.
const GO_RUNTIME_FILES: [&str; 7] = [
    "LICENSE",
    "wit/runtime/empty.s",
    "wit/runtime/runtime.go",
    "wit/types/option.go",
    "wit/types/result.go",
    "wit/types/tuple.go",
    "wit/types/unit.go",
];

pub(crate) fn run(mode: Mode) -> Result {
    let root = root()?;
    let folders = [(C, c(&root)?), (GO, go(&root)?), (GO_RUNTIME, go_runtime()?)];
    let mut found = Vec::new();
    for (folder, fresh) in &folders {
        let kept = root.join(folder);
        match mode {
            Mode::Renew => write(&kept, fresh)?,
            Mode::Check => found.extend(differences(folder, &read(&kept)?, fresh)),
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("bindings are not current:\n{}\nrun `cargo xtask bindings`", found.join("\n")).into())
}

fn c(root: &Path) -> Result<Sources> {
    // The world is embedded by the command that makes the component, as it is for other languages.
    let options = wit_bindgen_c::Opts { no_object_file: true, ..Default::default() };
    generate(root, options.build().as_mut())
}

fn go(root: &Path) -> Result<Sources> {
    // Without it the generator would leave its code unformatted and say nothing.
    if !succeeds("gofmt", &["-h"]) {
        return Err("gofmt is not there; it comes with Go".into());
    }
    let package = |folder: &str| Some(folder.replace("guest-sdk/go", "mailroom/guest"));
    let options = wit_bindgen_go::Opts {
        pkg_name: package(GO),
        export_pkg_name: package(GO_EXPORTS),
        ..Default::default()
    };
    let sources = generate(root, options.build().as_mut())?;
    sources.into_iter().map(|(path, text)| Ok((path, own_imports(text)?))).collect()
}

fn go_runtime() -> Result<Sources> {
    let from = generator_folder("wit-bindgen-go")?.join("src/pkg");
    let sources = GO_RUNTIME_FILES.iter().map(|path| {
        let text = fs::read(from.join(path)).map_err(|error| format!("{path} of wit-bindgen-go: {error}"))?;
        Ok((path.trim_start_matches("wit/").into(), own_imports(text)?))
    });
    sources.collect()
}

fn own_imports(text: Vec<u8>) -> Result<Vec<u8>> {
    let (theirs, ours) = GO_RUNTIME_IMPORTS;
    Ok(String::from_utf8(text)?.replace(theirs, ours).into_bytes())
}

fn generate(root: &Path, generator: &mut dyn WorldGenerator) -> Result<Sources> {
    let (mut resolve, world) = world(&root.join("wit"))?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    Ok(files.iter().map(|(path, text)| (path.into(), text.to_vec())).collect())
}

fn world(wit: &Path) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    Ok((resolve, world))
}

/// Finds the folder in which cargo has the sources of a crate that this one depends on.
fn generator_folder(name: &str) -> Result<PathBuf> {
    let metadata = output(command("cargo", &["metadata", "--format-version", "1", "--locked"])?)?;
    let manifest = manifest_path(&metadata, name).ok_or_else(|| format!("cargo does not know {name}"))?;
    Ok(manifest.parent().ok_or("a manifest is in no folder")?.to_owned())
}

/// The manifest of a package of this name in what `cargo metadata` says.
fn manifest_path(metadata: &str, name: &str) -> Option<PathBuf> {
    // A dependency's name is followed by its source.
    let (_, package) = metadata.split_once(&format!("{{\"name\":\"{name}\",\"version\":"))?;
    let (_, path) = package.split_once("\"manifest_path\":\"")?;
    Some(path.split_once('"')?.0.into())
}

fn write(folder: &Path, sources: &Sources) -> Result {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    for (path, text) in sources {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().ok_or("a file is in no folder")?)?;
        fs::write(file, text)?;
    }
    println!("{}: {} files", folder.display(), sources.len());
    Ok(())
}

fn read(folder: &Path) -> Result<Sources> {
    let mut sources = Sources::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        if !next.exists() {
            continue;
        }
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.insert(path.strip_prefix(folder)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(sources)
}

/// One line for each file that is missing, changed, or no longer of use.
fn differences(folder: &str, kept: &Sources, fresh: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in fresh {
        match kept.get(path) {
            None => found.push(format!("  missing: {folder}/{}", path.display())),
            Some(old) if old != text => found.push(format!("  changed: {folder}/{}", path.display())),
            Some(_) => {}
        }
    }
    let stale = kept.keys().filter(|path| !fresh.contains_key(*path));
    found.extend(stale.map(|path| format!("  stale: {folder}/{}", path.display())));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(list: &[(&str, &str)]) -> Sources {
        list.iter().map(|(path, text)| (path.into(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn missing_changed_and_stale_files_are_named() {
        let kept = sources(&[("a", "1"), ("b/c", "1"), ("old", "1")]);
        let fresh = sources(&[("a", "1"), ("b/c", "2"), ("new", "1")]);
        let found = differences("go", &kept, &fresh);
        assert_eq!(found, ["  changed: go/b/c", "  missing: go/new", "  stale: go/old"]);
        assert!(differences("go", &fresh, &fresh).is_empty());
    }

    #[test]
    fn a_manifest_is_found_by_its_package() {
        let metadata = r#"{"packages":[
            {"name":"a","version":"1","dependencies":[{"name":"b","source":"x"}],"manifest_path":"/x/a/Cargo.toml"},
            {"name":"b","version":"1","dependencies":[],"manifest_path":"/x/b/Cargo.toml"}]}"#;
        assert_eq!(manifest_path(metadata, "b"), Some("/x/b/Cargo.toml".into()));
        assert_eq!(manifest_path(metadata, "c"), None);
    }
}
