//! Installing the custom resource definitions.

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
            Self::Read { source, .. } | Self::Write { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.code == 403)
            }
            Self::Establish { .. } => false,
        }
    }
}

/// Creates or replaces the definitions. Nothing is written when the server has them already.
pub async fn ensure(client: Client) -> Result<Vec<(String, Changed)>, CrdError> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let mut done = Vec::new();
    for definition in crd::all() {
        let name = definition.name_any();
        let changed = ensure_one(&api, definition, &name).await?;
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
