//! Refusals of files that do not become handlers. Each message names the thing and the remedy.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use crate::config::{BadName, ConfigErrors};
use crate::pipeline::outcome::Fault;

use super::world::EXPORT;

/// Reason why a component is not loaded; the version that runs, if any, goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Another kind of file.
    #[error("it is {0}, not a WebAssembly component; build it for the target wasm32-wasip2")]
    NotAComponent(&'static str),
    /// The handler's interface is missing; what it has instead.
    #[error(
        "it does not export {EXPORT} (it exports {0}); build it against wit/mailroom.wit, in Rust with the crate mailroom-guest"
    )]
    MissingExport(String),
    /// The handler's interface has other functions or types than the contract.
    #[error(
        "its export {EXPORT} differs from the contract: {0}; build it against wit/mailroom.wit of this host"
    )]
    WrongExport(String),
    /// The interface of another contract has other functions or types than this host knows.
    #[error(
        "it takes messages by {contract}, of which this host knows another draft: {why}; build it against {folder} of this host"
    )]
    WrongDraft {
        /// The package.
        contract: &'static str,
        /// Error of wasmtime.
        why: String,
        /// Folder of this host's draft.
        folder: &'static str,
    },
    /// The component was built for a contract that this host does not know yet.
    #[error(
        "it exports {has}, and this host knows {knows}; update the host, or build the component against wit/mailroom.wit of this one"
    )]
    NewerContract {
        /// Interface that it exports.
        has: String,
        /// Interface that this host knows.
        knows: &'static str,
    },
    /// The component wants something that the host does not have.
    #[error(
        "it imports {name}, which this host does not have ({why}); leave it out, or build against another version of it"
    )]
    UnknownImport {
        /// The import's name.
        name: String,
        /// Error of the linker.
        why: String,
    },
    /// Two files would be one handler.
    #[error("{} is a handler of the same name as {}; keep one", other.display(), of.display())]
    TwoFiles {
        /// File that would be the handler.
        of: PathBuf,
        /// File that came beside it.
        other: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("{} cannot be read: {source}{}", path.display(), remedy(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The file is not worth reading.
    #[error("{} has more than {bytes_max} bytes; strip its debug information (strip = \"debuginfo\")", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bound of the size in bytes.
        bytes_max: u64,
    },
    /// The component's `subscriptions()` did not answer.
    #[error("its subscriptions() {0}")]
    SubscriptionsFaulted(Fault),
    /// No topic to read from.
    #[error(
        "it subscribes to no topic; name one in subscriptions(), or in its manifest: subscribe.topics = [\"…\"]"
    )]
    NoTopic,
    /// The component subscribes to something that cannot be subscribed to.
    #[error(
        "its subscriptions() {0}; correct it, or name its topics in its manifest: subscribe.topics = [\"…\"]"
    )]
    Unsubscribable(String),
    /// The process has a native handler of that name.
    #[error("a native handler of this process has this name, and goes on; rename the file")]
    NameOfNative,
    /// The manifest is wrong.
    #[error("its manifest is wrong: {0}")]
    Manifest(ConfigErrors),
    /// The file's name is not a handler's name.
    #[error("the stem of its file is the handler's name and {0}; rename it")]
    Name(#[from] BadName),
    /// The component is not valid, or larger than the pool allows.
    #[error("it cannot be compiled: {0}{remedy}", remedy = remedy_of_compiler(.0))]
    Compile(String),
    /// The component needs what WASI 0.3 brought.
    #[error(
        "it has functions of WASI 0.3, which are asynchronous ({0}), and this host runs those of WASI 0.2; build it without: \
         componentize-qjs with --sync, wit-bindgen without `async`, a world of WASI 0.2"
    )]
    Asynchronous(String),
    /// The component would keep the compiler busy.
    #[error(
        "compiling it took more than {} of processor time; make its largest functions smaller (opt-level = \"s\"), or \
         raise host.compile-timeout", humantime::format_duration(*.0)
    )]
    CompileTime(Duration),
    /// The compiler would need too much.
    #[error(
        "compiling it took more than {} of memory; make its largest functions smaller (opt-level = \"s\"), or raise \
         host.compile-memory-max", ByteSize(*.0)
    )]
    CompileMemory(u64),
    /// No instance could be had; nothing is known about the component.
    #[error("it could not be tried: {0}; it is tried again")]
    Unavailable(String),
    /// No engine to check it with.
    #[error(transparent)]
    Engine(#[from] super::EngineError),
}

impl Refused {
    /// Classifies the compiler's error by its words.
    pub(super) fn by_compiler(words: String) -> Self {
        if words.contains("component model async") { Self::Asynchronous(words) } else { Self::Compile(words) }
    }
}

/// A file that ends too soon may be half of one.
fn remedy_of_compiler(words: &str) -> &'static str {
    if words.contains("unexpected end") {
        "; if the file was still being written, it is read again when it is complete"
    } else {
        "; build it anew, for the target wasm32-wasip2 or as its toolchain makes components"
    }
}

/// Returns the remedy of an error in reading, where there is one.
fn remedy(source: &io::Error) -> &'static str {
    let denied = source.kind() == io::ErrorKind::PermissionDenied;
    if denied { "; let the user of the host read it (chmod a+r)" } else { "" }
}

impl Refused {
    /// Tells whether the same file may do a moment later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Unavailable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_permission_is_told_with_its_remedy_and_is_tried_again() {
        let source = io::ErrorKind::PermissionDenied.into();
        let refused = Refused::Unreadable { path: "handlers/a.wasm".into(), source };
        let told = refused.to_string();
        assert!(
            told.starts_with("handlers/a.wasm cannot be read: permission denied; let the user"),
            "{told}"
        );
        assert!(refused.is_passing(), "permissions may be granted");
    }
}
