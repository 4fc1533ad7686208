//! Objects in little memory: JSON text, in which long strings that many have in common, such as files of a `ConfigMap`, are kept once.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Strings from this length on are kept once for all.
const LONG: usize = 256;
/// Stands for a long string. No key of Kubernetes can be this.
const MARK: &str = "\0";

/// One object.
#[derive(Debug, PartialEq)]
pub(crate) struct Compact {
    json: Box<[u8]>,
    long: Box<[Arc<str>]>,
}

/// The long strings of all objects.
#[derive(Debug, Default)]
pub(crate) struct Pool(HashSet<Arc<str>>);

impl Compact {
    pub(crate) fn of(mut value: Value, pool: &mut Pool) -> Self {
        let mut long = Vec::new();
        take_long(&mut value, pool, &mut long);
        Self {
            // A Value is always JSON.
            json: serde_json::to_vec(&value).unwrap_or_default().into(),
            long: long.into(),
        }
    }

    /// The object.
    pub(crate) fn value(&self) -> Value {
        let mut value = serde_json::from_slice(&self.json).unwrap_or_default();
        if !self.long.is_empty() {
            put_long(&mut value, &self.long);
        }
        value
    }
}

impl Pool {
    fn shared(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.0.get(text.as_str()) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        self.0.insert(Arc::clone(&shared));
        shared
    }

    /// An object goes: what only it had, goes with it.
    pub(crate) fn forget(&mut self, compact: &Compact) {
        for text in &compact.long {
            // One is the pool's, one the object's.
            if Arc::strong_count(text) <= 2 {
                self.0.remove(text);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn take_long(value: &mut Value, pool: &mut Pool, long: &mut Vec<Arc<str>>) {
    match value {
        Value::String(text) if text.len() >= LONG => {
            let mark = Map::from_iter([(MARK.to_owned(), long.len().into())]);
            long.push(pool.shared(std::mem::take(text)));
            *value = Value::Object(mark);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| take_long(item, pool, long)),
        Value::Object(map) => map.values_mut().for_each(|item| take_long(item, pool, long)),
        _ => {}
    }
}

fn put_long(value: &mut Value, long: &[Arc<str>]) {
    let mark = value
        .get(MARK)
        .and_then(Value::as_u64)
        .and_then(|i| usize::try_from(i).ok());
    if let Some(text) = mark.and_then(|i| long.get(i)) {
        *value = text.as_ref().into();
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| put_long(item, long)),
        Value::Object(map) => map.values_mut().for_each(|item| put_long(item, long)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_of_many_objects_is_kept_once_and_goes_with_the_last() {
        let mut pool = Pool::default();
        let file = "local all all peer\n".repeat(100);
        let object = |name: &str| json!({"metadata": {"name": name}, "data": {"pg_hba.conf": file, "short": "x"}});
        let (a, b) = (Compact::of(object("a"), &mut pool), Compact::of(object("b"), &mut pool));
        assert!(a.json.len() < 100, "{}", a.json.len());
        assert!(Arc::ptr_eq(&a.long[0], &b.long[0]));
        assert_eq!((a.value(), b.value()), (object("a"), object("b")));
        pool.forget(&a);
        drop(a);
        assert_eq!(pool.len(), 1);
        pool.forget(&b);
        assert_eq!(pool.len(), 0);
        assert_eq!(b.value(), object("b"), "who still reads it reads all of it");
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(texts in prop::collection::vec(prop_oneof!["[a-z]{0,20}", "[a-z\\PC]{250,300}"], 0..6)) {
            let value = json!({"list": texts, "map": {"a": texts.first(), "b": [{"c": texts.last()}]}});
            let mut pool = Pool::default();
            prop_assert_eq!(Compact::of(value.clone(), &mut pool).value(), value);
        }
    }
}
