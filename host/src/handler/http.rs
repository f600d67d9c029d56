//! HTTP for guests: the client behind `wasi:http/outgoing-handler`.
//!
//! What a call may ask for is decided in `effects`; here a request that was granted is sent. Whatever its name says,
//! only an address that may be reached is connected to, and the name is not looked up twice between the two. There
//! are no redirects, no proxies and no cookies: a response is the guest's to read.

mod address;
mod answer;
mod client;
mod connect;
mod error;

pub(super) use client::{Client, Clients, Patience};
pub(super) use error::Failed;
