//! `handler check`: a file is loaded as the host would load it, and what would hold is told. Nothing is
//! handled, and no server is needed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::compile::Wasm;
use super::engine::{Engine, EngineSettings};
use super::folder::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX, read_bounded};
use super::refused::Refused;
use super::subscription::Subscription;
use crate::config::{CallLimits, Config, Form, HandlerName, Manifest};

/// Holds as long as this host links no network, whatever a manifest says.
const GUARANTEE: &str = "effects are exactly once: no outbound network is linked";

/// What a component is and may do.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The stem of the file.
    pub(crate) name: String,
    /// SHA-256 of the file, hex.
    pub(crate) digest: String,
    /// Its size.
    pub(crate) bytes: usize,
    /// The consumer group that it would read with.
    pub(crate) group: String,
    /// Interfaces that it exports.
    pub(crate) exports: Vec<String>,
    /// Interfaces that it imports; importing grants nothing.
    pub(crate) imports: Vec<String>,
    /// What it takes, the manifest's word before its own.
    pub(crate) subscriptions: Vec<Subscription>,
    /// Topics that it may publish to.
    pub(crate) grants_publish: Vec<String>,
    /// Whether it may keep state.
    pub(crate) grants_state: bool,
    /// What one call may use.
    pub(crate) limits: Limits,
    /// What follows for its effects.
    pub(crate) guarantee: &'static str,
}

/// The limits of one call.
#[derive(Debug, Serialize)]
pub(crate) struct Limits {
    /// Wall-clock time, such as `10s`.
    pub(crate) deadline: String,
    /// Units of fuel.
    pub(crate) fuel: u64,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Messages and state writes.
    pub(crate) effects: u32,
    /// Bytes of all of them.
    pub(crate) output_bytes: u64,
    /// Bytes of stdout and stderr that are kept.
    pub(crate) log_bytes: u32,
}

/// Loads the file and its manifest; without one the host's defaults hold, and no grants.
///
/// # Errors
/// What the host would refuse the file for.
pub(crate) async fn check(path: &Path, manifest: Option<&Path>, config: &Config) -> Result<Report, Refused> {
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
    let engine = Engine::new(EngineSettings {
        instances_max: 1,
        memory_max: config.limits.memory_max,
        // A check leaves nothing behind.
        compiled: None,
    })?;
    let component = engine.load(&name, Wasm::new(wasm), Arc::new(manifest)).await?;
    let manifest = component.manifest();
    Ok(Report {
        group: manifest.group.clone().unwrap_or_else(|| name.default_group(&config.namespace)),
        name: name.as_str().to_owned(),
        digest: component.digest().to_string(),
        bytes,
        exports: component.world().map(|world| world.exports.clone()).unwrap_or_default(),
        imports: component.world().map(|world| world.imports.clone()).unwrap_or_default(),
        subscriptions: component.subscriptions().to_vec(),
        grants_publish: manifest.grants.publish.clone(),
        grants_state: manifest.grants.state,
        limits: limits(&manifest.limits),
        guarantee: GUARANTEE,
    })
}

fn limits(limits: &CallLimits) -> Limits {
    Limits {
        deadline: humantime::format_duration(limits.deadline).to_string(),
        fuel: limits.fuel,
        memory: limits.memory,
        effects: limits.effects,
        output_bytes: limits.output_bytes,
        log_bytes: limits.log_bytes,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed =
            |list: &[String], none: &str| if list.is_empty() { none.to_owned() } else { list.join(", ") };
        writeln!(f, "{}: fits this host", self.name)?;
        writeln!(f, "  digest    {}", self.digest)?;
        writeln!(f, "  size      {}", bytesize::ByteSize(self.bytes as u64))?;
        writeln!(f, "  group     {}", self.group)?;
        writeln!(f, "  exports   {}", listed(&self.exports, "nothing"))?;
        writeln!(f, "  imports   {}", listed(&self.imports, "nothing"))?;
        for taken in &self.subscriptions {
            writeln!(
                f,
                "  takes     topics {}; event types {}; sources {}; schema versions {}; payload as {}",
                taken.topics.join(", "),
                listed(&taken.event_types, "any"),
                listed(&taken.sources, "any"),
                listed(&taken.schema_versions, "any"),
                match taken.form {
                    Form::Text => "text",
                    Form::Binary => "binary",
                }
            )?;
        }
        let state = if self.grants_state { "yes" } else { "no" };
        writeln!(f, "  grants    publish {}; state {state}", listed(&self.grants_publish, "nowhere"))?;
        let limits = &self.limits;
        writeln!(
            f,
            "  limits    deadline {}; fuel {}; memory {}; {} effects of {} in all; {} of output kept",
            limits.deadline,
            limits.fuel,
            bytesize::ByteSize(limits.memory),
            limits.effects,
            bytesize::ByteSize(limits.output_bytes),
            bytesize::ByteSize(limits.log_bytes.into()),
        )?;
        write!(f, "  {}", self.guarantee)
    }
}
