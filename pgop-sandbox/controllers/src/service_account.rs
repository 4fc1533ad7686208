//! What every namespace has: the service account `default`, and the config map `kube-root-ca.crt` by which pods trust the API server.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::{
    context::Context,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};

const ACCOUNT: &str = "default";
const CERTIFICATES: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

#[derive(Debug, PartialEq)]
enum Action {
    CreateAccount,
    CreateCertificates,
    RestoreCertificates(Box<ObjectMeta>),
}

fn plan(namespace: &Namespace, has_account: bool, certificates: Option<&ConfigMap>, ca_pem: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    if namespace.metadata.deletion_timestamp.is_some() {
        return actions;
    }
    if !has_account {
        actions.push(Action::CreateAccount);
    }
    match certificates {
        None => actions.push(Action::CreateCertificates),
        Some(map) => {
            let right = map
                .data
                .as_ref()
                .is_some_and(|data| data.len() == 1 && data.get("ca.crt").is_some_and(|pem| pem == ca_pem));
            if !right {
                actions.push(Action::RestoreCertificates(Box::new(map.metadata.clone())));
            }
        }
    }
    actions
}

/// Keeps the account and the certificates in every namespace.
pub(crate) fn run(context: &Context, ca_pem: String) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let for_namespace = queue.clone();
    context.cache.namespaces.listen(move |change| {
        change
            .new
            .iter()
            .for_each(|namespace| for_namespace.add(Key::of(&**namespace)));
    });
    let for_account = queue.clone();
    context.cache.service_accounts.listen(move |change| {
        if let (Some(gone), None) = (&change.old, &change.new)
            && gone.name_any() == ACCOUNT
        {
            for_account.add(Key::new("", gone.namespace().unwrap_or_default()));
        }
    });
    context.cache.root_certificates.listen(move |change| {
        change
            .versions()
            .for_each(|map| queue.add(Key::new("", map.namespace().unwrap_or_default())));
    });
    context.work("service-account-controller", requests, move |context, key| {
        let ca_pem = ca_pem.clone();
        async move { reconcile(&context, &key, &ca_pem).await }
    })
}

async fn reconcile(context: &Context, key: &Key, ca_pem: &str) -> Result<Next, VerbError> {
    let Some(namespace) = context.cache.namespaces.get(key) else {
        return Ok(Next::OnChange);
    };
    let within = |name: &str| Key::new(&key.name, name);
    let has_account = context.cache.service_accounts.get(&within(ACCOUNT)).is_some();
    let certificates = context.cache.root_certificates.get(&within(CERTIFICATES));
    for action in plan(&namespace, has_account, certificates.as_deref(), ca_pem) {
        match act(context, &key.name, ca_pem, action).await {
            Err(error) if error.is_namespace_ending() => return Ok(Next::OnChange),
            other => other?,
        }
    }
    Ok(Next::OnChange)
}

async fn act(context: &Context, namespace: &str, ca_pem: &str, action: Action) -> Result<(), VerbError> {
    let maps: Api<ConfigMap> = context.namespaced(namespace);
    match action {
        Action::CreateAccount => {
            let account = ServiceAccount {
                metadata: named(ACCOUNT, namespace),
                ..ServiceAccount::default()
            };
            verbs::ensure(&context.namespaced(namespace), &account).await
        }
        Action::CreateCertificates => {
            let mut metadata = named(CERTIFICATES, namespace);
            metadata.annotations = Some(BTreeMap::from([(
                "kubernetes.io/description".into(),
                DESCRIPTION.into(),
            )]));
            let data = Some(BTreeMap::from([("ca.crt".to_owned(), ca_pem.to_owned())]));
            verbs::ensure(
                &maps,
                &ConfigMap {
                    metadata,
                    data,
                    ..ConfigMap::default()
                },
            )
            .await
        }
        Action::RestoreCertificates(meta) => verbs::merge(&maps, &meta, json!({ "data": { "ca.crt": ca_pem } }))
            .await
            .map(drop),
    }
}

fn named(name: &str, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(meta: &serde_json::Value) -> Namespace {
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    fn certificates(pem: &str) -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "name": CERTIFICATES }, "data": { "ca.crt": pem } })).unwrap()
    }

    #[test]
    fn a_new_namespace_gets_both() {
        let actions = plan(&namespace(&json!({ "name": "shop" })), false, None, "PEM");
        assert_eq!(actions, [Action::CreateAccount, Action::CreateCertificates]);
    }

    #[test]
    fn certificates_that_were_changed_are_restored() {
        let actions = plan(
            &namespace(&json!({ "name": "shop" })),
            true,
            Some(&certificates("other")),
            "PEM",
        );
        assert!(matches!(&actions[..], [Action::RestoreCertificates(_)]));
        assert!(
            plan(
                &namespace(&json!({ "name": "shop" })),
                true,
                Some(&certificates("PEM")),
                "PEM"
            )
            .is_empty()
        );
    }

    #[test]
    fn nothing_is_made_in_a_namespace_that_is_going() {
        let going = namespace(&json!({ "name": "shop", "deletionTimestamp": "2026-11-01T10:00:00Z" }));
        assert!(plan(&going, false, None, "PEM").is_empty());
    }
}
