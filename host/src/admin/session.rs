//! Sessions of browsers: a cookie that says whose it is and until when, with a proof by a key made from the token. No host
//! keeps anything of them, so that each host with the same token knows them; a token that is taken away ends its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::Utc;
use ring::hmac;

use crate::config::Secret;

const NAME: &str = "mailroom-session";
/// Time after which somebody signs in again: a working day.
const SECS_MAX: i64 = 12 * 60 * 60;

/// The cookie that ends a session.
pub(super) const ENDED: &str = "mailroom-session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";

/// Secret that proves the sessions of one token.
pub(super) struct Key(hmac::Key);

impl Key {
    /// Makes it from the token, which it does not show.
    pub(super) fn new(token: &Secret) -> Self {
        let token = hmac::Key::new(hmac::HMAC_SHA256, token.expose().as_bytes());
        // A key of its own: nothing that is signed by the token for something else opens a session.
        let own = hmac::sign(&token, b"session of the admin port");
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    /// The cookie of a new session.
    pub(super) fn cookie(&self, name: &str) -> String {
        let session = self.session(name, Utc::now().timestamp() + SECS_MAX);
        format!("{NAME}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SECS_MAX}")
    }

    fn session(&self, name: &str, until: i64) -> String {
        let proof = hmac::sign(&self.0, format!("{name}.{until}").as_bytes());
        format!("{name}.{until}.{}", BASE64.encode(proof.as_ref()))
    }

    /// Tells whether a session is of this token, and not over.
    pub(super) fn is_of(&self, session: &str, name: &str) -> bool {
        self.proves(session, name, Utc::now().timestamp())
    }

    fn proves(&self, session: &str, name: &str, now: i64) -> bool {
        let Some((said, proof)) = session.rsplit_once('.') else { return false };
        let Some((whose, until)) = said.rsplit_once('.') else { return false };
        let Some(proof) = BASE64.decode(proof).ok() else { return false };
        let is_proven = hmac::verify(&self.0, said.as_bytes(), &proof).is_ok();
        is_proven && whose == name && until.parse::<i64>().is_ok_and(|until| now < until)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(hidden)")
    }
}

/// The session in one `name=value` of a `Cookie` header.
pub(super) fn of_cookie(cookie: &str) -> Option<&str> {
    cookie.trim().strip_prefix(NAME)?.strip_prefix('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(token: &str) -> Key {
        Key::new(&Secret::new(token.to_owned()))
    }

    #[test]
    fn a_session_is_good_for_its_token_its_name_and_its_time_only() {
        let ours = key("0123456789abcdef");
        let session = ours.session("ann", 1000);
        assert!(ours.proves(&session, "ann", 999));
        assert!(!ours.proves(&session, "ann", 1000), "it is over");
        assert!(!ours.proves(&session, "bo", 999));
        assert!(!key("fedcba9876543210").proves(&session, "ann", 999), "the token is another");
        for forged in [
            session.replace("1000", "9000"),
            session.replace("ann", "bo"),
            format!("{session}A"),
            session.trim_end_matches(|sign| sign != '.').to_owned(),
            "ann.1000".to_owned(),
            "..".to_owned(),
            String::new(),
        ] {
            assert!(!ours.proves(&forged, "ann", 999) && !ours.proves(&forged, "bo", 999), "{forged}");
        }
        assert_eq!(format!("{ours:?}"), "Key(hidden)");
    }

    #[test]
    fn the_cookie_is_found_among_others_and_is_no_scripts_nor_another_sites() {
        let cookie = key("0123456789abcdef").cookie("ann");
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        assert_eq!(of_cookie(" mailroom-session=a.1.b"), Some("a.1.b"));
        assert_eq!(of_cookie("mailroom-session-2=a"), None);
        assert_eq!(of_cookie("other=mailroom-session=a"), None);
    }
}
