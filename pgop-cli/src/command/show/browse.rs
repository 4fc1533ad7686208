//! With what a claim is looked into: image and identity of the resource that uses it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use pgop_core::crd::{PgCluster, PgDatabase, PodSettings, ServerSpec, ServerStatus, Servers};
use pgop_core::label::BACKUPS_OF;
use pgop_core::{Managed, Owner};

use crate::args::show::Browsed;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::volume::Look;

const DEFAULT_IMAGE: &str = "postgres:17";

/// A database or cluster that uses a claim.
pub struct User {
    /// Which it is.
    pub owner: Owner,
    /// How its servers are to be.
    pub spec: ServerSpec,
}

impl User {
    /// The user that a resource is.
    pub fn of<R: Managed + Servers>(resource: &R) -> Self {
        Self {
            owner: Owner::of(resource),
            spec: resource.server().clone(),
        }
    }
}

/// How to look into a claim. The flag wins, then the resource that uses the claim, then the configuration.
pub fn look(claim: &str, folder: &str, user: Option<&User>, args: &Browsed, config: &Config) -> Look {
    let settings = &config.settings;
    let owner = user.map(|user| user.owner.clone());
    let user = user.map(|user| &user.spec);
    let of_resource = user.map(|spec| {
        let version = spec.postgres.version.as_deref();
        spec.postgres
            .image
            .clone()
            .unwrap_or_else(|| version.map_or(DEFAULT_IMAGE.to_owned(), |v| format!("postgres:{v}")))
    });
    let of_config = || {
        settings
            .get("PGO.BROWSE_IMAGE")
            .or_else(|| settings.get("DB.IMAGE"))
            .map(str::to_owned)
    };
    let configured = PodSettings {
        run_as_user: settings.number("DB.RUN_AS_USER"),
        fs_group: settings.number("DB.FSGROUP"),
        supplemental_groups: settings.numbers("DB.SUPPLEMENTALGROUPS"),
        ..PodSettings::default()
    };
    let browse_image = settings.get("PGO.BROWSE_IMAGE").map(str::to_owned);
    Look {
        claim: claim.to_owned(),
        folder: folder.to_owned(),
        user: owner,
        image: args
            .image
            .clone()
            .or(browse_image)
            .or(of_resource)
            .or_else(of_config)
            .unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
        image_pull_policy: user
            .and_then(|spec| spec.postgres.image_pull_policy.clone())
            .or_else(|| settings.get("DB.IMAGE_PULL_POLICY").map(str::to_owned)),
        image_pull_secrets: user
            .map(|spec| spec.postgres.image_pull_secrets.clone())
            .unwrap_or_default(),
        pod: user.map_or(configured, |spec| spec.pod.clone()),
        timeout: args.timeout,
    }
}

/// The database or cluster that uses a claim, for its data or its backups.
pub async fn user_of(cluster: &Cluster, claim: &PersistentVolumeClaim) -> Option<User> {
    match of_kind::<PgDatabase>(cluster, claim).await {
        Some(user) => Some(user),
        None => of_kind::<PgCluster>(cluster, claim).await,
    }
}

async fn of_kind<R: Managed + Servers>(cluster: &Cluster, claim: &PersistentVolumeClaim) -> Option<User> {
    let all = cluster.list::<R>(&ListParams::default()).await.ok()?.items;
    all.iter().find(|resource| uses(*resource, claim)).map(User::of)
}

/// Whether a claim is the resource's: its spec names it, its status tells of it, or the claim's own labels say so.
fn uses<R: Managed + Servers>(resource: &R, claim: &PersistentVolumeClaim) -> bool {
    let (name, status) = (claim.metadata.name.as_ref(), resource.status());
    let is_labelled = |key: &str| {
        let labels = claim.metadata.labels.as_ref();
        labels.and_then(|all| all.get(key)) == resource.meta().name.as_ref()
    };
    let is_told = |status: &ServerStatus| {
        status.claims.iter().any(|it| Some(it) == name) || status.last_backup.as_ref().map(|last| &last.claim) == name
    };
    resource.server().storage.claim.as_ref() == name
        || is_labelled(R::KIND.label())
        || is_labelled(BACKUPS_OF)
        || status.is_some_and(is_told)
}

#[cfg(test)]
mod tests {
    use pgop_core::crd::PgClusterSpec;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_known_by_its_labels_its_spec_and_its_status_whatever_its_name_is() {
        let mut hippo = PgCluster::new("hippo", PgClusterSpec::default());
        hippo.spec.server.storage.claim = Some("given".to_owned());
        hippo.status = serde_json::from_value(
            json!({"claims": ["told"], "lastBackup": {"name": "b", "claim": "vault", "path": "p"}}),
        )
        .unwrap();
        let is_used = |name: &str, labels: serde_json::Value| {
            let claim = json!({"metadata": {"name": name, "labels": labels}});
            uses(&hippo, &serde_json::from_value(claim).unwrap())
        };
        for (name, labels) in [
            ("any", json!({"pgop.dev/cluster": "hippo"})),
            ("any", json!({"pgop.dev/backups-of": "hippo"})),
            ("given", json!({})),
            ("told", json!({})),
            ("vault", json!({})),
        ] {
            assert!(is_used(name, labels), "{name}");
        }
        for (name, labels) in [
            ("hippo-pvc", json!({})),
            ("any", json!({"pgop.dev/cluster": "rhino"})),
            ("any", json!({"pgop.dev/database": "hippo"})),
        ] {
            assert!(!is_used(name, labels), "{name}");
        }
    }
}
