//! What a person reads.

use super::*;

fn place(alone: bool) -> Place {
    Place {
        resource: "PgCluster/shop/hippo".to_owned(),
        claim: "data-hippo-replica-0".to_owned(),
        directory: "/pgdata/hippo-replica-0".to_owned(),
        alone,
    }
}

/// The sentence of the condition about this.
fn says(about: &str, seen: &Seen) -> String {
    let found = conditions(seen)
        .into_iter()
        .find(|condition| condition.about == about)
        .unwrap();
    let holds = found
        .holds
        .map_or("unknown", |holds| if holds { "true" } else { "false" });
    format!("{holds} {}: {}", found.reason, found.message)
}

#[test]
fn a_claim_that_others_use_is_not_to_be_deleted() {
    let words = |alone| End::OtherHistory.words(&place(alone));
    assert!(words(true).contains("delete claim data-hippo-replica-0 and then this pod"));
    assert!(
        words(false)
            .contains("delete directory /pgdata/hippo-replica-0 on claim data-hippo-replica-0 and then this pod")
    );
}

#[test]
fn last_words_are_one_line_and_name_the_place() {
    let ends = [
        End::InUse,
        End::BelongsTo("PgCluster/shop/rhino".to_owned()),
        End::NoDatabase,
        End::OtherMajor { data: 15, image: 17 },
        End::Vanished,
        End::IsReplica,
        End::IsPrimary,
        End::ForeignRecovery,
        End::OtherHistory,
        End::DoesNotStart("FATAL:  data directory has wrong ownership".to_owned()),
    ];
    for end in ends {
        let words = end.words(&place(true));
        assert!(
            words.contains("/pgdata/hippo-replica-0 on claim data-hippo-replica-0"),
            "{words}"
        );
        assert!(!words.contains('\n') && words.len() < 400, "{words}");
    }
}

#[test]
fn a_server_that_is_well_says_so() {
    assert_eq!(
        says("SettingsInForce", &a_primary()),
        "true InForce: the server has read them"
    );
    let mut waits = a_primary();
    if let Server::Up(up) = &mut waits.server {
        up.waits = vec!["max_connections".to_owned()];
    }
    assert_eq!(
        says("SettingsInForce", &waits),
        "false RestartNeeded: the former value holds until the next start: max_connections"
    );
    let mut overridden = a_primary();
    overridden.volume.overrides = vec!["work_mem".to_owned()];
    assert_eq!(
        says("SettingsInForce", &overridden),
        "false Overridden: ALTER SYSTEM has set work_mem, which counts more than the resource: ALTER SYSTEM RESET ends that"
    );
    assert_eq!(
        says("RolesInForce", &a_primary()),
        "true InForce: roles, passwords and database are as the Secrets say"
    );
    assert_eq!(
        says("Following", &a_replica()),
        "true Streaming: it follows the primary"
    );
}

#[test]
fn settings_that_are_refused_are_told_in_postgresqls_words() {
    let mut seen = a_primary();
    let words = "unrecognized configuration parameter \"log_diconnections\" in file \"postgresql.conf\" line 3";
    (seen.wanted, seen.verdict) = (Settings(8), Verdict::Bad(words.to_owned()));
    assert_eq!(
        says("SettingsInForce", &seen),
        format!("false Refused: the server goes on with its former settings: {words}")
    );
    seen.server = down();
    assert_eq!(
        says("SettingsInForce", &seen),
        format!("false Refused: it starts with its former settings: {words}")
    );
    seen.kept = None;
    assert_eq!(
        says("SettingsInForce", &seen),
        format!("false Refused: nothing was started: {words}")
    );
}

#[test]
fn a_replica_says_why_it_does_not_follow() {
    let following = |primary| says("Following", &idle(Role::Replica { primary }));
    let with = |slot, need| Primary::There {
        system: 1,
        timeline: 1,
        lineage: lineage(),
        size: 6 << 30,
        slot,
        need,
    };
    assert_eq!(
        following(Primary::Away("connection refused".to_owned())),
        "false PrimaryAway: the primary does not answer: connection refused"
    );
    assert_eq!(
        following(with(Slot::Good, Need::Gone)),
        "false NoSpace: the WAL that it needs is gone from the primary, and a new copy needs 6144 MiB beside the old one, of which 5120 are free: make the claim larger"
    );
    assert_eq!(
        following(with(Slot::Good, Need::Ahead)),
        "false Ahead: it is ahead of the primary, which has lost data; it is not touched, as it may be the only copy"
    );
}
