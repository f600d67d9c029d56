//! Reads `[admin]`: where this process is looked at, and who may.

use std::net::{Ipv4Addr, SocketAddr};

use super::host::SECOND;
use super::reader::Reader;
use super::secret::Secret;
use super::section::Admin;
use super::source;

const LISTEN: &str = "admin.listen";
const TOKEN: &str = "admin.token";
const TOKEN_FILE: &str = "admin.token-file";
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// A shorter token could be guessed.
const TOKEN_LENGTH_MIN: usize = 16;

pub(super) fn admin(reader: &mut Reader) -> Admin {
    let listen = reader.listen(LISTEN, DEFAULT);
    let token = token(reader);
    let is_open = listen.is_some_and(|address| !address.ip().to_canonical().is_loopback());
    if is_open && token.is_none() && !reader.refused(TOKEN) && !reader.refused(TOKEN_FILE) {
        let problem = "can be reached from other machines and so needs a token: let admin.token-file name a file that \
                       holds one, or set MAILROOM__ADMIN__TOKEN; without a token listen at 127.0.0.1";
        let shown = listen.map(|address| format!("\"{address}\""));
        reader.refuse(LISTEN, shown, problem.to_owned());
    }
    Admin {
        listen,
        is_listen_given: reader.is_given(LISTEN),
        token,
        backlog_every: reader.duration("admin.backlog-every", 15 * SECOND, SECOND..=3600 * SECOND),
    }
}

fn token(reader: &mut Reader) -> Option<Secret> {
    let (key, token) = match (reader.secret(TOKEN), reader.text(TOKEN_FILE, None)) {
        (Some(_), Some(file)) => {
            let problem = format!("must not be given together with {TOKEN}; remove one of the two");
            reader.refuse(TOKEN_FILE, Some(format!("{file:?}")), problem);
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
            "must be at least {TOKEN_LENGTH_MIN} letters, digits and signs of ASCII without spaces, such as `openssl \
             rand -hex 32` gives"
        )),
    });
    fit.map_err(|problem| reader.refuse(key, None, problem)).ok()
}

/// Tells whether a header may hold it.
fn is_plain(token: &str) -> bool {
    token.chars().all(|sign| sign.is_ascii_graphic())
}
