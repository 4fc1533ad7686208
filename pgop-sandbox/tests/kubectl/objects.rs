//! Reading, making and changing objects.

use crate::kubectl::{Kubectl, with_each};

const MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: cm, labels: {app: x}}, data: {a: '1'}}";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn objects_are_applied_edited_and_patched() {
    with_each(async |kubectl| {
        assert_eq!(kubectl.apply(MAP).await, "configmap/cm created\n");
        assert_eq!(kubectl.apply(MAP).await, "configmap/cm unchanged\n");
        assert_eq!(
            kubectl.apply(&MAP.replace("'1'", "'2'")).await,
            "configmap/cm configured\n"
        );
        differences_are_shown(&kubectl).await;
        patches_are_of_three_kinds(&kubectl).await;
        labels_and_annotations_are_set(&kubectl).await;
        an_editor_changes_an_object(&kubectl).await;
        server_side_apply_tells_conflicts(&kubectl).await;
        kubectl
            .says(&["delete", "configmap", "cm"], &["configmap \"cm\" deleted"])
            .await;
        kubectl
            .fails(
                &["get", "configmap", "cm"],
                &["Error from server (NotFound): configmaps \"cm\" not found"],
            )
            .await;
    })
    .await;
}

async fn differences_are_shown(kubectl: &Kubectl) {
    let same = kubectl
        .with_input(&["diff", "-f", "-"], &MAP.replace("'1'", "'2'"))
        .await;
    assert_eq!((same.code, same.out.as_str()), (0, ""), "{same:?}");
    let other = kubectl
        .with_input(&["diff", "-f", "-"], &MAP.replace("'1'", "'3'"))
        .await;
    assert!(
        other.code == 1 && other.out.contains("-  a: \"2\"\n+  a: \"3\"\n"),
        "{other:?}"
    );
    let dry = kubectl
        .with_input(&["apply", "--dry-run=server", "-f", "-"], &MAP.replace("'1'", "'3'"))
        .await;
    assert_eq!(dry.out, "configmap/cm configured (server dry run)\n");
    assert_eq!(kubectl.ok(&["get", "cm", "cm", "-o", "jsonpath={.data.a}"]).await, "2");
}

async fn patches_are_of_three_kinds(kubectl: &Kubectl) {
    for (kind, patch) in [
        ("strategic", r#"{"data":{"b":"2"}}"#),
        ("merge", r#"{"data":{"b":null,"c":"3"}}"#),
        ("json", r#"[{"op":"add","path":"/data/d","value":"4"}]"#),
    ] {
        let out = kubectl.ok(&["patch", "cm", "cm", "--type", kind, "-p", patch]).await;
        assert_eq!(out, "configmap/cm patched\n");
    }
    let data = kubectl.ok(&["get", "cm", "cm", "-o", "jsonpath={.data}"]).await;
    assert_eq!(data, r#"{"a":"2","c":"3","d":"4"}"#);
    let test = r#"[{"op":"test","path":"/data/d","value":"5"}]"#;
    kubectl
        .fails(
            &["patch", "cm", "cm", "--type=json", "-p", test],
            &["The request is invalid"],
        )
        .await;
    kubectl
        .fails(&["patch", "cm", "nope", "-p", "{}"], &["configmaps \"nope\" not found"])
        .await;
}

async fn labels_and_annotations_are_set(kubectl: &Kubectl) {
    kubectl.says(&["label", "cm", "cm", "x=y"], &["labeled"]).await;
    kubectl
        .fails(&["label", "cm", "cm", "x=z"], &["already has a value"])
        .await;
    kubectl.ok(&["label", "--overwrite", "cm", "cm", "x=z"]).await;
    assert_eq!(
        kubectl.ok(&["get", "cm", "-l", "x=z", "-o", "name"]).await,
        "configmap/cm\n"
    );
    kubectl.ok(&["label", "cm", "cm", "x-"]).await;
    assert_eq!(kubectl.ok(&["get", "cm", "-l", "x", "-o", "name"]).await, "");
    kubectl
        .says(&["annotate", "cm", "cm", "n=m"], &["configmap/cm annotate"])
        .await;
    assert_eq!(
        kubectl
            .ok(&["get", "cm", "cm", "-o", "jsonpath={.metadata.annotations.n}"])
            .await,
        "m"
    );
}

async fn an_editor_changes_an_object(kubectl: &Kubectl) {
    let edit = async |script: &str| {
        let mut command = kubectl.command(&["edit", "cm", "cm"]);
        let output = command
            .env("EDITOR", format!("sed -i {script}"))
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    assert_eq!(
        edit("'s/^  a: .*/  a: edited/'").await,
        (Some(0), "configmap/cm edited\n".into())
    );
    assert_eq!(
        kubectl.ok(&["get", "cm", "cm", "-o", "jsonpath={.data.a}"]).await,
        "edited"
    );
    let (code, said) = edit("'s/^  a: .*/  a: edited/'").await;
    assert!(code == Some(0) && said.contains("no changes made"), "{said}");
}

async fn server_side_apply_tells_conflicts(kubectl: &Kubectl) {
    let yaml = "{apiVersion: v1, kind: ConfigMap, metadata: {name: ssa}, data: {a: '1'}}";
    let apply = ["apply", "--server-side", "-f", "-", "--field-manager"];
    let first = kubectl.with_input(&[&apply[..], &["one"]].concat(), yaml).await;
    assert_eq!(first.out, "configmap/ssa serverside-applied\n", "{first:?}");
    let other = yaml.replace("'1'", "'2'");
    let second = kubectl.with_input(&[&apply[..], &["two"]].concat(), &other).await;
    assert!(
        second.code != 0 && second.err.contains("conflict with \"one\"") && second.err.contains(".data.a"),
        "{second:?}"
    );
    let forced = kubectl
        .with_input(&[&apply[..], &["two", "--force-conflicts"]].concat(), &other)
        .await;
    assert_eq!(forced.code, 0, "{forced:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn mistakes_are_explained() {
    with_each(async |kubectl| {
        kubectl
            .fails(&["get", "nope"], &["the server doesn't have a resource type \"nope\""])
            .await;
        kubectl
            .fails(
                &["get", "pods", "--field-selector=bad=1"],
                &["field label not supported: bad"],
            )
            .await;
        kubectl.fails(&["top", "pods"], &["Metrics API not available"]).await;
        let create = async |text: &str| {
            kubectl
                .with_input(&["create", "-f", "-", "--validate=false"], text)
                .await
        };
        let said = create("{apiVersion: v1, kind: Pod, metadata: {name: q}, spec: {containers: []}}").await;
        assert!(
            said.err
                .contains("The Pod \"q\" is invalid: spec.containers: Required value"),
            "{said:?}"
        );
        let said = create("{apiVersion: nope/v1, kind: Nope, metadata: {name: q}}").await;
        assert!(
            said.err.contains("no matches for kind \"Nope\" in version \"nope/v1\""),
            "{said:?}"
        );
        let said = kubectl
            .with_input(
                &["apply", "-f", "-"],
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: q}, dta: {}}",
            )
            .await;
        assert!(said.code != 0 && said.err.contains("unknown field \"dta\""), "{said:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn what_is_served_is_told() {
    with_each(async |kubectl| {
        kubectl
            .says(
                &["api-resources"],
                &["deployments", "deploy", "customresourcedefinitions"],
            )
            .await;
        kubectl.says(&["api-versions"], &["apps/v1\n", "batch/v1\n"]).await;
        kubectl.says(&["version"], &["v1.37.0-sandbox"]).await;
        kubectl
            .says(
                &["explain", "deployment.spec.strategy"],
                &["rollingUpdate", "Default is"],
            )
            .await;
        kubectl
            .says(
                &["explain", "pod.spec.containers", "--recursive"],
                &["livenessProbe", "terminationGracePeriodSeconds"],
            )
            .await;
        kubectl
            .says(&["cluster-info"], &["is running at", "https://127.0.0.1:"])
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn new_kinds_are_used_like_those_that_are_there() {
    with_each(async |kubectl| {
        let group = format!("{}.example.com", kubectl.namespace);
        kubectl.apply(&format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: foos.{group}}}, spec: {{group: {group}, scope: Namespaced,
              names: {{kind: Foo, plural: foos, shortNames: [fo]}}, versions: [{{name: v1, served: true, storage: true,
                additionalPrinterColumns: [{{name: Size, type: integer, jsonPath: .spec.size}}],
                schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, description: What it is.,
                  properties: {{size: {{type: integer, minimum: 1, description: How large.}}}}}}}}}}}}}}]}}}}"
        )).await;
        let definition = format!("crd/foos.{group}");
        kubectl.ok(&["wait", "--for=condition=Established", &definition, "--timeout=180s"]).await;
        let foo = |size: i32| format!("{{apiVersion: {group}/v1, kind: Foo, metadata: {{name: f}}, spec: {{size: {size}}}}}");
        assert_eq!(kubectl.apply(&foo(3)).await, format!("foo.{group}/f created\n"));
        kubectl.says(&["get", "fo"], &["NAME   SIZE", "f      3"]).await;
        // It reads the documentation of new kinds at its own pace.
        crate::kubectl::until("the new kind is explained", async || kubectl.run(&["explain", "foo.spec"]).await.out.contains("How large.")).await;
        let wrong = kubectl.with_input(&["apply", "--validate=false", "-f", "-"], &foo(0)).await;
        assert!(wrong.code != 0 && wrong.err.contains("spec.size in body should be greater than or equal to 1"), "{wrong:?}");
        kubectl.says(&["describe", "foo", "f"], &["Spec:", "Size:  3"]).await;
        kubectl.ok(&["delete", &definition]).await;
    })
    .await;
}
