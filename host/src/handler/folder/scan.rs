//! Scan of the folder, by names and stamps; contents are read only where a stamp changed.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::handler::refused::Refused;
use crate::handler::script::ENDINGS;

/// The largest component that is read. Python's are about 20 MiB.
pub(in crate::handler) const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// The largest manifest that is read.
pub(in crate::handler) const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Stamp by which one content of a file is told from another without reading it. The change time cannot be
/// set, so that a copy with an old modification time is seen as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    changed: (i64, i64),
    length: u64,
}

/// The files of one handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// A component, or a script.
    pub(super) wasm: (PathBuf, Stamp),
    /// Another file that would be the same handler.
    pub(super) other: Option<PathBuf>,
    pub(super) manifest: Option<(PathBuf, Stamp)>,
}

impl Files {
    /// Returns the files as they are now; `None` where the component is gone.
    pub(super) fn now(&self) -> Option<Self> {
        Self::of(&self.wasm.0)
    }

    /// Finds the files of the stem of this path.
    fn of(path: &Path) -> Option<Self> {
        let mut found = endings().map(|ending| path.with_extension(ending)).filter_map(stamped);
        let wasm = found.next()?;
        let other = found.next().map(|(path, _)| path);
        Some(Self { wasm, other, manifest: stamped(path.with_extension("toml")) })
    }
}

/// Endings of the files that are handlers.
fn endings() -> impl Iterator<Item = &'static str> {
    ["wasm"].into_iter().chain(ENDINGS)
}

/// Tells whether a file of the folder is a handler, by its name.
pub(crate) fn is_handler(file: &Path) -> bool {
    file.extension().is_some_and(|extension| endings().any(|ending| extension == ending))
}

/// All components and scripts directly in the folder, by their stems.
pub(super) async fn list(path: PathBuf) -> io::Result<BTreeMap<String, Files>> {
    let listed = tokio::task::spawn_blocking(move || {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&path)? {
            let file = entry?.path();
            if !is_handler(&file) {
                continue;
            }
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // Gone again, or a broken link: as if it were not there.
            let Some(files) = Files::of(&file) else { continue };
            found.insert(stem, files);
        }
        Ok(found)
    });
    listed.await.map_err(io::Error::other)?
}

/// A file of at most so many bytes; a folder or a device is not read.
pub(in crate::handler) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Refused> {
    let unreadable = |source| Refused::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is not a file")));
    }
    let too_large = || Refused::TooLarge { path: path.to_owned(), bytes_max };
    if metadata.len() > bytes_max {
        return Err(too_large());
    }
    // It may still grow.
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read > bytes_max) { Err(too_large()) } else { Ok(bytes) }
}

fn stamped(path: PathBuf) -> Option<(PathBuf, Stamp)> {
    stamp(&path).map(|stamp| (path, stamp))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Some(Stamp { inode: metadata.ino(), changed, length: metadata.len() })
}
