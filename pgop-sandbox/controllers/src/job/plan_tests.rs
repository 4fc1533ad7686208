use super::*;
use crate::job::account::TRACKED;
use serde_json::{Value, json};

const NOW: &str = "2026-11-01T10:00:00Z";

fn job(change: impl FnOnce(&mut Value)) -> Job {
    let mut job = json!({
        "metadata": { "name": "backup", "namespace": "shop", "uid": "job-1" },
        "spec": {
            "completions": 1, "parallelism": 1, "backoffLimit": 2,
            "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "main" }] } },
        },
    });
    change(&mut job);
    serde_json::from_value(job).unwrap()
}

fn pod_of(name: &str, phase: &str, change: impl FnOnce(&mut Value)) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "shop", "uid": name, "finalizers": [TRACKED], "creationTimestamp": "2026-11-01T09:00:00Z" },
        "status": { "phase": phase },
    });
    change(&mut pod);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn ended(name: &str, phase: &str, at: &str) -> Arc<Pod> {
    pod_of(name, phase, |pod| {
        pod["status"]["containerStatuses"] = json!([{
            "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": i32::from(phase == "Failed"), "finishedAt": at } },
        }]);
    })
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn planned(job: &Job, pods: &[Arc<Pod>]) -> Plan {
    plan(job, pods, true, at(NOW))
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .map(|action| match action {
            Action::Create(None) => "+".into(),
            Action::Create(Some(index)) => format!("+{index}"),
            Action::Delete { pod, uncounted: true } => format!("-{}", pod.name_any()),
            Action::Delete { pod, uncounted: false } => format!("-{} failed", pod.name_any()),
            Action::Release(pod) => format!("release {}", pod.name_any()),
            Action::Tell { reason, .. } => reason.clone(),
        })
        .collect()
}

fn conditions(status: &JobStatus) -> Vec<&str> {
    status
        .conditions
        .iter()
        .flatten()
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.type_.as_str())
        .collect()
}

/// Plans again and again on the job as it was left, the way events bring it back. Released pods lose their finalizer.
fn run(mut job: Job, mut pods: Vec<Arc<Pod>>) -> (JobStatus, Vec<String>) {
    let mut told = Vec::new();
    for _ in 0..10 {
        let plan = planned(&job, &pods);
        told.extend(
            steps(&plan)
                .into_iter()
                .filter(|step| step.starts_with(char::is_uppercase)),
        );
        for action in &plan.actions {
            match action {
                Action::Release(released) => {
                    for pod in &mut pods {
                        if pod.name_any() == released.name_any() {
                            Arc::make_mut(pod).metadata.finalizers = None;
                        }
                    }
                }
                Action::Delete { pod: deleted, .. } => pods.retain(|pod| pod.name_any() != deleted.name_any()),
                Action::Create(_) | Action::Tell { .. } => {}
            }
        }
        job.status = Some(plan.status);
    }
    (job.status.unwrap(), told)
}

#[test]
fn a_new_job_makes_its_pods() {
    let plan = planned(&job(|_| {}), &[]);
    assert_eq!(steps(&plan), ["+"]);
    assert_eq!(plan.status.start_time, Some(Time(at(NOW))));
    let wide = job(|job| {
        job["spec"]["completions"] = json!(5);
        job["spec"]["parallelism"] = json!(2);
    });
    assert_eq!(steps(&planned(&wide, &[])), ["+", "+"]);
    assert_eq!(steps(&planned(&wide, &[pod_of("a", "Running", |_| {})])), ["+"]);
}

#[test]
fn nothing_is_made_while_the_cache_lags_behind() {
    assert!(plan(&job(|_| {}), &[], false, at(NOW)).actions.is_empty());
}

#[test]
fn a_job_completes_when_its_pods_are_counted() {
    let (status, told) = run(job(|_| {}), vec![pod_of("a", "Succeeded", |_| {})]);
    assert_eq!(conditions(&status), ["SuccessCriteriaMet", "Complete"]);
    assert_eq!(status.succeeded, Some(1));
    assert_eq!(status.completion_time, Some(Time(at(NOW))));
    assert_eq!(told, ["Completed"]);
}

#[test]
fn it_does_not_complete_while_a_pod_still_ends() {
    let going = pod_of("b", "Running", |pod| {
        pod["metadata"]["deletionTimestamp"] = json!(NOW);
        pod["metadata"]["finalizers"] = json!([]);
    });
    let (status, _) = run(job(|_| {}), vec![pod_of("a", "Succeeded", |_| {}), going]);
    assert_eq!(conditions(&status), ["SuccessCriteriaMet"]);
}

#[test]
fn beyond_the_limit_a_job_fails_and_its_pods_go() {
    let failed = |name| ended(name, "Failed", "2026-11-01T09:00:00Z");
    let (status, told) = run(job(|_| {}), vec![failed("a"), failed("b"), failed("c")]);
    assert_eq!(conditions(&status), ["FailureTarget", "Failed"]);
    assert_eq!(status.failed, Some(3));
    assert_eq!(told, ["BackoffLimitExceeded"]);
    let reason = condition(&status, "Failed").unwrap().reason.as_deref();
    assert_eq!(reason, Some("BackoffLimitExceeded"));
}

#[test]
fn failures_are_followed_by_growing_pauses() {
    let again = |pods: &[Arc<Pod>]| planned(&job(|job| job["spec"]["backoffLimit"] = json!(6)), pods);
    let first = again(&[ended("a", "Failed", "2026-11-01T09:59:56Z")]);
    assert_eq!((first.actions.len(), first.again), (0, Some(Duration::from_secs(6))));
    let second = again(&[
        ended("a", "Failed", "2026-11-01T09:59:30Z"),
        ended("b", "Failed", "2026-11-01T09:59:56Z"),
    ]);
    assert_eq!(second.again, Some(Duration::from_secs(16)));
    assert_eq!(steps(&again(&[ended("a", "Failed", "2026-11-01T09:59:50Z")])), ["+"]);
}

#[test]
fn a_success_ends_the_pauses() {
    let many = job(|job| job["spec"]["completions"] = json!(5));
    let pods = [
        ended("a", "Failed", "2026-11-01T09:59:50Z"),
        ended("b", "Succeeded", "2026-11-01T09:59:58Z"),
    ];
    assert_eq!(steps(&planned(&many, &pods)), ["+"]);
}

#[test]
fn restarts_in_place_count_against_the_limit() {
    let on_failure = job(|job| job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure"));
    let restarted = |count: i32| {
        pod_of("a", "Running", |pod| {
            pod["status"]["containerStatuses"] =
                json!([{ "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": count }]);
        })
    };
    assert!(planned(&on_failure, &[restarted(1)]).actions.is_empty());
    assert_eq!(steps(&planned(&on_failure, &[restarted(2)])), ["-a failed"]);
}

#[test]
fn a_deadline_ends_a_job_and_is_waited_for() {
    let timed = |start: &'static str| {
        job(move |job| {
            job["spec"]["activeDeadlineSeconds"] = json!(60);
            job["status"] = json!({ "startTime": start });
        })
    };
    let running = [pod_of("a", "Running", |_| {})];
    assert_eq!(
        planned(&timed("2026-11-01T09:59:30Z"), &running).again,
        Some(Duration::from_secs(30))
    );
    let over = planned(&timed("2026-11-01T09:58:00Z"), &running);
    assert_eq!(steps(&over), ["-a failed"]);
    assert_eq!(
        condition(&over.status, "FailureTarget").unwrap().reason.as_deref(),
        Some("DeadlineExceeded")
    );
}

#[test]
fn a_suspended_job_lets_its_pods_go_without_counting_them() {
    let suspended = job(|job| {
        job["spec"]["suspend"] = json!(true);
        job["status"] = json!({ "startTime": "2026-11-01T09:00:00Z" });
    });
    let plan = planned(&suspended, &[pod_of("a", "Running", |_| {})]);
    assert_eq!(steps(&plan), ["Suspended", "-a"]);
    assert_eq!(plan.status.start_time, None);
    let resumed = job(|job| job["status"] = json!({ "conditions": plan.status.conditions }));
    let plan = planned(&resumed, &[]);
    assert_eq!(steps(&plan), ["Resumed", "+"]);
    assert_eq!(plan.status.start_time, Some(Time(at(NOW))));
}

#[test]
fn a_queue_of_work_is_done_when_one_succeeded_and_none_runs() {
    let queue = || {
        job(|job| {
            job["spec"]["completions"] = Value::Null;
            job["spec"]["parallelism"] = json!(2);
        })
    };
    assert_eq!(steps(&planned(&queue(), &[])), ["+", "+"]);
    let half = [pod_of("a", "Succeeded", |_| {}), pod_of("b", "Running", |_| {})];
    assert!(planned(&queue(), &half).actions.is_empty());
    let (status, _) = run(queue(), vec![half[0].clone(), pod_of("b", "Succeeded", |_| {})]);
    assert_eq!(conditions(&status), ["SuccessCriteriaMet", "Complete"]);
}

#[test]
fn an_indexed_job_makes_one_pod_for_each_index() {
    let indexed = job(|job| {
        job["spec"]["completionMode"] = json!("Indexed");
        job["spec"]["completions"] = json!(4);
        job["spec"]["parallelism"] = json!(3);
        job["status"] = json!({ "completedIndexes": "1", "succeeded": 1 });
    });
    let running = pod_of("a", "Running", |pod| {
        pod["metadata"]["annotations"] = json!({ (INDEX): "0" });
    });
    let plan = planned(&indexed, &[running]);
    assert_eq!(steps(&plan), ["+2", "+3"]);
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("1"));
}

#[test]
fn surplus_pods_go_and_those_not_ready_first() {
    let ready = pod_of("ready", "Running", |pod| {
        pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
    });
    let plan = planned(&job(|_| {}), &[ready, pod_of("starting", "Pending", |_| {})]);
    assert_eq!(steps(&plan), ["-starting"]);
}

#[test]
fn the_failure_policy_ends_a_job_at_once() {
    let strict = job(|job| {
        job["spec"]["podFailurePolicy"] =
            json!({ "rules": [{ "action": "FailJob", "onExitCodes": { "operator": "In", "values": [1] } }] });
    });
    let (status, told) = run(strict, vec![ended("a", "Failed", NOW)]);
    assert_eq!(told, ["PodFailurePolicy"]);
    assert_eq!(conditions(&status), ["FailureTarget", "Failed"]);
}

#[test]
fn a_finished_job_only_releases_what_is_left() {
    let finished = job(
        |job| job["status"] = json!({ "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": "2026-11-01T09:59:00Z" }] }),
    );
    let plan = planned(&finished, &[pod_of("a", "Failed", |_| {})]);
    assert_eq!(steps(&plan), ["release a"]);
    assert_eq!(plan.status, finished.status.clone().unwrap());
}

#[test]
fn a_finished_job_lives_for_its_time() {
    let finished = |ttl: Value| {
        job(|job| {
            job["spec"]["ttlSecondsAfterFinished"] = ttl;
            job["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True", "lastTransitionTime": "2026-11-01T09:59:00Z" }] });
        })
    };
    assert_eq!(
        remaining_life(&finished(json!(100)), at(NOW)),
        Some(Duration::from_secs(40))
    );
    assert_eq!(remaining_life(&finished(json!(0)), at(NOW)), Some(Duration::ZERO));
    assert_eq!(remaining_life(&finished(Value::Null), at(NOW)), None);
    assert_eq!(remaining_life(&job(|_| {}), at(NOW)), None);
}

#[test]
fn a_job_someone_else_runs_is_left_alone() {
    let managed = job(|job| job["spec"]["managedBy"] = json!("example.com/queue"));
    assert!(planned(&managed, &[]).actions.is_empty());
}
