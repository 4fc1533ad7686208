//! Which addresses of 10.244.0.0/16 are taken.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const FIRST: u32 = 2; // .0 is the network, .1 the bridge
const LAST: u32 = 65_534;

/// Hands out addresses, the longest unused ones first: what still believes in an ended pod doesn't reach a new one.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    taken: BTreeSet<u32>,
    last: u32,
}

impl Addresses {
    /// The next free one.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let start = self.last.max(FIRST - 1) + 1;
        let free = (start..=LAST).chain(FIRST..start).find(|n| !self.taken.contains(n))?;
        self.taken.insert(free);
        self.last = free;
        Some(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 244, 0, 0)) + free))
    }

    /// It is free again.
    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        self.taken.remove(&(u32::from(address) & 0xffff));
    }
}

#[cfg(test)]
mod tests {
    use super::Addresses;

    #[test]
    fn addresses_are_not_given_twice_and_not_reused_at_once() {
        let mut addresses = Addresses::default();
        let first = addresses.take().unwrap();
        assert_eq!(first.to_string(), "10.244.0.2");
        let second = addresses.take().unwrap();
        assert_eq!(second.to_string(), "10.244.0.3");
        addresses.give_back(second);
        assert_eq!(addresses.take().unwrap().to_string(), "10.244.0.4");
    }

    #[test]
    fn when_all_were_used_once_it_begins_again_and_ends_when_none_is_left() {
        let mut addresses = Addresses::default();
        for _ in 2..=65_534 {
            assert!(addresses.take().is_some());
        }
        assert_eq!(addresses.take(), None);
        addresses.give_back("10.244.1.7".parse().unwrap());
        assert_eq!(addresses.take().unwrap().to_string(), "10.244.1.7");
    }
}
