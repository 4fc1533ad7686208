//! Labels and annotations, and the one place that makes object metadata.

use std::collections::BTreeMap;

use crate::owner::Owner;

/// Who manages an object: always [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`], and the field manager of server-side apply.
pub const MANAGER: &str = "pgop";
/// Type of the Secrets with passwords. It can't be changed when one side takes over what the other made.
pub const SECRET_TYPE: &str = "kubernetes.io/basic-auth";
/// The application: always `postgresql`.
pub const NAME: &str = "app.kubernetes.io/name";
/// The resource's name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// `database`, `cluster` or `backup`.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Role of a server's pod: `primary` or `replica`.
pub const ROLE: &str = "pgop.dev/role";
/// Hash of the manifest that was applied last.
pub const APPLIED: &str = "pgop.dev/applied";
/// On a manifest of a strategy: hold it back until that Job has succeeded. It is not sent to the server.
pub const AFTER_JOB: &str = "pgop.dev/after-job";
/// On an object that a step of a strategy made: it is not one of the desired ones, and is not removed for that.
pub const STEP: &str = "pgop.dev/step";
/// Hash of the settings that only a restart applies.
pub const RESTART_HASH: &str = "pgop.dev/restart-hash";
/// On the template of a server's pods: what the spec asks of them, as a hash. A pod that has another one is restarted.
pub const REQUESTED: &str = "pgop.dev/requested";
/// On a `StatefulSet`: hash of the template that was made for it last, and the generation of the resource's spec for which it was.
pub const TEMPLATE: &str = "pgop.dev/template";
/// On a database or a cluster, any text: when it changes, servers whose pods another pgop made are restarted, to become as this one makes them. On a
/// `StatefulSet`: the template's hash at the time when that text was first seen, and the text.
pub const UPGRADE: &str = "pgop.dev/upgrade";
/// On a server's pod: hash of the `ConfigMap` and the Secrets that it may mount, so that the kubelet brings a change of them at once.
pub const MOUNTED: &str = "pgop.dev/mounted";

/// Label of the claim that all backups of a source share.
pub const BACKUPS_OF: &str = "pgop.dev/backups-of";

/// Selects everything that pgop made.
pub fn managed_selector() -> String {
    format!("{MANAGED_BY}={MANAGER}")
}

/// Labels of every object made for `owner`.
pub fn common(owner: &Owner) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME.to_owned(), "postgresql".to_owned()),
        (INSTANCE.to_owned(), owner.name.clone()),
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        (COMPONENT.to_owned(), owner.kind.component().to_owned()),
        (owner.kind.label().to_owned(), owner.name.clone()),
    ])
}

/// The one label that tells to which resource an object belongs, as a selector map.
pub fn selector(owner: &Owner) -> BTreeMap<String, String> {
    BTreeMap::from([(owner.kind.label().to_owned(), owner.name.clone())])
}

/// Whether a person may set this label or annotation on pods: not those that pgop and Kubernetes live by.
pub fn is_reserved(key: &str) -> bool {
    key.starts_with("pgop.dev/")
        || key.starts_with("app.kubernetes.io/")
        || matches!(
            key,
            "controller-revision-hash" | "statefulset.kubernetes.io/pod-name" | "job-name" | "controller-uid"
        )
}
