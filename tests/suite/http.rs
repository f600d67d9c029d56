//! HTTP requests of handlers: what is granted is sent, nothing else is, and no server holds up a host.

use anyhow::Result;
use mailroom_tests::{Manifest, Message, SOON, Setup, Web, World, becomes, eventually, in_world};
use serde_json::{Value, json};

/// The operator lets handlers reach this machine.
const OPEN: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__HTTP__ADDRESSES", "127.0.0.0/8"), ("MAILROOM__BREAKER__THRESHOLD", "1000")],
};

/// Room for four requests, and time to see who waits for whom.
const SLOW: [(&str, &str); 3] = [
    ("MAILROOM__HTTP__REQUESTS_MAX", "4"),
    ("MAILROOM__HOST__EXPIRY", "12s"),
    ("MAILROOM__LIMITS__DEADLINE", "6s"),
];

/// A handler that fetches what its messages say, with its topics.
struct Fetcher {
    input: String,
    output: String,
}

impl Fetcher {
    async fn drop_into(world: &World, name: &str, hosts: &[&str], more: &str) -> Result<Self> {
        let input = world.kafka.topic(&format!("{name}-in"), 1).await?;
        let output = world.kafka.topic(&format!("{name}-out"), 1).await?;
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]).http(hosts).with(more);
        world.drop_handler(name, "fetcher", &manifest)?;
        Ok(Self { input, output })
    }

    /// Asks for these, emits the answers and counts.
    fn asks(&self, id: &str, requests: &Value) -> Message {
        self.says(id, &json!({"requests": requests, "topic": self.output, "counts": true}))
    }

    /// The same, and errors are answers too.
    fn bears(&self, id: &str, requests: &Value) -> Message {
        self.says(id, &json!({"requests": requests, "topic": self.output, "stubborn": true}))
    }

    fn says(&self, id: &str, script: &Value) -> Message {
        Message::to(&self.input).key(id).id(id).json(script)
    }

    /// The answers that were emitted so far, message by message.
    async fn answers(&self, world: &World) -> Result<Vec<Value>> {
        let records = world.kafka.read_all(&self.output).await?;
        records.iter().map(|record| Ok(record.json()?.get("answers").cloned().unwrap_or_default())).collect()
    }

    /// The one message's answers, once they are there.
    async fn answered(&self, world: &World) -> Result<Value> {
        becomes("it has answered", 1, SOON, async || Ok(self.answers(world).await?.len())).await?;
        Ok(self.answers(world).await?.remove(0))
    }
}

/// The words of the dead letters, by message.
async fn letters(world: &World, count: usize) -> Result<Vec<(String, String)>> {
    let letters = async || {
        let all = "select message_id, error from mailroom.dead_letter order by message_id";
        world.db.rows::<(String, String)>(all).await
    };
    becomes("the messages are dead", count, SOON, async || Ok(letters().await?.len())).await?;
    letters().await
}

#[test]
fn a_granted_request_is_answered_and_what_follows_commits_with_the_message() {
    in_world(OPEN, async |world| {
        let web = Web::start().await?;
        let fetcher = Fetcher::drop_into(world, "fetcher", &[&web.origin("127.0.0.1")], "").await?;
        let host = world.start_host("a")?;
        let url = web.url("127.0.0.1", "/echo?x=1");
        let post = json!([{"url": url, "method": "POST", "body": "hello", "times": 5}]);
        world.kafka.send(&fetcher.asks("one", &post)).await?;

        let answers = fetcher.answered(world).await?;
        let body = format!("POST {} hello", web.origin("127.0.0.1").trim_start_matches("http://"));
        let answer = json!({"status": 200, "location": null, "body": body});
        assert_eq!(answers, json!(vec![answer; 5]));
        assert_eq!(web.requests(), vec!["POST /echo?x=1".to_owned(); 5]);
        assert_eq!(web.connections(), 1, "a connection is kept");
        let count = "select convert_from(value, 'UTF8')::bigint from mailroom.state where name = 'count'";
        assert_eq!(world.db.one::<i64>(count).await?, 1);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn each_handler_reaches_its_own_hosts_and_a_denial_names_the_grant() {
    in_world(OPEN, async |world| {
        let web = Web::start().await?;
        let (number, name) = (web.origin("127.0.0.1"), web.origin("localhost"));
        let first = Fetcher::drop_into(world, "first", &[&number], "").await?;
        let second = Fetcher::drop_into(world, "second", &[&name], "").await?;
        let host = world.start_host("a")?;
        let [by_number, by_name] =
            ["127.0.0.1", "localhost"].map(|host| json!([{"url": web.url(host, "/echo")}]));
        // Each has a connection of its own before it asks for the other's host.
        for (fetcher, granted) in [(&first, &by_number), (&second, &by_name)] {
            world.kafka.send(&fetcher.asks("granted", granted)).await?;
            assert_eq!(fetcher.answered(world).await?[0]["status"], 200);
        }
        assert_eq!(web.connections(), 2, "no handler uses the other's");
        world.kafka.send_all(&[first.asks("1", &by_name), second.asks("2", &by_number)]).await?;

        let letters = letters(world, 2).await?;
        for ((_, error), origin) in letters.iter().zip([&name, &number]) {
            assert!(error.contains("this handler may not send requests to"), "{error}");
            assert!(error.contains(&format!("grants.http = [\"{origin}\"]")), "{error}");
        }
        let output = "select last_output from mailroom.attempt order by attempt limit 1";
        let output = world.db.one::<String>(output).await?;
        assert!(output.contains("mailroom: GET http://") && output.contains("grants.http"), "{output}");
        assert_eq!((web.requests().len(), web.connections()), (2, 2), "nothing was sent, nothing opened");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_granted_name_that_leads_to_an_address_which_is_not_public_is_refused() {
    in_world(Setup::default(), async |world| {
        let web = Web::start().await?;
        let hosts = ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"];
        let granted = hosts.map(|host| web.origin(host));
        let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
        let fetcher = Fetcher::drop_into(world, "fetcher", &granted, "").await?;
        let host = world.start_host("a")?;
        let asked = hosts.map(|host| json!({"url": web.url(host, "/echo")}));
        world.kafka.send(&fetcher.bears("all", &json!(asked))).await?;
        let answers = fetcher.answered(world).await?;
        for answer in answers.as_array().into_iter().flatten() {
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(error.contains("has an address that is not public"), "{answers}");
        }
        world.kafka.send(&fetcher.asks("one", &json!([asked[0]]))).await?;

        let letters = letters(world, 1).await?;
        assert!(letters[0].1.contains("the operator may allow it: http.addresses = [\""), "{letters:?}");
        assert_eq!(web.connections(), 0, "nobody has connected");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_server_that_never_answers_costs_its_call_and_no_neighbour() {
    in_world(OPEN, async |world| {
        let web = Web::start().await?;
        let granted = web.origin("127.0.0.1");
        let more = "concurrency = 4\nretry.attempts-max = 1";
        let fetcher = Fetcher::drop_into(world, "fetcher", &[&granted], more).await?;
        let other = Fetcher::drop_into(world, "other", &[&granted], "").await?;
        let host = world.start_host_with("a", &SLOW)?;
        let ask = |path: &str, times: u32| json!([{"url": web.url("127.0.0.1", path), "times": times}]);
        let hang = |id: &str, path: &str| fetcher.asks(id, &ask(path, 1));
        world.kafka.send_all(&[hang("1", "/never"), hang("2", "/drip")]).await?;
        eventually("both are under way", SOON, async || Ok(web.requests().len() == 2)).await?;

        // These would take all places of the host.
        world.kafka.send_all(&[hang("3", "/never"), hang("4", "/never")]).await?;
        world.kafka.send(&other.asks("neighbour", &ask("/echo", 3))).await?;
        assert_eq!(other.answered(world).await?[2]["status"], 200);
        let dead = "select count(*) from mailroom.dead_letter";
        assert_eq!(world.db.one::<i64>(dead).await?, 0, "the neighbour did not wait for them");

        let parts = ["the response", "the rest of the response", "the response", "the response"];
        for ((_, error), part) in letters(world, 4).await?.iter().zip(parts) {
            let words = format!("ran past its deadline of 6s while it waited for {part} to GET {granted}");
            assert_eq!(error, &words);
        }
        world.kafka.send(&fetcher.asks("next", &ask("/echo", 1))).await?;
        assert_eq!(fetcher.answered(world).await?[0]["status"], 200, "its places are free");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_a_server_sends_is_bounded_and_a_redirect_is_an_answer() {
    in_world(OPEN, async |world| {
        let web = Web::start().await?;
        let more = "limits.http-requests = 4\nretry.attempts-max = 1";
        let fetcher = Fetcher::drop_into(world, "fetcher", &[&web.origin("127.0.0.1")], more).await?;
        let host = world.start_host("a")?;
        let to = format!("/to?{}", web.url("localhost", "/echo"));
        let [to, endless, head] = [to.as_str(), "/endless", "/head"].map(|path| web.url("127.0.0.1", path));
        let requests = json!([
            {"url": to},
            {"url": endless, "body_bytes_max": 1 << 20},
            {"url": head},
            {"url": endless, "headers": [["host", "elsewhere"]]},
            {"url": to, "longer": 9000},
            {"url": web.url("127.0.0.1", "/never"), "timeout_ms": 100},
            {"url": to},
        ]);
        world.kafka.send(&fetcher.bears("all", &requests)).await?;
        let answers = fetcher.answered(world).await?;
        assert_eq!(
            (&answers[0]["status"], &answers[0]["location"]),
            (&json!(302), &json!(web.url("localhost", "/echo")))
        );
        for (place, words) in [
            (1, "has more than 1048576 bytes"),
            (2, "HttpResponseHeaderSectionSize"),
            (3, "Forbidden"),
            (4, "its host is none"),
            (5, "did not answer in time"),
            (6, "a call may send 4 requests (limits.http-requests)"),
        ] {
            let error = answers[place]["error"].as_str().unwrap_or_default();
            assert!(error.contains(words), "{place}: {error:?} should say {words:?}");
        }
        let redirected = web.requests().iter().filter(|request| request.contains("/echo")).count();
        assert_eq!(redirected, 1, "only as the query of what was asked: {:?}", web.requests());

        let before = host.resident_bytes()?;
        let flood = json!([{"url": endless, "body_bytes_max": u32::MAX}]);
        world.kafka.send(&fetcher.asks("flood", &flood)).await?;
        let letters = letters(world, 1).await?;
        assert!(letters[0].1.contains("bytes of memory"), "the guest ran out of its own: {letters:?}");
        let grown = host.resident_bytes()?.saturating_sub(before);
        assert!(grown < 192 << 20, "the host has grown by {grown} bytes");
        host.stop().await?;
        Ok(())
    });
}
