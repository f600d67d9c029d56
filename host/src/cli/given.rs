//! Content that an option gives: itself, a file, or standard input.

use std::io::Read as _;

use super::failure::Failure;

/// Reads what `option` was given: text, `@FILE`, or `-` for standard input.
///
/// # Errors
/// Names the option and what cannot be read.
pub(super) fn read(option: &str, given: &str) -> Result<Vec<u8>, Failure> {
    let bytes = if given == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else if let Some(path) = given.strip_prefix('@') {
        std::fs::read(path)
    } else {
        Ok(given.as_bytes().to_vec())
    };
    bytes.map_err(|error| Failure::Usage(format!("{option} {given}: {error}")))
}
