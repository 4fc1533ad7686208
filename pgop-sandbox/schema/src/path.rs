//! Paths of fields as text, such as `spec.list[0].bar`.

/// The path of a field within `parent`; names of the root stand alone.
pub(crate) fn child(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// The path of a list's item.
pub(crate) fn index(parent: &str, at: usize) -> String {
    format!("{parent}[{at}]")
}

/// The path of a map's entry where Kubernetes writes the key in brackets, such as `spec.limits[cpu]`.
pub(crate) fn key(parent: &str, key: &str) -> String {
    format!("{parent}[{key}]")
}
