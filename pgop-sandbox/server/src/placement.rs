//! Where pods are: binding to a node, and eviction from it.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::call::Call;
use crate::delete;
use crate::response::{self, Body, Style};
use crate::selector::LabelSelector;
use crate::status::{ApiError, Result, write_error};
use crate::store::{Expect, Key, Object, WriteError};
use crate::write::now;

const BUDGETS: &str = "poddisruptionbudgets.policy";

fn done() -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    response::json(StatusCode::CREATED, &status, Style::default())
}

/// `POST` to the subresource `binding`: the pod is to run on that node.
pub(crate) fn bind(call: &Call, binding: &Value) -> Result<Response<Body>> {
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        let cause = pgop_sandbox_schema::Cause::required("target.name", "");
        return Err(ApiError::invalid_kind("", "Binding", &call.path.name, &[cause]));
    }
    change(call, |pod| {
        if let Some(already) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
            let why = format!("pod {} is already assigned to node {already:?}", call.path.name);
            return Err(ApiError::conflict(&call.resource, &call.path.name, &why));
        }
        pod["spec"]["nodeName"] = node.into();
        set_condition(pod, &json!({"type": "PodScheduled", "status": "True"}));
        Ok(())
    })?;
    Ok(done())
}

/// Changes the pod of the path, again when another write came between.
fn change(call: &Call, change: impl Fn(&mut Value) -> Result<()>) -> Result<()> {
    loop {
        let stored = call.stored()?;
        let mut pod = stored.value().clone();
        change(&mut pod)?;
        match call.state.store.put(
            &call.resource.table,
            &call.key(),
            Expect::Revision(stored.revision),
            pod,
        ) {
            Ok(_) => return Ok(()),
            Err(WriteError::Changed) => {}
            Err(error) => return Err(write_error(error, &call.resource, &call.path.name)),
        }
    }
}

fn set_condition(pod: &mut Value, condition: &Value) {
    let mut condition = condition.clone();
    condition["lastTransitionTime"] = now().into();
    match pod["status"].get_mut("conditions").and_then(Value::as_array_mut) {
        Some(list) => {
            list.retain(|other| other["type"] != condition["type"]);
            list.push(condition);
        }
        None => pod["status"]["conditions"] = json!([condition]),
    }
}

/// `POST` to the subresource `eviction`: a deletion that disruption budgets may refuse.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>
pub(crate) fn evict(call: &Call, eviction: &Value) -> Result<Response<Body>> {
    let options = delete::Options::read(call, &eviction["deleteOptions"])?;
    let pod = call.stored()?;
    if is_protected(pod.value()) {
        spend_budget(call, pod.value(), call.dry_run()? || options.is_dry_run())?;
    }
    if !options.is_dry_run() {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        });
        change(call, |pod| {
            set_condition(pod, &condition);
            Ok(())
        })?;
    }
    delete::delete_object(call, &call.key(), &options)?;
    Ok(done())
}

/// Pods that do not serve are not counted by budgets.
fn is_protected(pod: &Value) -> bool {
    let idle = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed" | "Pending")
    );
    !idle && pod["metadata"].get("deletionTimestamp").is_none_or(Value::is_null)
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Takes one from what the budget of the pod allows.
fn spend_budget(call: &Call, pod: &Value, dry: bool) -> Result<()> {
    loop {
        let (_, budgets) = call.state.store.list(BUDGETS);
        let of_pod = |(key, budget): &(&Key, &std::sync::Arc<Object>)| {
            let selector = LabelSelector::of_object(&budget.value()["spec"]["selector"]);
            key.namespace == call.path.namespace && selector.is_ok_and(|selector| selector.matches(pod))
        };
        let mut matching = budgets.iter().filter(of_pod);
        let Some((key, budget)) = matching.next() else {
            return Ok(());
        };
        if matching.next().is_some() {
            return Err(ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let status = &budget.value()["status"];
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        if !is_ready(pod)
            && (budget.value()["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
                || (number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0))
        {
            return Ok(());
        }
        let name = &key.name;
        if status["observedGeneration"].as_i64().unwrap_or(0)
            < budget.value()["metadata"]["generation"].as_i64().unwrap_or(0)
        {
            return Err(ApiError::disruption_budget(&format!(
                "The disruption budget {name} is still being processed by the server."
            )));
        }
        if number("disruptionsAllowed") <= 0 {
            let (needed, healthy) = (number("desiredHealthy"), number("currentHealthy"));
            return Err(ApiError::disruption_budget(&format!(
                "The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
            )));
        }
        if dry {
            return Ok(());
        }
        let mut spent = budget.value().clone();
        spent["status"]["disruptionsAllowed"] = (number("disruptionsAllowed") - 1).into();
        spent["status"]["disruptedPods"][&call.path.name] = now().into();
        match call
            .state
            .store
            .put(BUDGETS, key, Expect::Revision(budget.revision), spent)
        {
            Ok(_) => return Ok(()),
            Err(WriteError::Changed | WriteError::Missing) => {}
            Err(error) => return Err(write_error(error, &call.resource, &call.path.name)),
        }
    }
}
