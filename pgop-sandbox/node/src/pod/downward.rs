//! What a pod can learn about itself: `fieldRef` and `resourceFieldRef`. Pure:
//! <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use thiserror::Error;

/// Why something can't be told.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum DownwardError {
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    #[error("unsupported container resource: {0}")]
    Resource(String),
    #[error("container {0} not found")]
    Container(String),
    #[error("invalid quantity {0:?}")]
    Quantity(String),
}

/// What is known of a pod.
#[derive(Clone, Copy)]
pub(crate) struct Downward<'a> {
    pub(crate) pod: &'a Pod,
    /// The pod's address, once it has one.
    pub(crate) address: Option<Ipv4Addr>,
    /// The node's address.
    pub(crate) host: Ipv4Addr,
    /// What the node has of a resource: the limit where none is set.
    pub(crate) allocatable: &'a BTreeMap<String, Quantity>,
}

#[cfg(test)]
impl<'a> Downward<'a> {
    pub(crate) fn fixed(pod: &'a Pod) -> Self {
        static NODE: std::sync::OnceLock<BTreeMap<String, Quantity>> = std::sync::OnceLock::new();
        let node = || {
            [("cpu", "8"), ("memory", "16Gi")]
                .map(|(k, v)| (k.to_owned(), Quantity(v.to_owned())))
                .into()
        };
        Self {
            pod,
            address: Some(Ipv4Addr::new(10, 244, 0, 5)),
            host: Ipv4Addr::new(10, 244, 0, 1),
            allocatable: NODE.get_or_init(node),
        }
    }
}

impl Downward<'_> {
    /// The value of a field.
    pub(crate) fn field(&self, path: &str) -> Result<String, DownwardError> {
        let (meta, spec) = (&self.pod.metadata, self.pod.spec.as_ref());
        if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
            let entries = match map {
                "metadata.labels" => &meta.labels,
                "metadata.annotations" => &meta.annotations,
                _ => return Err(DownwardError::Field(path.to_owned())),
            };
            return Ok(entries.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let address = || self.address.map(|ip| ip.to_string()).unwrap_or_default();
        Ok(match path {
            "metadata.name" => text(&meta.name),
            "metadata.namespace" => text(&meta.namespace),
            "metadata.uid" => text(&meta.uid),
            "metadata.labels" => lines(meta.labels.as_ref()),
            "metadata.annotations" => lines(meta.annotations.as_ref()),
            "spec.nodeName" => spec.map(|s| text(&s.node_name)).unwrap_or_default(),
            "spec.serviceAccountName" => spec
                .and_then(|s| s.service_account_name.clone())
                .unwrap_or_else(|| "default".to_owned()),
            "status.podIP" | "status.podIPs" => address(),
            "status.hostIP" | "status.hostIPs" => self.host.to_string(),
            _ => return Err(DownwardError::Field(path.to_owned())),
        })
    }

    /// The value of a resource of a container: the one that is named, else the one that asks.
    pub(crate) fn resource(
        &self,
        asker: Option<&Container>,
        selector: &ResourceFieldSelector,
    ) -> Result<String, DownwardError> {
        let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
            None => asker.ok_or_else(|| DownwardError::Container(String::new()))?,
            Some(name) => {
                let spec = self.pod.spec.as_ref();
                let mut all = spec
                    .into_iter()
                    .flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
                all.find(|c| c.name == name)
                    .ok_or_else(|| DownwardError::Container(name.to_owned()))?
            }
        };
        let unsupported = || DownwardError::Resource(selector.resource.clone());
        let (of, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
        let limits = container
            .resources
            .as_ref()
            .and_then(|r| r.limits.as_ref())
            .and_then(|l| l.get(name));
        let quantity = match of {
            "limits" => limits.or_else(|| self.allocatable.get(name)),
            "requests" => container
                .resources
                .as_ref()
                .and_then(|r| r.requests.as_ref())
                .and_then(|l| l.get(name)),
            _ => return Err(unsupported()),
        };
        let Some(quantity) = quantity else {
            return Ok("0".to_owned());
        };
        let thousandths = thousandths(&quantity.0)?;
        let divisor = match selector.divisor.as_ref().map(|d| d.0.as_str()) {
            None | Some("" | "0") => 1000,
            Some(text) => thousandths_of_divisor(text)?,
        };
        Ok(thousandths.div_ceil(divisor).to_string())
    }
}

fn thousandths_of_divisor(text: &str) -> Result<u128, DownwardError> {
    match thousandths(text)? {
        0 => Err(DownwardError::Quantity(text.to_owned())),
        value => Ok(value),
    }
}

/// A quantity in thousandths: `500m` is 500, `1Ki` 1024000.
fn thousandths(text: &str) -> Result<u128, DownwardError> {
    let bad = || DownwardError::Quantity(text.to_owned());
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let factor: u128 = match unit {
        "n" | "u" => return Ok(1),
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        exponent => {
            let power: u32 = exponent
                .strip_prefix(['e', 'E'])
                .and_then(|p| p.parse().ok())
                .ok_or_else(bad)?;
            10_u128
                .checked_pow(power)
                .and_then(|p| p.checked_mul(1000))
                .ok_or_else(bad)?
        }
    };
    let digits = |text: &str| {
        if text.is_empty() {
            Ok(0)
        } else {
            text.parse::<u128>().map_err(|_| bad())
        }
    };
    let part: String = part.chars().take(9).collect();
    let scale = 10_u128.pow(u32::try_from(part.len()).unwrap_or(0));
    let whole = digits(whole)?.checked_mul(factor).ok_or_else(bad)?;
    Ok(whole + (digits(&part)?.checked_mul(factor).ok_or_else(bad)?).div_ceil(scale))
}

/// One line an entry, `key="value"`, as the downward API writes maps.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        let _ = writeln!(text, "{key}={value:?}");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Downward, thousandths};
    use k8s_openapi::api::core::v1::{Pod, ResourceFieldSelector};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::{from_value, json};

    fn pod() -> Pod {
        from_value(json!({
            "metadata": {"name": "orders-0", "namespace": "shop", "uid": "u-1", "labels": {"app": "orders", "x/y": "z"}},
            "spec": {"nodeName": "sandbox", "containers": [
                {"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn fields_are_told() {
        let pod = pod();
        let downward = Downward::fixed(&pod);
        for (path, want) in [
            ("metadata.name", "orders-0"),
            ("metadata.labels['x/y']", "z"),
            ("metadata.annotations['none']", ""),
            ("metadata.labels", "app=\"orders\"\nx/y=\"z\""),
            ("status.podIP", "10.244.0.5"),
            ("spec.serviceAccountName", "default"),
        ] {
            assert_eq!(downward.field(path).unwrap(), want, "{path}");
        }
        assert!(downward.field("spec.containers").is_err());
    }

    #[test]
    fn resources_are_told_in_the_unit_that_is_asked_for() {
        let pod = pod();
        let downward = Downward::fixed(&pod);
        for (resource, divisor, want) in [
            ("limits.cpu", None, "2"),
            ("limits.cpu", Some("1m"), "1500"),
            ("requests.cpu", Some("1m"), "100"),
            ("limits.memory", Some("1Mi"), "64"),
            ("limits.memory", None, "67108864"),
            ("requests.memory", None, "0"),
        ] {
            let selector = ResourceFieldSelector {
                container_name: Some("main".into()),
                resource: resource.into(),
                divisor: divisor.map(|d: &str| Quantity(d.into())),
            };
            assert_eq!(
                downward.resource(None, &selector).unwrap(),
                want,
                "{resource} {divisor:?}"
            );
        }
    }

    #[test]
    fn quantities_are_read() {
        for (text, want) in [
            ("2", 2000),
            ("0.5", 500),
            ("1.5Gi", 1_610_612_736_000),
            ("1e3", 1_000_000),
            ("1k", 1_000_000),
        ] {
            assert_eq!(thousandths(text).unwrap(), want, "{text}");
        }
        assert!(thousandths("much").is_err());
    }
}
