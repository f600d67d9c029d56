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

    async fn next(&mut self) -> Change {
        let next = tokio::time::timeout(Duration::from_secs(30), self.changes.recv());
        next.await.expect("a change within the deadline").expect("the loop runs")
    }
}

fn running(change: Change) -> Arc<super::super::Handler> {
    match change {
        Change::Running(handler) => handler,
        other @ (Change::Swapped(_) | Change::Refused { .. } | Change::Removed(_)) => panic!("{other:?}"),
    }
}

/// What edition-one and -two subscribe to may differ; the manifest makes it one.
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
