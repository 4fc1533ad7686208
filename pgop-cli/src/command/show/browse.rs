//! With what a claim is looked into: image and identity of the resource that uses it.

use kube::api::ListParams;
use pgop_core::crd::{PgCluster, PgDatabase, PodSettings, ServerSpec, ServerStatus};
use pgop_core::name;

use crate::args::show::Browsed;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::volume::Look;

const DEFAULT_IMAGE: &str = "postgres:17";

/// How to look into a claim. The flag wins, then the resource that uses the claim, then the configuration.
pub fn look(claim: &str, folder: &str, user: Option<&ServerSpec>, args: &Browsed, config: &Config) -> Look {
    let settings = &config.settings;
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
pub async fn user_of(cluster: &Cluster, claim: &str) -> Option<ServerSpec> {
    let databases = cluster
        .list::<PgDatabase>(&ListParams::default())
        .await
        .map(|l| l.items)
        .unwrap_or_default();
    let clusters = cluster
        .list::<PgCluster>(&ListParams::default())
        .await
        .map(|l| l.items)
        .unwrap_or_default();
    let of_databases = databases
        .iter()
        .map(|d| (&d.metadata.name, &d.spec.server, d.status.as_ref()));
    let of_clusters = clusters
        .iter()
        .map(|c| (&c.metadata.name, &c.spec.server, c.status.as_ref()));
    of_databases
        .chain(of_clusters)
        .find(|(name, spec, status)| uses(name.as_deref().unwrap_or_default(), spec, *status, claim))
        .map(|(_, spec, _)| spec.clone())
}

fn uses(server: &str, spec: &ServerSpec, status: Option<&ServerStatus>, claim: &str) -> bool {
    spec.storage.claim.as_deref() == Some(claim)
        || claim == name::data_claim(server)
        || claim == name::backup_claim(server)
        || claim
            .strip_prefix("data-")
            .and_then(|rest| rest.rsplit_once('-'))
            .is_some_and(|(set, _)| set == name::replica(server))
        || status.is_some_and(|s| {
            s.claims.iter().any(|c| c == claim) || s.last_backup.as_ref().is_some_and(|last| last.claim == claim)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_known_by_its_name() {
        let spec = ServerSpec::default();
        for claim in ["hippo-pvc", "hippo-backup-pvc", "data-hippo-replica-3"] {
            assert!(uses("hippo", &spec, None, claim), "{claim}");
        }
        for claim in ["hippo", "hippo2-pvc", "data-hippo-3", "data-other-replica-0"] {
            assert!(!uses("hippo", &spec, None, claim), "{claim}");
        }
    }
}
