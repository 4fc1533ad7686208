//! Label and field selectors: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>.

use serde_json::Value;
use thiserror::Error;

use crate::resource::Resource;

/// A selector that can't be read, in Kubernetes' words.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct SelectorError(String);

fn unable(text: &str, why: &str) -> SelectorError {
    SelectorError(format!("unable to parse requirement: {why} in {text:?}"))
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Above(String, i64),
    Below(String, i64),
}

/// All requirements must hold. None: everything is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        split(text)
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(requirement)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads the form of objects: `matchLabels` and `matchExpressions`.
    pub(crate) fn of_object(selector: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            requirements.push(Requirement::In(
                key.clone(),
                vec![value.as_str().unwrap_or_default().into()],
            ));
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            let values: Vec<String> = values.filter_map(Value::as_str).map(str::to_owned).collect();
            requirements.push(match expression["operator"].as_str().unwrap_or_default() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Missing(key),
                other => {
                    return Err(SelectorError(format!(
                        "{other:?} is not a valid label selector operator"
                    )));
                }
            });
        }
        Ok(Self(requirements))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Requirement::Exists(key) => labels.get(key).is_some(),
            Requirement::Missing(key) => labels.get(key).is_none(),
            Requirement::Above(key, limit) => number(label(key)).is_some_and(|value| value > *limit),
            Requirement::Below(key, limit) => number(label(key)).is_some_and(|value| value < *limit),
        })
    }
}

impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match requirement {
                Requirement::In(key, values) if values.len() == 1 => write!(f, "{key}={}", values[0]),
                Requirement::In(key, values) => write!(f, "{key} in ({})", values.join(",")),
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(",")),
                Requirement::Exists(key) => f.write_str(key),
                Requirement::Missing(key) => write!(f, "!{key}"),
                Requirement::Above(key, limit) => write!(f, "{key}>{limit}"),
                Requirement::Below(key, limit) => write!(f, "{key}<{limit}"),
            }?;
        }
        Ok(())
    }
}

fn number(text: Option<&str>) -> Option<i64> {
    text?.parse().ok()
}

/// Parts between commas that are not within parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (index, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Missing(label_key(key)?));
    }
    for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let (key, values) = (label_key(key)?, vec![label_value(value)?]);
            return Ok(if negated {
                Requirement::NotIn(key, values)
            } else {
                Requirement::In(key, values)
            });
        }
    }
    for (operator, above) in [('>', true), ('<', false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let limit = value
                .trim()
                .parse()
                .map_err(|_| unable(part, "for 'Gt', 'Lt' operators, the value must be an integer"))?;
            let key = label_key(key)?;
            return Ok(if above {
                Requirement::Above(key, limit)
            } else {
                Requirement::Below(key, limit)
            });
        }
    }
    if let Some(open) = part.find('(') {
        let Some(list) = part[open + 1..].strip_suffix(')') else {
            return Err(unable(part, "expected: ')'"));
        };
        let (key, operator) = part[..open]
            .trim()
            .split_once(char::is_whitespace)
            .ok_or_else(|| unable(part, "found '(', expected: in, notin"))?;
        let values = list.split(',').map(label_value).collect::<Result<_, _>>()?;
        let key = label_key(key)?;
        return match operator.trim() {
            "in" => Ok(Requirement::In(key, values)),
            "notin" => Ok(Requirement::NotIn(key, values)),
            other => Err(unable(
                part,
                &format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"),
            )),
        };
    }
    Ok(Requirement::Exists(label_key(part)?))
}

fn label_key(text: &str) -> Result<String, SelectorError> {
    let key = text.trim();
    let (prefix, name) = key.split_once('/').unwrap_or(("", key));
    let fits = |text: &str, longest| {
        text.len() <= longest && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if name.is_empty() || !fits(name, 63) || !fits(prefix, 253) {
        return Err(unable(
            text,
            &format!(
                "<nil>: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
            ),
        ));
    }
    Ok(key.to_owned())
}

fn label_value(text: &str) -> Result<String, SelectorError> {
    let value = text.trim();
    if value.len() > 63 || !value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(unable(
            text,
            &format!(
                "values[0]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
            ),
        ));
    }
    Ok(value.to_owned())
}

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
                return Err(SelectorError(format!("field label not supported: {field}")));
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

    use super::{FieldSelector, LabelSelector};

    fn selects(selector: &str) -> bool {
        let pod = json!({"metadata": {"labels": {"app": "db", "tier": "back", "size": "5", "k8s.io/x": ""}}});
        LabelSelector::parse(selector).unwrap().matches(&pod)
    }

    #[test]
    fn every_form_of_label_selector() {
        let hold = [
            "",
            "app=db",
            "app==db",
            "app!=web",
            "missing!=web",
            "app in (web, db)",
            "app notin (web)",
            "none notin (a,b)",
            "tier",
            "!none",
            "size>4",
            "size<6",
            "k8s.io/x=",
            "app=db,tier=back",
            " app = db , !none ",
        ];
        for selector in hold {
            assert!(selects(selector), "{selector}");
        }
        let fail = [
            "app=web",
            "app!=db",
            "app in (web)",
            "app notin (db)",
            "none",
            "!app",
            "size>5",
            "size<5",
            "none>1",
            "app=db,none",
        ];
        for selector in fail {
            assert!(!selects(selector), "{selector}");
        }
    }

    #[test]
    fn unreadable_label_selectors_are_refused() {
        for selector in [
            "app in db",
            "app in (db",
            "a b",
            "=x",
            "app=d b",
            "app>x",
            "!",
            "app foo (x)",
            "a/b/c=d",
        ] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn the_form_of_objects() {
        let selector = json!({"matchLabels": {"app": "db"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["back"]}, {"key": "none", "operator": "DoesNotExist"}]});
        let selector = LabelSelector::of_object(&selector).unwrap();
        assert!(selector.matches(&json!({"metadata": {"labels": {"app": "db", "tier": "back"}}})));
        assert!(!selector.matches(&json!({"metadata": {"labels": {"app": "db", "tier": "back", "none": "x"}}})));
        assert_eq!(
            selector.to_string(),
            "app=db,tier in (back),!none".replace("tier in (back)", "tier=back")
        );
    }

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
        assert_eq!(error.to_string(), "field label not supported: spec.nodeName");
        assert!(FieldSelector::parse("metadata.namespace=x", find("nodes")).is_err());
    }
}
