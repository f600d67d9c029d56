//! Hosts, their lanes and their servers as something to be explored: the simulator's world with the real machines.

use super::search::Model;
use crate::choices::Choices;
use crate::world::{Scenario, World};

/// A scenario to be explored.
pub(crate) struct Lanes {
    pub(crate) scenario: Scenario,
}

impl Model for Lanes {
    type State = World;

    fn first(&self) -> World {
        World::explore(&self.scenario, false)
    }

    fn next(&self, world: &World) -> Vec<World> {
        let mut next = Vec::new();
        for action in world.actions() {
            let mut draws = Some(Vec::new());
            while let Some(listed) = draws {
                let mut then = world.clone();
                then.choices = Choices::listed(listed);
                then.act(action);
                draws = std::mem::replace(&mut then.choices, Choices::listed(Vec::new())).next_listed();
                next.push(then);
            }
        }
        next
    }

    fn fingerprint(&self, world: &World) -> u128 {
        world.fingerprint()
    }

    fn broken(&self, world: &World, is_end: bool) -> Option<String> {
        if let Some(violation) = &world.violation {
            return Some(format!("{}: {}", violation.rule, violation.text));
        }
        if let Some(text) = world.goes_on_for_ever() {
            return Some(format!("liveness: {text}"));
        }
        let remaining = if is_end { world.remaining() } else { Vec::new() };
        (!remaining.is_empty()).then(|| format!("liveness: {}", remaining.join("; ")))
    }

    fn history(&self, path: &[u16]) -> Vec<String> {
        let mut world = World::explore(&self.scenario, true);
        for by in path {
            let next = self.next(&world).into_iter().nth(usize::from(*by));
            let Some(next) = next else { break };
            world = next;
        }
        world.history.into_lines()
    }
}
