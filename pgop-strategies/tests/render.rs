//! How templates behave: what they print, and what a person reads when one goes wrong for a resource.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, and sees none in their helpers

use std::fs;

use pgop_core::Managed;
use pgop_core::Registry;
use pgop_core::crd::PgDatabase;
use pgop_core::manifest::Manifest;
use pgop_strategies::conformance::Conformant;
use pgop_strategies::load_dir;
use serde_json::{Value, json};
use tempfile::TempDir;

const DESCRIPTOR: &str = "{name: tiny, kind: PgDatabase, version: 1, summary: x, partials: [part], files: [motd],
  parameters: {type: object, properties: {tier: {type: string}, mode: {type: string, default: fast}}}}";

/// What a bundle of these files makes of the fixture with every field, or the message of the error.
fn render(files: &[(&str, &str)]) -> Result<Vec<Manifest>, String> {
    let folder = TempDir::new().unwrap();
    let defaults = [
        ("strategy.yaml", DESCRIPTOR),
        ("part.partial.hbs", "# nothing\n"),
        ("motd", "hello\n"),
    ];
    for (name, text) in defaults.iter().chain(files) {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut registry = Registry::default();
    load_dir(&mut registry, folder.path()).map_err(|error| error.to_string())?;
    let strategy = registry.databases.get("tiny").unwrap();
    let fixture = PgDatabase::fixtures().pop().unwrap();
    let validated = fixture
        .resource
        .validate(&fixture.observed, strategy.description())
        .unwrap();
    let told = |message: String| message.replace(folder.path().to_str().unwrap(), "/tiny");
    strategy.manifests(&validated).map_err(|error| told(error.to_string()))
}

/// Data of a `ConfigMap` with these lines as `data`.
fn data(lines: &str) -> Result<Value, String> {
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n{lines}");
    render(&[("config.yaml.hbs", &text)]).map(|manifests| manifests[0].value()["data"].clone())
}

#[test]
fn values_are_printed_as_json() {
    assert_eq!(
        data("  a: {{json database}}\n  b: {{json (concat port \"\")}}\n"),
        Ok(json!({"a": "books", "b": "6543"}))
    );
    assert_eq!(
        data("  a: {{json (concat name \"-\" port)}}\n"),
        Ok(json!({"a": "ledger-6543"}))
    );
    assert_eq!(
        data("  a: {{json (json secrets)}}\n").unwrap()["a"],
        r#"{"replication":"ledger-copy","superuser":"ledger-root","user":"ledger-app"}"#
    );
    assert_eq!(data("  {{json files}}\n"), Ok(json!({"motd": "hello\n"})));
    assert_eq!(
        data("{{#each secrets}}\n  {{json @key}}: {{json this}}\n{{/each}}\n").unwrap()["user"],
        "ledger-app"
    );
}

#[test]
fn null_is_no_field_and_parameters_without_value_are_null() {
    assert_eq!(
        data("  a: x\n  b: {{json storage.className}}\n  c: {{json parameters.tier}}\n"),
        Ok(json!({"a": "x"}))
    );
    assert_eq!(
        data("{{#if parameters.tier}}\n  a: y\n{{else}}\n  a: n\n{{/if}}\n  b: {{json parameters.mode}}\n"),
        Ok(json!({"a": "n", "b": "fast"}))
    );
}

#[test]
fn partials_take_arguments_and_the_column_of_their_line() {
    let part = "{{!-- Arguments: role --}}\n{{#if (eq role \"primary\")}}\nrole: {{json role}}\n{{/if}}\n{{json name}}: |\n  {{json port}}\n";
    let text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  {{> part role=\"primary\"}}\n  last: x\n";
    let manifests = render(&[("config.yaml.hbs", text), ("part.partial.hbs", part)]).unwrap();
    assert_eq!(
        manifests[0].value()["data"],
        json!({"role": "primary", "ledger": "6543\n", "last": "x"})
    );
}

#[test]
fn a_name_that_does_not_exist_is_an_error_wherever_it_is_used() {
    for use_of in [
        "  a: {{json nmae}}\n",
        "  a: {{json storage.nmae}}\n",
        "  a: {{json (concat name nmae)}}\n",
        "{{#if nmae}}\n  a: x\n{{/if}}\n",
        "{{#unless nmae}}\n  a: x\n{{/unless}}\n",
        "{{#each nmae}}\n  a: x\n{{/each}}\n",
        "{{#with nmae}}\n  a: x\n{{/with}}\n",
        "{{#if (eq nmae \"x\")}}\n  a: x\n{{/if}}\n",
        "{{#if (gt nmae 1)}}\n  a: x\n{{/if}}\n",
        "{{#each secrets}}\n  a: {{json ../nmae}}\n{{/each}}\n",
        "{{#each secrets as |secret|}}\n  a: {{json secret.nmae}}\n{{/each}}\n",
        "  a: {{json files.nmae}}\n",
        "  a: {{json parameters.nmae}}\n",
        "  a: {{json (lookup files \"nmae\")}}\n",
    ] {
        let error = data(use_of).unwrap_err();
        assert!(
            error.starts_with("template /tiny/config.yaml.hbs could not be rendered: line "),
            "{use_of}: {error}"
        );
    }
    assert_eq!(
        data("  a: {{json name}}\n  b: {{json nmae}}\n").unwrap_err(),
        "template /tiny/config.yaml.hbs could not be rendered: line 6: there is no value `nmae`"
    );
}

#[test]
fn an_error_in_a_partial_names_the_partial() {
    let files = [
        ("config.yaml.hbs", "{{> part}}\n"),
        ("part.partial.hbs", "# one\n# two\nkind: {{json nmae}}\n"),
    ];
    let expected = "template /tiny/part.partial.hbs could not be rendered: line 3: there is no value `nmae`";
    assert_eq!(render(&files).unwrap_err(), expected);
}

#[test]
fn a_typo_in_a_manifest_is_told_with_object_field_and_line() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: {{json name}} }\nspec:\n{{#if restore}}\n  selektor: {a: b}\n{{/if}}\n";
    assert_eq!(
        render(&[("service.yaml.hbs", text)]).unwrap_err(),
        "template /tiny/service.yaml.hbs made a wrong manifest: Service ledger has no field `spec.selektor` \
         (line 1 of the rendered text: `apiVersion: v1`); it is written at /tiny/service.yaml.hbs:6"
    );
    let part = "spec:\n  # a port\n  ports:\n    - prot: 1\n      port: 5432\n";
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n{{> part}}\n";
    let error = render(&[("service.yaml.hbs", text), ("part.partial.hbs", part)]).unwrap_err();
    assert!(error.ends_with("it is written at /tiny/part.partial.hbs:4"), "{error}");
}

#[test]
fn kinds_off_the_list_are_refused() {
    let text = "---\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: x}\n";
    assert_eq!(
        render(&[("role.yaml.hbs", text)]).unwrap_err(),
        "template /tiny/role.yaml.hbs made a wrong manifest: a strategy can't create rbac.authorization.k8s.io/v1 ClusterRoleBinding; \
         it can create ServiceAccount, Role, RoleBinding, ConfigMap, Service, NetworkPolicy, PodDisruptionBudget, PersistentVolumeClaim, Job, CronJob, \
         Deployment, StatefulSet \
         (line 3 of the rendered text: `apiVersion: rbac.authorization.k8s.io/v1`)"
    );
    let error = render(&[("list.yaml.hbs", "- just\n- a list\n")]).unwrap_err();
    assert!(
        error.contains("a manifest needs apiVersion, kind and metadata.name; apiVersion is missing"),
        "{error}"
    );
}

#[test]
fn text_that_is_no_yaml_is_told_with_its_line() {
    assert_eq!(
        render(&[(
            "service.yaml.hbs",
            "apiVersion: v1\nkind: Service\n name: {{json name}}\n"
        )])
        .unwrap_err(),
        "template /tiny/service.yaml.hbs made a wrong manifest: it rendered no valid YAML: mapping values are not allowed in this context \
         at line 3, column 6 (line 3 of the rendered text: `name: \"ledger\"`)"
    );
    let twice = data("  a: x\n  a: y\n").unwrap_err();
    assert!(twice.contains("duplicate mapping key: a"), "{twice}");
}

/// YAML 1.1, which most Kubernetes tools read, takes these otherwise than YAML 1.2.
#[test]
fn what_yaml_versions_read_differently_is_refused() {
    let set = |line: &str| {
        let text = format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: x}}\nspec: {{selector: {{}}, serviceName: x, template: {{spec: {{{line}}}}}}}\n"
        );
        render(&[("set.yaml.hbs", &text)])
    };
    assert!(set("hostNetwork: true, containers: []").is_ok());
    assert!(
        set("hostNetwork: yes, containers: []")
            .unwrap_err()
            .contains("StatefulSet x does not have the shape of its kind")
    );
    let octal = set("containers: [], volumes: [{name: c, configMap: {name: x, defaultMode: 0555}}]").unwrap_err();
    assert!(
        octal.contains("StatefulSet x does not have the shape of its kind"),
        "{octal}"
    );
}

/// YAML ends a key after 1024 characters, and people type what they like.
#[test]
fn keys_may_be_long() {
    let key = "k".repeat(64 * 1024);
    for line in [
        format!("  {key}: x\n"),
        format!("  \"{key}\": x\n"),
        format!("  {{\"a\": \"b\", \"{key}\": \"x\"}}\n"),
    ] {
        assert_eq!(data(&line).unwrap()[&key], "x");
    }
}

#[test]
fn one_object_from_two_templates_is_an_error() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{json name}} }\n";
    assert_eq!(
        render(&[("a.yaml.hbs", text), ("b.yaml.hbs", text)]).unwrap_err(),
        "template /tiny/b.yaml.hbs made a wrong manifest: ConfigMap ledger was already made by /tiny/a.yaml.hbs"
    );
    assert!(
        render(&[("a.yaml.hbs", &format!("{text}---\n{text}"))])
            .unwrap_err()
            .contains("was already made")
    );
}

#[test]
fn a_template_may_render_nothing() {
    assert_eq!(
        render(&[("a.yaml.hbs", "{{#unless restore}}\nkind: x\n{{/unless}}\n# nothing\n")]),
        Ok(vec![])
    );
}
