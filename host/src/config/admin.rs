//! `[admin]`: where this process is looked at, and who may.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::declare::{Key, settings};
use super::host::SECOND;
use super::reader::Reader;
use super::secret::Secret;
use super::source;

const LISTEN: &str = "admin.listen";
const TOKEN: &str = "admin.token";
const TOKEN_FILE: &str = "admin.token-file";
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// A shorter token could be guessed.
const TOKEN_LENGTH_MIN: usize = 16;

settings! {
    /// Reading of this process over HTTP (`[admin]`).
    #[derive(Debug, Clone)]
    pub struct Admin(reader) {
        /// IP address and port at which metrics and health are read, or `"off"`. Port 0 takes a free one, which the log
        /// names. An address that is set has to be had; where the default one is another process's, as of a second host on
        /// the machine, the host goes on without, warns, and takes it once it is free.
        listen: Option<SocketAddr> = LISTEN, listen(DEFAULT);
        /// Token that a request has to show as `Authorization: Bearer TOKEN`: at least 16 letters, digits and signs. Needed
        /// where `admin.listen` is no loopback address.
        token: Option<Secret> = TOKEN, token();
        /// Pause between two counts of what waits in the database, for metrics; at least 19 times as long as a count took.
        backlog_every: Duration = "admin.backlog-every", duration(15 * SECOND, SECOND..=3600 * SECOND);
    } and {
        /// Tells whether somebody set `listen`: what somebody set has to be had.
        is_listen_given: bool = reader.is_given(LISTEN);
    }
}

pub(super) fn admin(reader: &mut Reader) -> Admin {
    let admin = Admin::read(reader);
    let is_open = admin.listen.is_some_and(|address| !address.ip().to_canonical().is_loopback());
    if is_open && admin.token.is_none() && !reader.refused(TOKEN) && !reader.refused(TOKEN_FILE) {
        let problem = "can be reached from other machines and so needs a token: let admin.token-file name a file that \
                       holds one, or set MAILROOM__ADMIN__TOKEN; without a token listen at 127.0.0.1";
        let shown = admin.listen.map(|address| format!("\"{address}\""));
        reader.refuse(LISTEN, shown, problem.to_owned());
    }
    admin
}

impl Reader {
    /// A token, or the one in the file that the other setting names.
    fn token(&mut self, key: Key<'_>) -> Option<Secret> {
        let file = Key::new(TOKEN_FILE, "File that holds `admin.token` instead, read at the start.");
        let (key, token) = match (self.secret(key), self.text(file, None)) {
            (Some(_), Some(file)) => {
                let problem = format!("must not be given together with {TOKEN}; remove one of the two");
                self.refuse(TOKEN_FILE, Some(format!("{file:?}")), problem);
                return None;
            }
            (Some(token), None) => (TOKEN, Ok(token)),
            (None, Some(file)) => {
                (TOKEN_FILE, source::read_secret(&file).map_err(|problem| format!("{file:?}: {problem}")))
            }
            (None, None) => return None,
        };
        let fit = token.and_then(|token| match token.len() >= TOKEN_LENGTH_MIN && is_plain(&token) {
            true => Ok(Secret::new(token)),
            false => Err(format!(
                "must be at least {TOKEN_LENGTH_MIN} letters, digits and signs of ASCII without spaces, such as \
                 `openssl rand -hex 32` gives"
            )),
        });
        fit.map_err(|problem| self.refuse(key, None, problem)).ok()
    }
}

/// Tells whether a header may hold it.
fn is_plain(token: &str) -> bool {
    token.chars().all(|sign| sign.is_ascii_graphic())
}
