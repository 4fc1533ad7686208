//! The cluster: how it is found, and every question asked of it, each with a timeout and an error that says what to do.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ListParams, ObjectList};
use kube::config::{ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::config::Config;
use crate::exit_code::ExitCode;

/// Why the cluster did not do what was asked for.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No kubeconfig, or one that can't be used.
    #[error(
        "no cluster to talk to: {problem}; give --kubeconfig and --context, set KUBECONFIG, or run `pgo sandbox start` for a Kubernetes of your own"
    )]
    NoConfig {
        /// What is wrong.
        problem: String,
    },
    /// A name that nothing can have. It would lead to another path of the API server.
    #[error("{kind} `{name}` can't exist: a name is made of letters, digits, `-`, `_` and `.`")]
    BadName {
        /// What it would name.
        kind: String,
        /// The name.
        name: String,
    },
    /// Nobody answers.
    #[error(
        "cluster {server} can't be reached ({problem}); check that it runs and that --kubeconfig and --context name the right one"
    )]
    Unreachable {
        /// URL of the API server.
        server: String,
        /// What the network said.
        problem: String,
    },
    /// It takes too long.
    #[error("cluster {server} did not answer within {} s when asked to {action}; try again, or give a longer --request-timeout", timeout.as_secs())]
    Silent {
        /// URL of the API server.
        server: String,
        /// What was asked for.
        action: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// It does not know who we are.
    #[error("cluster {server} does not accept the credentials of the kubeconfig ({problem}); log in again")]
    Credentials {
        /// URL of the API server.
        server: String,
        /// What it said.
        problem: String,
    },
    /// It knows who we are and says no.
    #[error("not allowed to {action} ({problem}); ask for the rights that the verb's --help lists")]
    Forbidden {
        /// What was asked for.
        action: String,
        /// What it said.
        problem: String,
    },
    /// It has no such resources.
    #[error("can't {action}: the cluster does not know {group} resources; install the operator with `pgo install`")]
    NotInstalled {
        /// What was asked for.
        action: String,
        /// The API group.
        group: &'static str,
    },
    /// It exists already.
    #[error("can't {action}: it exists already")]
    Exists {
        /// What was asked for.
        action: String,
    },
    /// It does not exist.
    #[error("can't {action}: {problem}")]
    NotFound {
        /// What was asked for.
        action: String,
        /// What it said.
        problem: String,
    },
    /// Anything else that the API server refused.
    #[error("can't {action}: {problem}")]
    Refused {
        /// What was asked for.
        action: String,
        /// What it said.
        problem: String,
    },
}

impl ClusterError {
    /// What it means for scripts.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoConfig { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Credentials { .. }
            | Self::Forbidden { .. }
            | Self::NotInstalled { .. } => ExitCode::NoAccess,
            Self::BadName { .. } => ExitCode::Usage,
            Self::Exists { .. } | Self::NotFound { .. } | Self::Refused { .. } => ExitCode::Failed,
        }
    }

    /// Nothing else will work either: there is no use in going on with the next name.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NoConfig { .. } | Self::Unreachable { .. } | Self::Credentials { .. } | Self::NotInstalled { .. }
        )
    }
}

/// A cluster and the namespace to work in.
#[derive(Clone)]
pub struct Cluster {
    /// For what has no method here.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    server: String,
    timeout: Duration,
    debug: bool,
}

impl Cluster {
    /// Finds the cluster by the usual rules. Nothing is asked of it yet. `terminal`: a person can answer at standard input.
    pub async fn connect(config: &Config, terminal: bool) -> Result<Self, ClusterError> {
        let no_config = |problem: String| ClusterError::NoConfig { problem };
        let mut found = if config.kubeconfig.is_empty() {
            kube::Config::incluster()
                .map_err(|_| no_config("there is no KUBECONFIG, no ~/.kube/config, and this is not a pod".to_owned()))?
        } else {
            let mut kubeconfig = read(&config.kubeconfig).map_err(|e| no_config(e.to_string()))?;
            if !terminal {
                keep_input(&mut kubeconfig);
            }
            let proxy = proxy_of(&kubeconfig, config.context.as_deref());
            let options = KubeConfigOptions {
                context: config.context.clone(),
                ..KubeConfigOptions::default()
            };
            let mut found = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|e| no_config(chain(&e)))?;
            // kube 5.0 compares NO_PROXY with the proxy's own address, so what it chose is not what kubectl would choose.
            let proxy = proxy.or_else(|| {
                let host = found.cluster_url.host();
                let asked = environment(["NO_PROXY", "no_proxy"]).unwrap_or_default();
                let proxy = environment(["HTTPS_PROXY", "https_proxy"]).filter(|_| !is_this_machine(host))?;
                let matcher = Matcher::builder().https(&proxy).no(&asked).build();
                matcher.intercept(&found.cluster_url)?;
                Some(if proxy.contains("://") {
                    proxy
                } else {
                    format!("http://{proxy}")
                })
            });
            found.proxy_url = proxy
                .map(|url| parsed(&url))
                .transpose()
                .map_err(|problem| no_config(format!("the address of the proxy can't be read: {problem}")))?;
            found
        };
        found.connect_timeout = Some(config.request_timeout.min(Duration::from_secs(10)));
        let server = found.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = config
            .namespace
            .clone()
            .unwrap_or_else(|| found.default_namespace.clone());
        check_name("Namespace", &namespace)?;
        // A credential plugin is run here, and may ask for a second factor: the rest, such as Ctrl-C, goes on meanwhile.
        let client = tokio::task::spawn_blocking(move || Client::try_from(found))
            .await
            .map_err(|e| no_config(e.to_string()))?
            .map_err(|e| match e {
                // The plugin ran and gave no credentials.
                kube::Error::Auth(_) => ClusterError::Credentials {
                    server: server.clone(),
                    problem: chain(&e),
                },
                _ => no_config(chain(&e)),
            })?;
        Ok(Self {
            client,
            namespace,
            server,
            timeout: config.request_timeout,
            debug: config.debug,
        })
    }

    /// Resources of the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The same cluster in another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// One resource, if it exists.
    pub async fn get<K>(&self, name: &str) -> Result<Option<K>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        check_name("Namespace", &self.namespace)?;
        check_name(&K::kind(&()), name)?;
        let api = self.api::<K>();
        // Not `get_opt`: it takes a kind that the server does not know for an object that does not exist.
        match self.ask(format!("get {}", self.object::<K>(name)), api.get(name)).await {
            Ok(found) => Ok(Some(found)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The resources of the namespace that the parameters choose.
    pub async fn list<K>(&self, params: &ListParams) -> Result<ObjectList<K>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api = self.api::<K>();
        let action = format!("list {} in namespace {}", K::plural(&()), self.namespace);
        self.ask(action, api.list(params)).await
    }

    /// The resources that the parameters choose, of the namespace or of all, and what is wrong with those that this program can't read:
    /// one that a newer version stored must not hide the others.
    pub async fn list_readable<K>(&self, params: &ListParams, all: bool) -> Result<(Vec<K>, Vec<String>), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let kind = ApiResource::erase::<K>(&());
        let (api, place): (Api<DynamicObject>, _) = if all {
            (Api::all_with(self.client.clone(), &kind), "all namespaces".to_owned())
        } else {
            let api = Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
            (api, format!("namespace {}", self.namespace))
        };
        let listed = self
            .ask(format!("list {} in {place}", kind.plural), api.list(params))
            .await?;
        let (mut readable, mut problems) = (Vec::new(), Vec::new());
        for object in listed {
            let name = object.metadata.name.clone().unwrap_or_default();
            match object.try_parse::<K>() {
                Ok(resource) => readable.push(resource),
                Err(error) => problems.push(format!(
                    "{} {name} can't be read by this version of pgo ({}); `kubectl get -o yaml {}.{}/{name}` shows it",
                    kind.kind,
                    chain(&error),
                    kind.plural,
                    kind.group
                )),
            }
        }
        Ok((readable, problems))
    }

    /// The resources of all namespaces that the parameters choose.
    pub async fn list_all<K>(&self, params: &ListParams) -> Result<ObjectList<K>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        self.ask(format!("list {} in all namespaces", K::plural(&())), api.list(params))
            .await
    }

    /// Deployments of the operator, in whichever namespace.
    pub async fn operators(&self) -> Result<Vec<Deployment>, ClusterError> {
        let labels: Vec<String> = pgop_core::install::selector()
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let params = ListParams::default().labels(&labels.join(","));
        let api: Api<Deployment> = Api::all(self.client.clone());
        let action = "list the operator's Deployments in all namespaces";
        Ok(self.ask(action, api.list(&params)).await?.items)
    }

    /// How a resource is called in messages.
    pub fn object<K: Resource<DynamicType = ()>>(&self, name: &str) -> String {
        format!("{} {name} in namespace {}", K::kind(&()), self.namespace)
    }

    /// Waits for one answer, no longer than `--request-timeout`. `action` goes on after "can't".
    pub async fn ask<T>(
        &self,
        action: impl Into<String>,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        let action = action.into();
        let start = std::time::Instant::now();
        let result = tokio::time::timeout(self.timeout, answer).await;
        if self.debug {
            let outcome = match &result {
                Err(_) => "no answer".to_owned(),
                Ok(Ok(_)) => "ok".to_owned(),
                Ok(Err(error)) => chain(error),
            };
            say(format_args!(
                "pgo: debug: {action}: {outcome} ({} ms)",
                start.elapsed().as_millis()
            ));
        }
        match result {
            Err(_) => Err(ClusterError::Silent {
                server: self.server.clone(),
                action,
                timeout: self.timeout,
            }),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.explain(action, &error)),
        }
    }

    /// What an error of the client means.
    pub fn explain(&self, action: String, error: &kube::Error) -> ClusterError {
        explain(&self.server, action, error)
    }
}

fn explain(server: &str, action: String, error: &kube::Error) -> ClusterError {
    let server = server.to_owned();
    match error {
        kube::Error::Api(status) => match status.code {
            401 => ClusterError::Credentials {
                server,
                problem: status.message.clone(),
            },
            403 if is_no_right(&status.message) => ClusterError::Refused {
                action,
                problem: status.message.clone(),
            },
            403 => ClusterError::Forbidden {
                action,
                problem: status.message.clone(),
            },
            404 if status.details.as_ref().is_none_or(|d| d.name.is_empty()) => ClusterError::NotInstalled {
                action,
                group: pgop_core::crd::GROUP,
            },
            404 => ClusterError::NotFound {
                action,
                problem: status.message.clone(),
            },
            409 if status.reason == "AlreadyExists" => ClusterError::Exists { action },
            _ => ClusterError::Refused {
                action,
                problem: status.message.clone(),
            },
        },
        kube::Error::Auth(_) => ClusterError::Credentials {
            server,
            problem: chain(error),
        },
        kube::Error::UpgradeConnection(e) => match e.to_string() {
            text if text.contains("403") => ClusterError::Forbidden { action, problem: text },
            text => ClusterError::Refused { action, problem: text },
        },
        kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => {
            ClusterError::Refused {
                action,
                problem: chain(error),
            }
        }
        _ => ClusterError::Unreachable {
            server,
            problem: chain(error),
        },
    }
}

/// One line on standard error, from where no screen is. Whoever has closed it does not want to read it; `eprintln!` would panic.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A name becomes a part of a path as it is, so what would change the path is refused before anything is sent.
fn check_name(kind: &str, name: &str) -> Result<(), ClusterError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name == "." || name == ".." || !name.chars().all(is_plain) {
        return Err(ClusterError::BadName {
            kind: kind.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// Standard input that is a file or a pipe is for pgo (`pgo psql hippo < file.sql`): a credential plugin must not read it, as with kubectl.
fn keep_input(kubeconfig: &mut Kubeconfig) {
    let plugins = kubeconfig
        .auth_infos
        .iter_mut()
        .filter_map(|named| named.auth_info.as_mut()?.exec.as_mut());
    for plugin in plugins {
        plugin.interactive_mode = Some(ExecInteractiveMode::Never);
    }
}

/// The proxy that the kubeconfig names for the cluster of the context.
fn proxy_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let named = kubeconfig.contexts.iter().find(|named| named.name == context)?;
    let cluster = &named.context.as_ref()?.cluster;
    let named = kubeconfig.clusters.iter().find(|named| named.name == *cluster)?;
    named.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

fn parsed<U: std::str::FromStr<Err: std::fmt::Display>>(url: &str) -> Result<U, String> {
    url.parse().map_err(|error: U::Err| error.to_string())
}

/// The first of these variables that holds something.
fn environment(names: [&str; 2]) -> Option<String> {
    let values = names.into_iter().filter_map(|name| std::env::var(name).ok());
    values.into_iter().find(|value| !value.is_empty())
}

/// As in Go, and so in kubectl: a proxy of the environment is not for servers on this machine, such as a sandbox.
fn is_this_machine(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Quotas and admission rules answer 403 too, and it is not the rights that are missing.
fn is_no_right(message: &str) -> bool {
    message.contains("exceeded quota")
        || message.contains("violates PodSecurity")
        || message.contains("is being terminated")
}

/// Reads and merges kubeconfig files; of a list, missing ones are left out as kubectl does.
fn read(paths: &[std::path::PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    let mut merged: Option<Kubeconfig> = None;
    let mut missing = None;
    for path in paths {
        if paths.len() > 1 && !path.exists() {
            missing = Some(path);
            continue;
        }
        let one = Kubeconfig::read_from(path)?;
        merged = Some(match merged {
            None => one,
            Some(before) => before.merge(one)?,
        });
    }
    match (merged, missing) {
        (Some(kubeconfig), _) => Ok(kubeconfig),
        (None, Some(path)) => Kubeconfig::read_from(path),
        (None, None) => Err(KubeconfigError::FindPath),
    }
}

/// An error and what is behind it, without saying the same twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn explained(status: Status) -> ClusterError {
        explain(
            "https://there",
            "create PgDatabase a".into(),
            &kube::Error::Api(status.boxed()),
        )
    }

    #[test]
    fn a_name_that_would_change_the_path_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "../pgclusters/x",
            "a/status",
            "a?watch=true",
            "a#b",
            "a b",
            "a%2fb",
            "ä",
        ] {
            let error = check_name("PgDatabase", name).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Usage, "{name}");
        }
        for name in ["orders", "Orders", "a.b-c", "hippo_x", "all"] {
            assert!(check_name("PgDatabase", name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_proxy_of_the_environment_is_not_for_this_machine() {
        for (host, local) in [
            ("127.0.0.1", true),
            ("localhost", true),
            ("[::1]", true),
            ("10.0.0.1", false),
            ("localhost.example.org", false),
        ] {
            assert_eq!(is_this_machine(Some(host)), local, "{host}");
        }
        let kubeconfig = |proxy: &str| {
            Kubeconfig::from_yaml(&format!(
                "{{current-context: a, contexts: [{{name: a, context: {{cluster: c}}}}], \
                 clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1'{proxy}}}}}]}}"
            ))
            .unwrap()
        };
        let named = kubeconfig(", proxy-url: 'socks5://localhost:1'");
        for context in [None, Some("a")] {
            assert_eq!(proxy_of(&named, context).as_deref(), Some("socks5://localhost:1"));
        }
        assert_eq!(proxy_of(&named, Some("b")), None);
        assert_eq!(proxy_of(&kubeconfig(""), None), None);
    }

    #[test]
    fn each_refusal_has_its_meaning() {
        let of = |code, message: &str, reason: &str| explained(Status::failure(message, reason).with_code(code));
        let unknown = of(404, "the server could not find the requested resource", "NotFound");
        assert!(unknown.to_string().contains("pgo install"), "{unknown}");
        assert_eq!(unknown.exit_code(), ExitCode::NoAccess);
        assert_eq!(of(401, "Unauthorized", "Unauthorized").exit_code(), ExitCode::NoAccess);
        assert_eq!(
            of(403, "User ann cannot create", "Forbidden").exit_code(),
            ExitCode::NoAccess
        );
        assert_eq!(
            of(403, "exceeded quota: small", "Forbidden").exit_code(),
            ExitCode::Failed
        );
        assert!(matches!(of(409, "", "AlreadyExists"), ClusterError::Exists { .. }));
        assert!(matches!(of(409, "", "Conflict"), ClusterError::Refused { .. }));
        assert!(matches!(of(422, "bad", "Invalid"), ClusterError::Refused { .. }));
    }
}
