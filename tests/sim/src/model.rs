//! The exhaustive model: small scenarios of which every interleaving is tried, to a stated bound.
//!
//! It has the real machines and the simulator's models: one or two lanes, two hosts, two or three records and a few
//! faults each; and the relay's horizon under two or three transactions and four looks. What cannot be tried whole, a
//! take-over from the dead beside work of one's own and a burial of the living, is bounded in how many things are taken
//! out of turn. Checked is what the simulator checks, and that every run ends with nothing left to do: no dead end, no
//! circle. A breach is shown by a shortest way to it.

pub(crate) mod fingerprint;
mod horizon;
mod lanes;
mod scenarios;
mod search;

use std::process::ExitCode;
use std::time::Instant;

use horizon::Horizon;
use lanes::Lanes;
use scenarios::What;
use search::{Bounds, Found, Model, Searched, search};

/// A scenario with more states than this is too large for every run of CI.
const STATES_MAX: usize = 2_000_000;

/// Explores all scenarios, or those whose names begin so, up to the first that breaks a promise.
pub(crate) fn explore(name: Option<&str>) -> ExitCode {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let bounds = Bounds { threads, states_max: STATES_MAX };
    println!("{}", scenarios::COMMON);
    let (mut states, mut transitions) = (0, 0);
    for named in scenarios::all().into_iter().filter(|of| name.is_none_or(|name| of.name.starts_with(name))) {
        println!("{}: {}", named.name, named.bound());
        let (searched, breach) = match named.what {
            What::Lanes(scenario) => explored(&Lanes { scenario: *scenario }, bounds),
            What::Horizon(plans) => explored(&Horizon { plans }, bounds),
        };
        states += searched.states;
        transitions += searched.transitions;
        let took = searched.took.as_secs_f64();
        let Searched { states, transitions, depth, .. } = searched;
        println!("  {states} states, {transitions} transitions, depth {depth}, {took:.1} s");
        if let Some((breach, history)) = breach {
            history.iter().for_each(|line| println!("{line}"));
            println!("model {} breaks {breach}", named.name);
            return ExitCode::FAILURE;
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!("{states} states, {transitions} transitions in {took:.1} s: every promise is kept");
    ExitCode::SUCCESS
}

/// Searches, and gives what was broken with its history.
fn explored<M: Model>(model: &M, bounds: Bounds) -> (Searched, Option<(String, Vec<String>)>) {
    let searched = search(model, bounds);
    let breach = broken(&searched).map(|(breach, path)| (breach, model.history(&path)));
    (searched, breach)
}

fn broken(searched: &Searched) -> Option<(String, Vec<u16>)> {
    match &searched.found {
        Found::Nothing => None,
        Found::Broken { what, path } => Some((what.clone(), path.clone())),
        Found::Circle { path } => Some(("liveness: it comes back to where it was".to_owned(), path.clone())),
        Found::TooMany => Some((format!("the bound: more than {STATES_MAX} states"), Vec::new())),
    }
}
