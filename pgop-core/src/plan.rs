//! Step 3: what to do, as data. Pure: the same input gives the same plan, for the operator, `pgo create --dry-run` and the tests.

mod occupied;
mod poke;
mod requested;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use thiserror::Error;

use crate::complete::{complete, seal};
use crate::description::Names;
use crate::difference::lacks;
use crate::hash::short_hash;
use crate::kind::Kind;
use crate::label;
use crate::manifest::Manifest;
use crate::observed::{ClaimFacts, Live, Observed, controller, controller_uid};
use crate::owner::Owner;
use crate::ownership::adopted;
use crate::pod::claims_of;
use crate::quantity::milli;
use crate::roll::{is_on_delete, leaving_claim};
use crate::strategy::{Step, Strategy, StrategyError};
use crate::validated::{Checked, SecretUse, Server, Validated};

use self::occupied::Occupied;

/// What a reconcile does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Secrets that have to exist, generated where they are missing.
    pub secrets: Vec<SecretRequest>,
    /// Objects to send, in this order.
    pub apply: Vec<Apply>,
    /// Objects that are as they should be.
    pub unchanged: Vec<(Kind, String)>,
    /// Objects to delete.
    pub prune: Vec<Prune>,
    /// Claims that go with the resource from now on, beside those of its manifests.
    pub adopt: Vec<Adopt>,
    /// Servers that are to look at what they mount.
    pub poke: Vec<Poke>,
    /// Objects that have to wait.
    pub held: Vec<Held>,
    /// What the strategy wants done next, when nothing else that concerns pods is to be done.
    pub step: Option<NextStep>,
    /// Secrets that were generated for the resource and that it does not use any more: their passwords don't work. They stay, as an
    /// application may still refer to them, and a Secret that vanishes keeps its pods from starting.
    pub unused_secrets: Vec<String>,
}

impl Plan {
    /// Whether it changes anything.
    pub fn is_empty(&self) -> bool {
        self.secrets.iter().all(|secret| secret.change == SecretChange::None)
            && self.apply.is_empty()
            && self.prune.is_empty()
            && self.adopt.is_empty()
            && self.poke.is_empty()
            && self.step.is_none()
    }

    /// Whether nothing of what pods start from is on its way: a step would be decided on what is no more. Other objects are no reason to wait, such as a
    /// claim that can't grow: a pod that needs a restart may need it all the more.
    fn is_settled(&self) -> bool {
        let sent = self.apply.iter().map(|apply| apply.manifest.kind());
        let mut kinds = sent.chain(self.held.iter().map(|held| held.kind));
        let mut pruned = self.prune.iter().map(|prune| prune.kind);
        self.secrets
            .iter()
            .all(|secret| secret.change != SecretChange::Generate)
            && !kinds.any(Kind::is_of_pods)
            && !pruned.any(|kind| kind.pod_template().is_some())
    }

    /// What of it looks after what is there: it is made again where it is missing, and put back where somebody else changed it. This is all that
    /// is done while the spec is refused: what else it asks for was never accepted together with what stays in force.
    #[must_use]
    pub fn only_care(self) -> Self {
        let is_care = |apply: &Apply| match apply.why {
            Why::Missing => true,
            // Made from the very manifest that was applied before. A claim is compared without one: what differs may be a new size.
            Why::Drifted(_) => apply.manifest.kind() != Kind::PersistentVolumeClaim,
            Why::Changed | Why::Noted(_) => false,
        };
        let (apply, left): (Vec<Apply>, Vec<Apply>) = self.apply.into_iter().partition(is_care);
        let left = left
            .into_iter()
            .map(|it| (it.manifest.kind(), it.manifest.name().to_owned()));
        let secrets = self.secrets.into_iter().map(|secret| SecretRequest {
            change: match secret.change {
                SecretChange::Update => SecretChange::None,
                change => change,
            },
            ..secret
        });
        Self {
            secrets: secrets.collect(),
            apply,
            unchanged: self.unchanged.into_iter().chain(left).collect(),
            prune: Vec::new(),
            adopt: Vec::new(),
            poke: self.poke,
            held: self.held,
            step: None,
            unused_secrets: Vec::new(),
        }
    }
}

/// A strategy's next step, ready to be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct NextStep {
    /// Why it is done.
    pub why: String,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Deletes this very pod.
    RestartPod {
        /// Its name.
        name: String,
        /// Its uid: the one that was made in its place is safe.
        uid: String,
    },
    /// Applies an object.
    Apply(Box<Manifest>),
}

/// A Secret with a generated password. The password is made when the plan is carried out, so that a plan is a pure value and can be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRequest {
    /// Its name.
    pub name: String,
    /// What of it is no secret: `username`, and for the ordinary role `dbname`, `host` and `port`.
    pub public: BTreeMap<String, String>,
    /// Metadata of the Secret, complete.
    pub metadata: Value,
    /// What has to be done.
    pub change: SecretChange,
}

/// What has to be done to a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// Nothing.
    None,
    /// Make it, with a new password.
    Generate,
    /// Bring its public part up to date; the password stays.
    Update,
}

/// An object to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// The object.
    pub manifest: Manifest,
    /// A merge patch that has to go before it.
    pub clear: Option<Value>,
    /// Why it is sent.
    pub why: Why,
}

/// Why an object is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not exist.
    Missing,
    /// It was made from another manifest.
    Changed,
    /// Somebody else changed it: this field is not as it should be.
    Drifted(String),
    /// It stays as it is, but for what pgop notes on it for itself.
    Noted(String),
}

/// An object to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its uid: an object of the same name that somebody makes meanwhile is safe.
    pub uid: String,
}

/// A claim that gets the resource as its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopt {
    /// Its name.
    pub claim: String,
    /// Its uid: one of the same name that somebody makes meanwhile stays.
    pub uid: String,
}

/// A server's pod that learns at once that what it mounts has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poke {
    /// Its name.
    pub pod: String,
    /// Its uid: one that was made in its place mounts what is there.
    pub uid: String,
    /// Hash of the content that there is.
    pub content: String,
}

/// An object that has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// For what it waits.
    pub why: String,
}

/// Why there is no plan.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The strategy failed.
    #[error("strategy {strategy}: {source}")]
    Strategy {
        /// Its name.
        strategy: String,
        /// Its error.
        source: StrategyError,
    },
    /// Its next step is about a pod of somebody else.
    #[error("strategy {strategy}: wants to restart pod {pod}, which is none of this resource's")]
    Step {
        /// Its name.
        strategy: String,
        /// The pod.
        pod: String,
    },
}

/// Makes the plan.
pub fn plan<R: Checked>(
    strategy: &dyn Strategy<R>,
    validated: &R::Validated,
    observed: &Observed,
) -> Result<Plan, PlanError> {
    let wrap = |source| PlanError::Strategy {
        strategy: strategy.description().name.clone(),
        source,
    };
    let mut manifests = strategy.manifests(validated).map_err(wrap)?;
    manifests.sort_by(|a, b| (a.kind(), a.name()).cmp(&(b.kind(), b.name())));
    let wanted: BTreeSet<(Kind, String)> = manifests.iter().map(|m| (m.kind(), m.name().to_owned())).collect();
    if let Some(why) = former(&observed.live, validated.owner()) {
        let held = wanted.into_iter().map(|(kind, name)| Held {
            kind,
            name,
            why: why.clone(),
        });
        return Ok(Plan {
            held: held.collect(),
            ..Plan::default()
        });
    }
    let own = observed.live.own(&validated.owner().uid);
    let secrets = secrets(validated, &strategy.description().names, &observed.live);
    let mut plan = Plan {
        unused_secrets: unused(&secrets, &observed.live, validated.owner()),
        secrets,
        ..Plan::default()
    };
    let occupied = Occupied::of(&own, &observed.live, &wanted);
    for mut manifest in manifests {
        complete(&mut manifest, validated, validated.backup_source());
        seal(&mut manifest);
        if let Some(server) = validated.server() {
            let existing = own.get(manifest.kind(), manifest.name());
            requested::mark(&mut manifest, existing, &server.change);
        }
        place(&mut plan, manifest, validated, &observed.live, &own, &occupied);
    }
    plan.prune = prune(&observed.live, &wanted, validated.owner());
    let adopted = validated
        .server()
        .map(|server| adopted(server, &observed.live, &wanted));
    plan.adopt = adopted
        .into_iter()
        .flatten()
        .map(|(claim, uid)| Adopt { claim, uid })
        .collect();
    plan.poke = poke::pokes(&own);
    if plan.is_settled() {
        plan.step = next_step(strategy, validated, &own, &observed.claims)?;
    }
    Ok(plan)
}

fn next_step<R: Checked>(
    strategy: &dyn Strategy<R>,
    validated: &R::Validated,
    own: &Live,
    claims: &BTreeMap<String, Option<ClaimFacts>>,
) -> Result<Option<NextStep>, PlanError> {
    let Some(step) = strategy.next(validated, own) else {
        return Ok(None);
    };
    let (why, action) = match step {
        Step::RestartPod { pod, why } => {
            let is_it = |it: &&Pod| it.metadata.name.as_ref() == Some(&pod);
            let found = own.pods.iter().find(is_it);
            let Some(uid) = found.and_then(|it| it.metadata.uid.clone()) else {
                let strategy = strategy.description().name.clone();
                return Err(PlanError::Step { strategy, pod });
            };
            // A claim that somebody deletes is there as long as this pod is, one of the resource's own or one that its spec names.
            let is_named_and_leaves = |name: &str| {
                claims
                    .get(name)
                    .is_some_and(|it| it.as_ref().is_some_and(|it| it.deleting))
            };
            let holds_one = |pod: &Pod| leaving_claim(pod, own).is_some() || claims_of(pod).any(is_named_and_leaves);
            if found.is_some_and(holds_one) {
                return Ok(None);
            }
            (why, Action::RestartPod { name: pod, uid })
        }
        Step::Apply { mut manifest, why } => {
            manifest.mark(label::STEP, "true");
            complete(&mut manifest, validated, validated.backup_source());
            seal(&mut manifest);
            (why, Action::Apply(manifest))
        }
    };
    Ok(Some(NextStep { why, action }))
}

/// Decides what becomes of one manifest.
fn place<V: Validated>(
    plan: &mut Plan,
    mut manifest: Manifest,
    validated: &V,
    live: &Live,
    own: &Live,
    occupied: &Occupied,
) {
    let (kind, name) = (manifest.kind(), manifest.name().to_owned());
    let existing = live.get(kind, &name);
    if let Some(why) = hold(&manifest, existing, validated, own) {
        plan.held.push(Held { kind, name, why });
        return;
    }
    let why = match existing {
        None => Some(Why::Missing),
        // A Job runs once, and its template can't be changed.
        Some(_) if kind == Kind::Job => None,
        Some(existing) => {
            adapt(&mut manifest, existing);
            difference(&manifest, existing)
        }
    };
    let occupied = why.as_ref().and_then(|_| occupied.holds(&manifest, existing));
    if let Some(why) = occupied {
        plan.held.push(Held { kind, name, why });
        return;
    }
    match why {
        Some(why) => plan.apply.push(Apply {
            clear: existing.and_then(|existing| clear(&manifest, existing)),
            manifest,
            why,
        }),
        None => plan.unchanged.push((kind, name)),
    }
}

/// Objects of a deleted resource of the same name are still there: nothing is mixed with them.
fn former(live: &Live, owner: &Owner) -> Option<String> {
    let text = |reference: &Value, key: &str| reference.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_former = |reference: &Value| {
        let same_name = text(reference, "name").as_ref() == Some(&owner.name);
        same_name
            && text(reference, "kind").as_deref() == Some(owner.kind.as_str())
            && uid(reference) != Some(&owner.uid)
    };
    let mut controllers = live
        .objects
        .values()
        .chain(live.secrets.values())
        .filter_map(controller);
    let why = format!(
        "what belonged to a former {} {} is still being deleted",
        owner.kind.as_str(),
        owner.name
    );
    controllers.any(is_former).then_some(why)
}

/// For what an object has to wait.
fn hold<V: Validated>(manifest: &Manifest, existing: Option<&Value>, validated: &V, own: &Live) -> Option<String> {
    if let Some(existing) = existing {
        let is_going = existing.pointer("/metadata/deletionTimestamp").is_some();
        if is_going {
            return Some("the old one is still being deleted".to_owned());
        }
        // A Job is never updated, so it can't be adopted; and its result is not this resource's.
        let is_strange = manifest.kind() == Kind::Job && own.get(Kind::Job, manifest.name()).is_none();
        return is_strange.then(|| {
            format!(
                "a Job {} that is not of this resource is in the way: delete it",
                manifest.name()
            )
        });
    }
    match manifest.after_job() {
        Some(job) if own.job_result(job) != Some(true) => Some(format!("Job {job} has to succeed first")),
        _ => validated.wait_for().filter(|_| manifest.kind() == Kind::Job),
    }
}

/// Fits a manifest to an object that exists, where fields can't be changed.
fn adapt(manifest: &mut Manifest, existing: &Value) {
    let value = manifest.kind();
    match value {
        Kind::PersistentVolumeClaim => adapt_claim(manifest.value_mut(), existing),
        // Claims are manifests of their own, made before; the templates only name them.
        Kind::StatefulSet => keep(manifest.value_mut(), existing, "/spec", "volumeClaimTemplates"),
        _ => {}
    }
}

/// Of an existing claim only the size changes, and it only grows: what it has stays, and what it was asked to be, unless it did not become so.
fn adapt_claim(value: &mut Value, existing: &Value) {
    for key in ["accessModes", "storageClassName", "volumeMode"] {
        keep(value, existing, "/spec", key);
    }
    let size = "/spec/resources/requests/storage";
    let at = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).and_then(milli);
    let (asked, before) = (at(value, size), at(existing, size));
    // Several backups ask for one claim, each with its own size: what one of them asks for is no mending of another's.
    let is_shared = value
        .pointer("/metadata/labels")
        .is_some_and(|labels| labels.get(label::BACKUPS_OF).is_some());
    let has = at(existing, "/status/capacity/storage")
        .filter(|_| !is_shared)
        .or(before);
    if before >= asked && (has >= before || has >= asked) {
        keep(value, existing, "/spec/resources/requests", "storage");
    }
}

/// Takes a field over from the existing object.
fn keep(value: &mut Value, existing: &Value, parent: &str, key: &str) {
    let old = existing.pointer(parent).and_then(|p| p.get(key));
    if let (Some(map), Some(old)) = (value.pointer_mut(parent).and_then(Value::as_object_mut), old) {
        map.insert(key.to_owned(), old.clone());
    }
}

fn difference(manifest: &Manifest, existing: &Value) -> Option<Why> {
    let applied = |value: &Value| annotation(value, label::APPLIED).map(str::to_owned);
    let mut desired = manifest.value().clone();
    let is_claim = manifest.kind() == Kind::PersistentVolumeClaim;
    if is_claim {
        // Several backups ask for one claim, each with its own size: the hash would go back and forth.
        if let Some(annotations) = desired
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(label::APPLIED);
        }
        if controller(existing).is_some() && controller(&desired).is_none() {
            return Some(Why::Changed); // `deletionPolicy` went back to `Retain`
        }
    } else if applied(&desired) != applied(existing) {
        return Some(Why::Changed);
    }
    let lacking = lacks(&desired, existing)?;
    let notes = desired
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(annotations) = notes {
        annotations.retain(|key, _| !requested::NOTES.contains(&key.as_str()));
    }
    let drifted = lacks(&desired, existing).map(Why::Drifted);
    Some(drifted.unwrap_or(Why::Noted(lacking)))
}

/// What an apply can't take away, as it owns it not: what the API server filled in for the update strategy that a `StatefulSet` had before.
fn clear(manifest: &Manifest, existing: &Value) -> Option<Value> {
    let is_left = existing.pointer("/spec/updateStrategy/rollingUpdate").is_some() && is_on_delete(manifest.value());
    is_left.then(|| json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}))
}

/// What carries our owner reference and is not wanted any more. Claims never are.
fn prune(live: &Live, wanted: &BTreeSet<(Kind, String)>, owner: &Owner) -> Vec<Prune> {
    let is_ours = |value: &Value| controller_uid(value) == Some(owner.uid.as_str());
    live.objects
        .iter()
        .filter(|(key, value)| key.0 != Kind::PersistentVolumeClaim && !wanted.contains(*key) && is_ours(value))
        .filter(|(_, value)| value.pointer("/metadata/deletionTimestamp").is_none())
        .filter(|(_, value)| annotation(value, label::STEP).is_none())
        .filter_map(|((kind, name), value)| {
            let uid = value.pointer("/metadata/uid")?.as_str()?.to_owned();
            Some(Prune {
                kind: *kind,
                name: name.clone(),
                uid,
            })
        })
        .collect()
}

fn annotation<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn uid(reference: &Value) -> Option<&str> {
    reference.get("uid").and_then(Value::as_str)
}

fn secrets<V: Validated>(validated: &V, names: &Names, live: &Live) -> Vec<SecretRequest> {
    let Some(server) = validated.server() else {
        return Vec::new();
    };
    let secrets = &server.secrets;
    let requests = [
        secret(&secrets.superuser, BTreeMap::new(), server, live),
        secret(&secrets.replication, BTreeMap::new(), server, live),
        secret(&secrets.user, connection(server, names), server, live),
    ];
    requests.into_iter().flatten().collect()
}

/// Secrets that were generated for this very resource and that it does not ask for any more.
fn unused(requests: &[SecretRequest], live: &Live, owner: &Owner) -> Vec<String> {
    let is_unused = |(name, secret): &(&String, &Value)| {
        let is_ours = controller(secret).and_then(uid) == Some(owner.uid.as_str());
        is_ours && requests.iter().all(|request| request.name != **name)
    };
    live.secrets
        .iter()
        .filter(is_unused)
        .map(|(name, _)| name.clone())
        .collect()
}

/// What an application needs beside its password.
fn connection(server: &Server, names: &Names) -> BTreeMap<String, String> {
    let owner = &server.owner;
    BTreeMap::from([
        ("dbname".to_owned(), server.database.clone()),
        (
            "host".to_owned(),
            format!("{}.{}.svc", names.read_write_of(&owner.name), owner.namespace),
        ),
        ("port".to_owned(), server.port.to_string()),
    ])
}

fn secret(
    usage: &SecretUse,
    mut public: BTreeMap<String, String>,
    server: &Server,
    live: &Live,
) -> Option<SecretRequest> {
    let SecretUse::Generated { name, username } = usage else {
        return None;
    };
    public.insert("username".to_owned(), username.clone());
    let owner = &server.owner;
    let mut metadata = json!({"name": name, "namespace": owner.namespace, "labels": label::common(owner)});
    if !owner.uid.is_empty() {
        metadata["ownerReferences"] = json!([owner.reference()]);
    }
    let hash = short_hash(&format!("{metadata}{public:?}"));
    metadata["annotations"] = json!({label::APPLIED: hash});
    let change = match live.secrets.get(name) {
        None => SecretChange::Generate,
        Some(existing) if lacks(&metadata, existing.get("metadata").unwrap_or(&Value::Null)).is_some() => {
            SecretChange::Update
        }
        Some(_) => SecretChange::None,
    };
    Some(SecretRequest {
        name: name.clone(),
        public,
        metadata,
        change,
    })
}
