//! The types of expressions, as far as they can be known when a CRD is written: fields that don't exist, functions and variables that
//! nobody declared, operators on values that they don't take. What is not known for sure is let through; it shows when the rule runs.

use kube_cel::cel::{
    Context, ExecutionError, Program,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators},
};

use super::{VISIBLE_METADATA, escape};
use crate::node::{Kind, Node};

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
enum Type<'n> {
    /// Anything, as far as is known.
    Dyn,
    Bool,
    /// All kinds of numbers: they may be compared with each other.
    Number,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Box<Type<'n>>),
    Map(Box<Type<'n>>),
    /// An object whose fields are declared.
    Object(Declared<'n>),
    /// The metadata that rules may see.
    Metadata,
}

#[derive(Clone, Copy, Debug)]
struct Declared<'n> {
    node: &'n Node,
    /// With apiVersion, kind and metadata.
    envelope: bool,
}

impl PartialEq for Declared<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.node, other.node)
    }
}

/// Why an expression has no type.
type Problem = String;

/// What must come out of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Bool,
    String,
}

/// What is wrong with an expression at a place of a schema. `oldSelf` is there when `has_old`, as an optional when `optional_old`.
pub(super) fn check(
    program: &Program,
    functions: &Context<'_>,
    node: &Node,
    envelope: bool,
    optional_old: bool,
    expected: Expected,
) -> Result<(), Problem> {
    let itself = of_node(node, envelope);
    let old = if optional_old { Type::Dyn } else { itself.clone() };
    let mut check = Check {
        functions,
        variables: vec![("self".to_owned(), itself), ("oldSelf".to_owned(), old)],
    };
    match (check.value(program.expression())?, expected) {
        (Type::Dyn | Type::Bool, Expected::Bool) | (Type::Dyn | Type::String, Expected::String) => Ok(()),
        (_, Expected::Bool) => Err("must evaluate to a bool".to_owned()),
        (_, Expected::String) => Err("must evaluate to a string".to_owned()),
    }
}

fn of_node(node: &Node, envelope: bool) -> Type<'_> {
    let envelope = envelope || node.embedded;
    match node.kind {
        Kind::Any | Kind::IntOrString => Type::Dyn,
        Kind::Boolean => Type::Bool,
        Kind::Integer | Kind::Number => Type::Number,
        Kind::String => match node.checks.format.as_deref() {
            Some("date-time" | "date") => Type::Timestamp,
            Some("duration") => Type::Duration,
            Some("byte") => Type::Bytes,
            _ => Type::String,
        },
        Kind::Array => {
            let item = node.items.as_deref().map_or(Type::Dyn, |node| of_node(node, false));
            Type::List(Box::new(item))
        }
        Kind::Object => match &node.additional {
            Some(entry) if node.properties.is_empty() => Type::Map(Box::new(of_node(entry, false))),
            _ => Type::Object(Declared { node, envelope }),
        },
    }
}

fn name(of: &Type<'_>) -> &'static str {
    match of {
        Type::Dyn => "dyn",
        Type::Bool => "bool",
        Type::Number => "int",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Timestamp => "timestamp",
        Type::Duration => "duration",
        Type::List(_) => "list",
        Type::Map(_) => "map",
        Type::Object(_) | Type::Metadata => "object",
    }
}

struct Check<'c, 'n> {
    functions: &'c Context<'c>,
    /// The innermost last.
    variables: Vec<(String, Type<'n>)>,
}

impl<'n> Check<'_, 'n> {
    fn value(&mut self, expression: &IdedExpr) -> Result<Type<'n>, Problem> {
        match &expression.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_) => Type::Number,
                LiteralValue::String(_) => Type::String,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Null => Type::Dyn,
            }),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => {
                let mut item = None;
                for element in &list.elements {
                    let found = self.value(element)?;
                    item = Some(match item {
                        None => found,
                        Some(same) if same == found => found,
                        Some(_) => Type::Dyn,
                    });
                }
                Ok(Type::List(Box::new(item.unwrap_or(Type::Dyn))))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.value(&entry.key)?;
                        self.value(&entry.value)?;
                    }
                }
                Ok(Type::Map(Box::new(Type::Dyn)))
            }
            Expr::Struct(_) | Expr::Unspecified => Ok(Type::Dyn),
        }
    }

    fn variable(&self, name: &str) -> Result<Type<'n>, Problem> {
        let known = self.variables.iter().rev().find(|(known, _)| known == name);
        // Names of types are values too.
        let types = [
            "bool",
            "int",
            "uint",
            "double",
            "string",
            "bytes",
            "list",
            "map",
            "type",
            "null_type",
        ];
        match known {
            Some((_, found)) => Ok(found.clone()),
            None if types.contains(&name) => Ok(Type::Dyn),
            None => Err(format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    fn select(&mut self, select: &SelectExpr) -> Result<Type<'n>, Problem> {
        let operand = self.value(&select.operand)?;
        let field = self::field(&operand, &select.field)?;
        Ok(if select.test { Type::Bool } else { field })
    }

    fn call(&mut self, call: &CallExpr) -> Result<Type<'n>, Problem> {
        let CallExpr {
            func_name: function,
            target,
            args,
        } = call;
        if function == operators::OPT_SELECT {
            for argument in args.iter().take(1) {
                self.value(argument)?;
            }
            return Ok(Type::Dyn);
        }
        let mut types = Vec::new();
        if let Some(target) = target.as_deref() {
            // `sets.contains(…)`: what looks like a variable may be part of the name.
            match &target.expr {
                Expr::Ident(space) if self.is_function(&format!("{space}.{function}")) => {
                    for argument in args {
                        self.value(argument)?;
                    }
                    return Ok(Type::Dyn);
                }
                _ => types.push(self.value(target)?),
            }
        }
        for argument in args {
            types.push(self.value(argument)?);
        }
        if let Some(result) = operator(function, &types) {
            return result;
        }
        if !self.is_function(function) {
            return Err(format!("undeclared reference to '{function}' (in container '')"));
        }
        Ok(result_of(function))
    }

    /// Whether there is such a function: what can't be called because of its arguments can be called.
    fn is_function(&self, name: &str) -> bool {
        let called = Program::compile(&format!("{name}()")).map(|program| program.execute(self.functions));
        !matches!(called, Err(_) | Ok(Err(ExecutionError::UndeclaredReference(_))))
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Result<Type<'n>, Problem> {
        let item = match self.value(&comprehension.iter_range)? {
            Type::List(item) => *item,
            Type::Map(_) | Type::Object(_) | Type::Metadata => Type::String,
            Type::Dyn => Type::Dyn,
            other => {
                return Err(format!(
                    "expression of type '{}' cannot be range of a comprehension",
                    name(&other)
                ));
            }
        };
        let start = self.value(&comprehension.accu_init)?;
        // What is gathered in a list is not followed.
        let gathered = if start == Type::Bool { Type::Bool } else { Type::Dyn };
        let outer = self.variables.len();
        self.variables.push((comprehension.accu_var.clone(), gathered));
        match &comprehension.iter_var2 {
            Some(second) => {
                self.variables.push((comprehension.iter_var.clone(), Type::Dyn));
                self.variables.push((second.clone(), Type::Dyn));
            }
            None => self.variables.push((comprehension.iter_var.clone(), item)),
        }
        self.value(&comprehension.loop_cond)?;
        self.value(&comprehension.loop_step)?;
        let result = self.value(&comprehension.result);
        self.variables.truncate(outer);
        result
    }
}

/// The type of a field.
fn field<'n>(of: &Type<'n>, field: &str) -> Result<Type<'n>, Problem> {
    let undefined = || Err(format!("undefined field '{field}'"));
    match of {
        Type::Dyn => Ok(Type::Dyn),
        Type::Map(entry) => Ok((**entry).clone()),
        Type::Metadata if VISIBLE_METADATA.contains(&field) => Ok(Type::String),
        Type::Metadata => undefined(),
        Type::Object(Declared { node, envelope }) => {
            if *envelope {
                match field {
                    "metadata" => return Ok(Type::Metadata),
                    "apiVersion" | "kind" => return Ok(Type::String),
                    _ => {}
                }
            }
            let mut properties = node.properties.iter();
            match properties.find(|(name, _)| escape(name) == field) {
                Some((_, property)) => Ok(of_node(property, false)),
                None => undefined(),
            }
        }
        other => Err(format!("type '{}' does not support field selection", name(other))),
    }
}

/// The result of an operator. None: it is a function.
fn operator<'n>(operator: &str, types: &[Type<'n>]) -> Option<Result<Type<'n>, Problem>> {
    let takes = |allowed: bool, result: Type<'n>| {
        Some(if allowed {
            Ok(result)
        } else {
            let names: Vec<&str> = types.iter().map(name).collect();
            Err(format!(
                "found no matching overload for '{operator}' applied to '({})'",
                names.join(", ")
            ))
        })
    };
    let is = |of: &Type<'n>, wanted: &Type<'n>| *of == Type::Dyn || of == wanted;
    match (operator, types) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, _) | (operators::LOGICAL_NOT, [_]) => {
            takes(types.iter().all(|of| is(of, &Type::Bool)), Type::Bool)
        }
        (operators::CONDITIONAL, [condition, yes, no]) => {
            let result = if yes == no { yes.clone() } else { Type::Dyn };
            takes(is(condition, &Type::Bool), result)
        }
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => takes(comparable(left, right), Type::Bool),
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [left, right]) => {
            let ordered =
                |of: &Type<'_>| !matches!(of, Type::List(_) | Type::Map(_) | Type::Object(_) | Type::Metadata);
            takes(ordered(left) && ordered(right) && comparable(left, right), Type::Bool)
        }
        (operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [left, right]) => {
            takes(is(left, &Type::Number) && is(right, &Type::Number), Type::Number)
        }
        (operators::NEGATE, [of]) => takes(is(of, &Type::Number) || *of == Type::Duration, of.clone()),
        (operators::ADD | operators::SUBSTRACT, [left, right]) => {
            let times = |of: &Type<'_>| matches!(of, Type::Timestamp | Type::Duration);
            let result = if left == right && !times(left) {
                left.clone()
            } else {
                Type::Dyn
            };
            let summed = |of: &Type<'_>| !matches!(of, Type::Bool | Type::Map(_) | Type::Object(_) | Type::Metadata);
            let fits = comparable(left, right) || (times(left) && times(right));
            takes(fits && summed(left) && summed(right), result)
        }
        (operators::IN, [_, list]) => takes(
            matches!(list, Type::Dyn | Type::List(_) | Type::Map(_) | Type::Object(_)),
            Type::Bool,
        ),
        (operators::INDEX, [of, index]) => match of {
            Type::List(item) => takes(is(index, &Type::Number), (**item).clone()),
            Type::Map(entry) => takes(is(index, &Type::String), (**entry).clone()),
            other => takes(*other == Type::Dyn, Type::Dyn),
        },
        (operators::OPT_INDEX | operators::NOT_STRICTLY_FALSE, _) => Some(Ok(Type::Dyn)),
        _ => None,
    }
}

fn comparable(left: &Type<'_>, right: &Type<'_>) -> bool {
    match (left, right) {
        (Type::List(left), Type::List(right)) | (Type::Map(left), Type::Map(right)) => comparable(left, right),
        (Type::Dyn, _) | (_, Type::Dyn) | (Type::Object(_) | Type::Map(_), Type::Object(_) | Type::Map(_)) => true,
        _ => left == right,
    }
}

/// What functions return whose result has one type whatever they are called with.
fn result_of<'n>(function: &str) -> Type<'n> {
    match function {
        "size" | "int" | "uint" | "double" | "indexOf" | "lastIndexOf" => Type::Number,
        "string" | "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "join" => Type::String,
        "contains" | "startsWith" | "endsWith" | "matches" | "isSorted" | "isQuantity" | "isURL" | "isIP" => Type::Bool,
        _ => Type::Dyn,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Schema;

    /// What the API says of a rule on `spec`.
    fn told(rule: &str) -> Vec<String> {
        let named = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "on": {"type": "boolean"}}});
        let spec = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
            "size": {"type": "integer"}, "ratio": {"type": "number"}, "text": {"type": "string", "maxLength": 9},
            "since": {"type": "string", "format": "date-time"}, "grace": {"type": "string", "format": "duration"},
            "names": {"type": "array", "items": {"type": "string"}}, "users": {"type": "array", "items": named},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "port": {"x-kubernetes-int-or-string": true}, "max-size": {"type": "integer"}, "one": named,
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let causes = Schema::from_crd(&schema).err().unwrap_or_default();
        causes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_rules_are_let_in() {
        for rule in [
            "self.size > 1 && self.ratio < 2.5 && self.size < self.ratio",
            "!has(self.text) || self.text.startsWith('a') && size(self.text) < 3",
            "self.names.all(n, n.matches('^a')) && self.users.exists(u, u.name == 'x' && u.on)",
            "self.users.filter(u, u.on).map(u, u.name).exists(n, n == 'a')",
            "'a' in self.labels && self.labels['a'] == 'b' && self.labels.all(k, k != 'c')",
            "self.port == 80 || self.port == 'http'",
            "self.max__dash__size >= self.size",
            "self.size == oldSelf.size",
            "self.since < timestamp('2026-01-01T00:00:00Z') && self.grace <= duration('1h')",
            "self.names == ['a', 'b'] || self.names.size() == 0",
            "self.one.name == (self.size > 1 ? 'many' : 'one')",
            "sets.contains(self.names, ['a']) && self.names.isSorted()",
            "quantity(self.text).isGreaterThan(quantity('1Gi'))",
            "int(self.text) + self.size * 2 > 3 && string(self.size) + 'x' != ''",
            "self.names[0] == 'a' && self.users[self.size].on",
        ] {
            assert_eq!(told(rule), [""; 0], "{rule}");
        }
    }

    #[test]
    fn rules_that_can_not_work_are_refused() {
        for (rule, why) in [
            ("self.nope > 1", "undefined field 'nope'"),
            ("has(self.nope)", "undefined field 'nope'"),
            ("self.one.nope == 'a'", "undefined field 'nope'"),
            ("self.users.all(u, u.nope == 'a')", "undefined field 'nope'"),
            ("self.free.x == 1", "undefined field 'x'"),
            ("other.size > 1", "undeclared reference to 'other'"),
            ("self.users.all(u, v.on)", "undeclared reference to 'v'"),
            ("self.text.frobnicate()", "undeclared reference to 'frobnicate'"),
            ("frobnicate(self.text)", "undeclared reference to 'frobnicate'"),
            (
                "self.size == 'a'",
                "found no matching overload for '_==_' applied to '(int, string)'",
            ),
            (
                "self.text > 1",
                "found no matching overload for '_>_' applied to '(string, int)'",
            ),
            (
                "self.text && true",
                "found no matching overload for '_&&_' applied to '(string, bool)'",
            ),
            (
                "self.text + 1 == 'a'",
                "found no matching overload for '_+_' applied to '(string, int)'",
            ),
            ("self.size.name == 'a'", "type 'int' does not support field selection"),
            (
                "self.size.all(x, true)",
                "expression of type 'int' cannot be range of a comprehension",
            ),
            ("self.size + 1", "must evaluate to a bool"),
            ("self.size > ", "compilation failed"),
        ] {
            let lines = told(rule);
            let is_about = |line: &&String| {
                line.starts_with("openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: ")
                    && line.contains(why)
            };
            assert_eq!(lines.iter().filter(is_about).count(), 1, "{rule}: {lines:?}");
        }
    }

    #[test]
    fn the_root_has_the_fields_of_every_object() {
        let told = |rule: &str| {
            let schema: Value = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]});
            Schema::from_crd(&schema).err().unwrap_or_default().len()
        };
        assert_eq!(told("self.metadata.name.startsWith('a') && self.kind != ''"), 0);
        assert_eq!(told("self.metadata.namespace == 'a'"), 1);
    }

    #[test]
    fn a_message_is_text() {
        let schema = |message: &str| {
            let rule = json!({"rule": "self.size > 1", "messageExpression": message});
            let spec = json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {"size": {"type": "integer"}}});
            let causes = Schema::from_crd(&json!({"type": "object", "properties": {"spec": spec}})).err();
            causes
                .unwrap_or_default()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(schema("'size is ' + string(self.size)"), [""; 0]);
        let lines = schema("self.size");
        assert!(lines[0].ends_with("must evaluate to a string"), "{lines:?}");
    }
}
