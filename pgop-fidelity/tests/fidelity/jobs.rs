//! Jobs and cron jobs. <https://kubernetes.io/docs/concepts/workloads/controllers/job/>

use pgop_fidelity::{Patch, Space, Subject, job, names, uid, with};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) fn subject() -> Subject {
    Subject::new("jobs")
        .holds(a_cron_job_makes_a_job_at_its_minute)
        .holds(a_suspended_cron_job_makes_no_job)
        .holds(a_job_that_succeeds_is_complete)
        .holds(a_job_that_fails_is_failed)
        .holds(a_failing_job_is_tried_again)
        .holds(a_job_has_a_deadline)
        .holds(a_finished_job_goes_after_its_time)
        .holds(a_job_runs_as_many_pods_at_once_as_it_may)
        .holds(pods_of_a_job_are_labelled_and_owned)
        .holds(pods_of_a_job_have_prefixed_labels)
        .holds(the_template_of_a_job_is_immutable)
        .holds(a_job_does_not_restart_always)
        .holds(a_deleted_job_leaves_its_pods_unless_told)
        .holds(a_suspended_job_has_no_pods)
        .holds(a_schedule_must_be_one)
}

fn jobs(name: &str) -> String {
    format!("batch/v1:jobs/{name}")
}

async fn start(s: &Space, body: &Value) -> Value {
    s.account().await;
    s.post("batch/v1:jobs", body).await.is(201)
}

fn condition<'a>(job: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = job["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions.iter().find(|c| c["type"] == kind && c["status"] == "True")
}

async fn pods_of(s: &Space, name: &str) -> Vec<Value> {
    s.get(&format!("pods?labelSelector=job-name%3D{name}")).await.ok()["items"]
        .as_array()
        .unwrap()
        .clone()
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/>
async fn a_job_that_succeeds_is_complete(s: Space) {
    start(&s, &job("a", "true")).await;
    let done = s
        .until("it is complete", &jobs("a"), |j| condition(j, "Complete").is_some())
        .await;
    assert_eq!(done["status"]["succeeded"], 1);
    assert!(
        done["status"]["startTime"].is_string() && done["status"]["completionTime"].is_string(),
        "{done}"
    );
    assert_eq!(pods_of(&s, "a").await.len(), 1, "its pod stays, with its log");
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy>
async fn a_job_that_fails_is_failed(s: Space) {
    start(&s, &job("a", "exit 3")).await;
    let done = s
        .until("it has failed", &jobs("a"), |j| condition(j, "Failed").is_some())
        .await;
    assert_eq!(condition(&done, "Failed").unwrap()["reason"], "BackoffLimitExceeded");
    assert_eq!(done["status"]["failed"], 1);
    assert!(
        done["status"]["completionTime"].is_null(),
        "only a success has one: {done}"
    );
    assert!(condition(&done, "Complete").is_none());
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy>
async fn a_failing_job_is_tried_again(s: Space) {
    start(&s, &with(job("a", "exit 3"), json!({"spec": {"backoffLimit": 1}}))).await;
    s.until("a second try is there", &jobs("a"), |j| {
        condition(j, "Failed").is_some()
    })
    .await;
    assert_eq!(pods_of(&s, "a").await.len(), 2);
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup>
async fn a_job_has_a_deadline(s: Space) {
    start(
        &s,
        &with(
            job("a", crate::workloads::WAIT),
            json!({"spec": {"activeDeadlineSeconds": 1, "backoffLimit": 6}}),
        ),
    )
    .await;
    let done = s
        .until("it has failed", &jobs("a"), |j| condition(j, "Failed").is_some())
        .await;
    assert_eq!(condition(&done, "Failed").unwrap()["reason"], "DeadlineExceeded");
    s.eventually("its pods are gone", async || pods_of(&s, "a").await.is_empty())
        .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/>
async fn a_finished_job_goes_after_its_time(s: Space) {
    start(
        &s,
        &with(job("a", "true"), json!({"spec": {"ttlSecondsAfterFinished": 1}})),
    )
    .await;
    s.gone(&jobs("a")).await;
    s.eventually("its pods go too", async || pods_of(&s, "a").await.is_empty())
        .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#parallel-jobs>
async fn a_job_runs_as_many_pods_at_once_as_it_may(s: Space) {
    let never =
        json!({"spec": {"completions": 3, "parallelism": 2, "template": {"spec": {"schedulerName": "nobody"}}}});
    start(&s, &with(job("a", "true"), never)).await;
    let seen = s
        .until("two are active", &jobs("a"), |j| j["status"]["active"] == 2)
        .await;
    assert_eq!(pods_of(&s, "a").await.len(), 2, "{seen}");
    s.patch(Patch::Merge, &jobs("a"), &json!({"spec": {"parallelism": 1}}))
        .await
        .is(200);
    s.until("one is active", &jobs("a"), |j| j["status"]["active"] == 1)
        .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-labels>
async fn pods_of_a_job_are_labelled_and_owned(s: Space) {
    let never =
        json!({"spec": {"template": {"metadata": {"labels": {"mine": "x"}}, "spec": {"schedulerName": "nobody"}}}});
    let made = start(&s, &with(job("a", "true"), never)).await;
    s.eventually("its pod is there", async || pods_of(&s, "a").await.len() == 1)
        .await;
    let pod = pods_of(&s, "a").await.remove(0);
    let labels = &pod["metadata"]["labels"];
    assert_eq!(
        (&labels["mine"], &labels["job-name"], &labels["controller-uid"]),
        (&json!("x"), &json!("a"), &json!(uid(&made)))
    );
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], uid(&made));
    assert!(
        made["spec"]["selector"]["matchLabels"]
            .as_object()
            .unwrap()
            .values()
            .any(|v| *v == uid(&made)),
        "{made}"
    );
}

/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#batch-kubernetes-io-job-name>
async fn pods_of_a_job_have_prefixed_labels(s: Space) {
    let never = json!({"spec": {"template": {"spec": {"schedulerName": "nobody"}}}});
    let made = start(&s, &with(job("a", "true"), never)).await;
    s.eventually("its pod is there", async || pods_of(&s, "a").await.len() == 1)
        .await;
    let labels = &pods_of(&s, "a").await.remove(0)["metadata"]["labels"];
    assert_eq!(labels["batch.kubernetes.io/job-name"], "a");
    assert_eq!(labels["batch.kubernetes.io/controller-uid"], uid(&made));
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/>
async fn the_template_of_a_job_is_immutable(s: Space) {
    let never = json!({"spec": {"parallelism": 0}});
    start(&s, &with(job("a", "true"), never)).await;
    let change = json!({"spec": {"template": {"metadata": {"labels": {"x": "y"}}}}});
    let reply = s.patch(Patch::Merge, &jobs("a"), &change).await;
    reply.fails_with(422, "Invalid", &["spec.template: Invalid value:", "field is immutable"]);
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-template>
async fn a_job_does_not_restart_always(s: Space) {
    let always = json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}});
    let reply = s.post("batch/v1:jobs", &with(job("a", "true"), always)).await;
    reply.fails_with(
        422,
        "Invalid",
        &["spec.template.spec.restartPolicy", "\"OnFailure\"", "\"Never\""],
    );
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/> (batch/v1 keeps the default of its first days: orphan)
async fn a_deleted_job_leaves_its_pods_unless_told(s: Space) {
    let never = json!({"spec": {"template": {"spec": {"schedulerName": "nobody"}}}});
    for (name, options) in [
        ("kept", json!({})),
        ("gone", json!({"propagationPolicy": "Background"})),
    ] {
        start(&s, &with(job(name, "true"), never.clone())).await;
        s.eventually("its pod is there", async || pods_of(&s, name).await.len() == 1)
            .await;
        s.delete_with(&jobs(name), &options).await.is(200);
        s.gone(&jobs(name)).await;
    }
    s.eventually("the pod goes", async || pods_of(&s, "gone").await.is_empty())
        .await;
    let kept = pods_of(&s, "kept").await;
    assert_eq!(kept.len(), 1);
    assert!(kept[0]["metadata"]["ownerReferences"].is_null(), "{}", kept[0]);
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#suspending-a-job>
async fn a_suspended_job_has_no_pods(s: Space) {
    start(&s, &with(job("a", "true"), json!({"spec": {"suspend": true}}))).await;
    s.until("it is suspended", &jobs("a"), |j| condition(j, "Suspended").is_some())
        .await;
    assert!(pods_of(&s, "a").await.is_empty());
    s.patch(Patch::Merge, &jobs("a"), &json!({"spec": {"suspend": false}}))
        .await
        .is(200);
    s.until("it is complete", &jobs("a"), |j| condition(j, "Complete").is_some())
        .await;
}

const CRON_JOBS: &str = "batch/v1:cronjobs";

fn cron_job(schedule: &str) -> Value {
    let spec = with(
        job("a", "true")["spec"].take(),
        json!({"template": {"spec": {"schedulerName": "nobody"}}}),
    );
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "a"}, "spec": {
        "schedule": schedule, "jobTemplate": {"metadata": {"labels": {"from": "cron"}}, "spec": spec}}})
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>
async fn a_cron_job_makes_a_job_at_its_minute(s: Space) {
    s.account().await;
    let made = s.post(CRON_JOBS, &cron_job("* * * * *")).await.is(201);
    assert_eq!(
        (&made["spec"]["concurrencyPolicy"], &made["spec"]["suspend"]),
        (&json!("Allow"), &json!(false))
    );
    let limits = (
        &made["spec"]["successfulJobsHistoryLimit"],
        &made["spec"]["failedJobsHistoryLimit"],
    );
    assert_eq!(limits, (&json!(3), &json!(1)));
    let wait = Duration::from_secs(90);
    let list = s
        .until_in(wait, "a job is there", "batch/v1:jobs", |l| l["items"][0].is_object())
        .await;
    let job = &list["items"][0]["metadata"];
    assert!(job["name"].as_str().unwrap().starts_with("a-"), "{job}");
    assert_eq!(job["labels"]["from"], "cron");
    assert_eq!(
        (&job["ownerReferences"][0]["kind"], &job["ownerReferences"][0]["uid"]),
        (&json!("CronJob"), &json!(uid(&made)))
    );
    s.until("it tells when", &format!("{CRON_JOBS}/a"), |c| {
        c["status"]["lastScheduleTime"].is_string()
    })
    .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>
async fn a_schedule_must_be_one(s: Space) {
    s.post(CRON_JOBS, &cron_job("sometimes")).await.fails_with(
        422,
        "Invalid",
        &["spec.schedule: Invalid value: \"sometimes\""],
    );
    s.post(CRON_JOBS, &cron_job("61 * * * *")).await.fails(422, "Invalid");
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-suspension>
async fn a_suspended_cron_job_makes_no_job(s: Space) {
    let body = with(cron_job("* * * * *"), json!({"spec": {"suspend": true}}));
    s.post(CRON_JOBS, &body).await.is(201);
    // Over the turn of a minute.
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert!(names(&s.get("batch/v1:jobs").await.ok()).is_empty());
}
