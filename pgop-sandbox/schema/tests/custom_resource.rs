//! A custom resource from its definition to an update: what the server does with this crate, in the order in which it does it.

use pgop_sandbox_schema::{Cause, Schema, apply, validation};
use serde_json::{Value, json};

fn definition() -> Value {
    serde_saphyr::from_str(include_str!("definition.yaml")).expect("YAML")
}

fn manager(name: &'static str, subresource: Option<&'static str>, second: i64) -> apply::Manager<'static> {
    let now = jiff::Timestamp::from_second(1_795_000_000 + second).expect("a time");
    apply::Manager {
        name,
        api_version: "example.com/v1",
        subresource,
        now,
    }
}

fn lines(causes: &[Cause]) -> Vec<String> {
    causes.iter().map(ToString::to_string).collect()
}

/// Prunes, fills in defaults and validates, as every write does.
fn admitted(schema: &Schema, mut object: Value, old: Option<&Value>) -> Result<Value, Vec<String>> {
    let unknown = schema.prune(&mut object);
    schema.default(&mut object);
    let mut causes = schema.validate(&object, old);
    causes.extend(validation::metadata(&object, true, validation::NameRule::DnsSubdomain));
    if unknown.is_empty() && causes.is_empty() {
        Ok(object)
    } else {
        Err([unknown, lines(&causes)].concat())
    }
}

fn cache(spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Cache", "metadata": {"name": "main", "namespace": "default"}, "spec": spec})
}

#[test]
fn the_definition_is_admitted_with_its_defaults() {
    let types = Schema::built_in("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("served");
    let mut definition = definition();
    assert_eq!(types.prune(&mut definition), [""; 0]);
    types.default(&mut definition);
    assert_eq!(lines(&types.validate(&definition, None)), [""; 0]);
    let (group, kind) = ("apiextensions.k8s.io", "CustomResourceDefinition");
    assert_eq!(
        lines(&validation::built_in(group, kind, &definition, Some(&definition))),
        [""; 0]
    );
    assert_eq!(definition["spec"]["names"]["listKind"], "CacheList");
    let replicas =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"];
    assert_eq!(
        replicas,
        &json!({"type": "integer", "format": "int32", "minimum": 0, "default": 1})
    );
}

#[test]
fn a_resource_lives() {
    let schema =
        Schema::from_crd(&definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]).expect("structural");
    let config = cache(&json!({
        "image": "valkey:9", "size": "64Mi", "listeners": [{"port": 6379}],
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}, "anything": [1]},
    }));
    let user = manager("kubectl", None, 0);

    let applied = apply::apply(&schema, None, &config, &user, false).expect("no conflicts");
    let created = admitted(&schema, applied, None).expect("a good cache");
    assert_eq!(created["spec"]["policy"], "LRU");
    assert_eq!(created["spec"]["listeners"], json!([{"port": 6379, "protocol": "TCP"}]));

    // The controller reports, and the user applies the same again: nothing new.
    let status = json!({"status": {"replicas": 1, "conditions": [{"type": "Ready", "status": "True"}]}});
    let mut reported = pgop_sandbox_schema::merge::merge(&created, &status);
    apply::track(
        &schema,
        Some(&created),
        &mut reported,
        &manager("controller", Some("status"), 1),
    );
    let again =
        apply::apply(&schema, Some(&reported), &config, &manager("kubectl", None, 2), false).expect("no conflicts");
    assert_eq!(again, reported);

    // Another tool scales; the user's next apply does not mention replicas and leaves them.
    let mut scaled = pgop_sandbox_schema::merge::merge(&reported, &json!({"spec": {"replicas": 3}}));
    apply::track(&schema, Some(&reported), &mut scaled, &manager("scaler", None, 3));
    let scaled = admitted(&schema, scaled, Some(&reported)).expect("a good cache");
    let again =
        apply::apply(&schema, Some(&scaled), &config, &manager("kubectl", None, 4), false).expect("no conflicts");
    assert_eq!(again, scaled);

    // A rule looks at the past.
    let moved = pgop_sandbox_schema::merge::merge(&scaled, &json!({"spec": {"policy": "LFU", "typo": 1}}));
    assert_eq!(
        admitted(&schema, moved, Some(&scaled)),
        Err(vec![
            "spec.typo".to_owned(),
            r#"spec.policy: Invalid value: "object": policy is immutable"#.to_owned()
        ])
    );
}

#[test]
fn claim_templates_settle_after_their_defaults() {
    let schema = Schema::built_in("apps", "v1", "StatefulSet").expect("served");
    let config = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "pg", "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"app": "pg"}},
        "template": {"metadata": {"labels": {"app": "pg"}}, "spec": {"containers": [{"name": "pg", "image": "postgres:18"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
    }});
    let first = apply::apply(&schema, None, &config, &manager("pgop", None, 0), true).expect("forced");
    let live = admitted(&schema, first, None).expect("a good stateful set");
    assert_eq!(validation::built_in("apps", "StatefulSet", &live, None), []);
    let second = apply::apply(&schema, Some(&live), &config, &manager("pgop", None, 9), true).expect("forced");
    let mut second = admitted(&schema, second, Some(&live)).expect("a good stateful set");
    apply::settle(&live, &mut second);
    assert_eq!(second, live);
}
