//! Whatever a person types, from the resource to the objects that are sent: it stays a value, and it arrives unchanged.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use std::collections::BTreeSet;
use std::sync::LazyLock;

use pgop_core::crd::{Accepted, Member, PgBackup, PgCluster, PgDatabase, Role, ServerStatus};
use pgop_core::manifest::{Kind, Manifest};
use pgop_core::observed::Foreign;
use pgop_core::observed::{ClaimFacts, Observed, SecretFacts, SourceFacts};
use pgop_core::plan::plan;
use pgop_core::quantity::canonical;
use pgop_core::registry::Registry;
use pgop_strategies::conformance::{Conformant, TEXTS, shape};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| pgop_strategies::builtin().unwrap());

const PLAIN: &str = "plain";

/// Which objects and fields there are.
type Structure = BTreeSet<(Kind, String, String)>;

/// A place in a resource where people type.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// The value at a JSON pointer.
    Value(&'static str),
    /// A new key of the map at a JSON pointer.
    Key(&'static str),
}
use Place::{Key, Value as At};

const SERVER: &[Place] = &[
    At("/metadata/namespace"),
    At("/spec/postgres/image"),
    At("/spec/postgres/imagePullSecrets/0"),
    At("/spec/postgres/parameters/work_mem"),
    At("/spec/postgres/database"),
    At("/spec/postgres/user"),
    At("/spec/postgres/replicationUser"),
    At("/spec/credentials/superuser"),
    At("/spec/credentials/replication"),
    At("/spec/credentials/user"),
    At("/spec/storage/claim"),
    At("/spec/storage/className"),
    At("/spec/resources/requests/cpu"),
    Key("/spec/resources/requests"),
    At("/spec/pod/nodeSelector/disk"),
    Key("/spec/pod/nodeSelector"),
    At("/spec/pod/labels/team"),
    Key("/spec/pod/labels"),
    At("/spec/pod/annotations/contact"),
    Key("/spec/pod/annotations"),
    At("/spec/pod/tolerations/0/key"),
    At("/spec/pod/tolerations/0/value"),
    At("/spec/pod/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/topologyKey"),
    At("/spec/pod/topologySpreadConstraints/0/topologyKey"),
    At("/spec/restore/claim"),
    At("/spec/restore/path"),
    At("/spec/strategyParameters/locale"),
];

const BACKUP: &[Place] = &[
    At("/metadata/namespace"),
    At("/spec/storage/claim"),
    At("/spec/storage/className"),
    At("/spec/resources/requests/cpu"),
    Key("/spec/resources/requests"),
    At("/spec/pod/nodeSelector/disk"),
    Key("/spec/pod/nodeSelector"),
    At("/spec/pod/labels/team"),
    Key("/spec/pod/labels"),
    At("/spec/pod/annotations/contact"),
    Key("/spec/pod/annotations"),
    At("/spec/pod/tolerations/0/key"),
];

/// Everything that is sent for a resource with `text` in one place, or `None` when validation refuses it.
fn sent<R: Conformant>(place: Place, text: &str) -> Option<Vec<Manifest>> {
    let base = R::fixtures()
        .into_iter()
        .find(|fixture| fixture.name.ends_with("-full"))
        .unwrap();
    let mut value = serde_json::to_value(&base.resource).unwrap();
    prepare(&mut value, place);
    put(&mut value, place, text);
    let resource: R = serde_json::from_value(value).unwrap();
    let Foreign { claims, secrets, .. } = resource.foreign();
    let usable = |username: &str| SecretFacts::Usable {
        username: username.to_owned(),
    };
    let whole = serde_json::to_value(&resource).unwrap();
    let names = |which: &str, secret: &str| {
        let named = whole.pointer("/spec/credentials").and_then(|all| all.get(which));
        named == Some(&json!(secret))
    };
    let username = |secret: &str| {
        if names("superuser", secret) {
            "postgres"
        } else if names("replication", secret) {
            "copier"
        } else {
            "role"
        }
    };
    let mut observed = Observed {
        claims: claims
            .into_iter()
            .map(|claim| (claim, Some(ClaimFacts::default())))
            .collect(),
        secrets: secrets
            .into_iter()
            .map(|secret| (secret.clone(), usable(username(&secret))))
            .collect(),
        ..base.observed
    };
    serve(&mut observed);
    let strategy = R::family(&REGISTRY).get("1").unwrap().as_ref();
    let validated = match resource.validate(&observed, strategy.description()) {
        Ok(validated) => validated,
        Err(invalid) => {
            assert!(
                invalid.iter().all(|i| !i.field.is_empty() && !i.mend.is_empty()),
                "{invalid:?}"
            );
            return None;
        }
    };
    // What waits for a Job shows when the Job has succeeded, and the Job shows before.
    let before = plan(strategy, &validated, &observed).unwrap();
    for job in before.apply.iter().filter(|apply| apply.manifest.kind() == Kind::Job) {
        // As the server has it: with its owner, so that its result is this resource's.
        let mut live = job.manifest.value().clone();
        live["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        observed
            .live
            .objects
            .insert((Kind::Job, job.manifest.name().to_owned()), live);
    }
    let after = if before.held.is_empty() {
        before.clone()
    } else {
        plan(strategy, &validated, &observed).unwrap()
    };
    assert!(after.held.is_empty(), "{:?}", after.held);
    let secrets = before.secrets.iter().map(|secret| {
        let data =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": secret.name}, "data": secret.public});
        Manifest::from_value(data).unwrap()
    });
    let others = after.apply.iter().filter(|apply| apply.manifest.kind() != Kind::Job);
    let jobs = before.apply.iter().filter(|apply| apply.manifest.kind() == Kind::Job);
    Some(
        jobs.chain(others)
            .map(|apply| apply.manifest.clone())
            .chain(secrets)
            .collect(),
    )
}

/// A backup waits until its source serves.
fn serve(observed: &mut Observed) {
    let primary = Member {
        name: "p".to_owned(),
        role: Role::Primary,
        ready: true,
        address: None,
        agent: None,
        older: false,
        message: None,
    };
    let accepted = Accepted {
        image: "postgres:17".to_owned(),
        ..Accepted::default()
    };
    let status = Some(ServerStatus {
        members: vec![primary],
        accepted: Some(accepted),
        ..ServerStatus::default()
    });
    match &mut observed.source {
        Some(SourceFacts::Database(database)) => database.status = status,
        Some(SourceFacts::Cluster(cluster)) => cluster.status = status,
        None => {}
    }
}

/// Makes room for the place: some fields exclude each other, and some are not in the fixture.
fn prepare(value: &mut Value, place: Place) {
    let spec = value["spec"].as_object_mut().unwrap();
    let (At(at) | Key(at)) = place;
    if at.starts_with("/spec/postgres/") {
        spec.remove("credentials"); // a name is used where a Secret is generated
    } else if at.starts_with("/spec/credentials/") {
        spec.insert("credentials".to_owned(), json!({}));
    }
    if !at.starts_with("/spec/restore/") {
        spec.remove("restore"); // nothing has to wait for its Job
    }
    let storage = spec["storage"].as_object_mut().unwrap();
    match at {
        "/spec/storage/className" => storage.remove("claim"),
        "/spec/storage/claim" => storage.remove("className"),
        _ => None,
    };
    let pod = &mut value["spec"]["pod"];
    pod["tolerations"] = json!([{"key": "dedicated", "operator": "Equal", "value": "databases"}]);
    pod["affinity"] =
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}});
    pod["topologySpreadConstraints"] =
        json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]);
    if at.contains("strategyParameters") {
        value["spec"]["strategyParameters"] = json!({});
    }
}

fn put(value: &mut Value, place: Place, text: &str) {
    match place {
        At(at) => {
            let (parent, key) = at.rsplit_once('/').unwrap();
            match value.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = json!(text),
                object => object[key] = json!(text),
            }
        }
        Key(at) => value.pointer_mut(at).unwrap()[text] = json!("1"),
    }
}

/// Names and paths of all that is sent; what is made of the text itself is told by `PLAIN` in its place.
fn structure(manifests: &[Manifest], place: Place, text: &str) -> Structure {
    let swap = |(kind, name, path): (Kind, String, String)| {
        // Another snapshot is restored by another Job.
        let name = name
            .split_once("-restore-")
            .map_or(name.clone(), |(server, _)| format!("{server}-restore"));
        let path = match place {
            // Every map of the kind is in a pod.
            Key(at) if path.starts_with("/spec/template/") => {
                let (_, map) = at.rsplit_once('/').unwrap();
                let parent = path.strip_suffix(&format!("/{map}/{text}"));
                parent.map_or(path.clone(), |parent| format!("{parent}/{map}/{PLAIN}"))
            }
            _ => path,
        };
        (kind, name, path)
    };
    shape(manifests).into_iter().map(swap).collect()
}

/// Whether the text is somewhere, unchanged, or as the one form of what it means.
fn arrives(manifests: &[Manifest], place: Place, text: &str) -> bool {
    let quoted = format!("work_mem = '{}'\n", text.replace('\\', "\\\\").replace('\'', "''"));
    let is_it = |value: &str| match place {
        At("/spec/postgres/parameters/work_mem") => value.contains(&quoted),
        // "1e3" is a quantity.
        At(at) if at.starts_with("/spec/resources/") => value == canonical(text),
        _ => value == text,
    };
    manifests.iter().any(|manifest| has_text(manifest.value(), &is_it))
}

fn has_text(value: &Value, is_it: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_it(text),
        Value::Array(items) => items.iter().any(|item| has_text(item, is_it)),
        Value::Object(map) => map.iter().any(|(key, value)| is_it(key) || has_text(value, is_it)),
        _ => false,
    }
}

/// The places of a kind, each with the structure of what is sent when a plain text is in it.
fn expectations<R: Conformant>(places: &[Place]) -> Vec<(Place, Structure)> {
    let plain = |place: &Place| sent::<R>(*place, PLAIN).unwrap_or_else(|| panic!("{place:?} takes no plain text"));
    places
        .iter()
        .map(|place| (*place, structure(&plain(place), *place, PLAIN)))
        .collect()
}

/// The check itself; false when validation refused the text.
fn holds<R: Conformant>(place: Place, expected: &Structure, text: &str) -> bool {
    let Some(hostile) = sent::<R>(place, text) else {
        return false;
    };
    let shown: String = text.chars().take(80).collect();
    let found = structure(&hostile, place, text);
    let difference: Vec<_> = expected.symmetric_difference(&found).take(3).collect();
    assert!(difference.is_empty(), "{shown:?} in {place:?} changes {difference:?}");
    assert!(arrives(&hostile, place, text), "{shown:?} in {place:?} arrives nowhere");
    true
}

/// Pieces of the syntaxes on the way: YAML, JSON, Handlebars, shell, SQL, `postgresql.conf`; and text that looks like something else.
const PIECES: &[&str] = &[
    "\"",
    "'",
    "\\",
    "\n",
    "\r\n",
    "\t",
    ": ",
    "- ",
    "# ",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "|\n",
    ">-\n",
    "&a",
    "*a",
    "!!int",
    "%YAML",
    "? ",
    "<<: ",
    "{{",
    "}}",
    "{{{",
    "{{json name}}",
    "{{> claim}}",
    "\\u0000",
    "\0",
    "$(PGOP_ROLE)",
    "`id`",
    "; drop table x --",
    "null",
    "~",
    "true",
    "yes",
    "0755",
    "1e3",
    ".inf",
    "2026-11-22",
    "é",
    "日本",
    "🐘",
    "\u{202e}",
    "\u{200f}",
    "\u{2028}",
    "\u{85}",
    "\u{feff}",
    "\u{7f}",
    "\u{1b}[2J",
    "/",
    "~1",
    " ",
    "plain",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::collection::vec(proptest::sample::select(PIECES), 1..8).prop_map(|pieces| pieces.concat()),
        2 => any::<String>(),
        1 => "[ -~]{1,60}",
    ]
}

fn property<R: Conformant>(places: &[Place]) {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let places = proptest::sample::select(expectations::<R>(places));
    let outcome = TestRunner::new(config).run(&(places, text()), |((place, expected), text)| {
        holds::<R>(place, &expected, &text);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn any_text_in_a_database() {
    property::<PgDatabase>(SERVER);
}

#[test]
fn any_text_in_a_cluster() {
    property::<PgCluster>(SERVER);
}

#[test]
fn any_text_in_a_backup() {
    property::<PgBackup>(BACKUP);
}

/// The properties would hold of a validation that refuses everything: these places take nearly any text, and some take it at any length.
/// Names of Kubernetes objects are not among them; for those `conformance` tries what validation would refuse.
const FREE: &[(Place, bool)] = &[
    (At("/spec/postgres/image"), true),
    (At("/spec/postgres/parameters/work_mem"), true),
    (At("/spec/postgres/database"), false),
    (At("/spec/postgres/user"), false),
    (At("/spec/postgres/replicationUser"), false),
    (At("/spec/pod/annotations/contact"), true),
    (At("/spec/restore/path"), true),
    (At("/spec/strategyParameters/locale"), false),
];

#[test]
fn free_texts_are_taken_and_arrive() {
    let long = "\"\\:{{x}}".repeat(64 * 1024 / 8);
    let (places, any_length): (Vec<Place>, Vec<bool>) = FREE.iter().copied().unzip();
    for ((place, expected), any_length) in expectations::<PgDatabase>(&places).into_iter().zip(any_length) {
        let taken = TEXTS
            .iter()
            .filter(|text| holds::<PgDatabase>(place, &expected, text))
            .count();
        assert!(taken >= 5, "{place:?} takes only {taken} of {} texts", TEXTS.len());
        assert_eq!(holds::<PgDatabase>(place, &expected, &long), any_length, "{place:?}");
    }
}

/// Names that YAML would read as something else.
#[test]
fn names_that_look_like_other_values_stay_texts() {
    let places = [
        "/spec/storage/claim",
        "/spec/credentials/user",
        "/spec/restore/claim",
        "/spec/postgres/imagePullSecrets/0",
    ];
    for (place, expected) in expectations::<PgDatabase>(&places.map(At)) {
        for text in ["true", "null", "no", "0o17", "0755", "1e3", "2026-11-22"] {
            assert!(holds::<PgDatabase>(place, &expected, text), "{place:?} refuses {text}");
        }
    }
}
