//! Selecting by fields: <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>.

use serde_json::Value;

use super::SelectorError;
use crate::resource::Resource;

/// `metadata.name=x,status.phase!=Running`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    pub(crate) fn parse(text: &str, resource: &Resource) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_escaped(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let (field, equal, value) = [("!=", false), ("==", true), ("=", true)]
                .into_iter()
                .find_map(|(operator, equal)| part.split_once(operator).map(|(field, value)| (field, equal, value)))
                .ok_or_else(|| SelectorError(format!("invalid selector: '{part}'; can't understand '{part}'")))?;
            let known = field == "metadata.name"
                || (field == "metadata.namespace" && resource.namespaced)
                || resource.selectable.iter().any(|path| path == field);
            if !known {
                return Err(unknown(field, resource));
            }
            terms.push((
                field.to_owned(),
                equal,
                value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\"),
            ));
        }
        Ok(Self(terms))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|(field, equal, value)| (text_at(object, field) == *value) == *equal)
    }
}

/// Kinds without selectable fields of their own say it in other words.
fn unknown(field: &str, resource: &Resource) -> SelectorError {
    SelectorError(if resource.custom.is_none() && resource.selectable.is_empty() {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    })
}

fn split_escaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The field as text; what is missing is the empty text, or what counts as such for fields that always have a value.
fn text_at(object: &Value, field: &str) -> String {
    let value = field.split('.').try_fold(object, |value, name| value.get(name));
    match (value, field) {
        (Some(Value::String(text)), _) => text.clone(),
        // The component of the source is what `source` selects.
        (Some(Value::Object(source)), "source") => source
            .get("component")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        (Some(Value::Null) | None, "spec.hostNetwork" | "spec.unschedulable") => "false".into(),
        (Some(Value::Null) | None, "status.replicas" | "status.successful") => "0".into(),
        (Some(Value::Null) | None, _) => String::new(),
        (Some(value), _) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::FieldSelector;

    #[test]
    fn field_selectors_take_the_fields_of_the_kind() {
        let resources = crate::resource::built_in();
        let find = |plural: &str| resources.iter().find(|resource| resource.plural == plural).unwrap();
        let pod = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        let selector =
            FieldSelector::parse("spec.nodeName=n,status.phase!=Failed,metadata.name==a", find("pods")).unwrap();
        assert!(selector.matches(&pod));
        assert!(
            FieldSelector::parse("spec.nodeName=", find("pods"))
                .unwrap()
                .matches(&json!({"spec": {}}))
        );
        let error = FieldSelector::parse("spec.nodeName=n", find("configmaps")).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""spec.nodeName" is not a known field selector: only "metadata.name", "metadata.namespace""#
        );
        assert!(FieldSelector::parse("metadata.namespace=x", find("nodes")).is_err());
    }
}
