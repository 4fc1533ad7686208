//! What the status says, scene by scene, and that saying it twice writes nothing.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use jiff::Timestamp;
use pgop_core::applied::{Applied, Failed, Taken};
use pgop_core::assessment::{Assessment, JobState};
use pgop_core::condition::{find, is_true};
use pgop_core::crd::{Member, PgBackup, PgCluster, Role, ServerStatus};
use pgop_core::invalid::Invalid;
use pgop_core::observed::{ClaimFacts, Observed, SourceFacts};
use pgop_core::plan::Held;
use pgop_core::roll::{Cause, Roll};
use pgop_core::round::{Carried, Outcome, Round};
use pgop_core::strategy::{Description, Members};
use pgop_core::{Managed, manifest::Kind};
use serde_json::json;

fn strategy() -> Description {
    Description {
        version: 3,
        members: Members::by_role(),
        ..Description::new("streaming")
    }
}

fn hippo(spec: &str) -> PgCluster {
    serde_saphyr::from_str(&format!(
        "apiVersion: pgop.dev/v1alpha1\nkind: PgCluster\n\
         metadata: {{name: hippo, namespace: zoo, uid: u1, generation: 1, creationTimestamp: 2026-11-22T10:00:00Z}}\nspec: {spec}"
    ))
    .unwrap()
}

fn observed() -> Observed {
    Observed {
        claims: [("vault".to_owned(), Some(ClaimFacts::default()))].into(),
        ..Observed::default()
    }
}

/// One round that was carried out, at some second.
fn round(cluster: &PgCluster, applied: &Applied, assessment: &Assessment, second: i64) -> PgCluster {
    round_seeing(&observed(), cluster, applied, assessment, second)
}

fn round_seeing(
    observed: &Observed,
    cluster: &PgCluster,
    applied: &Applied,
    assessment: &Assessment,
    second: i64,
) -> PgCluster {
    let strategy = strategy();
    let validated = cluster.validate(observed, &strategy).unwrap();
    let outcome = Outcome::Applied(Carried {
        validated: &validated,
        refused: &[],
        strategy: &strategy,
        applied,
        assessment,
    });
    cluster.with_status(&Round {
        observed,
        strategy: Some(&strategy),
        now: Timestamp::from_second(second).unwrap(),
        outcome,
    })
}

fn members(primary: bool, replicas: &[bool]) -> Assessment {
    let member = |name: String, role, ready| Member {
        name,
        role,
        ready,
        address: None,
        agent: None,
        older: false,
        message: None,
    };
    let mut all = vec![member("hippo-0".to_owned(), Role::Primary, primary)];
    let replicas = replicas.iter().enumerate();
    all.extend(replicas.map(|(i, ready)| member(format!("hippo-replica-{i}"), Role::Replica, *ready)));
    Assessment {
        members: all,
        ..Assessment::default()
    }
}

fn status(cluster: &PgCluster) -> &ServerStatus {
    cluster.status.as_ref().unwrap()
}

fn phase(cluster: &PgCluster) -> &str {
    status(cluster).phase.as_deref().unwrap()
}

#[test]
fn from_start_to_ready_and_then_nothing_changes() {
    let applied = Applied::default();
    let starting = round(&hippo("{replicas: 2}"), &applied, &members(false, &[]), 10);
    assert_eq!(phase(&starting), "Progressing");
    assert!(!status(&starting).initialized);
    let half = round(&starting, &applied, &members(true, &[true]), 20);
    assert_eq!(phase(&half), "Progressing");
    assert_eq!(
        find(&status(&half).conditions, "Ready").unwrap().message,
        "1 of 2 replicas stream"
    );
    let ready = round(&half, &applied, &members(true, &[true, true]), 30);
    let now = status(&ready);
    assert_eq!(
        (phase(&ready), now.initialized, now.ready_replicas),
        ("Ready", true, Some(2))
    );
    assert_eq!(
        now.selector.as_deref(),
        Some("pgop.dev/cluster=hippo,pgop.dev/role=replica")
    );
    assert_eq!(
        now.endpoints.as_ref().unwrap().read_only.as_deref(),
        Some("hippo-replica.zoo.svc:5432")
    );
    assert_eq!(now.strategy.as_ref().unwrap().version, 3);
    // Where `pgo` finds the server, also of a strategy that it does not know.
    assert_eq!(
        (now.container.as_deref(), now.socket.as_deref()),
        (Some("postgres"), Some("/pgop/run"))
    );
    assert_eq!(
        round(&ready, &applied, &members(true, &[true, true]), 99),
        ready,
        "an idle resource is not written"
    );
}

#[test]
fn what_was_accepted_is_recorded_and_without_replicas_there_is_no_address_for_reading() {
    let spec = "{replicas: 0, postgres: {user: shop, database: goods, image: 'own/postgres:16'}, pod: {runAsUser: 70}}";
    let ready = round(&hippo(spec), &Applied::default(), &members(true, &[]), 10);
    let now = status(&ready);
    assert_eq!(
        serde_json::to_value(now.accepted.as_ref().unwrap()).unwrap(),
        json!({"image": "own/postgres:16", "version": "16", "user": "shop", "database": "goods", "runAsUser": 70})
    );
    let endpoints = now.endpoints.as_ref().unwrap();
    assert_eq!(
        (endpoints.read_write.as_str(), &endpoints.read_only),
        ("hippo.zoo.svc:5432", &None)
    );
    let mut changed = ready.clone();
    changed.spec.server.postgres.user = Some("boss".to_owned());
    assert_eq!(
        changed.validate(&observed(), &strategy()).unwrap_err()[0].field,
        "spec.postgres.user",
        "and the next spec is judged by it"
    );
}

#[test]
fn a_secret_that_is_not_used_any_more_is_told() {
    let applied = Applied {
        unused_secrets: vec!["hippo-user".to_owned()],
        ..Applied::default()
    };
    let ready = round(&hippo("{replicas: 0}"), &applied, &members(true, &[]), 10);
    let accepted = find(&status(&ready).conditions, "Accepted").unwrap();
    assert_eq!(
        (accepted.reason.as_str(), accepted.status.as_str()),
        ("UnusedSecrets", "True")
    );
    assert!(
        accepted
            .message
            .contains("Secret hippo-user was generated and is not used any more"),
        "{accepted:?}"
    );
}

#[test]
fn a_lost_replica_degrades_and_a_wanted_one_does_not() {
    let applied = Applied::default();
    let ready = round(&hippo("{replicas: 1}"), &applied, &members(true, &[true]), 10);
    let lost = round(&ready, &applied, &members(true, &[false]), 20);
    assert_eq!(phase(&lost), "Degraded");
    assert!(status(&lost).initialized, "what was once served is known for ever");
    let mut scaled = ready.clone();
    scaled.spec.replicas = 2;
    scaled.metadata.generation = Some(2);
    let scaling = round(&scaled, &applied, &members(true, &[true]), 20);
    assert_eq!(
        (phase(&scaling), status(&scaling).observed_generation),
        ("Progressing", Some(2))
    );
    assert_eq!(
        phase(&round(&scaling, &applied, &members(true, &[true]), 30)),
        "Progressing"
    );
    let mut fewer = ready;
    fewer.spec.replicas = 0;
    fewer.metadata.generation = Some(2);
    assert_eq!(
        phase(&round(&fewer, &applied, &members(true, &[true]), 20)),
        "Progressing",
        "a replica is being removed"
    );
}

#[test]
fn what_fails_is_told_in_its_own_words() {
    let mut assessment = members(false, &[]);
    assessment.failing = vec!["hippo-0: directory /pgdata/hippo belongs to PgDatabase/zoo/hippo".to_owned()];
    let failing = round(&hippo("{replicas: 0}"), &Applied::default(), &assessment, 10);
    assert_eq!(phase(&failing), "Degraded");
    let degraded = find(&status(&failing).conditions, "Degraded").unwrap();
    assert_eq!(
        (degraded.reason.as_str(), degraded.message.as_str()),
        ("MemberFails", assessment.failing[0].as_str())
    );
}

#[test]
fn a_rollout_is_progress_though_everything_serves() {
    let mut assessment = members(true, &[]);
    assessment.rolling = vec!["hippo has 0 of 1 pods up to date".to_owned()];
    let rolling = round(&hippo("{replicas: 0}"), &Applied::default(), &assessment, 10);
    assert_eq!(phase(&rolling), "Progressing");
    assert!(is_true(&status(&rolling).conditions, "Ready"));
}

#[test]
fn a_roll_is_progress_and_no_trouble_and_tells_how_far_it_is() {
    let progressing = |cluster: &PgCluster| {
        let condition = find(&status(cluster).conditions, "Progressing").unwrap().clone();
        (phase(cluster).to_owned(), condition.reason, condition.message)
    };
    let roll = |done: usize, next: Option<&str>, unready: &[&str]| Roll {
        servers: 2,
        due: ["hippo-replica-0", "hippo-0"][done..]
            .iter()
            .map(|name| ((*name).to_owned(), Cause::Spec))
            .collect(),
        next: next.map(str::to_owned),
        unready: unready.iter().map(|name| (*name).to_owned()).collect(),
        ..Roll::default()
    };
    let with = |roll: Roll, primary: bool, replica: bool| Assessment {
        roll,
        ..members(primary, &[replica])
    };
    let (nothing, ready) = (Applied::default(), members(true, &[true]));
    let begun = with(roll(0, Some("hippo-replica-0"), &[]), true, true);
    let step = Taken {
        reason: "RollingRestart",
        why: begun.roll.sentence().unwrap(),
    };
    let applied = Applied {
        step: Some(step),
        ..Applied::default()
    };
    let now = round(
        &round(&hippo("{replicas: 1}"), &nothing, &ready, 10),
        &applied,
        &begun,
        20,
    );
    let sentence = "0 of 2 servers are up to date; hippo-replica-0 is restarted, as the spec asks for other pods";
    assert_eq!(
        progressing(&now),
        (
            "Progressing".to_owned(),
            "RollingRestart".to_owned(),
            sentence.to_owned()
        )
    );

    let now = round(
        &now,
        &nothing,
        &with(roll(1, None, &["hippo-replica-0"]), true, false),
        30,
    );
    let sentence = "1 of 2 servers is up to date; the next is restarted when hippo-replica-0 is ready, as the spec asks for other pods";
    assert_eq!(
        progressing(&now),
        (
            "Progressing".to_owned(),
            "RollingRestart".to_owned(),
            sentence.to_owned()
        )
    );
    assert!(!is_true(&status(&now).conditions, "Degraded"));

    // The last one starts: nobody has to be restarted any more.
    let last = with(roll(2, None, &["hippo-0"]), false, true);
    let now = round(&round(&now, &nothing, &last, 40), &nothing, &last, 50);
    assert_eq!(
        (phase(&now), progressing(&now).1),
        ("Progressing", "Starting".to_owned())
    );
    let now = round(&now, &nothing, &ready, 60);
    assert_eq!((phase(&now), progressing(&now).1), ("Ready", "UpToDate".to_owned()));
    assert_eq!(phase(&round(&now, &nothing, &members(false, &[true]), 70)), "Degraded");

    // A server that fails is trouble all the same.
    let mut fails = with(roll(1, None, &["hippo-replica-0"]), true, false);
    fails.failing = vec!["hippo-replica-0: ErrImagePull".to_owned()];
    let now = round(&now, &nothing, &fails, 80);
    assert_eq!(
        (phase(&now), progressing(&now).1),
        ("Degraded", "RollingRestart".to_owned())
    );
}

#[test]
fn who_runs_as_another_version_made_it_is_told() {
    let mut assessment = members(true, &[true]);
    assessment.roll.older = vec!["hippo-0".to_owned()];
    let ready = round(&hippo("{replicas: 1}"), &Applied::default(), &assessment, 10);
    let condition = find(&status(&ready).conditions, "Progressing").unwrap();
    assert_eq!((phase(&ready), condition.reason.as_str()), ("Ready", "UpToDate"));
    assert_eq!(
        condition.message,
        "everything is as the spec says; hippo-0 runs as another version of pgop made it until the next restart"
    );
    let older =
        |cluster: &PgCluster| -> Vec<bool> { status(cluster).members.iter().map(|member| member.older).collect() };
    assert_eq!(older(&ready), [true, false]);
    assert_eq!(status(&ready).upgrade, None);
    let mut asked = ready.clone();
    let annotations = asked.metadata.annotations.get_or_insert_default();
    annotations.insert("pgop.dev/upgrade".to_owned(), "Mon 30 Nov".to_owned());
    let done = round(&asked, &Applied::default(), &members(true, &[true]), 20);
    assert_eq!(older(&done), [false, false]);
    assert_eq!(status(&done).upgrade.as_deref(), Some("Mon 30 Nov"));
}

#[test]
fn whose_agent_a_server_runs_is_read_off_its_pod() {
    let pod = json!({"metadata": {"name": "hippo-0", "labels": {"pgop.dev/role": "primary"}},
        "spec": {"initContainers": [{"name": "mine", "image": "other:1"}, {"name": "agent", "image": "op:1"}], "containers": []}});
    let invalid = [Invalid::new("spec", "is wrong", "mend it")];
    let mut observed = observed();
    observed.live.pods = vec![serde_json::from_value(pod).unwrap()];
    let known = round(&hippo("{replicas: 0}"), &Applied::default(), &members(true, &[]), 10);
    let refused = known.with_status(&Round {
        observed: &observed,
        strategy: None,
        now: Timestamp::UNIX_EPOCH,
        outcome: Outcome::Invalid(&invalid),
    });
    assert_eq!(status(&refused).members[0].agent.as_deref(), Some("op:1"));
}

#[test]
fn a_restore_ends_in_success_or_names_its_path() {
    let restoring = hippo("{replicas: 0, restore: {claim: vault, path: rhino-backups/2026-11-22-09-00-00}}");
    let with = |job: JobState| Assessment {
        job: Some(job),
        ..Assessment::default()
    };
    let held = Held {
        kind: Kind::StatefulSet,
        name: "hippo".to_owned(),
        why: "waits".to_owned(),
    };
    let applied = Applied {
        held: vec![held],
        ..Applied::default()
    };
    let running = round(
        &restoring,
        &applied,
        &with(JobState::Running {
            waits: None,
            started: None,
        }),
        10,
    );
    assert_eq!(phase(&running), "Restoring");
    let broken = JobState::Failed {
        message: "PG_VERSION is missing".to_owned(),
        started: None,
        finished: None,
    };
    let failed = round(&running, &applied, &with(broken), 20);
    assert_eq!(phase(&failed), "Failed");
    let message = &find(&status(&failed).conditions, "Restored").unwrap().message;
    for part in [
        "rhino-backups/2026-11-22-09-00-00",
        "vault",
        "PG_VERSION is missing",
        "no server was started",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let done = JobState::Succeeded {
        message: None,
        started: None,
        finished: None,
    };
    let restored = round(&running, &Applied::default(), &with(done), 30);
    assert_eq!(status(&restored).restored_from, restoring.spec.server.restore);
    assert!(is_true(&status(&restored).conditions, "Restored"));
}

#[test]
fn a_refused_change_leaves_what_runs_alone() {
    let ready = round(
        &hippo("{replicas: 1}"),
        &Applied::default(),
        &members(true, &[true]),
        10,
    );
    let mut changed = ready.clone();
    changed.metadata.generation = Some(2);
    let invalid = [Invalid::new(
        "spec.storage.size",
        "is 1Gi, and the claims have 2Gi",
        "set it to 2Gi or more",
    )];
    let with_pods = |names: &[&str]| {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let pod = |name: &&str| serde_json::from_value(json!({"metadata": {"name": name}, "status": ready})).unwrap();
        let mut observed = observed();
        observed.live.pods = names.iter().map(pod).collect();
        let outcome = Outcome::Invalid(&invalid);
        let now = Timestamp::UNIX_EPOCH;
        changed.with_status(&Round {
            observed: &observed,
            strategy: None,
            now,
            outcome,
        })
    };
    let refused = with_pods(&["hippo-0", "hippo-replica-0"]);
    let now = status(&refused);
    assert_eq!((phase(&refused), now.observed_generation), ("Invalid", Some(2)));
    assert!(is_true(&now.conditions, "Ready"), "it still serves");
    assert_eq!(now.members, status(&ready).members);
    let accepted = find(&now.conditions, "Accepted").unwrap();
    assert_eq!(
        accepted.message,
        "spec.storage.size is 1Gi, and the claims have 2Gi: set it to 2Gi or more"
    );
    // The spec can't be read, but the truth can: a server that goes down meanwhile is not said to be up.
    let down = with_pods(&["hippo-replica-0"]);
    assert!(!is_true(&status(&down).conditions, "Ready") && is_true(&status(&down).conditions, "Degraded"));
    assert_eq!(status(&down).members[0].message.as_deref(), Some("has no pod"));
}

#[test]
fn what_the_servers_tell_is_told_and_goes_with_them() {
    let pod = |name: &str, kind: &str, status: &str, message: &str| {
        let condition =
            json!({"type": format!("pgop.dev/{kind}"), "status": status, "reason": "Because", "message": message});
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": [condition]}})).unwrap()
    };
    let mut seen = observed();
    seen.live.pods = vec![
        pod("hippo-0", "SettingsInForce", "False", "\"work_mem\" is wrong"),
        pod("hippo-replica-0", "Following", "True", "it follows the primary"),
    ];
    let (applied, both) = (Applied::default(), members(true, &[true]));
    let told = round_seeing(&seen, &hippo("{replicas: 1}"), &applied, &both, 10);
    let condition = |cluster: &PgCluster, kind| find(&status(cluster).conditions, kind).cloned();
    let settings = condition(&told, "SettingsInForce").unwrap();
    assert_eq!(
        (settings.status.as_str(), settings.message.as_str()),
        ("False", "hippo-0: \"work_mem\" is wrong")
    );
    assert_eq!(condition(&told, "Following").unwrap().status, "True");
    assert_eq!(phase(&told), "Ready", "the servers serve");
    assert_eq!(
        condition(&told, "Ready").unwrap().message,
        "the primary serves and 1 replica streams; hippo-0: \"work_mem\" is wrong",
        "the one sentence of `kubectl get`"
    );
    assert_eq!(round_seeing(&seen, &told, &applied, &both, 20), told);
    // The pods are being replaced, and say nothing yet.
    let silent = round(&told, &applied, &both, 30);
    assert_eq!(condition(&silent, "SettingsInForce"), Some(settings));
    let alone = round(&silent, &applied, &members(true, &[]), 40);
    assert_eq!(condition(&alone, "Following"), None);
}

fn not_taken(what: &str, answer: &str) -> Applied {
    Applied {
        failed: vec![Failed {
            object: Some((Kind::PersistentVolumeClaim, "hippo-pvc".to_owned())),
            reason: "ApplyFailed",
            message: format!("could not apply {what}: {answer}"),
        }],
        ..Applied::default()
    }
}

#[test]
fn what_runs_is_told_truly_though_something_could_not_be_applied() {
    let refused = not_taken(
        "PersistentVolumeClaim hippo-pvc",
        "only dynamically provisioned claims can be resized",
    );
    let serving = round(&hippo("{replicas: 1}"), &refused, &members(true, &[true]), 10);
    let now = status(&serving);
    assert_eq!((phase(&serving), now.initialized), ("Degraded", true));
    assert_eq!((now.members.len(), now.ready_replicas), (2, Some(1)));
    assert!(is_true(&now.conditions, "Ready"), "it serves");
    for kind in ["Degraded", "Progressing"] {
        let told = find(&now.conditions, kind).unwrap();
        assert_eq!(
            (told.status.as_str(), told.reason.as_str()),
            ("True", "ApplyFailed"),
            "{kind}"
        );
        assert!(told.message.contains("hippo-pvc: only dynamically"), "{}", told.message);
    }
    let lost = round(&serving, &refused, &members(true, &[false]), 20);
    assert!(
        !is_true(&status(&lost).conditions, "Ready"),
        "and when it does not, that is told too"
    );
}

#[test]
fn a_pod_that_fails_and_is_no_member_is_told() {
    let mut assessment = members(true, &[]);
    assessment.failing = vec!["hippo-pooler-5d8f-x2: container pooler ended with exit code 1".to_owned()];
    let failing = round(&hippo("{replicas: 0}"), &Applied::default(), &assessment, 10);
    let degraded = find(&status(&failing).conditions, "Degraded").unwrap();
    assert_eq!(
        (degraded.status.as_str(), degraded.reason.as_str()),
        ("True", "PodFails")
    );
    assert_eq!(
        (phase(&failing), degraded.message.as_str()),
        ("Degraded", assessment.failing[0].as_str())
    );
    assert!(is_true(&status(&failing).conditions, "Ready"), "the servers serve");
}

#[test]
fn what_stays_in_force_is_told_beside_what_is_refused() {
    let ready = round(
        &hippo("{replicas: 1}"),
        &Applied::default(),
        &members(true, &[true]),
        10,
    );
    let mut changed = ready.clone();
    changed.metadata.generation = Some(2);
    let (observed, strategy) = (observed(), strategy());
    let validated = ready.validate(&observed, &strategy).unwrap();
    let refused = [Invalid::new(
        "spec.postgres.version",
        "is 18, and the data is of 17",
        "set it back",
    )];
    let assessment = members(true, &[false]);
    let after = changed.with_status(&Round {
        observed: &observed,
        now: Timestamp::from_second(20).unwrap(),
        strategy: Some(&strategy),
        outcome: Outcome::Applied(Carried {
            validated: &validated,
            refused: &refused,
            strategy: &strategy,
            applied: &Applied::default(),
            assessment: &assessment,
        }),
    });
    let now = status(&after);
    assert_eq!((phase(&after), now.ready_replicas), ("Invalid", Some(0)));
    let accepted = find(&now.conditions, "Accepted").unwrap();
    assert_eq!(
        (accepted.status.as_str(), accepted.reason.as_str()),
        ("False", "Invalid")
    );
    assert!(!is_true(&now.conditions, "Ready"), "a replica was lost meanwhile");
}

#[test]
fn members_are_found_though_the_status_was_lost() {
    let (mut observed, strategy) = (observed(), strategy());
    let pod = json!({"metadata": {"name": "hippo-0", "uid": "p", "labels": {"pgop.dev/role": "primary"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "hippo", "uid": "s", "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let set = json!({"metadata": {"name": "hippo", "uid": "s",
        "ownerReferences": [{"kind": "PgCluster", "name": "hippo", "uid": "u1", "controller": true}]}});
    observed.live.pods = vec![serde_json::from_value(pod).unwrap()];
    observed
        .live
        .objects
        .insert((Kind::StatefulSet, "hippo".to_owned()), set);
    let after = hippo("{replicas: 0}").with_status(&Round {
        observed: &observed,
        now: Timestamp::UNIX_EPOCH,
        strategy: Some(&strategy),
        outcome: Outcome::Failed {
            reason: "ObserveFailed",
            message: "could not read Secret x: forbidden".to_owned(),
        },
    });
    let now = status(&after);
    assert_eq!((now.members[0].name.as_str(), now.initialized), ("hippo-0", true));
    assert!(is_true(&now.conditions, "Ready") && is_true(&now.conditions, "Degraded"));
}

#[test]
fn data_from_before_is_announced() {
    let cluster = hippo("{replicas: 0}");
    let said = |claim: &str, at: &str| {
        let (mut observed, strategy) = (observed(), strategy());
        let live = json!({"metadata": {"name": claim, "creationTimestamp": at}});
        observed
            .live
            .objects
            .insert((Kind::PersistentVolumeClaim, claim.to_owned()), live);
        let validated = cluster.validate(&observed, &strategy).unwrap();
        let assessment = members(true, &[]);
        let outcome = Outcome::Applied(Carried {
            validated: &validated,
            refused: &[],
            strategy: &strategy,
            applied: &Applied::default(),
            assessment: &assessment,
        });
        let after = cluster.with_status(&Round {
            observed: &observed,
            strategy: Some(&strategy),
            now: Timestamp::UNIX_EPOCH,
            outcome,
        });
        find(&status(&after).conditions, "Accepted").unwrap().message.clone()
    };
    assert_eq!(said("hippo-pvc", "2026-11-22T10:00:01Z"), "strategy streaming");
    assert_eq!(
        said("hippo-pvc", "2026-11-21T10:00:00Z"),
        "strategy streaming; serves the data that claim hippo-pvc had before"
    );
    assert_eq!(
        said("data-hippo-replica-0", "2026-11-21T10:00:00Z"),
        "strategy streaming; claim data-hippo-replica-0 has data from before, which the primary does not serve"
    );
}

fn backup_round(state: JobState) -> PgBackup {
    backup_of("u1", state, None)
}

/// A round of a backup whose source has that uid.
fn backup_of(source: &str, state: JobState, before: Option<&PgBackup>) -> PgBackup {
    let new: PgBackup = serde_saphyr::from_str(
        "apiVersion: pgop.dev/v1alpha1\nkind: PgBackup\n\
         metadata: {name: b, namespace: zoo, uid: u2, generation: 1, creationTimestamp: 2026-11-22T17:57:21Z}\n\
         spec: {source: {kind: PgCluster, name: hippo}}",
    )
    .unwrap();
    let backup = before.cloned().unwrap_or(new);
    let mut cluster = hippo("{}");
    cluster.metadata.uid = Some(source.to_owned());
    let names =
        json!({"image": "postgres:17", "database": format!("db-of-{source}"), "user": format!("role-of-{source}")});
    cluster.status = serde_json::from_value(json!({"accepted": names})).unwrap();
    let observed = Observed {
        source: Some(SourceFacts::Cluster(Box::new(cluster))),
        ..Observed::default()
    };
    let strategy = strategy();
    let validated = backup.validate(&observed, &strategy).unwrap();
    let assessment = Assessment {
        job: Some(state),
        ..Assessment::default()
    };
    let outcome = Outcome::Applied(Carried {
        validated: &validated,
        refused: &[],
        strategy: &strategy,
        applied: &Applied::default(),
        assessment: &assessment,
    });
    backup.with_status(&Round {
        observed: &observed,
        strategy: Some(&strategy),
        now: Timestamp::UNIX_EPOCH,
        outcome,
    })
}

#[test]
fn a_backup_knows_of_which_source_it_is_also_when_another_has_its_name() {
    let uid = |backup: &PgBackup| {
        let status = backup.status.clone().unwrap();
        let uid = status.source_uid.unwrap();
        // A restore has to be told these, maybe when the source is gone.
        let names = (status.database.unwrap(), status.user.unwrap());
        assert_eq!(names, (format!("db-of-{uid}"), format!("role-of-{uid}")));
        uid
    };
    let running = || JobState::Running {
        waits: None,
        started: None,
    };
    let waiting = backup_of("u1", JobState::Absent, None);
    assert_eq!(uid(&waiting), "u1");
    let waiting = backup_of("u2", JobState::Absent, Some(&waiting));
    assert_eq!(uid(&waiting), "u2", "nothing was copied yet");
    let begun = backup_of("u2", running(), Some(&waiting));
    assert_eq!(uid(&backup_of("u3", running(), Some(&begun))), "u2");
}

#[test]
fn a_backup_is_complete_or_absent() {
    let report = json!({"path": "hippo-backups/x", "bytes": 7, "startLsn": "0/1", "stopLsn": "0/2", "timeline": 1, "serverVersion": "15.18"});
    let succeeded = backup_round(JobState::Succeeded {
        message: Some(report.to_string()),
        started: None,
        finished: None,
    });
    let status = succeeded.status.as_ref().unwrap();
    assert_eq!(
        (status.phase.as_deref(), status.path.as_deref(), status.size_bytes),
        (Some("Succeeded"), Some("hippo-backups/x"), Some(7))
    );
    assert!(succeeded.is_finished());
    let failed = backup_round(JobState::Failed {
        message: "the source died".to_owned(),
        started: None,
        finished: None,
    });
    let status = failed.status.as_ref().unwrap();
    assert_eq!(
        (status.phase.as_deref(), status.path.as_deref()),
        (Some("Failed"), None)
    );
    assert!(failed.is_finished());
    assert_eq!(find(&status.conditions, "Complete").unwrap().message, "the source died");
    let running = backup_round(JobState::Running {
        waits: None,
        started: None,
    });
    assert!(!running.is_finished());
}

#[test]
fn while_a_backup_runs_it_is_told_what_it_waits_for() {
    let told = |waits: Option<&str>, before: Option<&PgBackup>| {
        let waits = waits.map(str::to_owned);
        let state = JobState::Running { waits, started: None };
        let status = backup_of("u1", state, before).status.unwrap();
        assert_eq!(status.phase.as_deref(), Some("Running"));
        find(&status.conditions, "Complete").unwrap().message.clone()
    };
    // The source of this round has no primary that is ready.
    assert_eq!(
        told(None, None),
        "writes to claim hippo-backup-pvc; PgCluster hippo does not serve now, and is waited for"
    );
    assert_eq!(
        told(Some("the first try failed"), None),
        "the first try failed; PgCluster hippo does not serve now, and is waited for"
    );
}

#[test]
fn a_backup_whose_source_is_gone_says_so_while_its_job_goes_on_and_when_it_failed() {
    let backup = backup_round(JobState::Running {
        waits: None,
        started: None,
    });
    let told = |job_status: serde_json::Value| {
        let mut observed = Observed::default();
        let owner = json!([{"apiVersion": "pgop.dev/v1alpha1", "kind": "PgBackup", "name": "b", "uid": "u2", "controller": true}]);
        let job = json!({"metadata": {"name": "b", "ownerReferences": owner}, "status": job_status});
        observed.live.objects.insert((Kind::Job, "b".to_owned()), job);
        let strategy = strategy();
        let refused = backup.validate(&observed, &strategy).unwrap_err();
        let after = backup.with_status(&Round {
            observed: &observed,
            strategy: Some(&strategy),
            now: Timestamp::UNIX_EPOCH,
            outcome: Outcome::Invalid(&refused),
        });
        let status = after.status.unwrap();
        let message = find(&status.conditions, "Complete").unwrap().message.clone();
        (status.phase.unwrap(), message)
    };
    let gone = "; spec.source names PgCluster hippo, which does not exist";
    let (phase, message) = told(json!({}));
    assert_eq!(phase, "Running");
    assert!(
        message.starts_with(&format!("writes to claim hippo-backup-pvc{gone}")),
        "{message}"
    );
    let (phase, message) =
        told(json!({"conditions": [{"type": "Failed", "status": "True", "message": "three tries"}]}));
    assert_eq!(phase, "Failed");
    assert!(
        message.starts_with(&format!("Job b failed: three tries{gone}")),
        "{message}"
    );
}
