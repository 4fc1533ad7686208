//! Which servers have to be restarted for a change, and in which order. Pure.
//!
//! It is about the pods of `StatefulSet`s with `updateStrategy: OnDelete`: Kubernetes makes their pods, and never restarts one for a change. What is
//! asked of a pod is the annotation [`REQUESTED`] of its template; a pod with another one is out of date. A pod that differs in anything else was made
//! by another pgop: it serves as it is, and becomes new with its next restart.
//!
//! - Servers go one at a time, replicas first, from the highest ordinal down, and the primary last: each when all others are ready.
//! - So a roll ends at the first server that does not become ready, and the others serve on.
//! - A server that has never served under its own settings loses nothing: it goes at once. So does one that crashes again and again, unless the
//!   settings that it would get have just made another one fail.
//! - One whose claim is being deleted stays: Kubernetes keeps the claim as long as its pod is there, and not a moment longer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::description::Description;
use crate::kind::Kind;
use crate::label::{REQUESTED, TEMPLATE, UPGRADE};
use crate::observed::{Live, controller_uid_of};
use crate::pod::{claims_of, condition, has_served, is_ready, is_stuck};

/// Label of a pod that names the revision of its `StatefulSet` that it was made from.
const REVISION: &str = "controller-revision-hash";
/// Condition of a server's pod: whether it runs with the settings that it was given.
const SETTINGS_IN_FORCE: &str = "pgop.dev/SettingsInForce";
/// Its reason where they come into force with a restart.
const RESTART_NEEDED: &str = "RestartNeeded";

/// What `kubectl rollout restart` writes on a template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// How far a change is that restarts servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// How many servers there should be.
    pub servers: usize,
    /// Names of the pods that have to be restarted, in that order, and why.
    pub due: Vec<(String, Cause)>,
    /// The one of them that is restarted now; none while another is not ready.
    pub next: Option<String>,
    /// Names of the pods that are not ready, being deleted, or missing.
    pub unready: Vec<String>,
    /// Names of the pods that another pgop made, and that stay as they are.
    pub older: Vec<String>,
    /// Names of the pods that have to be restarted and are not, each with its claim that is being deleted.
    pub kept: Vec<(String, String)>,
}

/// Why a server has to be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The spec asks for another pod.
    Spec,
    /// It says itself that settings come into force with a restart: its words.
    Settings(String),
    /// Somebody asked for a restart: `kubectl rollout restart`.
    Asked,
    /// Somebody asked for pods as this pgop makes them.
    Upgrade,
    /// It does not start as another pgop made it.
    Stuck,
}

impl Roll {
    /// How far the pods are.
    pub fn of(description: &Description, live: &Live) -> Self {
        let (servers, is_settled) = servers(description, live);
        let next = if is_settled { next(&servers) } else { None };
        let mut due: Vec<&Server<'_>> = servers.iter().filter(|server| server.due.is_some()).collect();
        due.sort_by_key(|server| server.turn());
        let names = |wanted: fn(&Server<'_>) -> bool| {
            let wanted = servers.iter().filter(|server| wanted(server));
            wanted.map(|server| server.name.clone()).collect::<Vec<_>>()
        };
        Self {
            servers: servers.len(),
            next: next.map(|server| server.name.clone()),
            unready: names(|server| server.state != State::Ready),
            older: names(|server| server.is_older),
            kept: due
                .iter()
                .filter_map(|server| Some((server.name.clone(), server.leaving_claim.clone()?)))
                .collect(),
            due: due
                .into_iter()
                .filter_map(|server| Some((server.name.clone(), server.due.clone()?)))
                .collect(),
        }
    }

    /// How far it is, for people: `1 of 3 servers is up to date; hippo-replica-0 is restarted, as the spec asks for other pods`. Nothing where no
    /// server has to be restarted.
    pub fn sentence(&self) -> Option<String> {
        let (_, first) = self.due.first()?;
        let kept = self.kept.first().filter(|_| self.next.is_none());
        let next = self.next.as_ref().or(kept.map(|(pod, _)| pod));
        let cause = self.due.iter().find(|(name, _)| Some(name) == next);
        let why = cause.map_or(first, |(_, cause)| cause).words();
        let then = match (next, kept) {
            (_, Some((pod, claim))) => format!(
                "{pod} is not restarted, though {why}; claim {claim} is being deleted, and its data goes when this pod does: back it up, and delete the pod"
            ),
            (Some(pod), None) => format!("{pod} is restarted, as {why}"),
            (None, None) if self.unready.is_empty() => format!("the next is restarted soon, as {why}"),
            (None, None) => format!(
                "the next is restarted when {} is ready, as {why}",
                self.unready.join(", ")
            ),
        };
        let (all, done) = (self.servers, self.servers.saturating_sub(self.due.len()));
        let is = if done == 1 { "is" } else { "are" };
        Some(match all {
            1 => then,
            _ => format!("{done} of {all} servers {is} up to date; {then}"),
        })
    }
}

impl Cause {
    fn words(&self) -> &str {
        match self {
            Self::Spec => "the spec asks for other pods",
            Self::Settings(words) => words,
            Self::Asked => "a restart was asked for",
            Self::Upgrade => "an upgrade of the servers was asked for",
            Self::Stuck => "it does not start as it was made",
        }
    }
}

/// A server that there should be.
#[derive(Debug)]
struct Server<'a> {
    name: String,
    set: &'a str,
    ordinal: i64,
    is_primary: bool,
    state: State,
    /// Why it has to be restarted.
    due: Option<Cause>,
    is_older: bool,
    /// A claim that its pod holds and that is being deleted.
    leaving_claim: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no pod.
    Missing,
    /// Its pod is being deleted.
    Leaving,
    /// It has not been ready since its pod was made.
    New,
    /// It has been ready, and now a container crashes again and again.
    Crashing,
    /// It has been ready, and is not at the moment.
    Faltering,
    Ready,
}

impl Server<'_> {
    /// Its place in the order: replicas first, and of them the highest ordinal.
    fn turn(&self) -> (bool, &str, i64) {
        (self.is_primary, self.set, -self.ordinal)
    }
}

/// The one that is restarted now.
fn next<'a, 'b>(servers: &'a [Server<'b>]) -> Option<&'a Server<'b>> {
    let mut due: Vec<&Server<'_>> = servers.iter().filter(|server| server.due.is_some()).collect();
    due.sort_by_key(|server| server.turn());
    let replicas_wait = due.iter().any(|server| !server.is_primary);
    due.retain(|server| server.leaving_claim.is_none());
    if let Some(never_served) = due.iter().find(|server| server.state == State::New) {
        return Some(never_served);
    }
    let is_there = |server: &&Server<'_>| !matches!(server.state, State::Missing | State::Leaving);
    let up_to_date = || servers.iter().filter(is_there).filter(|server| server.due.is_none());
    if let Some(crashing) = due.iter().find(|server| server.state == State::Crashing)
        && up_to_date().all(|server| server.state == State::Ready)
    {
        return Some(crashing);
    }
    let all_but = |one: &Server<'_>| {
        let mut others = servers.iter().filter(|other| other.name != one.name);
        others.all(|other| other.state == State::Ready)
    };
    due.into_iter()
        .filter(|server| !(server.is_primary && replicas_wait))
        .find(|server| all_but(server))
}

/// The servers that there should be, and whether the `StatefulSet`s are seen by their controller: a pod that is deleted before comes back as it was.
fn servers<'a>(description: &Description, live: &'a Live) -> (Vec<Server<'a>>, bool) {
    let mut is_settled = true;
    let mut all = Vec::new();
    for (name, set) in live.objects.iter().filter_map(|((kind, name), set)| {
        (*kind == Kind::StatefulSet && is_on_delete(set)).then_some((name.as_str(), set))
    }) {
        let number = |pointer: &str| set.pointer(pointer).and_then(Value::as_i64);
        is_settled &= number("/status/observedGeneration") >= number("/metadata/generation");
        let first = number("/spec/ordinals/start").unwrap_or(0);
        let uid = set.pointer("/metadata/uid").and_then(Value::as_str);
        let pods: BTreeMap<&str, &Pod> = live
            .pods
            .iter()
            .filter(|pod| uid.is_some() && controller_uid_of(&pod.metadata) == uid)
            .filter_map(|pod| Some((pod.metadata.name.as_deref()?, pod)))
            .collect();
        for ordinal in first..first + number("/spec/replicas").unwrap_or(1) {
            let server = format!("{name}-{ordinal}");
            let pod = pods.get(server.as_str()).copied();
            let state = pod.map_or(State::Missing, state);
            let lags = pod.is_some_and(|pod| is_of_other_revision(pod, set));
            let due = pod
                .filter(|_| state != State::Leaving)
                .and_then(|pod| due(pod, set, state, lags));
            all.push(Server {
                is_primary: pod.is_some_and(|pod| is_primary(description, pod)),
                is_older: lags && due.is_none() && state != State::Leaving,
                leaving_claim: pod.and_then(|pod| leaving_claim(pod, live)),
                name: server,
                set: name,
                ordinal,
                state,
                due,
            });
        }
    }
    (all, is_settled)
}

/// A claim that this pod holds and that goes when the pod does.
pub(crate) fn leaving_claim(pod: &Pod, live: &Live) -> Option<String> {
    let is_leaving = |name: &&str| {
        let claim = live.get(Kind::PersistentVolumeClaim, name);
        claim.is_some_and(|claim| claim.pointer("/metadata/deletionTimestamp").is_some())
    };
    claims_of(pod).find(is_leaving).map(str::to_owned)
}

/// Whether Kubernetes leaves it to us to restart its pods.
pub(crate) fn is_on_delete(set: &Value) -> bool {
    set.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete")
}

fn is_primary(description: &Description, pod: &Pod) -> bool {
    let (labels, own) = (&description.members.primary, pod.metadata.labels.as_ref());
    !labels.is_empty()
        && labels
            .iter()
            .all(|(key, value)| own.and_then(|own| own.get(key)) == Some(value))
}

fn state(pod: &Pod) -> State {
    if pod.metadata.deletion_timestamp.is_some() {
        State::Leaving
    } else if is_ready(pod) {
        State::Ready
    } else if !has_served(pod) {
        State::New
    } else if is_stuck(pod) {
        State::Crashing
    } else {
        State::Faltering
    }
}

fn due(pod: &Pod, set: &Value, state: State, lags: bool) -> Option<Cause> {
    let wanted = set.pointer("/spec/template/metadata/annotations");
    let differs = |key: &str| {
        let wanted = wanted.and_then(|all| all.get(key)?.as_str());
        let has = pod.metadata.annotations.as_ref().and_then(|all| all.get(key));
        has.map(String::as_str) != wanted
    };
    if differs(REQUESTED) {
        return Some(Cause::Spec);
    }
    if differs(RESTARTED_AT) {
        return Some(Cause::Asked);
    }
    let settings = condition(pod, SETTINGS_IN_FORCE)
        .filter(|it| it.status == "False" && it.reason.as_deref() == Some(RESTART_NEEDED));
    if let Some(told) = settings {
        let words = told.message.clone().filter(|words| !words.is_empty());
        return Some(Cause::Settings(
            words.unwrap_or_else(|| "its settings need it".to_owned()),
        ));
    }
    if lags && is_upgraded(set) {
        return Some(Cause::Upgrade);
    }
    (lags && state == State::New && is_stuck(pod)).then_some(Cause::Stuck)
}

/// Whether its template would make another pod.
fn is_of_other_revision(pod: &Pod, set: &Value) -> bool {
    let newest = set.pointer("/status/updateRevision").and_then(Value::as_str);
    let own = pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION));
    newest.is_some() && own.map(String::as_str) != newest
}

/// Whether somebody asked for pods of the template as it is now.
fn is_upgraded(set: &Value) -> bool {
    let first_word = |key: &str| {
        let text = set.pointer("/metadata/annotations")?.get(key)?.as_str()?;
        text.split(' ').next()
    };
    first_word(UPGRADE).is_some_and(|asked| Some(asked) == first_word(TEMPLATE))
}

#[cfg(test)]
mod tests;
