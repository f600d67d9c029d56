//! One run: faults for so many steps, then a calm in which everything has to be done.

use std::fmt;
use std::time::Duration;

use crate::choices::Choices;
use crate::coverage::Coverage;
use crate::history::History;
use crate::liveness::Bounds;
use crate::oracle::Violation;
use crate::relay::RelayWorld;
use crate::world::World;

/// Subject of a run. Each seed has a run of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Handler,
    Relay,
}

/// Subjects of the runs of each seed.
pub(crate) const SUBJECTS: [Subject; 2] = [Subject::Handler, Subject::Relay];

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "handler",
            Self::Relay => "relay",
        })
    }
}

/// A world that is run step by step.
pub(crate) trait Simulated {
    /// Does one step while faults may happen.
    fn step(&mut self);
    /// Tells whether a promise is broken.
    fn is_broken(&self) -> bool;
    /// Tells whether a recorded stream has no more steps.
    fn is_exhausted(&self) -> bool;
    /// Ends all faults.
    fn calm_down(&mut self);
    /// Bounds from now on, by what there is to do.
    fn bounds(&self) -> Bounds;
    /// Does one step without faults.
    fn progress(&mut self);
    /// Tells whether nothing can happen at this moment.
    fn is_idle(&self) -> bool;
    /// The virtual time.
    fn now(&self) -> u64;
    /// Lists what is not done yet; empty where all is.
    fn remaining(&mut self) -> Vec<String>;
    /// Notes a breach.
    fn violate(&mut self, rule: &'static str, text: String);
    /// Gives what is left of it.
    fn end(self) -> Ended;
}

/// Remains of a world.
pub(crate) struct Ended {
    pub(crate) violation: Option<Violation>,
    pub(crate) choices: Choices,
    pub(crate) history: History,
    pub(crate) coverage: Coverage,
}

/// Result of a run.
pub(crate) struct Ran {
    pub(crate) subject: Subject,
    pub(crate) violation: Option<Violation>,
    /// All that was drawn.
    pub(crate) choices: Vec<Vec<u32>>,
    pub(crate) history: Vec<String>,
    pub(crate) coverage: Coverage,
    pub(crate) steps: u64,
    /// The virtual time that passed.
    pub(crate) took: Duration,
}

/// Length of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    pub(crate) steps: u64,
    pub(crate) traced: bool,
}

/// Runs to the end, or to the first breach.
pub(crate) fn run(subject: Subject, choices: Choices, length: Length) -> Ran {
    match subject {
        Subject::Handler => run_world(subject, World::new(choices, length.traced), length),
        Subject::Relay => run_world(subject, RelayWorld::new(choices, length.traced), length),
    }
}

pub(crate) fn run_world(subject: Subject, mut world: impl Simulated, length: Length) -> Ran {
    let mut steps = 0;
    while steps < length.steps && !world.is_broken() && !world.is_exhausted() {
        world.step();
        steps += 1;
    }
    if !world.is_broken() {
        steps += calm(&mut world);
    }
    let took = Duration::from_millis(world.now());
    let Ended { violation, choices, history, coverage } = world.end();
    let (choices, history) = (choices.into_steps(), history.into_lines());
    Ran { subject, violation, choices, history, coverage, steps, took }
}

fn calm(world: &mut impl Simulated) -> u64 {
    world.calm_down();
    let bounds = world.bounds();
    let mut steps = 0;
    while !world.is_broken() {
        if world.is_idle() && world.remaining().is_empty() {
            break;
        }
        if steps > bounds.steps || world.now() > bounds.until {
            let by = if steps > bounds.steps { "steps" } else { "time" };
            let remaining = world.remaining();
            let some: Vec<_> = remaining.iter().take(5).cloned().collect();
            world.violate(
                "liveness",
                format!("{} (out of {by}, {} things)", some.join("; "), remaining.len()),
            );
            break;
        }
        world.progress();
        steps += 1;
    }
    steps
}

impl Simulated for World {
    fn step(&mut self) {
        Self::step(self);
    }

    fn is_broken(&self) -> bool {
        self.violation.is_some()
    }

    fn is_exhausted(&self) -> bool {
        self.choices.is_exhausted()
    }

    fn calm_down(&mut self) {
        Self::calm_down(self);
    }

    fn bounds(&self) -> Bounds {
        Self::bounds(self)
    }

    fn progress(&mut self) {
        Self::progress(self);
    }

    fn is_idle(&self) -> bool {
        Self::is_idle(self)
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn remaining(&mut self) -> Vec<String> {
        Self::remaining(self)
    }

    fn violate(&mut self, rule: &'static str, text: String) {
        Self::violate(self, rule, text);
    }

    fn end(self) -> Ended {
        let Self { violation, choices, history, coverage, .. } = self;
        Ended { violation, choices, history, coverage }
    }
}
