//! `handler check`: a file is loaded as the host would load it, and what would hold is told. Nothing is
//! handled, and no server is needed. Compiled code is taken from the host's store and kept there.

mod promise;
mod show;
mod standing;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::runtime::Handle;

use super::compile::{CompilePace, Wasm};
use super::component::Component;
use super::engine::{Engine, EngineSettings};
use super::folder::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX, read_bounded};
use super::refused::Refused;
use super::subscription::Subscription;
use crate::config::{CallLimits, Config, HandlerName, Instances, LogLevel, Manifest};
pub(crate) use standing::{Import, Standing};

/// Extent to which calls without a host may reach outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing: a request is denied.
    Nothing,
    /// Hosts that the manifest grants over HTTP.
    Http,
}

/// A component that a host would run.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The stem of the file.
    pub(crate) name: HandlerName,
    /// The consumer group that it would read with.
    pub(crate) group: String,
    /// Size in bytes.
    pub(crate) bytes: usize,
    /// Ready for calls, one at a time.
    pub(crate) component: Component,
}

/// Report of what a component is and may do.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The stem of the file.
    pub(crate) name: String,
    /// SHA-256 of the file, hex.
    pub(crate) digest: String,
    /// Size in bytes.
    pub(crate) bytes: usize,
    /// The consumer group that it would read with.
    pub(crate) group: String,
    /// Interfaces that it exports.
    pub(crate) exports: Vec<String>,
    /// Interfaces that it imports, with what stands behind them; importing grants nothing.
    pub(crate) imports: Vec<Import>,
    /// Subscriptions, the manifest's word before the component's own.
    pub(crate) subscriptions: Vec<Subscription>,
    /// Topics that it may publish to.
    pub(crate) grants_publish: Vec<String>,
    /// True if it may keep state.
    pub(crate) grants_state: bool,
    /// The section whose role its SQL runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grants_sql: Option<String>,
    /// Origins to which it may send HTTP requests.
    pub(crate) grants_http: Vec<String>,
    /// Keys of the host's configuration that it may read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) grants_config: Vec<String>,
    /// The most detailed lines that it may log.
    pub(crate) grants_log: LogLevel,
    /// `new` or `reuse`.
    pub(crate) instances: &'static str,
    /// Calls of an instance.
    pub(crate) instances_calls_max: u32,
    /// Limits of one call.
    pub(crate) limits: CallLimits,
    /// Guarantees for its effects, which follow from its imports and grants.
    pub(crate) guarantee: Vec<String>,
}

/// Loads the file and its manifest; without one the host's defaults hold, and no grants.
///
/// # Errors
/// What the host would refuse the file for.
pub(crate) async fn load(
    path: &Path,
    manifest: Option<&Path>,
    config: &Config,
    reach: Reach,
) -> Result<Checked, Refused> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = HandlerName::parse(&stem)?;
    let wasm = read_bounded(path, COMPONENT_BYTES_MAX)?;
    let manifest = match manifest {
        None => Manifest::default_for(config),
        Some(path) => {
            let text = read_bounded(path, MANIFEST_BYTES_MAX)?;
            Manifest::parse(&String::from_utf8_lossy(&text), config).map_err(Refused::Manifest)?
        }
    };
    let bytes = wasm.len();
    let wasm = Wasm::of_file(path, wasm);
    let http = match reach {
        Reach::Nothing => None,
        Reach::Http => Some(config.http.clone()),
    };
    let settings = EngineSettings::of(&config.host, &config.limits, 1);
    let settings = EngineSettings { http, pace: CompilePace::Foreground, ..settings };
    let engine = Engine::new(settings, Handle::current())?;
    let component = engine.load(&name, wasm, Arc::new(manifest)).await?;
    let group = component.manifest().group.clone();
    let group = group.unwrap_or_else(|| name.default_group(&config.namespace));
    Ok(Checked { name, group, bytes, component })
}

/// Loads the file and tells what it is and may do.
///
/// # Errors
/// As [`load`].
pub(crate) async fn check(path: &Path, manifest: Option<&Path>, config: &Config) -> Result<Report, Refused> {
    let Checked { name, group, bytes, component } = load(path, manifest, config, Reach::Nothing).await?;
    let manifest = component.manifest();
    let imports = component.world().map(|world| world.imports.as_slice()).unwrap_or_default();
    let imports = standing::of(imports, &manifest.grants);
    let (instances, instances_calls_max) = match manifest.instances() {
        Instances::New => ("new", 1),
        Instances::Reuse { calls_max } => ("reuse", calls_max),
    };
    Ok(Report {
        name: name.as_str().to_owned(),
        digest: component.digest().to_string(),
        bytes,
        group,
        exports: component.world().map(|world| world.exports.clone()).unwrap_or_default(),
        guarantee: promise::of(component.world().map(|world| world.contract), &imports, manifest),
        imports,
        subscriptions: component.subscriptions().to_vec(),
        grants_publish: manifest.grants.publish.clone(),
        grants_state: manifest.grants.state,
        grants_http: manifest.grants.http.iter().map(ToString::to_string).collect(),
        grants_sql: manifest.grants.sql.as_deref().map(str::to_owned),
        grants_config: manifest.grants.config.keys().cloned().collect(),
        grants_log: manifest.grants.log,
        instances,
        instances_calls_max,
        limits: manifest.limits.clone(),
    })
}
