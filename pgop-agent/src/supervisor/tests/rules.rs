//! The rules, one by one.

use super::*;

/// What is decided after a change of a server that has nothing left to do.
fn after(mut seen: Seen, change: impl FnOnce(&mut Seen)) -> Act {
    assert_eq!(decide(&seen), Act::Wait, "before the change");
    change(&mut seen);
    decide(&seen)
}

fn there(seen: &mut Seen, change: impl FnOnce(&mut Facts)) {
    let Data::There(facts) = &mut seen.volume.data else {
        panic!("no data")
    };
    change(facts);
}

fn server(seen: &mut Seen, change: impl FnOnce(&mut Up)) {
    let Server::Up(up) = &mut seen.server else {
        panic!("no server")
    };
    change(up);
}

/// Slot, need and size of a primary that answers.
fn answer(seen: &mut Seen, new: (Slot, Need)) {
    let Role::Replica {
        primary: Primary::There { slot, need, .. },
    } = &mut seen.role
    else {
        panic!("no primary")
    };
    (*slot, *need) = new;
}

#[test]
fn nobody_writes_without_the_lock() {
    let locked = |lock| after(a_primary(), |seen| (seen.volume.lock, seen.server) = (lock, down()));
    assert_eq!(locked(Lock::Free), Act::TakeLock);
    let since = |seconds| Lock::Taken {
        since: Duration::from_secs(seconds),
    };
    assert_eq!(locked(since(950)), Act::Wait);
    assert_eq!(locked(since(940)), Act::End(End::InUse));
    let start = Act::Start {
        settings: WANTED,
        limits: Limits::default(),
    };
    assert_eq!(
        locked(Lock::Unknown),
        start,
        "a file system without locks is no reason not to serve"
    );
}

#[test]
fn nothing_starts_beside_what_a_killed_server_has_left() {
    let killed = after(a_primary(), |seen| (seen.volume.orphans, seen.server) = (true, down()));
    assert_eq!(killed, Act::KillOrphans);
    let whole = after(a_replica(), |seen| {
        (seen.volume.orphans, seen.volume.copy, seen.server) = (true, true, down());
    });
    assert_eq!(whole, Act::KillOrphans, "nor is their data moved away from them");
    let alone = after(a_primary(), |seen| {
        (seen.volume.orphans, seen.server) = (true, down());
        seen.volume.lock = Lock::Taken { since: Duration::ZERO };
    });
    assert_eq!(alone, Act::KillOrphans, "they hold the lock that is waited for");
}

#[test]
fn a_directory_belongs_to_one_resource() {
    let owner = |owner| after(a_primary(), |seen| (seen.volume.owner, seen.server) = (owner, down()));
    assert_eq!(owner(OwnerFile::Absent), Act::TakeOwner);
    let other = "PgCluster/shop/rhino".to_owned();
    assert_eq!(owner(OwnerFile::Other(other.clone())), Act::End(End::BelongsTo(other)));
}

#[test]
fn an_empty_database_is_made_only_where_there_never_was_one() {
    let absent = |may_init| {
        after(a_primary(), |seen| {
            seen.role = Role::Primary {
                may_init,
                roles: InForce::NotYet,
                slots: false,
            };
            (seen.volume.data, seen.server) = (Data::Absent, down());
        })
    };
    assert_eq!(absent(true), Act::Begin(Job::Init));
    assert_eq!(absent(false), Act::End(End::Vanished));
}

#[test]
fn what_is_no_database_of_this_version_is_left_alone() {
    let data = |data| after(a_primary(), |seen| (seen.volume.data, seen.server) = (data, down()));
    assert_eq!(data(Data::Foreign), Act::End(End::NoDatabase));
    let old = Facts {
        major: 15,
        ..facts(false)
    };
    assert_eq!(
        data(Data::There(old)),
        Act::End(End::OtherMajor { data: 15, image: 17 })
    );
}

#[test]
fn data_is_started_as_what_it_is() {
    let start = |seen: Seen, change: fn(&mut Facts)| {
        after(seen, |seen| {
            seen.server = down();
            there(seen, change);
        })
    };
    assert_eq!(
        start(a_primary(), |facts| facts.standby = true),
        Act::End(End::IsReplica)
    );
    assert_eq!(
        start(a_replica(), |facts| facts.standby = false),
        Act::End(End::IsPrimary)
    );
    let foreign: fn(&mut Facts) = |facts| facts.recovery = Recovery::Foreign;
    assert_eq!(start(a_primary(), foreign), Act::End(End::ForeignRecovery));
    assert_eq!(start(a_replica(), foreign), Act::End(End::ForeignRecovery));
    let restored = start(a_primary(), |facts| facts.recovery = Recovery::Ours);
    assert!(matches!(restored, Act::Start { .. }), "{restored:?}");
    assert_eq!(start(a_primary(), |facts| facts.lineage = None), Act::WriteLineage);
}

#[test]
fn data_of_another_history_is_neither_wiped_nor_served() {
    let other: fn(&mut Seen) = |seen| there(seen, |facts| facts.lineage = Some(Lineage("of another".to_owned())));
    assert_eq!(after(a_replica(), other), Act::Stop(Shutdown::Fast));
    let ended = after(a_replica(), |seen| {
        other(seen);
        seen.server = down();
    });
    assert_eq!(ended, Act::End(End::OtherHistory));
    let alone = after(a_replica(), |seen| {
        other(seen);
        seen.role = Role::Replica {
            primary: Primary::Away("refused".to_owned()),
        };
        seen.server = down();
    });
    assert!(
        matches!(alone, Act::Start { .. }),
        "it serves reads while nobody knows: {alone:?}"
    );
}

#[test]
fn a_replica_that_was_left_behind_copies_again_if_there_is_room() {
    let stuck = |seen: &mut Seen| server(seen, |up| up.stuck = Some(Duration::from_secs(980)));
    let gone = |more: fn(&mut Seen)| {
        after(a_replica(), |seen| {
            stuck(seen);
            answer(seen, (Slot::Good, Need::Gone));
            more(seen);
        })
    };
    assert_eq!(gone(|_| ()), Act::Begin(Job::Clone), "it serves what it has meanwhile");
    assert_eq!(gone(|seen| seen.server = down()), Act::Begin(Job::Clone));
    let whole: fn(&mut Seen) = |seen| seen.volume.copy = true;
    assert_eq!(gone(whole), Act::Stop(Shutdown::Fast));
    let whole = gone(|seen| (seen.volume.copy, seen.server) = (true, down()));
    assert_eq!(whole, Act::FinishClone);
    assert_eq!(
        gone(|seen| seen.volume.free = 1 << 30),
        Act::Wait,
        "the old copy is better than none"
    );
    let start = gone(|seen| (seen.server, seen.volume.free) = (down(), 1 << 30));
    assert!(matches!(start, Act::Start { .. }), "{start:?}");
    assert_eq!(
        gone(|seen| there(seen, |facts| facts.control.timeline = 2)),
        Act::Wait,
        "it is no older state"
    );
    let ahead = after(a_replica(), |seen| {
        stuck(seen);
        answer(seen, (Slot::Good, Need::Ahead));
    });
    assert_eq!(ahead, Act::Wait, "it may be the only copy");
    let lost = after(a_replica(), |seen| {
        stuck(seen);
        answer(seen, (Slot::Lost, Need::There));
    });
    assert_eq!(lost, Act::MakeSlot);
    let soon = after(a_replica(), |seen| {
        server(seen, |up| up.stuck = Some(Duration::from_secs(981)));
        answer(seen, (Slot::Good, Need::Gone));
    });
    assert_eq!(soon, Act::Wait, "a stream may come back by itself");
}

#[test]
fn a_setting_that_postgresql_does_not_take_takes_nothing_down() {
    let new = Settings(8);
    let wanted = |verdict, server: Option<Server>, kept| {
        after(a_primary(), |seen| {
            (seen.wanted, seen.verdict, seen.kept) = (new, verdict, kept);
            seen.server = server.unwrap_or(seen.server.clone());
        })
    };
    let (bad, kept) = (
        Verdict::Bad("unrecognized configuration parameter".to_owned()),
        Some(WANTED),
    );
    assert_eq!(wanted(Verdict::Unknown, None, kept), Act::Begin(Job::CheckSettings));
    assert_eq!(wanted(Verdict::Good, None, kept), Act::Reload);
    assert_eq!(wanted(bad.clone(), None, kept), Act::Wait);
    let reloaded = wanted(Verdict::Good, Some(Server::Up(Up { settings: new, ..up() })), kept);
    assert_eq!(reloaded, Act::Wait, "what was only reloaded is nothing to fall back on");
    let limits = Limits::default();
    assert_eq!(
        wanted(Verdict::Unknown, Some(down()), kept),
        Act::Begin(Job::CheckSettings)
    );
    assert_eq!(
        wanted(Verdict::Good, Some(down()), kept),
        Act::Start { settings: new, limits }
    );
    assert_eq!(
        wanted(bad.clone(), Some(down()), kept),
        Act::Start {
            settings: WANTED,
            limits
        }
    );
    assert_eq!(
        wanted(bad, Some(down()), None),
        Act::Wait,
        "there is nothing to fall back on"
    );
}

#[test]
fn a_server_that_lacks_room_for_a_segment_waits_for_it() {
    let tried = |in_vain, free| {
        after(a_primary(), |seen| {
            seen.server = Server::Down { in_vain, words: None };
            seen.volume.free = free;
        })
    };
    let start = Act::Start {
        settings: WANTED,
        limits: Limits::default(),
    };
    assert_eq!(tried(0, 0), start, "it may have all that it needs");
    assert_eq!(tried(1, (16 << 20) - 1), Act::Wait);
    assert_eq!(tried(3, 0), Act::Wait, "nor does another container have more");
    assert_eq!(tried(1, 16 << 20), start);
}

#[test]
fn settings_that_could_not_be_kept_are_kept_later_and_keep_nothing_else_waiting() {
    let seen = |now| {
        after(a_primary(), |seen| {
            seen.kept = None;
            seen.now = Duration::from_secs(now);
            seen.tries.0.insert(Tried::Keep, Duration::from_secs(10));
            if let Role::Primary { slots, .. } = &mut seen.role {
                *slots = false;
            }
        })
    };
    assert_eq!(seen(9), Act::SyncSlots);
    assert_eq!(seen(10), Act::KeepSettings);
}

#[test]
fn a_server_that_does_not_come_up_ends_the_container_with_its_words() {
    let words = "FATAL:  could not create shared memory segment";
    let died = |in_vain| {
        after(a_primary(), |seen| {
            seen.server = Server::Down {
                in_vain,
                words: Some(words.to_owned()),
            }
        })
    };
    assert!(matches!(died(2), Act::Start { .. }));
    assert_eq!(died(3), Act::End(End::DoesNotStart(words.to_owned())));
}

#[test]
fn what_alter_system_has_left_keeps_no_server_from_starting() {
    let died = |in_vain, overrides: &[&str]| {
        after(a_primary(), |seen| {
            seen.volume.overrides = overrides.iter().map(|name| (*name).to_owned()).collect();
            seen.server = Server::Down { in_vain, words: None };
        })
    };
    assert!(matches!(died(1, &["shared_preload_libraries"]), Act::Start { .. }));
    assert_eq!(died(2, &["shared_preload_libraries"]), Act::SetAside);
    assert!(
        matches!(died(2, &[]), Act::Start { .. }),
        "it has nothing to do with it"
    );
    let known = after(a_primary(), |seen| {
        seen.volume.overrides = vec!["shared_preload_libraries".to_owned()];
        seen.volume.overrides_refused = Some("could not access file".to_owned());
        seen.server = down();
    });
    assert_eq!(known, Act::SetAside, "no start is lost for it");
}

#[test]
fn settings_are_blamed_for_the_second_start_that_ends_unless_alter_system_is() {
    assert!(!blames_settings(1, false, false));
    assert!(blames_settings(2, false, false));
    assert!(!blames_settings(2, true, false), "it came up with them before");
    assert!(!blames_settings(2, false, true), "it is tried without the others first");
}

#[test]
fn settings_that_a_broken_file_keeps_from_being_read_are_tried_again() {
    let reading = |refused: Option<&str>, due| {
        after(a_primary(), |seen| {
            server(seen, |up| (up.reading, up.refused) = (true, refused.map(str::to_owned)));
            seen.tries.0.insert(Tried::Reload, Duration::from_secs(due));
        })
    };
    assert_eq!(reading(Some("syntax error"), 1000), Act::Reload);
    assert_eq!(reading(None, 1000), Act::Reload, "it was mended");
    assert_eq!(reading(Some("syntax error"), 1001), Act::Wait);
}

#[test]
fn a_replica_starts_with_the_limits_of_its_wal_and_takes_higher_ones_when_it_stands_still() {
    let start = after(a_replica(), |seen| seen.server = down());
    assert_eq!(
        start,
        Act::Start {
            settings: WANTED,
            limits: LIMITS
        }
    );
    let higher: fn(&mut Seen) = |seen| there(seen, |facts| facts.control.limits = Limits::new([200, 8, 64, 0, 64]));
    assert_eq!(after(a_replica(), higher), Act::Wait, "it replays still");
    let paused = after(a_replica(), |seen| {
        higher(seen);
        server(seen, |up| up.paused = true);
    });
    assert_eq!(paused, Act::Stop(Shutdown::Fast));
    assert_eq!(
        after(a_replica(), |seen| server(seen, |up| up.paused = true)),
        Act::Wait,
        "somebody paused it"
    );
}

#[test]
fn a_stop_is_smart_then_fast_then_immediate() {
    let stop = |passed: f64, asked| {
        after(a_primary(), |seen| {
            seen.now = Duration::from_secs(1000) + Duration::from_secs_f64(passed);
            seen.stop = Some(Stop {
                asked: Duration::from_secs(1000),
                grace: Duration::from_secs(300),
            });
            server(seen, |up| up.asked = asked);
        })
    };
    assert_eq!(stop(0.0, None), Act::Stop(Shutdown::Smart));
    assert_eq!(stop(0.5, Some(Shutdown::Smart)), Act::Wait);
    assert_eq!(stop(1.0, Some(Shutdown::Smart)), Act::Stop(Shutdown::Fast));
    assert_eq!(stop(269.0, Some(Shutdown::Fast)), Act::Wait);
    assert_eq!(stop(270.0, Some(Shutdown::Fast)), Act::Stop(Shutdown::Immediate));
    assert_eq!(stop(999.0, Some(Shutdown::Immediate)), Act::Wait);
    let ended = after(a_primary(), |seen| {
        seen.stop = Some(Stop {
            asked: seen.now,
            grace: Duration::from_secs(300),
        });
        seen.server = down();
    });
    assert_eq!(ended, Act::End(End::Asked));
}

#[test]
fn a_stop_is_heard_by_what_runs_in_the_background_and_by_nothing_else() {
    let running = |cancelled| {
        after(a_replica(), |seen| {
            seen.stop = Some(Stop {
                asked: seen.now,
                grace: Duration::from_secs(300),
            });
            seen.running = Some(Running {
                job: Job::Clone,
                cancelled,
            });
            (seen.server, seen.volume.lock) = (down(), Lock::Free);
        })
    };
    assert_eq!(running(false), Act::Cancel);
    assert_eq!(running(true), Act::Wait);
}

#[test]
fn what_failed_waits_for_its_time() {
    let roles = |roles: &InForce, at| {
        after(a_primary(), |seen| {
            seen.role = Role::Primary {
                may_init: false,
                roles: roles.clone(),
                slots: true,
            };
            seen.tries.0.insert(Tried::Roles, Duration::from_secs(at));
        })
    };
    let failed = InForce::Failed("a line break".to_owned());
    assert_eq!(roles(&failed, 1001), Act::Wait);
    assert_eq!(roles(&failed, 1000), Act::SyncRoles);
    // Secrets that have changed since are not those that failed.
    assert_eq!(roles(&InForce::NotYet, 1001), Act::SyncRoles);
}
