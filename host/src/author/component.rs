//! A core module of a toolchain that knows no components becomes one.

use std::collections::BTreeMap;
use std::error::Error;

use wasi_preview1_component_adapter_provider as preview1;
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, UnresolvedPackageGroup, WorldKey};

use super::AuthorError;
use super::embedded::Wit;
use crate::handler;

/// The world that has all that a host can grant; what a module does not import of it is left out.
const WORLD: &str = "mailroom:contract/full-handler";

/// Makes a component of a module for `wasm32-wasip1` that was built against the contract's bindings.
///
/// # Errors
/// Where the module imports or exports what the contract does not have.
pub(super) fn of_module(module: Vec<u8>) -> Result<Vec<u8>, AuthorError> {
    encoded(module).map_err(|error| {
        let mut words = format!("no component can be made of the module: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            words.push_str(&format!(": {error}"));
            cause = error.source();
        }
        AuthorError::Build(words)
    })
}

fn encoded(mut module: Vec<u8>) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let mut resolve = Resolve::default();
    let (contract, dependencies) = contract()?;
    let contract = resolve.push_groups(contract, dependencies)?;
    let world = resolve.select_world(&[contract], Some(WORLD))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module)?;
    encoder.adapter(
        preview1::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
        preview1::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
    )?;
    Ok(encoder.encode()?)
}

/// The contract's package, and those that it depends on.
fn contract() -> Result<(UnresolvedPackageGroup, Vec<UnresolvedPackageGroup>), Box<dyn Error + Send + Sync>> {
    // Each folder is one package.
    let mut packages: BTreeMap<String, SourceMap> = BTreeMap::new();
    for path in Wit::iter() {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let text = Wit::get(&path).map(|file| file.data).unwrap_or_default();
        packages.entry(folder).or_default().push_str(&path, String::from_utf8_lossy(&text));
    }
    let contract = packages.remove("").unwrap_or_default();
    let parsed = |package: SourceMap| package.parse().map_err(|(_, error)| error);
    let dependencies = packages.into_values().map(parsed).collect::<Result<_, _>>()?;
    Ok((parsed(contract)?, dependencies))
}

/// Interfaces that a handler imports, with their versions.
///
/// # Errors
/// Where the bytes are no component, or one that takes no messages.
pub(super) fn imports_of_handler(component: &[u8]) -> Result<Vec<String>, AuthorError> {
    let no_component = |why: String| AuthorError::Build(format!("what was built is no component: {why}"));
    let decoded = wit_component::decode(component).map_err(|error| no_component(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(no_component("it holds interfaces and no code".to_owned()));
    };
    let world = resolve.worlds.get(world);
    let names = |keys: Vec<&WorldKey>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    let exports: Vec<String> = names(world.into_iter().flat_map(|world| world.exports.keys()).collect());
    handler::takes_messages(&exports)
        .map_err(|refused| AuthorError::Build(format!("what was built is no handler: {refused}")))?;
    Ok(names(world.into_iter().flat_map(|world| world.imports.keys()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_the_handler_is_refused_by_what_it_lacks() {
        let refused = of_module(b"\0asm\x01\0\0\0".to_vec()).unwrap_err().to_string();

        assert!(refused.contains("mailroom:contract/handler@0.1.0"), "{refused}");
    }

    #[test]
    fn a_component_that_takes_no_messages_is_no_handler() {
        let refused = imports_of_handler(b"\0asm\x0d\0\x01\0").unwrap_err().to_string();

        assert!(refused.contains("what was built is no handler: it does not export"), "{refused}");
        assert!(refused.contains("(it exports nothing)"), "{refused}");
    }
}
