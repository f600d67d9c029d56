//! `wasi:config` and `wasi:logging`: what is granted and what a call may not do with it.

use super::*;
use crate::config::LogLevel;
use crate::handler::effects::Asked;

/// Loads the scripted guest under a host that has values for handlers.
async fn configured(grants: &str) -> Component {
    configured_by(&format!("{GRANTED}{grants}")).await
}

async fn configured_by(manifest: &str) -> Component {
    let mut config = config();
    for (key, value) in [("api-token", "hunter2"), ("region", "north"), ("other", "o")] {
        config.set_handler_value(key, value.to_owned()).unwrap();
    }
    let manifest = Manifest::parse(manifest, &config).unwrap();
    let name = HandlerName::parse("fixture").unwrap();
    engine().load(&name, Wasm::new(guest("scripted")), Arc::new(manifest)).await.unwrap()
}

fn logs(level: &str, text: &str) -> String {
    serde_json::json!({"log": [[level, "billing", text]], "topic": "out"}).to_string()
}

async fn watched(component: &Component, script: &str) -> (Called, Vec<Asked>) {
    component.watch(&message(script), Form::Binary, no_state(), None).await
}

fn value(called: &Called) -> serde_json::Value {
    let payload = called.outgoing[0].payload.as_deref().unwrap();
    serde_json::from_slice::<serde_json::Value>(payload).unwrap()["config"].clone()
}

#[tokio::test]
async fn a_granted_key_is_read_by_the_name_that_the_manifest_uses_and_no_other_is() {
    let component = configured("config = [\"API_TOKEN\", \"region\"]").await;
    let (called, asked) = watched(&component, r#"{"config": "API_TOKEN", "topic": "out"}"#).await;
    assert_eq!(value(&called), "hunter2");
    assert_eq!(asked[0], Asked::Config { key: "API_TOKEN".to_owned(), bytes: 7 });
    let (called, _) = watched(&component, r#"{"config": "*", "topic": "out"}"#).await;
    assert_eq!(value(&called), serde_json::json!([["API_TOKEN", "hunter2"], ["region", "north"]]));
    for key in ["other", "api-token", "", "a\"\u{1b}[31m"] {
        let script = serde_json::json!({"config": key, "topic": "out"}).to_string();
        let denied = fault(call(&component, &script).await).to_string();
        assert!(denied.contains("add it to its manifest: grants.config = ["), "{denied}");
        assert!(!denied.contains('\u{1b}'), "{denied:?}");
    }
}

#[tokio::test]
async fn without_a_grant_neither_one_key_nor_all_are_read() {
    let component = configured("").await;
    for key in ["region", "*"] {
        let (called, asked) = watched(&component, &format!(r#"{{"config": "{key}"}}"#)).await;
        let denied = fault(called).to_string();
        assert!(denied.contains("grants.config = ["), "{denied}");
        assert!(matches!(asked[0], Asked::Refused { grant: Some("grants.config"), .. }), "{asked:?}");
    }
}

#[tokio::test]
async fn lines_up_to_the_granted_level_are_part_of_the_output_and_the_rest_is_dropped() {
    let component = configured("log = \"info\"").await;
    for (level, kept) in [
        ("critical", Some("[error] billing: sent\n")),
        ("error", Some("[error] billing: sent\n")),
        ("warn", Some("[warn] billing: sent\n")),
        ("info", Some("[info] billing: sent\n")),
        ("debug", None),
        ("trace", None),
    ] {
        let called = call(&component, &logs(level, "sent")).await;
        assert!(completed(&called), "{level}: {:?}", called.end);
        assert_eq!(called.last_output.as_deref(), kept, "{level}");
    }
    let called = call(&component, &logs("warn", "a\u{1b}[2J\rb")).await;
    assert_eq!(called.last_output.as_deref(), Some("[warn] billing: a\\u{1b}[2J\\u{d}b\n"));
}

#[tokio::test]
async fn dropped_lines_are_denied_once_a_call_by_the_name_of_the_grant() {
    for (manifest, remedy) in [
        ("", "the handler may not write to the log; add it to its manifest: grants.log = \"debug\""),
        ("log = \"warn\"", "may log no more than grants.log = \"warn\"; raise it in its manifest"),
    ] {
        let component = configured(manifest).await;
        let script = r#"{"log": [["debug", "", "x"]], "log_times": 3000}"#;
        let (called, asked) = watched(&component, script).await;
        assert!(completed(&called) && called.last_output.is_none(), "{:?}", called.end);
        let [Asked::Refused { grant: Some("grants.log"), why, .. }] = asked.as_slice() else {
            panic!("it is denied once: {asked:?}")
        };
        assert!(why.contains(remedy), "{why}");
    }
}

#[tokio::test]
async fn more_lines_than_a_call_may_log_are_a_fault_of_their_own() {
    let component = configured("log = \"info\"\n[limits]\nlog-lines = 5").await;
    let times = |times: u32| format!(r#"{{"log": [["info", "", "again"]], "log_times": {times}}}"#);
    let called = call(&component, &times(5)).await;
    assert!(completed(&called), "{:?}", called.end);
    let called = call(&component, &times(1_000_000)).await;
    assert_eq!(called.last_output.as_deref(), Some("[info] again\n".repeat(5).as_str()));
    let fault = fault(called);
    let Fault::LogLines { limit: 5, backtrace } = &fault else { panic!("{fault:?}") };
    assert!(!backtrace.is_empty());
    assert_eq!(
        (fault.kind(), fault.to_string().as_str()),
        ("log-lines", "logged more than 5 lines, limits.log-lines")
    );
    let after = call(&component, &times(5)).await;
    assert!(completed(&after), "each call has its own lines: {:?}", after.end);
}

#[tokio::test]
async fn calls_of_one_instance_have_each_their_own_lines() {
    let manifest =
        "instances = \"reuse\"\n[grants]\nlog = \"info\"\npublish = [\"out\"]\n[limits]\nlog-lines = 3\n";
    let component = configured_by(manifest).await;
    for nth in 1..=3 {
        let script = r#"{"log": [["info", "", "once"], ["debug", "", "x"]], "log_times": 3, "topic": "out"}"#;
        let (called, asked) = watched(&component, script).await;
        assert!(completed(&called), "{:?}", called.end);
        assert_eq!(called.last_output.as_deref(), Some("[info] once\n".repeat(3).as_str()));
        let denied = asked.iter().filter(|asked| matches!(asked, Asked::Refused { .. })).count();
        assert_eq!(denied, 1, "of call {nth}: {asked:?}");
        let payload = called.outgoing[0].payload.as_deref().unwrap();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(payload).unwrap()["calls"],
            nth,
            "one instance"
        );
    }
}

#[tokio::test]
async fn a_vast_line_is_cut() {
    let component = configured("log = \"trace\"").await;
    assert_eq!(component.manifest().grants.log, LogLevel::Trace);
    let called = call(&component, &logs("trace", &"x".repeat(1 << 20))).await;
    let output = called.last_output.clone().unwrap();
    assert!(completed(&called) && output.len() < 9000, "{} bytes", output.len());
}
