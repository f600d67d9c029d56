//! Whether a component fits the contract, and what it says it needs.

use wasmtime::component::Component;

use super::refused::Refused;

/// What a handler exports.
pub(super) const EXPORT: &str = "mailroom:contract/handler@0.1.0";
/// Within 0.1 versions only add, so each of them does.
const EXPORT_ANY_PATCH: &str = "mailroom:contract/handler@0.1.";

/// The names of a component's own world.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<String>,
}

/// Reads the component's world and looks for the handler's interface in it.
pub(super) fn check(component: &Component, engine: &wasmtime::Engine) -> Result<World, Refused> {
    let own = component.component_type();
    let world = World {
        exports: own.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        imports: own.imports(engine).map(|(name, _)| name.to_owned()).collect(),
    };
    if world.exports.iter().any(|name| name.starts_with(EXPORT_ANY_PATCH)) {
        return Ok(world);
    }
    let others = if world.exports.is_empty() { "nothing".to_owned() } else { world.exports.join(", ") };
    Err(Refused::MissingExport(others))
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
