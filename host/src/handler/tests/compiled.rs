//! The store of compiled code: found again, never trusted, never in the way.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use rustix::fs::{Timespec, Timestamps, futimens};

use super::*;
use crate::handler::compile::{CompileLimits, CompilePace, Compiler, Wasm};
use crate::handler::compiled::{Store, StoreSettings};

const ROOM: u64 = 1 << 30;

fn store(folder: &Path, bytes_max: u64, engine: &Engine) -> Option<Store> {
    Store::open(StoreSettings { folder: folder.to_owned(), bytes_max }, &engine.wasmtime)
}

fn code(engine: &Engine) -> Vec<u8> {
    engine.wasmtime.precompile_component(&guest("noop")).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Makes a file look as if it was last used then.
fn used(path: &Path, secs: i64) {
    let then = Timespec { tv_sec: secs, tv_nsec: 0 };
    let times = Timestamps { last_access: then, last_modification: then };
    futimens(fs::File::open(path).unwrap(), &times).unwrap();
}

/// Overwrites a file, whatever its mode is.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn what_was_kept_is_found_by_its_digest_and_by_an_engine_of_the_same_settings() {
    let (folder, engine) = (reload::Folder::new(), engine());
    let path = folder.path().join("a/compiled");
    let kept = store(&path, ROOM, &engine).unwrap();
    assert!(kept.find(&engine.wasmtime, "one").is_none());
    kept.keep("one", &code(&engine));
    assert!(kept.find(&engine.wasmtime, "one").is_some());
    assert!(kept.find(&engine.wasmtime, "two").is_none(), "another component's");
    assert!(store(&path, ROOM, &super::engine()).unwrap().find(&engine.wasmtime, "one").is_some());
    assert_eq!(mode(&path), 0o700);
    let (compiled, sums) = (files(&path, "cwasm"), files(&path, "sum"));
    assert_eq!((compiled.len(), sums.len(), files(&path, "tmp").len()), (1, 1, 0));
    assert_eq!((mode(&compiled[0]), mode(&sums[0])), (0o400, 0o400));

    let other = wasmtime::Engine::default();
    let settings = StoreSettings { folder: path, bytes_max: ROOM };
    assert!(Store::open(settings, &other).unwrap().find(&other, "one").is_none(), "another engine's");
}

#[tokio::test]
async fn damaged_and_foreign_code_is_not_run_and_is_written_anew() {
    let (folder, engine) = (reload::Folder::new(), engine());
    let path = folder.path().join("compiled");
    let kept = store(&path, ROOM, &engine).unwrap();
    let found = || kept.find(&engine.wasmtime, "one").is_some();
    kept.keep("one", &code(&engine));
    let (compiled, sum) = (files(&path, "cwasm").remove(0), files(&path, "sum").remove(0));
    let good = fs::read(&compiled).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let harms: [&dyn Fn(); 6] = [
        &|| overwrite(&compiled, &flipped),
        &|| overwrite(&compiled, &good[..middle]),
        &|| overwrite(&compiled, b""),
        &|| overwrite(&sum, b"0000"),
        &|| fs::remove_file(&sum).unwrap(),
        &|| fs::set_permissions(&compiled, Permissions::from_mode(0o666)).unwrap(),
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        assert!(found(), "before harm {number}");
        harm();
        assert!(!found(), "after harm {number}");
        kept.keep("one", &code(&engine));
    }
    // Its sum agrees, and it is no code of this engine.
    overwrite(&compiled, b"stranger");
    overwrite(&sum, crate::handler::compile::digest(b"stranger").as_bytes());
    for path in [&compiled, &sum] {
        fs::set_permissions(path, Permissions::from_mode(0o400)).unwrap();
    }
    assert!(!found(), "wasmtime refuses it");
}

#[tokio::test]
async fn a_folder_that_is_not_ours_alone_is_refused_and_one_that_cannot_be_written_costs_nothing() {
    let (folder, engine) = (reload::Folder::new(), engine());
    let file = folder.write("file", b"");
    assert!(store(&file, ROOM, &engine).is_none(), "a file in place of the folder");
    let path = folder.path().join("compiled");
    let kept = store(&path, ROOM, &engine).unwrap();
    kept.keep("one", &code(&engine));
    fs::set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
    assert!(store(&path, ROOM, &engine).is_none(), "its group may write");
    assert!(kept.find(&engine.wasmtime, "one").is_none(), "and has since");
    fs::remove_dir_all(&path).unwrap();
    for _ in 0..2 {
        kept.keep("one", &code(&engine));
        assert!(kept.find(&engine.wasmtime, "one").is_none());
    }
    // Root passes by modes, not by owners.
    if rustix::process::geteuid().is_root() {
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert!(store(&path, ROOM, &engine).is_none(), "another user's");
    }
}

#[tokio::test]
async fn what_was_used_the_longest_time_ago_makes_room() {
    let (folder, engine) = (reload::Folder::new(), engine());
    let path = folder.path().join("compiled");
    let code = code(&engine);
    let length = u64::try_from(code.len()).unwrap();
    let kept = store(&path, 2 * length, &engine).unwrap();
    kept.keep("one", &code);
    used(&files(&path, "cwasm")[0], 7);
    kept.keep("two", &code);
    files(&path, "cwasm")
        .iter()
        .filter(|file| fs::metadata(file).unwrap().mtime() != 7)
        .for_each(|two| used(two, 8));
    assert!(kept.find(&engine.wasmtime, "one").is_some());
    kept.keep("three", &code);
    let found = ["one", "two", "three"].map(|digest| kept.find(&engine.wasmtime, digest).is_some());
    assert_eq!(found, [true, false, true]);
    assert_eq!((files(&path, "cwasm").len(), files(&path, "sum").len()), (2, 2));

    let small = store(&folder.path().join("small"), length - 1, &engine).unwrap();
    small.keep("one", &code);
    assert!(small.find(&engine.wasmtime, "one").is_none(), "it would have no room at all");
}

#[tokio::test]
async fn a_second_engine_takes_the_code_that_the_first_compiled() {
    let folder = reload::Folder::new();
    let path = folder.path().join("compiled");
    let with_store = || EngineSettings {
        compiled: Some(StoreSettings { folder: path.clone(), bytes_max: ROOM }),
        ..settings(4)
    };
    let load = async |engine: &Arc<Engine>, name: &str| {
        let manifest = Arc::new(Manifest::parse(GRANTED, &config()).unwrap());
        let handler = HandlerName::parse("fixture").unwrap();
        engine.load(&handler, Wasm::new(guest(name)), manifest).await.unwrap()
    };
    let first = Engine::new(with_store(), Handle::current()).unwrap();
    load(&first, "scripted").await;
    // It runs before it is kept.
    while files(&path, "sum").is_empty() {
        tokio::task::yield_now().await;
    }
    let compiled = files(&path, "cwasm").remove(0);
    used(&compiled, 7);

    let second = Engine::new(with_store(), Handle::current()).unwrap();
    let scripted = load(&second, "scripted").await;
    assert!(completed(&call(&scripted, "{\"behave\": \"emit\", \"topic\": \"out\", \"value\": 1}").await));
    assert_ne!(fs::metadata(&compiled).unwrap().mtime(), 7, "it was used");
}

#[tokio::test]
async fn identical_components_that_are_loaded_at_once_are_compiled_once() {
    let engine = engine();
    let limits = CompileLimits { time: Duration::from_secs(60), memory: ROOM, threads: 1 };
    let compiler = Compiler::new(engine.wasmtime.clone(), None, limits, CompilePace::Background).unwrap();
    let compile = async |handler: &str, name: &str| {
        compiler.compile(&HandlerName::parse(handler).unwrap(), Wasm::new(guest(name))).await.unwrap()
    };
    let (one, two, other) =
        tokio::join!(compile("one", "noop"), compile("two", "noop"), compile("three", "scripted"));
    assert_eq!(one.image_range(), two.image_range(), "they have the same machine code");
    assert_ne!(one.image_range(), other.image_range());
}
