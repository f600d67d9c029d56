//! The SDK of each language and its example pass their own tests, in the language's own runner.

use std::process::Command;

use mailroom_tests::paths;

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

/// Installs what a folder's `package.json` or `requirements.txt` names.
fn installs(folder: &str) {
    let path = paths::root().join(folder);
    if path.join("package.json").exists() && !path.join("node_modules").exists() {
        passes(folder, "npm", &["ci", "--no-audit", "--no-fund"]);
    }
    if path.join("requirements.txt").exists() && !path.join("venv").exists() {
        passes(folder, "python3", &["-m", "venv", "venv"]);
        passes(folder, "venv/bin/pip", &["install", "--quiet", "-r", "requirements.txt"]);
    }
}

fn python(folder: &str) -> String {
    paths::root().join(folder).join("venv/bin/python").to_string_lossy().into_owned()
}

#[test]
fn the_javascript_sdk_and_its_examples_pass_their_tests() {
    for folder in ["guest-sdk/javascript", "handlers/totals-javascript", "handlers/totals-typescript"] {
        installs(folder);
        passes(folder, "npm", &["test"]);
    }
    passes("guest-sdk/javascript", "npm", &["run", "types"]);
    passes("guest-sdk/javascript", "npm", &["pack", "--dry-run"]);
}

#[test]
fn the_python_sdk_and_its_example_pass_their_tests() {
    let example = "handlers/totals-python";
    installs(example);
    let python = python(example);
    passes(example, &python, &["-m", "unittest", "discover", "-s", "tests"]);
    passes(example, &python, &["-m", "pip", "install", "--quiet", "pytest==9.2.0", "mypy==2.4.1"]);
    passes("guest-sdk/python", &python, &["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
    passes("guest-sdk/python", &python, &["-m", "mypy", "--cache-dir", "/dev/null"]);
}

#[test]
fn the_go_sdk_and_its_example_pass_their_tests() {
    for folder in ["guest-sdk/go", "handlers/totals-go"] {
        // Generated bindings make pointers of what the host gives.
        passes(folder, "go", &["vet", "-unsafeptr=false", "./..."]);
        passes(folder, "go", &["test", "./..."]);
    }
}

#[test]
fn the_c_sdk_and_its_example_pass_their_tests() {
    for folder in ["guest-sdk/c", "handlers/totals-c"] {
        passes(folder, "make", &["--silent", "test"]);
    }
}

#[test]
fn the_example_in_rust_passes_its_tests() {
    let target = ["--target-dir", "../target/guests"];
    passes("handlers", "cargo", &[&["test", "--quiet", "-p", "totals-rust"], &target[..]].concat());
}
