//! How the operator is installed, and what of it an installation that is there already decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use serde_json::{Value, json};

use super::NAMESPACE;
use super::deployment::{CONTAINER, DEFAULTS, STRATEGIES};

/// How the operator is installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The operator's own namespace.
    pub namespace: String,
    /// Its image.
    pub image: String,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Secrets of its namespace with which the image is pulled.
    pub image_pull_secrets: Vec<String>,
    /// Number of operators. One works, the others wait for its lease.
    pub replicas: i32,
    /// The namespaces it looks after; empty for all of them.
    pub watch_namespaces: BTreeSet<String>,
    /// `text` or `json`.
    pub log_format: String,
    /// `ConfigMap`s in its namespace with further strategies, one bundle each.
    pub strategies: BTreeSet<String>,
    /// Whether it creates and updates the custom resource definitions when it starts. Whoever installs does it otherwise.
    pub crds: bool,
    /// Whether the roles `view`, `edit` and `admin` of the cluster get rights on the resources.
    pub aggregated_roles: bool,
    /// CPU and memory of its container.
    pub resources: ResourceRequirements,
    /// Labels added to its pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations added to its pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// Labels of the nodes that may run it.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it tolerates.
    pub tolerations: Vec<Toleration>,
    /// Its priority class.
    pub priority_class: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: NAMESPACE.to_owned(),
            image: format!("ghcr.io/pgop/operator:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            replicas: 1,
            watch_namespaces: BTreeSet::new(),
            log_format: "json".to_owned(),
            strategies: BTreeSet::new(),
            crds: true,
            aggregated_roles: true,
            resources: typed(&json!({"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}})),
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class: None,
        }
    }
}

/// Something that an installation changes about the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is changed, as its flag is called.
    pub setting: &'static str,
    /// What it was.
    pub from: String,
    /// What it becomes.
    pub to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes from {} to {}", self.setting, self.from, self.to)
    }
}

impl Options {
    /// What an installed Deployment was made with. What it does not tell is as the defaults are: fields that only others set there, such as a
    /// node selector, stay theirs when the Deployment is applied again.
    pub fn installed(deployment: &Value) -> Self {
        let default = Self::default();
        let pod = &deployment["spec"]["template"]["spec"];
        let container = (pod["containers"].as_array().into_iter().flatten())
            .find(|container| container["name"] == CONTAINER)
            .unwrap_or(&Value::Null);
        let variable = |name: &str| {
            let variables = container["env"].as_array().into_iter().flatten();
            variables
                .filter(|v| v["name"] == name)
                .find_map(|v| v["value"].as_str())
        };
        let text = |value: &Value, default: String| value.as_str().map_or(default, str::to_owned);
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        Self {
            namespace: text(&deployment["metadata"]["namespace"], default.namespace),
            image: text(&container["image"], default.image),
            image_pull_policy: text(&container["imagePullPolicy"], default.image_pull_policy),
            replicas: (deployment["spec"]["replicas"].as_i64())
                .and_then(|replicas| i32::try_from(replicas).ok())
                .unwrap_or(default.replicas),
            watch_namespaces: words(variable("PGOP_NAMESPACES").unwrap_or_default()),
            log_format: variable("PGOP_LOG_FORMAT").map_or(default.log_format, str::to_owned),
            strategies: mounts
                .filter_map(|mount| mount["mountPath"].as_str()?.strip_prefix(STRATEGIES)?.strip_prefix('/'))
                .map(str::to_owned)
                .collect(),
            crds: variable("PGOP_NO_CRDS") != Some("true"),
            resources: typed(&container["resources"]),
            ..Self::default()
        }
    }

    /// What an installation that is told nothing keeps of the Deployment that is there: everything, but for what that one had by the default of
    /// its version. That follows this version's default: otherwise no operator would ever be updated.
    pub fn kept(deployment: &Value) -> Self {
        let mut kept = Self::installed(deployment);
        let default = Self::default();
        let text = deployment["metadata"]["annotations"][DEFAULTS]
            .as_str()
            .unwrap_or_default();
        let then: Value = serde_json::from_str(text).unwrap_or_default();
        if then["image"] == kept.image.as_str() {
            kept.image = default.image;
        }
        if then
            .get("resources")
            .is_some_and(|resources| typed(resources) == kept.resources)
        {
            kept.resources = default.resources;
        }
        kept
    }

    /// What differs, of what a Deployment tells.
    pub fn changes_from(&self, before: &Self) -> Vec<Change> {
        let list = |names: &BTreeSet<String>, none: &str| {
            if names.is_empty() {
                return none.to_owned();
            }
            names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        };
        let settings = |options: &Self| {
            [
                ("image", options.image.clone()),
                ("image-pull-policy", options.image_pull_policy.clone()),
                ("replicas", options.replicas.to_string()),
                ("watch-namespaces", list(&options.watch_namespaces, "all namespaces")),
                ("strategies", list(&options.strategies, "none")),
                ("log-format", options.log_format.clone()),
                ("resources", json!(options.resources).to_string()),
                (
                    "who makes the definitions",
                    if options.crds {
                        "the operator"
                    } else {
                        "who installs it"
                    }
                    .to_owned(),
                ),
            ]
        };
        (settings(before).into_iter().zip(settings(self)))
            .filter(|((_, from), (_, to))| from != to)
            .map(|((setting, from), (_, to))| Change { setting, from, to })
            .collect()
    }
}

/// The words of a list with commas.
fn words(list: &str) -> BTreeSet<String> {
    list.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Empty where it is no such thing: what the API server holds always is one.
fn typed(resources: &Value) -> ResourceRequirements {
    serde_json::from_value(resources.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::manifests;
    use super::*;

    fn deployment(options: &Options) -> Value {
        manifests(options).pop().unwrap()
    }

    fn told() -> Options {
        Options {
            namespace: "tools".to_owned(),
            image: "registry.test/pgop:1".to_owned(),
            image_pull_policy: "Always".to_owned(),
            replicas: 2,
            watch_namespaces: ["bank", "shop"].map(str::to_owned).into(),
            log_format: "text".to_owned(),
            strategies: ["exposed", "team.blue"].map(str::to_owned).into(),
            crds: false,
            resources: typed(&json!({"limits": {"memory": "1Gi"}})),
            ..Options::default()
        }
    }

    #[test]
    fn what_was_told_is_read_back_from_the_deployment() {
        assert_eq!(Options::installed(&deployment(&told())), told());
        assert_eq!(Options::installed(&deployment(&Options::default())), Options::default());
    }

    #[test]
    fn what_was_told_is_kept() {
        assert_eq!(Options::kept(&deployment(&told())), told());
    }

    #[test]
    fn what_an_older_version_chose_itself_follows_this_version() {
        let mut older = Options {
            watch_namespaces: ["shop".to_owned()].into(),
            ..Options::default()
        };
        older.image = "ghcr.io/pgop/operator:0.0.9".to_owned();
        older.resources = typed(&json!({"limits": {"memory": "128Mi"}}));
        let mut live = deployment(&older);
        let defaults = json!({"image": older.image, "resources": older.resources});
        live["metadata"]["annotations"][DEFAULTS] = defaults.to_string().into();
        let kept = Options::kept(&live);
        assert_eq!(kept.image, Options::default().image);
        assert_eq!(kept.resources, Options::default().resources);
        assert_eq!(kept.watch_namespaces, older.watch_namespaces);

        // Somebody gave it more memory since.
        live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "2Gi".into();
        assert_eq!(
            json!(Options::kept(&live).resources),
            json!({"limits": {"memory": "2Gi"}})
        );
    }

    #[test]
    fn changes_are_named_with_what_was_and_what_comes() {
        let mut after = told();
        assert_eq!(after.changes_from(&told()), []);
        after.watch_namespaces.clear();
        after.image = "registry.test/pgop:2".to_owned();
        let said: Vec<String> = after.changes_from(&told()).iter().map(ToString::to_string).collect();
        let expected = [
            "image changes from registry.test/pgop:1 to registry.test/pgop:2",
            "watch-namespaces changes from bank,shop to all namespaces",
        ];
        assert_eq!(said, expected);
    }
}
