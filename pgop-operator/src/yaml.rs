//! Objects as YAML that `kubectl apply -f` takes.

use std::fmt::Write;

use serde::Serialize;
use thiserror::Error;

/// Why objects could not be written.
#[derive(Debug, Error)]
pub enum YamlError {
    /// An object has no JSON form.
    #[error("an object could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A JSON value has no YAML form.
    #[error("an object could not be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// One YAML stream of all `objects`, each after a `---` line.
pub fn documents<T: Serialize>(objects: &[T]) -> Result<String, YamlError> {
    let mut text = String::new();
    for object in objects {
        // By way of JSON, whose maps are sorted: the same bytes whatever the type.
        let value = serde_json::to_value(object)?;
        let _ = write!(text, "---\n{}", serde_saphyr::to_string(&value)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let objects = [
            json!({"kind": "A", "text": "yes", "number": "1", "lines": "one\ntwo\n", "empty": [], "nothing": {}, "pattern": "^[a-z]: #$"}),
            json!({"kind": "B", "list": [{"x": 1}, {"y": [true, null]}], "long": "word ".repeat(60)}),
        ];
        let text = documents(&objects).unwrap();
        assert!(text.starts_with("---\n"), "{text}");
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(read, objects);
    }
}
