//! Prometheus' text format, as strictly as Prometheus reads it.

use std::collections::BTreeMap;

/// Name of each family, with what stands between name and value of each of its samples.
pub(crate) type Families = BTreeMap<String, BTreeMap<String, f64>>;

/// As strict as Prometheus' reader: a family has HELP and TYPE, once, before its samples, which stand together; no sample is there twice.
pub(crate) fn read(text: &str) -> Families {
    let mut families = Families::new();
    let mut current = String::new();
    let mut lines = text.lines();
    assert!(text.ends_with('\n'));
    while let Some(line) = lines.next() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            let (name, help) = head.split_once(' ').unwrap();
            assert!(
                !help.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{line}"
            );
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{kind}");
            assert!(
                families.insert(name.to_owned(), BTreeMap::new()).is_none(),
                "{name} is there twice"
            );
            name.clone_into(&mut current);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let labels = series
            .strip_prefix(&current)
            .unwrap_or_else(|| panic!("{line} is no sample of {current}"));
        check_labels(labels);
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite(), "{line}");
        let before = families.get_mut(&current).unwrap().insert(labels.to_owned(), value);
        assert!(before.is_none(), "{series} is there twice");
    }
    families
}

fn check_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    let mut rest = labels.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once("=\"").unwrap();
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{labels}");
        let mut is_escaped = false;
        let end = quoted.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        rest = &quoted[end.unwrap() + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

pub(crate) fn value(families: &Families, name: &str) -> f64 {
    let samples = families.get(name).unwrap_or_else(|| panic!("{name} is not told"));
    samples.values().sum()
}
