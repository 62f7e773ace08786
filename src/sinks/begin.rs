//! How a sink begins: opens its file, follows the journal on a thread of its own, and begins anew
//! when its file is none that can be used.
//!
//! A sink's file is made of the journal and may never keep the centre down. One that is damaged, of
//! another version, or of another journal (an older backup was restored beside it) is set aside
//! under another name, `<file>.aside-<n>`; the sink begins with an empty one and follows the journal
//! from where its messages begin. The same happens when the damage shows while the centre runs. It
//! is an error in the log, a counter, and the alarm `centre.sink_behind` ([`crate::retention`]).
//!
//! Never set aside: a file that cannot be reached, or for which there is no room; a person or time
//! mends that, and nothing is lost by waiting.
//!
//! Limits: [`ASIDE_KEPT`] files of each sink; more go, the oldest first.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::ErrorCode;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::SinksError;
use super::follow::{Follower, Pauses, Progress, Sink};
use crate::journal::{Reader, file_of, is_full};

/// Files set aside that are kept of each sink.
const ASIDE_KEPT: usize = 3;

/// How a sink comes by its file.
pub(super) trait Store: Send + 'static {
    /// What follows the journal.
    type Sink: Sink;

    /// The sink's name.
    const NAME: &'static str;

    /// Its file in the data folder.
    const FILE: &'static str;

    /// Opens the file, or makes an empty one.
    fn open(&self) -> Result<Self::Sink, SinksError>;

    /// Lets go of the file, which is about to be set aside.
    fn close(&self) {}
}

/// What every sink is begun with.
#[derive(Clone)]
pub(super) struct Begin {
    pub(super) folder: PathBuf,
    pub(super) committed: watch::Receiver<u64>,
    pub(super) stop: CancellationToken,
}

impl Begin {
    /// Opens the sink and lets it follow; returns once it does.
    pub(super) fn follow<S: Store>(
        self,
        store: S,
    ) -> Result<(Arc<Progress>, JoinHandle<()>), SinksError> {
        let name = S::NAME;
        let failed = move |source| SinksError::Thread { name, source };
        let (begun, begins) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || self.run(&store, &begun))
            .map_err(failed)?;
        let ended = || SinksError::Resume {
            name,
            why: "its thread has ended".to_owned(),
        };
        let progress = begins.recv().map_err(|_| ended())??;
        Ok((progress, thread))
    }

    /// The thread: follows until the centre stops, with a new file when the old one is damaged.
    fn run<S: Store>(mut self, store: &S, begun: &SyncSender<Result<Arc<Progress>, SinksError>>) {
        let progress = Arc::new(Progress::default());
        let _ended = progress.ends();
        while !self.stop.is_cancelled() {
            // A runtime must not be dropped where others wait, so it lives and dies in here.
            let follower = runtime(S::NAME)
                .and_then(|runtime| self.follower(store, Arc::clone(&progress), runtime));
            let follower = match follower {
                Ok(follower) => follower,
                Err(error) => {
                    tracing::error!(sink = S::NAME, %error, "the sink does not follow");
                    // Whoever started it waits for this, if it is the first time.
                    drop(begun.try_send(Err(error)));
                    return;
                }
            };
            drop(begun.try_send(Ok(Arc::clone(&progress))));
            if !follower.run(&mut self.committed) {
                return;
            }
            store.close();
            if let Err(error) = self.set_aside::<S>(&progress, "its file is damaged") {
                tracing::error!(sink = S::NAME, %error, "the sink does not follow");
                return;
            }
        }
    }

    fn follower<S: Store>(
        &self,
        store: &S,
        progress: Arc<Progress>,
        runtime: Runtime,
    ) -> Result<Follower<S::Sink>, SinksError> {
        let reader = Reader::open(&file_of(&self.folder))?;
        let latest = reader.latest()?;
        let found = store.open().and_then(|sink| {
            sink.state()
                .map_err(|error| SinksError::resume(S::NAME, error))?;
            Ok(sink)
        });
        let sink = match found {
            Ok(sink) if sink.cursor() <= latest => sink,
            Err(error) if !error.is_unusable() => return Err(error),
            unusable => {
                let why = match unusable {
                    Err(error) => error.to_string(),
                    Ok(sink) => {
                        let cursor = sink.cursor();
                        format!(
                            "it follows the journal up to entry {cursor}, which ends at {latest}"
                        )
                    }
                };
                store.close();
                self.set_aside::<S>(&progress, &why)?;
                store.open()?
            }
        };
        let (pauses, stop) = (Pauses::default(), self.stop.clone());
        Follower::new(S::NAME, sink, reader, progress, pauses, stop, runtime)
            .map_err(|error| SinksError::resume(S::NAME, error))
    }

    fn set_aside<S: Store>(&self, progress: &Progress, why: &str) -> Result<(), SinksError> {
        let file = self.folder.join(S::FILE);
        let to = set_aside(&file).map_err(|source| SinksError::Aside {
            file: file.clone(),
            source,
        })?;
        let told = format!(
            "{} could not use `{}` ({why}); it is set aside as `{}`, and what the journal has of it \
             is followed again",
            S::NAME,
            file.display(),
            to.display()
        );
        tracing::error!("{told}");
        progress.begins_anew(told);
        Ok(())
    }
}

fn runtime(name: &'static str) -> Result<Runtime, SinksError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| SinksError::Thread { name, source })
}

/// Gives a file another name, with the log that belongs to it; which name.
fn set_aside(file: &Path) -> std::io::Result<PathBuf> {
    let mut aside = numbers(file)?;
    aside.sort_unstable();
    let next = aside.last().map_or(1, |last| last.saturating_add(1));
    let to = named(file, &format!(".aside-{next}"));
    std::fs::rename(file, &to)?;
    // What is not there needs no other name.
    drop(std::fs::rename(named(file, "-wal"), named(&to, "-wal")));
    drop(std::fs::remove_file(named(file, "-shm")));
    let too_many = (aside.len() + 1).saturating_sub(ASIDE_KEPT);
    for number in aside.into_iter().take(too_many) {
        let old = named(file, &format!(".aside-{number}"));
        std::fs::remove_file(&old)?;
        drop(std::fs::remove_file(named(&old, "-wal")));
    }
    Ok(to)
}

/// The numbers of the files that were set aside before.
fn numbers(file: &Path) -> std::io::Result<Vec<u32>> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let start = format!("{name}.aside-");
    let folder = file.parent().unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder)?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names
        .filter_map(|name| name.strip_prefix(&start)?.parse().ok())
        .collect())
}

fn named(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Whether the pages of a file are damaged.
pub(super) fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Whether what a file holds is to blame for a failure to open it, and not its place or its disk.
pub(super) fn is_unusable(error: &rusqlite::Error) -> bool {
    let of_its_place = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
        )
    );
    !is_full(error) && !of_its_place
}
