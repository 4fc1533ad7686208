//! One rule of a role: what it permits, and whether rules that somebody has cover those they want to give.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::access::Attempt;

/// A rule of a role. See <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) groups: Vec<String>,
    /// With their subresources: `pods/log`, `*/scale`.
    pub(crate) resources: Vec<String>,
    /// None: objects of any name.
    pub(crate) names: Vec<String>,
    /// Paths that are no resources; a `*` at the end stands for any rest.
    pub(crate) paths: Vec<String>,
}

/// The texts of a list; none where there is no list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == wanted || one == "*")
}

fn has_resource(list: &[String], wanted: &str) -> bool {
    let any = wanted.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    has(list, wanted) || any.is_some_and(|any| list.contains(&any))
}

fn has_path(list: &[String], wanted: &str) -> bool {
    list.iter()
        .any(|known| known == wanted || known.strip_suffix('*').is_some_and(|start| wanted.starts_with(start)))
}

impl Rule {
    /// The rule as a role has it.
    pub(crate) fn of(rule: &Value) -> Self {
        Self {
            verbs: texts(&rule["verbs"]),
            groups: texts(&rule["apiGroups"]),
            resources: texts(&rule["resources"]),
            names: texts(&rule["resourceNames"]),
            paths: texts(&rule["nonResourceURLs"]),
        }
    }

    /// The rules of a role.
    pub(crate) fn all_of(role: &Value) -> Vec<Self> {
        role["rules"].as_array().into_iter().flatten().map(Self::of).collect()
    }

    /// The rule in the words of the API.
    pub(crate) fn to_json(&self) -> Value {
        let mut rule = Map::new();
        rule.insert("verbs".into(), json!(self.verbs));
        for (field, list) in [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ] {
            if !list.is_empty() {
                rule.insert(field.into(), json!(list));
            }
        }
        Value::Object(rule)
    }

    /// Whether it permits that.
    pub(crate) fn permits(&self, attempt: &Attempt) -> bool {
        if !has(&self.verbs, &attempt.verb) {
            return false;
        }
        match &attempt.path {
            Some(path) => has_path(&self.paths, path),
            None => {
                has(&self.groups, &attempt.group)
                    && has_resource(&self.resources, &attempt.resource)
                    && (self.names.is_empty() || self.names.contains(&attempt.name))
            }
        }
    }

    /// Everything it permits, each as a rule with one verb, resource and name, or one verb and path.
    fn parts(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut parts = Vec::new();
        for verb in &self.verbs {
            parts.extend(self.paths.iter().map(|path| Self {
                verbs: one(verb),
                paths: one(path),
                ..Self::default()
            }));
            for group in &self.groups {
                for resource in &self.resources {
                    let part = Self {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    let named = self.names.iter().map(|name| Self {
                        names: one(name),
                        ..part.clone()
                    });
                    parts.extend(named);
                    if self.names.is_empty() {
                        parts.push(part);
                    }
                }
            }
        }
        parts
    }

    /// Whether it permits at least what a part of another rule does.
    fn covers(&self, part: &Self) -> bool {
        let all = |wanted: &[String], has: fn(&[String], &str) -> bool, own: &[String]| {
            wanted.iter().all(|one| has(own, one))
        };
        all(&part.verbs, has, &self.verbs)
            && all(&part.groups, has, &self.groups)
            && all(&part.resources, has_resource, &self.resources)
            && all(&part.paths, has_path, &self.paths)
            && (self.names.is_empty()
                || (!part.names.is_empty() && part.names.iter().all(|name| self.names.contains(name))))
    }
}

impl std::fmt::Display for Rule {
    /// As Kubernetes' messages show rules.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        for (field, list) in [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ] {
            if !list.is_empty() {
                parts.push(format!("{field}:{}", quoted(list)));
            }
        }
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// `["a" "b"]`
pub(crate) fn quoted(list: &[String]) -> String {
    let mut text = String::new();
    for (index, one) in list.iter().enumerate() {
        let _ = write!(text, "{}{one:?}", if index == 0 { "" } else { " " });
    }
    format!("[{text}]")
}

/// What the wanted rules permit beyond the owned ones; rules that differ only in their verbs as one.
pub(crate) fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing: BTreeMap<[Vec<String>; 4], Vec<String>> = BTreeMap::new();
    for part in wanted.iter().flat_map(Rule::parts) {
        if owned.iter().any(|rule| rule.covers(&part)) {
            continue;
        }
        let verbs = missing
            .entry([part.groups, part.resources, part.names, part.paths])
            .or_default();
        verbs.extend(
            part.verbs
                .into_iter()
                .filter(|verb| !verbs.contains(verb))
                .collect::<Vec<_>>(),
        );
    }
    missing
        .into_iter()
        .map(|([groups, resources, names, paths], verbs)| Rule {
            verbs,
            groups,
            resources,
            names,
            paths,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Attempt, Rule, uncovered};

    fn permits(rule: &Value, verb: &str, resource: &str, name: &str) -> bool {
        let attempt = Attempt {
            verb: verb.into(),
            resource: resource.into(),
            name: name.into(),
            ..Attempt::default()
        };
        Rule::of(rule).permits(&attempt)
    }

    #[test]
    fn rules_permit_what_they_say_and_no_more() {
        let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/log"]});
        assert!(permits(&rule, "get", "pods", "a"));
        assert!(permits(&rule, "get", "pods/log", "a"));
        assert!(!permits(&rule, "delete", "pods", "a"));
        assert!(!permits(&rule, "get", "pods/exec", "a"));
        let named = json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"]});
        assert!(permits(&named, "get", "pods", "a"));
        assert!(!permits(&named, "get", "pods", "b"));
        assert!(!permits(&named, "get", "pods", ""));
    }

    #[test]
    fn paths_are_permitted_whole_or_by_their_start() {
        let rule = Rule::of(&json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}));
        let get = |path: &str| {
            rule.permits(&Attempt {
                verb: "get".into(),
                path: Some(path.into()),
                ..Attempt::default()
            })
        };
        assert!(get("/healthz") && get("/apis/apps/v1"));
        assert!(!get("/healthz/ping") && !get("/api"));
    }

    fn missing(owned: &[&Value], wanted: &[&Value]) -> Vec<String> {
        let rules = |list: &[&Value]| list.iter().map(|rule| Rule::of(rule)).collect::<Vec<_>>();
        let missing = uncovered(&rules(owned), &rules(wanted));
        missing.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_owned_is_told() {
        let view = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "secrets"]});
        let one = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]});
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        let none: [String; 0] = [];
        assert_eq!(missing(&[&all], &[&view, &one]), none);
        assert_eq!(missing(&[&view], &[&one]), none);
        assert_eq!(
            missing(&[&one], &[&view]),
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#
            ]
        );
        let paths = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
        assert_eq!(
            missing(&[&view], &[&paths]),
            [r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#]
        );
    }
}
