//! A real process: started, killed like a power cut would, started again.
//!
//! What it says goes to a file, whose end is told when it does not do what is waited for. A process
//! ends with the value that holds it, by its own id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One process, and how to start it again.
pub(crate) struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts it; what it says is appended to `log`.
    pub(crate) fn start(program: &Path, arguments: &[&str], log: PathBuf) -> Self {
        let mut process = Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            log,
            child: None,
        };
        process.again();
        process
    }

    /// Starts it again, as it was started first.
    pub(crate) fn again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log");
        let both = log.try_clone().expect("the same log");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| {
            panic!("starting {}: {error}", self.program.display());
        }));
    }

    /// SIGKILL: it can neither finish nor say anything.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// SIGTERM, and waits for the end; whether it ended in order.
    pub(crate) fn end(&mut self) -> bool {
        let mut child = self.child.take().expect("it runs");
        let told = Command::new("kill").arg(child.id().to_string()).status();
        assert!(told.expect("kill").success());
        child.wait().expect("gone").success()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        let ended = self.child.as_mut().map(Child::try_wait);
        ended.is_some_and(|ended| ended.expect("its state").is_none())
    }

    /// What it has said so far. A listener says payloads, which are no text.
    pub(crate) fn said(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// The last lines of what it has said.
    pub(crate) fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<_> = said.lines().collect();
        let from = lines.len().saturating_sub(30);
        format!("{}:\n{}", self.log.display(), lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
