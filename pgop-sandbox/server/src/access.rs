//! Who sends a request, and whether they may: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>.

use http::{HeaderMap, header};
use serde_json::Value;

use crate::identity::Identity;
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::store::Key;
use crate::token;

/// Who sends a request: by its bearer token, and by whom an administrator asks to be taken for.
pub(crate) fn authenticate(state: &State, vouched: Option<Identity>, headers: &HeaderMap) -> Result<Identity> {
    let identity = match vouched {
        Some(identity) => identity,
        None => match bearer(headers) {
            Some(token) => of_token(state, token).ok_or_else(ApiError::unauthorized)?,
            None => Identity::anonymous(),
        },
    };
    impersonated(identity, headers)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn of_token(state: &State, token: &str) -> Option<Identity> {
    if state
        .config
        .admin_token
        .as_deref()
        .is_some_and(|admin| same(admin, token))
    {
        return Some(Identity::admin());
    }
    let (identity, audiences) = token::verify(state, token)?;
    token::is_for_server(&audiences).then_some(identity)
}

/// Compares in a time that does not tell where they differ.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left
            .bytes()
            .zip(right.bytes())
            .fold(0, |differ, (l, r)| differ | (l ^ r))
            == 0
}

fn impersonated(identity: Identity, headers: &HeaderMap) -> Result<Identity> {
    let Some(user) = headers.get("impersonate-user").and_then(|value| value.to_str().ok()) else {
        return Ok(identity);
    };
    if !identity.is_admin() {
        let why = format!(
            "User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            identity.username
        );
        return Err(ApiError::forbidden_path(&why));
    }
    let mut groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect();
    if let Some((namespace, _)) = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
    {
        groups.push("system:serviceaccounts".into());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups.push("system:authenticated".into());
    Ok(Identity {
        username: user.into(),
        uid: String::new(),
        groups,
    })
}

/// What somebody wants to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) verb: String,
    pub(crate) group: String,
    /// With its subresource: `pods/log`.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// A path that is no resource; then the rest is empty.
    pub(crate) path: Option<String>,
}

impl Attempt {
    /// Why it is refused, in Kubernetes' words.
    pub(crate) fn refusal(&self, identity: &Identity) -> String {
        let Self {
            verb,
            group,
            resource,
            namespace,
            ..
        } = self;
        let scope = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {namespace:?}")
        };
        match &self.path {
            Some(path) => format!("User {:?} cannot {verb} path {path:?}", identity.username),
            None => format!(
                "User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}",
                identity.username
            ),
        }
    }
}

/// Whether somebody may do something.
pub(crate) fn allows(state: &State, identity: &Identity, attempt: &Attempt) -> bool {
    if identity.is_admin() {
        return true;
    }
    if let Some(path) = &attempt.path
        && ["/healthz", "/livez", "/readyz", "/version"]
            .iter()
            .any(|open| path.starts_with(open))
    {
        return true;
    }
    if !identity.groups.iter().any(|group| group == "system:authenticated") {
        return false;
    }
    if !state.config.enforce_rbac || is_open(attempt) {
        return true;
    }
    rules_for(state, identity, &attempt.namespace)
        .iter()
        .any(|rule| grants(rule, attempt))
}

/// What everybody who is known may do: find out what is served and what they may do.
fn is_open(attempt: &Attempt) -> bool {
    match &attempt.path {
        Some(path) => attempt.verb == "get" && ["/api", "/apis", "/openapi"].iter().any(|open| path.starts_with(open)),
        None => attempt.verb == "create" && (attempt.resource.starts_with("selfsubject")),
    }
}

/// The rules that hold for somebody, in a namespace and in all.
pub(crate) fn rules_for(state: &State, identity: &Identity, namespace: &str) -> Vec<Value> {
    let mut rules = Vec::new();
    for (table, namespace) in [("clusterrolebindings", ""), ("rolebindings", namespace)] {
        let (_, bindings) = state.store.list(&format!("{table}.rbac.authorization.k8s.io"));
        for binding in bindings
            .iter()
            .filter(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| &object.value)
        {
            if binding["subjects"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|subject| is_subject(subject, identity))
            {
                rules.extend(rules_of(state, &binding["roleRef"], namespace));
            }
        }
    }
    rules
}

fn rules_of(state: &State, role: &Value, namespace: &str) -> Vec<Value> {
    let name = role["name"].as_str().unwrap_or_default();
    let (table, namespace) = if role["kind"] == "Role" {
        ("roles", namespace)
    } else {
        ("clusterroles", "")
    };
    let stored = state.store.get(
        &format!("{table}.rbac.authorization.k8s.io"),
        &Key::new(namespace, name),
    );
    stored
        .and_then(|role| role.value["rules"].as_array().cloned())
        .unwrap_or_default()
}

fn is_subject(subject: &Value, identity: &Identity) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => identity.username == name,
        Some("Group") => identity.groups.iter().any(|group| group == name),
        Some("ServiceAccount") => {
            let namespace = subject["namespace"].as_str().unwrap_or_default();
            identity.username == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn grants(rule: &Value, attempt: &Attempt) -> bool {
    let has = |field: &str, wanted: &str| {
        rule[field]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one == wanted || one == "*"))
    };
    if !has("verbs", &attempt.verb) {
        return false;
    }
    if let Some(path) = &attempt.path {
        let mut paths = rule["nonResourceURLs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        return paths
            .any(|known| known == path || known.strip_suffix('*').is_some_and(|start| path.starts_with(start)));
    }
    let subresource = attempt
        .resource
        .split_once('/')
        .map(|(_, subresource)| format!("*/{subresource}"));
    let resource = has("resources", &attempt.resource) || subresource.is_some_and(|any| has("resources", &any));
    let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
    resource
        && has("apiGroups", &attempt.group)
        && names.is_none_or(|names| names.iter().any(|name| *name == attempt.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Attempt, grants};

    fn granted(rule: &serde_json::Value, verb: &str, resource: &str, name: &str) -> bool {
        let attempt = Attempt {
            verb: verb.into(),
            resource: resource.into(),
            name: name.into(),
            ..Attempt::default()
        };
        grants(rule, &attempt)
    }

    #[test]
    fn rules_grant_what_they_say_and_no_more() {
        let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/log"]});
        assert!(granted(&rule, "get", "pods", "a"));
        assert!(granted(&rule, "get", "pods/log", "a"));
        assert!(!granted(&rule, "delete", "pods", "a"));
        assert!(!granted(&rule, "get", "pods/exec", "a"));
        assert!(!granted(&rule, "get", "secrets", "a"));
        let named = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"]});
        assert!(granted(&named, "get", "secrets", "a"));
        assert!(!granted(&named, "get", "secrets", "b"));
        assert!(!granted(&named, "list", "secrets", ""));
        let path = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]});
        let attempt = |path: &str| Attempt {
            verb: "get".into(),
            path: Some(path.into()),
            ..Attempt::default()
        };
        assert!(grants(&path, &attempt("/metrics")) && grants(&path, &attempt("/logs/x")));
        assert!(!grants(&path, &attempt("/other")));
    }
}
