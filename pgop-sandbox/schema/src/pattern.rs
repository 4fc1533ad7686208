//! Our own regular expressions.

use regex::Regex;

/// Compiles an expression that must match the whole text. The tests use each, so that none is broken.
#[expect(clippy::expect_used, reason = "expressions are constants of this crate")]
pub(crate) fn known(expression: &str) -> Regex {
    Regex::new(&format!("^(?:{expression})$")).expect("an expression of this crate is well formed")
}
