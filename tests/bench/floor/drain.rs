//! The floor of the backlog drain: a lane after the other is read in order and completed, 500 rows each;
//! the next page is read while one is completed. Two such pipes share the lanes.

use anyhow::Result;
use sqlx::{Connection as _, FromRow, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ground::Ground;

const ROWS: i64 = 500;

/// Each has its own lanes and connections.
const PIPES: usize = 2;

/// Columns of a row that a handler needs; nobody reads them here.
#[derive(Debug, FromRow)]
#[expect(dead_code, reason = "fetched because a handler could not do without")]
struct Row {
    lane: i32,
    seq: i64,
    id: uuid::Uuid,
    message_id: String,
    event_type: String,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    /// Headers as JSON text.
    headers: Option<String>,
}

/// Completes all that is pending.
pub(crate) async fn run(ground: &Ground) -> Result<()> {
    let lanes: Vec<i32> =
        ground.db.column("select id from mailroom.lane where kind = 'inbox' order by id").await?;
    let mut all = JoinSet::new();
    for lanes in lanes.chunks(lanes.len().div_ceil(PIPES)) {
        let reading = PgConnection::connect(&ground.db.url()).await?;
        let writing = PgConnection::connect(&ground.db.url()).await?;
        let (pages, read) = mpsc::channel(2);
        all.spawn(self::read(reading, lanes.to_vec(), pages));
        all.spawn(complete(writing, read));
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(())
}

async fn read(mut db: PgConnection, lanes: Vec<i32>, pages: mpsc::Sender<Vec<Row>>) -> Result<()> {
    let mut left: Vec<(i32, i64)> = lanes.into_iter().map(|lane| (lane, 0)).collect();
    while !left.is_empty() {
        let mut still = Vec::new();
        for (lane, mark) in left {
            let query = "select lane, seq, id, message_id, event_type, key, payload, headers::text from mailroom.inbox
                          where lane = $1 and status = 'pending' and not held and seq > $2 order by seq limit $3";
            let rows: Vec<Row> =
                sqlx::query_as(query).bind(lane).bind(mark).bind(ROWS).fetch_all(&mut db).await?;
            if let Some(last) = rows.last() {
                still.push((lane, last.seq));
                pages.send(rows).await?;
            }
        }
        left = still;
    }
    Ok(())
}

async fn complete(mut db: PgConnection, mut pages: mpsc::Receiver<Vec<Row>>) -> Result<()> {
    let statement = "
        update mailroom.inbox i
           set status = 'completed', outcome = 'completed', completed_at = clock_timestamp(),
               updated_at = clock_timestamp(), deliveries = i.deliveries + 1
          from unnest($1::integer[], $2::bigint[]) w(lane, seq)
         cross join lateral (
               select p.ctid as place from mailroom.inbox p
                where p.lane = w.lane and p.seq = w.seq and p.status = 'pending' and not p.held limit 1) r
         where i.ctid = r.place";
    while let Some(rows) = pages.recv().await {
        let lanes: Vec<i32> = rows.iter().map(|row| row.lane).collect();
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        sqlx::query(statement).bind(lanes).bind(seqs).execute(&mut db).await?;
    }
    Ok(())
}
