//! Looking for passwords where none may be.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};

use crate::{Space, api, operator};

/// The passwords that were generated in a namespace, by the name of their Secret.
pub fn passwords(space: &Space) -> BTreeMap<String, String> {
    let secrets: Api<Secret> = Api::namespaced(api::client(), space.name());
    let list = api::wait(secrets.list(&ListParams::default().labels("app.kubernetes.io/managed-by=pgop")))
        .unwrap()
        .unwrap();
    let password = |secret: Secret| {
        let ByteString(bytes) = secret.data?.remove("password")?;
        Some((secret.metadata.name?, String::from_utf8(bytes).ok()?))
    };
    list.items.into_iter().filter_map(password).collect()
}

/// No password in any object but Secrets, in any event, log, argument list or environment.
#[track_caller]
pub fn assert_none(space: &Space) {
    let passwords = passwords(space);
    assert!(!passwords.is_empty(), "no password to look for");
    for password in passwords.values() {
        assert!(
            password.len() >= 16,
            "a generated password has {} characters",
            password.len()
        );
    }
    let mut places = 0;
    let mut look = |place: &str, text: &str| {
        places += 1;
        for (secret, password) in &passwords {
            assert!(
                !text.contains(password.as_str()),
                "the password of Secret {secret} is in {place}"
            );
            let encoded = base64(password.as_bytes());
            assert!(
                !text.contains(encoded.trim_end_matches('=')),
                "the password of Secret {secret} is in {place}, in base64"
            );
        }
    };
    for kind in api::namespaced_kinds().iter().filter(|kind| kind.kind != "Secret") {
        for object in api::list(space.name(), kind, "").unwrap_or_default() {
            look(
                &format!("{} {}", kind.kind, api::text(&object, "/metadata/name")),
                &object.to_string(),
            );
        }
    }
    for pod in api::list(space.name(), &api::kind("v1", "Pod"), "").unwrap() {
        let name = api::text(&pod, "/metadata/name");
        look(&format!("the log of {name}"), &api::logs(space.name(), &name, None));
        if api::text(&pod, "/status/phase") == "Running" {
            look(&format!("the processes of {name}"), &processes(space, &name));
        }
    }
    for pod in operator::pods() {
        look("the operator's log", &api::logs(operator::NAMESPACE, &pod, None));
    }
    assert!(places > 10, "only {places} places were looked at");
}

/// Argument lists and environments of all processes of a pod.
pub fn processes(space: &Space, pod: &str) -> String {
    let script = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true";
    api::exec(space.name(), pod, &["bash", "-c", script]).unwrap_or_default()
}

/// Standard base64, which Kubernetes uses for Secrets.
fn base64(bytes: &[u8]) -> String {
    let encoded = serde_json::to_value(ByteString(bytes.to_vec())).unwrap();
    encoded.as_str().unwrap().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_secrets() {
        assert_eq!(super::base64(b"hello"), "aGVsbG8=");
    }
}
