//! How one reconcile went, as plain data: all that the status is made from.

use crate::applied::Applied;
use crate::assessment::Assessment;
use crate::description::Description;
use crate::invalid::Invalid;
use crate::observed::Observed;
use crate::validated::Checked;

/// How one reconcile went: all that the status is made from.
#[derive(Debug)]
pub struct Round<'a, R: Checked> {
    /// What step 1 saw.
    pub observed: &'a Observed,
    /// When it was.
    pub now: jiff::Timestamp,
    /// The strategy that the resource asks for, where there is one of that name.
    pub strategy: Option<&'a Description>,
    /// How far it came.
    pub outcome: Outcome<'a, R>,
}

/// How far a reconcile came.
#[derive(Debug)]
pub enum Outcome<'a, R: Checked> {
    /// The resource is refused, and nothing was accepted before that could stay in force: nothing was touched.
    Invalid(&'a [Invalid]),
    /// There is no plan.
    Failed {
        /// Reason, as in conditions and events.
        reason: &'a str,
        /// What happened, to which object, and what to do.
        message: String,
    },
    /// A plan was carried out, as far as the API server took it.
    Applied(Carried<'a, R>),
}

/// A plan that was carried out.
#[derive(Debug)]
pub struct Carried<'a, R: Checked> {
    /// The checked resource: as it is, or as it was accepted before where a change is refused.
    pub validated: &'a R::Validated,
    /// Why the resource as it is now is refused; empty where it is not.
    pub refused: &'a [Invalid],
    /// The strategy that was used.
    pub strategy: &'a Description,
    /// What became of the plan.
    pub applied: &'a Applied,
    /// What the strategy makes of the live objects.
    pub assessment: &'a Assessment,
}
