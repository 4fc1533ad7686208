//! Violations, worded as Kubernetes words them.

use serde_json::Value;

/// One violation, as in `Status.details.causes`.
///
/// The wording is that of Kubernetes' `field.Error` without the leading field, so that `"{field}: {message}"` is the line
/// that users know from `kubectl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// The path of the field, such as `spec.containers[0].name`. Empty for the object as a whole.
    pub field: String,
    /// For people, such as `Invalid value: 70000: must be between 1 and 65535, inclusive`.
    pub message: String,
}

impl Cause {
    /// A field that must be there is missing or empty.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueRequired", field, "Required value", detail)
    }

    /// The value breaks a rule.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, &format!("Invalid value: {value}"), detail)
    }

    /// The value has the wrong JSON type. Kubernetes words it like [`Cause::invalid`].
    pub fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(
            "FieldValueTypeInvalid",
            field,
            &format!("Invalid value: {value}"),
            detail,
        )
    }

    /// The value is none of an enumeration.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|text| Value::from(*text).to_string()).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(
            "FieldValueNotSupported",
            field,
            &format!("Unsupported value: {value}"),
            &detail,
        )
    }

    /// The value was there before in a list of unique items.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueDuplicate", field, &format!("Duplicate value: {value}"), "")
    }

    /// The value names something that is not there.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueNotFound", field, &format!("Not found: {value}"), "")
    }

    /// The field may not be set, or not be changed.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, "Forbidden", detail)
    }

    /// The text has more than `max` bytes.
    pub fn too_long(field: impl Into<String>, max: u64) -> Self {
        Self::new(
            "FieldValueTooLong",
            field,
            "Too long",
            &format!("may not be more than {max} bytes"),
        )
    }

    /// The list or map has more than `max` items.
    pub fn too_many(field: impl Into<String>, actual: usize, max: u64) -> Self {
        Self::new(
            "FieldValueTooMany",
            field,
            &format!("Too many: {actual}"),
            &format!("must have at most {max} items"),
        )
    }

    fn new(reason: &'static str, field: impl Into<String>, head: &str, detail: &str) -> Self {
        let message = if detail.is_empty() {
            head.to_owned()
        } else {
            format!("{head}: {detail}")
        };
        Self {
            reason,
            field: field.into(),
            message,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_those_of_kubernetes() {
        let lines = [
            Cause::required("spec.selector", "").to_string(),
            Cause::invalid(
                "spec.ports[0].port",
                &json!(70000),
                "must be between 1 and 65535, inclusive",
            )
            .to_string(),
            Cause::not_supported("spec.type", &json!("x"), &["A", "B"]).to_string(),
            Cause::duplicate("spec.containers[1].name", &json!("web")).to_string(),
            Cause::not_found("spec.containers[0].volumeMounts[0].name", &json!("data")).to_string(),
            Cause::forbidden("spec", "updates are not allowed").to_string(),
            Cause::too_long("metadata.name", 63).to_string(),
            Cause::too_many("spec.list", 5, 3).to_string(),
        ];
        assert_eq!(
            lines,
            [
                "spec.selector: Required value",
                "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
                r#"spec.type: Unsupported value: "x": supported values: "A", "B""#,
                r#"spec.containers[1].name: Duplicate value: "web""#,
                r#"spec.containers[0].volumeMounts[0].name: Not found: "data""#,
                "spec: Forbidden: updates are not allowed",
                "metadata.name: Too long: may not be more than 63 bytes",
                "spec.list: Too many: 5: must have at most 3 items",
            ]
        );
    }
}
