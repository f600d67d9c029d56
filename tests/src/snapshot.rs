//! Snapshots: what the product makes or says, kept as files, so that a change of it shows in review.
//! `UPDATE_SNAPSHOTS=1` writes them anew.

use std::path::Path;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

/// Compares `now` with the file, after writing it where snapshots are updated.
///
/// # Errors
/// Names the first line that is another one, and how to take it over.
pub fn unchanged(file: &Path, now: &str) -> Result<()> {
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let folder = file.parent().context("a snapshot lies in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(file, now)?;
    }
    let then = fs::read_to_string(file).unwrap_or_default();
    if now == then {
        return Ok(());
    }
    let lines = now.lines().count().max(then.lines().count());
    let at = (0..lines)
        .map(|line| (now.lines().nth(line), then.lines().nth(line)))
        .find(|(now, then)| now != then);
    bail!(
        "this is another than in {}, first (now, then): {at:?}; if that is meant, run this test with \
         UPDATE_SNAPSHOTS=1 and commit the file",
        file.display()
    )
}

/// `text` without what differs from build to build and from call to call: digests, sizes, addresses, and
/// what a call cost.
#[must_use]
pub fn masked(text: &str) -> String {
    text.lines().map(|line| masked_line(line) + "\n").collect()
}

fn masked_line(line: &str) -> String {
    const LABELS: [&str; 10] = [
        "  size      ",
        "  used      ",
        "\"bytes\": ",
        "\"fuel_used\": ",
        "\"memory_peak\": ",
        "\"took_us\": ",
        "\"fastest_us\": ",
        "\"median_us\": ",
        "\"p99_us\": ",
        "\"slowest_us\": ",
    ];
    for label in LABELS {
        if let Some((before, rest)) = line.split_once(label) {
            let comma = if rest.ends_with(',') { "," } else { "" };
            return format!("{before}{label}<masked>{comma}");
        }
    }
    if let Some((outcomes, _)) =
        line.strip_prefix("  calls     ").and_then(|calls| calls.split_once("; median"))
    {
        return format!("  calls     {outcomes}; <masked>");
    }
    without_hex(line)
}

/// Hexadecimal addresses (`0x…`) and digests of 64 digits.
fn without_hex(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let address = from.strip_prefix("0x").map(|digits| 2 + run(digits));
        let length = address.unwrap_or_else(|| run(from));
        let (digits, after) = from.split_at(length);
        kept.push_str(if address.is_some() || length == 64 { "<masked>" } else { digits });
        rest = after;
    }
    kept + rest
}

fn run(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_varies_is_masked() {
        for (line, expected) in [
            ("  size      133.4 KiB", "  size      <masked>"),
            ("  \"fuel_used\": 12,", "  \"fuel_used\": <masked>,"),
            (
                "  limits    fuel 20000000000; memory 64.0 MiB",
                "  limits    fuel 20000000000; memory 64.0 MiB",
            ),
            ("unexpected end (at offset 0x3a)", "unexpected end (at offset <masked>)"),
            ("  calls     2 completed; median 3 µs", "  calls     2 completed; <masked>"),
            ("  takes     topics faded; x", "  takes     topics faded; x"),
        ] {
            assert_eq!(masked(line), format!("{expected}\n"));
        }
        assert_eq!(masked(&format!("  digest    {}", "0a".repeat(32))), "  digest    <masked>\n");
    }
}
