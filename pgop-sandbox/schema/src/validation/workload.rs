//! The rules for what makes pods: Deployment, `ReplicaSet`, `DaemonSet`, `StatefulSet`, Job, `CronJob`.

use croner::parser::{CronParser, Seconds};
use serde_json::{Value, json};

use super::{immutable, labels, not_negative, pod, text, without};
use crate::{Cause, path};

/// A Deployment.
pub(super) fn deployment(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    selected_template(spec, "deployment", causes);
    runs_always(spec, "Deployment", causes);
    for field in [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        not_negative(spec, field, "spec", causes);
    }
    rolling_update(&spec["strategy"], "spec.strategy", causes);
    let [deadline, ready] = ["progressDeadlineSeconds", "minReadySeconds"].map(|field| spec[field].as_i64());
    if deadline.is_some_and(|deadline| deadline <= ready.unwrap_or(0)) {
        let detail = "must be greater than minReadySeconds";
        causes.push(Cause::invalid(
            "spec.progressDeadlineSeconds",
            &spec["progressDeadlineSeconds"],
            detail,
        ));
    }
    keeps_selector(object, old, causes);
}

/// A `ReplicaSet`.
pub(super) fn replica_set(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    selected_template(spec, "replicaset", causes);
    runs_always(spec, "ReplicaSet", causes);
    for field in ["replicas", "minReadySeconds"] {
        not_negative(spec, field, "spec", causes);
    }
    keeps_selector(object, old, causes);
}

/// A `DaemonSet`.
pub(super) fn daemon_set(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    selected_template(spec, "daemonset", causes);
    runs_always(spec, "DaemonSet", causes);
    for field in ["minReadySeconds", "revisionHistoryLimit"] {
        not_negative(spec, field, "spec", causes);
    }
    keeps_selector(object, old, causes);
}

/// A `StatefulSet`. Most of its spec stays as it was created.
pub(super) fn stateful_set(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    selected_template(&with_claims_mounted(spec), "statefulset", causes);
    runs_always(spec, "StatefulSet", causes);
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        not_negative(spec, field, "spec", causes);
    }
    let strategy = &spec["updateStrategy"];
    if let Some(rolling) = strategy.get("rollingUpdate") {
        if text(strategy, "type") == "OnDelete" {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            causes.push(Cause::invalid("spec.updateStrategy.rollingUpdate", rolling, detail));
        }
        not_negative(rolling, "partition", "spec.updateStrategy.rollingUpdate", causes);
    }
    let Some(old) = old else { return };
    let changeable = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if without(spec, &changeable) != without(&old["spec"], &changeable) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
                      'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        causes.push(Cause::forbidden("spec", detail));
    }
}

/// The spec as its pods will have it: each claim template is a volume of its name, before those that the pod template names.
fn with_claims_mounted(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let templates = spec["volumeClaimTemplates"].as_array();
    let claims: Vec<Value> = templates
        .into_iter()
        .flatten()
        .map(|claim| claim["metadata"]["name"].clone())
        .collect();
    let Some(pod) = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut) else {
        return spec;
    };
    let volumes = pod.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        for name in claims {
            if !volumes.iter().any(|volume| volume["name"] == name) {
                let source = json!({"claimName": name});
                volumes.push(json!({"name": name, "persistentVolumeClaim": source}));
            }
        }
    }
    spec
}

/// A `ControllerRevision`.
pub(super) fn controller_revision(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    not_negative(object, "revision", "", causes);
    if let Some(old) = old {
        immutable::field(object, old, "data", causes);
    }
}

/// A Job. The server sets its selector before.
pub(super) fn job(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    job_spec(spec, "spec", causes);
    if let Some(selector) = spec.get("selector") {
        labels::selector(selector, "spec.selector", causes);
        matches_template(spec, selector, causes);
    }
    let Some(old) = old else { return };
    for field in [
        "spec.selector",
        "spec.completionMode",
        "spec.podFailurePolicy",
        "spec.backoffLimitPerIndex",
        "spec.managedBy",
        "spec.successPolicy",
    ] {
        immutable::field(object, old, field, causes);
    }
    if !is_elastic(spec, &old["spec"]) {
        immutable::field(object, old, "spec.completions", causes);
    }
    let held_back = old.pointer("/spec/suspend") == Some(&json!(true)) && old.pointer("/status/startTime").is_none();
    let [new_template, old_template] = [spec, &old["spec"]].map(|spec| scheduled_apart(&spec["template"], held_back));
    if new_template != old_template {
        causes.push(Cause::invalid("spec.template", &spec["template"], "field is immutable"));
    }
}

/// An indexed Job grows and shrinks when completions and parallelism change together.
fn is_elastic(new: &Value, old: &Value) -> bool {
    let completions = &new["completions"];
    text(new, "completionMode") == "Indexed" && *completions != old["completions"] && *completions == new["parallelism"]
}

/// The template without what may change as long as a suspended Job has not started.
fn scheduled_apart(template: &Value, held_back: bool) -> Value {
    let mut template = template.clone();
    if !held_back {
        return template;
    }
    for (place, fields) in [
        ("/metadata", &["labels", "annotations"][..]),
        (
            "/spec",
            &["nodeSelector", "tolerations", "affinity", "schedulingGates"][..],
        ),
    ] {
        if let Some(object) = template.pointer_mut(place) {
            *object = Value::Object(without(object, fields));
        }
    }
    template
}

/// A `CronJob`.
pub(super) fn cron_job(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    // Its Jobs' names are longer by the minute.
    if let Some(name) = object
        .pointer("/metadata/name")
        .filter(|name| name.as_str().is_some_and(|name| name.len() > 52))
    {
        causes.push(Cause::invalid(
            "metadata.name",
            name,
            "must be no more than 52 characters",
        ));
    }
    schedule(text(spec, "schedule"), causes);
    for field in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        not_negative(spec, field, "spec", causes);
    }
    if let Some(zone) = spec
        .get("timeZone")
        .filter(|zone| zone.as_str().is_some_and(str::is_empty))
    {
        causes.push(Cause::invalid(
            "spec.timeZone",
            zone,
            "timeZone must be nil or non-empty string",
        ));
    }
    let at = "spec.jobTemplate.spec";
    job_spec(&spec["jobTemplate"]["spec"], at, causes);
    if spec["jobTemplate"]["spec"].get("selector").is_some()
        && spec["jobTemplate"]["spec"]["manualSelector"] != json!(true)
    {
        let detail = "`selector` will be auto-generated";
        causes.push(Cause::invalid(
            path::child(at, "selector"),
            &spec["jobTemplate"]["spec"]["selector"],
            detail,
        ));
    }
}

/// Five fields, or a name such as `@daily`.
fn schedule(schedule: &str, causes: &mut Vec<Cause>) {
    let at = "spec.schedule";
    let mut invalid = |detail: &str| causes.push(Cause::invalid(at, &json!(schedule), detail));
    if schedule.is_empty() {
        causes.push(Cause::required(at, ""));
    } else if schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=") {
        invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if let Some(name) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        if !known.contains(&name) && !name.starts_with("every ") {
            invalid(&format!("unrecognized descriptor: @{name}"));
        }
    } else {
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        if fields.len() != 5 {
            invalid(&format!(
                "expected exactly 5 fields, found {}: [{}]",
                fields.len(),
                fields.join(" ")
            ));
        } else if let Err(error) = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .build()
            .parse(schedule)
        {
            // The same reader as the controller's: what is let in is understood there.
            invalid(&error.to_string());
        }
    }
}

fn job_spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "backoffLimitPerIndex",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ] {
        not_negative(spec, field, at, causes);
    }
    let at_template = path::child(at, "template");
    pod::template(&spec["template"], &at_template, causes);
    let at_policy = path::child(&at_template, "spec.restartPolicy");
    match spec.pointer("/template/spec/restartPolicy").and_then(Value::as_str) {
        Some("OnFailure" | "Never") => {}
        None | Some("" | "Always") => causes.push(Cause::required(at_policy, "valid values: \"OnFailure\", \"Never\"")),
        Some(other) => causes.push(Cause::not_supported(at_policy, &json!(other), &["OnFailure", "Never"])),
    }
    if text(spec, "completionMode") == "Indexed" && spec.get("completions").is_none() {
        causes.push(Cause::required(
            path::child(at, "completions"),
            "when completion mode is Indexed",
        ));
    }
}

/// A selector that selects something, and the template's labels among it.
fn selected_template(spec: &Value, kind: &str, causes: &mut Vec<Cause>) {
    let selector = &spec["selector"];
    labels::selector(selector, "spec.selector", causes);
    if labels::is_empty(selector) {
        causes.push(Cause::invalid(
            "spec.selector",
            selector,
            &format!("empty selector is invalid for {kind}"),
        ));
    } else {
        matches_template(spec, selector, causes);
    }
    pod::template(&spec["template"], "spec.template", causes);
}

fn matches_template(spec: &Value, selector: &Value, causes: &mut Vec<Cause>) {
    let found = spec.pointer("/template/metadata/labels").unwrap_or(&Value::Null);
    if !labels::matches(selector, found) {
        let detail = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", found, detail));
    }
}

/// Pods that replace one another run until they are told to stop.
fn runs_always(spec: &Value, kind: &str, causes: &mut Vec<Cause>) {
    let pod = &spec["template"]["spec"];
    if let Some(policy) = pod.get("restartPolicy").filter(|policy| *policy != "Always") {
        causes.push(Cause::not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    if pod.get("activeDeadlineSeconds").is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        causes.push(Cause::forbidden("spec.template.spec.activeDeadlineSeconds", &detail));
    }
}

fn rolling_update(strategy: &Value, at: &str, causes: &mut Vec<Cause>) {
    let Some(rolling) = strategy.get("rollingUpdate") else {
        return;
    };
    let at = path::child(at, "rollingUpdate");
    if text(strategy, "type") == "Recreate" {
        causes.push(Cause::forbidden(
            at,
            "may not be specified when strategy `type` is 'Recreate'",
        ));
        return;
    }
    let is_zero = |field: &str| matches!(rolling.get(field), Some(value) if value == 0 || value == "0%");
    if is_zero("maxUnavailable") && is_zero("maxSurge") {
        let detail = "may not be 0 when `maxSurge` is 0";
        causes.push(Cause::invalid(
            path::child(&at, "maxUnavailable"),
            &rolling["maxUnavailable"],
            detail,
        ));
    }
    for field in ["maxUnavailable", "maxSurge"] {
        int_or_percent(rolling, field, &at, causes);
    }
}

/// A number that is not negative, or such a percentage.
pub(super) fn int_or_percent(object: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    let value = object.get(field).unwrap_or(&Value::Null);
    match value {
        Value::String(text) if !is_percent(text) => {
            let detail = "a valid percent string must be a numeric string followed by an ending '%' \
                          (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            causes.push(Cause::invalid(path::child(at, field), value, detail));
        }
        _ => not_negative(object, field, at, causes),
    }
}

fn is_percent(text: &str) -> bool {
    let digits = text.strip_suffix('%').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn keeps_selector(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if let Some(old) = old {
        immutable::field(object, old, "spec.selector", causes);
    }
}

#[cfg(test)]
mod tests;
