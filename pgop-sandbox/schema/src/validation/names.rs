//! The syntax of names, with Kubernetes' words. <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::known;

/// What the names of a type's objects may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Of most types: lower case, dots and dashes, at most 253 characters.
    DnsSubdomain,
    /// Of namespaces: no dots, at most 63 characters.
    DnsLabel,
    /// Of roles and bindings: anything that can be a segment of a path.
    PathSegment,
}

impl NameRule {
    /// What is wrong with a name. Empty: nothing.
    pub fn check(self, name: &str) -> Vec<String> {
        match self {
            Self::DnsSubdomain => dns_subdomain(name),
            Self::DnsLabel => dns_label(name),
            Self::PathSegment => path_segment(name),
        }
    }

    /// What is wrong with `generateName`, which may end with a dash.
    pub fn check_prefix(self, prefix: &str) -> Vec<String> {
        match prefix.strip_suffix('-') {
            Some(start) if self != Self::PathSegment => self.check(&format!("{start}a")),
            _ => self.check(prefix),
        }
    }
}

static LABEL: LazyLock<Regex> = LazyLock::new(|| known(DNS_LABEL));
static SUBDOMAIN: LazyLock<Regex> = LazyLock::new(|| known(DNS_SUBDOMAIN));
static LABEL_1035: LazyLock<Regex> = LazyLock::new(|| known(DNS_1035));
static QUALIFIED: LazyLock<Regex> = LazyLock::new(|| known(NAME));
static VALUE: LazyLock<Regex> = LazyLock::new(|| known(&format!("({NAME})?")));
static CONFIG_KEY: LazyLock<Regex> = LazyLock::new(|| known("[-._a-zA-Z0-9]+"));
static ENV: LazyLock<Regex> = LazyLock::new(|| known("[ -<>-~]+"));
static PORT: LazyLock<Regex> = LazyLock::new(|| known("[-a-z0-9]+"));

const DNS_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS_SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const NAME: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn too_long(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} bytes"))
}

/// `message (e.g. 'a', or 'b', regex used for validation is 'c')`
fn explained(message: &str, expression: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    let examples = if examples.is_empty() {
        String::new()
    } else {
        format!("e.g. {}, ", examples.join(",  or "))
    };
    format!("{message} ({examples}regex used for validation is '{expression}')")
}

/// What is wrong with a DNS label.
pub(super) fn dns_label(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63).into_iter().collect();
    if SUBDOMAIN.is_match(text) && text.contains('.') {
        problems.push("must not contain dots".to_owned());
    } else if !LABEL.is_match(text) {
        let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                       and must start and end with an alphanumeric character";
        problems.push(explained(message, DNS_LABEL, &["my-name", "123-abc"]));
    }
    problems
}

/// What is wrong with a DNS name.
pub(super) fn dns_subdomain(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 253).into_iter().collect();
    if !SUBDOMAIN.is_match(text) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                       and must start and end with an alphanumeric character";
        problems.push(explained(message, DNS_SUBDOMAIN, &["example.com"]));
    }
    problems
}

/// What is wrong with a label that has to start with a letter, as the names of custom kinds.
pub(super) fn dns_1035_label(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63).into_iter().collect();
    if !LABEL_1035.is_match(text) {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
                       start with an alphabetic character, and end with an alphanumeric character";
        problems.push(explained(message, DNS_1035, &["my-name", "abc-123"]));
    }
    problems
}

fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    let found = ["/", "%"].iter().filter(|part| text.contains(**part));
    found.map(|part| format!("may not contain '{part}'")).collect()
}

/// What is wrong with the key of a label or annotation: an optional DNS name and a slash, then a name.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let message = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                problems.extend(
                    dns_subdomain(prefix)
                        .into_iter()
                        .map(|problem| format!("prefix part {problem}")),
                );
            }
            name
        }
        _ => {
            let whole = format!("a qualified name {}", explained(message, NAME, &examples));
            return vec![format!(
                "{whole} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else {
        problems.extend(too_long(name, 63).map(|problem| format!("name part {problem}")));
    }
    if !QUALIFIED.is_match(name) {
        problems.push(format!("name part {}", explained(message, NAME, &examples)));
    }
    problems
}

/// What is wrong with the value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63).into_iter().collect();
    if !VALUE.is_match(text) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                       and must start and end with an alphanumeric character";
        problems.push(explained(
            message,
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    problems
}

/// What is wrong with a key in the data of a config map or secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 253).into_iter().collect();
    if !CONFIG_KEY.is_match(text) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        problems.push(explained(
            message,
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => problems.push("must not be '.'".to_owned()),
        ".." => problems.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => problems.push("must not start with '..'".to_owned()),
        _ => {}
    }
    problems
}

/// What is wrong with the name of an environment variable.
pub(super) fn env_name(text: &str) -> Vec<String> {
    if ENV.is_match(text) {
        return Vec::new();
    }
    let message = "a valid environment variable name must consist only of printable ASCII characters other than '='";
    vec![explained(message, "[ -<>-~]+", &[])]
}

/// What is wrong with the name of a port.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 15 {
        problems.push("must be no more than 15 characters".to_owned());
    }
    if !PORT.is_match(text) {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.chars().any(|letter| letter.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_have_no_problems() {
        let long = "a".repeat(63);
        let problems = [
            NameRule::DnsSubdomain.check("pg-0.databases.example.com"),
            NameRule::DnsLabel.check(&long),
            NameRule::DnsLabel.check("1-primary"),
            NameRule::PathSegment.check("system:node-proxier"),
            NameRule::DnsSubdomain.check_prefix("web-7d9c-"),
            qualified_name("pgop.dev/role"),
            label_value(""),
            label_value("14.1_beta-2"),
            config_key(".dockerconfigjson"),
            env_name("PGDATA"),
            port_name("http-alt2"),
        ];
        assert!(problems.iter().all(Vec::is_empty), "{problems:?}");
    }

    #[test]
    fn bad_names_have_the_words_of_kubernetes() {
        assert_eq!(
            NameRule::DnsSubdomain.check("My_Db"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
                 end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(
            NameRule::DnsLabel.check(&"a".repeat(64)),
            ["must be no more than 63 bytes"]
        );
        assert_eq!(NameRule::DnsLabel.check("with.dot"), ["must not contain dots"]);
        assert_eq!(NameRule::PathSegment.check("a/b"), ["may not contain '/'"]);
        assert_eq!(NameRule::PathSegment.check(".."), ["may not be '..'"]);
        assert!(label_value("-x")[0].starts_with("a valid label must be an empty string or"));
        assert_eq!(port_name("a--b"), ["must not contain consecutive hyphens"]);
        assert_eq!(qualified_name("/x"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name("a/b/c").len(), 1);
        assert_eq!(config_key("..x"), ["must not start with '..'"]);
        assert_eq!(env_name("A=B").len(), 1);
    }
}
