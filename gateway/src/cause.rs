//! What an error says to a person, each cause once.
//!
//! Most of our errors say their cause themselves, as a log line has room for one text; those of
//! `anyhow` do not. Printed along the chain, the former would say everything twice.

use std::error::Error;

/// The error's text and, behind colons, those of its causes that it does not hold already.
pub fn tell(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::EdgeError;
    use crate::outbox::{Limits, Outbox};
    use davy_core::reading::Timestamp;

    #[test]
    fn each_cause_is_told_once() {
        let folder = tempfile::tempdir().expect("folder");
        let in_the_way = folder.path().join("file");
        std::fs::write(&in_the_way, "").expect("written");
        let limits = Limits {
            bytes_max: 1,
            age_max: std::time::Duration::MAX,
        };
        let error = Outbox::open(&in_the_way, limits, "a", Timestamp(0))
            .err()
            .expect("no folder");
        let error = anyhow::Error::new(EdgeError::Outbox(error)).context("running");
        let said = tell(error.as_ref());
        assert!(
            said.starts_with("running: making the folder in outbox `"),
            "{said}"
        );
        assert_eq!(said.matches("os error").count(), 1, "{said}");
        assert!(format!("{error:#}").matches("os error").count() > 1);
    }
}
