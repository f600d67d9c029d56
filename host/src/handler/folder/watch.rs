//! Events of the folder: something whole came, changed its name, or went. They are hints; who misses one looks
//! a little later.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, recommended_watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::LOOK_EVERY;

/// Events that follow one another as closely are one: a component with its manifest, a checkout.
const QUIET: Duration = Duration::from_millis(8);
/// Longest wait of the first event, however many follow.
const LONGEST: Duration = Duration::from_millis(50);
/// Linux tells when a file that was written is closed; elsewhere every change counts.
const TELLS_OF_CLOSING: bool = cfg!(target_os = "linux");

/// The folder's watcher.
pub(super) struct Watch {
    path: PathBuf,
    news: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of the folder that is watched.
    of: Option<(u64, u64)>,
    /// Time of the first event that was not told yet.
    since: Option<Instant>,
}

impl Watch {
    pub(super) fn new(path: PathBuf) -> Self {
        let mut watch = Self { path, news: Arc::new(Notify::new()), watcher: None, of: None, since: None };
        watch.renew();
        watch
    }

    /// Follows the path to another folder, which a changed link or a checkout puts there. Without a watcher (the
    /// system has no more of them) the folder is still looked at.
    pub(super) fn renew(&mut self) {
        let of = fs::metadata(&self.path).ok().map(|folder| (folder.dev(), folder.ino()));
        if self.of == of {
            return;
        }
        self.of = of;
        self.watcher = None;
        if of.is_none() {
            return;
        }
        let news = Arc::clone(&self.news);
        let tell = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, is_news) {
                news.notify_one();
            }
        };
        let watcher = recommended_watcher(tell)
            .and_then(|mut watcher| watcher.watch(&self.path, RecursiveMode::NonRecursive).map(|()| watcher));
        self.watcher = watcher
            .inspect_err(|error| {
                let path = self.path.display();
                tracing::warn!("{path} cannot be watched ({error}); it is looked at every {LOOK_EVERY:?}");
            })
            .ok();
    }

    /// Waits for news, and for the end of what belongs together. Cancel safe.
    pub(super) async fn changed(&mut self) {
        let since = match self.since {
            Some(since) => since,
            None => {
                self.news.notified().await;
                *self.since.insert(Instant::now())
            }
        };
        let latest = since + LONGEST;
        loop {
            let until = latest.min(Instant::now() + QUIET);
            if timeout_at(until, self.news.notified()).await.is_err() || Instant::now() >= latest {
                break;
            }
        }
        self.since = None;
    }
}

/// Tells whether an event is news: a file that is still being written is told of when it is closed.
fn is_news(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_)) => !TELLS_OF_CLOSING,
        EventKind::Create(_) => !TELLS_OF_CLOSING || event.paths.iter().any(|path| is_link(path)),
        EventKind::Any | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// Links are whole when they are made.
fn is_link(path: &Path) -> bool {
    let linked = |found: &Metadata| found.is_symlink() || found.nlink() > 1;
    fs::symlink_metadata(path).is_ok_and(|found| linked(&found))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RenameMode};

    use super::*;

    #[test]
    fn what_is_half_written_is_no_news_and_what_is_whole_is() {
        let folder = std::env::temp_dir().join(format!("mailroom-watch-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let (file, link) = (folder.join("a.wasm"), folder.join("b.wasm"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let news = |kind, path: &Path| is_news(&Event::new(kind).add_path(path.to_owned()));
        assert!(news(EventKind::Access(AccessKind::Close(AccessMode::Write)), &file));
        assert!(news(EventKind::Modify(ModifyKind::Name(RenameMode::To)), &file));
        assert!(news(EventKind::Create(CreateKind::File), &link), "nobody closes a link");
        assert!(!news(EventKind::Access(AccessKind::Open(AccessMode::Any)), &file), "our own reading");
        assert_eq!(news(EventKind::Create(CreateKind::File), &file), !TELLS_OF_CLOSING);
        assert_eq!(news(EventKind::Modify(ModifyKind::Data(DataChange::Any)), &file), !TELLS_OF_CLOSING);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_takes_the_place_of_another_is_watched() {
        let folder = std::env::temp_dir().join(format!("mailroom-watch-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let mut watch = Watch::new(folder.clone());
        fs::write(folder.join("a.wasm"), "a").unwrap();
        let told = Duration::from_secs(10);
        tokio::time::timeout(told, watch.changed()).await.unwrap();
        // The old one stays somewhere, so that the new one has another inode.
        let old = folder.with_extension("old");
        fs::rename(&folder, &old).unwrap();
        fs::create_dir(&folder).unwrap();
        watch.renew();
        // What the old one still tells is over before the new one is written to.
        while tokio::time::timeout(LONGEST * 2, watch.changed()).await.is_ok() {}
        fs::write(folder.join("a.wasm"), "b").unwrap();
        tokio::time::timeout(told, watch.changed()).await.unwrap();
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_dir_all(&old).unwrap();
    }
}
