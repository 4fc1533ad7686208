//! Which users there are in the sandbox: all of the machine's when root runs it, else one, who has whatever number is asked for.

use std::fs;
use std::io;

use nix::unistd::geteuid;

/// Ranges of ids: the first, and how many.
type Ranges = Vec<(u32, u32)>;

/// The users of the sandbox: <https://man7.org/linux/man-pages/man7/user_namespaces.7.html>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// One user and one group. Each container sees all of its files as its own, whatever numbers it runs as.
    One,
    /// The machine's: a file belongs to the user and group who made it.
    Real { uids: Ranges, gids: Ranges },
}

impl Users {
    /// Is there such a user?
    pub(crate) fn has_user(&self, id: u32) -> bool {
        match self {
            Self::One => true,
            Self::Real { uids, .. } => has(uids, id),
        }
    }

    /// Is there such a group?
    pub(crate) fn has_group(&self, id: u32) -> bool {
        match self {
            Self::One => true,
            Self::Real { gids, .. } => has(gids, id),
        }
    }

    /// Is there more than one?
    pub(crate) fn are_real(&self) -> bool {
        *self != Self::One
    }
}

fn has(ranges: &Ranges, id: u32) -> bool {
    ranges
        .iter()
        .any(|(first, count)| (*first..first.saturating_add(*count)).contains(&id))
}

/// The maps of a user namespace in which everybody keeps their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps {
    pub(super) uids: String,
    pub(super) gids: String,
}

impl Maps {
    /// From what this process may map itself.
    pub(super) fn here() -> io::Result<Self> {
        let same = |file| io::Result::Ok(same(&ranges(&fs::read_to_string(file)?)));
        Ok(Self {
            uids: same("/proc/self/uid_map")?,
            gids: same("/proc/self/gid_map")?,
        })
    }

    /// Writes the maps of the process, which has just made its user namespace: everybody where we may, else one user.
    pub(super) fn give(&self, pid: i32) -> io::Result<Users> {
        let write = |file: &str, text: &str| fs::write(format!("/proc/{pid}/{file}"), text);
        if geteuid().is_root() && write("uid_map", &self.uids).is_ok() {
            write("gid_map", &self.gids)?;
            return Ok(Users::Real {
                uids: ranges(&self.uids),
                gids: ranges(&self.gids),
            });
        }
        // Who may map only himself must not be able to leave a group.
        write("setgroups", "deny")?;
        write("uid_map", &format!("0 {} 1", geteuid()))?;
        write("gid_map", &format!("0 {} 1", nix::unistd::getegid()))?;
        Ok(Users::One)
    }
}

/// What a map has: `<inside> <outside> <count>` in each line.
fn ranges(map: &str) -> Ranges {
    let numbers = |line: &str| -> Option<(u32, u32)> {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.nth(1)?.parse().ok()?))
    };
    map.lines().filter_map(numbers).collect()
}

fn same(ranges: &Ranges) -> String {
    let line = |(first, count): &(u32, u32)| format!("{first} {first} {count}\n");
    ranges.iter().map(line).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::{Users, ranges, same};

    #[test]
    fn a_map_is_kept_with_everybodys_number() {
        let of_a_container = "         0     100000      65536\n     70000     300000         10\n";
        let found = ranges(of_a_container);
        assert_eq!(found, [(0, 65536), (70000, 10)]);
        assert_eq!(same(&found), "0 0 65536\n70000 70000 10\n");
    }

    #[test]
    fn one_user_has_any_number_and_real_ones_have_theirs() {
        let real = Users::Real {
            uids: vec![(0, 1000)],
            gids: vec![(0, 2)],
        };
        assert!(real.has_user(999) && !real.has_user(1000) && real.has_group(1) && !real.has_group(999));
        assert!(Users::One.has_user(4_000_000) && Users::One.has_group(7));
    }
}
