//! Who sends a request, and whether they may: <https://kubernetes.io/docs/reference/access-authn-authz/>.

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::identity::Identity;
use crate::rbac;
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::token;

/// What the header of a further fact about an impersonated user starts with.
const EXTRA: &str = "impersonate-extra-";

/// Who sends a request: by its bearer token, and by whom the sender asks to be taken for.
pub(crate) fn authenticate(state: &State, vouched: Option<Identity>, headers: &HeaderMap) -> Result<Identity> {
    let identity = match vouched {
        Some(identity) => identity,
        None => match headers.get(header::AUTHORIZATION) {
            Some(value) => bearer(value)
                .and_then(|token| of_token(state, token))
                .ok_or_else(ApiError::unauthorized)?,
            None => Identity::anonymous(),
        },
    };
    impersonated(state, identity, headers)
}

fn bearer(value: &http::HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whose token it is, if it is one for this server.
fn of_token(state: &State, token: &str) -> Option<Identity> {
    let (identity, audiences) = of_any_token(state, token)?;
    token::is_for_server(&audiences).then_some(identity)
}

/// Whose token it is, and for which audiences.
pub(crate) fn of_any_token(state: &State, token: &str) -> Option<(Identity, Vec<String>)> {
    let admin = state.config.admin_token.as_deref();
    if admin.is_some_and(|admin| same(admin, token)) {
        return Some((Identity::admin(), token::server_audiences()));
    }
    token::verify(state, token)
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

/// Whom the sender asks to be taken for: <https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>.
fn impersonated(state: &State, identity: Identity, headers: &HeaderMap) -> Result<Identity> {
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    let user = texts("impersonate-user").into_iter().next().unwrap_or_default();
    let uid = texts("impersonate-uid").into_iter().next().unwrap_or_default();
    let mut groups = texts("impersonate-group");
    let extra = extra(headers);
    if user.is_empty() {
        if uid.is_empty() && groups.is_empty() && extra.is_empty() {
            return Ok(identity);
        }
        return Err(ApiError::internal(
            "an impersonation of a group, uid or extra needs a user to impersonate",
        ));
    }
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name)) => may_impersonate(state, &identity, "", "serviceaccounts", namespace, name)?,
        None => may_impersonate(state, &identity, "", "users", "", &user)?,
    }
    for group in &groups {
        may_impersonate(state, &identity, "", "groups", "", group)?;
    }
    if !uid.is_empty() {
        may_impersonate(state, &identity, "authentication.k8s.io", "uids", "", &uid)?;
    }
    for (key, values) in &extra {
        for value in values {
            let resource = format!("userextras/{key}");
            may_impersonate(state, &identity, "authentication.k8s.io", &resource, "", value)?;
        }
    }
    if let (Some((namespace, _)), true) = (account, groups.is_empty()) {
        groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    let known = if user == "system:anonymous" {
        "system:unauthenticated"
    } else {
        "system:authenticated"
    };
    if !groups.iter().any(|group| group == known) {
        groups.push(known.into());
    }
    Ok(Identity {
        username: user,
        uid,
        groups,
        extra,
    })
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else {
            continue;
        };
        let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
        extra
            .entry(key)
            .or_default()
            .push(value.to_str().unwrap_or_default().to_owned());
    }
    extra
}

fn may_impersonate(
    state: &State,
    identity: &Identity,
    group: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<()> {
    let attempt = Attempt {
        verb: "impersonate".into(),
        group: group.into(),
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
        path: None,
    };
    require(state, identity, &attempt)
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
    fn refusal(&self, identity: &Identity) -> String {
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

/// Why somebody may do something. None: they may not.
pub(crate) fn allows(state: &State, identity: &Identity, attempt: &Attempt) -> Option<String> {
    // As in Kubernetes, no role can take rights from this group: whoever broke the roles can mend them.
    if identity.is_admin() {
        return Some(String::new());
    }
    rbac::reason(state, identity, attempt)
}

/// The error for who may not do something.
pub(crate) fn require(state: &State, identity: &Identity, attempt: &Attempt) -> Result<()> {
    if allows(state, identity, attempt).is_some() {
        return Ok(());
    }
    let why = attempt.refusal(identity);
    Err(if attempt.path.is_some() {
        ApiError::forbidden_path(&why)
    } else {
        let plural = attempt.resource.split('/').next().unwrap_or_default();
        ApiError::forbidden_resource(&attempt.group, plural, &attempt.name, &why)
    })
}
