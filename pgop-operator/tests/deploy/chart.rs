//! The Helm chart: `charts/pgop`. Its templates are the manifests of `pgo install`, with holes where the values go.
//!
//! A hole is a text that stands for a value (`HELM_…`) in the manifest; in the YAML of it, the line or the word that holds one is replaced by an
//! expression of Helm.

use pgop_core::{crd, install};
use pgop_operator::yaml;
use serde_json::{Value, json};

const USAGE: &str = "Generated from what `pgo install` makes: UPDATE=1 cargo test -p pgop-operator --test deploy";

/// The files that are generated, by their path in the chart.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    vec![
        ("Chart.yaml", about()),
        ("files/crds.yaml", definitions()),
        (
            "templates/crds.yaml",
            format!(
                "{{{{- /* {USAGE} */ -}}}}\n{{{{- if .Values.crds.enabled }}}}\n{{{{ .Files.Get \"files/crds.yaml\" }}}}\n{{{{- end }}}}\n"
            ),
        ),
        ("templates/operator.yaml", operator()),
        ("templates/rights.yaml", rights()),
    ]
}

fn about() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let about = json!({
        "apiVersion": "v2",
        "name": "pgop",
        "description": "The operator of pgop, which runs PostgreSQL on Kubernetes",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": ">=1.29.0-0",
        "sources": [env!("CARGO_PKG_REPOSITORY")],
    });
    format!("# {USAGE}\n{}", serde_saphyr::to_string(&about).unwrap())
}

/// The definitions as a part of the release, so that an upgrade of it upgrades them: Helm never touches again what a chart has in `crds/`.
fn definitions() -> String {
    format!("# {USAGE}\n{}", yaml::documents(&kept_definitions()).unwrap())
}

/// Removing the release keeps them: deleting a definition deletes every database.
pub(crate) fn kept_definitions() -> Vec<Value> {
    let keep = |definition| {
        let mut definition = serde_json::to_value(definition).unwrap();
        definition["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep".into();
        definition
    };
    crd::all().into_iter().map(keep).collect()
}

/// What is installed, with holes.
fn manifests(watch_namespaces: &[&str]) -> Vec<Value> {
    install::manifests(&install::Options {
        namespace: "HELM_NAMESPACE".to_owned(),
        image: "HELM_IMAGE".to_owned(),
        image_pull_policy: "HELM_PULL_POLICY".to_owned(),
        watch_namespaces: watch_namespaces.iter().map(|name| (*name).to_owned()).collect(),
        log_format: "HELM_LOG_FORMAT".to_owned(),
        strategies: ["HELM_STRATEGY".to_owned()].into(),
        // The chart has them, or somebody else installs them.
        crds: false,
        ..install::Options::default()
    })
}

fn of_kind<'a>(manifests: &'a [Value], kinds: &[&str], name: impl Fn(&str) -> bool) -> Vec<&'a Value> {
    (manifests.iter())
        .filter(|m| kinds.contains(&m["kind"].as_str().unwrap()) && name(m["metadata"]["name"].as_str().unwrap()))
        .collect()
}

fn operator() -> String {
    let manifests = manifests(&["HELM_WATCHED"]);
    let account = of_kind(&manifests, &["ServiceAccount"], |_| true)[0];
    let mut deployment = of_kind(&manifests, &["Deployment"], |_| true)[0].clone();
    // It tells a later `pgo install` what was nobody's choice; here the values say that.
    deployment["metadata"].as_object_mut().unwrap().remove("annotations");
    deployment["spec"]["replicas"] = "HELM_REPLICAS".into();
    let ours: Vec<String> = deployment["spec"]["template"]["metadata"]["labels"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let template = &mut deployment["spec"]["template"];
    // The last of the keys.
    template["metadata"]["labels"]["~"] = "HELM_POD_LABELS".into();
    let annotated: Vec<String> = template["metadata"]["annotations"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    template["metadata"]["annotations"]["~"] = "HELM_POD_ANNOTATIONS".into();
    let pod = &mut template["spec"];
    let mut lines = vec![
        ("HELM_POD_LABELS", added("podLabels", &ours)),
        ("HELM_POD_ANNOTATIONS", added("podAnnotations", &annotated)),
        (
            "HELM_RESOURCES",
            "resources:\n  {{- toYaml .Values.resources | nindent INDENT }}".to_owned(),
        ),
    ];
    for (field, hole) in [
        ("imagePullSecrets", "HELM_PULL_SECRETS"),
        ("nodeSelector", "HELM_NODE_SELECTOR"),
        ("tolerations", "HELM_TOLERATIONS"),
        ("priorityClassName", "HELM_PRIORITY"),
    ] {
        pod[field] = hole.into();
        lines.push((
            hole,
            format!(
                "{{{{- with .Values.{field} }}}}\n{field}:\n  {{{{- toYaml . | nindent INDENT }}}}\n{{{{- end }}}}"
            ),
        ));
    }
    lines.push(("HELM_VOLUMES", strategies("volumes", &pod["volumes"].take())));
    pod["volumes"] = "HELM_VOLUMES".into();
    let container = &mut pod["containers"][0];
    lines.push((
        "HELM_MOUNTS",
        strategies("volumeMounts", &container["volumeMounts"].take()),
    ));
    container["volumeMounts"] = "HELM_MOUNTS".into();
    container["resources"] = "HELM_RESOURCES".into();
    let strategies = (container["env"].as_array_mut().unwrap().iter_mut())
        .find(|variable| variable["name"] == "PGOP_STRATEGIES")
        .unwrap();
    let text = serde_saphyr::to_string(&[strategies.take()]).unwrap();
    let text = format!("{{{{- if .Values.strategies }}}}\n{}\n{{{{- end }}}}", text.trim_end());
    *strategies = "HELM_IF_STRATEGIES".into();
    lines.push(("HELM_IF_STRATEGIES", text));
    let text = yaml::documents(&[account, &deployment]).unwrap();
    format!("{{{{- /* {USAGE} */ -}}}}\n{}", fill(&text, &lines))
}

/// What people add to ours and may not replace.
fn added(value: &str, ours: &[String]) -> String {
    let ours: Vec<String> = ours.iter().map(|key| format!("{key:?}")).collect();
    format!(
        "{{{{- with omit .Values.{value} {} }}}}\n{{{{- toYaml . | nindent COLUMN }}}}\n{{{{- end }}}}",
        ours.join(" ")
    )
}

/// A list with an item for each strategy; `one` has that of the first.
fn strategies(field: &str, one: &Value) -> String {
    let item = serde_saphyr::to_string(one)
        .unwrap()
        .replace("strategy-0", "strategy-{{ $i }}");
    format!(
        "{{{{- with .Values.strategies }}}}\n{field}:\n{{{{- range $i, $name := . | uniq | sortAlpha }}}}\n{}\n{{{{- end }}}}\n{{{{- end }}}}",
        item.trim_end()
    )
}

fn rights() -> String {
    let (everywhere, named) = (manifests(&[]), manifests(&["HELM_WATCHED_ONE"]));
    let is_for_people = |name: &str| name.ends_with("-view") || name.ends_with("-edit");
    let wide = ["ClusterRole", "ClusterRoleBinding"];
    let narrow = ["Role", "RoleBinding"];
    let is_lease = |name: &str| name.ends_with("-lease");
    let part = |all: Vec<&Value>| fill(&yaml::documents(&all).unwrap(), &[]);
    format!(
        "{{{{- /* {USAGE} */ -}}}}\n{}{{{{- if .Values.aggregatedRoles }}}}\n{}{{{{- end }}}}\n{{{{- if not .Values.watchNamespaces }}}}\n{}{{{{- end }}}}\n\
         {{{{- range .Values.watchNamespaces | uniq | sortAlpha }}}}\n{}{{{{- end }}}}\n",
        part(of_kind(&everywhere, &narrow, is_lease)),
        part(of_kind(&everywhere, &wide, is_for_people)),
        part(of_kind(&everywhere, &wide, |name| !is_for_people(name))),
        part(of_kind(&named, &narrow, |name| !is_lease(name))),
    )
}

/// Puts expressions into the holes: `lines` replace the whole line, in its column, and what is there besides stands for a word.
fn fill(text: &str, lines: &[(&str, String)]) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        let column = line.len() - line.trim_start().len();
        match lines.iter().find(|(hole, _)| line.ends_with(hole)) {
            None => filled.push_str(line),
            Some((_, text)) => {
                let indented: Vec<String> = text.lines().map(|line| format!("{:column$}{line}", "")).collect();
                filled.push_str(
                    &indented
                        .join("\n")
                        .replace("COLUMN", &column.to_string())
                        .replace("INDENT", &(column + 2).to_string()),
                );
            }
        }
        filled.push('\n');
    }
    let words = [
        (
            "namespace: HELM_NAMESPACE",
            "namespace: {{ $.Release.Namespace | quote }}",
        ),
        ("namespace: HELM_WATCHED_ONE", "namespace: {{ . | quote }}"),
        ("HELM_NAMESPACE", "{{ $.Release.Namespace }}"),
        (
            "HELM_IMAGE",
            "{{ printf \"%s:%s\" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}",
        ),
        ("HELM_PULL_POLICY", "{{ .Values.image.pullPolicy }}"),
        ("HELM_REPLICAS", "{{ .Values.replicas }}"),
        ("HELM_LOG_FORMAT", "{{ .Values.logFormat }}"),
        (
            "HELM_WATCHED",
            "{{ .Values.watchNamespaces | uniq | sortAlpha | join \",\" | quote }}",
        ),
        ("name: HELM_STRATEGY", "name: {{ $name | quote }}"),
        ("HELM_STRATEGY", "{{ $name }}"),
    ];
    for (hole, expression) in words {
        filled = filled.replace(hole, expression);
    }
    assert!(!filled.contains("HELM_"), "a hole is left:\n{filled}");
    filled
}
