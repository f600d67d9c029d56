//! The SDK of each language and its example pass their own tests, in the language's own runner; the example's cases pass in
//! the sandbox.

use std::process::Command;

use anyhow::{Context as _, Result};
use mailroom_tests::{Shell, paths};

use crate::documented::commands;

#[expect(clippy::panic, reason = "a test that fails panics")]
fn passes(folder: &str, program: &str, args: &[&str]) {
    let folder = paths::root().join(folder);
    let mut command = Command::new(program);
    command.args(args).current_dir(&folder).env("PYTHONPATH", "src").env("PYTHONDONTWRITEBYTECODE", "1");
    // What cargo says of these tests is not for a cargo below them.
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    let shown = format!("{program} {} in {}", args.join(" "), folder.display());
    match command.output() {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) => {
            let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
            panic!("{shown} failed:\n{}", said.concat());
        }
        Err(error) => panic!("{shown}: {error}"),
    }
}

/// Installs what a folder's `package.json` names.
fn installs(folder: &str) {
    if !paths::root().join(folder).join("node_modules").exists() {
        passes(folder, "npm", &["ci", "--no-audit", "--no-fund"]);
    }
}

fn python(folder: &str) -> String {
    paths::root().join(folder).join("venv/bin/python").to_string_lossy().into_owned()
}

/// Types what the page of an example says: its build, its cases in the sandbox, its unit tests, one call.
async fn as_its_page_says(example: &str) -> Result<()> {
    let target = paths::target()?.join("guests");
    let shell = Shell::of(&paths::root().join("handlers").join(example))?;
    // Of the examples in Rust all is compiled there already.
    let shell = shell.with("CARGO_TARGET_DIR", &target.to_string_lossy());
    let typed = commands(&format!("handlers/{example}/README.md"), example)?;
    for command in ["mailroom handler build", "mailroom handler test"] {
        assert!(typed.iter().any(|typed| typed == command), "{example}: {typed:?}");
    }
    for command in typed {
        shell.ran(&command).await?.ok().with_context(|| format!("{example}: {command}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn the_javascript_sdk_and_its_examples_pass_their_tests() -> Result<()> {
    as_its_page_says("totals-javascript").await?;
    as_its_page_says("totals-typescript").await?;
    installs("guest-sdk/javascript");
    for args in [&["test"][..], &["run", "types"], &["pack", "--dry-run"]] {
        passes("guest-sdk/javascript", "npm", args);
    }
    Ok(())
}

#[tokio::test]
async fn the_python_sdk_and_its_example_pass_their_tests() -> Result<()> {
    let example = "totals-python";
    as_its_page_says(example).await?;
    let folder = format!("handlers/{example}");
    let python = python(&folder);
    passes(&folder, &python, &["-m", "pip", "install", "--quiet", "pytest==9.2.0", "mypy==2.4.1"]);
    passes("guest-sdk/python", &python, &["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
    passes("guest-sdk/python", &python, &["-m", "mypy", "--cache-dir", "/dev/null"]);
    passes(
        "guest-sdk/python",
        &python,
        &["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "build", "."],
    );
    Ok(())
}

#[tokio::test]
async fn the_go_sdk_and_its_example_pass_their_tests() -> Result<()> {
    for folder in ["guest-sdk/go", "handlers/totals-go"] {
        // Generated bindings make pointers of what the host gives.
        passes(folder, "go", &["vet", "-unsafeptr=false", "./..."]);
    }
    passes("guest-sdk/go", "go", &["test", "./..."]);
    as_its_page_says("totals-go").await
}

#[tokio::test]
async fn the_c_sdk_and_its_example_pass_their_tests() -> Result<()> {
    passes("guest-sdk/c", "make", &["--silent", "test"]);
    as_its_page_says("totals-c").await
}

#[tokio::test]
async fn the_sdk_in_rust_is_fit_for_its_registry_and_its_example_passes_its_tests() -> Result<()> {
    as_its_page_says("totals-rust").await?;
    let publish = ["publish", "--dry-run", "--quiet", "--allow-dirty", "--package", "mailroom-guest"];
    passes(".", "cargo", &[&publish[..], &["--target-dir", "target/guests"]].concat());
    Ok(())
}
