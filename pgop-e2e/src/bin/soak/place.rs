//! Where the soak runs: a namespace of its own, on a sandbox of its own or on any cluster.

use std::path::PathBuf;

use pgop_e2e::api;
use pgop_sandbox::Folder;

/// A sandbox on this machine, which can be looked into.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    folder: Folder,
    pub(crate) process: u32,
}

impl Sandbox {
    /// The one whose kubeconfig is used, if it is one's.
    fn find() -> Option<Self> {
        let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG")?);
        let folder = Folder::new(kubeconfig.parent()?);
        let process = folder.holder()?;
        (folder.kubeconfig() == kubeconfig).then_some(Self { folder, process })
    }

    /// Its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The journal of its objects.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.store()
    }

    /// What its node keeps of pods.
    pub(crate) fn node(&self) -> PathBuf {
        self.folder.node()
    }
}

/// Where the soak runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) sandbox: Option<Sandbox>,
}

impl Place {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            sandbox: Sandbox::find(),
        }
    }

    /// The namespaces that are looked at: all of a sandbox, which nobody else uses; our own of a cluster. An empty name is all.
    pub(crate) fn namespaces(&self) -> Vec<&str> {
        if self.sandbox.is_some() {
            vec![""]
        } else {
            vec![&self.namespace, pgop_e2e::operator::NAMESPACE]
        }
    }
}

/// Whether claims of the default class can grow.
pub(crate) fn claims_grow() -> bool {
    let classes = api::list("", &api::kind("storage.k8s.io/v1", "StorageClass"), "").unwrap_or_default();
    classes.iter().any(|class| {
        let is_default = class.pointer("/metadata/annotations/storageclass.kubernetes.io~1is-default-class");
        is_default.is_some_and(|value| value == "true") && class["allowVolumeExpansion"] == true
    })
}
