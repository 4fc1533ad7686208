//! Generated passwords.

use rand::distr::{Alphanumeric, SampleString};

/// 24 letters and digits have 142 bits, and need no quoting anywhere.
const LENGTH: usize = 24;

/// A new random password from the thread's cryptographic generator.
pub(crate) fn generate() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_and_need_no_quotes() {
        let (a, b) = (generate(), generate());
        assert_ne!(a, b);
        assert!(a.len() == LENGTH && a.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
