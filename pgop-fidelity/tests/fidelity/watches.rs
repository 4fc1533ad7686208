//! Watches. <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use http::{Method, header};
use pgop_fidelity::{Next, Patch, Space, Subject, config_map, service, version, with};
use serde_json::json;
use std::time::{Duration, Instant};

pub(crate) fn subject() -> Subject {
    Subject::new("watches")
        .holds(a_watch_tells_creation_change_and_deletion_in_order)
        .holds(a_watch_resumes_after_the_version_it_is_given)
        .holds(a_watch_without_a_version_starts_with_what_is_there)
        .holds(a_watch_from_version_zero_starts_with_what_is_there)
        .holds(a_deletion_carries_the_last_state_and_a_new_version)
        .holds(an_object_that_starts_to_fit_the_selector_is_added)
        .holds(an_object_that_ceases_to_fit_the_selector_is_deleted)
        .holds(a_watch_by_field_sees_one_object)
        .holds(a_watch_over_all_namespaces_sees_this_one)
        .holds(a_watch_in_a_namespace_sees_nothing_of_others)
        .holds(a_watch_ends_after_its_timeout)
        .holds(a_version_that_is_long_gone_is_expired)
        .holds(bookmarks_come_to_those_who_allow_them)
        .holds(a_write_that_changes_nothing_is_no_event)
        .holds(events_have_the_version_of_the_write)
        .holds(a_hundred_quick_writes_all_arrive_in_order)
        .holds(a_watch_of_metadata_has_no_data)
        .holds(a_status_write_is_an_event)
        .since(
            32,
            "streaming lists are beta and on",
            initial_events_end_with_a_marked_bookmark,
        )
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
async fn a_watch_tells_creation_change_and_deletion_in_order(s: Space) {
    let mut watch = s.watch_from_now("services").await;
    s.post("services", &service("a")).await.ok();
    s.patch(Patch::Merge, "services/a", &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .ok();
    s.delete("services/a").await.ok();
    let added = watch.expect("ADDED", "a").await;
    assert_eq!(
        (&added["kind"], &added["apiVersion"]),
        (&json!("Service"), &json!("v1"))
    );
    assert_eq!(watch.expect("MODIFIED", "a").await["metadata"]["labels"]["a"], "b");
    watch.expect("DELETED", "a").await;
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch>
async fn a_watch_resumes_after_the_version_it_is_given(s: Space) {
    let first = s.post("services", &service("a")).await.ok();
    s.post("services", &service("b")).await.ok();
    s.delete("services/a").await.ok();
    let mut watch = s
        .watch("services", &[&format!("resourceVersion={}", version(&first))])
        .await;
    watch.expect("ADDED", "b").await;
    watch.expect("DELETED", "a").await;
    watch.silence().await;
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch>
async fn a_watch_without_a_version_starts_with_what_is_there(s: Space) {
    s.post("services", &service("a")).await.ok();
    let mut watch = s.watch("services", &[]).await;
    watch.expect("ADDED", "a").await;
    s.post("services", &service("b")).await.ok();
    watch.expect("ADDED", "b").await;
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch>
async fn a_watch_from_version_zero_starts_with_what_is_there(s: Space) {
    s.post("services", &service("a")).await.ok();
    s.until("memory has it", "services?resourceVersion=0", |l| {
        l["items"][0].is_object()
    })
    .await;
    let mut watch = s.watch("services", &["resourceVersion=0"]).await;
    watch.expect("ADDED", "a").await;
    watch.silence().await;
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
async fn a_deletion_carries_the_last_state_and_a_new_version(s: Space) {
    let mut watch = s.watch_from_now("services").await;
    let created = s
        .post(
            "services",
            &with(service("a"), json!({"metadata": {"labels": {"last": "state"}}})),
        )
        .await
        .ok();
    s.delete("services/a").await.ok();
    watch.expect("ADDED", "a").await;
    let deleted = watch.expect("DELETED", "a").await;
    assert_eq!(deleted["metadata"]["labels"]["last"], "state");
    let (before, after): (u64, u64) = (version(&created).parse().unwrap(), version(&deleted).parse().unwrap());
    assert!(after > before, "{after} after {before}");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
async fn an_object_that_starts_to_fit_the_selector_is_added(s: Space) {
    s.post("services", &service("a")).await.ok();
    let now = version(&s.get("services").await.ok());
    let mut watch = s
        .watch(
            "services",
            &["labelSelector=on%3Dyes", &format!("resourceVersion={now}")],
        )
        .await;
    watch.silence().await;
    s.patch(
        Patch::Merge,
        "services/a",
        &json!({"metadata": {"labels": {"on": "yes"}}}),
    )
    .await
    .ok();
    watch.expect("ADDED", "a").await;
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
async fn an_object_that_ceases_to_fit_the_selector_is_deleted(s: Space) {
    let fits = with(
        service("a"),
        json!({"metadata": {"labels": {"on": "yes", "more": "x"}}}),
    );
    let created = s.post("services", &fits).await.ok();
    let mut watch = s
        .watch(
            "services",
            &[
                "labelSelector=on%3Dyes",
                &format!("resourceVersion={}", version(&created)),
            ],
        )
        .await;
    let changed = s
        .patch(
            Patch::Merge,
            "services/a",
            &json!({"metadata": {"labels": {"on": "no", "more": null}}}),
        )
        .await
        .ok();
    let deleted = watch.expect("DELETED", "a").await;
    assert_eq!(
        deleted["metadata"]["labels"],
        json!({"on": "yes", "more": "x"}),
        "the state that last fitted"
    );
    assert_eq!(version(&deleted), version(&changed), "with the version of the change");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>
async fn a_watch_by_field_sees_one_object(s: Space) {
    let now = version(&s.get("services").await.ok());
    let mut watch = s
        .watch(
            "services",
            &["fieldSelector=metadata.name%3Db", &format!("resourceVersion={now}")],
        )
        .await;
    s.post("services", &service("a")).await.ok();
    s.post("services", &service("b")).await.ok();
    watch.expect("ADDED", "b").await;
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn a_watch_over_all_namespaces_sees_this_one(s: Space) {
    let selector = format!("labelSelector=space%3D{}", s.name());
    let mut watch = s.watch("/api/v1/services", &[&selector]).await;
    s.post(
        "services",
        &with(service("a"), json!({"metadata": {"labels": {"space": s.name()}}})),
    )
    .await
    .ok();
    assert_eq!(watch.expect("ADDED", "a").await["metadata"]["namespace"], s.name());
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn a_watch_in_a_namespace_sees_nothing_of_others(s: Space) {
    let other = format!("{}-b", s.name());
    s.also_delete(&format!("/api/v1/namespaces/{other}"));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}});
    s.post("/api/v1/namespaces", &namespace).await.ok();
    let mut watch = s.watch_from_now("services").await;
    s.post(&format!("/api/v1/namespaces/{other}/services"), &service("there"))
        .await
        .ok();
    s.post("services", &service("here")).await.ok();
    watch.expect("ADDED", "here").await;
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-parameters/common-parameters/#timeoutSeconds>
async fn a_watch_ends_after_its_timeout(s: Space) {
    let start = Instant::now();
    let mut watch = s.watch("services", &["timeoutSeconds=2"]).await;
    assert!(watch.rest(Duration::from_secs(15)).await.is_empty());
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
}

/// Of a kind that came long after that version: a server that was just made may know all that ever happened to the others.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses>
async fn a_version_that_is_long_gone_is_expired(s: Space) {
    s.widgets().await;
    let reply = s
        .ask(Method::GET, "widgets?watch=true&resourceVersion=1&timeoutSeconds=2")
        .send()
        .await;
    let status = if reply.status == 200 {
        let event: serde_json::Value = serde_json::from_str(reply.text.lines().next().expect("an event")).unwrap();
        assert_eq!(event["type"], "ERROR", "{event}");
        event["object"].clone()
    } else {
        reply.json
    };
    assert_eq!(
        (&status["kind"], &status["code"], &status["reason"]),
        (&json!("Status"), &json!(410), &json!("Expired")),
        "{status}"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>
async fn bookmarks_come_to_those_who_allow_them(s: Space) {
    s.post("services", &service("a")).await.ok();
    let now = version(&s.get("services").await.ok());
    let from = format!("resourceVersion={now}");
    let mut watch = s
        .watch("services", &["allowWatchBookmarks=true", "timeoutSeconds=4", &from])
        .await;
    let events = watch.rest(Duration::from_secs(20)).await;
    assert!(events.iter().all(|e| e.kind == "BOOKMARK"), "{events:?}");
    let bookmark = &events.last().expect("one just before the end at the latest").object;
    assert_eq!(bookmark["kind"], "Service");
    assert!(
        version(bookmark).parse::<u64>().unwrap() >= now.parse().unwrap(),
        "{bookmark}"
    );
    assert!(
        bookmark["metadata"]["name"].is_null(),
        "a bookmark is about no object: {bookmark}"
    );
    let mut without = s.watch("services", &["timeoutSeconds=3", &from]).await;
    assert!(without.rest(Duration::from_secs(20)).await.is_empty());
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn a_write_that_changes_nothing_is_no_event(s: Space) {
    let created = s.post("services", &service("a")).await.ok();
    let mut watch = s.watch_from_now("services").await;
    s.put("services/a", &created).await.ok();
    s.patch(Patch::Merge, "services/a", &json!({"metadata": {"name": "a"}}))
        .await
        .ok();
    watch.silence().await;
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn events_have_the_version_of_the_write(s: Space) {
    let mut watch = s.watch_from_now("services").await;
    let created = s.post("services", &service("a")).await.ok();
    let patched = s
        .patch(Patch::Merge, "services/a", &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .ok();
    assert_eq!(watch.expect("ADDED", "a").await, created);
    assert_eq!(watch.expect("MODIFIED", "a").await, patched);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
async fn a_hundred_quick_writes_all_arrive_in_order(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let now = version(&s.get("configmaps").await.ok());
    let mut watch = s
        .watch(
            "configmaps",
            &["fieldSelector=metadata.name%3Da", &format!("resourceVersion={now}")],
        )
        .await;
    for i in 0..100 {
        s.patch(Patch::Merge, "configmaps/a", &json!({"data": {"key": i.to_string()}}))
            .await
            .ok();
    }
    let mut last = 0;
    for i in 0..100 {
        let object = watch.expect("MODIFIED", "a").await;
        assert_eq!(object["data"]["key"], i.to_string());
        let version: u64 = version(&object).parse().unwrap();
        assert!(version > last);
        last = version;
    }
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>
async fn a_watch_of_metadata_has_no_data(s: Space) {
    s.post("services", &service("a")).await.ok();
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let mut watch = s
        .ask(Method::GET, "services?watch=true")
        .header(header::ACCEPT, accept)
        .watch()
        .await;
    let added = watch.expect("ADDED", "a").await;
    assert_eq!(added["kind"], "PartialObjectMetadata");
    assert!(added["spec"].is_null());
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/#object-spec-and-status>
async fn a_status_write_is_an_event(s: Space) {
    s.create_pod(&with(
        pgop_fidelity::pod("a", "true"),
        json!({"spec": {"schedulerName": "nobody"}}),
    ))
    .await;
    let mut watch = s.watch_from_now("pods").await;
    s.patch(Patch::Merge, "pods/a/status", &json!({"status": {"message": "hello"}}))
        .await
        .ok();
    assert_eq!(watch.expect("MODIFIED", "a").await["status"]["message"], "hello");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>
async fn initial_events_end_with_a_marked_bookmark(s: Space) {
    s.post("services", &service("a")).await.ok();
    let parameters = [
        "sendInitialEvents=true",
        "allowWatchBookmarks=true",
        "resourceVersionMatch=NotOlderThan",
        "resourceVersion=",
    ];
    let mut watch = s.watch("services", &parameters).await;
    watch.expect("ADDED", "a").await;
    match watch.within(Duration::from_secs(10)).await {
        Next::Event(event) => {
            assert_eq!(event.kind, "BOOKMARK", "{event:?}");
            assert_eq!(
                event.object["metadata"]["annotations"]["k8s.io/initial-events-end"],
                "true"
            );
        }
        other => panic!("expected the bookmark, got {other:?}"),
    }
}
