//! The summary: what was written, what became of it, how long it took, and what the check found. It only
//! counts; whether something is right is the check's to say.

use anyhow::Result;
use sqlx::postgres::PgPool;

use crate::check::{Breach, Kind, suffered};
use crate::evidence::Evidence;
use crate::tell::{Colour, Tell, plain};

/// Breaches that are printed; a broken host may have thousands.
const BREACHES_MAX: usize = 20;

/// Spans between two timestamps that Postgres wrote.
const LATENCIES: &str = "
    with spans as (
        select 1 as place, 'relay' as name, 'order written -> acknowledged by Kafka' as what,
               completed_at - created_at as span
          from mailroom.outbox where topic = 'orders'
        union all
        select 2, 'handler', 'order written -> settled with its invoice', i.completed_at - b.created_at
          from mailroom.inbox i join orders o on o.message::text = i.message_id
          join mailroom.outbox b on b.id = o.message
        union all
        select 3, 'to invoice', 'order written -> its invoice acknowledged by Kafka', m.completed_at - b.created_at
          from orders o join mailroom.outbox b on b.id = o.message
          join mailroom.outbox_messages m on m.topic = 'invoices' and m.payload_json->>'order_id' = o.order_id
        union all
        select 4, 'to parcel', 'order written -> its parcel acknowledged by Kafka, waits for retries included',
               m.completed_at - b.created_at
          from orders o join mailroom.outbox b on b.id = o.message
          join mailroom.outbox_messages m on m.topic = 'parcels' and m.payload_json->>'order_id' = o.order_id
    ), millis as (select place, name, what, (extract(epoch from span) * 1000)::float8 as ms from spans)
    select name, format('p50 %s ms, p99 %s ms: %s', round(percentile_disc(0.5) within group (order by ms)),
                        round(percentile_disc(0.99) within group (order by ms)), what)
      from millis where ms is not null group by place, name, what order by place";

/// The counts, and how many suffered a breach of each kind. `withdrawn` orders were rolled back.
pub(crate) fn print_counts(evidence: &Evidence, withdrawn: usize, breaches: &[Breach], tell: &Tell) {
    plain("");
    plain(&tell.in_colour(Colour::Bold, "Summary, from the database and the topics"));
    row("orders", &format!("{} committed, {withdrawn} rolled back on purpose", evidence.orders.len()));
    let on = |topic| evidence.on(topic).count();
    let (orders, invoices, parcels) = (on("orders"), on("invoices"), on("parcels"));
    row("on Kafka", &format!("{orders} order.placed, {invoices} invoice.issued, {parcels} parcel.sent"));
    let of = |edition| evidence.on("invoices").filter(|record| record.edition == Some(edition)).count();
    row("invoices", &format!("{} by the first edition, {} by the second", of(1), of(2)));
    let retried =
        evidence.inbox.iter().filter(|row| row.status == "completed" && row.attempts_made > 0).count();
    row("retried", &format!("{retried} parcels, sent on a later attempt"));
    let died = |reason: &str| evidence.letters.iter().filter(|letter| letter.reason == reason).count();
    row("dead letters", &format!("{} rejected, {} exhausted", died("rejected"), died("exhausted")));
    for kind in [Kind::Lost, Kind::Repeated, Kind::Disordered, Kind::Wrong] {
        row(kind.word(), &suffered(breaches, kind).to_string());
    }
}

/// Prints how long the steps took.
pub(crate) async fn print_latencies(pool: &PgPool) -> Result<()> {
    let latencies: Vec<(String, String)> = sqlx::query_as(LATENCIES).fetch_all(pool).await?;
    for (name, spans) in latencies {
        row(&name, &spans);
    }
    Ok(())
}

/// Prints whether the check holds, and what it found.
pub(crate) fn print_verdict(breaches: &[Breach], tell: &Tell) {
    plain("");
    for breach in breaches.iter().take(BREACHES_MAX) {
        plain(&tell.in_colour(Colour::Red, &breach.to_string()));
    }
    if breaches.len() > BREACHES_MAX {
        plain(&format!("and {} more", breaches.len() - BREACHES_MAX));
    }
    let (colour, text) = if breaches.is_empty() {
        (Colour::Green, "The check holds: every order went the whole way once and in order.".to_owned())
    } else {
        (Colour::Red, format!("The check FAILED: {} breaches.", breaches.len()))
    };
    plain(&tell.in_colour(colour, &text));
    plain("");
}

fn row(name: &str, value: &str) {
    plain(&format!("  {name:<13} {value}"));
}
