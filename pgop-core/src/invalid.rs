//! Why a resource is refused: the field, the problem, and what mends it.

use std::fmt;

/// One reason why a resource is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field, such as `spec.storage.size`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub mend: String,
}

impl Invalid {
    /// A problem of `field`, and what mends it.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            mend: mend.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)?;
        if self.mend.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.mend)
        }
    }
}

/// All of them in one line.
pub fn summary(all: &[Invalid]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
