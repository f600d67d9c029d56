//! A module is named for what it does to a message; these names fit anything, and so collect anything.

use super::source::{Breach, File};
use std::path::Path;

const EMPTY_NAMES: [&str; 6] = ["services", "managers", "common", "utils", "helpers", "types"];

pub(super) fn no_names_that_say_nothing(files: &[File]) -> Vec<Breach> {
    let remedy = "name it for what it does to a message";
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let stem = Path::new(&file.path).with_extension("");
        for part in stem.iter().filter_map(|part| part.to_str()).filter(|part| EMPTY_NAMES.contains(part)) {
            breaches.push(file.breach(1, &format!("`{part}` as a file or folder name"), remedy));
        }
        for (line, name) in file.code().filter_map(|(line, code)| Some((line, inline_module(code)?))) {
            if EMPTY_NAMES.contains(&name) {
                breaches.push(file.breach(line, &format!("`{name}` as a module name"), remedy));
            }
        }
    }
    breaches
}

pub(super) fn no_mod_rs(files: &[File]) -> Vec<Breach> {
    let found = files.iter().filter(|file| file.path.ends_with("/mod.rs"));
    found.map(|file| file.breach(1, "a mod.rs", "use `foo.rs` beside `foo/`")).collect()
}

/// The name in `pub mod name {`. A module with a file of its own is found by the file.
fn inline_module(code: &str) -> Option<&str> {
    let (before, name) = code.trim().strip_suffix('{')?.split_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_found_as_file_folder_and_module() {
        for path in ["host/src/utils.rs", "host/src/common/x.rs", "tests/src/types.rs"] {
            assert_eq!(no_names_that_say_nothing(&[File::new(path, "")]).len(), 1, "{path}");
        }
        let inline = File::new("host/src/db.rs", "fn a() {}\npub(crate) mod helpers {\n}\n");
        assert_eq!(no_names_that_say_nothing(&[inline]).first().unwrap().line, 2);
        let good = [File::new("host/src/db.rs", "mod x {\n}\n"), File::new("wit/types.wit", "")];
        assert!(no_names_that_say_nothing(&good).is_empty());
    }

    #[test]
    fn a_mod_rs_is_found() {
        assert_eq!(no_mod_rs(&[File::new("host/src/db/mod.rs", "")]).len(), 1);
        assert!(no_mod_rs(&[File::new("host/src/db.rs", "")]).is_empty());
    }
}
