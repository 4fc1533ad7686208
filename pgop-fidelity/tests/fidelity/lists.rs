//! Lists. <https://kubernetes.io/docs/reference/using-api/api-concepts/>

use http::{Method, header};
use pgop_fidelity::{Patch, Space, Subject, config_map, names, service, version, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("lists")
        .holds(an_empty_list_is_a_list_with_a_version)
        .holds(items_of_a_list_do_not_repeat_their_kind)
        .holds(a_list_over_all_namespaces_contains_each)
        .holds(a_list_in_an_unknown_namespace_is_empty)
        .holds(a_limited_list_comes_in_pages_that_make_the_whole)
        .holds(pages_show_the_state_of_the_first_page)
        .holds(a_limit_that_is_not_reached_leaves_no_continue)
        .holds(label_selectors_of_every_form_select)
        .holds(a_field_selector_selects_by_name)
        .holds(a_field_selector_can_negate_and_combine)
        .holds(pods_are_selected_by_their_node_and_phase)
        .holds(events_are_selected_by_their_object)
        .holds(a_list_at_version_zero_may_be_served_from_memory)
        .holds(a_list_not_older_than_a_version_shows_that_write)
        .holds(a_list_at_an_exact_version_shows_the_past)
        .holds(a_list_from_the_future_times_out)
        .holds(metadata_alone_can_be_asked_for)
        .holds(a_table_has_columns_and_cells_for_each_row)
        .holds(a_table_of_pods_has_kubectls_columns)
        .holds(an_unknown_representation_is_not_acceptable)
        .holds(items_are_ordered_by_name)
        .holds(an_exact_get_answers_with_the_object)
}

async fn three(s: &Space) {
    for (name, labels) in [
        ("a", json!({"tier": "x", "env": "dev"})),
        ("b", json!({"tier": "y", "env": "prod"})),
        ("c", json!({"env": "dev"})),
    ] {
        s.post(
            "configmaps",
            &with(config_map(name), json!({"metadata": {"labels": labels}})),
        )
        .await
        .ok();
    }
}

/// Names of what a query finds, without the namespace's own `kube-root-ca.crt`.
async fn found(s: &Space, query: &str) -> Vec<String> {
    let mut found = names(&s.get(&format!("configmaps?{query}")).await.ok());
    found.retain(|n| n != "kube-root-ca.crt");
    found
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#collections>
async fn an_empty_list_is_a_list_with_a_version(s: Space) {
    let list = s.get("services").await.is(200);
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ServiceList"), &json!("v1"))
    );
    assert_eq!(list["items"], json!([]));
    assert!(version(&list).parse::<u64>().unwrap() > 0);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#collections>
async fn items_of_a_list_do_not_repeat_their_kind(s: Space) {
    s.post("services", &service("a")).await.ok();
    let list = s.get("services").await.ok();
    assert!(
        list["items"][0]["kind"].is_null() && list["items"][0]["apiVersion"].is_null(),
        "{list}"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn a_list_over_all_namespaces_contains_each(s: Space) {
    s.post(
        "configmaps",
        &with(config_map("a"), json!({"metadata": {"labels": {"space": s.name()}}})),
    )
    .await
    .ok();
    let list = s
        .get(&format!("/api/v1/configmaps?labelSelector=space%3D{}", s.name()))
        .await
        .ok();
    assert_eq!(list["items"][0]["metadata"]["namespace"], s.name());
    assert_eq!(names(&list), ["a"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn a_list_in_an_unknown_namespace_is_empty(s: Space) {
    assert_eq!(
        s.get("/api/v1/namespaces/nope/configmaps").await.is(200)["items"],
        json!([])
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>
async fn a_limited_list_comes_in_pages_that_make_the_whole(s: Space) {
    for i in 0..7 {
        s.post("services", &service(&format!("s{i}"))).await.ok();
    }
    let (mut all, mut next, mut versions) = (Vec::new(), String::new(), Vec::new());
    for left in [Some(4), Some(1), None] {
        let page = s.get(&format!("services?limit=3&continue={next}")).await.ok();
        all.extend(names(&page));
        versions.push(version(&page));
        assert_eq!(page["metadata"]["remainingItemCount"].as_u64(), left, "{page}");
        page["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut next);
        assert_eq!(next.is_empty(), left.is_none(), "{page}");
    }
    assert_eq!(all, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
    assert!(
        versions.iter().all(|v| *v == versions[0]),
        "every page has the first one's version: {versions:?}"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>
async fn pages_show_the_state_of_the_first_page(s: Space) {
    for name in ["a", "b", "d"] {
        s.post("services", &service(name)).await.ok();
    }
    let page = s.get("services?limit=1").await.ok();
    s.post("services", &service("c")).await.ok();
    s.delete("services/d").await.ok();
    let next = page["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        names(&s.get(&format!("services?limit=5&continue={next}")).await.ok()),
        ["b", "d"]
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>
async fn a_limit_that_is_not_reached_leaves_no_continue(s: Space) {
    s.post("services", &service("a")).await.ok();
    let page = s.get("services?limit=1").await.ok();
    assert!(
        page["metadata"]["continue"].is_null() && page["metadata"]["remainingItemCount"].is_null(),
        "{page}"
    );
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
async fn label_selectors_of_every_form_select(s: Space) {
    three(&s).await;
    for (selector, expected) in [
        ("tier=x", vec!["a"]),
        ("tier==x", vec!["a"]),
        ("tier!=x", vec!["b", "c"]),
        ("tier", vec!["a", "b"]),
        ("!tier", vec!["c"]),
        ("tier in (x,y)", vec!["a", "b"]),
        ("tier notin (x)", vec!["b", "c"]),
        ("env=dev,tier=x", vec!["a"]),
        ("env=dev,!tier", vec!["c"]),
        ("env in (dev),tier notin (x)", vec!["c"]),
        ("tier=", vec![]),
        (" tier = x ", vec!["a"]),
    ] {
        let encoded = selector.replace(' ', "%20").replace('=', "%3D").replace('!', "%21");
        assert_eq!(
            found(&s, &format!("labelSelector={encoded}")).await,
            expected,
            "{selector}"
        );
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>
async fn a_field_selector_selects_by_name(s: Space) {
    three(&s).await;
    assert_eq!(found(&s, "fieldSelector=metadata.name%3Db").await, ["b"]);
    assert_eq!(
        found(&s, &format!("fieldSelector=metadata.namespace%3D{}", s.name())).await,
        ["a", "b", "c"]
    );
    assert!(found(&s, "fieldSelector=metadata.namespace%3Dother").await.is_empty());
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#supported-operators>
async fn a_field_selector_can_negate_and_combine(s: Space) {
    three(&s).await;
    assert_eq!(
        found(&s, "fieldSelector=metadata.name!%3Da,metadata.name!%3Dc").await,
        ["b"]
    );
    assert_eq!(
        found(&s, "fieldSelector=metadata.name!%3Da&labelSelector=env%3Ddev").await,
        ["c"]
    );
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#list-of-supported-fields>
async fn pods_are_selected_by_their_node_and_phase(s: Space) {
    s.create_pod(&with(
        pgop_fidelity::pod("a", "true"),
        json!({"spec": {"schedulerName": "nobody"}}),
    ))
    .await;
    for (selector, count) in [
        ("status.phase%3DPending", 1),
        ("status.phase%3DRunning", 0),
        ("spec.nodeName%3D", 1),
        ("spec.nodeName%3Dx", 0),
        ("spec.restartPolicy%3DNever", 1),
    ] {
        let list = s.get(&format!("pods?fieldSelector={selector}")).await.ok();
        assert_eq!(names(&list).len(), count, "{selector}");
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#list-of-supported-fields>
async fn events_are_selected_by_their_object(s: Space) {
    for (name, object) in [("one", "a"), ("two", "b")] {
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": "Normal", "reason": "Said",
            "involvedObject": {"kind": "ConfigMap", "name": object, "namespace": s.name()}});
        s.post("events", &event).await.is(201);
    }
    let list = s
        .get("events?fieldSelector=involvedObject.name%3Da,reason%3DSaid")
        .await
        .ok();
    assert_eq!(names(&list), ["one"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
async fn a_list_at_version_zero_may_be_served_from_memory(s: Space) {
    three(&s).await;
    let list = s
        .until("memory has caught up", "configmaps?resourceVersion=0", |l| {
            names(l).iter().any(|n| n == "c")
        })
        .await;
    assert!(version(&list).parse::<u64>().unwrap() > 0);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
async fn a_list_not_older_than_a_version_shows_that_write(s: Space) {
    let written = s.post("configmaps", &config_map("a")).await.ok();
    let list = s
        .get(&format!("configmaps?resourceVersion={}", version(&written)))
        .await
        .ok();
    assert!(names(&list).contains(&"a".to_owned()), "{list}");
    assert!(version(&list).parse::<u64>().unwrap() >= version(&written).parse().unwrap());
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
async fn a_list_at_an_exact_version_shows_the_past(s: Space) {
    let first = s.post("services", &service("a")).await.ok();
    s.post("services", &service("b")).await.ok();
    let query = format!(
        "services?limit=10&resourceVersionMatch=Exact&resourceVersion={}",
        version(&first)
    );
    let list = s.get(&query).await.ok();
    assert_eq!(names(&list), ["a"]);
    assert_eq!(version(&list), version(&first));
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#unavailable-resource-versions>
async fn a_list_from_the_future_times_out(s: Space) {
    let status = s
        .get("configmaps?resourceVersion=999999999999")
        .await
        .fails(504, "Timeout");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("Too large resource version"),
        "{status}"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>
async fn metadata_alone_can_be_asked_for(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = s
        .ask(Method::GET, "configmaps?fieldSelector=metadata.name%3Da")
        .header(header::ACCEPT, accept)
        .send()
        .await
        .ok();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert!(list["items"][0]["data"].is_null());
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let one = s
        .ask(Method::GET, "configmaps/a")
        .header(header::ACCEPT, accept)
        .send()
        .await
        .ok();
    assert_eq!(one["kind"], "PartialObjectMetadata");
}

async fn table(s: &Space, path: &str) -> Value {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = s
        .ask(Method::GET, path)
        .header(header::ACCEPT, accept)
        .send()
        .await
        .ok();
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    table
}

fn columns(table: &Value) -> Vec<&str> {
    table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect()
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>
async fn a_table_has_columns_and_cells_for_each_row(s: Space) {
    three(&s).await;
    let table = table(&s, "configmaps?labelSelector=env").await;
    assert_eq!(columns(&table), ["Name", "Data", "Age"]);
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["cells"][0], "a");
    assert_eq!(rows[0]["cells"][1], 1);
    assert_eq!(rows[0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(rows[0]["object"]["metadata"]["name"], "a");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>
async fn a_table_of_pods_has_kubectls_columns(s: Space) {
    s.create_pod(&with(
        pgop_fidelity::pod("a", "true"),
        json!({"spec": {"schedulerName": "nobody"}}),
    ))
    .await;
    let table = table(&s, "pods").await;
    assert_eq!(
        columns(&table),
        [
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "IP",
            "Node",
            "Nominated Node",
            "Readiness Gates"
        ]
    );
    let cells = &table["rows"][0]["cells"];
    assert_eq!(
        (&cells[0], &cells[1], &cells[2]),
        (&json!("a"), &json!("0/1"), &json!("Pending"))
    );
    let priorities: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["priority"].as_u64())
        .collect();
    assert_eq!(
        priorities,
        [
            Some(0),
            Some(0),
            Some(0),
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(1),
            Some(1)
        ]
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>
async fn an_unknown_representation_is_not_acceptable(s: Space) {
    s.ask(Method::GET, "configmaps")
        .header(header::ACCEPT, "application/gizmo")
        .send()
        .await
        .fails(406, "NotAcceptable");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#collections>
async fn items_are_ordered_by_name(s: Space) {
    for name in ["c", "a", "b", "a-b", "a1"] {
        s.post("services", &service(name)).await.ok();
    }
    let list = s.get("services").await.ok();
    let order: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(order, ["a", "a-b", "a1", "b", "c"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
async fn an_exact_get_answers_with_the_object(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let newer = s
        .patch(Patch::Merge, "configmaps/a", &json!({"data": {"key": "new"}}))
        .await
        .ok();
    let got = s
        .get(&format!("configmaps/a?resourceVersion={}", version(&newer)))
        .await
        .ok();
    assert_eq!(got, newer);
}
