//! Access to a consumer group, denied and allowed again, in Kafka's own protocol: the client library has no
//! requests for it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const GROUP: i8 = 3;
const LITERAL: i8 = 3;
const ALL_OPERATIONS: i8 = 2;
const DENY: i8 = 2;
/// Everybody on a listener without logins.
const PRINCIPAL: &str = "User:ANONYMOUS";

/// Denies everything on the group to everybody, or takes that back.
pub(super) fn deny_group(brokers: &str, group: &str, deny: bool) -> Result<()> {
    let mut body = 1_i32.to_be_bytes().to_vec();
    body.extend(GROUP.to_be_bytes());
    text(&mut body, group)?;
    body.extend(LITERAL.to_be_bytes());
    text(&mut body, PRINCIPAL)?;
    text(&mut body, "*")?;
    body.extend(ALL_OPERATIONS.to_be_bytes());
    body.extend(DENY.to_be_bytes());
    let answer = request(brokers, if deny { CREATE_ACLS } else { DELETE_ACLS }, &body)?;
    // After correlation id, throttle time and the count of results: the first one's error.
    let error = answer.get(12..14).unwrap_or(&[255, 255]);
    ensure!(error == [0, 0], "Kafka does not change the access to group {group}: error {error:?}");
    Ok(())
}

/// Sends a request of version 1 and gives its answer without the length.
fn request(brokers: &str, key: i16, body: &[u8]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(1_i16.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    text(&mut request, "mailroom-tests")?;
    request.extend(body);
    let mut connection = TcpStream::connect(brokers)?;
    connection.set_read_timeout(Some(Duration::from_secs(20)))?;
    connection.write_all(&i32::try_from(request.len())?.to_be_bytes())?;
    connection.write_all(&request)?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    connection.read_exact(&mut answer)?;
    Ok(answer)
}

fn text(into: &mut Vec<u8>, text: &str) -> Result<()> {
    into.extend(i16::try_from(text.len())?.to_be_bytes());
    into.extend(text.as_bytes());
    Ok(())
}
