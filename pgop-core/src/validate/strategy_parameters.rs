//! `spec.strategyParameters` against the strategy's own schema.

use serde_json::{Map, Value};

use crate::description::Description;

/// Checks the parameters against the schema and fills in its defaults. An error is the path of the parameter and the problem.
pub fn strategy_parameters(
    strategy: &Description,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, (String, String)> {
    let mut parameters = given.clone();
    if let Some(properties) = strategy.parameters.get("properties").and_then(Value::as_object) {
        for (name, schema) in properties {
            if let (false, Some(default)) = (parameters.contains_key(name), schema.get("default")) {
                parameters.insert(name.clone(), default.clone());
            }
        }
    }
    let instance = Value::Object(parameters);
    let validator = jsonschema::validator_for(&strategy.parameters).map_err(|e| (String::new(), e.to_string()))?;
    if let Some(error) = validator.iter_errors(&instance).next() {
        return Err((error.instance_path().to_string().replace('/', "."), error.to_string()));
    }
    match instance {
        Value::Object(parameters) => Ok(parameters),
        _ => Ok(Map::new()),
    }
}
