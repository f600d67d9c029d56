//! Files that become a handler, and files that do not.

use super::*;
use crate::handler::check;

async fn refused(guest_name: &str, manifest: &str) -> Refused {
    load(guest_name, manifest).await.unwrap_err()
}

#[tokio::test]
async fn files_of_another_kind_are_named_for_what_they_are() {
    for (bytes, named) in [
        (b"".to_vec(), "an empty file"),
        (b"hello".to_vec(), "something else than WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "a core WebAssembly module"),
    ] {
        let refused = load_bytes(bytes, "").await.unwrap_err().to_string();
        assert!(refused.contains(named) && refused.contains("wasm32-wasip2"), "{refused}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_refused() {
    let mut wasm = guest("scripted");
    wasm.truncate(wasm.len() / 2);
    assert!(matches!(load_bytes(wasm, "").await, Err(Refused::Compile(_))));
}

#[tokio::test]
async fn a_component_without_the_export_is_refused_by_its_name() {
    let refused = refused("no-export", "").await;
    assert!(matches!(refused, Refused::MissingExport(_)), "{refused}");
    assert!(refused.to_string().contains("mailroom:contract/handler@0.1.0"), "{refused}");
}

#[tokio::test]
async fn an_unknown_import_is_named() {
    let Refused::UnknownImport { name, .. } = refused("unknown-import", "").await else {
        panic!("refused for something else")
    };
    assert!(name.contains(':') && !name.starts_with("wasi:") && !name.starts_with("mailroom:"), "{name}");
}

#[tokio::test]
async fn a_fault_in_subscriptions_refuses_the_component() {
    let panicked = refused("panics-at-load", "").await;
    assert!(matches!(panicked, Refused::SubscriptionsFaulted(Fault::Trap { .. })), "{panicked}");
    let looped = refused("loops-at-load", "[limits]\nfuel = 10000000").await;
    assert!(matches!(looped, Refused::SubscriptionsFaulted(Fault::OutOfFuel { .. })), "{looped}");
}

#[tokio::test]
async fn a_component_is_asked_on_the_guests_runtime() {
    let guests = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let engine = Engine::new(settings(1), guests.handle().clone()).unwrap();
    let name = HandlerName::parse("fixture").unwrap();
    let manifest = || Arc::new(Manifest::default_for(&config()));
    engine.load(&name, Wasm::new(guest("scripted")), manifest()).await.unwrap();
    guests.shutdown_background();
    let refused = engine.load(&name, Wasm::new(guest("scripted")), manifest()).await;
    assert!(matches!(refused, Err(Refused::Unavailable(_))), "it ran elsewhere: {refused:?}");
}

#[tokio::test]
async fn the_manifest_wins_over_what_the_component_says() {
    let own = load("scripted", "").await.unwrap();
    assert_eq!(own.subscriptions()[0].topics, ["scripted"]);
    assert_eq!(own.subscriptions()[0].form, Form::Binary);
    let told = load("scripted", "[subscribe]\ntopics = [\"a\", \"b\"]\nform = \"text\"").await.unwrap();
    assert_eq!(told.subscriptions().len(), 1);
    assert_eq!(told.subscriptions()[0].topics, ["a", "b"]);
    assert_eq!(told.subscriptions()[0].form, Form::Text);
}

#[tokio::test]
async fn the_check_tells_what_holds() {
    let folder = reload::Folder::new();
    let manifest = folder.write("scripted.toml", GRANTED.as_bytes());
    let wasm = folder.write("scripted.wasm", &guest("scripted"));
    let report = check(&wasm, Some(&manifest), &config()).await.unwrap();
    let text = report.to_string();
    for told in [
        "exactly once",
        "mailroom:contract/handler@0.1.",
        "topics scripted",
        "publish out; state yes",
        "deadline",
    ] {
        assert!(text.contains(told), "{told} is missing in {text}");
    }
    assert!(serde_json::to_string(&report).unwrap().contains(&report.digest));
    let unnamed = folder.write("No Name.wasm", b"");
    assert!(matches!(check(&unnamed, None, &config()).await, Err(Refused::Name(_))));
    let absent = wasm.with_file_name("absent.wasm");
    assert!(matches!(check(&absent, None, &config()).await, Err(Refused::Unreadable { .. })));
}
