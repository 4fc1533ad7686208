//! How one reconcile went, as plain data: all that the status is made from.

use crate::assessment::Assessment;
use crate::description::Description;
use crate::invalid::Invalid;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::validated::Checked;

/// How one reconcile went: all that the status is made from.
#[derive(Debug)]
pub struct Round<'a, R: Checked> {
    /// What step 1 saw.
    pub observed: &'a Observed,
    /// When it was.
    pub now: jiff::Timestamp,
    /// How far it came.
    pub outcome: Outcome<'a, R>,
}

/// How far a reconcile came.
#[derive(Debug)]
pub enum Outcome<'a, R: Checked> {
    /// The resource was refused; nothing was touched.
    Invalid(&'a [Invalid]),
    /// The plan could not be made or carried out.
    Failed {
        /// Reason, as in conditions and events.
        reason: &'a str,
        /// What happened, to which object, and what to do.
        message: String,
    },
    /// The plan was carried out.
    Applied {
        /// The checked resource.
        validated: &'a R::Validated,
        /// The strategy that was used.
        strategy: &'a Description,
        /// The plan.
        plan: &'a Plan,
        /// What the strategy makes of the live objects.
        assessment: &'a Assessment,
    },
}
