//! The rules, one function each: it gives a message for each breach.

use std::collections::BTreeSet;

use pgop_core::label;
use pgop_core::manifest::{Kind, Manifest};
use pgop_core::owner::ResourceKind;
use pgop_core::strategy::{Description, Members};
use serde_json::{Map, Value};

use super::{Case, Rule};
use crate::conformance::reference;

/// Looks at what a strategy made; gives a message for each breach.
type Look = fn(&Case) -> Vec<String>;

/// The kinds of volumes that the `restricted` Pod Security Standard allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Every rule that looks at what a strategy made.
pub(super) const ALL: &[(Rule, Look)] = &[
    (Rule::MakesEachOnce, makes_each_once),
    (Rule::DerivesNames, derives_names),
    (Rule::FitsNames, fits_names),
    (Rule::KeepsPasswordsOut, keeps_passwords_out),
    (Rule::ProbesServers, probes_servers),
    (Rule::SelectsItsPods, selects_its_pods),
    (Rule::NamesItsService, names_its_service),
    (Rule::KeepsItsNames, keeps_its_names),
    (Rule::PinsImages, pins_images),
    (Rule::RefersToWhatExists, reference::exist),
    (Rule::AsksForNoPrivilege, asks_for_no_privilege),
];

pub(super) fn description(kind: ResourceKind, description: &Description) -> Vec<String> {
    let Description {
        name,
        aliases,
        version,
        summary,
        parameters,
        members: Members { primary, replica },
        names: _,
    } = description;
    let mut problems = Vec::new();
    let mut require = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    require(
        std::iter::once(name)
            .chain(aliases)
            .all(|n| (1..=63).contains(&n.len())),
        "a name has 1 to 63 characters",
    );
    require(*version >= 1, "versions count from 1");
    require(
        !summary.is_empty() && summary.lines().count() == 1,
        "the summary is one line",
    );
    require(
        parameters.get("type").and_then(Value::as_str) == Some("object"),
        "parameters are the JSON schema of an object",
    );
    let is_cluster = kind == ResourceKind::PgCluster;
    require(
        kind == ResourceKind::PgBackup || !primary.is_empty(),
        "members.primary has no labels, so nobody finds the primary",
    );
    require(
        !is_cluster || !replica.is_empty(),
        "members.replica has no labels, so nobody finds the replicas",
    );
    require(
        !is_cluster || primary != replica,
        "members.primary and members.replica are the same labels",
    );
    problems
}

fn makes_each_once(case: &Case) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again = case.manifests.iter().filter(|m| !seen.insert((m.kind(), m.name())));
    again.map(|m| format!("{} is made twice", title(m))).collect()
}

fn derives_names(case: &Case) -> Vec<String> {
    let is_derived = |m: &&Manifest| {
        let source = case
            .backup_source
            .as_deref()
            .filter(|_| m.kind() == Kind::PersistentVolumeClaim);
        is_part(m.name(), &case.owner.name) || source.is_some_and(|source| is_part(m.name(), source))
    };
    let foreign = case.manifests.iter().filter(|m| !is_derived(m));
    foreign
        .map(|m| {
            format!(
                "{} does not have `{}` in its name: two resources would share it",
                title(m),
                case.owner.name
            )
        })
        .collect()
}

/// Whether `name` is `part`, alone or between dashes.
fn is_part(name: &str, part: &str) -> bool {
    name.match_indices(part).any(|(at, _)| {
        let (before, after) = (&name[..at], &name[at + part.len()..]);
        (before.is_empty() || before.ends_with('-')) && (after.is_empty() || after.starts_with('-'))
    })
}

pub(super) fn fits_names(case: &Case) -> Vec<String> {
    let problem = |m: &Manifest| {
        let limit = match m.kind() {
            // The label `controller-revision-hash` of its pods is its name and 11 characters more; so is the name of a CronJob's Jobs.
            Kind::StatefulSet | Kind::CronJob => 52,
            Kind::Service | Kind::Job | Kind::Deployment => 63, // a DNS name, or a label of the pods
            _ => 253,
        };
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_label = m.name().starts_with(|c: char| c.is_ascii_lowercase())
            && m.name().chars().all(inner)
            && !m.name().ends_with('-');
        let length = m.name().len();
        (length > limit || !is_label).then(|| {
            format!(
                "{} has {length} characters; it has to be a DNS label of at most {limit}",
                title(m)
            )
        })
    };
    case.manifests.iter().filter_map(problem).collect()
}

fn keeps_passwords_out(case: &Case) -> Vec<String> {
    let mut problems = Vec::new();
    for m in &case.manifests {
        let data = ["/data", "/binaryData"]
            .into_iter()
            .filter_map(|at| m.value().pointer(at)?.as_object());
        let keys = data
            .flatten()
            .filter(|(key, _)| m.kind() == Kind::ConfigMap && is_password(key));
        problems.extend(keys.map(|(key, _)| format!("{} has a key `{key}`: passwords belong into Secrets", title(m))));
        for container in containers(m) {
            for variable in list(container, "/env") {
                let name = text(variable, "/name");
                if is_password(name) && !text(variable, "/value").is_empty() {
                    problems.push(format!(
                        "{} has a value for the variable {name}: mount the Secret instead",
                        title(m)
                    ));
                }
            }
            let words = ["/command", "/args"]
                .into_iter()
                .flat_map(|at| list(container, at))
                .filter_map(Value::as_str);
            let in_words = |word: &str| {
                word.to_ascii_lowercase()
                    .split_once("password=")
                    .is_some_and(|(_, rest)| !rest.is_empty())
            };
            if words.into_iter().any(in_words) {
                problems.push(format!(
                    "{} has a password in a command: anybody may list processes",
                    title(m)
                ));
            }
        }
    }
    problems
}

/// Whether a name says that its value is a secret, and not where one is.
fn is_password(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let says_where = ["FILE", "DIR", "PATH", "NAME"]
        .iter()
        .any(|ending| name.ends_with(ending));
    !says_where
        && ["PASSWORD", "PASSWD", "SECRET", "TOKEN"]
            .iter()
            .any(|word| name.contains(word))
}

fn probes_servers(case: &Case) -> Vec<String> {
    let probes = ["/startupProbe", "/readinessProbe", "/livenessProbe"];
    let has_all = |container: &Value| probes.iter().all(|probe| container.pointer(probe).is_some());
    let servers = of(case, Kind::StatefulSet)
        .filter(|m| !m.pod().is_some_and(|pod| list(pod, "/containers").iter().any(has_all)));
    servers
        .map(|m| {
            format!(
                "{} has no container with startup, readiness and liveness probes",
                title(m)
            )
        })
        .collect()
}

fn selects_its_pods(case: &Case) -> Vec<String> {
    let own = label::selector(&case.owner);
    let templates: Vec<Map<String, Value>> = case.manifests.iter().filter_map(|m| pod_labels(case, m)).collect();
    let mut problems = Vec::new();
    for m in &case.manifests {
        let at = match m.kind() {
            Kind::Service => "/spec/selector",
            Kind::StatefulSet | Kind::Deployment | Kind::PodDisruptionBudget => "/spec/selector/matchLabels",
            Kind::NetworkPolicy => "/spec/podSelector/matchLabels",
            _ => continue,
        };
        let Some(selector) = m
            .value()
            .pointer(at)
            .and_then(Value::as_object)
            .filter(|s| !s.is_empty())
        else {
            if m.kind() != Kind::Service {
                problems.push(format!("{} selects nothing", title(m)));
            }
            continue; // a Service without selector gets its endpoints from elsewhere
        };
        let selects = |labels: &Map<String, Value>| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        let found = match m.kind() {
            Kind::StatefulSet | Kind::Deployment => pod_labels(case, m).is_some_and(|labels| selects(&labels)),
            _ => templates.iter().any(selects),
        };
        if !found {
            problems.push(format!("{} selects labels that no pod of the strategy has", title(m)));
        }
        if own
            .iter()
            .any(|(key, value)| selector.get(key).and_then(Value::as_str) != Some(value))
        {
            problems.push(format!(
                "{} selects pods of other resources too: put all of `selector` into it",
                title(m)
            ));
        }
    }
    problems
}

/// Labels of the pods of a workload, with those that the planner adds.
fn pod_labels(case: &Case, manifest: &Manifest) -> Option<Map<String, Value>> {
    let template = manifest.value().pointer(manifest.kind().pod_template()?)?;
    let mut labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    labels.extend(
        label::common(&case.owner)
            .into_iter()
            .map(|(key, value)| (key, Value::from(value))),
    );
    Some(labels)
}

fn names_its_service(case: &Case) -> Vec<String> {
    let is_headless =
        |name: &str| of(case, Kind::Service).any(|m| m.name() == name && text(m.value(), "/spec/clusterIP") == "None");
    let alone = of(case, Kind::StatefulSet).filter(|m| !is_headless(text(m.value(), "/spec/serviceName")));
    alone
        .map(|m| {
            format!(
                "{} has a serviceName that is no headless Service of the strategy",
                title(m)
            )
        })
        .collect()
}

fn keeps_its_names(case: &Case) -> Vec<String> {
    let is_made = |(kind, name): &&(Kind, String)| of(case, *kind).any(|m| m.name() == name);
    let missing = case.named.iter().filter(|named| !is_made(named));
    let has = |container: &&String| {
        let mut all = case.manifests.iter().flat_map(containers);
        all.any(|it| text(it, "/name") == **container)
    };
    let objects = missing.map(|(kind, name)| format!("{kind} {name}"));
    let container = case.container.iter().filter(|it| !has(it));
    objects
        .chain(container.map(|name| format!("container {name}")))
        .map(|what| format!("{what}, which `names` in its description tells of, is not made"))
        .collect()
}

fn pins_images(case: &Case) -> Vec<String> {
    let is_pinned = |image: &str| {
        let last = image.rsplit('/').next().unwrap_or_default();
        image.contains('@')
            || last
                .split_once(':')
                .is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest")
    };
    let images = case
        .manifests
        .iter()
        .flat_map(|m| containers(m).map(move |c| (m, text(c, "/image"))));
    let moving = images.filter(|(_, image)| !is_pinned(image));
    moving
        .map(|(m, image)| {
            format!(
                "{} uses the image `{image}`, which may be another one tomorrow: give a tag",
                title(m)
            )
        })
        .collect()
}

fn asks_for_no_privilege(case: &Case) -> Vec<String> {
    let mut problems = Vec::new();
    for m in &case.manifests {
        let mut refuse = |what: &str| problems.push(format!("{} asks for {what}", title(m)));
        if m.kind() == Kind::Role && grants_anything(m) {
            refuse("rights on everything (`*`), or the right to give more than it has");
        }
        let Some(pod) = m.pod() else {
            continue;
        };
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            if pod.get(key) == Some(&Value::Bool(true)) {
                refuse(key);
            }
        }
        for volume in list(pod, "/volumes").iter().filter_map(Value::as_object) {
            let kinds = volume.keys().filter(|key| *key != "name");
            kinds
                .filter(|kind| !VOLUMES.contains(&kind.as_str()))
                .for_each(|kind| refuse(&format!("a {kind} volume")));
        }
        for context in std::iter::once(pod)
            .chain(containers(m))
            .filter_map(|v| v.get("securityContext"))
        {
            let is = |key: &str, value: Value| context.get(key) == Some(&value);
            let refused = [
                ("privileged", is("privileged", true.into())),
                ("allowPrivilegeEscalation", is("allowPrivilegeEscalation", true.into())),
                ("runAsNonRoot: false", is("runAsNonRoot", false.into())),
                ("runAsUser: 0", is("runAsUser", 0.into())),
                ("further capabilities", !list(context, "/capabilities/add").is_empty()),
                (
                    "no seccomp profile",
                    text(context, "/seccompProfile/type") == "Unconfined",
                ),
            ];
            refused
                .iter()
                .filter(|(_, asked)| *asked)
                .for_each(|(what, _)| refuse(what));
        }
    }
    problems
}

/// Whether a Role has a wildcard, or a verb that leads to any right.
fn grants_anything(role: &Manifest) -> bool {
    let words = |rule: &'_ Value| {
        let lists = ["/apiGroups", "/resources", "/verbs"].map(|at| list(rule, at).to_vec());
        lists.concat()
    };
    let refused = ["*", "escalate", "bind", "impersonate"];
    list(role.value(), "/rules")
        .iter()
        .flat_map(words)
        .any(|word| word.as_str().is_some_and(|word| refused.contains(&word)))
}

/// The objects of one kind.
pub(super) fn of(case: &Case, kind: Kind) -> impl Iterator<Item = &Manifest> {
    case.manifests.iter().filter(move |m| m.kind() == kind)
}

/// Every container of a workload.
pub(super) fn containers(manifest: &Manifest) -> impl Iterator<Item = &Value> {
    manifest.pod().into_iter().flat_map(pgop_core::reference::containers)
}

/// The list at a JSON pointer; empty when there is none.
pub(super) fn list<'a>(value: &'a Value, at: &str) -> &'a [Value] {
    value.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text at a JSON pointer; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn title(manifest: &Manifest) -> String {
    format!("{} {}", manifest.kind(), manifest.name())
}
