//! Machine code of components that were compiled before, so that neither a restart nor the return of an
//! earlier version waits for the compiler.
//!
//! What lies here is executed. So the folder must be this user's own and closed to the writing of others, and
//! each file is checked against its sum; the bytes that were checked are the bytes that run. Whatever is wrong
//! here is told in one line and costs a compilation, never a handler.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compile::digest;

/// Raised where files get another form.
const FORM: u8 = 1;
/// Hexadecimal digits of a sum.
const SUM_BYTES: u64 = 64;
/// A file that was never finished is removed after so many seconds.
const UNFINISHED_FOR: i64 = 3600;
/// Bits of a mode that let others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Only the time of the last change is set, by the file system's own clock.
const USED_NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

/// Settings of the code cache: where compiled code is kept, and how much of it.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    /// The folder; it is made where it is missing.
    pub(crate) folder: PathBuf,
    /// Bytes in all; what was used the longest time ago goes first.
    pub(crate) bytes_max: u64,
}

/// The store of one engine; hosts of one user may share a folder.
#[derive(Debug)]
pub(super) struct Store {
    settings: StoreSettings,
    /// Engine for which code must have been compiled.
    engine: [u8; 32],
    /// True once it was logged that nothing can be written.
    complained: AtomicBool,
}

/// Reason why a folder or a file in it is not trusted or of no use.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it belongs to another user (uid {0})")]
    Foreign(u32),
    #[error("others may write to it (mode {0:o})")]
    Open(u32),
    #[error("it is no {0}")]
    Kind(&'static str),
    #[error("its content is not what was written")]
    Damaged,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Store {
    /// Opens or makes the folder. `None`, and one line in the log, where it cannot be trusted or made.
    pub(super) fn open(settings: StoreSettings, engine: &Engine) -> Option<Self> {
        let mut hasher = Stable(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let store = Self { settings, engine: hasher.0.finalize().into(), complained: AtomicBool::new(false) };
        let folder = &store.settings.folder;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        match made.map_err(Unfit::from).and_then(|()| trusted_folder(folder)) {
            Ok(()) => Some(store),
            Err(unfit) => {
                tracing::warn!(
                    "Compiled code is not kept: {}: {unfit}; name a folder of this user alone as host.compiled, or \
                     set host.compiled-bytes-max = 0",
                    folder.display()
                );
                None
            }
        }
    }

    /// The code of a component, by the digest of its file.
    pub(super) fn find(&self, engine: &Engine, wasm_digest: &str) -> Option<Component> {
        let path = self.path(wasm_digest, "cwasm");
        let found = self.read(&path).and_then(|bytes| {
            let Some(bytes) = bytes else { return Ok(None) };
            deserialized(engine, &bytes)
                .map(Some)
                .map_err(|error| Unfit::Io(io::Error::other(error.to_string())))
        });
        found.unwrap_or_else(|unfit| {
            tracing::warn!("{} is not used: {unfit}; its component is compiled anew", path.display());
            None
        })
    }

    /// Keeps a component's code. What cannot be written is told once.
    pub(super) fn keep(&self, wasm_digest: &str, code: &[u8]) {
        self.told(self.write(wasm_digest, code));
    }

    /// The same of one that this process compiled.
    pub(super) fn keep_component(&self, wasm_digest: &str, component: &Component) {
        let code = component.serialize().map_err(|error| io::Error::other(error.to_string()));
        self.told(code.and_then(|code| self.write(wasm_digest, &code)));
    }

    fn told(&self, kept: io::Result<()>) {
        match kept {
            Ok(()) => self.complained.store(false, Ordering::Relaxed),
            Err(error) if self.complained.swap(true, Ordering::Relaxed) => {
                tracing::debug!("Compiled code is still not kept: {error}");
            }
            Err(error) => tracing::warn!(
                "Compiled code cannot be kept in {}: {error}; handlers run all the same, and are compiled anew by \
                 the next start",
                self.settings.folder.display()
            ),
        }
    }

    /// `None` where there is nothing.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Unfit> {
        trusted_folder(&self.settings.folder)?;
        let (Some(sum), Some(code)) = (opened(&path.with_extension("sum"))?, opened(path)?) else {
            return Ok(None);
        };
        let (mut expected, mut bytes) = (String::new(), Vec::new());
        sum.take(SUM_BYTES).read_to_string(&mut expected)?;
        // The mark of its last use; where it cannot be set the file only seems older than it is.
        if let Err(error) = futimens(&code, &USED_NOW) {
            tracing::debug!("{} is not marked as used: {error}", path.display());
        }
        code.take(self.settings.bytes_max).read_to_end(&mut bytes)?;
        if *expected != *digest(&bytes) {
            return Err(Unfit::Damaged);
        }
        Ok(Some(bytes))
    }

    fn write(&self, wasm_digest: &str, code: &[u8]) -> io::Result<()> {
        if u64::try_from(code.len()).is_ok_and(|bytes| bytes > self.settings.bytes_max) {
            return Err(io::Error::other("the code is larger than host.compiled-bytes-max"));
        }
        trusted_folder(&self.settings.folder).map_err(io::Error::other)?;
        let path = self.path(wasm_digest, "cwasm");
        whole(&path, code)?;
        whole(&path.with_extension("sum"), digest(code).as_bytes())?;
        self.trim(&path)
    }

    /// Removes what was used the longest time ago until the rest has room.
    fn trim(&self, newest: &Path) -> io::Result<()> {
        let mut kept = Vec::new();
        let now = fs::metadata(newest)?.mtime();
        for entry in fs::read_dir(&self.settings.folder)? {
            let path = entry?.path();
            // Another host may have removed it.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let used = (metadata.mtime(), metadata.mtime_nsec());
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("cwasm") => kept.push((used, metadata.len(), path)),
                Some("tmp") if now - used.0 > UNFINISHED_FOR => fs::remove_file(&path)?,
                Some(_) | None => {}
            }
        }
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in kept.iter().filter(|(_, _, path)| path != newest) {
            if bytes <= self.settings.bytes_max {
                break;
            }
            // Without its sum a file is never read.
            for path in [path.with_extension("sum"), path.clone()] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            bytes = bytes.saturating_sub(*length);
        }
        Ok(())
    }

    /// Named by all that the code depends on.
    fn path(&self, wasm_digest: &str, extension: &str) -> PathBuf {
        let key =
            [&[FORM], env!("CARGO_PKG_VERSION").as_bytes(), &self.engine, wasm_digest.as_bytes()].concat();
        self.settings.folder.join(&*digest(&key)).with_extension(extension)
    }
}

/// Feeds what it is given to SHA-256: the standard library's own hashes may differ from build to build.
struct Stable(Sha256);

impl Hasher for Stable {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked for: the whole sum is taken.
    fn finish(&self) -> u64 {
        0
    }
}

#[expect(
    unsafe_code,
    reason = "wasmtime cannot verify machine code; that we made these bytes is known otherwise"
)]
pub(super) fn deserialized(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what wasmtime's compiler gave in a process of this binary. Either they were kept, and then
    // their sum agrees, and nobody else may write to the folder; or this process's own child wrote them to a pipe that
    // nobody else has, and ended well. That they are for this engine wasmtime checks itself.
    unsafe { Component::deserialize(engine, code) }
}

fn trusted_folder(folder: &Path) -> Result<(), Unfit> {
    let metadata = fs::metadata(folder)?;
    if metadata.is_dir() { trusted(&metadata) } else { Err(Unfit::Kind("folder")) }
}

fn trusted(metadata: &Metadata) -> Result<(), Unfit> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Unfit::Foreign(metadata.uid()));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Unfit::Open(metadata.mode() & 0o7777));
    }
    Ok(())
}

fn opened(path: &Path) -> Result<Option<File>, Unfit> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Unfit::Kind("file"));
    }
    trusted(&metadata)?;
    Ok(Some(file))
}

/// A file that is there as a whole or not at all.
fn whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let apart = path.with_added_extension(format!("{:016x}.tmp", fastrand::u64(..)));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o400).open(&apart).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.and_then(|()| fs::rename(&apart, path)).inspect_err(|_| {
        if let Err(error) = fs::remove_file(&apart) {
            tracing::debug!("{} stays: {error}", apart.display());
        }
    })
}
