//! What a guest must not be able to do, and by which name it is caught.

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
    assert_eq!(fault(called), Fault::OutOfFuel { limit: 10_000_000 });
}

#[tokio::test]
async fn a_loop_ends_with_its_deadline() {
    let started = Instant::now();
    let called = run(r#"{"behave": "loop"}"#, "deadline = \"300ms\"\nfuel = 1000000000000000").await;
    assert_eq!(fault(called), Fault::Deadline { limit: Duration::from_millis(300) });
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_guest_that_waits_ends_with_its_deadline() {
    let called = run(r#"{"behave": "sleep"}"#, "deadline = \"300ms\"").await;
    assert!(called.usage.took < Duration::from_secs(5));
    assert_eq!(fault(called), Fault::Deadline { limit: Duration::from_millis(300) });
}

#[tokio::test]
async fn a_guest_that_hoards_memory_is_told_from_one_that_traps() {
    let called = run(r#"{"behave": "memory-bomb"}"#, "memory = \"8MiB\"").await;
    assert!(called.usage.memory_peak <= 8 << 20);
    assert_eq!(fault(called), Fault::Memory { limit: 8 << 20 });
}

#[tokio::test]
async fn a_bottomless_recursion_is_a_stack_fault() {
    let Fault::Stack { backtrace } = fault(run(r#"{"behave": "recurse"}"#, "").await) else {
        panic!("not a stack fault")
    };
    assert!(backtrace.contains("deeper"), "{backtrace}");
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
    let exactly = run(r#"{"topic": "out", "count": 3}"#, "effects = 3").await;
    assert_eq!(exactly.outgoing.len(), 3);
    let large = format!(r#"{{"topic": "out", "value": "{}"}}"#, "x".repeat(2000));
    let large = fault(run(&large, "output-bytes = 1000").await);
    assert!(matches!(large, Fault::Failed { .. }), "{large:?}");
    let stored = fault(run(r#"{"add": 1}"#, "effects = 0").await);
    assert!(matches!(stored, Fault::Failed { .. }), "{stored:?}");
}

#[tokio::test]
async fn what_would_cost_the_host_too_much_memory_is_a_bad_reply() {
    let script = format!(r#"{{"topic": "out", "value": "{}"}}"#, "x".repeat(5 << 20));
    let reply = fault(run(&script, "output-bytes = 1000").await);
    assert!(matches!(reply, Fault::BadReply { .. }), "{reply:?}");
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
    let waited = ends.iter().filter(|end| matches!(end, End::Unavailable(_))).count();
    let faulted = ends.iter().filter(|end| matches!(end, End::Faulted(Fault::Deadline { .. }))).count();
    assert!(waited > 0 && faulted >= 4 && waited + faulted == 40, "{ends:?}");
}
