//! The environment of a container, from all its sources. Pure: objects are looked up through [`Objects`].

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret, Service};
use thiserror::Error;

use super::downward::{Downward, DownwardError};
use super::expand::expand;

/// Where config maps and secrets are looked up.
pub(crate) trait Objects {
    /// The config map, if it is there.
    fn config_map(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<ConfigMap>>;
    /// The secret, if it is there.
    fn secret(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<Secret>>;
}

/// Why a container has no environment yet: `CreateContainerConfigError`.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum EnvError {
    #[error("{kind} \"{name}\" not found")]
    NoObject { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        kind: &'static str,
        namespace: String,
        name: String,
        key: String,
    },
    #[error("{kind} {namespace}/{name} key {key} is not text")]
    NotText {
        kind: &'static str,
        namespace: String,
        name: String,
        key: String,
    },
    #[error(transparent)]
    Downward(#[from] DownwardError),
}

/// Everything the environment is made from.
pub(crate) struct Sources<'a, O: Objects> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) downward: Downward<'a>,
    pub(crate) objects: &'a O,
    /// Those of services; see [`service_links`].
    pub(crate) services: BTreeMap<String, String>,
}

impl<O: Objects> Sources<'_, O> {
    /// All variables. Later ones win: services, `envFrom`, `env`.
    pub(crate) fn resolve(&self) -> Result<HashMap<String, String>, EnvError> {
        let mut all: HashMap<String, String> = HashMap::new();
        let mut from = BTreeMap::new();
        self.add_env_from(&mut from)?;
        all.extend(from);
        for variable in self.container.env.iter().flatten() {
            if let Some(value) = self.value(variable, &all)? {
                all.insert(variable.name.clone(), value);
            }
        }
        for (name, value) in &self.services {
            all.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Ok(all)
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    fn add_env_from(&self, into: &mut BTreeMap<String, String>) -> Result<(), EnvError> {
        for source in self.container.env_from.iter().flatten() {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            if let Some(reference) = &source.config_map_ref {
                match self.objects.config_map(self.namespace(), &reference.name) {
                    Some(map) => {
                        into.extend(
                            map.data
                                .iter()
                                .flatten()
                                .map(|(k, v)| (format!("{prefix}{k}"), v.clone())),
                        );
                    }
                    None if reference.optional == Some(true) => {}
                    None => {
                        return Err(EnvError::NoObject {
                            kind: "configmap",
                            name: reference.name.clone(),
                        });
                    }
                }
            }
            if let Some(reference) = &source.secret_ref {
                match self.objects.secret(self.namespace(), &reference.name) {
                    Some(secret) => {
                        let texts = secret.data.iter().flatten();
                        into.extend(
                            texts.filter_map(|(k, v)| {
                                Some((format!("{prefix}{k}"), String::from_utf8(v.0.clone()).ok()?))
                            }),
                        );
                    }
                    None if reference.optional == Some(true) => {}
                    None => {
                        return Err(EnvError::NoObject {
                            kind: "secret",
                            name: reference.name.clone(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&self, variable: &EnvVar, known: &HashMap<String, String>) -> Result<Option<String>, EnvError> {
        if let Some(source) = &variable.value_from {
            return self.value_from(source);
        }
        let text = variable.value.as_deref().unwrap_or_default();
        if !text.contains('$') {
            return Ok(Some(text.to_owned()));
        }
        let mut all: HashMap<String, String> = self.services.clone().into_iter().collect();
        all.extend(known.clone());
        Ok(Some(expand(text, &all)))
    }

    fn value_from(&self, source: &EnvVarSource) -> Result<Option<String>, EnvError> {
        if let Some(field) = &source.field_ref {
            return Ok(Some(self.downward.field(&field.field_path)?));
        }
        if let Some(resource) = &source.resource_field_ref {
            return Ok(Some(self.downward.resource(Some(self.container), resource)?));
        }
        if let Some(key) = &source.config_map_key_ref {
            let map = self.objects.config_map(self.namespace(), &key.name);
            let optional = key.optional == Some(true);
            let Some(map) = map else {
                return absent("configmap", &key.name, optional);
            };
            let value = map.data.as_ref().and_then(|d| d.get(&key.key)).cloned();
            return match value {
                None if !optional => Err(self.no_key("ConfigMap", &key.name, &key.key)),
                value => Ok(value),
            };
        }
        if let Some(key) = &source.secret_key_ref {
            let optional = key.optional == Some(true);
            let Some(secret) = self.objects.secret(self.namespace(), &key.name) else {
                return absent("secret", &key.name, optional);
            };
            return match secret.data.as_ref().and_then(|d| d.get(&key.key)) {
                Some(value) => String::from_utf8(value.0.clone())
                    .map(Some)
                    .map_err(|_| EnvError::NotText {
                        kind: "Secret",
                        namespace: self.namespace().to_owned(),
                        name: key.name.clone(),
                        key: key.key.clone(),
                    }),
                None if optional => Ok(None),
                None => Err(self.no_key("Secret", &key.name, &key.key)),
            };
        }
        Ok(Some(String::new()))
    }

    fn no_key(&self, kind: &'static str, name: &str, key: &str) -> EnvError {
        EnvError::NoKey {
            kind,
            namespace: self.namespace().to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }
}

fn absent(kind: &'static str, name: &str, optional: bool) -> Result<Option<String>, EnvError> {
    if optional {
        Ok(None)
    } else {
        Err(EnvError::NoObject {
            kind,
            name: name.to_owned(),
        })
    }
}

/// Variables that tell of services: those of the API server always, those of the pod's namespace where the pod wants them
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
pub(crate) fn service_links<S: AsRef<Service>>(
    services: &[S],
    namespace: &str,
    wanted: bool,
) -> BTreeMap<String, String> {
    let mut links = BTreeMap::new();
    for service in services {
        let service = service.as_ref();
        let (name, in_namespace) = (
            service.metadata.name.as_deref().unwrap_or_default(),
            service.metadata.namespace.as_deref(),
        );
        if wanted && in_namespace == Some(namespace) {
            add_links(&mut links, name, service);
        }
    }
    for (name, value) in api_links() {
        links.insert(name, value);
    }
    links
}

fn api_links() -> Vec<(String, String)> {
    let api = crate::network::API;
    let (host, port) = (api.ip().to_string(), api.port());
    vec![
        ("KUBERNETES_SERVICE_HOST".into(), host.clone()),
        ("KUBERNETES_SERVICE_PORT".into(), port.to_string()),
        ("KUBERNETES_SERVICE_PORT_HTTPS".into(), port.to_string()),
        ("KUBERNETES_PORT".into(), format!("tcp://{host}:{port}")),
        ("KUBERNETES_PORT_443_TCP".into(), format!("tcp://{host}:{port}")),
        ("KUBERNETES_PORT_443_TCP_PROTO".into(), "tcp".into()),
        ("KUBERNETES_PORT_443_TCP_PORT".into(), port.to_string()),
        ("KUBERNETES_PORT_443_TCP_ADDR".into(), host),
    ]
}

fn add_links(links: &mut BTreeMap<String, String>, name: &str, service: &Service) {
    let Some(spec) = &service.spec else { return };
    let Some(host) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
        return;
    };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let name = upper(name);
    links.insert(format!("{name}_SERVICE_HOST"), host.to_owned());
    for (nth, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port;
        if nth == 0 {
            links.insert(format!("{name}_SERVICE_PORT"), number.to_string());
        }
        if let Some(port_name) = &port.name {
            links.insert(format!("{name}_SERVICE_PORT_{}", upper(port_name)), number.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{number}", protocol.to_lowercase());
        if nth == 0 {
            links.insert(format!("{name}_PORT"), url.clone());
        }
        let prefix = format!("{name}_PORT_{number}_{protocol}");
        links.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        links.insert(format!("{prefix}_PORT"), number.to_string());
        links.insert(format!("{prefix}_ADDR"), host.to_owned());
        links.insert(prefix, url);
    }
}

#[cfg(test)]
mod tests {
    use super::{Downward, EnvError, Objects, Sources, service_links};
    use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
    use serde_json::{Value, from_value, json};
    use std::collections::HashMap;
    use std::sync::Arc;

    struct Fixed;
    impl Objects for Fixed {
        fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
            (namespace == "shop" && name == "settings")
                .then(|| Arc::new(from_value(json!({"data": {"colour": "red", "size": "7"}})).unwrap()))
        }
        fn secret(&self, _: &str, name: &str) -> Option<Arc<Secret>> {
            (name == "login")
                .then(|| Arc::new(from_value(json!({"data": {"password": "aHVudGVyMg==", "binary": "//79"}})).unwrap()))
        }
    }

    fn resolve(container: Value) -> Result<HashMap<String, String>, EnvError> {
        let pod: Pod = from_value(json!({
            "metadata": {"name": "orders-0", "namespace": "shop", "labels": {"app": "orders"}},
            "spec": {"containers": [], "nodeName": "sandbox"},
        }))
        .unwrap();
        let mut container = container;
        container["name"] = json!("main");
        let container = from_value(container).unwrap();
        let downward = Downward::fixed(&pod);
        Sources {
            pod: &pod,
            container: &container,
            downward,
            objects: &Fixed,
            services: service_links::<Arc<Service>>(&[], "shop", true),
        }
        .resolve()
    }

    #[test]
    fn values_come_from_everywhere_and_know_the_ones_before() {
        let env = resolve(json!({
            "envFrom": [{"prefix": "S_", "configMapRef": {"name": "settings"}}],
            "env": [
                {"name": "INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "CLAIM", "value": "data-$(INSTANCE)"},
                {"name": "EARLY", "value": "$(LATE)"},
                {"name": "LATE", "value": "x"},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
                {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
                {"name": "S_size", "value": "8"},
                {"name": "API", "value": "https://$(KUBERNETES_SERVICE_HOST)"},
            ],
        }))
        .unwrap();
        for (name, want) in [
            ("CLAIM", "data-orders-0"),
            ("EARLY", "$(LATE)"),
            ("PASSWORD", "hunter2"),
            ("COLOUR", "red"),
            ("S_colour", "red"),
            ("S_size", "8"),
            ("API", "https://10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ] {
            assert_eq!(env[name], want, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_optional() {
        let key = |optional: bool| json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "login", "key": "none", "optional": optional}}}]});
        assert_eq!(
            resolve(key(false)).unwrap_err().to_string(),
            "couldn't find key none in Secret shop/login"
        );
        assert!(!resolve(key(true)).unwrap().contains_key("A"));
        let map = |optional: bool| json!({"envFrom": [{"configMapRef": {"name": "none", "optional": optional}}]});
        assert_eq!(
            resolve(map(false)).unwrap_err().to_string(),
            "configmap \"none\" not found"
        );
        assert!(resolve(map(true)).is_ok());
    }

    #[test]
    fn services_are_told_of_as_docker_links_were() {
        let service: Service = from_value(json!({"metadata": {"name": "my-db", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.1.2", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]}}))
        .unwrap();
        let links = service_links(&[Arc::new(service)], "shop", true);
        assert_eq!(links["MY_DB_SERVICE_HOST"], "10.96.1.2");
        assert_eq!(links["MY_DB_SERVICE_PORT_SQL"], "5432");
        assert_eq!(links["MY_DB_PORT_5432_TCP"], "tcp://10.96.1.2:5432");
        assert!(!service_links::<Arc<Service>>(&[], "shop", false).contains_key("MY_DB_SERVICE_HOST"));
    }
}
