//! Loopback ports. They are taken below the range that the system gives to outgoing connections: a
//! client that calls a stopped server from that range can be connected to itself, and the server could
//! then not come back on its port.

use crate::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that nobody listens on now.
pub(crate) fn free() -> Result<u16, Error> {
    let start = RandomState::new().build_hasher().finish() % u64::from(COUNT);
    let start = u16::try_from(start).unwrap_or(0);
    (0..COUNT).map(|step| FIRST + (start + step) % COUNT).find(|port| is_free(*port)).ok_or_else(|| {
        crate::error::io("listen on", Path::new("127.0.0.1"))(io::Error::from(io::ErrorKind::AddrInUse))
    })
}

/// Tells whether a server could listen on this port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_free() {
        let port = free().unwrap();
        assert!((FIRST..FIRST + COUNT).contains(&port));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        drop(listener);
        assert!(is_free(port));
    }
}
