//! Work of a host on its lanes: store records, read what lies there, settle what was decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use super::host::{Host, Message};
use super::statements::{EMIT, SETTLE, STORE};
use super::{Game, TOPIC};

const BATCH: usize = 16;
const ATTEMPTS_MAX: i32 = 1000;

/// Decision about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Completed,
    Retry,
    Rejected,
}

impl Host<'_> {
    /// Stores the next records of a partition, and moves its offset with them.
    pub(super) async fn ingest(&mut self, lane: i32) -> Result<()> {
        let Some((partition, position)) = self.lanes.get(&lane).map(|of| (of.partition, of.position)) else {
            return Ok(());
        };
        let Some((epoch, from)) = position else { return self.find(lane, partition).await };
        let log = self.game.log(partition);
        let offsets: Vec<i64> = (from..log.len().try_into()?).take(self.rng.usize(1..=BATCH)).collect();
        let Some(last) = offsets.last() else { return Ok(()) };
        let statements = &self.game.statements;
        let mut connection = self.game.pool.acquire().await?;
        // Drawn by a host that has the lane, and used a while later.
        let seqs =
            sqlx::query_scalar(AssertSqlSafe(statements.draw.as_str())).bind(i32::try_from(offsets.len())?);
        let seqs: Vec<i64> = seqs.fetch_all(&mut *connection).await?;
        self.stall(&mut connection).await?;
        drop(connection);
        let mut tx = self.game.pool.begin().await?;
        if !self.fence(&mut tx, &[lane]).await? {
            self.lanes.remove(&lane);
            return Ok(());
        }
        self.stall(&mut tx).await?;
        let advanced = sqlx::query(AssertSqlSafe(statements.advance.as_str()))
            .bind(&self.game.group)
            .bind(vec![TOPIC])
            .bind(vec![partition])
            .bind(vec![epoch])
            .bind(vec![from])
            .bind(vec![last + 1]);
        let advanced = advanced.execute(&mut *tx).await?.rows_affected() == 1;
        if !advanced {
            tx.rollback().await?;
            if let Some(of) = self.lanes.get_mut(&lane) {
                (of.position, of.backlog) = (None, true);
            }
            return Ok(());
        }
        let direct = self.lanes.get(&lane).is_some_and(|of| !of.backlog);
        let records = self.handle_first(lane, partition, &offsets, seqs, direct);
        store(self.game, &mut tx, (lane, partition), &records).await?;
        emit(&mut tx, &decided_of(lane, &records)).await?;
        let left: Vec<Message> = records.iter().filter_map(Handled::left).collect();
        let highest = left.iter().map(|message| message.seq).max();
        if let Some(highest) = highest.filter(|_| direct) {
            let begun =
                sqlx::query(AssertSqlSafe(statements.begin.as_str())).bind(vec![lane]).bind(vec![highest]);
            begun.execute(&mut *tx).await?;
        }
        self.stall(&mut tx).await?;
        tx.commit().await?;
        for record in records.iter().filter(|record| record.verdict == Some(Verdict::Retry)) {
            self.game.failed(&record.message.id);
        }
        if let Some(of) = self.lanes.get_mut(&lane) {
            of.position = Some((epoch, last + 1));
            if direct {
                of.mark = records.iter().map(|record| record.message.seq).max().unwrap_or(of.mark);
                of.queue.extend(left.into_iter().map(|message| (message.seq, message)));
            }
        }
        Ok(())
    }

    /// Records with the places that were drawn for them. Where the lane has no backlog, some of them are decided
    /// before they have rows, each with those before it in its key.
    fn handle_first(
        &mut self,
        lane: i32,
        partition: i32,
        offsets: &[i64],
        seqs: Vec<i64>,
        direct: bool,
    ) -> Vec<Handled> {
        let queued = self.lanes.get(&lane).into_iter().flat_map(|of| of.queue.values());
        let mut waits: BTreeSet<i64> = queued.filter_map(|message| message.okey).collect();
        let keys: HashMap<i64, Option<i64>> =
            (0_i64..).zip(self.game.log(partition).iter().copied()).collect();
        let mut records = Vec::new();
        for (offset, seq) in offsets.iter().zip(seqs) {
            let okey = keys.get(offset).copied().flatten();
            let free = direct && !okey.is_some_and(|okey| waits.contains(&okey));
            let verdict = (free && self.rng.u32(..10) < 7).then(|| any_verdict(&mut self.rng));
            if verdict.is_none_or(|verdict| verdict == Verdict::Retry) {
                waits.extend(okey);
            }
            let id = self.game.message_id(partition, *offset);
            let message = Message { seq, okey, id, offset: *offset, deliveries: 0, due: Instant::now() };
            records.push(Handled { message, verdict });
        }
        records
    }

    /// Takes the partition's offset row over; what others had of it is void.
    async fn find(&mut self, lane: i32, partition: i32) -> Result<()> {
        let statements = &self.game.statements;
        for _ in 0..2 {
            let row = sqlx::query(AssertSqlSafe(statements.take_over.as_str()))
                .bind(&self.game.group)
                .bind(Uuid::new_v4())
                .bind(vec![TOPIC])
                .bind(vec![partition])
                .fetch_optional(self.game.pool)
                .await?;
            if let Some(row) = row {
                if let Some(of) = self.lanes.get_mut(&lane) {
                    of.position = Some((row.try_get("epoch")?, row.try_get("next_offset")?));
                }
                return Ok(());
            }
            let start = sqlx::query(AssertSqlSafe(statements.start.as_str()));
            let start = start.bind(&self.game.group).bind(TOPIC).bind(None::<Uuid>);
            let start = start.bind(vec![partition]).bind(vec![0_i64]);
            start.execute(self.game.pool).await?;
        }
        Ok(())
    }

    /// Reads a page of a lane of which rows may lie in the table.
    pub(super) async fn read(&mut self, lane: i32) -> Result<()> {
        let Some(of) = self.lanes.get_mut(&lane).filter(|of| of.backlog) else { return Ok(()) };
        let read = sqlx::query(AssertSqlSafe(self.game.statements.read.as_str()));
        let limit = i64::try_from(BATCH)?;
        let rows = read.bind(lane).bind(of.token).bind(of.mark).bind(limit).fetch_all(self.game.pool).await?;
        of.backlog = rows.len() == BATCH;
        for row in rows {
            let message = Message {
                seq: row.try_get("seq")?,
                okey: row.try_get("okey")?,
                id: row.try_get("message_id")?,
                offset: row.try_get("offset")?,
                deliveries: row.try_get("deliveries")?,
                due: Self::due(row.try_get("due_secs!")?),
            };
            of.mark = of.mark.max(message.seq);
            ensure!(of.queue.insert(message.seq, message).is_none(), "a row was read twice");
        }
        Ok(())
    }

    /// Decides some messages, in order of their keys, and settles them in one transaction.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let decided = self.decide();
        if decided.is_empty() {
            return Ok(());
        }
        // The handlers run.
        let mut connection = self.game.pool.acquire().await?;
        self.stall(&mut connection).await?;
        drop(connection);
        let lanes: Vec<i32> =
            decided.iter().map(|(lane, _, _)| *lane).collect::<BTreeSet<i32>>().into_iter().collect();
        let mut tx = self.game.pool.begin().await?;
        if !self.fence(&mut tx, &lanes).await? {
            lanes.iter().for_each(|lane| drop(self.lanes.remove(lane)));
            return Ok(());
        }
        self.stall(&mut tx).await?;
        let hit = end(&mut tx, &decided).await?;
        ensure!(hit == decided.len(), "{} of {} rows were as they were delivered", hit, decided.len());
        emit(&mut tx, &decided).await?;
        self.stall(&mut tx).await?;
        tx.commit().await?;
        for (lane, message, verdict) in decided {
            let Some(of) = self.lanes.get_mut(&lane) else { continue };
            match (verdict, of.queue.get_mut(&message.seq)) {
                (Verdict::Retry, Some(waiting)) => {
                    self.game.failed(&message.id);
                    waiting.deliveries += 1;
                    waiting.due = Self::due(RETRY_SECS);
                }
                (Verdict::Completed | Verdict::Rejected, _) | (Verdict::Retry, None) => {
                    of.queue.remove(&message.seq);
                }
            }
        }
        Ok(())
    }

    /// Messages of a key are decided in order, up to one that is not due or is to be retried.
    fn decide(&mut self) -> Vec<(i32, Message, Verdict)> {
        let mut decided = Vec::new();
        let now = Instant::now();
        for (lane, of) in &self.lanes {
            let mut waits = BTreeSet::new();
            for message in of.queue.values().take(2 * BATCH) {
                let waiting = message.okey.is_some_and(|okey| waits.contains(&okey));
                if waiting || message.due > now {
                    waits.extend(message.okey);
                    continue;
                }
                let verdict = any_verdict(&mut self.rng);
                if verdict == Verdict::Retry {
                    waits.extend(message.okey);
                }
                decided.push((*lane, message.clone(), verdict));
            }
        }
        decided
    }
}

/// A record with what was decided before it has a row, if anything.
#[derive(Debug)]
struct Handled {
    message: Message,
    verdict: Option<Verdict>,
}

impl Handled {
    /// The message as it waits on.
    fn left(&self) -> Option<Message> {
        match self.verdict {
            None => Some(self.message.clone()),
            Some(Verdict::Retry) => {
                Some(Message { deliveries: 1, due: Host::due(RETRY_SECS), ..self.message.clone() })
            }
            Some(Verdict::Completed | Verdict::Rejected) => None,
        }
    }
}

fn decided_of(lane: i32, records: &[Handled]) -> Vec<(i32, Message, Verdict)> {
    let decided = records.iter().filter_map(|record| Some((lane, record.message.clone(), record.verdict?)));
    decided.collect()
}

fn any_verdict(rng: &mut fastrand::Rng) -> Verdict {
    match rng.u32(..100) {
        0..8 => Verdict::Retry,
        8..11 => Verdict::Rejected,
        _ => Verdict::Completed,
    }
}

/// Wait of a retried message.
const RETRY_SECS: f64 = 0.02;

/// Inserts the rows of a partition's records, each as it was decided.
async fn store(
    game: &Game<'_>,
    connection: &mut PgConnection,
    (lane, partition): (i32, i32),
    records: &[Handled],
) -> Result<()> {
    fn each<T>(records: &[Handled], column: impl Fn(&Handled) -> T) -> Vec<T> {
        records.iter().map(column).collect()
    }
    let of = |wanted: Verdict, text: &'static str| {
        each(records, |record| (record.verdict == Some(wanted)).then_some(text))
    };
    let same = |text: &str| vec![text.to_owned(); records.len()];
    let nothing: Vec<Option<String>> = vec![None; records.len()];
    let no_bytes: Vec<Option<Vec<u8>>> = vec![None; records.len()];
    let rows: Vec<i64> = sqlx::query_scalar(STORE)
        .bind(&game.group)
        .bind(each(records, |record| record.message.seq))
        .bind(vec![ATTEMPTS_MAX; records.len()])
        .bind(vec![lane; records.len()])
        .bind(each(records, |record| record.message.okey))
        .bind(each(records, |_| Uuid::new_v4()))
        .bind(each(records, |record| record.message.id.clone()))
        .bind(same(TOPIC))
        .bind(vec![partition; records.len()])
        .bind(each(records, |record| record.message.offset))
        .bind(same(TOPIC))
        .bind(same("random"))
        .bind(&nothing)
        .bind(&no_bytes)
        .bind(&no_bytes)
        .bind(&nothing)
        .bind(&nothing)
        .bind(vec![0_i64; records.len()])
        .bind(&nothing)
        .bind(&nothing)
        .bind(&nothing)
        .bind(&nothing)
        .bind(&nothing)
        .bind(vec![false; records.len()])
        .bind(each(records, |record| match record.verdict {
            Some(Verdict::Completed) => "completed",
            Some(Verdict::Rejected) => "failed",
            Some(Verdict::Retry) | None => "pending",
        }))
        .bind(of(Verdict::Completed, "completed"))
        .bind(&nothing)
        .bind(of(Verdict::Rejected, "rejected"))
        .bind(each(records, |record| i32::from(record.verdict == Some(Verdict::Retry))))
        .bind(each(records, |record| i32::from(record.verdict.is_some())))
        .bind(&nothing)
        .bind(&nothing)
        .bind(each(records, |record| if record.verdict == Some(Verdict::Retry) { RETRY_SECS } else { 0.0 }))
        .bind(&nothing)
        .bind(vec![false; records.len()])
        .fetch_all(connection)
        .await?;
    ensure!(rows.len() == records.len(), "a record was stored before");
    Ok(())
}

/// Ends the deliveries; gives how many rows were as they were delivered.
async fn end(connection: &mut PgConnection, decided: &[(i32, Message, Verdict)]) -> Result<usize> {
    let by = |choose: fn(Verdict) -> Option<&'static str>| -> Vec<Option<&'static str>> {
        decided.iter().map(|(_, _, verdict)| choose(*verdict)).collect()
    };
    let is = |wanted: Verdict| decided.iter().map(move |(_, _, verdict)| *verdict == wanted);
    let nothing: Vec<Option<&str>> = vec![None; decided.len()];
    let hit = sqlx::query(SETTLE)
        .bind(decided.iter().map(|(lane, _, _)| *lane).collect::<Vec<_>>())
        .bind(decided.iter().map(|(_, message, _)| message.seq).collect::<Vec<_>>())
        .bind(decided.iter().map(|(_, message, _)| message.deliveries).collect::<Vec<_>>())
        .bind(by(|verdict| match verdict {
            Verdict::Completed => Some("completed"),
            Verdict::Retry => Some("pending"),
            Verdict::Rejected => Some("failed"),
        }))
        .bind(by(|verdict| (verdict == Verdict::Completed).then_some("completed")))
        .bind(&nothing)
        .bind(by(|verdict| (verdict == Verdict::Rejected).then_some("rejected")))
        .bind(is(Verdict::Retry).map(i32::from).collect::<Vec<_>>())
        .bind(&nothing)
        .bind(&nothing)
        .bind(is(Verdict::Retry).map(|retry| retry.then_some(RETRY_SECS)).collect::<Vec<_>>())
        .bind(vec![false; decided.len()])
        .fetch_all(connection)
        .await?;
    Ok(hit.len())
}

/// One outbox row for each completed message: its key is the message's, its payload the place in the log.
async fn emit(connection: &mut PgConnection, decided: &[(i32, Message, Verdict)]) -> Result<()> {
    let completed: BTreeMap<(i32, i64), &Message> = decided
        .iter()
        .filter(|(_, _, verdict)| *verdict == Verdict::Completed)
        .map(|(lane, message, _)| ((*lane, message.seq), message))
        .collect();
    let nothing: Vec<Option<&str>> = vec![None; completed.len()];
    let key = |message: &&Message| message.okey.map(|okey| okey.to_string().into_bytes());
    sqlx::query(EMIT)
        .bind(completed.values().map(|_| Uuid::new_v4()).collect::<Vec<_>>())
        .bind(vec![TOPIC; completed.len()])
        .bind(completed.values().map(key).collect::<Vec<_>>())
        .bind(vec!["random"; completed.len()])
        .bind(completed.values().map(|message| message.offset.to_string().into_bytes()).collect::<Vec<_>>())
        .bind(&nothing)
        .bind(&nothing)
        .bind(&nothing)
        .bind(&nothing)
        .bind(&nothing)
        .bind(completed.values().map(|message| message.id.as_str()).collect::<Vec<_>>())
        .bind(&nothing)
        .bind(&nothing)
        .bind(vec![0.0_f64; completed.len()])
        .bind("random")
        .execute(connection)
        .await?;
    Ok(())
}
