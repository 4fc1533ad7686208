//! A rule each.

use std::time::Duration;

use super::*;
use crate::supervisor::tests::{a_primary, a_replica, down, facts, primary, up};
use crate::supervisor::{Running, Stop};

fn with_server(mut seen: Seen, server: Server) -> Seen {
    seen.server = server;
    seen
}

fn starting() -> Server {
    Server::Up(Up {
        answers: false,
        follows: false,
        ..up()
    })
}

fn stuck() -> Up {
    Up {
        stuck: Some(Duration::from_secs(990)),
        ..up()
    }
}

fn of(primary: Primary, up: Up) -> Seen {
    let mut seen = with_server(a_replica(), Server::Up(up));
    seen.role = Role::Replica { primary };
    seen
}

fn away() -> Primary {
    Primary::Away("connection refused".to_owned())
}

fn needs(what: Need) -> Primary {
    let mut there = primary();
    if let Primary::There { need, .. } = &mut there {
        *need = what;
    }
    there
}

/// As the first look of a container sees it.
fn status(seen: &Seen) -> Status {
    Status::of(seen, Past::default().and(seen))
}

fn roles_fail(seen: &mut Seen) {
    let Role::Primary { roles, .. } = &mut seen.role else {
        panic!("no primary")
    };
    *roles = InForce::Failed("the Secret lacks a key".to_owned());
}

#[test]
fn a_primary_that_takes_connections_is_ready() {
    let status = status(&a_primary());
    assert!(status.ready && status.started);
    assert_eq!(status.phase, Phase::Serving);
    assert_eq!(status.reason, "it takes connections as a primary");
    assert_eq!(status.roles, Some(true));
}

#[test]
fn a_server_that_starts_or_is_down_is_not() {
    let seen = with_server(a_primary(), starting());
    assert_eq!((status(&seen).ready, status(&seen).phase), (false, Phase::Starting));
    let words = Some("FATAL:  out of memory".to_owned());
    let status = status(&with_server(a_primary(), Server::Down { in_vain: 1, words }));
    assert_eq!((status.ready, status.phase), (false, Phase::Starting));
    assert!(status.reason.ends_with("FATAL:  out of memory"), "{}", status.reason);
}

#[test]
fn old_data_is_served_whatever_a_secret_holds() {
    let mut seen = a_primary();
    roles_fail(&mut seen);
    let status = status(&seen);
    assert!(status.ready);
    assert_eq!(status.roles, Some(false));
    let roles = status
        .conditions
        .iter()
        .find(|condition| condition.about == "RolesInForce");
    assert_eq!(roles.unwrap().holds, Some(false));
}

#[test]
fn new_data_waits_for_its_roles_once() {
    let mut seen = with_server(a_primary(), down());
    roles_fail(&mut seen);
    seen.running = Some(Running {
        job: Job::Init,
        cancelled: false,
    });
    let past = Past::default().and(&seen);
    assert!(past.roles_pending);

    (seen.running, seen.server) = (None, Server::Up(up()));
    let waits = Status::of(&seen, past.and(&seen));
    assert!(
        !waits.ready && waits.reason.ends_with("lacks a key"),
        "{}",
        waits.reason
    );

    let past = past.and(&a_primary());
    assert!(Status::of(&a_primary(), past).ready);
    // And never again.
    assert!(Status::of(&seen, past.and(&seen)).ready);
}

#[test]
fn a_mark_beside_the_data_waits_for_roles_too() {
    let mut seen = a_primary();
    roles_fail(&mut seen);
    let past = Past::new(true).and(&seen);
    assert!(!Status::of(&seen, past).ready && !past.served);
}

#[test]
fn what_was_ready_once_has_started_for_good() {
    let past = Past::default().and(&a_primary());
    let seen = with_server(a_primary(), starting());
    let status = Status::of(&seen, past.and(&seen));
    assert!(status.started && !status.ready);
}

#[test]
fn what_was_asked_to_end_is_not_ready() {
    let mut seen = a_primary();
    seen.stop = Some(Stop {
        asked: seen.now,
        grace: Duration::from_secs(300),
    });
    assert_eq!((status(&seen).ready, status(&seen).phase), (false, Phase::Stopping));
    for how in [Shutdown::Smart, Shutdown::Fast, Shutdown::Immediate] {
        let asked = Up {
            asked: Some(how),
            ..up()
        };
        let status = status(&with_server(a_primary(), Server::Up(asked)));
        assert_eq!((status.ready, status.phase), (false, Phase::Stopping));
    }
}

#[test]
fn a_replica_is_ready_once_it_follows() {
    let begins = of(primary(), Up { follows: false, ..up() });
    let before = status(&begins);
    assert!(!before.ready && !before.started, "{}", before.reason);
    assert!(!status(&of(primary(), stuck())).ready);
    assert!(status(&a_replica()).ready);
    assert_eq!(status(&a_replica()).roles, None);
}

#[test]
fn a_replica_stays_ready_while_its_primary_is_away() {
    let past = Past::default().and(&a_replica());
    for (primary, up) in [
        (away(), stuck()),
        // Back, and not yet followed.
        (primary(), stuck()),
        (needs(Need::Gone), stuck()),
    ] {
        let seen = of(primary, up);
        let status = Status::of(&seen, past.and(&seen));
        assert!(status.ready, "{}", status.reason);
    }
}

#[test]
fn a_replica_that_starts_without_a_primary_serves_its_copy() {
    assert!(
        status(&of(
            away(),
            Up {
                follows: false,
                ..stuck()
            }
        ))
        .ready
    );
    assert!(status(&of(needs(Need::Gone), stuck())).ready);
    // But not before PostgreSQL lets anybody in.
    assert!(!status(&with_server(of(away(), up()), starting())).ready);
}

#[test]
fn a_replica_that_is_ahead_is_no_replica() {
    let past = Past::default().and(&a_replica());
    let seen = of(needs(Need::Ahead), stuck());
    assert!(!Status::of(&seen, past.and(&seen)).ready);
    // While it streams, it is not.
    let seen = of(needs(Need::Ahead), up());
    assert!(Status::of(&seen, past.and(&seen)).ready);
}

#[test]
fn a_copy_is_told_as_one() {
    let mut seen = with_server(a_replica(), down());
    seen.volume.data = Data::Absent;
    let preparing = status(&seen);
    assert_eq!(preparing.phase, Phase::Preparing);
    seen.running = Some(Running {
        job: Job::Clone,
        cancelled: false,
    });
    let copying = status(&seen);
    assert_eq!((copying.ready, copying.phase), (false, Phase::Copying));
    // Also beside data that is there.
    seen.volume.data = Data::There(facts(true));
    assert_eq!(status(&seen).phase, Phase::Copying);
}

#[test]
fn what_keeps_a_server_from_being_started_is_told() {
    let mut seen = with_server(a_primary(), down());
    seen.volume.lock = Lock::Taken { since: seen.now };
    assert!(status(&seen).reason.contains("another pod"));

    let mut seen = with_server(a_primary(), down());
    (seen.verdict, seen.kept) = (
        Verdict::Bad("unrecognized configuration parameter \"nope\"".to_owned()),
        None,
    );
    let refused = status(&seen);
    assert_eq!(refused.phase, Phase::Preparing);
    assert!(refused.reason.contains("\"nope\""), "{}", refused.reason);
    // One that has others starts with them.
    seen.kept = Some(seen.wanted);
    assert_eq!(status(&seen).phase, Phase::Starting);
}

#[test]
fn settings_that_wait_for_a_start_are_told_from_those_in_force() {
    let wanted = a_primary().wanted;
    let reloaded = Up {
        proven: Settings(1),
        ..up()
    };
    let settings = status(&with_server(a_primary(), Server::Up(reloaded))).settings;
    assert_eq!(settings.wanted, format!("{:016x}", wanted.0));
    assert_eq!(settings.read.as_ref(), Some(&settings.wanted));
    assert_eq!(settings.whole.as_deref(), Some("0000000000000001"));
    assert_eq!(status(&with_server(a_primary(), down())).settings.read, None);
}

#[test]
fn nothing_that_may_quote_a_password_is_told() {
    for words in [
        "invalid value for parameter \"primary_conninfo\": \"host=a password=hunter2\"",
        "invalid value for parameter \"archive_command\": \"curl -u me:hunter2\"",
        "syntax error near \"postgres://me:hunter2@db/x\"",
        "ssl_passphrase_command = 'hunter2' is wrong",
        "archive_cleanup_command \"rm hunter2\": child process exited with exit code 1",
    ] {
        let mut seen = a_primary();
        seen.verdict = Verdict::Bad(words.to_owned());
        let text = serde_json::to_string(&status(&seen)).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        seen = with_server(
            seen,
            Server::Down {
                in_vain: 1,
                words: Some(words.to_owned()),
            },
        );
        let text = serde_json::to_string(&status(&seen)).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
    // What a person needs is: also which of such settings it is.
    let mut seen = a_primary();
    let named = "PostgreSQL does not take archive_command (postgresql.conf line 3); held back by that: restore_command, work_mem";
    seen.verdict = Verdict::Bad(named.to_owned());
    assert!(serde_json::to_string(&status(&seen)).unwrap().contains(named));
    let why = "password authentication failed for user \"replicator\"";
    let status = status(&of(Primary::Away(why.to_owned()), up()));
    assert!(
        status
            .conditions
            .iter()
            .any(|condition| condition.message.contains(why))
    );
}

#[test]
fn a_loop_that_hangs_is_not_live() {
    let turn = Turn::now(status(&a_primary()));
    assert_eq!(turn.liveness(turn.at + LONGEST_TURN), Ok(()));
    assert_eq!(
        turn.liveness(turn.at + LONGEST_TURN * 2),
        Err("the agent's loop has not turned for 240 s".to_owned())
    );
}

#[test]
fn the_words_of_a_status_are_those_of_its_json() {
    for phase in Phase::ALL {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.word());
    }
    let told = serde_json::to_value(status(&a_replica())).unwrap();
    assert_eq!(told["role"], "replica");
    assert_eq!(told["conditions"][1]["about"], "Following");
    assert_eq!(told["conditions"][1]["holds"], true);
}
