//! Shrinking of a long run that breaks a promise to a short one that breaks the same.

use std::time::{Duration, Instant};

use crate::choices::Choices;
use crate::run::{Length, Ran, Subject, run};

/// Longest time that is searched.
const TIME: Duration = Duration::from_secs(40);

/// Leaves out steps, then plainer draws, as long as the same rule is broken. The draws of the shape come first and
/// are never left out.
pub(crate) fn shrink(subject: Subject, choices: Vec<Vec<u32>>, rule: &str, steps: u64) -> Vec<Vec<u32>> {
    let length = Length { steps, traced: false };
    let mut search = Search { subject, best: choices, rule, length, until: Instant::now() + TIME };
    loop {
        let before = search.size();
        search.cut();
        search.plainer();
        if search.size() >= before || search.is_over() {
            return search.best;
        }
    }
}

struct Search<'r> {
    subject: Subject,
    best: Vec<Vec<u32>>,
    rule: &'r str,
    length: Length,
    until: Instant,
}

impl Search<'_> {
    fn size(&self) -> (usize, u64) {
        (self.best.len(), self.best.iter().flatten().map(|draw| u64::from(*draw)).sum())
    }

    fn is_over(&self) -> bool {
        Instant::now() > self.until
    }

    /// Keeps a candidate that still breaks the rule, as far as it was used.
    fn try_this(&mut self, candidate: Vec<Vec<u32>>) -> bool {
        let Ran { violation, choices, .. } = run(self.subject, Choices::recorded(candidate), self.length);
        let breaks = violation.is_some_and(|violation| violation.rule == self.rule);
        if breaks {
            self.best = choices;
        }
        breaks
    }

    /// Leaves out blocks of steps, from large to small, from the end.
    fn cut(&mut self) {
        let mut block = self.best.len() / 2;
        while block > 0 {
            let mut end = self.best.len();
            while end > 1 && !self.is_over() {
                let start = end.saturating_sub(block).max(1);
                let kept = self.best.iter().take(start).chain(self.best.iter().skip(end));
                let candidate = kept.cloned().collect();
                self.try_this(candidate);
                end = start.min(self.best.len());
            }
            block /= 2;
        }
    }

    /// Makes draws zero, or half.
    fn plainer(&mut self) {
        for step in 0..self.best.len() {
            let count = self.best.get(step).map_or(0, Vec::len);
            for draw in 0..count {
                for smaller in [|_: u32| 0, |drawn: u32| drawn / 2, |drawn: u32| drawn.saturating_sub(1)] {
                    if self.is_over() {
                        return;
                    }
                    let mut candidate = self.best.clone();
                    let Some(at) = candidate.get_mut(step).and_then(|step| step.get_mut(draw)) else { break };
                    let plainer = smaller(*at);
                    if plainer == *at {
                        break;
                    }
                    *at = plainer;
                    if self.try_this(candidate) {
                        break;
                    }
                }
            }
        }
    }
}
