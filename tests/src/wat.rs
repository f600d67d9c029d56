//! Guests written by hand, for what no compiler makes: instructions at the start, a table that grows, a reply
//! that is none.

use std::fs;

use anyhow::{Context as _, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, UnresolvedPackageGroup};

use crate::paths;

/// The version of the contract that this host knows.
const CONTRACT: &str = "0.1.0";

/// A handler's parts in WebAssembly text. What is not said does nothing, and every message is completed.
#[derive(Debug, Clone)]
pub struct Core<'t> {
    /// Imports, tables, globals and functions.
    pub declares: &'t str,
    /// 64 KiB each.
    pub memory_pages: u32,
    /// Body of `subscriptions()`; it leaves the address of a list's address and length.
    pub subscriptions: &'t str,
    /// Body of `handle()`; it leaves the address of the reply.
    pub handle: &'t str,
    /// The version of the contract that it is built for.
    pub contract: &'t str,
}

impl Default for Core<'_> {
    fn default() -> Self {
        Self { declares: "", memory_pages: 1, subscriptions: NOTHING, handle: NOTHING, contract: CONTRACT }
    }
}

/// The address of zeroes: an empty list, and the reply `completed`.
pub const NOTHING: &str = "i32.const 16";

impl Core<'_> {
    /// The component of it, as the host would be given it.
    ///
    /// # Errors
    /// Where the text is wrong or does not fit the contract.
    pub fn component(&self) -> Result<Vec<u8>> {
        let text = self.text();
        let mut module = wat::parse_str(&text).with_context(|| format!("in {text}"))?;
        let wit = paths::root().join("wit");
        let text = fs::read_to_string(wit.join("mailroom.wit"))?;
        let version = |version: &str| format!("package mailroom:contract@{version};");
        let mut contract = SourceMap::default();
        contract.push_str("mailroom.wit", text.replace(&version(CONTRACT), &version(self.contract)));
        let contract = contract.parse().map_err(|(_, error)| error)?;
        let mut dependencies = Vec::new();
        for folder in fs::read_dir(wit.join("deps"))? {
            dependencies.push(UnresolvedPackageGroup::parse_dir(folder?.path())?);
        }
        let mut resolve = Resolve::default();
        let package = resolve.push_groups(contract, dependencies)?;
        let world = resolve.select_world(&[package], Some("inbox-handler"))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().module(&module)?.encode()
    }

    fn text(&self) -> String {
        let Self { declares, memory_pages, subscriptions, handle, contract } = self;
        format!(
            r#"(module
              {declares}
              (memory (export "memory") {memory_pages})
              ;; Below it lies what the guest itself uses.
              (global $free (mut i32) (i32.const 4096))
              (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                  (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
                  (i32.sub (i32.const 0) (local.get $align))))
                (global.set $free (i32.add (local.get $at) (local.get $size)))
                (local.get $at))
              (func (export "mailroom:contract/handler@{contract}#subscriptions") (result i32) {subscriptions})
              (func (export "mailroom:contract/handler@{contract}#handle") (param i32) (result i32) {handle}))"#
        )
    }
}
