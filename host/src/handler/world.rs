//! World of a component: whether it fits the contract, and what it says it needs.

use wasmtime::component::Component;

use super::refused::Refused;

/// Interface that a handler exports.
pub(super) const EXPORT: &str = "mailroom:contract/handler@0.1.0";
/// Export of any 0.1 version: within 0.1 versions only add, so each of them does.
const EXPORT_ANY_PATCH: &str = "mailroom:contract/handler@0.1.";
/// The same interface of any version.
const EXPORT_ANY: &str = "mailroom:contract/handler@";
/// The minor version of this contract.
const KNOWN: (u64, u64) = (0, 1);

/// Interface that components for wasmCloud export instead.
const EXPORT_WASMCLOUD: &str = "wasmcloud:messaging/handler@0.2.0";
/// Interface that components for WASI's draft export.
const EXPORT_WASI: &str = "wasi:messaging/incoming-handler@0.2.0-draft";

/// The contract by which a component takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contract {
    Mailroom,
    Wasmcloud,
    Wasi,
}

/// The names of a component's own world.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) contract: Contract,
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<String>,
}

/// Reads the component's world and looks for the handler's interface in it.
pub(super) fn check(component: &Component, engine: &wasmtime::Engine) -> Result<World, Refused> {
    let own = component.component_type();
    let exports: Vec<String> = own.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let imports = own.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let contract = contract(&exports)?;
    Ok(World { contract, exports, imports })
}

/// Looks for the handler's interface among the names of a component's exports.
///
/// # Errors
/// Says what is exported instead.
pub(crate) fn takes_messages(exports: &[String]) -> Result<(), Refused> {
    contract(exports).map(drop)
}

/// The first of these that the component exports.
fn contract(exports: &[String]) -> Result<Contract, Refused> {
    if exports.iter().any(|name| name.starts_with(EXPORT_ANY_PATCH)) {
        return Ok(Contract::Mailroom);
    }
    if let Some(has) = exports.iter().find(|name| is_newer(name)) {
        return Err(Refused::NewerContract { has: has.clone(), knows: EXPORT });
    }
    let has = |export: &str| exports.iter().any(|name| name == export);
    if has(EXPORT_WASMCLOUD) {
        return Ok(Contract::Wasmcloud);
    }
    if has(EXPORT_WASI) {
        return Ok(Contract::Wasi);
    }
    let others = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    Err(Refused::MissingExport(others))
}

/// Tells whether this is the handler's interface in a later version.
fn is_newer(export: &str) -> bool {
    let Some(version) = export.strip_prefix(EXPORT_ANY) else { return false };
    let mut numbers = version.split('.').map_while(|number| number.parse::<u64>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) > KNOWN)
}

impl World {
    /// The linker's error, which has the import's name in its words only.
    pub(super) fn unlinked(&self, error: &wasmtime::Error) -> Refused {
        let why = format!("{error:#}");
        let named = self.imports.iter().find(|name| why.contains(&format!("`{name}`")));
        let name = named.cloned().unwrap_or_else(|| "something".to_owned());
        Refused::UnknownImport { name, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_later_versions_of_the_interface_are_newer() {
        for newer in ["0.2.0", "0.10.0", "1.0.0", "0.2.0-rc.1"] {
            assert!(is_newer(&format!("{EXPORT_ANY}{newer}")), "{newer}");
        }
        for other in
            [EXPORT, "mailroom:contract/handler@0.0.9", "mailroom:contract/handler", "a:b/handler@1.0.0"]
        {
            assert!(!is_newer(other), "{other}");
        }
    }
}
