//! The floor of the relay: reading, publishing and marking side by side, page by page, in order within
//! each lane. Two such pipes share the lanes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};
use sqlx::{Connection as _, FromRow, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ground::Ground;

const LANES: i32 = 64;
/// Rows of a lane that are read at once.
const LANE_ROWS: i64 = 64;

/// Each has its own lanes, connections and producer.
const PIPES: i32 = 2;

#[derive(Debug, FromRow)]
struct Row {
    lane: i32,
    seq: i64,
    id: uuid::Uuid,
    topic: String,
    key: Option<Vec<u8>>,
    event_type: String,
    payload: Option<Vec<u8>>,
}

/// Rows that were handed to the producer, with tickets from 0 on without gaps.
type Page = Vec<(i32, i64)>;

/// A ticket, and where its record is.
type Placed = Result<(usize, i32, i64), rdkafka::error::KafkaError>;

/// Publishes all that is pending.
pub(crate) async fn run(ground: &Ground, brokers: &str) -> Result<()> {
    let mut all = JoinSet::new();
    for pipe in 0..PIPES {
        let lanes: Vec<i32> = (pipe..LANES).step_by(usize::try_from(PIPES)?).collect();
        let reading = PgConnection::connect(&ground.db.url()).await?;
        let writing = PgConnection::connect(&ground.db.url()).await?;
        let (reports, placed) = mpsc::unbounded_channel();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "2")
            .create_with_context(Reports(reports))?;
        let (pages, read) = mpsc::channel(2);
        let (sent, in_flight) = mpsc::channel(4);
        all.spawn(self::read(reading, lanes, pages));
        all.spawn(publish(producer, read, sent));
        all.spawn(mark(writing, in_flight, placed));
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(())
}

async fn read(mut db: PgConnection, lanes: Vec<i32>, pages: mpsc::Sender<Vec<Row>>) -> Result<()> {
    let query = "
        select o.* from unnest($1::integer[], $2::bigint[]) l(id, mark)
         cross join lateral (
               select p.lane, p.seq, p.id, p.topic, p.key, p.event_type, p.payload from mailroom.outbox p
                where p.lane = l.id and p.status = 'pending' and not p.held and p.seq > l.mark
                order by p.seq limit $3) o";
    let mut marks: BTreeMap<i32, i64> = lanes.iter().map(|lane| (*lane, 0)).collect();
    loop {
        let from: Vec<i64> = marks.values().copied().collect();
        let rows: Vec<Row> =
            sqlx::query_as(query).bind(&lanes).bind(from).bind(LANE_ROWS).fetch_all(&mut db).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            marks.insert(row.lane, row.seq);
        }
        pages.send(rows).await?;
    }
}

async fn publish(
    producer: ThreadedProducer<Reports>,
    mut pages: mpsc::Receiver<Vec<Row>>,
    sent: mpsc::Sender<Page>,
) -> Result<()> {
    let mut ticket = 0;
    while let Some(rows) = pages.recv().await {
        for row in &rows {
            let id = row.id.to_string();
            let header = |key, value| Header { key, value: Some(value) };
            let headers = OwnedHeaders::new_with_capacity(3)
                .insert(header("message_id", &id))
                .insert(header("event_id", &id))
                .insert(header("event_type", &row.event_type));
            let mut record = BaseRecord::with_opaque_to(&row.topic, ticket).headers(headers);
            record.key = row.key.as_deref();
            record.payload = row.payload.as_deref();
            producer.send(record).map_err(|(error, _)| error)?;
            ticket += 1;
        }
        sent.send(rows.iter().map(|row| (row.lane, row.seq)).collect()).await?;
    }
    // The end. Reports come from the producer's own thread, which ends with it.
    sent.send(Page::new()).await?;
    sent.closed().await;
    Ok(())
}

async fn mark(
    mut db: PgConnection,
    mut pages: mpsc::Receiver<Page>,
    mut reports: mpsc::UnboundedReceiver<Placed>,
) -> Result<()> {
    let statement = "
        update mailroom.outbox o
           set status = 'completed', completed_at = clock_timestamp(), updated_at = clock_timestamp(),
               deliveries = o.deliveries + 1, published_partition = w.partition, published_offset = w.at
          from unnest($1::integer[], $2::bigint[], $3::integer[], $4::bigint[]) w(lane, seq, partition, at)
         cross join lateral (
               select p.ctid as place from mailroom.outbox p
                where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held limit 1) r
         where o.ctid = r.place";
    let mut places: Vec<Option<(i32, i64)>> = Vec::new();
    let mut marked = 0;
    loop {
        let page = pages.recv().await.context("the publisher ended early")?;
        if page.is_empty() {
            return Ok(());
        }
        let tickets = marked..marked + page.len();
        // Acknowledged in any order over the partitions; the page is marked when all of it is.
        let mut first_open = marked;
        while first_open < tickets.end {
            if places.get(first_open).copied().flatten().is_some() {
                first_open += 1;
                continue;
            }
            let (ticket, partition, offset) = reports.recv().await.context("the producer ended early")??;
            if places.len() <= ticket {
                places.resize(ticket + 1, None);
            }
            *places.get_mut(ticket).context("it was made long enough")? = Some((partition, offset));
        }
        marked = tickets.end;
        let placed: Vec<(i32, i64)> =
            places.get(tickets).unwrap_or_default().iter().flatten().copied().collect();
        let (lanes, seqs): (Vec<i32>, Vec<i64>) = page.into_iter().unzip();
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = placed.into_iter().unzip();
        let update = sqlx::query(statement).bind(lanes).bind(seqs).bind(partitions).bind(offsets);
        update.execute(&mut db).await?;
    }
}

/// Hands delivery reports over by ticket.
struct Reports(mpsc::UnboundedSender<Placed>);

impl ClientContext for Reports {}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: usize) {
        let placed = match report {
            Ok(record) => Ok((ticket, record.partition(), record.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // Where nobody listens the run has failed already.
        drop(self.0.send(placed));
    }
}
