//! From flags, environment, file and defaults to one checked configuration, and where each value came from.

pub mod file;
pub mod key;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::args::{Global, Output};
use crate::env::Env;
use file::{File, FileError};
use key::{KEYS, Key, Kind};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A line of the configuration file.
    File(PathBuf, usize),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// Why the configuration can't be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// `-n ""`, as a script makes of a variable that is not set. What it would be done to is not what was meant.
    #[error("--namespace is empty: name one, or leave it out")]
    EmptyNamespace,
    /// A value has the wrong form. A password never gets here.
    #[error("{key} is {value:?} ({origin}), and it must be {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// As it was given.
        value: String,
        /// Where it was given.
        origin: Source,
        /// What is allowed.
        expected: &'static str,
    },
}

/// The values of all keys that are set.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<&'static str, (String, Source)>);

impl Settings {
    /// Value of a key, if it is set to something.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(|(value, _)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A number. Its form was checked when the configuration was read.
    pub fn number<N: std::str::FromStr>(&self, key: &str) -> Option<N> {
        self.get(key)?.trim().parse().ok()
    }

    /// Numbers with commas between them.
    pub fn numbers(&self, key: &str) -> Vec<i64> {
        self.get(key)
            .map(|list| list.split(',').filter_map(|n| n.trim().parse().ok()).collect())
            .unwrap_or_default()
    }

    /// Value and source of a key, even where the value is empty.
    pub fn entry(&self, key: &str) -> Option<&(String, Source)> {
        self.0.get(key)
    }
}

/// What the verbs go by.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The keys.
    pub settings: Settings,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// Kubeconfig files, to be merged; empty: `~/.kube/config`, then the pod's own account.
    pub kubeconfig: Vec<PathBuf>,
    /// Context of the kubeconfig.
    pub context: Option<String>,
    /// Namespace, where it was chosen.
    pub namespace: Option<String>,
    /// Every namespace.
    pub all_namespaces: bool,
    /// Label selector.
    pub selector: Option<String>,
    /// Format of results.
    pub output: Option<Output>,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
    /// Tell what is asked of the cluster.
    pub debug: bool,
    /// Variables that look like ours and are no key.
    pub unknown_variables: Vec<String>,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// None waits for ever, as with kubectl.
fn request_timeout(asked: Option<Duration>) -> Duration {
    match asked {
        Some(Duration::ZERO) => Duration::MAX,
        asked => asked.unwrap_or(REQUEST_TIMEOUT),
    }
}

/// Reads and checks everything.
pub fn resolve(global: &Global, env: &Env) -> Result<Config, ConfigError> {
    let file = match &global.config {
        Some(path) => Some(file::read(&env.directory.join(path))?),
        None => file::find(&directories(env))
            .map(|path| file::read(&path))
            .transpose()?,
    };
    if global.namespace.as_ref().is_some_and(String::is_empty) {
        return Err(ConfigError::EmptyNamespace);
    }
    let settings = merge(global, env, file.as_ref());
    for (key, (value, source)) in &settings.0 {
        check(key, value, source)?;
    }
    // With a kubeconfig list the files are merged, as kubectl does.
    let kubeconfig = match (&global.kubeconfig, settings.entry("KUBECONFIG")) {
        (Some(path), _) => vec![path.clone()],
        (None, Some((value, Source::Variable(_)))) => std::env::split_paths(value)
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
        (None, Some((value, _))) if !value.is_empty() => vec![PathBuf::from(value)],
        _ => env
            .home()
            .map(|home| home.join(".kube/config"))
            .filter(|path| path.is_file())
            .into_iter()
            .collect(),
    };
    Ok(Config {
        file: file.map(|file| file.path),
        kubeconfig: kubeconfig.into_iter().map(|path| env.directory.join(path)).collect(),
        context: global.context.clone(),
        namespace: global
            .namespace
            .clone()
            .or_else(|| settings.get("DB.NAMESPACE").map(str::to_owned)),
        all_namespaces: global.all_namespaces,
        selector: global.selector.clone(),
        output: global.output,
        request_timeout: request_timeout(global.request_timeout),
        debug: global.debug || settings.get("PGO.DEBUG").is_some_and(|v| is_true(v) == Some(true)),
        unknown_variables: unknown_variables(env),
        settings,
    })
}

fn directories(env: &Env) -> Vec<PathBuf> {
    let mut all = vec![env.directory.clone()];
    all.extend(env.home());
    all.push(PathBuf::from("/etc/pgo"));
    all
}

/// Flag, then environment, then file.
fn merge(global: &Global, env: &Env, file: Option<&File>) -> Settings {
    let mut settings = Settings::default();
    for key in KEYS {
        let flag = match key.name {
            "KUBECONFIG" => global
                .kubeconfig
                .as_ref()
                .map(|p| (p.display().to_string(), "--kubeconfig")),
            "DB.NAMESPACE" => global.namespace.clone().map(|n| (n, "--namespace")),
            "PGO.DEBUG" if global.debug => Some(("true".to_owned(), "--debug")),
            _ => None,
        };
        let entry = flag
            .map(|(value, name)| (value, Source::Flag(name)))
            .or_else(|| {
                let variable = key.variable();
                let value = env
                    .get(&variable)
                    .filter(|value| !value.is_empty() || key.name != "KUBECONFIG")?;
                Some((value.to_owned(), Source::Variable(variable)))
            })
            .or_else(|| {
                let file = file?;
                let (value, line) = file.values.get(key.name)?;
                Some((value.clone(), Source::File(file.path.clone(), *line)))
            });
        if let Some(entry) = entry {
            settings.0.insert(key.name, entry);
        }
    }
    settings
}

fn unknown_variables(env: &Env) -> Vec<String> {
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    env.names()
        .filter(|name| name.starts_with("PGO_") && !known.iter().any(|k| k == name))
        .map(str::to_owned)
        .collect()
}

/// Checks the form of a value. An empty one is as good as none, as it was in v1.0.0.
fn check(name: &'static str, value: &str, source: &Source) -> Result<(), ConfigError> {
    let Some(key) = Key::find(name) else { return Ok(()) };
    let text = value.trim();
    if text.is_empty() {
        return Ok(());
    }
    let number = |range: std::ops::RangeInclusive<i64>| text.parse().is_ok_and(|n: i64| range.contains(&n));
    let expected = match key.kind {
        Kind::Port if !number(1..=65535) => "a port from 1 to 65535",
        Kind::Replicas if !number(0..=50) => "a number from 0 to 50",
        Kind::Id if !number(1..=i64::from(u32::MAX)) => "a number greater than 0",
        Kind::Ids if text.split(',').any(|n| n.trim().parse::<u32>().is_err()) => "numbers with commas between them",
        Kind::Size if pgop_core::quantity::milli(text).is_none_or(|n| n <= 0) => "a size such as 10Gi",
        Kind::AccessMode if !["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"].contains(&text) => {
            "ReadWriteOnce, ReadWriteOncePod or ReadWriteMany"
        }
        Kind::Switch if is_true(text).is_none() => "true or false",
        _ => return Ok(()),
    };
    Err(ConfigError::Value {
        key: key.name,
        value: value.to_owned(),
        origin: source.clone(),
        expected,
    })
}

fn is_true(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)], directory: &std::path::Path) -> Env {
        Env::of(
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
            directory,
        )
    }

    /// <https://kubernetes.io/docs/reference/kubectl/generated/kubectl/>: "A value of zero means don't timeout requests."
    #[tokio::test(start_paused = true)]
    async fn no_request_timeout_waits_for_ever() {
        assert_eq!(request_timeout(None), REQUEST_TIMEOUT);
        assert_eq!(
            request_timeout(Some(Duration::from_millis(1))),
            Duration::from_millis(1)
        );
        let late = tokio::time::sleep(Duration::from_secs(7 * 24 * 3600));
        assert!(
            tokio::time::timeout(request_timeout(Some(Duration::ZERO)), late)
                .await
                .is_ok()
        );
    }

    #[test]
    fn flag_beats_environment_beats_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".pgo.yaml"), "DB:\n  NAMESPACE: of-file\n  PORT: 1\n").unwrap();
        let read = |global: &Global, vars: &[(&str, &str)]| resolve(global, &env(vars, dir.path())).unwrap();
        let by_file = read(&Global::default(), &[]);
        assert_eq!(by_file.namespace.as_deref(), Some("of-file"));
        assert_eq!(
            by_file.settings.entry("DB.PORT").unwrap().1,
            Source::File(dir.path().join(".pgo.yaml"), 3)
        );
        let vars = [("PGO_DB_NAMESPACE", "of-env"), ("PGO_DB_PORT", "2")];
        let by_env = read(&Global::default(), &vars);
        assert_eq!(by_env.namespace.as_deref(), Some("of-env"));
        assert_eq!(by_env.settings.number::<i32>("DB.PORT"), Some(2));
        let flag = Global {
            namespace: Some("of-flag".into()),
            ..Global::default()
        };
        assert_eq!(read(&flag, &vars).namespace.as_deref(), Some("of-flag"));
    }

    #[test]
    fn kubeconfig_is_a_list_only_in_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let vars = [("KUBECONFIG", "/a:/b:")];
        let config = resolve(&Global::default(), &env(&vars, dir.path())).unwrap();
        assert_eq!(config.kubeconfig, [PathBuf::from("/a"), PathBuf::from("/b")]);
        let flag = Global {
            kubeconfig: Some("x:y".into()),
            ..Global::default()
        };
        assert_eq!(
            resolve(&flag, &env(&vars, dir.path())).unwrap().kubeconfig,
            [dir.path().join("x:y")]
        );
    }

    #[test]
    fn a_wrong_value_names_key_value_and_place() {
        let dir = tempfile::tempdir().unwrap();
        let error = resolve(&Global::default(), &env(&[("PGO_DB_PORT", "http")], dir.path())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "DB.PORT is \"http\" (environment PGO_DB_PORT), and it must be a port from 1 to 65535"
        );
        for (variable, value) in [
            ("PGO_DB_PORT", "0"),
            ("PGO_CLUSTER_REPLICAS", "-1"),
            ("PGO_DB_FSGROUP", "26,27"),
            ("PGO_DB_SUPPLEMENTALGROUPS", "1;2"),
            ("PGO_DB_PVC_SIZE", "10GB"),
            ("PGO_DB_PVC_ACCESS_MODE", "RWO"),
            ("PGO_DEBUG", "maybe"),
        ] {
            assert!(
                resolve(&Global::default(), &env(&[(variable, value)], dir.path())).is_err(),
                "{variable}={value}"
            );
        }
    }

    #[test]
    fn a_named_file_has_to_exist() {
        let dir = tempfile::tempdir().unwrap();
        let global = Global {
            config: Some("nope.yaml".into()),
            ..Global::default()
        };
        let error = resolve(&global, &env(&[], dir.path())).unwrap_err().to_string();
        assert!(error.contains("nope.yaml can't be read"), "{error}");
    }

    #[test]
    fn groups_are_a_list_and_variables_may_be_mistyped() {
        let dir = tempfile::tempdir().unwrap();
        let vars = [("PGO_DB_SUPPLEMENTALGROUPS", "65534, 26"), ("PGO_DB_PROT", "1")];
        let config = resolve(&Global::default(), &env(&vars, dir.path())).unwrap();
        assert_eq!(config.settings.numbers("DB.SUPPLEMENTALGROUPS"), [65534, 26]);
        assert_eq!(config.unknown_variables, ["PGO_DB_PROT"]);
    }
}
