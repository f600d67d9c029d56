//! The drop folder, watched for real.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::handler::{Change, Folder as DropFolder};

/// A folder of a test's own.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("mailroom-handlers-{}", Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The loop over a folder, and what it says.
struct Watched {
    folder: Folder,
    changes: mpsc::Receiver<Change>,
    _loop: JoinSet<()>,
}

impl Watched {
    fn over(folder: Folder) -> Self {
        Self::beside(folder, Vec::new())
    }

    fn beside(folder: Folder, natives: Vec<Arc<super::super::Handler>>) -> Self {
        let (sender, changes) = mpsc::channel(8);
        let watched = DropFolder::new(folder.0.clone(), engine(), Arc::new(config()), natives);
        let mut looping = JoinSet::new();
        looping.spawn(async move { watched.run(sender, CancellationToken::new()).await.unwrap() });
        Self { folder, changes, _loop: looping }
    }

    /// Returns what comes next, but for that something is being compiled, and that the folder was read.
    async fn next(&mut self) -> Change {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(30), self.changes.recv());
            match next.await.expect("a change within the deadline").expect("the loop runs") {
                Change::Compiling(_) | Change::Listed => {}
                change @ (Change::Running(_)
                | Change::Swapped(_)
                | Change::Refused { .. }
                | Change::Removed(_)) => {
                    return change;
                }
            }
        }
    }
}

fn running(change: Change) -> Arc<super::super::Handler> {
    match change {
        Change::Running(handler) => handler,
        other @ (Change::Compiling(_)
        | Change::Swapped(_)
        | Change::Refused { .. }
        | Change::Removed(_)
        | Change::Listed) => panic!("{other:?}"),
    }
}

/// Manifest that makes the subscriptions of edition-one and -two the same.
const SAME: &[u8] = b"[subscribe]\ntopics = [\"same\"]\n";

#[tokio::test]
async fn a_good_file_takes_over_and_a_bad_one_changes_nothing() {
    let folder = Folder::new();
    folder.write("edition.toml", SAME);
    folder.write("edition.wasm", &guest("edition-one"));
    let mut watched = Watched::over(folder);
    let handler = running(watched.next().await);
    assert_eq!((handler.name.as_str(), &*handler.group), ("edition", "mailroom.edition"));
    let one = Arc::clone(handler.current().digest());

    watched.folder.write("edition.wasm", b"rubbish");
    let Change::Refused { keeps, reason, .. } = watched.next().await else { panic!("rubbish was taken") };
    assert_eq!(keeps.as_ref(), Some(&one));
    assert!(reason.contains("not a WebAssembly component"), "{reason}");
    assert_eq!(*handler.current().digest(), one);

    watched.folder.write("edition.wasm", &guest("edition-two"));
    let Change::Swapped(swapped) = watched.next().await else { panic!("edition two was not taken") };
    assert!(Arc::ptr_eq(&swapped, &handler), "the same handler has another component");
    assert_ne!(*handler.current().digest(), one);

    std::fs::remove_file(watched.folder.0.join("edition.wasm")).unwrap();
    assert!(matches!(watched.next().await, Change::Removed(name) if name.as_str() == "edition"));
}

#[tokio::test]
async fn a_manifest_alone_is_reloaded_too() {
    let folder = Folder::new();
    folder.write("scripted.wasm", &guest("scripted"));
    folder.write("ignored.txt", b"");
    let mut watched = Watched::over(folder);
    let first = running(watched.next().await);
    assert!(first.current().manifest().grants.publish.is_empty());

    watched.folder.write("scripted.toml", b"[grants]\nstate = 7\n");
    assert!(matches!(watched.next().await, Change::Refused { keeps: Some(_), .. }));

    watched.folder.write("scripted.toml", GRANTED.as_bytes());
    assert!(matches!(watched.next().await, Change::Swapped(_)));
    assert_eq!(first.current().manifest().grants.publish, ["out"]);

    watched.folder.write("scripted.toml", SAME);
    let second = running(watched.next().await);
    assert!(!Arc::ptr_eq(&first, &second), "another subscription is another handler");
}

#[tokio::test]
async fn a_missing_folder_is_named_with_its_remedy() {
    let (sender, _changes) = mpsc::channel(1);
    let watched =
        DropFolder::new(PathBuf::from("/nowhere/handlers"), engine(), Arc::new(config()), Vec::new());
    let error = watched.run(sender, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/handlers") && error.contains("host.handlers"), "{error}");
}

#[tokio::test]
async fn a_file_with_the_name_of_a_native_handler_is_refused_and_changes_nothing() {
    let folder = Folder::new();
    folder.write("edition.wasm", &guest("edition-one"));
    folder.write("edition.toml", b"[limits]\nfuel = 7\n");
    let mut watched = Watched::beside(folder, vec![Arc::new(native::handler("edition", ""))]);
    let handler = running(watched.next().await);
    let digest = Arc::clone(handler.current().digest());
    let Change::Refused { name, reason, keeps } = watched.next().await else { panic!("the file was taken") };
    assert_eq!((name.as_str(), keeps), ("edition", Some(digest)));
    assert!(reason.contains("native handler") && reason.contains("rename"), "{reason}");
    assert_ne!(handler.current().manifest().limits.fuel, 7, "its manifest is not the file's");

    std::fs::remove_file(watched.folder.0.join("edition.wasm")).unwrap();
    assert!(matches!(watched.next().await, Change::Swapped(of) if Arc::ptr_eq(&of, &handler)));
}

#[tokio::test]
async fn loads_that_do_not_end_hold_up_no_other_handler_however_many_they_are() {
    let folder = Folder::new();
    folder.write("edition.toml", SAME);
    folder.write("edition.wasm", &guest("edition-one"));
    let mut watched = Watched::over(folder);
    running(watched.next().await);

    let endless = b"[limits]\nfuel = 1000000000000000\ndeadline = \"10s\"\n";
    for name in ["loops-1", "loops-2", "loops-3", "loops-4", "loops-5"] {
        watched.folder.write(&format!("{name}.toml"), endless);
        watched.folder.write(&format!("{name}.wasm"), &guest("loops-at-load"));
        let next = tokio::time::timeout(Duration::from_secs(30), watched.changes.recv()).await.unwrap();
        assert!(matches!(next, Some(Change::Compiling(of)) if of.as_str() == name));
    }
    // All of them are compiled, and those that can be asked are.
    tokio::time::timeout(Duration::from_secs(3), watched.next()).await.unwrap_err();
    watched.folder.write("edition.wasm", &guest("edition-two"));
    assert!(matches!(watched.next().await, Change::Swapped(_)), "a new component");
    watched.folder.write("edition.toml", &[SAME, b"[limits]\nfuel = 7\n"].concat());
    assert!(matches!(watched.next().await, Change::Swapped(_)), "another manifest");
    std::fs::remove_file(watched.folder.0.join("edition.wasm")).unwrap();
    assert!(matches!(watched.next().await, Change::Removed(_)), "and its removal");

    let Change::Refused { name, reason, .. } = watched.next().await else { panic!("a loop was taken") };
    assert!(name.as_str().starts_with("loops-"), "{name}");
    assert!(reason.contains("subscriptions()"), "{reason}");
}

#[tokio::test]
async fn a_component_never_runs_under_the_manifest_of_the_one_before_it() {
    let folder = Folder::new();
    let manifest = |fuel: u64| [SAME, format!("[limits]\nfuel = {fuel}\n").as_bytes()].concat();
    folder.write("edition.toml", &manifest(100_000_001));
    folder.write("edition.wasm", &guest("edition-one"));
    let mut watched = Watched::over(folder);
    let handler = running(watched.next().await);
    let mut before = Arc::clone(handler.current().digest());
    for fuel in 100_000_002..100_000_012 {
        // The component first, as a checkout may write them: it is compiled when its manifest comes.
        let edition = if fuel % 2 == 0 { "edition-two" } else { "edition-one" };
        watched.folder.write("edition.wasm", &guest(edition));
        let early = tokio::time::timeout(Duration::from_millis(20), watched.next()).await;
        assert!(early.is_err(), "it takes longer to compile: {early:?}");
        watched.folder.write("edition.toml", &manifest(fuel));
        let Change::Swapped(_) = watched.next().await else { panic!("not taken") };
        let now = handler.current();
        assert_ne!(*now.digest(), before);
        assert_eq!(now.manifest().limits.fuel, fuel, "both at once");
        before = Arc::clone(now.digest());
    }
}

#[tokio::test]
async fn of_a_file_that_changes_while_it_is_compiled_the_last_content_runs() {
    let folder = Folder::new();
    folder.write("edition.toml", SAME);
    folder.write("edition.wasm", &guest("edition-one"));
    let mut watched = Watched::over(folder);
    let handler = running(watched.next().await);
    for (early, late) in [("scripted", "edition-two"), ("scripted", "edition-one")] {
        watched.folder.write("edition.wasm", &guest(early));
        let swapped = tokio::time::timeout(Duration::from_millis(20), watched.next()).await;
        assert!(swapped.is_err(), "it takes longer to compile: {swapped:?}");
        watched.folder.write("edition.wasm", &guest(late));
        let last = crate::handler::compile::digest(&guest(late));
        while *handler.current().digest() != last {
            assert!(matches!(watched.next().await, Change::Swapped(_)));
        }
    }

    watched.folder.write("edition.wasm", &guest("edition-two"));
    let swapped = tokio::time::timeout(Duration::from_millis(20), watched.next()).await;
    assert!(swapped.is_err(), "it takes longer to compile: {swapped:?}");
    watched.folder.write("edition.wasm", b"rubbish");
    let (reason, keeps) = loop {
        match watched.next().await {
            Change::Refused { reason, keeps: Some(keeps), .. } => break (reason, keeps),
            Change::Swapped(_) => {}
            other @ (Change::Compiling(_)
            | Change::Running(_)
            | Change::Refused { .. }
            | Change::Removed(_)
            | Change::Listed) => panic!("{other:?}"),
        }
    };
    assert!(reason.contains("not a WebAssembly component"), "{reason}");
    assert_eq!(*handler.current().digest(), keeps);
}

#[tokio::test]
async fn links_that_are_changed_at_one_stroke_take_over() {
    let folder = Folder::new();
    let versions = Folder::new();
    for (version, name) in [("one", "edition-one"), ("two", "edition-two")] {
        std::fs::create_dir(versions.0.join(version)).unwrap();
        versions.write(&format!("{version}/edition.wasm"), &guest(name));
        versions.write(&format!("{version}/edition.toml"), SAME);
    }
    // As Kubernetes mounts a config map: links to files below a link that is replaced.
    let link = |target: PathBuf, name: &str| {
        let apart = folder.0.join("..apart");
        std::os::unix::fs::symlink(target, &apart).unwrap();
        std::fs::rename(apart, folder.0.join(name)).unwrap();
    };
    link(versions.0.join("one"), "..data");
    for name in ["edition.wasm", "edition.toml"] {
        link(PathBuf::from(format!("..data/{name}")), name);
    }
    let (path, at) = (folder.0.clone(), versions.0.join("two"));
    let mut watched = Watched::over(folder);
    let handler = running(watched.next().await);
    let one = Arc::clone(handler.current().digest());

    std::os::unix::fs::symlink(at, path.join("..apart")).unwrap();
    std::fs::rename(path.join("..apart"), path.join("..data")).unwrap();
    assert!(matches!(watched.next().await, Change::Swapped(_)));
    assert_ne!(*handler.current().digest(), one);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_by_its_length_and_what_was_there_before_is_well_again() {
    let folder = Folder::new();
    folder.write("edition.wasm", &guest("edition-one"));
    let mut watched = Watched::over(folder);
    running(watched.next().await);

    // It has no blocks: whoever reads it all reads 200 MiB of zeroes.
    let huge = watched.folder.0.join("huge");
    std::fs::File::create(&huge).unwrap().set_len(200 << 20).unwrap();
    std::fs::rename(&huge, watched.folder.0.join("edition.wasm")).unwrap();
    let Change::Refused { reason, keeps, .. } = watched.next().await else { panic!("200 MiB were taken") };
    assert!(reason.contains("has more than 67108864 bytes") && keeps.is_some(), "{reason}");

    watched.folder.write("edition.wasm", &guest("edition-one"));
    assert!(matches!(watched.next().await, Change::Swapped(_)), "what was said is over");
}
