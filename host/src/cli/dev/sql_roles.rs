//! The sections `[sql.NAME]` in `mailroom dev`: each is a role `NAME_sql` of its own Postgres, which has what a host needs
//! and no table. Name and password are the same at each start.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::cli::failure::Failure;
use crate::db::{Db, DbError, make_sql_role};

/// A section's role.
pub(super) struct SqlRole {
    section: String,
    name: String,
    password: String,
}

impl SqlRole {
    /// Gives each section a role of the server with this URL.
    ///
    /// # Errors
    /// Where a section has a name that variables cannot name.
    pub(super) fn of_sections(sections: &BTreeSet<String>, url: &str) -> Result<Vec<Self>, Failure> {
        sections.iter().map(|section| Self::new(section, url)).collect()
    }

    fn new(section: &str, url: &str) -> Result<Self, Failure> {
        if !section.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            return Err(Failure::Usage(format!(
                "[sql.{section}]: dev sets its url by a variable, which can name a-z, 0-9 and \"-\" only; rename it"
            )));
        }
        let name = format!("{section}_sql");
        // Nobody else knows the server's own URL.
        let digest = format!("{:x}", Sha256::digest(format!("{url} {name}")));
        Ok(Self { section: section.to_owned(), password: digest.chars().take(32).collect(), name })
    }

    /// The variable that sets the section's URL.
    pub(super) fn variable(&self, url: &str) -> (String, String) {
        let variable = format!("MAILROOM__SQL__{}__URL", self.section.replace('-', "_").to_uppercase());
        let place = url.rsplit_once('@').map_or(url, |(_, place)| place);
        (variable, format!("postgres://{}:{}@{place}", self.name, self.password))
    }

    /// Makes it, where it is not there.
    ///
    /// # Errors
    /// What Postgres says.
    pub(super) async fn make(&self, db: &Db) -> Result<(), DbError> {
        make_sql_role(db, &self.name, &self.password).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_a_role_of_the_same_server_and_one_that_no_variable_names_is_refused() {
        let url = "postgres://mailroom:secret@127.0.0.1:5432/postgres";
        let sections = BTreeSet::from(["my-shop".to_owned()]);
        let roles = SqlRole::of_sections(&sections, url).unwrap();
        let (name, value) = roles[0].variable(url);
        assert_eq!(name, "MAILROOM__SQL__MY_SHOP__URL");
        assert!(value.starts_with("postgres://my-shop_sql:") && value.ends_with("@127.0.0.1:5432/postgres"));
        assert!(!value.contains("secret"));
        assert_eq!(SqlRole::of_sections(&sections, url).unwrap()[0].variable(url).1, value, "at each start");
        let refused = SqlRole::of_sections(&BTreeSet::from(["my_shop".to_owned()]), url).err().unwrap();
        assert!(refused.to_string().contains("[sql.my_shop]"), "{refused}");
    }
}
