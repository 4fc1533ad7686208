//! Reading requests: paths, queries, bodies and what the client accepts. Nothing here trusts what it reads.

mod protobuf;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::status::{ApiError, Result};

/// What all bodies may be.
const MEDIA: &str = "application/json, application/yaml";

/// The largest body, as Kubernetes has it.
pub(crate) const BODY_LIMIT: usize = 3 << 20;

/// A path of the API, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/api/v1/…` or `/apis/<group>/<version>/…` with a resource.
    Resource(ResourcePath),
    /// All others: discovery, health and the like, as their decoded segments.
    Other(Vec<String>),
}

/// Which resource and which of its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty: all namespaces, or none.
    pub(crate) namespace: String,
    pub(crate) plural: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// What follows `proxy`, as it was sent: empty, or from its slash on. It is the proxied server's to understand.
    pub(crate) rest: String,
}

impl Path {
    pub(crate) fn parse(path: &str) -> Result<Self> {
        let (path, proxied) = split_proxied(path);
        let segments = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decode)
            .collect::<Option<Vec<String>>>()
            .ok_or_else(ApiError::unknown_path)?;
        let texts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match texts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Ok(Self::Other(segments)),
        };
        let (namespace, rest) = match rest {
            // Namespaces themselves and their own subresources.
            ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            _ => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return Err(ApiError::unknown_path()),
        };
        Ok(Self::Resource(ResourcePath {
            group: group.into(),
            version: version.into(),
            namespace: namespace.into(),
            plural: plural.into(),
            name: name.into(),
            subresource: subresource.into(),
            rest: proxied.into(),
        }))
    }
}

/// The path of a `proxy` subresource, and what follows it. Other paths have nothing that follows.
fn split_proxied(path: &str) -> (&str, &str) {
    // `/api/v1/namespaces/NAMESPACE/pods/NAME/proxy`, then a slash or nothing.
    let end = path.match_indices('/').nth(7).map_or(path.len(), |(at, _)| at);
    let (head, rest) = path.split_at(end);
    let segments: Vec<&str> = head.split('/').collect();
    match segments.as_slice() {
        ["", "api", _, "namespaces", _, _, _, "proxy"] => (head, rest),
        _ => (path, ""),
    }
}

/// A segment of a path as text, unless it could lead elsewhere than it seems.
fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    let misleading =
        text == "." || text == ".." || text.contains(['/', '%', '\0']) || text.chars().any(char::is_control);
    (!misleading).then(|| text.into_owned())
}

/// What is asked of a resource, in the words of RBAC.
pub(crate) fn verb(method: &Method, path: &ResourcePath, query: &Query) -> Result<&'static str> {
    Ok(match (method, path.name.is_empty()) {
        (&Method::GET | &Method::HEAD, true) if query.flag("watch") => "watch",
        (&Method::GET | &Method::HEAD, true) => "list",
        // kubectl of old asks so for one object.
        (&Method::GET | &Method::HEAD, false) if path.subresource.is_empty() && query.flag("watch") => "watch",
        (&Method::GET | &Method::HEAD, false) => "get",
        (&Method::POST, true) => "create",
        (&Method::POST, false) if !path.subresource.is_empty() => "create",
        (&Method::PUT, false) => "update",
        (&Method::PATCH, false) => "patch",
        (&Method::DELETE, true) => "deletecollection",
        (&Method::DELETE, false) if path.subresource.is_empty() || path.subresource == "proxy" => "delete",
        // RBAC has no word for it; only who may do anything may do this.
        (&Method::OPTIONS, false) if path.subresource == "proxy" => "",
        _ => return Err(ApiError::method_not_allowed()),
    })
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        Self(
            parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// A parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is on: named alone, or not said to be off.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| !matches!(value.as_str(), "0" | "false" | "False"))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| ApiError::bad_request(format!("invalid {name}: {text:?}")))
        };
        self.get(name).map(parse).transpose()
    }
}

/// Reads a whole body.
pub(crate) async fn read_body<B>(body: B) -> Result<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// The media type of the body, without its parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// The object in a body, JSON or YAML.
pub(crate) fn parse_body(headers: &HeaderMap, body: &[u8]) -> Result<Value> {
    match content_type(headers) {
        "" | "application/json" | "*/*" => parse_json(body),
        protobuf::MEDIA => protobuf::decode(body).ok_or_else(|| ApiError::unsupported_media(MEDIA)),
        "application/yaml" => parse_yaml(body),
        _ => Err(ApiError::unsupported_media(MEDIA)),
    }
}

pub(crate) fn parse_json(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized: couldn't parse JSON: {error}"
        ))
    })
}

pub(crate) fn parse_yaml(body: &[u8]) -> Result<Value> {
    serde_saphyr::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized: error converting YAML to JSON: {error}"
        ))
    })
}

/// In what form the client wants an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    #[default]
    Whole,
    /// Rows and columns for people.
    Table,
    /// Only the metadata.
    Metadata,
    /// Discovery of all groups in one answer.
    Discovery,
}

/// What the client accepts, as far as it is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) form: Form,
    pub(crate) yaml: bool,
}

impl Accept {
    /// The first of the accepted forms that can be answered.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self> {
        let mut ranges = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .peekable();
        if ranges.peek().is_none() {
            return Ok(Self::default());
        }
        let mut accepted = ranges.filter_map(|range| Self::parse_range(range.trim()));
        accepted.next().ok_or_else(|| ApiError::not_acceptable(MEDIA))
    }

    fn parse_range(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let yaml = match parts.next()? {
            "" | "*/*" | "application/*" | "application/json" => false,
            "application/yaml" => true,
            _ => return None,
        };
        let parameter = |name: &str| {
            range
                .split(';')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let form = match (parameter("as"), parameter("g"), parameter("v")) {
            (None, ..) => Form::Whole,
            (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Form::Table,
            (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
                Form::Metadata
            }
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => Form::Discovery,
            _ => return None,
        };
        Some(Self { form, yaml })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::{Accept, Form, Path, Query, ResourcePath};

    fn resource(path: &str) -> ResourcePath {
        match Path::parse(path).unwrap() {
            Path::Resource(resource) => resource,
            Path::Other(other) => panic!("{other:?}"),
        }
    }

    fn told(path: &str) -> String {
        let p = resource(path);
        format!(
            "{}|{}|{}|{}|{}|{}",
            p.group, p.version, p.namespace, p.plural, p.name, p.subresource
        )
    }

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(told("/api/v1/pods"), "|v1||pods||");
        assert_eq!(told("/api/v1/namespaces"), "|v1||namespaces||");
        assert_eq!(told("/api/v1/namespaces/a"), "|v1||namespaces|a|");
        assert_eq!(told("/api/v1/namespaces/a/finalize"), "|v1||namespaces|a|finalize");
        assert_eq!(told("/api/v1/namespaces/a/pods/b/log"), "|v1|a|pods|b|log");
        assert_eq!(
            told("/apis/apps/v1/namespaces/a/deployments/b/scale"),
            "apps|v1|a|deployments|b|scale"
        );
        assert_eq!(told("/apis/x.io/v1/things/b"), "x.io|v1||things|b|");
        assert_eq!(told("/api/v1/nodes/a%20b"), "|v1||nodes|a b|");
        for rest in ["", "/", "/a/../%2f//b/"] {
            let path = format!("/api/v1/namespaces/a/pods/https:b:8080/proxy{rest}");
            assert_eq!(told(&path), "|v1|a|pods|https:b:8080|proxy");
            assert_eq!(resource(&path).rest, rest);
        }
        assert_eq!(
            Path::parse("/apis/apps/v1").unwrap(),
            Path::Other(vec!["apis".into(), "apps".into(), "v1".into()])
        );
    }

    #[test]
    fn misleading_paths_are_not_found() {
        for path in [
            "/api/v1/namespaces/../secrets",
            "/api/v1/namespaces/%2e%2e/secrets",
            "/api/v1/namespaces/a%2fb/pods",
            "/api/v1/pods/a%00",
            "/api/v1/pods/%ff",
            "/api/v1/namespaces/a/pods/b/log/x",
            "/api/v1/pods/%252e",
        ] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }

    fn accept(text: &str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert("accept", text.parse().unwrap());
        Accept::parse(&headers).ok().map(|accept| accept.form)
    }

    #[test]
    fn the_first_form_that_can_be_served_is_chosen() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(accept(kubectl), Some(Form::Table));
        assert_eq!(
            accept("application/vnd.kubernetes.protobuf,application/json"),
            Some(Form::Whole)
        );
        assert_eq!(
            accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Some(Form::Metadata)
        );
        assert_eq!(accept("application/json;as=Unknown;g=x;v=v1, */*"), Some(Form::Whole));
        assert_eq!(accept("application/vnd.kubernetes.protobuf"), None);
        assert_eq!(accept("text/html"), None);
    }

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some(
            "labelSelector=app%20in%20%28a%2Cb%29&watch=1&limit=&x&command=a&command=b+c",
        ));
        assert_eq!(query.get("labelSelector"), Some("app in (a,b)"));
        assert!(query.flag("watch") && query.flag("x") && !query.flag("y"));
        assert_eq!(query.get("limit"), None);
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["a", "b c"]);
        assert!(Query::parse(Some("limit=x")).number::<u64>("limit").is_err());
    }

    proptest! {
        #[test]
        fn nothing_read_makes_it_panic(path in "/?(apis?|x)(/[ -~]{0,12}|/%[0-9a-f]{2}|/namespaces){0,6}", query in "\\PC{0,60}", header in "[ -~]{0,60}") {
            if let Ok(Path::Resource(resource)) = Path::parse(&path) {
                prop_assert!(![resource.namespace.as_str(), &resource.name, &resource.plural].contains(&".."));
                prop_assert!(!resource.name.contains('/'));
            }
            let query = Query::parse(Some(&query));
            let _ = query.number::<u64>("limit");
            let _ = accept(&header);
        }
    }
}
