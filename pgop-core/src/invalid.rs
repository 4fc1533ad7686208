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
    /// How much the reason refuses.
    pub refuses: Refuses,
}

/// How much a reason refuses, of a resource that was accepted before. One that is new is refused as a whole by either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// This change, or what has changed beside the resource: what was accepted stays in force and is still known, so that what runs can be
    /// looked after ([`Managed::in_force`](crate::Managed::in_force)).
    Change,
    /// The whole: nothing valid is known that could be looked after.
    Everything,
}

impl Invalid {
    /// A problem of `field` that leaves nothing of the resource valid, and what mends it.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            mend: mend.into(),
            refuses: Refuses::Everything,
        }
    }

    /// A problem of `field` beside which what was accepted before stays in force, and what mends it.
    pub fn change(field: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            refuses: Refuses::Change,
            ..Self::new(field, problem, mend)
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
