//! Bodies as protocol buffers, which kubectl of 1.32 and newer sends for what it makes of its arguments (`kubectl create`, `auth can-i`):
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(crate) const MEDIA: &str = "application/vnd.kubernetes.protobuf";
/// What each such body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages. No type that is read comes near it.
const DEEPEST: u32 = 32;

/// A field of a message.
struct Field {
    name: &'static str,
    kind: &'static str,
    shape: Shape,
    /// Its fields stand beside the others.
    inline: bool,
    /// Zero is a value.
    keeps_zero: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
}

type Messages = HashMap<&'static str, HashMap<u64, Field>>;

/// Of our own file; what could not be read there would be missing, which the tests see.
static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    let lines = include_str!("messages.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?;
            Some((name, words.filter_map(field).collect()))
        })
        .collect()
});

fn field(text: &'static str) -> Option<(u64, Field)> {
    let mut parts = text.splitn(3, ':');
    let (number, name, kind) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let inline = kind.starts_with('^');
    let keeps_zero = kind.ends_with('?');
    let kind = kind.trim_start_matches('^').trim_end_matches('?');
    let (kind, shape) = if let Some(kind) = kind.strip_suffix("[]") {
        (kind, Shape::List)
    } else if let Some(kind) = kind.strip_suffix("{}") {
        (kind, Shape::Map)
    } else {
        (kind, Shape::One)
    };
    Some((
        number,
        Field {
            name,
            kind,
            shape,
            inline,
            keeps_zero,
        },
    ))
}

/// What stands on the wire under a number.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a width that no field that is read has.
    Other,
}

/// The object in a body. Nothing: it can't be read, or is of a type that is not read this way.
pub(super) fn decode(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(MAGIC)?)?;
    let bytes = |wanted: u64| {
        envelope.iter().rev().find_map(|(number, wire)| match wire {
            Wire::Bytes(bytes) if *number == wanted => Some(*bytes),
            _ => None,
        })
    };
    let mut kind = (String::new(), String::new());
    for (number, wire) in fields(bytes(1)?)? {
        let Wire::Bytes(text) = wire else { return None };
        let text = String::from_utf8(text.to_vec()).ok()?;
        if number == 1 { kind.0 = text } else { kind.1 = text }
    }
    let (api_version, kind) = kind;
    // `rbac.authorization.k8s.io/v1` has its messages under `rbac.v1`.
    let group = api_version
        .split_once('/')
        .map_or("core", |(group, _)| group.split('.').next().unwrap_or(group));
    let message = if kind == "DeleteOptions" {
        "meta.v1.DeleteOptions".to_owned()
    } else {
        format!("{group}.v1.{kind}")
    };
    let mut object = read(&message, bytes(2).unwrap_or_default(), 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Some(Value::Object(object))
}

/// The fields of a message as they come.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let wire = match key & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            1 => take(&mut bytes, 8).map(|_| Wire::Other)?,
            5 => take(&mut bytes, 4).map(|_| Wire::Other)?,
            _ => return None,
        };
        found.push((key >> 3, wire));
    }
    Some(found)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn read(message: &str, bytes: &[u8], depth: u32) -> Option<Map<String, Value>> {
    let known = MESSAGES.get(message)?;
    let mut object = Map::new();
    if depth > DEEPEST {
        return None;
    }
    for (number, wire) in fields(bytes)? {
        let Some(field) = known.get(&number) else { continue };
        match field.shape {
            Shape::Map => {
                let Wire::Bytes(entry) = wire else { return None };
                let (key, value) = map_entry(field, entry, depth)?;
                let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                map[key] = value;
            }
            Shape::List => {
                let item = value(field, &wire, depth)?;
                let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut()?.push(item);
            }
            Shape::One => match value(field, &wire, depth)? {
                Value::Object(fields) if field.inline => object.extend(fields),
                value if is_unset(field, &value) => {}
                value => {
                    object.insert(field.name.into(), value);
                }
            },
        }
    }
    Some(object)
}

/// Go sends fields that are not set as their zero.
fn is_unset(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(on) => !on && !field.keeps_zero,
        Value::Number(number) => number.as_i64() == Some(0) && !field.keeps_zero,
        _ => false,
    }
}

fn map_entry(field: &Field, entry: &[u8], depth: u32) -> Option<(String, Value)> {
    let (mut key, mut found) = (String::new(), Value::String(String::new()));
    for (number, wire) in fields(entry)? {
        match (number, &wire) {
            (1, Wire::Bytes(text)) => key = String::from_utf8(text.to_vec()).ok()?,
            (2, _) => found = value(field, &wire, depth)?,
            _ => {}
        }
    }
    Some((key, found))
}

fn value(field: &Field, wire: &Wire, depth: u32) -> Option<Value> {
    Some(match (field.kind, wire) {
        ("s", Wire::Bytes(text)) => String::from_utf8(text.to_vec()).ok()?.into(),
        ("y", Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        ("b", Wire::Number(number)) => (*number != 0).into(),
        // Negative numbers are sent as their two's complement.
        ("i", Wire::Number(number)) => number.cast_signed().into(),
        ("time", Wire::Bytes(bytes)) => time(bytes)?,
        ("quantity", Wire::Bytes(bytes)) => part(bytes, 1)?,
        ("raw", Wire::Bytes(bytes)) => match fields(bytes)?.first() {
            Some((1, Wire::Bytes(json))) => serde_json::from_slice(json).ok()?,
            _ => Value::Null,
        },
        ("intstr", Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (message, Wire::Bytes(bytes)) => Value::Object(read(message, bytes, depth + 1)?),
        _ => return None,
    })
}

/// A text within a message of one field.
fn part(bytes: &[u8], wanted: u64) -> Option<Value> {
    fields(bytes)?.into_iter().find_map(|(number, wire)| match wire {
        Wire::Bytes(text) if number == wanted => Some(String::from_utf8(text.to_vec()).ok()?.into()),
        _ => None,
    })
}

fn time(bytes: &[u8]) -> Option<Value> {
    let fields = fields(bytes)?;
    let number = |wanted| {
        fields.iter().find_map(|(number, wire)| match wire {
            Wire::Number(value) if *number == wanted => Some(value.cast_signed()),
            _ => None,
        })
    };
    let Some(seconds) = number(1) else {
        return Some(Value::Null);
    };
    let nanos = i32::try_from(number(2).unwrap_or(0)).ok()?;
    Some(Timestamp::new(seconds, nanos).ok()?.to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let fields = fields(bytes)?;
    let number = |wanted| {
        fields.iter().find_map(|(number, wire)| match wire {
            Wire::Number(value) if *number == wanted => Some(value.cast_signed()),
            _ => None,
        })
    };
    if number(1) == Some(1) {
        part(bytes, 3)
    } else {
        Some(number(2).unwrap_or(0).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{MESSAGES, decode, read};

    /// As kubectl sends it: fields that are not set come as zeros.
    const CONFIG_MAP: &[u8] = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x1c\x0a\x12\x0a\x02c1\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0\x12\x06\x0a\x01a\x12\x01b\x1a\0\x22\0";

    #[test]
    fn a_config_map_is_read() {
        assert_eq!(
            decode(CONFIG_MAP),
            Some(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c1"}, "data": {"a": "b"}}))
        );
    }

    #[test]
    fn embedded_fields_stand_beside_the_others() {
        // A volume "v" with an emptyDir, which is its VolumeSource's second field.
        let volume = read("core.v1.Volume", b"\x0a\x01v\x12\x02\x12\0", 0).unwrap();
        assert_eq!(serde_json::Value::Object(volume), json!({"name": "v", "emptyDir": {}}));
        let rule = read("networking.v1.IngressRule", b"\x0a\x01a\x12\x02\x0a\0", 0).unwrap();
        assert_eq!(serde_json::Value::Object(rule), json!({"host": "a", "http": {}}));
        let port = read("core.v1.ServicePort", b"\x18\x50\x22\x07\x08\x01\x10\0\x1a\x01h", 0).unwrap();
        assert_eq!(serde_json::Value::Object(port), json!({"port": 80, "targetPort": "h"}));
    }

    #[test]
    fn every_message_that_is_named_is_there() {
        for (message, fields) in MESSAGES.iter() {
            for field in fields.values().filter(|field| field.kind.contains('.')) {
                assert!(MESSAGES.contains_key(field.kind), "{message}: {}", field.kind);
            }
        }
        for resource in crate::resource::built_in()
            .iter()
            .filter(|resource| resource.group != "apiextensions.k8s.io")
        {
            let group = if resource.group.is_empty() {
                "core"
            } else {
                resource.group.split('.').next().unwrap()
            };
            assert!(
                MESSAGES.contains_key(&*format!("{group}.v1.{}", resource.kind)),
                "{}",
                resource.kind
            );
        }
    }

    /// The definition of a message's type: `core.v1.Pod` is `io.k8s.api.core.v1.Pod`.
    fn definition(message: &str) -> Option<&'static serde_json::Value> {
        let mut all = pgop_sandbox_schema::definitions().iter();
        let name = format!(".{message}");
        all.find(|(known, _)| known.starts_with("io.k8s.api") && known.ends_with(&name))
            .map(|(_, definition)| definition)
    }

    #[test]
    fn every_field_of_the_built_in_types_has_a_number() {
        let mut compared = 0;
        for (message, fields) in MESSAGES.iter() {
            let Some(properties) = definition(message).and_then(|definition| definition["properties"].as_object())
            else {
                continue;
            };
            compared += 1;
            let inline = fields.values().filter(|field| field.inline);
            let known: Vec<&str> = inline
                .flat_map(|field| MESSAGES[field.kind].values())
                .chain(fields.values().filter(|field| !field.inline))
                .map(|field| field.name)
                .collect();
            for name in properties.keys() {
                let told = ["apiVersion", "kind", "status"].contains(&name.as_str());
                assert!(
                    told || message.ends_with("Status") || known.contains(&name.as_str()),
                    "{message} has no {name}"
                );
            }
        }
        assert!(compared > 150, "{compared}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0_usize..60) {
            let _ = decode(&bytes);
            let _ = decode(&[&CONFIG_MAP[..cut.min(CONFIG_MAP.len())], &bytes].concat());
            let _ = read("core.v1.Pod", &bytes, 0);
        }
    }
}
