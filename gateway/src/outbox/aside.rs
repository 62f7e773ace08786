//! An outbox that cannot be read when the gateway starts, after a disk that gave back other bytes
//! than it was given.
//!
//! The gateway must run all the same: it polls, and annunciates by itself. The file is set aside for
//! whoever can save something of it, and a new outbox begins under a name of its own, so that the
//! centre tells that it is another one. What the old one stored is not sent, and its count is lost
//! with it.
//!
//! Limits: one file is kept aside, the last one. Tables of another version are set aside by nobody:
//! they are whole, and another program reads them.

use std::io;
use std::path::Path;

use davy_core::reading::Timestamp;
use rusqlite::ErrorCode;

use super::{FILE, Limits, Outbox, OutboxError};

/// What SQLite adds to a file's name for the files beside it.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// What is added to the name of a file that is set aside.
const ASIDE: &str = "unreadable-";

impl Outbox {
    /// As [`Outbox::open`]; a file that is no outbox any more is set aside, and a new one begins.
    pub fn open_or_begin(
        folder: &Path,
        limits: Limits,
        new_instance: &str,
        now: Timestamp,
    ) -> Result<Self, OutboxError> {
        let error = match Self::open(folder, limits, new_instance, now) {
            Err(error) if is_unreadable(&error) => error,
            other => return other,
        };
        if let Err(why) = set_aside(folder) {
            tracing::error!(%why, "the outbox cannot be read, nor set aside");
            return Err(error);
        }
        tracing::error!(
            %error, aside = format!("{ASIDE}{FILE}"),
            "the outbox cannot be read; it is set aside, and what it stored is not sent"
        );
        Self::open(folder, limits, new_instance, now)
    }
}

fn is_unreadable(error: &OutboxError) -> bool {
    let OutboxError::Storage { source, .. } = error else {
        return false;
    };
    matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}

fn set_aside(folder: &Path) -> io::Result<()> {
    for beside in BESIDE {
        let from = folder.join(format!("{FILE}{beside}"));
        let to = folder.join(format!("{ASIDE}{FILE}{beside}"));
        // Of an older one nothing may stay beside this one.
        for moved in [std::fs::remove_file(&to), std::fs::rename(&from, &to)] {
            match moved {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::super::NewMessage;
    use super::*;

    const LIMITS: Limits = Limits {
        bytes_max: 1 << 30,
        age_max: Duration::from_hours(72),
    };

    fn open(folder: &Path, instance: &str) -> Result<Outbox, OutboxError> {
        Outbox::open_or_begin(folder, LIMITS, instance, Timestamp(0))
    }

    #[test]
    fn a_file_that_is_no_outbox_is_set_aside_and_a_new_one_begins() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        let messages = [NewMessage {
            device: "u",
            payload: &[7; 3000],
        }; 20];
        for (time, instance) in [(0, "first"), (1, "second"), (2, "third")] {
            let mut outbox = open(folder.path(), instance).expect("it opens");
            assert_eq!(outbox.instance(), instance, "{time}");
            assert_eq!(outbox.account().produced, 0);
            outbox.push(Duration::ZERO, &messages).expect("room");
            drop(outbox);
            let mut bytes = fs::read(&file).expect("the file");
            // Its head, or all but its head.
            let (from, to) = if time == 0 {
                (0, 100)
            } else {
                (100, bytes.len())
            };
            bytes[from..to].fill(0xA5);
            fs::write(&file, &bytes).expect("written");
        }
        let kept = fs::read(folder.path().join("unreadable-outbox.sqlite")).expect("kept");
        assert!(kept.contains(&0xA5));
    }

    #[test]
    fn an_outbox_of_another_version_or_in_use_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = open(folder.path(), "first").expect("it opens");
        let second = open(folder.path(), "second");
        assert!(matches!(second, Err(OutboxError::Locked { .. })));
        outbox.tamper("UPDATE number SET value = 99 WHERE name = 'version'");
        drop(outbox);
        let second = open(folder.path(), "second");
        assert!(matches!(
            second,
            Err(OutboxError::Version { found: 99, .. })
        ));
    }
}
