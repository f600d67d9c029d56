//! Rights: every route by every role and every way to show a token, wrong ones included.

use std::net::SocketAddr;

use super::super::routes::{Needs, ROUTES};
use super::{answer, served};
use crate::config::Role;

const VIEWER: &str = "viewer-0123456789abcdef";
const OPERATOR: &str = "operator-0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef";

/// Three tokens, and whether reading needs one.
fn tokens(reads_without_token: bool) -> String {
    format!(
        "[admin]\nreads-without-token = {reads_without_token}\n[admin.tokens]\n\
         vera = {{ role = \"viewer\", token = \"{VIEWER}\" }}\nollie = {{ role = \"operator\", token = \"{OPERATOR}\" }}\n\
         ada = {{ role = \"admin\", token = \"{ADMIN}\" }}\n"
    )
}

/// Routes by the rule that is meant for them: a route that is new stands here too, or a test fails.
const MEANT: [(&str, &[&str]); 4] = [
    (
        "nothing",
        &["GET /livez", "GET /readyz", "GET /sign-in", "POST /sign-in", "POST /sign-out", "GET /style.css"],
    ),
    (
        "viewer",
        &[
            "GET /metrics",
            "GET /api/v1/openapi.json",
            "GET /api/v1/status",
            "GET /api/v1/handlers",
            "GET /api/v1/dead-letters",
            "GET /api/v1/dead-letters/groups",
            "GET /api/v1/dead-letters/{id}",
            "GET /api/v1/inbox",
            "GET /api/v1/inbox/{id}",
            "GET /api/v1/outbox",
            "GET /api/v1/outbox/{id}",
            "GET /api/v1/keys/blocked",
            "GET /",
            "GET /handlers",
            "GET /dead-letters",
            "GET /dead-letters/list",
            "GET /dead-letters/{id}",
            "GET /outbox",
            "GET /keys",
        ],
    ),
    (
        "operator",
        &[
            "POST /api/v1/handlers/{name}/pause",
            "POST /api/v1/handlers/{name}/resume",
            "POST /api/v1/handlers/{name}/reset",
            "POST /api/v1/dead-letters/{id}/edit",
            "POST /api/v1/dead-letters/replay",
            "POST /api/v1/dead-letters/discard",
            "POST /handlers/{name}/pause",
            "POST /handlers/{name}/resume",
            "POST /handlers/{name}/reset",
            "POST /dead-letters/{id}/edit",
            "POST /dead-letters/replay",
            "POST /dead-letters/discard",
        ],
    ),
    ("admin", &["GET /api/v1/audit", "GET /audit"]),
];

fn word(needs: Needs) -> &'static str {
    match needs {
        Needs::Nothing => "nothing",
        Needs::Role(role) => role.name(),
    }
}

#[test]
fn every_route_has_the_rule_that_is_meant_for_it() {
    let mut table: Vec<(String, &str)> =
        ROUTES.iter().map(|route| (format!("{} {}", route.method, route.path), word(route.needs))).collect();
    let meant =
        MEANT.iter().flat_map(|(needs, routes)| routes.iter().map(|route| ((*route).to_owned(), *needs)));
    let mut meant: Vec<(String, &str)> = meant.collect();
    table.sort();
    meant.sort();
    assert_eq!(table, meant);
    for route in ROUTES.iter().filter(|route| !route.method.is_safe()) {
        let is_session = route.path.starts_with("/sign-");
        assert!(is_session || route.needs >= Needs::Role(Role::Operator), "{} changes something", route.path);
    }
}

/// The status and the body of an answer; a redirect to the page for signing in counts as 401.
async fn asked(address: SocketAddr, method: &str, path: &str, head: &str) -> (u16, String) {
    let content = match (method, path.starts_with("/api/")) {
        ("POST", true) => "Content-Type: application/json\r\nContent-Length: 2\r\n",
        ("POST", false) => "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n",
        _ => "",
    };
    let body = if content.contains("Length: 2") { "{}" } else { "" };
    let path = path.replace("{id}", "01a22531-7f2b-7000-8000-000000000000").replace("{name}", "shipping");
    let own = format!("Host: {address}\r\nOrigin: http://{address}\r\n");
    let answer =
        answer(address, &format!("{method} {path} HTTP/1.1\r\n{own}{head}{content}\r\n{body}")).await;
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Ways to show no token, or a wrong one.
fn strangers() -> Vec<String> {
    vec![
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Basic {ADMIN}\r\n"),
        bearer(&format!("{ADMIN}0")),
        bearer(ADMIN.trim_end_matches('f')),
        "Authorization: \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\r\n".to_owned(),
    ]
}

/// Every route is asked for with this head; `role` is what it should give.
async fn walk(address: SocketAddr, head: &str, role: Option<Role>, is_wrong: bool) {
    for route in ROUTES.iter() {
        let (status, answer) = asked(address, route.method.as_str(), route.path, head).await;
        let is_refused = status == 401 || status == 403;
        let expected = match route.needs {
            // The form is empty, and an empty token is none.
            Needs::Nothing if route.path == "/sign-in" && !route.method.is_safe() => Some(401),
            Needs::Nothing => None,
            Needs::Role(_) if is_wrong => Some(401),
            Needs::Role(_) if !route.method.is_safe() && head.is_empty() => Some(401),
            Needs::Role(needed) if role >= Some(needed) => None,
            Needs::Role(_) => Some(if head.is_empty() { 401 } else { 403 }),
        };
        let what = format!("{} {} with {head:?} gives {answer}", route.method, route.path);
        match expected {
            None => assert!(!is_refused, "{what}"),
            Some(expected) => assert_eq!(status, expected, "{what}"),
        }
        if is_refused && route.path.starts_with("/api/") {
            let body: serde_json::Value =
                serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
            let remedy = body["remedy"].as_str().unwrap();
            assert!(remedy.to_lowercase().contains("token") && body["error"].is_string(), "{what}");
        }
        assert!(!answer.contains("0123456789abcdef"), "a token is told: {what}");
    }
}

#[tokio::test]
async fn every_route_is_answered_for_who_may_and_for_nobody_else() {
    served(&tokens(false), async |address, _| {
        walk(address, "", None, false).await;
        walk(address, &bearer(VIEWER), Some(Role::Viewer), false).await;
        walk(address, &bearer(OPERATOR), Some(Role::Operator), false).await;
        walk(address, &bearer(ADMIN), Some(Role::Admin), false).await;
        for stranger in strangers() {
            walk(address, &stranger, None, true).await;
        }
        let (_, ready) = asked(address, "GET", "/readyz", "").await;
        assert!(ready.ends_with("{\n  \"ready\": false\n}\n"), "{ready}");
        for path in ["/nothing", "/metrics/", "/livez/../metrics", "/api/v1/audit/", "//audit"] {
            assert_eq!(asked(address, "GET", path, "").await.0, 401, "{path}");
            assert_eq!(asked(address, "GET", path, &bearer(ADMIN)).await.0, 404, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_loopback_address_is_read_without_a_token_and_changed_with_one_only() {
    served(&tokens(true), async |address, _| {
        walk(address, "", Some(Role::Viewer), false).await;
        for stranger in strangers() {
            walk(address, &stranger, None, true).await;
        }
        // A proxy on this machine asks for others.
        for proxied in ["X-Forwarded-For: 10.0.0.1\r\n", "Forwarded: for=10.0.0.1\r\n", "Via: 1.1 proxy\r\n"]
        {
            assert_eq!(asked(address, "GET", "/metrics", proxied).await.0, 401, "{proxied}");
        }
        let (status, answer) = asked(address, "GET", "/api/v1/inbox?key=k", "").await;
        assert_eq!(status, 401, "a key is content: {answer}");
    })
    .await;
    served("", async |address, _| {
        let (status, answer) = asked(address, "POST", "/api/v1/dead-letters/replay", "").await;
        assert!(status == 401 && answer.contains("[admin.tokens.NAME]"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn without_a_token_a_request_has_to_name_this_machine_by_an_address() {
    served("", async |address, _| {
        for (head, expected) in [
            ("Host: 127.0.0.1:9180\r\n", 200),
            ("Host: localhost\r\n", 200),
            ("Host: LOCALHOST:9180\r\n", 200),
            ("Host: [::1]:9180\r\n", 200),
            ("Host: evil.example\r\n", 421),
            ("Host: localhost.evil.example:9180\r\n", 421),
            ("Host: 127.0.0.1.evil.example\r\n", 421),
            ("Host: a b\r\n", 421),
        ] {
            for path in ["/metrics", "/livez"] {
                assert_eq!(super::status(address, path, head).await, expected, "{path} {head}");
            }
        }
        let old = answer(address, "GET /metrics HTTP/1.0\r\n\r\n").await;
        assert!(old.contains("200 OK") && old.contains("text/plain; version=0.0.4"), "{old}");
    })
    .await;
}

#[tokio::test]
async fn a_change_is_taken_from_our_own_page_and_from_programs_that_send_json() {
    served(&tokens(true), async |address, _| {
        let change = async |path: &str, head: &str| {
            let body = "Content-Length: 2\r\n";
            let token = bearer(OPERATOR);
            let request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{token}{head}{body}\r\n{{}}");
            let answer = answer(address, &request).await;
            answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
        };
        let api = "/api/v1/dead-letters/replay";
        // It says not which.
        assert_eq!(change(api, "Content-Type: application/json\r\n").await, 400);
        assert_eq!(change(api, "Content-Type: text/plain\r\n").await, 415);
        assert_eq!(change(api, "").await, 415);
        let evil = "Content-Type: application/json\r\nOrigin: http://evil.example\r\n";
        assert_eq!(change(api, evil).await, 403);
        let cross = "Content-Type: application/json\r\nSec-Fetch-Site: cross-site\r\n";
        assert_eq!(change(api, cross).await, 403);
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        assert_eq!(change("/dead-letters/replay", form).await, 403, "it does not say where it comes from");
    })
    .await;
}

#[tokio::test]
async fn a_session_has_the_rights_of_its_token_until_it_is_ended() {
    served(&tokens(false), async |address, _| {
        let form = format!("token={OPERATOR}");
        let head = format!("Host: {address}\r\nOrigin: http://{address}\r\n");
        let content = "Content-Type: application/x-www-form-urlencoded\r\n";
        let length = form.len();
        let request =
            format!("POST /sign-in HTTP/1.1\r\n{head}{content}Content-Length: {length}\r\n\r\n{form}");
        let signed_in = answer(address, &request).await;
        assert!(signed_in.starts_with("HTTP/1.1 303"), "{signed_in}");
        let cookie = signed_in.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let session = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
        walk(address, &session, Some(Role::Operator), false).await;
        for forged in [session.replace("ollie", "ada"), session.replace("session=", "session=x")] {
            assert_eq!(asked(address, "GET", "/metrics", &forged).await.0, 401, "{forged}");
        }
        let (_, out) = asked(address, "POST", "/sign-out", &session).await;
        assert!(out.contains("Max-Age=0"), "{out}");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    served(&tokens(true), async |address, _| {
        let head = format!("Host: {address}\r\nContent-Type: application/json\r\n{}", bearer(OPERATOR));
        let api = "POST /api/v1/dead-letters/replay HTTP/1.1\r\n";
        let said = answer(address, &format!("{api}{head}Content-Length: 70000\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 413") && said.contains("65536 bytes at most"), "{said}");
        let chunk = format!("11170\r\n{}\r\n0\r\n\r\n", " ".repeat(0x11170));
        let unsaid = answer(address, &format!("{api}{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")).await;
        assert!(unsaid.starts_with("HTTP/1.1 413"), "{unsaid}");
    })
    .await;
}
