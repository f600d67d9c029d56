//! The project's own commands, `cargo xtask help`. This crate starts in a second because it depends on
//! nothing but the starter of servers and two small generators of code; it builds and runs the others through cargo.

mod bench;
mod bindings;
mod book;
mod chart;
mod count;
mod demo;
mod deny;
mod fuzz;
mod guests;
mod install;
mod interpreter;
mod languages;
mod pages;
mod planted;
mod prometheus;
mod run;
mod sim;
mod sqlx;
mod suite;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask install [--languages] make sure of all that demo and tests need; of toolchains of other languages
cargo xtask guests               build the handlers for wasm32-wasip2
cargo xtask test [FILTER..] [-- ARGS]
                                 all tests, on a Postgres and a Kafka of their own; FILTER is part of a
                                 test's name, --OPTION[=VALUE] goes to cargo test, ARGS to the test programs
cargo xtask demo [ARGS]          mailroom at work, checked; `demo --help` tells more
cargo xtask bench [ARGS]         mailroom's speed beside its floors; `bench --help` tells more
cargo xtask fuzz [TARGET] [--time 60s]
                                 what comes from outside, distorted: components, manifests, headers and so on
cargo xtask sim [--seed N] [--seeds K] [--steps M] [--time 60s] [--replay FILE]
                                 the machines of delivery against models of Postgres and Kafka, with faults;
                                 a seed that breaks a promise is shrunk and shown
cargo xtask model [NAME]         every interleaving of small scenarios with the same machines and models, to a
                                 stated bound; the shortest way to a broken promise is shown
cargo xtask planted [NAME]       plant bugs that the history test, the simulator or the model must catch: all, or
                                 those that have NAME in the names of their patches
cargo xtask deny                 check licences, bans and sources of dependencies by deny.toml
cargo xtask tidy                 check the rules of the house
cargo xtask book                 make a book of the documentation, by mdBook
cargo xtask bindings [--check]   renew the bindings of the SDKs in Go and C from wit/, or check that they are current
cargo xtask chart                lint the Helm chart and render it anew, by Helm
cargo xtask interpreter          build the component anew that runs scripts
cargo xtask sqlx [--check]       renew host/.sqlx from the SQL in the code, or check that it is current
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "help".to_owned());
    let args: Vec<String> = args.collect();
    let done: run::Result = match (command.as_str(), args.as_slice()) {
        ("help" | "--help" | "-h", _) => help(),
        ("install", []) => {
            install::install().and_then(|()| install::releases()).and_then(|()| prometheus::fetch())
        }
        ("install", [languages]) if languages == "--languages" => languages::install(),
        ("guests", []) => guests::build(),
        ("test", args) => match suite::run(args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        ("demo", args) => demo::run(args),
        ("bench", args) => bench::run(args),
        ("fuzz", args) => fuzz::run(args),
        ("sim", args) => sim::run(args),
        ("model", names) => sim::model(names),
        ("planted", []) => planted::run(None),
        ("planted", [name]) => planted::run(Some(name)),
        ("deny", []) => deny::check(),
        ("tidy", []) => tidy::check(),
        ("book", []) => book::build(),
        ("bindings", []) => bindings::run(bindings::Mode::Renew),
        ("bindings", [check]) if check == "--check" => bindings::run(bindings::Mode::Check),
        ("chart", []) => chart::renew(),
        ("interpreter", []) => interpreter::renew(),
        ("sqlx", []) => sqlx::run(sqlx::Mode::Renew),
        ("sqlx", [check]) if check == "--check" => sqlx::run(sqlx::Mode::Check),
        (_, _) => {
            Err(format!("`{command} {}` is not known; the commands are\n\n{HELP}", args.join(" ")).into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> run::Result {
    print!("{HELP}");
    Ok(())
}
