//! `[admin]`: where this process is looked at, and who may look and change.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::declare::{Key, settings};
use super::host::SECOND;
use super::name::TokenName;
use super::reader::Reader;
use super::secret::Secret;
use super::source;

const LISTEN: &str = "admin.listen";
const TOKENS: &str = "admin.tokens";
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// A shorter token could be guessed.
const TOKEN_LENGTH_MIN: usize = 16;
const ROLES: [(&str, Role); 3] =
    [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)];

settings! {
    /// Reading and changing over HTTP (`[admin]`).
    #[derive(Debug, Clone)]
    pub struct Admin(reader) {
        /// IP address and port of metrics, health, API and dashboard, or `"off"`. Port 0 takes a free one, which the log
        /// names. An address that is set has to be had; where the default one is another process's, as of a second host on
        /// the machine, the host goes on without, warns, and takes it once it is free.
        listen: Option<SocketAddr> = LISTEN, listen(DEFAULT);
        /// Permission to read at a loopback address without a token: `false` where a proxy on the machine leads others
        /// here.
        reads_without_token: bool = "admin.reads-without-token", flag(true);
        /// Pause between two counts of what waits in the database, for metrics; at least 19 times as long as a count took.
        backlog_every: Duration = "admin.backlog-every", duration(15 * SECOND, SECOND..=3600 * SECOND);
    } and {
        /// Tells whether somebody set `listen`: what somebody set has to be had.
        is_listen_given: bool = reader.is_given(LISTEN);
        /// Secrets that requests show; always there where others than this machine can ask.
        tokens: Vec<AdminToken> = tokens(reader);
    }
}

/// A secret by which somebody is known (`[admin.tokens.NAME]`).
#[derive(Debug, Clone)]
pub struct AdminToken {
    /// The section's name, by which the audit calls whoever shows it.
    pub name: String,
    /// Rights of its holder.
    pub role: Role,
    /// Secret from `token`, or from the file that `token-file` names.
    pub secret: Secret,
}

/// Rights of whoever asks over HTTP; each has those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads, but no content of messages.
    Viewer,
    /// Reads content too, and changes what operators change.
    Operator,
    /// Reads the audit too.
    Admin,
}

impl Role {
    /// Returns the word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

pub(super) fn admin(reader: &mut Reader) -> Admin {
    // Asked for before they are read: what the environment says is taken out of it.
    let names_tokens = !reader.tables(TOKENS).is_empty();
    let mut admin = Admin::read(reader);
    let is_open = admin.listen.is_some_and(|address| !address.ip().to_canonical().is_loopback());
    admin.reads_without_token &= !is_open;
    if is_open && !names_tokens {
        let problem = "can be reached from other machines and so needs a token: let token-file of a section \
                       [admin.tokens.NAME] name a file that holds one, or set MAILROOM__ADMIN__TOKENS__NAME__TOKEN; without \
                       a token listen at 127.0.0.1";
        let shown = admin.listen.map(|address| format!("\"{address}\""));
        reader.refuse(LISTEN, shown, problem.to_owned());
    }
    admin
}

/// Reads all tokens; those that are refused are left out.
fn tokens(reader: &mut Reader) -> Vec<AdminToken> {
    let mut tokens: Vec<AdminToken> = Vec::new();
    for name in reader.tables(TOKENS) {
        let section = format!("{TOKENS}.{name}");
        let token = token(reader, &section);
        let role_key = format!("{section}.role");
        let role = Key::new(
            &role_key,
            "Rights of the token: `\"viewer\"` reads, but no payloads, keys, headers and output; `\"operator\"` reads these \
             too, pauses, resumes, resets, replays and discards; `\"admin\"` reads the audit too.",
        );
        let role = reader.choice(role, &ROLES, Role::Viewer);
        let Some((key, secret)) = token else { continue };
        if let Err(bad) = TokenName::parse(&name) {
            reader.refuse(&section, None, format!("its name {bad}"));
        } else if let Some(same) = tokens.iter().find(|token| token.secret == secret) {
            let problem = format!("is the token of {} too; give each its own", same.name);
            reader.refuse(&key, None, problem);
        } else {
            tokens.push(AdminToken { name, role, secret });
        }
    }
    tokens
}

/// Reads the token of a section; gives it with the key that has it.
fn token(reader: &mut Reader, section: &str) -> Option<(String, Secret)> {
    let (key, file_key) = (format!("{section}.token"), format!("{section}.token-file"));
    let token = Key::new(
        &key,
        "Token that a request has to show as `Authorization: Bearer TOKEN`: at least 16 letters, digits and signs. NAME is \
         who it is in the audit. Changes need one, and so does reading where `admin.listen` is no loopback address.",
    );
    let meaning = format!("File that holds `{key}` instead, read at the start.");
    let (key, token) = match (reader.secret(token), reader.text(Key::new(&file_key, &meaning), None)) {
        (Some(_), Some(file)) => {
            let problem = format!("must not be given together with {key}; remove one of the two");
            reader.refuse(&file_key, Some(format!("{file:?}")), problem);
            return None;
        }
        (Some(token), None) => (key, Ok(token)),
        (None, Some(file)) => {
            (file_key, source::read_secret(&file).map_err(|problem| format!("{file:?}: {problem}")))
        }
        (None, None) => {
            if !reader.refused(&key) && !reader.refused(&file_key) {
                let problem = "is missing: let token-file name a file that holds it, such as `openssl rand -hex 32` gives";
                reader.refuse(&key, None, problem.to_owned());
            }
            return None;
        }
    };
    let fit = token.and_then(|token| match token.len() >= TOKEN_LENGTH_MIN && is_plain(&token) {
        true => Ok(Secret::new(token)),
        false => Err(format!(
            "must be at least {TOKEN_LENGTH_MIN} letters, digits and signs of ASCII without spaces, such as \
             `openssl rand -hex 32` gives"
        )),
    });
    fit.map_err(|problem| reader.refuse(&key, None, problem)).ok().map(|secret| (key, secret))
}

/// Tells whether a header may hold it.
fn is_plain(token: &str) -> bool {
    token.chars().all(|sign| sign.is_ascii_graphic())
}
