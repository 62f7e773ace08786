//! What the log says, for tests.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// With a single listener `tracing` asks the thread that comes to a line first whether anybody ever
/// wants it; that may be the thread of another test, which nobody listens to.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| {
    let nowhere = tracing_subscriber::fmt().with_writer(std::io::sink);
    Dispatch::new(nowhere.finish())
});

/// The lines of the log, as long as the guard is held.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Keeps what this thread logs, without time and place.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        LazyLock::force(&ANOTHER);
        let lines = Self::default();
        let kept = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || kept.clone())
            .finish();
        (lines, tracing::subscriber::set_default(log))
    }

    /// The lines since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("the log"));
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}
