//! The languages that have an SDK and a template.

use clap::ValueEnum;

/// A language that handlers are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust, built by cargo.
    Rust,
    /// TypeScript, built by npm; bundled, and compiled with the QuickJS engine.
    Typescript,
    /// JavaScript, built by npm; bundled, and compiled with the QuickJS engine.
    Javascript,
    /// Python, built by componentize-py.
    Python,
    /// Go, built by the standard compiler.
    Go,
    /// C, built by make and clang.
    C,
}

impl Language {
    /// Languages that a project can have, in the order in which they are listed.
    pub(crate) const ALL: [Self; 6] =
        [Self::Rust, Self::Typescript, Self::Javascript, Self::Python, Self::Go, Self::C];

    /// Returns the word that `--lang` takes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Typescript => "typescript",
            Self::Javascript => "javascript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// The folder of its SDK below `guest-sdk`.
    pub(super) fn sdk(self) -> &'static str {
        match self {
            Self::Typescript => "javascript",
            Self::Rust | Self::Javascript | Self::Python | Self::Go | Self::C => self.as_str(),
        }
    }

    /// Returns where the SDK has the contract, which its toolchain reads; `None` where bindings come with the
    /// SDK.
    pub(super) fn wit(self) -> Option<&'static str> {
        match self {
            Self::Rust | Self::Typescript | Self::Javascript => Some("wit"),
            Self::Python => Some("src/mailroom_guest/wit"),
            Self::Go | Self::C => None,
        }
    }

    /// Endings of files with source.
    pub(super) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["rs"],
            Self::Typescript | Self::Javascript => &["ts", "js", "mjs"],
            Self::Python => &["py"],
            Self::Go => &["go"],
            Self::C => &["c", "h", "cpp", "hpp"],
        }
    }

    /// The file by which a folder is known to be a project of the language.
    pub(super) fn project_file(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Typescript | Self::Javascript => "package.json",
            Self::Python => "requirements.txt",
            Self::Go => "go.mod",
            Self::C => "Makefile",
        }
    }
}
