//! Arguments of the product's statements, as SQL literals in the order of their parameters.

#![expect(clippy::indexing_slicing, reason = "a query that gives no row fails the test")]

use anyhow::Result;
use mailroom_tests::World;

/// Number of rows that a statement is given.
const ROWS: usize = 500;

/// Each statement that works on many rows, by a sign in its text, with arguments for rows that are there.
pub(crate) async fn for_five_hundred_rows(world: &World) -> Result<Vec<(&'static str, Vec<String>)>> {
    let (inbox, outbox) = (pending(world, "inbox").await?, pending(world, "outbox").await?);
    Ok(vec![
        ("-- Ends deliveries", settled(&inbox)),
        ("and not held and seq > $3", lane_read(0)),
        ("-- The next rows of all lanes", outbox_look(0, "{}", "{}")),
        ("-- The first rows of one topic", outbox_aside()),
        ("-- Rows that wait are held", vec![inbox[0].clone(), inbox[1].clone(), same("true", ROWS)]),
        ("-- The first held rows", held_of_a_key()),
        ("-- Rows that wait no longer", due()),
        (
            "published_offset = s.at",
            vec![
                outbox[0].clone(),
                outbox[1].clone(),
                same("0", ROWS),
                same("1", ROWS),
                ids(world, &outbox).await?,
            ],
        ),
        ("delete from mailroom.inbox i using due", stretch()),
        ("delete from mailroom.outbox i using due", stretch()),
        ("and i.seq = letter.seq and i.status = 'failed'", vec![letters(world, "inbox").await?]),
        ("o.id = letter.message and o.status = 'failed'", vec![letters(world, "outbox").await?]),
    ])
}

/// The next rows of the first inbox lane above `mark`, under its first token.
pub(crate) fn lane_read(mark: i64) -> Vec<String> {
    vec!["64".to_owned(), "0".to_owned(), mark.to_string(), ROWS.to_string()]
}

/// The next rows of all outbox lanes above the horizon, or above the floors of those stragglers that ended.
pub(crate) fn outbox_look(horizon: i64, stragglers: &str, floors: &str) -> Vec<String> {
    let text = |value: &str| format!("'{value}'");
    vec![
        list((0..64).map(|lane| lane.to_string())),
        same(&horizon.to_string(), 64),
        same("125", 64),
        text("{}"),
        ROWS.to_string(),
        text(stragglers),
        text(floors),
        "false".to_owned(),
        i64::MAX.to_string(),
        "65".to_owned(),
        "true".to_owned(),
    ]
}

/// The first rows of the one topic.
fn outbox_aside() -> Vec<String> {
    vec![list((0..64).map(|lane| lane.to_string())), same("125", 64), "'t'".to_owned(), ROWS.to_string()]
}

/// The first held rows of a key of the first inbox lane.
fn held_of_a_key() -> Vec<String> {
    ["64", "0", "'{7}'", "'{-1}'", "9223372036854775807"]
        .into_iter()
        .map(str::to_owned)
        .chain([ROWS.to_string()])
        .collect()
}

/// The first rows of the first inbox lane that wait no longer.
fn due() -> Vec<String> {
    ["64", "0", "null", "0", "'infinity'"].into_iter().map(str::to_owned).chain([ROWS.to_string()]).collect()
}

/// The first blocks, of which 500 rows are old enough.
fn stretch() -> Vec<String> {
    vec!["0".to_owned(), "128".to_owned(), "0".to_owned(), ROWS.to_string()]
}

/// Returns arguments of messages that completed at their first delivery.
fn settled([lanes, seqs]: &[String; 2]) -> Vec<String> {
    let nothing = || same("null", ROWS);
    let mut arguments = vec![lanes.clone(), seqs.clone(), same("0", ROWS)];
    arguments.extend([same("completed", ROWS), same("completed", ROWS), nothing(), nothing()]);
    arguments.extend([same("0", ROWS), nothing(), nothing(), nothing(), same("false", ROWS)]);
    arguments
}

/// Lanes and `seq` of pending rows from all over the table.
async fn pending(world: &World, table: &str) -> Result<[String; 2]> {
    let query = format!(
        "select array_agg(lane)::text, array_agg(seq)::text
           from (select lane, seq from mailroom.{table} where status = 'pending' and not held order by random() limit {ROWS}) r"
    );
    let rows: Vec<(String, String)> = world.db.rows(sqlx::AssertSqlSafe(query)).await?;
    let (lanes, seqs) = &rows[0];
    Ok([format!("'{lanes}'"), format!("'{seqs}'")])
}

/// The ids of these rows of the outbox.
async fn ids(world: &World, [lanes, seqs]: &[String; 2]) -> Result<String> {
    let query = format!(
        "select array_agg(o.id order by w.place)::text
           from unnest({lanes}::integer[], {seqs}::bigint[]) with ordinality w(lane, seq, place)
           join mailroom.outbox o on o.lane = w.lane and o.seq = w.seq and o.status = 'pending' and not o.held"
    );
    Ok(format!("'{}'", world.db.one::<String>(sqlx::AssertSqlSafe(query)).await?))
}

/// Ids of dead letters.
async fn letters(world: &World, origin: &str) -> Result<String> {
    let query = format!(
        "select array_agg(id)::text
           from (select id from mailroom.dead_letter where origin = '{origin}' order by random() limit {ROWS}) l"
    );
    Ok(format!("'{}'", world.db.one::<String>(sqlx::AssertSqlSafe(query)).await?))
}

fn same(value: &str, times: usize) -> String {
    list(std::iter::repeat_n(value.to_owned(), times))
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("'{{{}}}'", values.collect::<Vec<_>>().join(","))
}
