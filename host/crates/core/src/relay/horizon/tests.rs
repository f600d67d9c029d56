//! Views of looks, made by hand and at random, and what the horizon concludes from them.

use std::collections::BTreeSet;

use super::*;

/// A look's view: last `seq` drawn, xmax, open transactions.
fn saw(last_seq: i64, xmax: i64, open: &[i64]) -> Snapshot {
    Snapshot { server: 1, last_seq, xmax, own_id: None, open: open.to_vec(), ended: Vec::new() }
}

fn sampling(own_id: i64, saw: Snapshot) -> Snapshot {
    Snapshot { own_id: Some(own_id), ..saw }
}

fn ending(ended: &[i64], saw: Snapshot) -> Snapshot {
    Snapshot { ended: ended.to_vec(), ..saw }
}

#[test]
fn the_horizon_waits_until_a_snapshot_names_whoever_may_hold_a_lower_seq() {
    let (mut horizon, now) = (Horizon::default(), Moment(0));
    horizon.seen(&saw(10, 105, &[]), now);
    assert!(horizon.wants_sample(now) && horizon.seq() == 0, "one look says nothing about who drew 10");
    horizon.seen(&sampling(105, saw(12, 105, &[])), now);
    assert_eq!((horizon.seq(), horizon.asks_below()), (0, 105));
    horizon.seen(&saw(12, 105, &[]), now);
    assert_eq!(horizon.seq(), 0, "this snapshot knows nothing of 105 and those before it that are open");
    horizon.seen(&saw(15, 106, &[]), now);
    assert_eq!((horizon.seq(), horizon.asks_below()), (10, 0), "all up to 105 have ended");
    assert!(horizon.stragglers().0.is_empty());
}

#[test]
fn an_open_transaction_is_passed_and_its_floor_given_when_it_ends() {
    let (mut horizon, mut now) = (Horizon::default(), Moment(0));
    for (drawn, id) in [(10, 105), (20, 110), (30, 115)] {
        now = now + SAMPLE_EVERY;
        horizon.seen(&saw(drawn, id, &[100]), now);
        assert!(horizon.wants_sample(now));
        horizon.seen(&sampling(id, saw(drawn, id, &[100])), now);
        let ended = horizon.seen(&saw(drawn, id + 1, &[100]), now);
        assert_eq!((horizon.seq(), ended), (drawn, None));
    }
    assert_eq!(horizon.stragglers(), (vec![100], vec![0]), "the floor stays where it was first passed");

    assert_eq!(horizon.seen(&ending(&[100], saw(31, 120, &[])), now), Some(0));
    assert_eq!(horizon.stragglers(), (vec![], vec![]));
    assert_eq!(horizon.seen(&saw(31, 120, &[]), now), None);
}

#[test]
fn one_that_is_passed_later_has_a_higher_floor() {
    let (mut horizon, now) = (Horizon::default(), Moment(0));
    horizon.seen(&saw(10, 105, &[100]), now);
    horizon.seen(&sampling(105, saw(20, 105, &[100])), now);
    horizon.seen(&sampling(112, saw(30, 108, &[100, 107])), now);
    horizon.seen(&saw(30, 113, &[100, 107]), now);
    assert_eq!(horizon.seq(), 20);
    assert_eq!(horizon.stragglers(), (vec![100, 107], vec![0, 10]));
    assert_eq!(horizon.seen(&ending(&[107], saw(30, 114, &[100])), now), Some(10));
}

#[test]
fn too_many_open_transactions_are_waited_for() {
    let (mut horizon, now) = (Horizon::default(), Moment(0));
    let open: Vec<i64> = (100..).take(STRAGGLERS_MAX + 1).collect();
    horizon.seen(&saw(10, 500, &open), now);
    horizon.seen(&sampling(500, saw(10, 500, &open)), now);
    horizon.seen(&saw(10, 501, &open), now);
    assert_eq!((horizon.seq(), horizon.stragglers().0.len()), (0, 0));
    horizon.seen(&saw(10, 502, &open[1..]), now);
    assert_eq!((horizon.seq(), horizon.stragglers().0.len()), (10, STRAGGLERS_MAX));
}

#[test]
fn samples_are_few_and_an_idle_table_needs_none() {
    let (mut horizon, mut now) = (Horizon::default(), Moment(0));
    let open: Vec<i64> = (0..100).collect();
    let mut taken = 0;
    for look in 0..1_000 {
        now = now + Duration::from_millis(10);
        let own = horizon.wants_sample(now).then_some(100 + look);
        taken += usize::from(own.is_some());
        horizon.seen(&Snapshot { own_id: own, ..saw(look * 10, 2_000, &open) }, now);
    }
    assert!(taken <= SAMPLES_MAX && horizon.seq() == 0, "{taken} samples");
    now = now + SAMPLE_EVERY;
    horizon.seen(&saw(10_000, 5_000, &[]), now);
    assert!(horizon.seq() > 0 && horizon.wants_sample(now), "they ended, and the horizon goes on");
    horizon.seen(&sampling(6_000, saw(10_000, 5_000, &[])), now);
    horizon.seen(&saw(10_000, 6_001, &[]), now);
    assert_eq!(horizon.seq(), 10_000);
    assert!(!horizon.wants_sample(now + SAMPLE_EVERY));
}

/// A table with transactions that begin, draw, wait and end as chance has it.
struct Table {
    chance: u64,
    next_id: i64,
    last_seq: i64,
    last_ended: i64,
    open: BTreeMap<i64, Vec<i64>>,
    visible: BTreeSet<i64>,
}

impl Table {
    fn chance(&mut self, of: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % of
    }

    /// One of the open ones.
    fn any(&mut self) -> Option<i64> {
        let nth = self.chance(self.open.len().max(1) as u64);
        self.open.keys().nth(usize::try_from(nth).unwrap()).copied()
    }

    fn go_on(&mut self) {
        match self.chance(8) {
            0 | 1 => {
                self.open.insert(self.next_id, Vec::new());
                self.next_id += 1;
            }
            2..=4 => {
                let Some(id) = self.any() else { return };
                self.last_seq += 1;
                self.open.entry(id).or_default().push(self.last_seq);
            }
            5 | 6 => {
                // The oldest stay open for long.
                let Some(id) = self.any() else { return };
                if id % 7 == 0 && self.chance(40) > 0 {
                    return;
                }
                let drawn = self.open.remove(&id).unwrap_or_default();
                self.last_ended = self.last_ended.max(id);
                if self.chance(5) > 0 {
                    self.visible.extend(drawn);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_the_order_of_commits_each_row_is_in_the_first_look_that_could_show_it() {
    for seed in 1..=40 {
        let mut table = Table {
            chance: seed,
            next_id: 100,
            last_seq: 0,
            last_ended: 99,
            open: BTreeMap::new(),
            visible: BTreeSet::new(),
        };
        let (mut horizon, mut now) = (Horizon::default(), Moment(0));
        let (mut known, mut mark): (BTreeSet<i64>, i64) = (BTreeSet::new(), 0);
        let mut passed = 0;
        for _ in 0..400 {
            for _ in 0..table.chance(12) {
                table.go_on();
            }
            now = now + Duration::from_millis(60);
            // The look's snapshot, and what its statement does with it.
            let xmax = table.last_ended + 1;
            let ids = horizon.stragglers();
            let gone = |id: &i64| *id < xmax && !table.open.contains_key(id);
            let ended: Vec<i64> = ids.0.iter().copied().filter(gone).collect();
            let floors = ids.0.iter().zip(&ids.1).filter(|(id, _)| gone(id)).map(|(_, floor)| *floor);
            let start = floors.min().unwrap_or(i64::MAX).min(mark).min(horizon.seq());
            let open = table.open.keys().copied().filter(|id| *id < xmax && *id < horizon.asks_below());
            let open: Vec<i64> = open.take(STRAGGLERS_MAX + 1).collect();
            let visible = table.visible.clone();
            for _ in 0..table.chance(3) {
                table.go_on();
            }
            let own_id = horizon.wants_sample(now).then_some(table.next_id);
            if let Some(id) = own_id {
                table.next_id += 1;
                table.last_ended = table.last_ended.max(id);
            }
            let last_seq = table.last_seq;

            let new = visible.range(start + 1..).copied().filter(|seq| !known.contains(seq));
            known.extend(new.collect::<Vec<_>>());
            mark = last_seq;
            assert!(known == visible, "seed {seed}: {:?} is passed over", visible.difference(&known));
            horizon.seen(&Snapshot { server: 1, last_seq, xmax, own_id, open, ended }, now);
            passed = passed.max(horizon.stragglers().0.len());
        }
        assert!(horizon.seq() > 0 && passed > 0, "seed {seed}: nothing was tried");
    }
}
