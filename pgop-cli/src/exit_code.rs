//! What an exit code means.

/// How a run ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything that was asked for was done.
    Ok,
    /// Some object failed; the others were done.
    Failed,
    /// The command line, a file or the configuration is wrong; nothing was done.
    Usage,
    /// The cluster can't be reached, or it does not allow what was asked for.
    NoAccess,
    /// Time ran out while waiting; what was asked for may still happen.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
    /// The code of the program that ran in the pod (`pgo psql`).
    Program(u8),
}

/// The meanings, as help shows them.
pub const HELP: &str = "\
Exit codes:
  0    everything that was asked for was done
  1    some object failed (each is named on standard error); the others were done
  2    the command line, a file or the configuration is wrong; nothing was done
  3    the cluster can't be reached, or does not allow it
  4    time ran out while waiting; it may still happen
  130  interrupted
  `pgo psql` ends with the code of psql.";

impl ExitCode {
    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoAccess => 3,
            Self::TimedOut => 4,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }

    /// The code of two objects' results together: one kind of failure keeps its meaning, different ones are [`ExitCode::Failed`].
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Interrupted, _) | (_, Self::Interrupted) => Self::Interrupted,
            (Self::Ok, other) => other,
            (this, Self::Ok) => this,
            (this, other) if this == other => this,
            _ => Self::Failed,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_number() {
        use ExitCode::{Failed, Interrupted, NoAccess, Ok, TimedOut, Usage};
        for code in [Ok, Failed, Usage, NoAccess, TimedOut, Interrupted] {
            assert!(HELP.contains(&format!("\n  {:<5}", code.number())), "{code:?}");
        }
        assert_eq!(ExitCode::Program(7).number(), 7);
    }

    #[test]
    fn one_kind_of_failure_keeps_its_meaning() {
        use ExitCode::{Failed, Interrupted, NoAccess, Ok, TimedOut};
        assert_eq!(Ok.and(Ok), Ok);
        assert_eq!(Ok.and(NoAccess), NoAccess);
        assert_eq!(NoAccess.and(Ok), NoAccess);
        assert_eq!(NoAccess.and(NoAccess), NoAccess);
        assert_eq!(NoAccess.and(TimedOut), Failed);
        assert_eq!(TimedOut.and(Interrupted), Interrupted);
    }
}
