//! Installing the custom resource definitions, fitted to what the server knows.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use serde_json::Value;
use std::time::Duration;
use thiserror::Error;

use super::cluster::plain;
use crate::crd;
use crate::difference::lacks;

/// From this minor version on, the API server evaluates `x-kubernetes-validations` (beta in 1.25); older ones drop the field.
const CEL_SINCE: u32 = 25;
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// What became of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was created.
    Created,
    /// It was replaced by ours.
    Updated,
    /// It was as it should be; nothing was written.
    Unchanged,
}

/// Why the definitions could not be installed.
#[derive(Debug, Error)]
pub enum CrdError {
    /// The version of the server could not be read.
    #[error("could not ask the API server for its version: {}", plain(.0))]
    ReadVersion(#[source] Box<kube::Error>),
    /// One could not be read.
    #[error("could not read the definition {name}: {}", plain(source))]
    Read {
        /// Its name.
        name: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// One could not be written.
    #[error("could not write the definition {name}: {}", plain(source))]
    Write {
        /// Its name.
        name: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The server took one and does not serve it.
    #[error("the API server did not serve {name} within {} s", ESTABLISHED_WITHIN.as_secs())]
    Establish {
        /// Its name.
        name: String,
    },
}

impl CrdError {
    /// Whether the account lacks the permission.
    pub fn is_forbidden(&self) -> bool {
        match self {
            Self::ReadVersion(source) | Self::Read { source, .. } | Self::Write { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.code == 403)
            }
            Self::Establish { .. } => false,
        }
    }
}

/// Creates or replaces the definitions. Nothing is written when the server has them already.
pub async fn ensure(client: Client) -> Result<Vec<(String, Changed)>, CrdError> {
    let version = client
        .apiserver_version()
        .await
        .map_err(|e| CrdError::ReadVersion(Box::new(e)))?;
    let minor: u32 = version
        .minor
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(u32::MAX);
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let mut done = Vec::new();
    for definition in crd::all() {
        let name = definition.name_any();
        let changed = ensure_one(&api, fit(definition, minor), &name).await?;
        done.push((name, changed));
    }
    for (name, changed) in &done {
        if *changed == Changed::Created {
            let served = await_condition(api.clone(), name, conditions::is_crd_established());
            if !matches!(tokio::time::timeout(ESTABLISHED_WITHIN, served).await, Ok(Ok(_))) {
                return Err(CrdError::Establish { name: name.clone() });
            }
        }
    }
    Ok(done)
}

async fn ensure_one(
    api: &Api<CustomResourceDefinition>,
    mut desired: CustomResourceDefinition,
    name: &str,
) -> Result<Changed, CrdError> {
    let read = |source| CrdError::Read {
        name: name.to_owned(),
        source: Box::new(source),
    };
    let write = |source| CrdError::Write {
        name: name.to_owned(),
        source: Box::new(source),
    };
    let params = PostParams {
        field_manager: Some(crate::label::MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.get_opt(name).await.map_err(read)? {
        None => match api.create(&params, &desired).await {
            Ok(_) => Ok(Changed::Created),
            // Another replica was faster, with the same definition.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Changed::Unchanged),
            Err(source) => Err(write(source)),
        },
        Some(live) => {
            let (ours, theirs) = (spec(&desired), spec(&live));
            // Both ways: a rule or a field that we dropped has to go too, and the server adds nothing to a schema but defaults of its own.
            if lacks(&ours, &theirs).is_none()
                && schema_of(&theirs).is_none_or(|t| schema_of(&ours).is_some_and(|o| lacks(t, o).is_none()))
            {
                return Ok(Changed::Unchanged);
            }
            desired
                .metadata
                .resource_version
                .clone_from(&live.metadata.resource_version);
            api.replace(name, &params, &desired)
                .await
                .map(|_| Changed::Updated)
                .map_err(write)
        }
    }
}

fn spec(definition: &CustomResourceDefinition) -> Value {
    serde_json::to_value(&definition.spec).unwrap_or_default()
}

fn schema_of(spec: &Value) -> Option<&Value> {
    spec.pointer("/versions/0/schema")
}

/// Leaves out what an old server drops, or the definition would look changed at every start.
fn fit(definition: CustomResourceDefinition, minor: u32) -> CustomResourceDefinition {
    if minor >= CEL_SINCE {
        return definition;
    }
    let mut value = serde_json::to_value(&definition).unwrap_or_default();
    drop_key(&mut value, "x-kubernetes-validations");
    serde_json::from_value(value).unwrap_or(definition)
}

fn drop_key(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            map.remove(key);
            map.values_mut().for_each(|value| drop_key(value, key));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| drop_key(value, key)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_gets_no_rules() {
        for definition in crd::all() {
            let with = serde_json::to_string(&fit(definition.clone(), 25)).unwrap();
            let without = serde_json::to_string(&fit(definition, 20)).unwrap();
            assert!(with.contains("x-kubernetes-validations"));
            assert!(!without.contains("x-kubernetes-validations"));
        }
    }
}
