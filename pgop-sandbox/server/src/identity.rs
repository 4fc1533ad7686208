//! Who sends a request.

use std::collections::BTreeMap;

/// A user, as authentication found it: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Such as `kubernetes-admin` or `system:serviceaccount:default:web`.
    pub username: String,
    /// Distinguishes users that had the same name one after the other. May be empty.
    pub uid: String,
    /// Such as `system:masters`.
    pub groups: Vec<String>,
    /// What else is known, such as the pod of a token.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// May do anything.
    pub fn admin() -> Self {
        Self {
            username: "kubernetes-admin".into(),
            uid: String::new(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            extra: BTreeMap::new(),
        }
    }

    /// Who sent no credentials.
    pub fn anonymous() -> Self {
        Self {
            username: "system:anonymous".into(),
            uid: String::new(),
            groups: vec!["system:unauthenticated".into()],
            extra: BTreeMap::new(),
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            username: format!("system:serviceaccount:{namespace}:{name}"),
            uid: uid.into(),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            extra: BTreeMap::new(),
        }
    }

    /// Whether everything is allowed.
    pub fn is_admin(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }
}
