//! How many files and connections the process may have open at once.
//!
//! Systems give a process few of them and let it ask for more (systemd: 1,024 of 524,288). Both ends
//! ask for all they may have, and do not start where their own limits would not fit: a process that
//! runs out of files is deaf, and cannot even say so.

use thiserror::Error;

/// Most that is asked for: what no process here comes near, and some systems refuse more.
#[cfg(unix)]
const ENOUGH: u64 = 1 << 20;

/// Why there are too few.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FilesError {
    /// The system's hard limit is too low.
    #[error(
        "files and connections open at once: found a hard limit of {found}; allowed: {needed} or \
         more (`ulimit -Hn`, or `LimitNOFILE=` of the service)"
    )]
    TooFew {
        /// How many this process may have.
        found: u64,
        /// How many its own limits come to.
        needed: u64,
    },
}

/// Raises the limit as far as the system lets us; how many there may be now, `needed` or more.
#[cfg(unix)]
pub fn allow(needed: u64) -> Result<u64, FilesError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX);
    // Some systems name a hard limit that they do not give: then what is needed will do.
    for wanted in [hard.min(ENOUGH), hard.min(needed)] {
        let limit = Rlimit {
            current: Some(wanted),
            maximum: now.maximum,
        };
        if now.current.is_none_or(|current| wanted <= current)
            || setrlimit(Resource::Nofile, limit).is_ok()
        {
            break;
        }
    }
    let found = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if found < needed {
        return Err(FilesError::TooFew { found, needed });
    }
    Ok(found)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn allow(_: u64) -> Result<u64, FilesError> {
    Ok(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_are_is_refused_with_both_figures() {
        let needed = u64::MAX - 1;
        let Err(FilesError::TooFew { found, .. }) = allow(needed) else {
            // A system without any limit.
            return;
        };
        assert_eq!(allow(found), Ok(found));
        let told = FilesError::TooFew { found, needed }.to_string();
        assert!(told.contains(&format!("found a hard limit of {found}; allowed: {needed}")));
    }
}
