//! The build of a project: the language's own tools, then what remains until there is a component.

mod c;
mod go;
mod javascript;
mod python;
mod rust;

use std::fs;
use std::path::PathBuf;

use super::AuthorError;
use super::component;
use super::language::Language;
use super::project::Project;

/// Result of a build.
#[derive(Debug)]
pub(crate) struct Built {
    /// The component.
    pub(crate) file: PathBuf,
    /// Size in bytes.
    pub(crate) bytes: usize,
    /// Interfaces that it imports.
    pub(crate) imports: Vec<String>,
}

/// Builds the project's component and puts it beside its manifest, in the place of the one before.
///
/// # Errors
/// Where a tool is missing, too old, or fails, or what it leaves takes no messages; the component before stays where it is.
pub(crate) fn build(project: &Project) -> Result<Built, AuthorError> {
    let component = match project.language {
        Language::Rust => rust::build(project),
        Language::Typescript | Language::Javascript => javascript::build(project),
        Language::Python => python::build(project),
        Language::Go => component::of_module(go::build(project)?),
        Language::C => component::of_module(c::build(project)?),
    }?;
    let imports = component::imports_of_handler(&component)?;
    let file = project.component();
    let partial = file.with_extension("wasm.partial");
    fs::write(&partial, &component).map_err(AuthorError::file(&partial))?;
    // A host or a watcher sees the old file or the new one, and never a part.
    fs::rename(&partial, &file).map_err(AuthorError::file(&file))?;
    Ok(Built { file, bytes: component.len(), imports })
}
