//! Label and field selectors: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>.

mod field;
mod parse;

use serde_json::Value;
use thiserror::Error;

pub(crate) use field::FieldSelector;

/// A selector that can't be read, in Kubernetes' words.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct SelectorError(String);

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
        parse::requirements(text).map(Self)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::LabelSelector;

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
            "app in (db,)",
            "none notin ()",
            "k8s.io/x in ()",
            "in!=x,notin!=y",
            "missing!=",
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
            "a==,,",
            "a,",
            ",a",
            "a in (",
            "a in (b c)",
            "a=b c",
            "a foo b",
            "a=(b)",
            "app>4x",
            "-a",
            "a=-b",
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
}
