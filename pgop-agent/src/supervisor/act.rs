//! What can be done next.

use super::seen::Settings;
use crate::control::Limits;

/// One thing to do. When it is done, what is seen is other than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing, until something changes or a time comes.
    Wait,
    /// Takes the lock of the server's directory.
    TakeLock,
    /// Writes whose the directory is.
    TakeOwner,
    /// Ends the processes that a server has left.
    KillOrphans,
    /// Removes what a try that was cut off has left.
    Clean,
    /// Gives a complete copy the name of the data, and removes the old data.
    FinishClone,
    /// Gives the data a lineage.
    WriteLineage,
    /// Begins something long, in the background.
    Begin(Job),
    /// Asks what is under way to end.
    Cancel,
    /// Puts what ALTER SYSTEM has left where the server does not read it.
    SetAside,
    /// Starts the server, with these settings and with limits that are at least these.
    Start {
        /// Which.
        settings: Settings,
        /// At least.
        limits: Limits,
    },
    /// Puts the wanted settings in force on the running server.
    Reload,
    /// Keeps the settings that the server runs with whole, to fall back on.
    KeepSettings,
    /// Makes this replica's slot at the primary, in place of one that is lost.
    MakeSlot,
    /// Tells the running replica whom to follow.
    Follow,
    /// Makes roles, passwords and the database what the Secrets say.
    SyncRoles,
    /// Makes the slots of the replicas, and removes those of replicas that are gone for good.
    SyncSlots,
    /// Asks the server to end.
    Stop(Shutdown),
    /// Ends the container.
    End(End),
}

/// Something long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// Makes a new database.
    Init,
    /// Copies the primary beside the data.
    Clone,
    /// Has `PostgreSQL` read the wanted settings, without putting them in force.
    CheckSettings,
}

/// How a server is asked to end: <https://www.postgresql.org/docs/current/server-shutdown.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Takes nobody in, and waits for those who are there.
    Smart,
    /// Rolls back what is under way.
    Fast,
    /// Leaves the work to the next start.
    Immediate,
}

/// Why the container ends. Whoever can mend it reads this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Asked,
    /// Another pod works on the directory.
    InUse,
    /// The directory is another resource's.
    BelongsTo(String),
    /// What is there is no database.
    NoDatabase,
    /// It was written by another major version than the image's.
    OtherMajor {
        /// Of the data.
        data: u32,
        /// Of the image.
        image: u32,
    },
    /// There was a database, or one was to be restored, and there is none. An empty one would look like a loss.
    Vanished,
    /// A primary's data says that it is a replica's.
    IsReplica,
    /// A replica's data says that it is a primary's.
    IsPrimary,
    /// A `recovery.signal` that no restore of ours wrote.
    ForeignRecovery,
    /// A replica's data has another history than the primary's. It may be the only copy.
    OtherHistory,
    /// The server does not come up, with the settings with which it last did either. In `PostgreSQL`'s words.
    DoesNotStart(String),
}
