//! Rules in CEL, `x-kubernetes-validations`.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>
//!
//! The language is the `cel` crate, the functions beyond the standard are `kube-cel`'s. Walking the object is ours, because what
//! a rule sees depends on the schema: names are escaped, formats become types, and `oldSelf` follows the keys of list-maps.
//!
//! Not supported: cost limits, macros that the `cel` crate lacks (`cel.bind`,
//! comprehensions with two variables), and equality of sets and list-maps that ignores the order.

mod typing;

use std::{collections::HashMap, sync::Arc};

use kube_cel::{
    KubeCelExt,
    cel::{
        Context, ExecutionError, Program, Value as Cel,
        objects::{Key, Map as CelMap, OptionalValue},
    },
};
use serde_json::{Map, Number, Value};

use crate::{
    Cause, format,
    node::{Kind, Node, counterpart},
    path,
};

/// Only these fields of `metadata` may be seen by rules.
const VISIBLE_METADATA: [&str; 2] = ["name", "generateName"];

/// Words of the language, escaped when they are the name of a field.
const RESERVED: [&str; 18] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
];

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    program: Program,
    source: String,
    message: Option<String>,
    message_program: Option<Program>,
    reason: Reason,
    /// Relative to where the rule is, starting with a dot.
    field_path: String,
    /// Compares with the value before.
    pub(crate) transition: bool,
    optional_old_self: bool,
}

#[derive(Clone, Copy, Debug)]
enum Reason {
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

impl Rule {
    /// Reads and compiles a rule. The cause's field is relative to the rule.
    pub(crate) fn compile(rule: &Value) -> Result<Self, Cause> {
        let text = |name: &str| {
            rule.get(name)
                .and_then(Value::as_str)
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let source = text("rule").ok_or_else(|| Cause::required("rule", "rule is not specified"))?;
        let reason = match text("reason") {
            None | Some("FieldValueInvalid") => Reason::Invalid,
            Some("FieldValueForbidden") => Reason::Forbidden,
            Some("FieldValueRequired") => Reason::Required,
            Some("FieldValueDuplicate") => Reason::Duplicate,
            Some(other) => {
                let supported = [
                    "FieldValueRequired",
                    "FieldValueInvalid",
                    "FieldValueForbidden",
                    "FieldValueDuplicate",
                ];
                return Err(Cause::not_supported("reason", &Value::from(other), &supported));
            }
        };
        let message = text("message");
        if message.is_some_and(|message| message.contains('\n')) {
            return Err(Cause::invalid(
                "message",
                &Value::from(message),
                "message must not contain line breaks",
            ));
        }
        if message.is_none() && source.contains('\n') && text("messageExpression").is_none() {
            return Err(Cause::required(
                "message",
                "message must be specified if rule contains line breaks",
            ));
        }
        let program = compiled("rule", source)?;
        let transition = program.references().has_variable("oldSelf");
        let optional_old_self = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
        if optional_old_self && !transition {
            let detail = "may not be set if oldSelf is not used in rule";
            return Err(Cause::invalid("optionalOldSelf", &Value::Bool(true), detail));
        }
        Ok(Self {
            program,
            source: source.to_owned(),
            message: message.map(str::to_owned),
            message_program: text("messageExpression")
                .map(|text| compiled("messageExpression", text))
                .transpose()?,
            reason,
            field_path: text("fieldPath")
                .unwrap_or_default()
                .replace("['", "[")
                .replace("']", "]"),
            transition,
            optional_old_self,
        })
    }

    /// Whether it fits the place of the schema where it is. The cause's field is relative to the rule.
    pub(crate) fn fits(&self, node: &Node, envelope: bool) -> Result<(), Cause> {
        let check = |program: &Program, expected| {
            FUNCTIONS.with(|base| typing::check(program, base, node, envelope, self.optional_old_self, expected))
        };
        let refused = |field: &str, source: &str, problem: String| {
            let detail = format!("compilation failed: {problem}");
            Cause::invalid(field, &Value::from(source), &detail)
        };
        check(&self.program, typing::Expected::Bool).map_err(|problem| refused("rule", &self.source, problem))?;
        match &self.message_program {
            Some(program) => {
                check(program, typing::Expected::String).map_err(|problem| refused("messageExpression", "", problem))
            }
            None => Ok(()),
        }
    }

    fn check(&self, node: &Node, scope: &Scope<'_>, at: &str) -> Option<Cause> {
        if self.transition && scope.old.is_none() && !self.optional_old_self {
            return None;
        }
        let mut context = scope.base.new_inner_scope();
        context.add_variable_from_value("self", scope.value.clone());
        match (self.optional_old_self, scope.old) {
            (true, old) => {
                let old = old.map_or_else(OptionalValue::none, |old| OptionalValue::of(old.clone()));
                context.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(old)));
            }
            (false, Some(old)) => context.add_variable_from_value("oldSelf", old.clone()),
            (false, None) => {}
        }
        match self.program.execute(&context) {
            Ok(Cel::Bool(true)) => None,
            Ok(Cel::Bool(false)) => Some(self.cause(node, at, &self.message(&context))),
            Ok(_) => Some(self.cause(
                node,
                at,
                &format!("internal error: rule does not evaluate to a boolean: {}", self.source),
            )),
            Err(error) => {
                let rule = self.message.as_deref().unwrap_or(&self.source);
                Some(self.cause(node, at, &format!("{} evaluating rule: {rule}", reworded(&error))))
            }
        }
    }

    fn message(&self, context: &Context<'_>) -> String {
        let made = self
            .message_program
            .as_ref()
            .and_then(|program| match program.execute(context) {
                Ok(Cel::String(text)) if !text.trim().is_empty() && !text.contains('\n') => {
                    Some(text.trim().to_owned())
                }
                _ => None,
            });
        made.or_else(|| self.message.clone())
            .unwrap_or_else(|| format!("failed rule: {}", self.source))
    }

    fn cause(&self, node: &Node, at: &str, message: &str) -> Cause {
        let field = match self.field_path.strip_prefix('.') {
            Some(below) => path::child(at, below),
            None => format!("{at}{}", self.field_path),
        };
        // Kubernetes names the type in the place of the value, which may be large.
        let value = Value::from(type_name(node.kind));
        match self.reason {
            Reason::Invalid => Cause::invalid(field, &value, message),
            Reason::Forbidden => Cause::forbidden(field, message),
            Reason::Required => Cause::required(field, message),
            Reason::Duplicate => Cause {
                message: format!("Duplicate value: {value}: {message}"),
                ..Cause::duplicate(field, &value)
            },
        }
    }
}

fn compiled(field: &str, source: &str) -> Result<Program, Cause> {
    Program::compile(source).map_err(|error| {
        let detail = format!("compilation failed: {}", error.to_string().trim());
        Cause::invalid(field, &Value::from(source), &detail)
    })
}

fn reworded(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        error => error.to_string(),
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Any | Kind::Object => "object",
        Kind::Array => "array",
        Kind::String | Kind::IntOrString => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
    }
}

/// What a rule sees.
struct Scope<'a> {
    base: &'a Context<'static>,
    value: Cel,
    old: Option<&'a Cel>,
}

thread_local! {
    /// The functions. Registering them takes longer than most rules, and a context can't be shared by threads.
    static FUNCTIONS: Context<'static> = Context::default().with_all();
}

/// Evaluates all rules on an object.
pub(crate) fn validate(root: &Node, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    FUNCTIONS.with(|base| Walk { base, causes }.value(root, object, old, Place { at: "", envelope: true }));
}

/// Where in the object.
#[derive(Clone, Copy)]
struct Place<'a> {
    at: &'a str,
    /// Whether the value is an object with apiVersion, kind and metadata.
    envelope: bool,
}

struct Walk<'a> {
    base: &'a Context<'static>,
    causes: &'a mut Vec<Cause>,
}

impl Walk<'_> {
    fn value(&mut self, node: &Node, value: &Value, old: Option<&Value>, place: Place<'_>) {
        if !node.has_rules || (value.is_null() && node.nullable) {
            return;
        }
        let envelope = place.envelope || node.embedded;
        if !node.rules.is_empty() {
            let old = old.map(|old| to_cel(node, old, envelope));
            let scope = Scope {
                base: self.base,
                value: to_cel(node, value, envelope),
                old: old.as_ref(),
            };
            self.causes
                .extend(node.rules.iter().filter_map(|rule| rule.check(node, &scope, place.at)));
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let Some(node) = node.field(name) else { continue };
                    let old = old.and_then(|old| old.get(name));
                    self.value(
                        node,
                        value,
                        old,
                        Place {
                            at: &path::child(place.at, name),
                            envelope: false,
                        },
                    );
                }
            }
            Value::Array(items) => self.items(node, items, old.and_then(Value::as_array), place.at),
            _ => {}
        }
    }

    fn items(&mut self, node: &Node, items: &[Value], old: Option<&Vec<Value>>, at: &str) {
        let Some(item_node) = &node.items else { return };
        for (number, item) in items.iter().enumerate() {
            let before = old.and_then(|old| counterpart(&node.list, item_node, item, old));
            self.value(
                item_node,
                item,
                before,
                Place {
                    at: &path::index(at, number),
                    envelope: false,
                },
            );
        }
    }
}

fn to_cel(node: &Node, value: &Value, envelope: bool) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => number_to_cel(node.kind, number),
        Value::String(text) => text_to_cel(node, text),
        Value::Array(items) => {
            let any = Node::any();
            let node = node.items.as_deref().unwrap_or(&any);
            Cel::List(Arc::new(items.iter().map(|item| to_cel(node, item, false)).collect()))
        }
        Value::Object(fields) => object_to_cel(node, fields, envelope || node.embedded),
    }
}

fn object_to_cel(node: &Node, fields: &Map<String, Value>, envelope: bool) -> Cel {
    let mut map = HashMap::with_capacity(fields.len());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        if envelope && name == "metadata" {
            let visible = VISIBLE_METADATA
                .iter()
                .filter_map(|field| Some((key(field), to_cel(&Node::any(), value.get(field)?, false))));
            map.insert(
                key(name),
                Cel::Map(CelMap {
                    map: Arc::new(visible.collect()),
                }),
            );
        } else if let Some(property) = node.properties.get(name) {
            map.insert(key(&escape(name)), to_cel(property, value, false));
        } else if let Some(entries) = &node.additional {
            map.insert(key(name), to_cel(entries, value, false)); // keys of maps are data, not names
        } else if envelope && (name == "apiVersion" || name == "kind") {
            map.insert(key(name), to_cel(&Node::any(), value, false));
        }
        // Fields that are kept without being known can't be seen by rules.
    }
    Cel::Map(CelMap { map: Arc::new(map) })
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

/// The name by which a rule knows a field.
fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

fn number_to_cel(kind: Kind, number: &Number) -> Cel {
    let float = || Cel::Float(number.as_f64().unwrap_or(f64::NAN));
    match kind {
        Kind::Number => float(),
        Kind::Integer => number.as_i64().map_or_else(
            || {
                #[expect(clippy::cast_possible_truncation, reason = "validation made sure that it is whole")]
                number.as_f64().map_or(Cel::Null, |number| Cel::Int(number as i64))
            },
            Cel::Int,
        ),
        _ => number.as_i64().map_or_else(float, Cel::Int),
    }
}

fn text_to_cel(node: &Node, text: &str) -> Cel {
    let typed = match node.checks.format.as_deref().filter(|_| node.kind == Kind::String) {
        Some("date-time") => format::date_time(text).map(Cel::Timestamp),
        Some("date") => format::date(text).map(Cel::Timestamp),
        Some("duration") => format::duration(text).map(Cel::Duration),
        Some("byte") => format::bytes(text).map(|bytes| Cel::Bytes(Arc::new(bytes))),
        _ => None,
    };
    typed.unwrap_or_else(|| Cel::String(Arc::new(text.to_owned())))
}

#[cfg(test)]
mod tests;
