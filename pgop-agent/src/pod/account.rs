//! What a pod is told by Kubernetes about itself and about the API server.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// The pod, and what it is known to the API server with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `KUBERNETES_SERVICE_HOST`: an address or a name.
    pub host: String,
    /// `KUBERNETES_SERVICE_PORT`.
    pub port: u16,
    /// Namespace of the pod.
    pub namespace: String,
    /// `PGOP_POD`: name of the pod.
    pub pod: String,
    /// `PGOP_POD_UID`: another pod of the same name is not this one.
    pub uid: String,
    /// Where token and certificate authority are. Both are renewed by the kubelet: whoever needs them reads them anew.
    pub directory: PathBuf,
}

/// Why the agent can't tell through its pod.
#[derive(Debug, Error)]
pub enum AccountError {
    /// A variable is missing or empty.
    #[error("the variable {0} is not set")]
    Missing(&'static str),
    /// Not a number of a port.
    #[error("KUBERNETES_SERVICE_PORT is `{0}`, which is no port")]
    Port(String),
    /// The pod has no token.
    #[error("no service account is mounted at {}: {source}", path.display())]
    NotMounted {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Account {
    /// Looks at the environment, which `variable` reads, and where Kubernetes mounts a service account, or `PGOP_ACCOUNT` says.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Self, AccountError> {
        let usual = || "/var/run/secrets/kubernetes.io/serviceaccount".to_owned();
        let needed = |name: &'static str| {
            let found = variable(name).filter(|text| !text.is_empty());
            found.ok_or(AccountError::Missing(name))
        };
        let directory = PathBuf::from(variable("PGOP_ACCOUNT").unwrap_or_else(usual));
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).map_err(|source| AccountError::NotMounted { path, source })
        };
        read("token")?;
        let port = needed("KUBERNETES_SERVICE_PORT")?;
        Ok(Self {
            host: needed("KUBERNETES_SERVICE_HOST")?,
            port: port.parse().map_err(|_| AccountError::Port(port))?,
            namespace: read("namespace")?.trim().to_owned(),
            pod: needed("PGOP_POD")?,
            uid: needed("PGOP_POD_UID")?,
            directory,
        })
    }

    /// Host and port as a URL has them.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn find(directory: &tempfile::TempDir, without: &str) -> Result<Account, AccountError> {
        let path = directory.path().display().to_string();
        Account::find(|name| {
            let value = match name {
                "PGOP_ACCOUNT" => path.as_str(),
                "KUBERNETES_SERVICE_HOST" => "fd00::1",
                "KUBERNETES_SERVICE_PORT" => "443",
                "PGOP_POD" => "hippo-0",
                "PGOP_POD_UID" => "0d92833f",
                _ => return None,
            };
            (name != without).then(|| value.to_owned())
        })
    }

    #[test]
    fn a_pod_without_an_account_is_told_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let error = find(&directory, "").unwrap_err().to_string();
        assert!(
            error.starts_with("no service account is mounted at ") && error.contains("/token"),
            "{error}"
        );
        fs::write(directory.path().join("token"), "t").unwrap();
        fs::write(directory.path().join("namespace"), "shop\n").unwrap();
        let error = find(&directory, "PGOP_POD_UID").unwrap_err().to_string();
        assert_eq!(error, "the variable PGOP_POD_UID is not set");
        let account = find(&directory, "").unwrap();
        assert_eq!(
            (account.namespace.as_str(), account.pod.as_str(), account.authority()),
            ("shop", "hippo-0", "[fd00::1]:443".to_owned())
        );
    }
}
