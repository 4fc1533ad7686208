//! What the soak has caused itself. Anything else is a finding.

use jiff::{SignedDuration, Timestamp};

/// Events carry seconds, and are written a moment after what they tell of.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// What one fault may be followed by. Names are those of objects; a name stands also for all that begin with it and a hyphen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expectation {
    gone: Vec<(String, u32)>,
    restarted: Vec<(String, u32)>,
    failed: Vec<String>,
    troubled: Vec<String>,
}

impl Expectation {
    /// So many pods of that name go away.
    #[must_use]
    pub(crate) fn gone(mut self, name: impl Into<String>, times: u32) -> Self {
        self.gone.push((name.into(), times));
        self
    }

    /// Containers of that pod start again, so often at the most.
    #[must_use]
    pub(crate) fn restarted(mut self, name: impl Into<String>, times: u32) -> Self {
        self.restarted.push((name.into(), times));
        self
    }

    /// A pod of that name may fail.
    #[must_use]
    pub(crate) fn failed(mut self, name: impl Into<String>) -> Self {
        self.failed.push(name.into());
        self
    }

    /// Warnings may be given about objects of that name.
    #[must_use]
    pub(crate) fn troubled(mut self, name: impl Into<String>) -> Self {
        self.troubled.push(name.into());
        self
    }
}

#[derive(Clone, Debug)]
struct Window {
    from: Timestamp,
    to: Option<Timestamp>,
    left: Expectation,
}

impl Window {
    fn is_open(&self) -> bool {
        self.to.is_none()
    }

    fn covers(&self, at: Timestamp) -> bool {
        let after = |end: Timestamp| at > end + SLACK;
        at >= self.from - SLACK && !self.to.is_some_and(after)
    }
}

/// The expectations of all faults so far. Those of one fault are open until all is well again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    windows: Vec<Window>,
}

impl Expected {
    /// From now on this may happen.
    pub(crate) fn open(&mut self, expectation: Expectation, at: Timestamp) {
        self.windows.push(Window {
            from: at,
            to: None,
            left: expectation,
        });
    }

    /// All is well: nothing is expected any more, but for events that are late.
    pub(crate) fn close(&mut self, at: Timestamp) {
        self.windows.retain(Window::is_open);
        for window in &mut self.windows {
            window.to = Some(at);
        }
    }

    /// Whether a pod may have gone away. Each is expected so often as was said.
    pub(crate) fn takes_gone(&mut self, pod: &str) -> bool {
        let all = self.windows.iter_mut().filter(|window| window.is_open());
        take(all.flat_map(|window| &mut window.left.gone), pod, 1)
    }

    /// Whether its containers may have started again so often.
    pub(crate) fn takes_restarts(&mut self, pod: &str, times: u32) -> bool {
        let all = self.windows.iter_mut().filter(|window| window.is_open());
        take(all.flat_map(|window| &mut window.left.restarted), pod, times)
    }

    /// Whether a pod may have failed.
    pub(crate) fn allows_failed(&self, pod: &str) -> bool {
        let mut all = self.windows.iter().filter(|window| window.is_open());
        all.any(|window| window.left.failed.iter().any(|name| is_of(pod, name)))
    }

    /// Whether a warning about that object, given at that time, is no news.
    pub(crate) fn allows_warning(&self, about: &str, at: Timestamp) -> bool {
        let mut all = self.windows.iter().filter(|window| window.covers(at));
        all.any(|window| window.left.troubled.iter().any(|name| is_of(about, name)))
    }
}

fn take<'a>(mut all: impl Iterator<Item = &'a mut (String, u32)>, pod: &str, times: u32) -> bool {
    match all.find(|(name, left)| is_of(pod, name) && *left >= times) {
        Some((_, left)) => {
            *left -= times;
            true
        }
        None => false,
    }
}

fn is_of(object: &str, name: &str) -> bool {
    object == name || object.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_was_caused_once_is_expected_once() {
        let mut expected = Expected::default();
        expected.open(
            Expectation::default()
                .gone("hippo-0", 1)
                .restarted("hippo-replica-0", 2),
            at(0),
        );
        assert!(!expected.takes_gone("hippo-replica-0"));
        assert!(expected.takes_gone("hippo-0"));
        assert!(!expected.takes_gone("hippo-0"));
        assert!(expected.takes_restarts("hippo-replica-0", 1));
        assert!(!expected.takes_restarts("hippo-replica-0", 2));
        assert!(expected.takes_restarts("hippo-replica-0", 1));
    }

    #[test]
    fn nothing_is_expected_when_all_is_well_again() {
        let mut expected = Expected::default();
        let all = Expectation::default()
            .gone("hippo", 9)
            .restarted("hippo", 9)
            .failed("hippo");
        expected.open(all, at(0));
        assert!(expected.allows_failed("hippo-0"));
        expected.close(at(60));
        assert!(!expected.takes_gone("hippo-0") && !expected.takes_restarts("hippo-0", 1));
        assert!(!expected.allows_failed("hippo-0"));
    }

    #[test]
    fn a_warning_counts_for_the_time_that_it_tells_of() {
        let mut expected = Expected::default();
        expected.open(Expectation::default().troubled("hippo"), at(100));
        assert!(expected.allows_warning("hippo-replica-0", at(160)));
        assert!(!expected.allows_warning("hippopotamus-0", at(160)));
        expected.close(at(200));
        assert!(expected.allows_warning("hippo", at(199)));
        assert!(!expected.allows_warning("hippo", at(300)));
        assert!(!expected.allows_warning("hippo", at(50)));
    }
}
