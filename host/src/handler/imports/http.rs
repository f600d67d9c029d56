//! `wasi:http`: the interfaces that a client needs, with a bound on what a guest may leave with the host.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::add_only_http_to_linker_async;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest, Method};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest as Request;

use crate::handler::guest::Guest;

/// The version that is linked; components of other versions of 0.2 find it, too.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Bytes of a method, an authority and a path. They lie in the host's memory, in as many requests as a guest may
/// have resources, and the interface sets no bound to some of them.
const TEXT_BYTES_MAX: usize = 8 << 10;

type Set = wasmtime::Result<(Result<(), ()>,)>;

/// Links `wasi:http/types` and `wasi:http/outgoing-handler`.
pub(in crate::handler) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[method]outgoing-request.set-method", set_method)?;
    types.func_wrap("[method]outgoing-request.set-authority", set_authority)?;
    types.func_wrap("[method]outgoing-request.set-path-with-query", set_path)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn set_method(mut store: StoreContextMut<'_, Guest>, (request, method): (Resource<Request>, Method)) -> Set {
    if matches!(&method, Method::Other(name) if name.len() > TEXT_BYTES_MAX) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_method(request, method)?,))
}

fn set_authority(
    store: StoreContextMut<'_, Guest>,
    (request, text): (Resource<Request>, Option<String>),
) -> Set {
    bounded(store, text, |guest, text| guest.http().set_authority(request, text))
}

fn set_path(store: StoreContextMut<'_, Guest>, (request, text): (Resource<Request>, Option<String>)) -> Set {
    bounded(store, text, |guest, text| guest.http().set_path_with_query(request, text))
}

fn bounded(
    mut store: StoreContextMut<'_, Guest>,
    text: Option<String>,
    set: impl FnOnce(&mut Guest, Option<String>) -> wasmtime::Result<Result<(), ()>>,
) -> Set {
    if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        return Ok((Err(()),));
    }
    Ok((set(store.data_mut(), text)?,))
}
