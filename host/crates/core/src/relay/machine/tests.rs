//! The machine against a table, a broker and people who misbehave as chance has it, and by hand what chance meets
//! seldom.

mod world;

use std::time::Duration;

use super::super::{AsidePage, Delivery, Marked, Page, Refusal, RefusalMeaning, Snapshot, Wake};
use super::*;
use world::World;

const SETTINGS: Settings = Settings {
    batch_rows_max: 20,
    in_flight_max: 40,
    in_flight_bytes_max: 1_000_000,
    publish_timeout: Duration::from_secs(2),
    poll_min: Duration::from_millis(2),
    poll_max: Duration::from_millis(500),
    wake: Wake::Poll,
};

#[test]
fn nothing_is_lost_and_keys_keep_their_order_whatever_fails() {
    for seed in 1..=60 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.disturb();
            world.step();
        }
        world.ends_all();
    }
}

/// A machine that owns lane 0, driven by hand.
struct ByHand {
    machine: RelayMachine<()>,
    now: Moment,
}

impl ByHand {
    /// Makes a relay that knows these topics, and has `drawn` rows behind it.
    fn new(topics: &[&str]) -> Self {
        let mut by_hand =
            Self { machine: RelayMachine::new(SETTINGS, Moment(0), &mut Vec::new()), now: Moment(0) };
        by_hand.on(Event::SessionOutlasts(true));
        by_hand.on(Event::LaneTaken(0));
        let rows =
            topics.iter().enumerate().map(|(place, topic)| row(-1 - i64::try_from(place).unwrap(), topic));
        by_hand.looked(rows.collect(), 0);
        by_hand.on(Event::Asked(Ok(vec![])));
        by_hand.looked(vec![], 0);
        by_hand
    }

    fn on(&mut self, event: Event<()>) -> Vec<Command<()>> {
        let mut commands = Vec::new();
        self.machine.on(event, self.now, &mut commands);
        commands
    }

    fn later(&mut self, millis: u64) -> Vec<Command<()>> {
        self.now = Moment(self.now.0 + millis);
        self.on(Event::TimerDue)
    }

    fn looked(&mut self, rows: Vec<Row<()>>, last_seq: i64) -> Vec<Command<()>> {
        let snapshot = Snapshot { last_seq, xmax: 10, ..Snapshot::default() };
        self.on(Event::Looked(Ok(Page { rows, is_cut: false, snapshot, next_due: None })))
    }

    /// Looks, and gives what is sent: ticket and `seq`.
    fn sends(&mut self, rows: Vec<Row<()>>, last_seq: i64) -> Vec<(Ticket, i64)> {
        self.now = Moment(self.now.0 + 1_000);
        let mut commands = self.on(Event::Woken);
        commands.extend(self.looked(rows, last_seq));
        sent(&commands)
    }

    fn refused(&mut self, ticket: Ticket, meaning: RefusalMeaning) -> Vec<Command<()>> {
        let refusal = Refusal { meaning, reason: "no".into(), by_client: false };
        self.on(Event::Delivered(vec![Delivery { ticket, result: Err(refusal) }]))
    }

    fn acknowledged(&mut self, ticket: Ticket) -> Vec<Command<()>> {
        self.on(Event::Delivered(vec![Delivery { ticket, result: Ok((0, 0)) }]))
    }
}

fn looked_aside(rows: Vec<Row<()>>) -> Event<()> {
    Event::LookedAside(Ok(AsidePage { server: None, rows, is_cut: false }))
}

fn row(seq: i64, topic: &str) -> Row<()> {
    Row { lane: 0, seq, topic: topic.into(), bytes: 100, memory: 100, unfit: None, record: () }
}

fn sent(commands: &[Command<()>]) -> Vec<(Ticket, i64)> {
    let sent = |command: &Command<()>| {
        if let Command::Send { ticket, row, .. } = command { Some((*ticket, row.seq)) } else { None }
    };
    commands.iter().filter_map(sent).collect()
}

fn purged(commands: &[Command<()>]) -> Vec<ProducerId> {
    let purged = |command: &Command<()>| if let Command::Purge(id) = command { Some(*id) } else { None };
    commands.iter().filter_map(purged).collect()
}

#[test]
fn a_row_that_is_refused_alone_dies_and_in_company_its_topic_is_tried_beside_the_others() {
    let mut relay = ByHand::new(&["orders"]);
    let alone = relay.sends(vec![row(1, "orders")], 1);
    assert_eq!(alone.len(), 1);
    let commands = relay.refused(alone[0].0, RefusalMeaning::Record);
    let refused = commands.iter().find_map(|command| {
        if let Command::Mark(batch) = command { Some(batch.refused.len()) } else { None }
    });
    assert_eq!((refused, purged(&commands).len()), (Some(1), 1));
    relay.on(Event::Marked(Ok(Marked::Done)));
    relay.on(Event::Purged(ProducerId(0)));

    let both = relay.sends(vec![row(2, "orders"), row(3, "orders")], 3);
    assert_eq!(both.len(), 2);
    let commands = relay.refused(both[0].0, RefusalMeaning::Record);
    assert!(!commands.iter().any(|command| matches!(command, Command::Mark(_))), "nobody is to blame yet");
    let commands = relay.on(Event::Purged(ProducerId(1)));
    let aside = commands
        .iter()
        .find_map(|command| if let Command::LookAside(look) = command { Some(&*look.topic) } else { None });
    assert_eq!(aside, Some("orders"));
    let group = sent(&relay.on(looked_aside(vec![row(2, "orders"), row(3, "orders")])));
    assert_eq!(group.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [2], "half of them");
    assert_eq!(
        sent(&relay.acknowledged(group[0].0)).first().map(|(_, seq)| *seq),
        Some(3),
        "and the other half"
    );
}

#[test]
fn a_time_that_is_refused_is_left_out_before_anyone_dies() {
    let mut relay = ByHand::new(&["orders"]);
    let first = relay.sends(vec![row(1, "orders")], 1);
    relay.refused(first[0].0, RefusalMeaning::Timestamp);
    relay.on(Event::Purged(ProducerId(0)));
    // The look that was under way starts above it.
    relay.looked(vec![], 1);
    let commands = relay.looked(vec![row(1, "orders")], 1);
    assert!(commands.iter().any(|command| matches!(command, Command::Send { timestamp: false, .. })));
}

#[test]
fn a_topic_without_acknowledgements_leaves_room_to_others_and_one_row_of_it_is_tried_until_one_is() {
    let mut relay = ByHand::new(&["sick", "well"]);
    let mut seq = 0;
    let mut fill = |relay: &mut ByHand| {
        let rows: Vec<_> = (0..20)
            .map(|_| {
                seq += 1;
                row(seq, "sick")
            })
            .collect();
        relay.looked(rows, seq)
    };
    relay.on(Event::Woken);
    fill(&mut relay);
    fill(&mut relay);
    assert_eq!(relay.machine.room().rows, 0);
    let commands = relay.later(600);
    let without = commands.iter().find_map(|command| {
        if let Command::Look(look) = command { Some(look.without.clone()) } else { None }
    });
    assert_eq!(without, Some(vec!["sick".into()]), "it counts apart, and others are read");
    assert_eq!(sent(&relay.looked(vec![row(100, "well")], 100)).len(), 1);

    let commands = relay.later(1_100);
    assert_eq!(purged(&commands), [ProducerId(0)], "its time is over");
    let commands = relay.on(Event::Purged(ProducerId(0)));
    assert!(
        commands.iter().any(|command| matches!(command, Command::LookAside(look) if look.rows_max < 20 + 40))
    );
    let tried = sent(&relay.on(looked_aside(vec![row(1, "sick")])));
    assert_eq!(tried.len(), 1);
    let commands = relay.acknowledged(tried[0].0);
    assert!(
        commands.iter().any(|command| matches!(command, Command::Say(Notice::TopicGoesOn { .. }))),
        "{commands:?}"
    );
}

#[test]
fn a_sequence_that_falls_back_has_everything_read_anew() {
    let mut relay = ByHand::new(&["orders"]);
    let before = relay.sends(vec![row(1_000, "orders")], 1_000);
    relay.acknowledged(before[0].0);
    relay.on(Event::Marked(Ok(Marked::Done)));
    relay.later(1_000);
    let commands = relay.looked(vec![], 550);
    assert!(commands.contains(&Command::Say(Notice::SequenceFellBack { from: 1_000, to: 550 })));
    let commands = relay.on(Event::Purged(ProducerId(0)));
    let late = commands
        .iter()
        .find_map(|command| if let Command::Look(look) = command { Some(look.late.clone()) } else { None });
    assert_eq!(late, Some(vec![0]));
}

#[test]
fn a_side_producer_reads_nothing_more_while_what_it_published_cannot_be_marked() {
    let mut relay = ByHand::new(&["orders"]);
    let first = relay.sends(vec![row(1, "orders"), row(2, "orders")], 2);
    relay.refused(first[0].0, RefusalMeaning::Record);
    relay.on(Event::Purged(ProducerId(0)));
    let mut seq = 0;
    let mut looks = 0;
    while seq < 200 && looks < 20 {
        looks += 1;
        let rows: Vec<_> = (1..=20).map(|place| row(seq + place, "orders")).collect();
        seq += 20;
        let mut tickets = sent(&relay.on(looked_aside(rows)));
        while !tickets.is_empty() {
            let answers = tickets.iter().map(|(ticket, _)| Delivery { ticket: *ticket, result: Ok((0, 0)) });
            tickets = sent(&relay.on(Event::Delivered(answers.collect())));
        }
    }
    // The mark that began with the first of them has no end.
    assert!(relay.machine.in_hand() <= 2 * SETTINGS.in_flight_max, "{} in hand", relay.machine.in_hand());
}

fn looks(commands: &[Command<()>]) -> Vec<Vec<i64>> {
    let late = |command: &Command<()>| {
        if let Command::Look(look) = command { Some(look.late.clone()) } else { None }
    };
    commands.iter().filter_map(late).collect()
}

#[test]
fn where_another_server_answers_everything_is_read_anew_once_what_has_ended_is_marked() {
    let mut relay = ByHand::new(&["orders"]);
    let both = relay.sends(vec![row(1, "orders"), row(2, "orders")], 2);
    relay.acknowledged(both[0].0);
    relay.later(1_000);
    let snapshot = Snapshot { server: 2, last_seq: 34, xmax: 5, ..Snapshot::default() };
    let page = Page { rows: vec![row(2, "orders")], is_cut: false, snapshot, next_due: None };
    let commands = relay.on(Event::Looked(Ok(page.clone())));
    assert!(commands.contains(&Command::Say(Notice::AnotherServer)));
    assert_eq!(purged(&commands), [ProducerId(0)]);
    let commands = relay.on(Event::Purged(ProducerId(0)));
    assert_eq!(looks(&commands), Vec::<Vec<i64>>::new(), "the mark of the first is under way");
    let commands = relay.on(Event::Marked(Ok(Marked::Done)));
    assert_eq!(looks(&commands), [[0]]);
    let commands = relay.on(Event::Looked(Ok(page)));
    assert_eq!(sent(&commands).iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_sequence_that_falls_back_is_noticed_though_the_connection_was_lost_before() {
    let mut relay = ByHand::new(&["orders"]);
    relay.sends(vec![row(1_000, "orders")], 1_000);
    relay.later(1_000);
    let failure = Failure { wait: Duration::ZERO, connection_lost: true };
    relay.on(Event::Looked(Err(failure)));
    relay.later(10);
    let commands = relay.looked(vec![], 550);
    assert!(commands.contains(&Command::Say(Notice::SequenceFellBack { from: 1_000, to: 550 })));
}

#[test]
fn a_look_aside_that_another_server_answers_brings_nothing() {
    let mut relay = ByHand::new(&["orders"]);
    let both = relay.sends(vec![row(1, "orders"), row(2, "orders")], 2);
    relay.refused(both[0].0, RefusalMeaning::Record);
    let commands = relay.on(Event::Purged(ProducerId(0)));
    assert!(commands.iter().any(|command| matches!(command, Command::LookAside(_))));
    let rows = vec![row(1, "orders"), row(2, "orders")];
    let commands = relay.on(Event::LookedAside(Ok(AsidePage { server: Some(2), rows, is_cut: false })));
    assert_eq!(sent(&commands), []);
    assert!(commands.contains(&Command::Say(Notice::AnotherServer)));
}
