//! The one transaction that ends a delivery: rows, state, emitted messages and dead letters, fenced by
//! the token of their lane. All of it commits or nothing does.

mod state;

pub use state::{Scope, StateError, StateView};
