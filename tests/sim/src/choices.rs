//! All chance of a run, as one recorded stream of numbers: the same stream gives the same run, and a shorter one a
//! shorter run.

/// The weight of ordinary progress beside the hazards.
const PROGRESS: u32 = 100;

/// Draws in groups, one a step, so that leaving out a step does not change what the others mean. Zero is always the
/// plainest choice; where a recorded stream ends, zeros follow.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    source: Source,
    steps: Vec<Vec<u32>>,
    current: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Source {
    Fresh(fastrand::Rng),
    Recorded { steps: Vec<Vec<u32>>, step: usize, draw: usize },
    Listed { draws: Vec<u32>, below: Vec<u32> },
}

impl Choices {
    /// Draws from a seed.
    pub(crate) fn fresh(seed: u64) -> Self {
        Self { source: Source::Fresh(fastrand::Rng::with_seed(seed)), steps: Vec::new(), current: Vec::new() }
    }

    /// Draws what was recorded.
    pub(crate) fn recorded(steps: Vec<Vec<u32>>) -> Self {
        Self { source: Source::Recorded { steps, step: 0, draw: 0 }, steps: Vec::new(), current: Vec::new() }
    }

    /// Draws these, then zeros, and notes out of how many each was.
    pub(crate) fn listed(draws: Vec<u32>) -> Self {
        let source = Source::Listed { draws, below: Vec::new() };
        Self { source, steps: Vec::new(), current: Vec::new() }
    }

    /// Gives the draws that follow these, counting up the last first; `None` after the last of all.
    pub(crate) fn next_listed(self) -> Option<Vec<u32>> {
        let Source::Listed { mut draws, below } = self.source else { return None };
        draws.resize(below.len(), 0);
        while let Some(drawn) = draws.pop() {
            if below.get(draws.len()).is_some_and(|below| drawn + 1 < *below) {
                draws.push(drawn + 1);
                return Some(draws);
            }
        }
        None
    }

    /// Ends the group of draws of a step.
    pub(crate) fn end_step(&mut self) {
        self.steps.push(std::mem::take(&mut self.current));
        if let Source::Recorded { step, draw, .. } = &mut self.source {
            *step += 1;
            *draw = 0;
        }
    }

    /// The steps that a recorded stream still has, all for a fresh one.
    pub(crate) fn is_exhausted(&self) -> bool {
        match &self.source {
            Source::Fresh(_) | Source::Listed { .. } => false,
            Source::Recorded { steps, step, .. } => *step >= steps.len(),
        }
    }

    /// Draws a number in `0..below`; 0 where `below` is.
    pub(crate) fn draw(&mut self, below: u32) -> u32 {
        let below = below.max(1);
        let drawn = match &mut self.source {
            Source::Fresh(rng) => rng.u32(0..below),
            Source::Recorded { steps, step, draw } => {
                let drawn = steps.get(*step).and_then(|step| step.get(*draw)).copied().unwrap_or(0);
                *draw += 1;
                drawn % below
            }
            Source::Listed { draws, below: bounds } => {
                let drawn = draws.get(bounds.len()).copied().unwrap_or(0);
                bounds.push(below);
                return drawn;
            }
        };
        self.current.push(drawn);
        drawn
    }

    /// Draws a place in a list of that length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let below = u32::try_from(len).unwrap_or(u32::MAX);
        usize::try_from(self.draw(below)).unwrap_or(0)
    }

    /// Draws one of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { from.get(self.index(from.len())).copied() }
    }

    /// Draws a number in `0..below`; once all is calm from the run's own fair ones.
    pub(crate) fn draw_fairly(&mut self, calm: &mut Option<fastrand::Rng>, below: u32) -> u32 {
        match calm {
            Some(rng) => rng.u32(0..below.max(1)),
            None => self.draw(below),
        }
    }

    /// Draws one of these; once all is calm by the run's own fair numbers.
    pub(crate) fn pick_fairly<T: Copy>(&mut self, calm: &mut Option<fastrand::Rng>, from: &[T]) -> Option<T> {
        match calm {
            Some(_) if from.is_empty() => None,
            Some(rng) => from.get(rng.usize(0..from.len())).copied(),
            None => self.pick(from),
        }
    }

    /// Draws one of the hazards by its weight; `None` for a step of ordinary progress.
    pub(crate) fn hazard<H: Copy>(&mut self, hazards: &[(H, u32)]) -> Option<H> {
        let mut weights = vec![PROGRESS];
        weights.extend(hazards.iter().map(|(_, weight)| *weight));
        let place = self.weighted(&weights).checked_sub(1)?;
        hazards.get(place).map(|(hazard, _)| *hazard)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.draw(100) >= 100_u32.saturating_sub(percent)
    }

    /// Draws a place in a list of weights.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut drawn = self.draw(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            match drawn.checked_sub(*weight) {
                None => return index,
                Some(rest) => drawn = rest,
            }
        }
        0
    }

    /// Gives what was drawn, for a replay.
    pub(crate) fn into_steps(mut self) -> Vec<Vec<u32>> {
        if !self.current.is_empty() {
            self.end_step();
        }
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_stream_repeats_a_fresh_one_and_ends_in_zeros() {
        let mut fresh = Choices::fresh(7);
        let mut drawn = Vec::new();
        for _ in 0..3 {
            drawn.push((fresh.draw(10), fresh.weighted(&[1, 2, 3]), fresh.percent(50)));
            fresh.end_step();
        }
        let mut again = Choices::recorded(fresh.into_steps());
        for before in drawn {
            assert_eq!((again.draw(10), again.weighted(&[1, 2, 3]), again.percent(50)), before);
            again.end_step();
        }
        assert!(again.is_exhausted());
        assert_eq!((again.draw(10), again.weighted(&[1, 2]), again.percent(99)), (0, 0, false));
    }

    #[test]
    fn listed_draws_count_up_through_all_that_there_are() {
        let (mut seen, mut draws) = (Vec::new(), Some(Vec::new()));
        while let Some(list) = draws {
            let mut choices = Choices::listed(list);
            // The second is asked for after some of the first only.
            let first = choices.draw(3);
            seen.push((first, if first == 1 { choices.draw(2) } else { 9 }));
            draws = choices.next_listed();
        }
        assert_eq!(seen, [(0, 9), (1, 0), (1, 1), (2, 9)]);
    }
}
