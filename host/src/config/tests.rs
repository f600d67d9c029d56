//! Each bad line with what its message names; the defaults; which source wins.

use std::io::Write as _;

use super::*;

const SERVERS: &str = "[postgres]\nurl = \"postgres://u:p@h/d\"\n[kafka]\nbrokers = \"k:9092\"\n";

fn file(text: &str) -> tempfile_path::File {
    tempfile_path::File::with(text)
}

/// A file of its own per test, removed at its end.
mod tempfile_path {
    use super::*;

    pub(super) struct File(pub(super) std::path::PathBuf);

    impl File {
        pub(super) fn with(text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mailroom-{}.toml", uuid::Uuid::now_v7()));
            std::fs::File::create_new(&path).unwrap().write_all(text.as_bytes()).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<(Config, Vec<Setting>), ConfigErrors> {
    let file = file(text);
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load_with(Some(&file.0), env, Servers::Needed)
}

fn errors(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    load(text, env).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_valid() {
    let (config, settings) = load(SERVERS, &[]).unwrap();
    assert_eq!(config.namespace.as_str(), "mailroom");
    assert_eq!(config.host.expiry.as_secs(), 30);
    assert_eq!((config.limits.call.fuel, config.limits.call.memory), (20_000_000_000, 64 << 20));
    let expiry = settings.iter().find(|setting| setting.key == "host.expiry").unwrap();
    assert_eq!((expiry.value.as_str(), expiry.source), ("\"30s\"", Source::Default));
    let url = settings.iter().find(|setting| setting.key == "postgres.url").unwrap();
    assert_eq!((url.value.as_str(), url.source), ("(hidden)", Source::File));
}

#[test]
fn the_shown_settings_read_back_as_the_same() {
    let (_, settings) = load(SERVERS, &[]).unwrap();
    let mut text = String::new();
    for setting in &settings {
        if !setting.value.is_empty() && setting.key != "postgres.url" {
            text += &format!("{} = {}\n", setting.key, setting.value);
        }
    }
    let (_, again) = load(&text, &[("MAILROOM__POSTGRES__URL", "postgres://h/d")]).unwrap();
    let values = |settings: &[Setting]| -> Vec<(String, String)> {
        settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
    };
    assert_eq!(values(&settings), values(&again));
}

#[test]
fn texts_and_sizes_are_shown_as_a_file_may_have_them() {
    let lines = "kafka.brokers = \"\\U0010BED2 \\\" \\\\ \\u0007\"\nlimits.memory = \"1234567B\"\n";
    let shown = |text: &str| {
        let (_, settings) = load(text, &[("MAILROOM__POSTGRES__URL", "postgres://h/d")]).unwrap();
        let of = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap().value.clone();
        format!("kafka.brokers = {}\nlimits.memory = {}\n", of("kafka.brokers"), of("limits.memory"))
    };
    let once = shown(lines);
    assert!(once.contains("1234567B"), "{once}");
    assert_eq!(shown(&once), once);
}

#[test]
fn a_bad_line_is_named_with_its_value_and_what_is_allowed() {
    for (line, named) in [
        ("namespace = \"A\"", "namespace = \"A\": must be 1 to 32"),
        ("namespace = 7", "namespace = 7: must be text"),
        ("host.worker = \" \"", "host.worker = \" \": must be 1 to 255"),
        ("host.expiry = 30", "host.expiry = 30: must be a duration such as \"30s\", from \"1s\" to \"10m\""),
        (
            "host.expiry = \"0s\"",
            "host.expiry = \"0s\": must be a duration such as \"30s\", from \"1s\" to \"10m\"",
        ),
        ("host.expiry = \"1h\"", "from \"1s\" to \"10m\""),
        (
            "host.expiri = \"1s\"",
            "host.expiri: unknown key; [host] has the keys compile-memory-max, compile-timeout, compiled, compiled-bytes-max, expiry",
        ),
        (
            "hots.expiry = \"1s\"",
            "hots.expiry: unknown key; allowed are admin, breaker, dead-letters, handler-config, handler-config-files, host, http",
        ),
        ("breaker.threshold = 0", "breaker.threshold = 0: must be a whole number from 1 to 1000000"),
        ("breaker.recovery = \"1ms\"", "from \"100ms\" to"),
        ("host = 3", "host: must be a table with the keys compile-memory-max"),
        ("ingest.batch-rows-max = 0", "ingest.batch-rows-max = 0: must be a whole number from 1 to 10000"),
        ("ingest.batch-rows-max = \"500\"", "ingest.batch-rows-max = \"500\": must be a whole number"),
        (
            "retention.inbox = \"10s\"",
            "must be \"never\", or a duration such as \"30d\", from \"1m\" to \"10years\"",
        ),
        ("retention.batch-rows-max = 0", "retention.batch-rows-max = 0: must be a whole number from 1"),
        ("dead-letters.topic = \"a b\"", "dead-letters.topic = \"a b\": must be the name of a Kafka topic"),
        ("ingest.id-header = \" id\"", "ingest.id-header = \" id\": must be the name of a header"),
        ("ingest.id-header = \"\"", "ingest.id-header"),
        ("ingest.id-header = true", "ingest.id-header = true: must be text"),
        ("ingest.gap = \"jump\"", "ingest.gap = \"jump\": must be \"stop\" or \"skip\""),
        ("limits.memory = \"1XB\"", "limits.memory = \"1XB\": must be a size such as \"16MiB\""),
        ("limits.memory = \"1GiB\"", "must not be larger than limits.memory-max = \"256.0 MiB\""),
        (
            "limits.deadline = \"30s\"",
            "limits.deadline = \"30s\": must be at most two thirds of host.expiry = \"30s\"",
        ),
        ("relay.publish-timeout = \"31s\"", "\"31s\": must be at most two thirds of host.expiry = \"30s\""),
        ("relay.enabled = \"yes\"", "relay.enabled = \"yes\": must be true or false"),
        (
            "relay.poll-min = \"10s\"",
            "relay.poll-min = \"10s\": must not be longer than relay.poll-max = \"500ms\"",
        ),
        ("retry.base = \"2h\"", "retry.base = \"2h\": must not be longer than retry.cap = \"1h\""),
        ("log.filter = \"mailroom=loud\"", "log.filter = \"mailroom=loud\": must be levels by module"),
        ("host.handlers = \"\"", "host.handlers = \"\": must be text that is not blank"),
    ] {
        let found = errors(&format!("{line}\n{SERVERS}"), &[]);
        assert!(found.len() == 1 && found[0].contains(named), "`{line}` gives {found:#?}, not {named}");
    }
}

#[test]
fn all_errors_come_at_once() {
    let found =
        errors("colour = 1\nhost.expiry = \"x\"\nlimits.fuel = -1\n", &[("MAILROOM__RELAY__ENABLED", "2")]);
    for named in
        ["colour", "host.expiry", "limits.fuel", "relay.enabled", "postgres.url: is missing", "kafka.brokers"]
    {
        assert!(found.iter().any(|line| line.contains(named)), "{found:#?} should name {named}");
    }
}

#[test]
fn a_syntax_error_has_its_line_and_a_missing_file_its_name() {
    assert!(errors("a = 1\nb = = 2\n", &[])[0].contains("line 2"));
    let error = Config::load(Some(Path::new("/nowhere/m.toml")), std::iter::empty()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/m.toml"), "{error}");
}

#[test]
fn the_environment_wins_and_is_read_by_the_kind_of_the_key() {
    let env = [
        ("MAILROOM__HOST__STOP_GRACE", "3s"),
        ("MAILROOM__POSTGRES__URL", "postgres://env"),
        ("MAILROOM__INGEST__BATCH_ROWS_MAX", "7"),
        ("MAILROOM__KAFKA__PROPERTIES__SASL_PASSWORD", "12345"),
        ("MAILROOM_OTHER", "not ours"),
    ];
    let (config, settings) = load(SERVERS, &env).unwrap();
    assert_eq!(config.host.stop_grace.as_secs(), 3);
    assert_eq!(config.postgres.url, PostgresUrl::parse("postgres://env").unwrap());
    assert_eq!(config.ingest.batch_rows_max, 7);
    assert_eq!(config.kafka.properties["sasl.password"], "12345");
    let shown = settings.iter().find(|setting| setting.key == "kafka.properties.sasl.password").unwrap();
    assert_eq!((shown.value.as_str(), shown.source), ("(hidden)", Source::Env));
    assert!(!format!("{config:?}").contains("12345") && !format!("{config:?}").contains("postgres://"));
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_its_secrets() {
    for file in [
        "[postgres]\nurl = \"postgres://u:SECRET@host/db\n",
        "[postgres]\nurl = postgres://u:SECRET@host/db\n",
        "[postgres]\nurl = 'postgres://u:SECRET@host/db\n[kafka]\n",
        "[postgres]\nurl = \"\"\"SECRET",
        "[kafka]\nproperties = { sasl.password = \"SECRET\", }, x\n",
        "[kafka]\nproperties = \"SECRET\"\n",
        "[postgres]\nurl = \"\\SECRET\"\n",
        "postgres = \"postgres://u:SECRET@host/db\"\n",
        "[postgres]\nuri = \"postgres://u:SECRET@host/db\"\n",
        "[kafka.sasl]\npassword = \"SECRET\"\n",
        "[sql.shop]\npassword = [\"SECRET\"]\n",
    ] {
        let said = errors(file, &[]).join("\n");
        assert!(!said.contains("SECRET") && !said.is_empty(), "{file}: {said}");
    }
    let said = errors("[postgres]\nurl = \"a\n", &[]).join("\n");
    assert!(said.contains("line 2, column "), "{said}");
}

#[test]
fn an_unknown_variable_is_named_without_its_value() {
    let found = errors(SERVERS, &[("MAILROOM__POSTGRES__PASWORD", "hunter2")]);
    assert!(found[0].contains("MAILROOM__POSTGRES__PASWORD") && !found[0].contains("hunter2"), "{found:?}");
}

#[test]
fn properties_pass_through_whether_quoted_or_not_but_not_those_that_are_ours() {
    let text = format!(
        "{SERVERS}[kafka.properties]\n\"ssl.providers\" = \"x\"\nsecurity.protocol = \"ssl\"\nfetch.max.bytes = 7\n"
    );
    let (config, _) = load(&text, &[]).unwrap();
    let properties: Vec<(&str, &str)> =
        config.kafka.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(properties, [("fetch.max.bytes", "7"), ("security.protocol", "ssl"), ("ssl.providers", "x")]);
    let found = errors(&format!("{SERVERS}[kafka.properties]\nenable.auto.commit = true\n"), &[]);
    assert!(
        found[0].contains("kafka.properties.enable.auto.commit") && found[0].contains("remove it"),
        "{found:?}"
    );
}

#[test]
fn a_hosts_commands_have_a_third_of_its_expiry_and_its_statements_a_little_less() {
    let seconds = std::time::Duration::from_secs;
    let postgres = load(SERVERS, &[]).unwrap().0.postgres;
    assert_eq!((postgres.limit, postgres.of_host()), (seconds(10), (seconds(8), seconds(5))));
    assert!(postgres.above_limit.is_empty(), "{:?}", postgres.above_limit);
    let env = [("MAILROOM__HOST__EXPIRY", "1m"), ("MAILROOM__POSTGRES__LOCK_TIMEOUT", "17s")];
    let postgres = load(SERVERS, &env).unwrap().0.postgres;
    assert_eq!(postgres.of_host(), (seconds(16), seconds(16)));
    assert_eq!(postgres.above_limit, ["postgres.lock-timeout"]);
    // One for the heartbeat, one for the listener, one for commands.
    let few = errors(SERVERS, &[("MAILROOM__POSTGRES__CONNECTIONS_MAX", "2")]);
    assert!(few.len() == 1 && few[0].contains("must be a whole number from 3 to 1000"), "{few:?}");
}

#[test]
fn the_url_may_lie_in_a_file_but_not_in_two_places() {
    let secret = file("postgres://from-file\n");
    let line = format!("[postgres]\nurl-file = {:?}\n[kafka]\nbrokers = \"k\"\n", secret.0);
    let url = load(&line, &[]).unwrap().0.postgres.url;
    assert_eq!(url.servers, PostgresUrl::parse("postgres://from-file").unwrap().servers);
    assert_eq!(url.read_again(), Ok(Some(url)), "the file is known");
    let both = errors(&line.replace("url-file", "url = \"postgres://here\"\nurl-file"), &[]);
    assert!(both[0].contains("together with postgres.url"), "{both:?}");
    let (of_env, settings) = load(&line, &[("MAILROOM__POSTGRES__URL", "postgres://env")]).unwrap();
    assert_eq!(of_env.postgres.url, PostgresUrl::parse("postgres://env").unwrap(), "the environment wins");
    let shown = settings.iter().find(|setting| setting.key == "postgres.url-file").unwrap();
    assert_eq!((shown.value.as_str(), shown.source), ("", Source::Default));
    let file = [("MAILROOM__POSTGRES__URL_FILE", secret.0.to_str().unwrap())];
    let of_env = load(SERVERS, &file).unwrap().0.postgres.url;
    assert_eq!(of_env.servers, PostgresUrl::parse("postgres://from-file").unwrap().servers);
    let absent = errors("postgres.url-file = \"/nowhere\"\nkafka.brokers = \"k\"\n", &[]);
    assert!(absent.len() == 1 && absent[0].contains("/nowhere"), "{absent:?}");
    let wrong = errors("postgres.url = \"mysql://u:hunter2@h\"\nkafka.brokers = \"k\"\n", &[]);
    assert!(wrong[0].contains("must be a URL such as") && !wrong[0].contains("hunter2"), "{wrong:?}");
}

#[test]
fn a_manifest_differs_from_the_defaults_only_in_what_it_says() {
    let config = load(SERVERS, &[]).unwrap().0;
    let default = Manifest::default_for(&config);
    assert_eq!(Manifest::parse("", &config).unwrap(), default);
    assert_eq!((default.grants.clone(), default.ordered, default.concurrency), (Grants::default(), true, 16));
    let text = "group = \"g\"\nstart = \"latest\"\norder = \"none\"\nconcurrency = 2\n\
                [subscribe]\ntopics = [\"orders\"]\nform = \"binary\"\n[grants]\npublish = [\"out\"]\nstate = true\n\
                [retry]\nattempts-max = 2\n[limits]\nmemory = \"256MiB\"\n";
    let manifest = Manifest::parse(text, &config).unwrap();
    assert_eq!(
        (manifest.group.as_deref(), manifest.start, manifest.ordered),
        (Some("g"), Start::Latest, false)
    );
    assert_eq!(manifest.subscribe.unwrap().form, Form::Binary);
    assert_eq!(manifest.grants, Grants { publish: vec!["out".into()], state: true, ..Grants::default() });
    assert_eq!((manifest.retry.attempts_max, manifest.retry.base), (2, default.retry.base));
    assert_eq!((manifest.limits.memory, manifest.limits.fuel), (256 << 20, default.limits.fuel));
}

#[test]
fn ranges_of_addresses_are_in_cidr_notation() {
    let env = [("MAILROOM__HTTP__ADDRESSES", "10.1.0.0/16, ::1/128")];
    assert_eq!(load(SERVERS, &env).unwrap().0.http.addresses.len(), 2);
    assert!(load(SERVERS, &[]).unwrap().0.http.addresses.is_empty());
    for line in ["[\"10.1.2.3\"]", "[\"10.0.0.0/33\"]", "[\"*\"]", "\"10.0.0.0/8\""] {
        let errors = errors(&format!("http.addresses = {line}\n{SERVERS}"), &[]);
        assert!(errors.len() == 1 && errors[0].contains("must be a list of ranges such as"), "{errors:?}");
    }
}

#[test]
fn a_start_may_be_a_moment_quoted_or_not() {
    let config = load(SERVERS, &[]).unwrap().0;
    let moment = chrono::DateTime::parse_from_rfc3339("2026-01-31T00:00:00Z").unwrap().to_utc();
    for line in [
        "start = \"2026-01-31T00:00:00Z\"",
        "start = 2026-01-31T00:00:00Z",
        "start = \"2026-01-31T01:00:00+01:00\"",
    ] {
        assert_eq!(Manifest::parse(line, &config).unwrap().start, Start::At(moment), "{line}");
    }
}

#[test]
fn what_is_settled_stays_for_ever_unless_somebody_says_how_long() {
    let config = load(SERVERS, &[]).unwrap().0;
    assert_eq!((config.retention.inbox, config.retention.outbox, config.retention.dead), (None, None, None));
    let env = [("MAILROOM__RETENTION__INBOX", "14d"), ("MAILROOM__RETENTION__OUTBOX", "never")];
    let config = load(SERVERS, &env).unwrap().0;
    let days = std::time::Duration::from_secs(14 * 24 * 3600);
    assert_eq!((config.retention.inbox, config.retention.outbox), (Some(days), None));
}

#[test]
fn copies_of_dead_letters_go_where_the_handler_says_else_where_the_host_says() {
    let config = load(&format!("dead-letters.topic = \"dead\"\n{SERVERS}"), &[]).unwrap().0;
    let topic = |text: &str| Manifest::parse(text, &config).unwrap().dead_letter_topic;
    assert_eq!(topic("").as_deref(), Some("dead"));
    assert_eq!(topic("dead-letters.topic = \"mine\"").as_deref(), Some("mine"));
}

#[test]
fn a_bad_line_of_a_manifest_is_named_as_well() {
    let config = load(SERVERS, &[]).unwrap().0;
    for (line, named) in [
        ("start = \"yesterday\"", "start = \"yesterday\": must be \"earliest\", \"latest\" or a moment"),
        ("start = 2026-01-31T00:00:00", "a moment with its offset"),
        ("dead-letters.topic = \"..\"", "must be the name of a Kafka topic"),
        ("order = \"topic\"", "must be \"key\" or \"none\""),
        ("group = \" g\"", "group = \" g\": must have at most 255 bytes"),
        (
            "subscribe.topics = [\"a b\"]",
            "subscribe.topics = [\"a b\"]: must be a list of names of Kafka topics",
        ),
        ("subscribe.form = \"text\"", "subscribe.topics: is missing"),
        ("grants.log = \"loud\"", "must be \"off\" or \"error\" or \"warn\""),
        ("grants.config = [\"a..b\"]", "must be a list of keys of [handler-config]"),
        ("grants.config = [\"absent\"]", "there are: none"),
        ("grants.publish = \"out\"", "grants.publish = \"out\": must be a list"),
        ("grants.network = true", "[grants] has the keys config, http, log, publish, sql, state"),
        ("grants.http = [\"*.example.com\"]", "must be a list of hosts such as \"api.example.com\""),
        ("grants.http = [\"a.example/path\"]", "no paths, no patterns"),
        ("limits.http-requests = 10001", "from 0 to 10000"),
        ("limits.memory = \"512MiB\"", "from \"1.0 MiB\" to \"256.0 MiB\""),
        ("limits.table-elements = 40001", "from 1 to 40000"),
        ("limits.stack = \"1MiB\"", "limits.stack"),
        (
            "limits.deadline = \"30s\"",
            "limits.deadline = \"30s\": must be at most \"20s\", two thirds of this host's host.expiry = \"30s\"",
        ),
        ("limits.deadline = \"0s\"", "from \"1ms\" to"),
        ("limits.fuel = 0", "limits.fuel = 0: must be a whole number from 1"),
        ("limits.memory = 0", "limits.memory = 0: must be a size such as \"16MiB\", from"),
        ("instances = \"pooled\"", "must be \"new\" or \"reuse\""),
        ("instances-calls-max = 5", "instances-calls-max = 5: means nothing with instances = \"new\""),
        ("instances = \"reuse\"\ninstances-calls-max = 1", "must be a whole number from 2 to 1000000"),
        ("concurrency = 0", "concurrency = 0: must be a whole number from 1 to 1000"),
        ("retry.attempts-max = 0", "retry.attempts-max = 0: must be a whole number from 1"),
        ("version = 7", "version = 7: must be text that is not blank"),
        ("version = \"a\\nb\"", "must have at most 100 bytes and no control characters"),
        ("retry.base = \"2h\"", "must not be longer than retry.cap"),
        ("nonsense", "line 1"),
    ] {
        let found: Vec<String> =
            Manifest::parse(line, &config).unwrap_err().0.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains(named), "`{line}` gives {found:#?}, not {named}");
    }
}

#[test]
fn names_are_what_groups_and_files_can_hold() {
    for (good, bad) in [("orders", "Orders"), ("a_b-1", "-a"), ("0", ""), ("a", "a.b")] {
        assert!(HandlerName::parse(good).is_ok() && HandlerName::parse(bad).is_err());
    }
    assert!(WorkerName::parse(&"w".repeat(255)).is_ok() && WorkerName::parse(&"w".repeat(300)).is_err());
    assert_eq!(WorkerName::parse(" pod/a:1 ").unwrap().as_str(), "pod/a:1");
    assert_eq!(
        HandlerName::parse("billing").unwrap().default_group(&Namespace::parse("shop").unwrap()),
        "shop.billing"
    );
}

#[test]
fn a_property_that_breaks_a_promise_or_means_nothing_is_refused_with_its_reason() {
    for (line, named) in [
        ("\"group.protocol\" = \"consumer\"", "group.protocol = \"consumer\": is set by mailroom"),
        ("\"enable.partition.eof\" = true", "enable.partition.eof = \"true\": is set by mailroom"),
        ("\"retries\" = 0", "retries = \"0\": is set by mailroom"),
        ("\"delivery.report.only.error\" = true", "is set by mailroom"),
        ("\"statistics.interval.ms\" = 1000", "has no effect in mailroom"),
        ("\"sessoin.timeout.ms\" = 6000", "sessoin.timeout.ms: librdkafka has no property of this name"),
        ("\"check.crcs\" = true", "must stay false"),
        ("\"partitioner\" = \"random\"", "must not be random"),
        ("\"queue.buffering.max.kbytes\" = 1", "must have room for a record"),
        ("\"socket.timeout.ms\" = 10", "must be at least 1000"),
        ("\"topic.metadata.refresh.interval.ms\" = -1", "must not be negative"),
        ("\"sasl.mechanism\" = \"OAUTHBEARER\"", "needs sasl.oauthbearer.method"),
    ] {
        let found = errors(&format!("{SERVERS}[kafka.properties]\n{line}\n"), &[]);
        assert!(found.len() == 1 && found[0].contains(named), "`{line}` gives {found:#?}, not {named}");
    }
}

#[test]
fn a_property_under_a_mistyped_name_is_refused_without_its_value() {
    let found = errors(&format!("{SERVERS}[kafka.properties]\n\"sasl.pasword\" = \"hunter2\"\n"), &[]);
    assert!(found.len() == 1 && !found[0].contains("hunter2"), "{found:#?}");
}

#[test]
fn properties_that_operators_need_are_taken() {
    let lines = "\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"OAUTHBEARER\"\n\
                 \"sasl.oauthbearer.method\" = \"oidc\"\n\"partitioner\" = \"murmur2_random\"\n\
                 \"queue.buffering.max.kbytes\" = 2000\n\"message.max.bytes\" = 2000000\n\"isolation.level\" = \"read_committed\"\n";
    load(&format!("{SERVERS}[kafka.properties]\n{lines}"), &[]).unwrap();
}

#[test]
fn an_admin_port_that_others_reach_needs_a_token_that_nothing_shows() {
    let listen = |address: &str, token: Option<&str>| {
        let mut env = vec![("MAILROOM__ADMIN__LISTEN", address)];
        env.extend(token.map(|token| ("MAILROOM__ADMIN__TOKENS__NIGHT_SHIFT__TOKEN", token)));
        load(SERVERS, &env)
    };
    let default = load(SERVERS, &[]).unwrap().0.admin;
    assert_eq!(default.listen.unwrap().to_string(), "127.0.0.1:9180");
    assert!(!default.is_listen_given && default.tokens.is_empty() && default.reads_without_token);
    assert_eq!(listen("off", None).unwrap().0.admin.listen, None);
    for local in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:9180", "[::ffff:127.0.0.1]:9180"] {
        assert!(listen(local, None).unwrap().0.admin.is_listen_given, "{local}");
    }
    let token = "0123456789abcdef";
    for open in ["0.0.0.0:9180", "[::]:9180", "10.0.0.1:9180", "[::ffff:10.0.0.1]:9180"] {
        let errors = listen(open, None).unwrap_err().to_string();
        assert!(errors.contains("admin.listen") && errors.contains("needs a token"), "{errors}");
        let (config, settings) = listen(open, Some(token)).unwrap();
        let known = config.admin.tokens.first().unwrap();
        assert_eq!(
            (known.name.as_str(), known.role, known.secret.expose()),
            ("night-shift", Role::Viewer, token)
        );
        assert!(!config.admin.reads_without_token, "others could read");
        assert!(!format!("{config:?}{settings:?}").contains(token));
    }
    for wrong in ["9180", "localhost:9180", ":9180", "on", ""] {
        let errors = listen(wrong, None).unwrap_err().to_string();
        assert!(errors.contains("must be \"off\", or an IP address and a port"), "{errors}");
    }
    for wrong in ["0123456789abcde", "0123456789 abcdef", "0123456789abcd\u{e9}f"] {
        let errors = listen("0.0.0.0:9180", Some(wrong)).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
        let errors = errors.to_string();
        let named = "admin.tokens.night-shift.token: must be at least 16";
        assert!(errors.contains(named) && !errors.contains(wrong), "{errors}");
    }
}

#[test]
fn each_admin_token_has_a_name_and_a_role_and_is_no_other_ones() {
    let read = |lines: &str| load(&format!("{SERVERS}[admin.tokens]\n{lines}\n"), &[]);
    let (a, b) = ("0123456789abcdef", "fedcba9876543210");
    let two = format!(
        "ann = {{ role = \"admin\", token = \"{a}\" }}\nbo = {{ role = \"operator\", token = \"{b}\" }}"
    );
    let tokens = read(&two).unwrap().0.admin.tokens;
    let seen: Vec<_> = tokens.iter().map(|token| (token.name.as_str(), token.role)).collect();
    assert_eq!(seen, [("ann", Role::Admin), ("bo", Role::Operator)]);
    for (line, named) in [
        (format!("ann = {{ token = \"{a}\", token-file = \"x\" }}"), "together with admin.tokens.ann.token"),
        ("ann = { token-file = \"/nowhere\" }".to_owned(), "cannot read the file"),
        ("ann = { role = \"viewer\" }".to_owned(), "admin.tokens.ann.token: is missing"),
        (
            format!("ann = {{ role = \"root\", token = \"{a}\" }}"),
            "must be \"viewer\" or \"operator\" or \"admin\"",
        ),
        (format!("Ann = {{ token = \"{a}\" }}"), "its name must be 1 to 64 of a-z"),
        (format!("ann = {{ token = \"{a}\" }}\nbo = {{ token = \"{a}\" }}"), "is the token of ann too"),
        (format!("ann = {{ token = \"{a}\", rights = 1 }}"), "unknown key"),
    ] {
        let errors = read(&line).unwrap_err().to_string();
        assert!(errors.contains(named) && !errors.contains(a), "{line}: {errors}");
    }
}
