//! Calls to the host, in one place: by the component's imports on wasm32; elsewhere a
//! [`TestHost`](crate::testing::TestHost) answers them.

#[cfg(target_arch = "wasm32")]
mod imports;

#[cfg(target_arch = "wasm32")]
pub(crate) use imports::*;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::answers::*;
