//! Every SQLSTATE has a meaning that was chosen: by its code, else by its class as Appendix A of Postgres' manual lists
//! them.

use std::io::ErrorKind;

/// Action that an error asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Postgres, or the way to it, is away or has too little: the same again later.
    Outage,
    /// This transaction was in somebody's way, or somebody in its: all of it again, without a word.
    Retry,
    /// Somebody's data is bad: what it belongs to fails alone.
    BadData,
    /// Rights, settings, schema or disk: an operator has to act, and the same again may then do.
    Operator(&'static str),
    /// A statement of ours is wrong.
    Bug,
}

use Meaning::{BadData, Bug, Operator, Outage, Retry};

const CREDENTIALS: &str = "check user, password and pg_hba.conf";
const SCHEMA: &str = "the schema is not as `mailroom migrate` makes it";
const GRANTS: &str = "grant the role what production.md lists";
const TRIGGER: &str =
    "a trigger, view or foreign table that mailroom did not make is in the way; remove or mend it";
const POOLER: &str = super::pooler::REMEDY;
const DISK: &str = "Postgres has trouble with its files; look into its log";
const CERTIFICATE: &str = "check sslmode, sslrootcert and the server's certificate";
const CORRUPTED: &str = "Postgres finds its data damaged: restore it, or rebuild the index";

/// Meanings of codes that are not as the rest of their class.
const CODES: [(&str, Meaning); 21] = [
    // Someone's `alter` made a prepared plan stale; the next connection prepares it anew.
    ("0A000", Retry),
    // The server became a standby; the next connection looks for the one that takes writes.
    ("25006", Outage),
    // The session or its transaction was ended by a timeout.
    ("25P03", Retry),
    ("25P04", Retry),
    ("42501", Operator(GRANTS)),
    ("42601", Bug),
    ("42P05", Operator(POOLER)),
    ("53100", Operator("the disk of Postgres is full")),
    ("53400", Operator("a limit of Postgres' configuration is reached, such as temp_file_limit; raise it")),
    ("55006", Retry),
    ("55P03", Retry),
    ("55P04", Bug),
    ("57014", Retry),
    ("57P04", Operator("the database was dropped")),
    ("57P05", Retry),
    ("XX001", Operator(CORRUPTED)),
    ("XX002", Operator(CORRUPTED)),
    // `settle_with_sql` says them of a lane or a message that changed; who calls it takes them before.
    ("MR001", Retry),
    ("MR002", Retry),
    ("MR003", Retry),
    // A message that a trigger or `mailroom.publish` refuses.
    ("P0001", BadData),
];

/// Meanings of classes.
const CLASSES: [(&str, Meaning); 45] = [
    ("00", Bug),
    ("01", Bug),
    ("02", Bug),
    ("03", Bug),
    // A pooler says 08P01 of whatever it cannot do.
    ("08", Outage),
    ("09", Operator(TRIGGER)),
    ("0A", Bug),
    ("0B", Bug),
    ("0F", Bug),
    ("0L", Operator(GRANTS)),
    ("0P", Operator(GRANTS)),
    ("0Z", Bug),
    ("10", Bug),
    ("20", Bug),
    ("21", Bug),
    ("22", BadData),
    ("23", BadData),
    ("24", Bug),
    ("25", Bug),
    ("26", Operator(POOLER)),
    ("27", Operator(TRIGGER)),
    ("28", Operator(CREDENTIALS)),
    ("2B", Operator(GRANTS)),
    ("2D", Bug),
    ("2F", Operator(TRIGGER)),
    ("34", Bug),
    ("38", Operator(TRIGGER)),
    ("39", Operator(TRIGGER)),
    ("3B", Bug),
    ("3D", Operator("the database does not exist; check postgres.url")),
    ("3F", Operator(SCHEMA)),
    ("40", Retry),
    ("42", Operator(SCHEMA)),
    ("44", BadData),
    ("53", Outage),
    // Such as an index entry that is too large.
    ("54", BadData),
    // Such as a table without a replica identity that is to be replicated.
    ("55", Operator("an object is not in the state that is needed; Postgres' message says which")),
    ("57", Outage),
    ("58", Operator(DISK)),
    ("72", Retry),
    ("F0", Operator("a configuration file of Postgres is wrong; look into its log")),
    ("HV", Operator(TRIGGER)),
    ("P0", Operator(TRIGGER)),
    ("XX", Bug),
    ("MR", Bug),
];

/// Gives the meaning of a code. What Postgres itself does not have comes from somebody's trigger or extension.
pub(super) fn of_sqlstate(code: &str) -> Meaning {
    let of_code = CODES.iter().find(|(known, _)| *known == code);
    let of_class = || CLASSES.iter().find(|(class, _)| code.starts_with(class));
    of_code.or_else(of_class).map_or(Operator(TRIGGER), |(_, meaning)| *meaning)
}

/// Gives the meaning of an error. A statement that failed on this side of the connection is no outage.
pub(super) fn of(error: &sqlx::Error) -> Meaning {
    use sqlx::Error::{
        ColumnDecode, Configuration, Database, Decode, Encode, Io, PoolClosed, PoolTimedOut, Tls,
        WorkerCrashed,
    };
    if let Database(error) = error {
        of_sqlstate(error.code().as_deref().unwrap_or_default())
    } else if let Io(error) = error
        && error.kind() == ErrorKind::InvalidData
    {
        // TLS gives its refusals to the socket's reader: a certificate that is not trusted is one of them.
        Operator(CERTIFICATE)
    } else if matches!(error, Io(_) | PoolTimedOut | PoolClosed | WorkerCrashed) {
        Outage
    } else if matches!(error, Encode(_) | Decode(_) | ColumnDecode { .. }) {
        BadData
    } else if matches!(error, Tls(_)) {
        Operator(CERTIFICATE)
    } else if matches!(error, Configuration(_)) {
        Operator("check the configuration")
    } else {
        // Too many parameters, a column that is not there, a type that nobody knows.
        Bug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes of Appendix A, "PostgreSQL Error Codes", of the manuals of Postgres 14 to 18.
    const APPENDIX_A: &str = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B \
                              3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX";

    #[test]
    fn every_class_has_a_meaning_and_one_only() {
        for class in APPENDIX_A.split_whitespace() {
            let chosen = CLASSES.iter().filter(|(known, _)| *known == class).count();
            assert_eq!(chosen, 1, "class {class}");
        }
        assert_eq!(CLASSES.len(), APPENDIX_A.split_whitespace().count() + 1, "ours is the class MR");
    }

    #[test]
    fn a_code_is_listed_once_and_only_where_it_differs_from_its_class() {
        for (at, (code, _)) in CODES.iter().enumerate() {
            assert_eq!(code.len(), 5, "{code}");
            let class = CLASSES.iter().find(|(class, _)| code.starts_with(class)).unwrap();
            assert_ne!(class.1, of_sqlstate(code), "{code} is as its class");
            assert!(CODES.iter().skip(at + 1).all(|(other, _)| other != code), "{code} twice");
        }
    }

    #[test]
    fn codes_mean_what_an_operator_would_expect() {
        let means = |codes: &str, is: fn(Meaning) -> bool| {
            for code in codes.split_whitespace() {
                assert!(is(of_sqlstate(code)), "{code}: {:?}", of_sqlstate(code));
            }
        };
        means("08006 08P01 25006 53200 53300 57P01 57P02 57P03", |meaning| meaning == Outage);
        means("40001 40P01 25P03 55P03 57014 57P05 0A000 72000", |meaning| meaning == Retry);
        means("22021 22P02 23505 23514 54000 44000 P0001", |meaning| meaning == BadData);
        let operator =
            "28P01 28000 3D000 3F000 42501 42P01 42703 42P05 26000 53100 55000 58030 XX001 HV000 ZZ999 38000";
        means(operator, |meaning| matches!(meaning, Operator(_)));
        means("42601 21000 25P02 XX000 00000 02000", |meaning| meaning == Bug);
    }

    #[test]
    fn the_page_of_errors_has_every_remedy() {
        let page = include_str!("../../../docs/errors.md");
        for (code, meaning) in CODES.into_iter().chain(CLASSES) {
            if let Operator(remedy) = meaning {
                assert!(page.contains(remedy), "{code}: {remedy}");
            }
        }
    }

    #[test]
    fn a_failure_of_the_client_is_no_outage() {
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(of(&sqlx::Error::Io(io())), Outage);
        assert_eq!(of(&sqlx::Error::PoolTimedOut), Outage);
        assert_eq!(of(&sqlx::Error::Encode(Box::new(io()))), BadData);
        assert_eq!(of(&sqlx::Error::Decode(Box::new(io()))), BadData);
        assert_eq!(of(&sqlx::Error::Protocol("too many arguments".to_owned())), Bug);
        assert_eq!(of(&sqlx::Error::ColumnNotFound("gone".to_owned())), Bug);
        assert_eq!(of(&sqlx::Error::RowNotFound), Bug);
        assert!(matches!(of(&sqlx::Error::Tls(Box::new(io()))), Operator(_)));
    }

    #[test]
    fn a_certificate_that_is_not_trusted_needs_an_operator() {
        // As TLS hands it to the reader of the socket.
        let refused = std::io::Error::new(ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer");
        assert_eq!(of(&sqlx::Error::Io(refused)), Operator(CERTIFICATE));
        for passing in [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::TimedOut] {
            assert_eq!(of(&sqlx::Error::Io(passing.into())), Outage, "{passing}");
        }
        assert!(include_str!("../../../docs/errors.md").contains(CERTIFICATE));
    }
}
