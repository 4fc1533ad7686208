//! The built-in strategies keep every rule, and each rule finds the strategy that breaks it.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, and sees none in their helpers

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use pgop_core::manifest::{Kind, Manifest};
use pgop_core::strategy::{Description, Names, Strategy, StrategyError};
use pgop_core::validated::ValidatedCluster;
use pgop_strategies::conformance::{self, Conformant, Fixture, Rule, Violation};
use serde_json::{Map, Value, json};

fn streaming() -> Arc<dyn Strategy<PgCluster>> {
    pgop_strategies::builtin()
        .unwrap()
        .clusters
        .get("streaming")
        .unwrap()
        .clone()
}

fn assert_conforms<R: Conformant>(strategy: &dyn Strategy<R>) {
    let violations = conformance::check(strategy);
    assert!(
        violations.is_empty(),
        "{}",
        violations
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn the_built_in_strategies_conform() {
    let registry = pgop_strategies::builtin().unwrap();
    registry
        .databases
        .iter()
        .for_each(|s| assert_conforms::<PgDatabase>(s.as_ref()));
    registry
        .clusters
        .iter()
        .for_each(|s| assert_conforms::<PgCluster>(s.as_ref()));
    registry
        .backups
        .iter()
        .for_each(|s| assert_conforms::<PgBackup>(s.as_ref()));
    let count = registry.databases.iter().count() + registry.clusters.iter().count() + registry.backups.iter().count();
    assert_eq!(count, 3, "a new strategy is checked here too");
}

/// The streaming strategy with something done to what it makes.
struct Altered<F> {
    description: Description,
    inner: Arc<dyn Strategy<PgCluster>>,
    alter: F,
}

impl<F> std::fmt::Debug for Altered<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Altered")
    }
}

impl<F> Strategy<PgCluster> for Altered<F>
where
    F: Fn(&ValidatedCluster, Vec<Value>) -> Result<Vec<Value>, StrategyError> + Send + Sync,
{
    fn description(&self) -> &Description {
        &self.description
    }

    fn manifests(&self, validated: &ValidatedCluster) -> Result<Vec<Manifest>, StrategyError> {
        let made = self
            .inner
            .manifests(validated)?
            .into_iter()
            .map(|manifest| with_gate(&manifest))
            .collect();
        let altered = (self.alter)(validated, made)?;
        altered
            .into_iter()
            .map(|value| Ok(Manifest::from_value(value)?))
            .collect()
    }
}

/// A manifest as a template would have written it.
fn with_gate(manifest: &Manifest) -> Value {
    let mut value = manifest.value().clone();
    if let Some(job) = manifest.after_job() {
        value["metadata"]["annotations"]["pgop.dev/after-job"] = json!(job);
    }
    value
}

/// Breaches by the streaming strategy when what it makes is altered, on one fixture.
fn violations(
    alter: impl Fn(&ValidatedCluster, Vec<Value>) -> Result<Vec<Value>, StrategyError> + Send + Sync,
) -> Vec<Violation> {
    let inner = streaming();
    let altered = Altered {
        description: inner.description().clone(),
        inner,
        alter,
    };
    conformance::check_on(&altered, &fixture("cluster-full"), &Map::new())
}

fn fixture(name: &str) -> Fixture<PgCluster> {
    PgCluster::fixtures()
        .into_iter()
        .find(|fixture| fixture.name == name)
        .unwrap()
}

/// Breaks a strategy by changing every object of one kind, and expects exactly that rule to be broken.
fn expect(rule: Rule, kind: Kind, change: impl Fn(&mut Value) + Send + Sync) {
    let violations = violations(|_, mut made| {
        made.iter_mut()
            .filter(|value| value["kind"] == kind.as_str())
            .for_each(&change);
        Ok(made)
    });
    let broken: BTreeSet<Rule> = violations.iter().map(|v| v.rule).collect();
    assert_eq!(broken, [rule].into(), "{violations:?}");
}

#[test]
fn a_wrapper_that_changes_nothing_conforms() {
    assert_eq!(violations(|_, made| Ok(made)), []);
}

#[test]
fn renders() {
    let violations = violations(|cluster, made| {
        if cluster.replicas == 3 {
            Err(StrategyError::Other("can't count to 3".to_owned()))
        } else {
            Ok(made)
        }
    });
    assert_eq!(violations.len(), 1);
    assert_eq!(
        violations[0].to_string(),
        "Renders: can't count to 3 (fixture cluster-full)"
    );
}

#[test]
fn renders_the_same() {
    let count = AtomicUsize::new(0);
    let violations = violations(|_, mut made| {
        made[0]["metadata"]["annotations"] = json!({"count": count.fetch_add(1, Ordering::Relaxed).to_string()});
        Ok(made)
    });
    assert!(
        violations.iter().all(|v| v.rule == Rule::RendersTheSame),
        "{violations:?}"
    );
    assert_eq!(violations.len(), 1);
}

#[test]
fn makes_each_once() {
    let violations = violations(|_, mut made| {
        let service = made.iter().find(|value| value["kind"] == "Service").unwrap().clone();
        made.push(service);
        Ok(made)
    });
    assert!(
        violations
            .iter()
            .any(|v| v.to_string() == "MakesEachOnce: Service gazelle-replica is made twice (fixture cluster-full)"),
        "{violations:?}"
    );
}

#[test]
fn derives_names() {
    let violations = violations(|_, mut made| {
        made.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}));
        Ok(made)
    });
    let broken: BTreeSet<Rule> = violations.iter().map(|v| v.rule).collect();
    assert_eq!(broken, [Rule::DerivesNames].into(), "{violations:?}");
}

#[test]
fn fits_names() {
    let violations = violations(|cluster, mut made| {
        let name = format!("{}-with-a-rather-long-ending", cluster.server.owner.name);
        made.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}));
        Ok(made)
    });
    assert_eq!(violations.iter().map(|v| v.rule).collect::<Vec<_>>(), [Rule::FitsNames]);
    assert!(
        violations[0]
            .message
            .ends_with("-with-a-rather-long-ending has 66 characters; it has to be a DNS label of at most 63")
    );
}

#[test]
fn keeps_passwords_out() {
    expect(Rule::KeepsPasswordsOut, Kind::StatefulSet, |value| {
        let env = value["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap();
        env.push(json!({"name": "POSTGRES_PASSWORD", "value": "hunter2"}));
    });
    expect(Rule::KeepsPasswordsOut, Kind::StatefulSet, |value| {
        value["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["host=x password=hunter2"]);
    });
    expect(Rule::KeepsPasswordsOut, Kind::ConfigMap, |value| {
        value["data"]["admin_password"] = json!("hunter2");
    });
}

#[test]
fn a_place_of_a_password_is_no_password() {
    let violations = violations(|_, mut made| {
        for value in made.iter_mut().filter(|value| value["kind"] == "StatefulSet") {
            let env = value["spec"]["template"]["spec"]["containers"][0]["env"]
                .as_array_mut()
                .unwrap();
            env.push(json!({"name": "POSTGRES_PASSWORD_FILE", "value": "/pgop/secrets/user/password"}));
        }
        Ok(made)
    });
    assert_eq!(violations, []);
}

#[test]
fn probes_servers() {
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        expect(Rule::ProbesServers, Kind::StatefulSet, |value| {
            value["spec"]["template"]["spec"]["containers"][0]
                .as_object_mut()
                .unwrap()
                .remove(probe)
                .unwrap();
        });
    }
}

#[test]
fn selects_its_pods() {
    expect(Rule::SelectsItsPods, Kind::StatefulSet, |value| {
        value["spec"]["template"]["metadata"]["labels"]["pgop.dev/role"] = json!("nobody");
    });
    expect(Rule::SelectsItsPods, Kind::Service, |value| {
        value["spec"]["selector"]["tier"] = json!("data");
    });
    expect(Rule::SelectsItsPods, Kind::Service, |value| {
        value["spec"]["selector"]
            .as_object_mut()
            .unwrap()
            .remove("pgop.dev/cluster")
            .unwrap();
    });
    expect(Rule::SelectsItsPods, Kind::PodDisruptionBudget, |value| {
        value["spec"].as_object_mut().unwrap().remove("selector").unwrap();
    });
}

#[test]
fn names_its_service() {
    expect(Rule::NamesItsService, Kind::StatefulSet, |value| {
        value["spec"]["serviceName"] = json!("nothing");
    });
    expect(Rule::NamesItsService, Kind::Service, |value| {
        value["spec"].as_object_mut().unwrap().remove("clusterIP");
    });
}

#[test]
fn keeps_its_names() {
    let inner = streaming();
    let mut description = inner.description().clone();
    description.names.claim = "{name}-data".to_owned();
    let altered = Altered {
        description,
        inner,
        alter: |_: &ValidatedCluster, made| Ok(made),
    };
    let violations = conformance::check_on(&altered, &fixture("cluster-plain"), &Map::new());
    // The strategy still makes what validation told it: the name of the description.
    assert!(violations.is_empty(), "{violations:?}");
    let changes: [fn(&mut Names); 2] = [
        |names| names.read_only = "{name}-ro".to_owned(),
        |names| names.container = "server".to_owned(),
    ];
    for change in changes {
        let mut description = streaming().description().clone();
        change(&mut description.names);
        let altered = Altered {
            description,
            inner: streaming(),
            alter: |_: &ValidatedCluster, made| Ok(made),
        };
        let violations = conformance::check_on(&altered, &fixture("cluster-plain"), &Map::new());
        let broken: BTreeSet<Rule> = violations.iter().map(|v| v.rule).collect();
        assert_eq!(broken, [Rule::KeepsItsNames].into(), "{violations:?}");
    }
}

#[test]
fn pins_images() {
    for image in [
        "postgres",
        "postgres:latest",
        "registry.example:5000/postgres",
        "postgres:",
    ] {
        expect(Rule::PinsImages, Kind::StatefulSet, |value| {
            let containers = value["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
            containers.push(json!({"name": "exporter", "image": image}));
        });
    }
}

#[test]
fn refers_to_what_exists() {
    let volume = |volume: Value| {
        move |value: &mut Value| {
            let volumes = value["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap();
            volumes.push(volume.clone());
        }
    };
    for missing in [
        json!({"name": "x", "configMap": {"name": "gazelle-konfig"}}),
        json!({"name": "x", "secret": {"secretName": "gazelle-superuser"}}),
        json!({"name": "x", "persistentVolumeClaim": {"claimName": "gazelle-data"}}),
        json!({"name": "x", "projected": {"sources": [{"secret": {"name": "nobody"}}]}}),
    ] {
        expect(Rule::RefersToWhatExists, Kind::StatefulSet, volume(missing));
    }
    expect(Rule::RefersToWhatExists, Kind::StatefulSet, |value| {
        value["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "nobody"}}]);
    });
    expect(Rule::RefersToWhatExists, Kind::StatefulSet, |value| {
        value["metadata"]["annotations"]["pgop.dev/after-job"] = json!("nothing");
    });
    // The planner makes the claims; a StatefulSet that makes more of them makes some that can't grow.
    expect(Rule::RefersToWhatExists, Kind::StatefulSet, |value| {
        value["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "wal"}, "spec": {}}]);
    });
}

/// Breaks a strategy by adding an object, and expects exactly that rule to be broken.
fn expect_of_more(rule: Option<Rule>, object: &Value) {
    let violations = violations(|_, mut made| {
        made.push(object.clone());
        Ok(made)
    });
    let broken: Vec<Rule> = violations.iter().map(|v| v.rule).collect();
    assert_eq!(broken, rule.into_iter().collect::<Vec<_>>(), "{violations:?}");
}

#[test]
fn the_rules_know_every_kind() {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let role = |rules: Value| json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": "gazelle"}, "rules": rules});
    expect_of_more(
        None,
        &role(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])),
    );
    for (resources, verb) in [(["*"], "get"), (["roles"], "escalate"), (["pods"], "*")] {
        let rules = json!([{"apiGroups": [""], "resources": resources, "verbs": [verb]}]);
        expect_of_more(Some(Rule::AsksForNoPrivilege), &role(rules));
    }
    let binding = |kind: &str, name: &str| {
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": {"name": "gazelle"},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name}, "subjects": []})
    };
    expect_of_more(Some(Rule::RefersToWhatExists), &binding("Role", "nothing"));
    let pod = |image: &str| {
        json!({"metadata": {"labels": {"pgop.dev/cluster": "gazelle"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": image}]}})
    };
    let selector = json!({"matchLabels": {"pgop.dev/cluster": "gazelle"}});
    let deployment = |selector: &Value, template: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gazelle-pooler"},
        "spec": {"selector": selector, "template": template}})
    };
    expect_of_more(None, &deployment(&selector, pod("pooler:1")));
    expect_of_more(Some(Rule::PinsImages), &deployment(&selector, pod("pooler")));
    expect_of_more(Some(Rule::SelectsItsPods), &deployment(&json!({}), pod("pooler:1")));
    let mut privileged = pod("pooler:1");
    privileged["spec"]["hostNetwork"] = json!(true);
    expect_of_more(Some(Rule::AsksForNoPrivilege), &deployment(&selector, privileged));
    let mut account = pod("pooler:1");
    account["spec"]["serviceAccountName"] = json!("nobody");
    expect_of_more(Some(Rule::RefersToWhatExists), &deployment(&selector, account));
    let cron = |name: &str, template: Value| {
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}})
    };
    expect_of_more(None, &cron("gazelle-nightly", pod("tool:1")));
    expect_of_more(Some(Rule::PinsImages), &cron("gazelle-nightly", pod("tool:latest")));
    let policy = |selector: &Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "gazelle"},
        "spec": {"podSelector": selector}})
    };
    expect_of_more(None, &policy(&selector));
    expect_of_more(Some(Rule::SelectsItsPods), &policy(&json!({})));
}

#[test]
fn asks_for_no_privilege() {
    for (at, value) in [
        ("hostNetwork", json!(true)),
        ("volumes", json!([{"name": "x", "hostPath": {"path": "/"}}])),
        ("securityContext", json!({"runAsUser": 0})),
        ("securityContext", json!({"runAsNonRoot": false})),
        (
            "initContainers",
            json!([{"name": "x", "image": "x:1", "securityContext": {"privileged": true}}]),
        ),
        (
            "initContainers",
            json!([{"name": "x", "image": "x:1", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]),
        ),
    ] {
        expect(Rule::AsksForNoPrivilege, Kind::StatefulSet, |object| {
            object["spec"]["template"]["spec"][at] = value.clone();
        });
    }
}

#[test]
fn describes_itself() {
    let inner = streaming();
    let change = |change: fn(&mut Description)| {
        let mut description = inner.description().clone();
        change(&mut description);
        let altered = Altered {
            description,
            inner: inner.clone(),
            alter: |_: &ValidatedCluster, made| Ok(made),
        };
        conformance::check(&altered)
            .into_iter()
            .map(|v| v.to_string())
            .collect::<Vec<_>>()
    };
    let of = |message: &str| vec![format!("DescribesItself: {message}")];
    assert_eq!(
        change(|d| d.summary = "two\nlines".to_owned()),
        of("the summary is one line")
    );
    assert_eq!(change(|d| d.version = 0), of("versions count from 1"));
    assert_eq!(
        change(|d| d.members.primary.clear()),
        of("members.primary has no labels, so nobody finds the primary")
    );
    assert_eq!(
        change(|d| d.members.replica.clone_from(&d.members.primary)),
        of("members.primary and members.replica are the same labels")
    );
    assert_eq!(
        change(|d| d.parameters["type"] = json!("array"))[0],
        of("parameters are the JSON schema of an object")[0]
    );
}

/// Puts values into a text as many templates do.
#[test]
fn keeps_structure() {
    let violations = violations(|cluster, mut made| {
        let text = format!("{{\"note\": {{\"database\": \"{}\"}}}}", cluster.server.database);
        let data: Value = serde_json::from_str(&text).map_err(|error| StrategyError::Other(error.to_string()))?;
        made[0]["metadata"]["annotations"] = data["note"].clone();
        Ok(made)
    });
    let messages: Vec<&str> = violations.iter().map(|v| v.message.as_str()).collect();
    assert!(
        violations.iter().all(|v| v.rule == Rule::KeepsStructure),
        "{messages:?}"
    );
    assert!(
        messages
            .iter()
            .any(|m| m.starts_with(r#""\"" in database can't be rendered"#)),
        "{messages:?}"
    );

    // A value that becomes a key.
    let violations = self::violations(|cluster, mut made| {
        let mut note = Map::new();
        note.insert(cluster.server.image.clone(), json!("image"));
        made[0]["metadata"]["annotations"] = Value::Object(note);
        Ok(made)
    });
    assert!(
        violations
            .iter()
            .all(|v| v.rule == Rule::KeepsStructure && v.message.contains("in image changes which fields")),
        "{violations:?}"
    );
    assert!(!violations.is_empty());
}

#[test]
fn a_strategy_with_mandatory_parameters_is_checked_with_them() {
    let inner = streaming();
    let mut description = inner.description().clone();
    description.parameters["required"] = json!(["tier"]);
    description.parameters["properties"]["tier"] = json!({"type": "string"});
    let altered = Altered {
        description,
        inner,
        alter: |_: &ValidatedCluster, made| Ok(made),
    };
    let without = conformance::check(&altered);
    assert!(
        without
            .iter()
            .all(|v| v.rule == Rule::Renders && v.message.contains("use check_with")),
        "{without:?}"
    );
    assert!(!without.is_empty());
    let parameters = Map::from_iter([("tier".to_owned(), json!("gold"))]);
    assert_eq!(conformance::check_with(&altered, &parameters), []);
}
