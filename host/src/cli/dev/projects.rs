//! The projects of `mailroom dev`: each is built when it starts and as its sources change, and put into the folder of
//! handlers, where the host finds it. What does not build changes nothing there.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use futures_util::future::join_all;
use tokio::task::spawn_blocking;

use crate::author::AuthorError;
use crate::author::build;
use crate::author::project::{Project, Sources};
use crate::cli::failure::Failure;

/// Interval of the looks at the sources; what changes within one is built together.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Recognises the projects.
///
/// # Errors
/// Where a folder is none, or two are of one handler.
pub(super) fn open(folders: &[PathBuf]) -> Result<Vec<Project>, Failure> {
    let projects: Result<Vec<Project>, AuthorError> =
        folders.iter().map(|folder| Project::open(folder)).collect();
    let projects = projects?;
    let mut names = BTreeSet::new();
    match projects.iter().find(|project| !names.insert(project.name.as_str())) {
        None => Ok(projects),
        Some(second) => Err(AuthorError::Refused(format!(
            "{}: another of these folders has a handler of the name {}, too; rename one",
            second.folder.display(),
            second.name
        ))
        .into()),
    }
}

/// Builds the projects for as long as it is polled.
///
/// # Errors
/// Where the folder of handlers cannot be made.
pub(super) fn keep_built(
    projects: Vec<Project>,
    handlers: &Path,
) -> Result<impl Future<Output = Infallible> + use<>, Failure> {
    if !projects.is_empty() {
        fs::create_dir_all(handlers).map_err(|error| Failure::Io("making the folder of handlers", error))?;
    }
    let following = projects.into_iter().map(|project| follow(project, handlers.to_owned()));
    let following = join_all(following.collect::<Vec<_>>());
    Ok(async move {
        following.await;
        // None is left to be followed.
        pending().await
    })
}

/// Follows one project's sources. A build that is under way when they change is followed by another.
async fn follow(mut project: Project, handlers: PathBuf) {
    let (mut built, mut before) = (Sources::default(), project.sources());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = project.sources();
        // Whoever saves several files is waited for.
        if seen == built || seen != before {
            before = seen;
            continue;
        }
        let into = handlers.clone();
        let working = spawn_blocking(move || {
            let ended = put(&project, &into);
            (project, ended)
        });
        // A build that panicked has said so.
        let Ok((back, ended)) = working.await else { return };
        project = back;
        match ended {
            Ok(words) => eprintln!("{}: {words}", project.name),
            Err(error) => eprintln!("{}: {error}\n{0}: what ran before runs on", project.name),
        }
        built = seen;
    }
}

/// Builds a project and puts its manifest and its component into the folder, whole and in this order.
fn put(project: &Project, handlers: &Path) -> Result<String, AuthorError> {
    let began = Instant::now();
    let built = build::build(project)?;
    for file in [project.manifest(), built.file] {
        let Some(name) = file.file_name() else { continue };
        let to = handlers.join(name);
        let partial = to.with_extension("partial");
        fs::copy(&file, &partial).and_then(|_| fs::rename(&partial, &to)).map_err(AuthorError::file(&to))?;
    }
    let size = ByteSize(u64::try_from(built.bytes).unwrap_or(u64::MAX));
    Ok(format!("{size}, built in {:.1} s and put into {}", began.elapsed().as_secs_f64(), handlers.display()))
}
