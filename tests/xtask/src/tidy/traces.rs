//! No trace of the machine a change was made on: its folders, or where its packages came from. Lock
//! files are the package managers' own.

use super::source::{Breach, File};

const FOLDERS: [&str; 3] = ["/work/", "/root/", "/farm/"];
const REGISTRIES: [&str; 6] =
    ["crates.io", "repo.maven", "repo1.maven", "deb.debian", "registry.npmjs", "pypi.org"];

pub(super) fn no_traces_of_a_machine(files: &[File]) -> Vec<Breach> {
    let own = files.iter().filter(|file| !is_lock(&file.path) && !file.quotes_the_forbidden());
    own.flat_map(|file| {
        file.text.lines().enumerate().filter_map(|(index, text)| {
            let folder = FOLDERS.iter().find(|folder| has_path(text, folder));
            let registry = REGISTRIES.iter().find(|registry| text.contains(**registry));
            let breach = |sign: &str, remedy| file.breach(index + 1, &format!("`{sign}`"), remedy);
            folder
                .map(|sign| breach(sign, "use a path from the repository's root"))
                .or_else(|| registry.map(|sign| breach(sign, "name the thing, not the host it comes from")))
        })
    })
    .collect()
}

/// Tells whether an absolute path begins so: in `a/work/` it does not.
fn has_path(text: &str, folder: &str) -> bool {
    text.match_indices(folder).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|sign| sign.is_alphanumeric() || "._-}".contains(sign))
    })
}

fn is_lock(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".lock") || ["package-lock.json", "go.sum", "pnpm-lock.yaml"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_hosts_of_a_machine_are_found_but_not_in_lock_files() {
        for text in [
            "see /work/main",
            "\"/root/x\"",
            "https://index.crates.io/",
            "repo.maven.apache.org",
            "deb.debian.org",
        ] {
            assert_eq!(no_traces_of_a_machine(&[File::new("README.md", text)]).len(), 1, "{text}");
            assert!(no_traces_of_a_machine(&[File::new("handlers/Cargo.lock", text)]).is_empty());
        }
        assert!(no_traces_of_a_machine(&[File::new("README.md", "host/work/x and ./root/y")]).is_empty());
    }
}
