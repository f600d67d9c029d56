//! Batches in Kafka's log that cannot be read: the gap policy holds for them, and the other partitions go on.

use anyhow::{Result, ensure};
use mailroom_tests::{LATER, Manifest, Setup, World, becomes, in_world};

use crate::arrange::Scripted;

const SKIP: [(&str, &str); 1] = [("MAILROOM__INGEST__GAP", "skip")];

/// Places of the fields of a batch.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
/// Start of the bytes that the checksum covers.
const COVERED: usize = 21;
const HEADER: usize = 61;

/// Returns where each batch begins.
fn batches(log: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while let Some(length) = log.get(at + LENGTH..).and_then(<[u8]>::first_chunk) {
        starts.push(at);
        at += 12 + usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    }
    starts
}

/// The batch at this place of the log, with what follows it.
fn batch(log: &mut [u8], place: usize) -> Option<&mut [u8]> {
    let start = *batches(log).get(place)?;
    log.get_mut(start..)
}

fn flip_a_bit(log: &mut [u8]) -> Option<()> {
    *batch(log, 2)?.get_mut(HEADER)? ^= 0x10;
    Some(())
}

fn flip_a_bit_of_the_last_batch(log: &mut [u8]) -> Option<()> {
    let last = batches(log).len().checked_sub(1)?;
    *batch(log, last)?.get_mut(HEADER)? ^= 0x01;
    Some(())
}

fn flip_bits_of_two_batches_in_a_row(log: &mut [u8]) -> Option<()> {
    *batch(log, 2)?.get_mut(HEADER)? ^= 0x10;
    *batch(log, 3)?.get_mut(HEADER)? ^= 0x10;
    Some(())
}

fn name_a_format_that_nobody_knows(log: &mut [u8]) -> Option<()> {
    *batch(log, 2)?.get_mut(MAGIC)? = 9;
    Some(())
}

/// The length of the batch's first record, with which its fields do not agree.
fn damage_a_length(log: &mut [u8]) -> Option<()> {
    *batch(log, 2)?.get_mut(HEADER)? ^= 0x55;
    Some(())
}

/// The checksum is right: whoever wrote this meant it.
fn name_a_compression_that_nobody_knows(log: &mut [u8]) -> Option<()> {
    let batch = batch(log, 2)?;
    let length = u32::from_be_bytes(*batch.get(LENGTH..)?.first_chunk()?);
    *batch.get_mut(ATTRIBUTES + 1)? = 7;
    let crc = crc32c(batch.get(COVERED..12 + usize::try_from(length).ok()?)?);
    batch.get_mut(CRC..CRC + 4)?.copy_from_slice(&crc.to_be_bytes());
    Some(())
}

fn crc32c(bytes: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, byte)
}

/// Messages of one partition, and of others.
struct Sent {
    scripted: Scripted,
    in_first: i64,
    elsewhere: i64,
}

/// Sends messages, each a batch of its own, to a topic of two partitions, and damages the first one's log.
async fn damaged(world: &World, compression: &str, edit: fn(&mut [u8]) -> Option<()>) -> Result<Sent> {
    let input = world.kafka.topic_with("in", 2, &[("compression.type", compression)]).await?;
    let output = world.kafka.topic("out", 2).await?;
    let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
    world.drop_handler("scripted", "scripted", &manifest)?;
    let scripted = Scripted { input, output };
    let (mut in_first, mut elsewhere) = (0, 0);
    for value in 0..40 {
        let (partition, _) = world.kafka.send(&scripted.emits(&format!("k{value}"), value)).await?;
        if partition == 0 { in_first += 1 } else { elsewhere += 1 }
    }
    ensure!(in_first > 5 && elsewhere > 5, "{in_first} in the first partition, {elsewhere} elsewhere");
    world.edit_log(&scripted.input, 0, edit).await?;
    Ok(Sent { scripted, in_first, elsewhere })
}

/// Stops before the damage `from..=to` and names it; then skips it, and handles all else.
async fn is_named_and_skipped(world: &World, sent: &Sent, (from, to): (i64, i64)) -> Result<()> {
    let input = &sent.scripted.input;
    let told = format!("Partition 0 of topic {input} is stopped: offsets {from} to {to} cannot be read");
    let host = world.start_host("a")?;
    let before = from + sent.elsewhere;
    becomes("all before the damage, and elsewhere", before, LATER, async || world.db.completed().await)
        .await?;
    host.wait_log(&told).await?;
    let status = world.mailroom(&["status"]).await?.ok()?;
    let warning = format!("stopped reading {input}/0 at offset {from} since");
    ensure!(status.contains(&warning) && status.contains("cannot be read"), "{status}");
    ensure!(!host.log()?.contains("Kafka at"), "damage is no outage");
    assert_eq!(world.db.completed().await?, before, "nothing is handled behind the damage");
    host.stop().await?;

    let host = world.start_host_with("b", &SKIP)?;
    host.wait_log(&format!("offsets {from} to {to} cannot be read")).await?;
    host.wait_log(&format!("Going on at offset {}", to + 1)).await?;
    let all = sent.in_first + sent.elsewhere - (to - from + 1);
    becomes("all else", all, LATER, async || world.db.completed().await).await?;
    let status = world.mailroom(&["status"]).await?.ok()?;
    ensure!(!status.contains("stopped reading"), "{status}");
    host.stop().await?;
    Ok(())
}

fn with_own_kafka(act: impl AsyncFnOnce(&World) -> Result<()>) {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| act(world).await);
}

#[test]
fn a_flipped_bit_stops_its_partition_by_name_until_it_is_skipped() {
    with_own_kafka(async |world| {
        let sent = damaged(world, "gzip", flip_a_bit).await?;
        is_named_and_skipped(world, &sent, (2, 2)).await
    });
}

#[test]
fn damage_in_the_last_batch_is_skipped_to_the_end() {
    with_own_kafka(async |world| {
        let sent = damaged(world, "gzip", flip_a_bit_of_the_last_batch).await?;
        let last = sent.in_first - 1;
        is_named_and_skipped(world, &sent, (last, last)).await
    });
}

#[test]
fn two_damaged_batches_in_a_row_are_named_one_by_one_and_skipped_and_no_more() {
    with_own_kafka(async |world| {
        let sent = damaged(world, "gzip", flip_bits_of_two_batches_in_a_row).await?;
        let input = &sent.scripted.input;
        let host = world.start_host("a")?;
        host.wait_log(&format!("Partition 0 of topic {input} is stopped: offsets 2 to 2 cannot be read"))
            .await?;
        host.stop().await?;

        let host = world.start_host_with("b", &SKIP)?;
        host.wait_log("offsets 3 to 3 cannot be read").await?;
        host.wait_log("Going on at offset 4").await?;
        let all = sent.in_first + sent.elsewhere - 2;
        becomes("all else", all, LATER, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_unknown_format_stops_its_partition_by_name_until_it_is_skipped() {
    with_own_kafka(async |world| {
        let sent = damaged(world, "producer", name_a_format_that_nobody_knows).await?;
        is_named_and_skipped(world, &sent, (2, 2)).await
    });
}

#[test]
fn an_unknown_compression_stops_its_partition_by_name_until_it_is_skipped() {
    with_own_kafka(async |world| {
        let sent = damaged(world, "producer", name_a_compression_that_nobody_knows).await?;
        is_named_and_skipped(world, &sent, (2, 2)).await
    });
}

#[test]
fn a_damaged_length_of_which_kafkas_client_says_nothing_stops_its_partition_by_name_until_it_is_skipped() {
    with_own_kafka(async |world| {
        let sent = damaged(world, "producer", damage_a_length).await?;
        is_named_and_skipped(world, &sent, (2, 2)).await?;
        for name in ["a", "b"] {
            let log = std::fs::read_to_string(world.folder().join(format!("{name}.log")))?;
            ensure!(
                !log.contains("Client stats"),
                "what the client counts for us is none of the log's: {log}"
            );
        }
        Ok(())
    });
}
