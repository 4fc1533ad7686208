//! The resources that are served now: the built-in ones and those of the stored CRDs.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgop_sandbox_schema::Schema;
use serde_json::Value;

use crate::resource::{Custom, Resource, Scale, built_in, group_version};
use crate::store::Store;

/// Where CRDs are stored.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The resources by group, version and plural name.
pub(crate) struct Catalog {
    built_in: Vec<Arc<Resource>>,
    /// In the order of discovery.
    resources: Vec<Arc<Resource>>,
    by_path: BTreeMap<(String, String, String), Arc<Resource>>,
    /// Counts the changes: discovery answers are kept as long as it stays.
    pub(crate) generation: u64,
}

impl Catalog {
    /// The built-in resources and what the stored CRDs define.
    pub(crate) fn new(store: &Store) -> Self {
        Self::with(built_in(), store, 0)
    }

    /// The same after a CRD has changed.
    pub(crate) fn renewed(&self, store: &Store) -> Self {
        Self::with(self.built_in.clone(), store, self.generation + 1)
    }

    fn with(built_in: Vec<Arc<Resource>>, store: &Store, generation: u64) -> Self {
        let custom = store.list(DEFINITIONS).1;
        let custom = custom
            .values()
            .flat_map(|definition| resources_of(definition.value()))
            .map(Arc::new);
        let resources: Vec<Arc<Resource>> = built_in.iter().cloned().chain(custom).collect();
        let by_path = resources
            .iter()
            .map(|resource| {
                (
                    (
                        resource.group.clone(),
                        resource.version.clone(),
                        resource.plural.clone(),
                    ),
                    resource.clone(),
                )
            })
            .collect();
        Self {
            built_in,
            resources,
            by_path,
            generation,
        }
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.by_path
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
            .cloned()
    }

    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// Groups in the order of discovery, each with its versions; the core group, named "", first.
    pub(crate) fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for resource in &self.resources {
            let (group, version) = (resource.group.as_str(), resource.version.as_str());
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, versions)) if versions.contains(&version) => {}
                Some((_, versions)) => versions.push(version),
                None => groups.push((group, vec![version])),
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        }
        groups
    }

    pub(crate) fn of_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources
            .iter()
            .filter(move |resource| resource.group == group && resource.version == version)
    }
}

/// Stable versions before betas before alphas, higher numbers first, then others by name:
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority>.
fn priority(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let name = std::cmp::Reverse(version.to_owned());
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let major: u64 = rest[..digits].parse().ok()?;
        let stage = &rest[digits..];
        Some(if stage.is_empty() {
            (3, major, 0)
        } else if let Some(minor) = stage.strip_prefix("beta") {
            (2, major, minor.parse().ok()?)
        } else {
            (1, major, stage.strip_prefix("alpha")?.parse().ok()?)
        })
    });
    let (stage, major, minor) = parsed.unwrap_or((0, 0, 0));
    (stage, major, minor, name)
}

/// The served versions of a CRD.
fn resources_of(definition: &Value) -> Vec<Resource> {
    let versions = definition["spec"]["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| resource_of(definition, version, versions))
        .collect()
}

fn resource_of(definition: &Value, version: &Value, versions: &[Value]) -> Resource {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| {
        value
            .as_array()
            .map(|items| items.iter().map(text).collect())
            .unwrap_or_default()
    };
    let spec = &definition["spec"];
    let names = &spec["names"];
    let (group, plural) = (text(&spec["group"]), text(&names["plural"]));
    let storage = versions
        .iter()
        .find(|version| version["storage"] == true)
        .unwrap_or(version);
    let subresources = &version["subresources"];
    let has_status = subresources.get("status").is_some_and(|status| !status.is_null());
    let scale = subresources
        .get("scale")
        .filter(|scale| scale.is_object())
        .map(|scale| Scale {
            spec_replicas: text(&scale["specReplicasPath"]),
            status_replicas: text(&scale["statusReplicasPath"]),
            selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
        });
    let selectable = version["selectableFields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let selectable = selectable
        .iter()
        .map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned());
    let deprecated = version["deprecated"] == true;
    let version_name = text(&version["name"]);
    let kind = text(&names["kind"]);
    let warning = version["deprecationWarning"].as_str().map_or_else(
        || format!("{} {kind} is deprecated", group_version(&group, &version_name)),
        str::to_owned,
    );
    let schema = &version["schema"]["openAPIV3Schema"];
    let schema = match Schema::from_crd(schema) {
        Ok(schema) => Arc::new(schema.with_status_subresource(has_status)),
        // It was checked when it was written; only another version of this program can have let it in.
        Err(_) => Schema::any(),
    };
    Resource {
        stored_as: group_version(&group, storage["name"].as_str().unwrap_or_default()),
        table: format!("{plural}.{group}").into(),
        singular: names["singular"]
            .as_str()
            .map_or_else(|| kind.to_lowercase(), str::to_owned),
        list_kind: names["listKind"]
            .as_str()
            .map_or_else(|| format!("{kind}List"), str::to_owned),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        has_status,
        scale,
        counts_generation: true,
        selectable: selectable.collect(),
        custom: Some(Custom {
            definition: text(&definition["metadata"]["name"]),
            columns: version["additionalPrinterColumns"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
            terminating: definition["metadata"].get("deletionTimestamp").is_some(),
            deprecation: deprecated.then_some(warning),
        }),
        version: version_name,
        group,
        plural,
        kind,
        schema,
    }
}

#[cfg(test)]
mod tests {
    use super::priority;

    #[test]
    fn versions_are_ordered_as_documented() {
        let mut versions = [
            "foo10",
            "v1alpha1",
            "v10beta3",
            "v1",
            "v3beta1",
            "v11beta2",
            "foo1",
            "v2",
            "v12alpha1",
            "v11alpha2",
            "v10",
        ];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        let documented = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "v1alpha1",
            "foo1",
            "foo10",
        ];
        assert_eq!(versions, documented);
    }
}
