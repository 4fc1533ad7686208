//! What is known of a resource from before: what was accepted last, and whether there is data that depends on it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::image::major_of_tag;
use crate::crd::{Accepted, ServerStatus};
use crate::description::Description;
use crate::kind::Kind;
use crate::label;
use crate::observed::Live;
use crate::validated::Change;

/// What is known from before.
pub(super) struct Before<'a> {
    pub(super) meta: &'a ObjectMeta,
    pub(super) status: Option<&'a ServerStatus>,
    /// What was accepted last; `None` for a new resource.
    pub(super) accepted: Option<Accepted>,
}

impl<'a> Before<'a> {
    pub(super) fn of(
        meta: &'a ObjectMeta,
        status: Option<&'a ServerStatus>,
        live: &Live,
        strategy: &Description,
    ) -> Self {
        let told = status.and_then(|status| status.accepted.clone());
        Self {
            meta,
            status,
            accepted: told.or_else(|| adopt(meta, status?, live, strategy)),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// The primary has served: roles and the database are made.
    pub(super) fn has_served(&self) -> bool {
        self.status.is_some_and(|status| status.initialized)
    }

    /// The spec is the one that was last looked at.
    fn is_known(&self) -> bool {
        let seen = self.status.and_then(|status| status.observed_generation);
        seen.is_some() && seen == self.meta.generation
    }

    /// Which change of the spec this is.
    pub(super) fn change(&self) -> Change {
        let annotations = self.meta.annotations.as_ref();
        Change {
            generation: self.meta.generation,
            is_known: self.is_known(),
            upgrade: annotations.and_then(|all| all.get(label::UPGRADE)).cloned(),
        }
    }

    /// There is data that a change could lose or make unreadable.
    pub(super) fn has_data(&self) -> bool {
        self.has_served() || self.status.is_some_and(|status| status.restored_from.is_some())
    }

    /// What was accepted, where there is data that was made with it.
    pub(super) fn of_data(&self) -> Option<&Accepted> {
        self.accepted.as_ref().filter(|_| self.has_data())
    }

    /// What was accepted, where roles and the database were made with it.
    pub(super) fn of_roles(&self) -> Option<&Accepted> {
        self.accepted.as_ref().filter(|_| self.has_served())
    }

    /// The version that was chosen where the spec names none. It stays for the data, and for as long as nobody touches the spec.
    pub(super) fn version(&self) -> Option<&str> {
        let accepted = self.accepted.as_ref().filter(|_| self.has_data() || self.is_known());
        accepted?.version.as_deref()
    }
}

/// A resource that an older pgop looked after has no record yet: what its primary was made with says it. What can't be read there is recorded
/// as it is first seen.
fn adopt(meta: &ObjectMeta, status: &ServerStatus, live: &Live, strategy: &Description) -> Option<Accepted> {
    let labels = &strategy.members.primary;
    let is_primary = |set: &Value| {
        let own = set.pointer("/spec/template/metadata/labels");
        let has = |(key, value): (&String, &String)| own.and_then(|own| own.get(key)?.as_str()) == Some(value.as_str());
        !labels.is_empty() && labels.iter().all(has)
    };
    let mut sets = live.objects.iter().filter(|((kind, _), _)| *kind == Kind::StatefulSet);
    let pod = sets
        .find(|(_, set)| is_primary(set))?
        .1
        .pointer("/spec/template/spec")?;
    let image = pod.pointer("/containers/0/image")?.as_str()?.to_owned();
    // A claim that pgop made carries its labels, so that it is among the live objects.
    let server = meta.name.as_deref().unwrap_or_default();
    let is_given = |claim: &&String| {
        **claim != strategy.names.claim_of(server) && live.get(Kind::PersistentVolumeClaim, claim).is_none()
    };
    Some(Accepted {
        version: major_of_tag(&image).map(|major| major.to_string()),
        image,
        run_as_user: pod.pointer("/securityContext/runAsUser").and_then(Value::as_i64),
        claim: Some(&status.claims)
            .filter(|all| all.len() == 1)
            .and_then(|all| all.first())
            .filter(is_given)
            .cloned(),
        ..Accepted::default()
    })
}
