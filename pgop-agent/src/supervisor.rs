//! The supervisor: looks, decides, acts, and looks again.
//!
//! ```text
//! adapters ──look──► Seen ──decide──► Act ──carry out──► adapters
//! ```
//!
//! Nothing is remembered between two rounds but what can be seen again or is in [`Seen`]: the agent may die between any two lines, and the next
//! round finishes the work.

mod act;
mod decide;
mod seen;
mod words;

pub use act::{Act, End, Job, Shutdown};
pub use decide::{blames_settings, decide};
pub use seen::{
    Data, Facts, InForce, Lineage, Lock, Need, OwnerFile, Primary, Recovery, Role, Running, Seen, Server, Settings,
    Slot, Stop, Time, Tried, Tries, Up, Verdict, Volume,
};
pub use words::{Condition, Place, conditions};

#[cfg(test)]
pub(crate) mod tests;
