//! The search: every state that can be reached is visited once, the nearest first, on all processors.
//!
//! `stateright` does the same, and brings a web server with it (actix-web) for a page that nobody here would open;
//! what is needed of it is this file.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Something whose states are to be explored.
pub(crate) trait Model: Sync {
    type State: Send;

    fn first(&self) -> Self::State;

    /// Gives the states that may come next, always in the same order.
    fn next(&self, state: &Self::State) -> Vec<Self::State>;

    /// Gives bits that are equal for states from which the same can happen.
    fn fingerprint(&self, state: &Self::State) -> u128;

    /// Gives the rule that a state breaks; `is_end` where no state comes next.
    fn broken(&self, state: &Self::State, is_end: bool) -> Option<String>;

    /// Gives what happened on a way from the first state.
    fn history(&self, path: &[u16]) -> Vec<String>;
}

/// Result of a search.
#[derive(Debug)]
pub(crate) struct Searched {
    pub(crate) states: usize,
    pub(crate) transitions: u64,
    pub(crate) depth: usize,
    pub(crate) took: Duration,
    pub(crate) found: Found,
}

/// Findings of a search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Every run ends, and no state breaks a rule.
    Nothing,
    /// A state breaks a rule: which one, and which of the next states to take from the first on.
    Broken { what: String, path: Vec<u16> },
    /// A run comes back to where it was, this way.
    Circle { path: Vec<u16> },
    /// More states are there than may be.
    TooMany,
}

/// Bounds of a search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) threads: usize,
    pub(crate) states_max: usize,
}

/// The fingerprint is its own hash.
#[derive(Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = (self.0 << 8) | u64::from(*byte));
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
    }
}

type Shard = HashMap<u128, u32, BuildHasherDefault<Same>>;

const SHARDS: usize = 64;
/// States that a thread takes at once.
const BATCH: usize = 32;

/// A state that is still to be looked at, with its number.
type Open<S> = (u32, S);

/// Edge from a state to one of the next: the numbers of both, and which of the next it is.
#[derive(Debug, Clone, Copy)]
struct Edge {
    from: u32,
    to: u32,
    by: u16,
    /// True if the state was reached first by this edge.
    is_new: bool,
}

struct Search<'m, M: Model> {
    model: &'m M,
    bounds: Bounds,
    shards: Vec<Mutex<Shard>>,
    count: AtomicU32,
    stop: AtomicBool,
    broken: Mutex<Option<(u32, Option<u16>, String)>>,
}

/// Share of a level that a thread worked off.
struct Done<S> {
    open: Vec<Open<S>>,
    edges: Vec<Edge>,
}

/// Visits all states.
pub(crate) fn search<M: Model>(model: &M, bounds: Bounds) -> Searched {
    let began = Instant::now();
    let search = Search {
        model,
        bounds,
        shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        count: AtomicU32::new(0),
        stop: AtomicBool::new(false),
        broken: Mutex::default(),
    };
    let first = model.first();
    search.number(model.fingerprint(&first));
    let (mut level, mut edges, mut depth) = (vec![(0, first)], Vec::new(), 0);
    while !level.is_empty() && !search.stop.load(Ordering::Relaxed) {
        depth += 1;
        let todo = Mutex::new(level.into_iter());
        let done: Vec<Done<M::State>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..bounds.threads.max(1)).map(|_| scope.spawn(|| search.work(&todo))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        level = Vec::new();
        for done in done {
            level.extend(done.open);
            edges.extend(done.edges);
        }
    }
    let states = usize::try_from(search.count.load(Ordering::Relaxed)).unwrap_or(0);
    let transitions = u64::try_from(edges.len()).unwrap_or(0);
    let broken = search.broken.into_inner().ok().flatten();
    let found = if let Some((state, by, what)) = broken {
        let mut path = path(&edges, state);
        path.extend(by);
        Found::Broken { what, path }
    } else if search.stop.load(Ordering::Relaxed) {
        Found::TooMany
    } else {
        circle(&edges, states).map_or(Found::Nothing, |path| Found::Circle { path })
    };
    Searched { states, transitions, depth, took: began.elapsed(), found }
}

impl<M: Model> Search<'_, M> {
    /// Gives the number of a state, and whether it was not seen before.
    fn number(&self, fingerprint: u128) -> (u32, bool) {
        let shard = usize::try_from((fingerprint >> 64) % 64).unwrap_or(0);
        let Some(Ok(mut shard)) = self.shards.get(shard).map(|shard| shard.lock()) else { return (0, false) };
        let mut is_new = false;
        let number = *shard.entry(fingerprint).or_insert_with(|| {
            is_new = true;
            self.count.fetch_add(1, Ordering::Relaxed)
        });
        (number, is_new)
    }

    fn work(&self, todo: &Mutex<std::vec::IntoIter<Open<M::State>>>) -> Done<M::State> {
        let mut done = Done { open: Vec::new(), edges: Vec::new() };
        loop {
            let batch: Vec<Open<M::State>> = match todo.lock() {
                Ok(mut todo) => todo.by_ref().take(BATCH).collect(),
                Err(_) => return done,
            };
            if batch.is_empty() || self.stop.load(Ordering::Relaxed) {
                return done;
            }
            for (number, state) in batch {
                self.visit(number, &state, &mut done);
            }
        }
    }

    fn visit(&self, from: u32, state: &M::State, done: &mut Done<M::State>) {
        let next = self.model.next(state);
        if next.is_empty()
            && let Some(what) = self.model.broken(state, true)
        {
            return self.breaks(from, None, what);
        }
        for (by, state) in (0..).zip(next) {
            if let Some(what) = self.model.broken(&state, false) {
                return self.breaks(from, Some(by), what);
            }
            let (to, is_new) = self.number(self.model.fingerprint(&state));
            done.edges.push(Edge { from, to, by, is_new });
            if is_new {
                done.open.push((to, state));
            }
        }
        if usize::try_from(self.count.load(Ordering::Relaxed)).unwrap_or(0) > self.bounds.states_max {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn breaks(&self, from: u32, by: Option<u16>, what: String) {
        self.stop.store(true, Ordering::Relaxed);
        if let Ok(mut broken) = self.broken.lock() {
            broken.get_or_insert((from, by, what));
        }
    }
}

/// Gives the way to a state, back from it along what led to each first.
fn path(edges: &[Edge], to: u32) -> Vec<u16> {
    let parents: HashMap<u32, Edge> =
        edges.iter().filter(|edge| edge.is_new).map(|edge| (edge.to, *edge)).collect();
    let (mut path, mut at) = (Vec::new(), to);
    while let Some(edge) = parents.get(&at).filter(|_| at != 0) {
        path.push(edge.by);
        at = edge.from;
    }
    path.reverse();
    path
}

/// Gives the way to a state that can be come back to, where there is one: states to which nothing leads any more are
/// taken away until none is left.
fn circle(edges: &[Edge], states: usize) -> Option<Vec<u16>> {
    let index = |state: u32| usize::try_from(state).unwrap_or(0);
    let mut incoming = vec![0_u32; states];
    let mut starts = vec![0_usize; states + 1];
    for edge in edges {
        incoming.get_mut(index(edge.to)).into_iter().for_each(|count| *count += 1);
        starts.get_mut(index(edge.from) + 1).into_iter().for_each(|count| *count += 1);
    }
    for at in 1..starts.len() {
        let before = starts.get(at - 1).copied().unwrap_or(0);
        starts.get_mut(at).into_iter().for_each(|count| *count += before);
    }
    let mut filled = starts.clone();
    let mut targets = vec![0_u32; edges.len()];
    for edge in edges {
        if let Some(at) = filled.get_mut(index(edge.from)) {
            targets.get_mut(*at).into_iter().for_each(|target| *target = edge.to);
            *at += 1;
        }
    }
    let mut free: Vec<usize> = (0..states).filter(|state| incoming.get(*state) == Some(&0)).collect();
    let mut left = states;
    while let Some(state) = free.pop() {
        left -= 1;
        let range = starts.get(state).copied().zip(starts.get(state + 1).copied());
        for target in range.and_then(|(from, to)| targets.get(from..to)).unwrap_or_default() {
            if let Some(count) = incoming.get_mut(index(*target)) {
                *count -= 1;
                if *count == 0 {
                    free.push(index(*target));
                }
            }
        }
    }
    let on_circle = (0..states).filter(|state| incoming.get(*state).is_some_and(|count| *count > 0));
    let first = on_circle.min()?;
    (left > 0).then(|| path(edges, u32::try_from(first).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two people and two forks: each takes both, one after another, and lays them down.
    struct Table {
        in_order: bool,
    }

    /// Progress of each person: nothing, one fork, both, done.
    type Seats = [u8; 2];

    impl Table {
        fn fork(&self, person: usize, step: u8) -> usize {
            let second = step > 0;
            if self.in_order || person == 0 { usize::from(second) } else { usize::from(!second) }
        }

        fn is_held(&self, seats: Seats, fork: usize) -> bool {
            (0..2).any(|person| {
                (0..seats[person].min(2)).any(|step| seats[person] < 3 && self.fork(person, step) == fork)
            })
        }
    }

    impl Model for Table {
        type State = Seats;

        fn first(&self) -> Seats {
            [0, 0]
        }

        fn next(&self, seats: &Seats) -> Vec<Seats> {
            let mut next = Vec::new();
            for person in 0..2 {
                let step = seats[person];
                let may = step == 2 || (step < 2 && !self.is_held(*seats, self.fork(person, step)));
                if may {
                    let mut then = *seats;
                    then[person] += 1;
                    next.push(then);
                }
            }
            next
        }

        fn fingerprint(&self, seats: &Seats) -> u128 {
            u128::from(seats[0]) * 4 + u128::from(seats[1])
        }

        fn broken(&self, seats: &Seats, is_end: bool) -> Option<String> {
            (is_end && *seats != [3, 3]).then(|| format!("{seats:?} is the end"))
        }

        fn history(&self, _: &[u16]) -> Vec<String> {
            Vec::new()
        }
    }

    const BOUNDS: Bounds = Bounds { threads: 2, states_max: 1000 };

    #[test]
    fn a_deadlock_is_found_the_shortest_way_and_none_is_where_there_is_none() {
        let searched = search(&Table { in_order: false }, BOUNDS);
        let Found::Broken { what, path } = searched.found else { panic!("{searched:?}") };
        assert_eq!((what.as_str(), path.len()), ("[1, 1] is the end", 2));
        assert_eq!(search(&Table { in_order: true }, BOUNDS).found, Found::Nothing);
    }

    /// A counter that goes up by one or two, and round where it is told to.
    struct Counter {
        round: bool,
    }

    impl Model for Counter {
        type State = u32;

        fn first(&self) -> u32 {
            0
        }

        fn next(&self, at: &u32) -> Vec<u32> {
            match at {
                100.. if self.round => vec![50],
                100.. => Vec::new(),
                _ => vec![at + 1, (at + 2).min(100)],
            }
        }

        fn fingerprint(&self, at: &u32) -> u128 {
            u128::from(*at)
        }

        fn broken(&self, _: &u32, _: bool) -> Option<String> {
            None
        }

        fn history(&self, _: &[u16]) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn each_state_is_visited_once_and_a_circle_is_found() {
        let searched = search(&Counter { round: false }, BOUNDS);
        assert_eq!((searched.states, searched.transitions, searched.depth), (101, 200, 51));
        assert_eq!(searched.found, Found::Nothing);
        assert!(matches!(search(&Counter { round: true }, BOUNDS).found, Found::Circle { .. }));
        assert_eq!(
            search(&Counter { round: false }, Bounds { states_max: 10, threads: 1 }).found,
            Found::TooMany
        );
    }
}
