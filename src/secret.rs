//! Words that nobody can guess: passwords of the demo, tokens of sessions.

use std::fmt::Write as _;

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no randomness")]
pub struct NoRandomness;

/// `N` random bytes of the system, as hexadecimal digits.
pub fn random<const N: usize>() -> Result<String, NoRandomness> {
    let mut bytes = [0u8; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes all that is written to it.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let (one, other) = (random::<16>(), random::<16>());
        assert!(one.is_ok_and(|one| one.len() == 32 && other.is_ok_and(|other| one != other)));
    }
}
