//! Abuses that a guest must not get away with, and the name by which each is caught.

use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn a_panic_is_told_in_its_own_words_with_its_backtrace() {
    let called = run(r#"{"behave": "panic", "topic": "out"}"#, "").await;
    let output = called.last_output.clone().unwrap();
    assert!(output.contains("told to panic"), "{output}");
    let Fault::Trap { reason, backtrace } = fault(called) else { panic!("not a trap") };
    assert!(reason.starts_with("panicked at ") && reason.contains("told to panic"), "{reason}");
    assert!(!reason.contains("note:"), "{reason}");
    assert!(backtrace.contains("panic"), "function names are kept: {backtrace}");
}

#[tokio::test]
async fn a_loop_ends_with_its_fuel() {
    let called = run(r#"{"behave": "loop"}"#, "fuel = 10000000").await;
    assert!(called.usage.fuel >= 10_000_000);
    let Fault::OutOfFuel { limit: 10_000_000, backtrace } = fault(called) else { panic!("it has fuel") };
    assert!(backtrace.contains("spin"), "{backtrace}");
}

#[tokio::test]
async fn a_loop_ends_with_its_deadline() {
    let started = Instant::now();
    let called = run(r#"{"behave": "loop"}"#, "deadline = \"300ms\"\nfuel = 1000000000000000").await;
    let Fault::Deadline { limit, backtrace, .. } = fault(called) else { panic!("it has time") };
    assert_eq!(limit, Duration::from_millis(300));
    assert!(backtrace.contains("spin"), "{backtrace}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_guest_that_waits_ends_with_its_deadline() {
    let called = run(r#"{"behave": "sleep"}"#, "deadline = \"300ms\"").await;
    assert!(called.usage.took < Duration::from_secs(5));
    assert!(matches!(fault(called), Fault::Deadline { limit, .. } if limit == Duration::from_millis(300)));
}

#[tokio::test]
async fn a_guest_that_hoards_memory_is_told_from_one_that_traps() {
    let called = run(r#"{"behave": "memory-bomb"}"#, "memory = \"8MiB\"").await;
    assert!(called.usage.memory_peak <= 8 << 20);
    let fault = fault(called);
    let Fault::Memory { limit, backtrace } = &fault else { panic!("{fault:?}") };
    assert_eq!(*limit, 8 << 20);
    assert!(backtrace.contains("hoard"), "{backtrace}");
}

#[tokio::test]
async fn a_guest_that_went_without_memory_and_panics_later_has_trapped() {
    let Fault::Trap { reason, .. } = fault(run(r#"{"behave": "go-without"}"#, "").await) else {
        panic!("not a trap")
    };
    assert!(reason.contains("told to panic"), "{reason}");
    assert!(
        reason.ends_with("; before that the host refused it memory, limits.memory = 67108864"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_backtrace_names_functions_and_reads_no_debug_information() {
    let component = load("tells-lines", "").await.unwrap();
    let Fault::Trap { backtrace, .. } = fault(call(&component, "").await) else { panic!("not a trap") };
    assert!(backtrace.contains("panic") && backtrace.contains("tells_lines"), "{backtrace}");
    assert!(!backtrace.contains("src/lib.rs"), "its size and cost are the guest's choice: {backtrace}");
}

#[tokio::test]
async fn a_flood_of_output_is_swallowed_and_its_last_words_are_kept() {
    let called = run(r#"{"behave": "flood"}"#, "log-bytes = 1000").await;
    let output = called.last_output.clone().unwrap();
    assert!(output.len() < 1100 && output.contains("line 19999"), "{output}");
    assert!(output.ends_with("bytes before these were dropped: limits.log-bytes]"), "{output}");
    let Fault::Trap { reason, .. } = fault(called) else { panic!("it got an error for printing") };
    assert!(reason.contains("told to panic"), "{reason}");
}

#[tokio::test]
async fn a_bottomless_recursion_is_a_stack_fault() {
    let Fault::Stack { backtrace } = fault(run(r#"{"behave": "recurse"}"#, "").await) else {
        panic!("not a stack fault")
    };
    assert!(backtrace.contains("deeper"), "{backtrace}");
}

#[tokio::test]
async fn a_deeper_stack_takes_a_deeper_recursion() {
    let mut fuel = Vec::new();
    for stack in [128 << 10, 1 << 20] {
        let settings = EngineSettings { stack, ..settings(1) };
        let engine = Engine::new(settings, Handle::current()).unwrap();
        let (name, manifest) = (HandlerName::parse("fixture").unwrap(), Manifest::default_for(&config()));
        let component = engine.load(&name, Wasm::new(guest("scripted")), Arc::new(manifest)).await.unwrap();
        let called = call(&component, r#"{"behave": "recurse"}"#).await;
        fuel.push(called.usage.fuel);
        assert!(matches!(fault(called), Fault::Stack { .. }));
    }
    assert!(fuel[1] > 4 * fuel[0], "{fuel:?}");
}

#[tokio::test]
async fn a_component_that_needs_more_memory_than_its_limit_never_starts() {
    let refused = load("scripted", "[limits]\nmemory = \"1MiB\"").await.unwrap_err();
    assert!(matches!(refused, Refused::SubscriptionsFaulted(Fault::Memory { .. })), "{refused}");
}

#[tokio::test]
async fn effects_are_bounded_in_number_and_in_bytes() {
    let many = fault(run(r#"{"topic": "out", "count": 4}"#, "effects = 3").await);
    assert!(matches!(many, Fault::Failed { .. }), "{many:?}");
    let many = many.to_string();
    assert!(
        many.ends_with("; before that the host refused its effect number 4, limits.effects = 3"),
        "{many}"
    );
    let exactly = run(r#"{"topic": "out", "count": 3}"#, "effects = 3").await;
    assert_eq!(exactly.outgoing.len(), 3);
    let large = format!(r#"{{"topic": "out", "value": "{}"}}"#, "x".repeat(2000));
    let large = fault(run(&large, "output-bytes = 1000").await);
    assert!(matches!(large, Fault::Failed { .. }), "{large:?}");
    assert!(large.to_string().ends_with("limits.output-bytes = 1000"), "{large}");
    let stored = fault(run(r#"{"add": 1}"#, "effects = 0").await);
    assert!(matches!(stored, Fault::Failed { .. }), "{stored:?}");
}

#[tokio::test]
async fn what_would_cost_the_host_too_much_memory_has_a_fault_of_its_own() {
    let script = format!(r#"{{"topic": "out", "value": "{}"}}"#, "x".repeat(5 << 20));
    let Fault::HostMemory { limit: 4_194_304, backtrace } = fault(run(&script, "output-bytes = 1000").await)
    else {
        panic!("the host copied it")
    };
    assert!(backtrace.contains("Scripted"), "{backtrace}");
    let headers = fault(run(r#"{"topic": "out", "headers": 1000000}"#, "memory = \"256MiB\"").await);
    assert!(matches!(headers, Fault::HostMemory { .. }), "{headers:?}");
    let headers = fault(run(r#"{"topic": "out", "headers": 101}"#, "").await).to_string();
    assert!(headers.contains("at most 100 are allowed"), "{headers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_pool_wait_for_a_place() {
    let component = Arc::new(load("scripted", GRANTED).await.unwrap());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let component = Arc::clone(&component);
        calls.spawn(async move { completed(&call(&component, r#"{"topic": "out"}"#).await) });
    }
    assert!(calls.join_all().await.into_iter().all(|completed| completed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_is_not_the_guests_fault() {
    let limits = "[limits]\ndeadline = \"300ms\"\nfuel = 1000000000000000";
    let component = Arc::new(load("scripted", limits).await.unwrap());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let component = Arc::clone(&component);
        calls.spawn(async move { call(&component, r#"{"behave": "sleep"}"#).await.end });
    }
    let ends = calls.join_all().await;
    let waited = ends.iter().filter(|end| matches!(end, End::NotCalled(_))).count();
    let faulted = ends.iter().filter(|end| matches!(end, End::Faulted(Fault::Deadline { .. }))).count();
    assert!(waited > 0 && faulted >= 4 && waited + faulted == 40, "{ends:?}");
}
