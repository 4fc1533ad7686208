//! What the spec asks of the pods, told apart from what only another pgop makes of it: the one restarts servers, the other waits for their next restart.

use serde_json::Value;

use super::annotation;
use crate::hash::short_hash;
use crate::kind::Kind;
use crate::label::{REQUESTED, TEMPLATE, UPGRADE};
use crate::manifest::Manifest;
use crate::roll::is_on_delete;
use crate::validated::Change;

/// Writes on the template of pods what is asked of them. That is a new hash when the template is another one and so is the generation of the spec;
/// while the generation is the same, only pgop can have changed it. A manifest is marked when it is sealed: what is only noted is no change of it.
pub(super) fn mark(manifest: &mut Manifest, existing: Option<&Value>, change: &Change) {
    if manifest.kind() != Kind::StatefulSet || !is_on_delete(manifest.value()) {
        return;
    }
    let Some(template) = manifest.value().pointer("/spec/template") else {
        return;
    };
    let template = short_hash(&template.to_string());
    let before = existing.map(|existing| Note::of(existing, change));
    let requested = match &before {
        Some(before) if before.is_as_before(&template, change) => before.requested.clone(),
        _ => Some(template.clone()),
    };
    if let Some(asked) = &change.upgrade {
        let at = existing.and_then(|existing| annotation(existing, UPGRADE)?.split_once(' '));
        let at = at.filter(|(_, before)| before == asked);
        let at = at.map_or(template.as_str(), |(template, _)| template);
        manifest.mark(UPGRADE, &format!("{at} {asked}"));
    }
    if let (Some(requested), Some(pods)) = (&requested, manifest.pod_template_mut()) {
        pods["metadata"]["annotations"][REQUESTED] = requested.as_str().into();
    }
    let note = Note {
        template,
        generation: change.generation,
        requested,
    };
    manifest.mark(TEMPLATE, &note.text());
}

/// What is noted on a `StatefulSet` that is only noted, and not asked for.
pub(super) const NOTES: [&str; 2] = [TEMPLATE, UPGRADE];

/// What is known of the template that was made last.
struct Note {
    /// Its hash.
    template: String,
    /// The generation of the spec that it was made for.
    generation: Option<i64>,
    /// What is asked of the pods; nothing where they are as an older pgop made them, which did not say.
    requested: Option<String>,
}

impl Note {
    fn of(existing: &Value, change: &Change) -> Self {
        if let Some(text) = annotation(existing, TEMPLATE) {
            let mut words = text.split(' ');
            let mut next = || words.next().filter(|word| *word != "-").map(str::to_owned);
            return Self {
                template: next().unwrap_or_default(),
                generation: next().and_then(|generation| generation.parse().ok()),
                requested: next(),
            };
        }
        // An older pgop made it, or somebody took the note away. Its pods stay, but where a change of the spec is on its way to them.
        let is_over = change.is_known && !is_rolling(existing);
        let asked = existing.pointer("/spec/template/metadata/annotations");
        let asked = asked.and_then(|all| all.get(REQUESTED)?.as_str());
        Self {
            template: String::new(),
            generation: change.generation.filter(|_| is_over),
            requested: asked.map(str::to_owned),
        }
    }

    fn text(&self) -> String {
        let generation = self.generation.map(|generation| generation.to_string());
        let or_none = |word: Option<&str>| word.unwrap_or("-").to_owned();
        format!(
            "{} {} {}",
            self.template,
            or_none(generation.as_deref()),
            or_none(self.requested.as_deref())
        )
    }

    /// Whether the spec asks for the same pods as then.
    fn is_as_before(&self, template: &str, change: &Change) -> bool {
        self.template == template || (self.generation.is_some() && self.generation == change.generation)
    }
}

/// Whether Kubernetes has begun to restart its pods.
fn is_rolling(existing: &Value) -> bool {
    let text = |pointer: &str| existing.pointer(pointer).and_then(Value::as_str);
    text("/status/currentRevision") != text("/status/updateRevision")
}
