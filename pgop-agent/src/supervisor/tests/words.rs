//! What a person reads.

use super::*;

fn place(alone: bool) -> Place {
    Place {
        resource: "PgCluster/shop/hippo".to_owned(),
        claim: "data-hippo-replica-0".to_owned(),
        directory: "/pgdata/hippo-replica-0".to_owned(),
        alone,
        copy: true,
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
fn what_is_to_be_done_about_damaged_data_is_named() {
    let mut place = place(true);
    let words = "pg_controldata: error: could not open file \"global/pg_control\"";
    let copy = place.broken(words);
    assert!(copy.contains(words), "{copy}");
    assert!(copy.ends_with("if the data is damaged, delete claim data-hippo-replica-0 and then this pod, and the replica copies its primary anew"));
    place.copy = false;
    let primary = End::DoesNotStart(words.to_owned()).words(&place);
    assert!(
        primary.ends_with("if the data is damaged, restore a backup under a new name"),
        "{primary}"
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
    let mut overridden = waits.clone();
    overridden.volume.overrides = vec!["max_connections".to_owned()];
    assert!(
        says("SettingsInForce", &overridden).starts_with("false Overridden: ALTER SYSTEM has set max_connections"),
        "nobody asked for a restart"
    );
    let mut overridden = a_primary();
    overridden.volume.overrides = vec!["work_mem".to_owned()];
    assert_eq!(
        says("SettingsInForce", &overridden),
        "false Overridden: ALTER SYSTEM has set work_mem, which counts more than the resource: ALTER SYSTEM RESET ends that"
    );
    overridden.volume.overrides.clear();
    overridden.volume.set_aside = Some("work_mem (why)".to_owned());
    assert_eq!(
        says("SettingsInForce", &overridden),
        "false Overridden: the server does not start with what ALTER SYSTEM had set, work_mem (why); that is in postgresql.auto.conf.refused beside its data now: read it, and remove the file"
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
fn what_a_server_says_of_settings_that_seemed_well_is_told() {
    let says = |change: fn(&mut Up)| {
        let mut seen = a_primary();
        if let Server::Up(up) = &mut seen.server {
            change(up);
        }
        says("SettingsInForce", &seen)
    };
    assert_eq!(
        says(|up| up.reading = true),
        "unknown Applying: they are being put in force"
    );
    assert_eq!(
        says(|up| {
            up.reading = true;
            up.refused = Some("syntax error (postgresql.auto.conf line 3)".to_owned());
        }),
        "false Refused: the server goes on with its former settings: syntax error (postgresql.auto.conf line 3)"
    );
    assert_eq!(
        says(|up| up.refused = Some("syntax error (postgresql.auto.conf line 3)".to_owned())),
        "false Refused: the server goes on without: syntax error (postgresql.auto.conf line 3)"
    );
    assert_eq!(
        says(|up| {
            up.refused = Some("a".to_owned());
            up.waits = vec!["max_connections".to_owned()];
        }),
        "false Refused: the server goes on without: a; the former value holds until the next start: max_connections"
    );
    assert_eq!(
        says(|up| up.in_vain = vec!["listen_addresses".to_owned(), "port".to_owned()]),
        "false InVain: pgop sets listen_addresses, port itself, whatever postgresql.conf says: take it out there"
    );
    assert_eq!(
        says(|up| {
            up.read_only = true;
            up.held = vec!["max_connections = 40".to_owned()];
        }),
        "true InForce: the server has read them; a replica needs what its primary has: max_connections = 40; with default_transaction_read_only = on a transaction that does not ask for READ WRITE can't write"
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

/// A volume of 100 GiB of which so many are free.
fn volume(free: u64, wal: Option<u64>, short: bool) -> Seen {
    let mut seen = a_primary();
    seen.volume.size = 100 << 30;
    seen.volume.free = free << 30;
    seen.volume.wal = wal.map(|wal| wal << 30);
    seen.volume.short = short;
    seen
}

#[test]
fn a_volume_that_fills_up_says_so_in_steps() {
    let with = |free, wal| says("Space", &volume(free, wal, false));
    let says = |free| with(free, Some(1));
    assert_eq!(says(10), "true Enough: enough of the volume's 100 GiB is free");
    assert_eq!(says(100), says(10));
    let low = "of the volume's 100 GiB is free, and PostgreSQL stops when nothing is: make the claim larger, or remove what is of no use";
    assert_eq!(says(9), format!("false Low: less than 10 % {low}"));
    assert_eq!(says(5), says(9));
    assert_eq!(says(4), format!("false Low: less than 5 % {low}"));
    assert_eq!(says(1), format!("false Low: less than 2 % {low}"));
    let wal = "false TooLittleForWal: too little of the volume's 100 GiB is free for what WAL may still grow by, and PostgreSQL stops when nothing is: make the claim larger, or lower max_wal_size or max_slot_wal_keep_size";
    assert_eq!(says(0), wal);
    assert_eq!(with(30, Some(31)), wal);
    assert_eq!(with(0, None), format!("false Low: less than 1 % {low}"));
}

#[test]
fn space_does_not_flap() {
    let is_short = |free, wal, short| volume(free, Some(wal), short).volume.is_short();
    assert_eq!(
        [9, 10, 11, 12].map(|free| is_short(free, 1, false)),
        [true, false, false, false]
    );
    assert_eq!(
        [9, 10, 11, 12].map(|free| is_short(free, 1, true)),
        [true, true, true, false]
    );
    assert_eq!(
        [29, 30, 31, 32].map(|free| is_short(free, 30, true)),
        [true, true, true, false]
    );
    assert!(says("Space", &volume(11, None, true)).starts_with("false Low: less than 12 %"));
    assert!(says("Space", &volume(31, Some(30), true)).starts_with("false TooLittleForWal: too little"));
}

#[test]
fn a_volume_of_which_nothing_is_known_is_unknown() {
    let mut seen = a_primary();
    (seen.volume.size, seen.volume.free) = (0, 0);
    assert_eq!(
        says("Space", &seen),
        "unknown Unknown: the volume does not say how much is free"
    );
    assert!(says("Space", &a_replica()).starts_with("true Enough: enough of the volume's 8192 MiB"));
}
