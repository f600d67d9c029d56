//! Every member of the workspace takes the workspace's lints; one that does not would have none.

use super::source::{Breach, File};

pub(super) fn every_member_takes_the_lints(files: &[File]) -> Vec<Breach> {
    let members = files.iter().find(|file| file.path == "Cargo.toml").map(members).unwrap_or_default();
    let is_member = |file: &&File| members.iter().any(|member| file.path == format!("{member}/Cargo.toml"));
    let bare = files.iter().filter(is_member).filter(|file| !takes_the_lints(file));
    bare.map(|file| {
        file.breach(1, "a member without the workspace's lints", "add `[lints]` `workspace = true`")
    })
    .collect()
}

fn takes_the_lints(file: &File) -> bool {
    let mut lines = file.text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

/// Returns what stands in quotes in `members = [...]`.
fn members(root: &File) -> Vec<String> {
    let after = root.text.split_once("\nmembers = [").map(|(_, after)| after).unwrap_or_default();
    let list = after.split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_the_lints_is_found() {
        let root = File::new(
            "Cargo.toml",
            "[workspace]\nmembers = [\"host\",\n  \"tests\"]\nexclude = [\"handlers\"]\n",
        );
        let good = File::new("host/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n");
        let bad = File::new("tests/Cargo.toml", "[package]\nname = \"x\"\n");
        let foreign = File::new("handlers/Cargo.toml", "[workspace]\n");
        let found = every_member_takes_the_lints(&[root, good, bad, foreign]);
        assert_eq!(found.iter().map(|breach| breach.path.as_str()).collect::<Vec<_>>(), ["tests/Cargo.toml"]);
    }
}
