//! The command line: runs seed by seed, or what was recorded.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::arguments::Arguments;
use crate::choices::Choices;
use crate::coverage::Coverage;
use crate::run::{Length, Ran, SUBJECTS, Subject, run};

/// Runs what the command line asks for; succeeds if every promise was kept.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("model") {
        return crate::model::explore(words.next().as_deref());
    }
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(complaint) => {
            eprintln!("sim: {complaint}\n\n{}", crate::arguments::HELP);
            return ExitCode::from(2);
        }
    };
    let kept = match &arguments.replay {
        Some(file) => replay(&arguments, file),
        None => search(&arguments),
    };
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a recorded stream and shows its history.
fn replay(arguments: &Arguments, file: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| format!("{file}: {error}"));
    let steps: Option<Vec<Vec<u32>>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|draw| draw.parse().ok()).collect())
        .collect();
    let Some(steps) = steps else {
        eprintln!("sim: {file} is no recorded run: {}", text.lines().next().unwrap_or_default());
        return false;
    };
    let is_of = |subject: &&Subject| text.lines().any(|line| line == subject_line(**subject));
    let subject = SUBJECTS.iter().find(is_of).copied().unwrap_or(Subject::Handler);
    let ran = run(subject, Choices::recorded(steps), Length { steps: arguments.steps, traced: true });
    show(&ran);
    ran.violation.is_none()
}

fn show(ran: &Ran) {
    for line in &ran.history {
        println!("{line}");
    }
    match &ran.violation {
        Some(violation) => println!("broken: {} {}", violation.rule, violation.text),
        None => println!("every promise is kept, after {} steps and {:?}", ran.steps, ran.took),
    }
}

/// The line of a recorded run that says what it is about.
fn subject_line(subject: Subject) -> String {
    format!("# of the {subject}")
}

/// State that the threads of a search share.
struct Search<'a> {
    arguments: &'a Arguments,
    next: AtomicU64,
    stop: AtomicBool,
    until: Option<Instant>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    runs: u64,
    steps: u64,
    coverage: Coverage,
    broken: Vec<(u64, Ran)>,
}

/// Runs seed after seed on all processors; gives whether every promise was kept.
fn search(arguments: &Arguments) -> bool {
    let began = Instant::now();
    let search = Search {
        arguments,
        next: AtomicU64::new(arguments.seed),
        stop: AtomicBool::new(false),
        until: arguments.time.map(|time| began + time),
        found: Mutex::new(Found::default()),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(arguments.jobs);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| search.work());
        }
    });
    let Ok(mut found) = search.found.into_inner() else { return false };
    found.broken.sort_by_key(|(seed, ran)| (*seed, ran.subject));
    let took = began.elapsed().as_secs_f64();
    for (seed, ran) in &found.broken {
        let rule = ran.violation.as_ref().map_or("", |violation| violation.rule);
        println!("seed {seed} breaks {rule}: {}", ran.violation.as_ref().map_or("", |breach| &breach.text));
    }
    if let Some((seed, ran)) = found.broken.into_iter().next() {
        report(arguments, seed, ran);
        println!("{} runs, {} steps in {took:.1} s", found.runs, found.steps);
        return false;
    }
    println!("{} runs, {} steps in {took:.1} s: every promise is kept", found.runs, found.steps);
    let mut missing = found.coverage.missing();
    missing.retain(|name| {
        let subject = if name.starts_with("relay ") { Subject::Relay } else { Subject::Handler };
        arguments.is_about(subject)
    });
    if !missing.is_empty() && found.runs >= 100 {
        println!("not reached by these seeds: {}", missing.join(", "));
    }
    if arguments.coverage {
        for (name, count) in &found.coverage.counts {
            println!("{count:>10} {name}");
        }
    }
    true
}

impl Search<'_> {
    fn work(&self) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            let last = self.arguments.seed.saturating_add(self.arguments.seeds);
            let is_late = self.until.is_some_and(|until| Instant::now() > until);
            if seed >= last || is_late || self.stop.load(Ordering::Relaxed) {
                return;
            }
            for subject in SUBJECTS.into_iter().filter(|subject| self.arguments.is_about(*subject)) {
                let length = Length { steps: self.arguments.steps, traced: false };
                let ran = run(subject, Choices::fresh(seed), length);
                let Ok(mut found) = self.found.lock() else { return };
                found.runs += 1;
                found.steps += ran.steps;
                found.coverage.merge(&ran.coverage);
                if ran.violation.is_some() {
                    found.broken.push((seed, ran));
                    if found.broken.len() >= self.arguments.failures {
                        self.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

/// Shrinks a broken run, keeps it in a file and shows its history.
fn report(arguments: &Arguments, seed: u64, ran: Ran) {
    let rule = ran.violation.as_ref().map_or("", |violation| violation.rule);
    let subject = ran.subject;
    let shrunk = if arguments.shrink {
        crate::shrink::shrink(subject, ran.choices, rule, arguments.steps)
    } else {
        ran.choices
    };
    let length = Length { steps: arguments.steps, traced: true };
    let again = run(subject, Choices::recorded(shrunk.clone()), length);
    println!("\nseed {seed} of the {subject}, shrunk to {} steps:", shrunk.len());
    show(&again);
    let file = format!("{}/sim-{subject}-{seed}.seed", arguments.out);
    let lines: Vec<String> =
        shrunk.iter().map(|step| step.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")).collect();
    let head =
        format!("# seed {seed}, breaks {rule}; cargo xtask sim --replay FILE --steps {}", arguments.steps);
    match std::fs::write(&file, format!("{head}\n{}\n{}\n", subject_line(subject), lines.join("\n"))) {
        Ok(()) => println!("kept in {file}"),
        Err(error) => eprintln!("sim: cannot write {file}: {error}"),
    }
}
