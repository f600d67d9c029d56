//! Migrations are applied in the order of their numbers: 0001, 0002 and so on, none twice, none left out.

use super::source::{Breach, File};

pub(super) fn numbered_without_gaps(files: &[File]) -> Vec<Breach> {
    let mut migrations: Vec<&File> = files
        .iter()
        .filter(|file| file.path.starts_with("migrations/") && file.path.ends_with(".sql"))
        .collect();
    migrations.sort_by(|a, b| a.path.cmp(&b.path));
    let wrong = migrations.iter().zip(1..).find(|(file, number)| !has_number(file, *number));
    wrong
        .map(|(file, number)| {
            let remedy = format!("name it migrations/{number:04}_WHAT_IT_MAKES.sql");
            file.breach(1, "a migration out of its number", &remedy)
        })
        .into_iter()
        .collect()
}

fn has_number(file: &File, number: u32) -> bool {
    file.path.starts_with(&format!("migrations/{number:04}_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(names: &[&str]) -> usize {
        let files: Vec<File> =
            names.iter().map(|name| File::new(&format!("migrations/{name}"), "")).collect();
        numbered_without_gaps(&files).len()
    }

    #[test]
    fn gaps_repeats_and_odd_names_are_found() {
        assert_eq!(breaches(&["0001_a.sql", "0002_b.sql", "README.md"]), 0);
        assert_eq!(breaches(&["0001_a.sql", "0003_b.sql"]), 1);
        assert_eq!(breaches(&["0001_a.sql", "0001_b.sql"]), 1);
        assert_eq!(breaches(&["0001_a.sql", "2_b.sql"]), 1);
        assert_eq!(breaches(&["0002_a.sql"]), 1);
    }
}
