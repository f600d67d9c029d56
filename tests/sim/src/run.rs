//! One run: faults for so many steps, then a calm in which everything has to be done.

use std::time::Duration;

use crate::choices::Choices;
use crate::coverage::Coverage;
use crate::oracle::Violation;
use crate::world::World;

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) violation: Option<Violation>,
    /// All that was drawn.
    pub(crate) choices: Vec<Vec<u32>>,
    pub(crate) history: Vec<String>,
    pub(crate) coverage: Coverage,
    pub(crate) steps: u64,
    /// The virtual time that passed.
    pub(crate) took: Duration,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    pub(crate) steps: u64,
    pub(crate) traced: bool,
}

/// Runs to the end, or to the first breach.
pub(crate) fn run(choices: Choices, length: Length) -> Ran {
    let mut world = World::new(choices, length.traced);
    let mut steps = 0;
    while steps < length.steps && world.violation.is_none() && !world.choices.is_exhausted() {
        world.step();
        steps += 1;
    }
    if world.violation.is_none() {
        steps += calm(&mut world);
    }
    Ran {
        violation: world.violation,
        history: world.history.into_lines(),
        coverage: world.coverage,
        steps,
        took: Duration::from_millis(world.now),
        choices: world.choices.into_steps(),
    }
}

fn calm(world: &mut World) -> u64 {
    world.calm_down();
    let bounds = world.bounds();
    let mut steps = 0;
    while world.violation.is_none() {
        if world.is_idle() && world.remaining().is_empty() {
            break;
        }
        if steps > bounds.steps || world.now > bounds.until {
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
