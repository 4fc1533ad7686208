//! Fields that may not change.

use serde_json::Value;

use crate::Cause;

/// The value of a field, `Null` when it is missing.
fn at_path<'a>(object: &'a Value, field: &str) -> &'a Value {
    field
        .split('.')
        .fold(object, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// A field that keeps its value, with the words "field is immutable".
pub(super) fn field(object: &Value, old: &Value, field: &str, causes: &mut Vec<Cause>) {
    let [new, old] = [object, old].map(|object| at_path(object, field));
    if new != old {
        causes.push(Cause::invalid(field, new, "field is immutable"));
    }
}
