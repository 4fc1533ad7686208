//! The connection, and what has to be true of the cluster before work starts. Every failure names what mends it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use pgop_core::crd;
use pgop_core::install::rights::{Rule, resource_rules};
use pgop_core::runtime::{crds, metrics::Metrics, plain};
use thiserror::Error;
use tokio::time::timeout;

/// No answer within this time is none.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why work can't start.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The kubeconfig can't be used.
    #[error(
        "no cluster can be found: {0}; give one with --kubeconfig and --context, set KUBECONFIG, or run in a pod (`pgo install`)"
    )]
    NoConfig(#[source] Box<dyn Error + Send + Sync>),
    /// No client can be made from it.
    #[error(
        "the cluster's configuration can't be used: {0}; `kubectl version` with the same kubeconfig shows whether it is right"
    )]
    NoClient(#[source] Box<kube::Error>),
    /// The API server does not answer.
    #[error(
        "the cluster at {url} does not answer: {reason}; `kubectl version` with the same kubeconfig tries the same"
    )]
    Unreachable {
        /// Its address.
        url: String,
        /// What came instead of an answer.
        reason: String,
    },
    /// The definitions can't be made, and there are none.
    #[error(
        "the custom resource definitions can't be created or updated: {0}; install them with `pgop-operator crd | kubectl apply -f -` (or `pgo install`) and start with --no-crds"
    )]
    Crds(#[source] crds::CrdError),
    /// A right is missing.
    #[error(
        "the account may not list {resource} in {place}: `pgo install` grants what is needed{hint} ({})",
        plain(source)
    )]
    Forbidden {
        /// Plural name.
        resource: String,
        /// A namespace, or all of them.
        place: String,
        /// What else may help.
        hint: &'static str,
        /// The refusal.
        source: Box<kube::Error>,
    },
}

/// A client for the work, and what another one can be made of.
pub struct Connection {
    /// For the work; the metrics count its requests.
    pub client: Client,
    /// For the lease, whose renewals neither wait behind work nor count as such.
    pub config: Config,
    /// The namespace that the context or the pod is in.
    pub namespace: String,
    /// Address of the API server.
    pub url: String,
}

/// Connects by the usual rules, and makes sure that somebody answers.
pub async fn connect(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    metrics: &Arc<Metrics>,
) -> Result<Connection, ClusterError> {
    let config = config(kubeconfig, context).await?;
    let (namespace, url) = (config.default_namespace.clone(), config.cluster_url.to_string());
    let no_client = |error| ClusterError::NoClient(Box::new(error));
    let uncounted = Client::try_from(config.clone()).map_err(no_client)?;
    let client = ClientBuilder::try_from(config.clone())
        .map_err(no_client)?
        .with_layer(&metrics.request_layer())
        .build();
    let unreachable = |reason: String| ClusterError::Unreachable {
        url: url.clone(),
        reason,
    };
    match timeout(PATIENCE, uncounted.apiserver_version()).await {
        Ok(Ok(version)) => tracing::info!(url, version = version.git_version, "connected"),
        Ok(Err(error)) => return Err(unreachable(innermost(&error))),
        Err(_) => return Err(unreachable(format!("nothing came within {} s", PATIENCE.as_secs()))),
    }
    Ok(Connection {
        client,
        config,
        namespace,
        url,
    })
}

async fn config(kubeconfig: Option<PathBuf>, context: Option<String>) -> Result<Config, ClusterError> {
    let no_config = |error: Box<dyn Error + Send + Sync>| ClusterError::NoConfig(error);
    let is_default = context.is_none();
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    match kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file).map_err(|e| no_config(e.into()))?;
            Config::from_custom_kubeconfig(read, &options)
                .await
                .map_err(|e| no_config(e.into()))
        }
        None if is_default => Config::infer().await.map_err(|e| no_config(e.into())),
        None => Config::from_kubeconfig(&options).await.map_err(|e| no_config(e.into())),
    }
}

/// Creates or updates the definitions.
pub async fn ensure_crds(client: &Client) -> Result<(), ClusterError> {
    let changed = crds::ensure(client.clone()).await.map_err(ClusterError::Crds)?;
    for (name, change) in changed {
        tracing::info!(name, ?change, "custom resource definition");
    }
    Ok(())
}

/// Makes sure that what strategies create may be listed (the engine looks after our own kinds): a watch that is refused would only
/// ever be retried.
pub async fn check_rights(client: &Client, namespaces: &[String]) -> Result<(), ClusterError> {
    let places: Vec<Option<&str>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|n| Some(n.as_str())).collect()
    };
    for place in places {
        for rule in resource_rules()
            .into_iter()
            .filter(|rule| rule.verbs.contains(&"list") && rule.api_groups != [crd::GROUP])
        {
            for resource in &rule.resources {
                list_one(client, &rule, resource, place).await?;
            }
        }
    }
    Ok(())
}

async fn list_one(client: &Client, rule: &Rule, resource: &str, place: Option<&str>) -> Result<(), ClusterError> {
    let group = rule.api_groups.first().copied().unwrap_or_default();
    let version = if group == crd::GROUP { crd::VERSION } else { "v1" };
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let kind = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: resource.to_owned(),
        plural: resource.to_owned(),
    };
    let api: Api<DynamicObject> = match place {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    // Metadata is enough, so that no Secret is read here.
    match timeout(PATIENCE, api.list_metadata(&ListParams::default().limit(1))).await {
        Ok(Err(error)) if matches!(&error, kube::Error::Api(status) if status.is_forbidden()) => {
            Err(ClusterError::Forbidden {
                resource: resource.to_owned(),
                place: place.map_or_else(|| "all namespaces".to_owned(), |n| format!("namespace {n}")),
                hint: if place.is_none() {
                    ", or --namespaces names those it may work in"
                } else {
                    ""
                },
                source: Box::new(error),
            })
        }
        // The rest mends itself.
        _ => Ok(()),
    }
}

/// The last link of an error's chain: "connection refused" rather than "service error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_kubeconfig_says_what_to_give() {
        let error = config(Some("/no/such/file".into()), None)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/no/such/file") && error.contains("--kubeconfig"),
            "{error}"
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words_alone() {
        let status = kube::core::Status {
            message: "pods is forbidden".to_owned(),
            code: 403,
            ..Default::default()
        };
        let refusal = || Box::new(kube::Error::Api(Box::new(status.clone())));
        let crds = ClusterError::Crds(crds::CrdError::Read {
            name: "x".to_owned(),
            source: refusal(),
        })
        .to_string();
        assert!(
            crds.contains("the definition x: pods is forbidden; install them with"),
            "{crds}"
        );
        let forbidden = ClusterError::Forbidden {
            resource: "pods".to_owned(),
            place: "all namespaces".to_owned(),
            hint: "",
            source: refusal(),
        };
        assert!(
            forbidden.to_string().ends_with("needed (pods is forbidden)"),
            "{forbidden}"
        );
    }

    #[tokio::test]
    async fn a_cluster_that_is_down_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
            clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\n\
            contexts: [{name: a, context: {cluster: a, user: a, namespace: shop}}]\n";
        std::fs::write(&file, text).unwrap();
        let error = connect(Some(file.clone()), None, &Arc::default())
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("the cluster at http://127.0.0.1:1/ does not answer: "),
            "{error}"
        );
        assert!(error.to_lowercase().contains("connection refused"), "{error}");
        let error = config(Some(file), Some("b".to_owned())).await.unwrap_err().to_string();
        assert!(
            error.contains("no cluster can be found") && error.contains("--context"),
            "{error}"
        );
    }
}
