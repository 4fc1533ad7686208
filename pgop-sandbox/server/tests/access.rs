//! Who may do what.
#![allow(clippy::unwrap_used)] // a test that can't go on has failed

mod client;

use client::{Api, MAPS, map};
use http::StatusCode;
use pgop_sandbox_server::{Config, Identity, Server, Storage};
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

fn user(name: &str, groups: &[&str]) -> Identity {
    let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
    groups.push("system:authenticated".into());
    Identity {
        username: name.into(),
        uid: String::new(),
        groups,
        extra: std::collections::BTreeMap::new(),
    }
}

/// Binds a cluster role to a user, in a namespace or everywhere.
async fn bind(admin: &Api, role: &str, name: &str, namespace: Option<&str>) {
    let (path, kind) = match namespace {
        Some(namespace) => (format!("{RBAC}/namespaces/{namespace}/rolebindings"), "RoleBinding"),
        None => (format!("{RBAC}/clusterrolebindings"), "ClusterRoleBinding"),
    };
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": format!("{role}-{name}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    });
    let (code, told) = admin.post(&path, binding).await;
    assert_eq!(code, StatusCode::CREATED, "{told}");
}

fn role(name: &str, rules: &Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
}

#[tokio::test]
async fn the_roles_for_people_are_what_they_are_named() {
    let admin = Api::new();
    for (name, role) in [("ann", "admin"), ("eve", "edit"), ("vic", "view")] {
        bind(&admin, role, name, Some("default")).await;
    }
    admin.post(MAPS, map("a")).await;
    let by = |name: &str| Api(admin.0.clone(), Some(user(name, &[])));
    let (ann, eve, vic) = (by("ann"), by("eve"), by("vic"));
    for reader in [&ann, &eve, &vic] {
        assert_eq!(reader.get(MAPS, "*/*").await.0, StatusCode::OK);
    }
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(vic.get(secrets, "*/*").await.0, StatusCode::FORBIDDEN);
    assert_eq!(vic.post(MAPS, map("b")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(eve.get(secrets, "*/*").await.0, StatusCode::OK);
    assert_eq!(eve.post(MAPS, map("b")).await.0, StatusCode::CREATED);
    let roles = format!("{RBAC}/namespaces/default/roles");
    assert_eq!(eve.get(&roles, "*/*").await.0, StatusCode::FORBIDDEN);
    assert_eq!(ann.get(&roles, "*/*").await.0, StatusCode::OK);
    assert_eq!(ann.get("/api/v1/nodes", "*/*").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_part_that_is_added_comes_to_the_role_and_goes_with_it() {
    let admin = Api::new();
    bind(&admin, "admin", "ann", Some("default")).await;
    let ann = Api(admin.0.clone(), Some(user("ann", &[])));
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    assert_eq!(ann.get(events, "*/*").await.0, StatusCode::FORBIDDEN);
    let mut part = role(
        "part",
        &json!([{"verbs": ["list"], "apiGroups": ["events.k8s.io"], "resources": ["events"]}]),
    );
    part["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    admin.post(&format!("{RBAC}/clusterroles"), part).await;
    // By way of view and edit.
    assert_eq!(ann.get(events, "*/*").await.0, StatusCode::OK);
    admin.call("DELETE", &format!("{RBAC}/clusterroles/part"), "", "").await;
    assert_eq!(ann.get(events, "*/*").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let admin = Api::new();
    bind(&admin, "admin", "ann", Some("default")).await;
    let ann = Api(admin.0.clone(), Some(user("ann", &[])));
    let roles = format!("{RBAC}/namespaces/default/roles");
    let own = |verbs: &[&str]| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "own"},
            "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["secrets"]}]})
    };
    assert_eq!(ann.post(&roles, own(&["get"])).await.0, StatusCode::CREATED);
    let more = own(&["get", "*"]).to_string();
    let widen = async || {
        ann.call("PUT", &format!("{roles}/own"), "application/json", &more)
            .await
    };
    let (code, refused) = widen().await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        refused["message"],
        "roles.rbac.authorization.k8s.io \"own\" is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is attempting to \
         grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"*\"]}"
    );
    let binding = |kind: &str, name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "default"}]})
    };
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(
        ann.post(&bindings, binding("ClusterRole", "cluster-admin")).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        ann.post(&bindings, binding("Role", "missing")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(ann.post(&bindings, binding("Role", "own")).await.0, StatusCode::CREATED);

    // Who may `escalate` or `bind` may.
    let free = json!([{"verbs": ["escalate", "bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "clusterroles"]}]);
    admin.post(&format!("{RBAC}/clusterroles"), role("free", &free)).await;
    bind(&admin, "free", "ann", Some("default")).await;
    let (code, _) = widen().await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        ann.post(&bindings, binding("ClusterRole", "cluster-admin")).await.0,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn questions_about_rights_are_answered() {
    let admin = Api::new();
    bind(&admin, "view", "vic", Some("default")).await;
    let vic = Api(admin.0.clone(), Some(user("vic", &[])));
    let may = async |api: &Api, verb: &str| {
        let attributes = json!({"verb": verb, "resource": "pods", "namespace": "default"});
        let path = format!("{REVIEWS}/selfsubjectaccessreviews");
        api.post(&path, json!({"spec": {"resourceAttributes": attributes}}))
            .await
            .1["status"]
            .clone()
    };
    let reason = r#"RBAC: allowed by RoleBinding "view-vic/default" of ClusterRole "view" to User "vic""#;
    assert_eq!(may(&vic, "list").await, json!({"allowed": true, "reason": reason}));
    assert_eq!(may(&vic, "delete").await, json!({"allowed": false}));
    assert_eq!(may(&admin, "*").await["allowed"], true);

    let path = format!("{REVIEWS}/selfsubjectrulesreviews");
    let (_, rules) = vic.post(&path, json!({"spec": {"namespace": "default"}})).await;
    let told = rules["status"]["resourceRules"].as_array().unwrap();
    assert!(
        told.iter()
            .any(|rule| rule["resources"][0] == "selfsubjectaccessreviews"),
        "{rules}"
    );
    assert!(
        rules["status"]["nonResourceRules"][0]["nonResourceURLs"].is_array(),
        "{rules}"
    );
    assert_eq!(vic.post(&path, json!({"spec": {}})).await.0, StatusCode::BAD_REQUEST);

    let (_, who) = vic
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({}))
        .await;
    assert_eq!(
        who["status"]["userInfo"],
        json!({"username": "vic", "groups": ["system:authenticated"]})
    );

    let local = format!("{REVIEWS}/namespaces/default/localsubjectaccessreviews");
    let ask = |namespace: &str| json!({"spec": {"user": "vic", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}});
    assert_eq!(admin.post(&local, ask("default")).await.1["status"]["allowed"], true);
    assert_eq!(
        admin.post(&local, ask("other")).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(vic.post(&local, ask("default")).await.0, StatusCode::FORBIDDEN);
    for bad in [
        json!({"spec": {"user": "vic"}}),
        json!({"spec": {"resourceAttributes": {"verb": "get"}}}),
    ] {
        let (code, told) = admin.post(&format!("{REVIEWS}/subjectaccessreviews"), bad).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{told}");
    }
}

#[tokio::test]
async fn only_who_may_is_taken_for_another() {
    let admin = Api::new();
    bind(&admin, "edit", "eve", Some("default")).await;
    let eve = Api(admin.0.clone(), Some(user("eve", &[])));
    let whoami = async |api: &Api, headers: &[(&str, &str)]| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        api.call_with("POST", path, headers, "{}").await
    };
    let all = [
        ("impersonate-user", "bob"),
        ("impersonate-group", "devs"),
        ("impersonate-extra-team%2Fname", "db"),
    ];
    let (_, told) = whoami(&admin, &all).await;
    assert_eq!(
        told["status"]["userInfo"],
        json!({"username": "bob", "groups": ["devs", "system:authenticated"], "extra": {"team/name": ["db"]}})
    );
    assert_eq!(whoami(&eve, &all).await.0, StatusCode::FORBIDDEN);
    // Who may edit a namespace may act as its accounts.
    let account = [("impersonate-user", "system:serviceaccount:default:web")];
    let (_, told) = whoami(&eve, &account).await;
    assert_eq!(
        told["status"]["userInfo"]["groups"][1],
        "system:serviceaccounts:default"
    );
    let other = [("impersonate-user", "system:serviceaccount:kube-system:web")];
    assert_eq!(whoami(&eve, &other).await.0, StatusCode::FORBIDDEN);
    let masters = [
        ("impersonate-user", "system:serviceaccount:default:web"),
        ("impersonate-group", "system:masters"),
    ];
    assert_eq!(whoami(&eve, &masters).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        whoami(&admin, &[("impersonate-group", "a")]).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[tokio::test]
async fn a_write_that_creates_needs_the_right_to_create() {
    let admin = Api::new();
    let rules = json!([{"verbs": ["get", "patch", "update"], "apiGroups": ["", "rbac.authorization.k8s.io"], "resources": ["configmaps", "clusterroles"]}]);
    admin
        .post(&format!("{RBAC}/clusterroles"), role("changer", &rules))
        .await;
    bind(&admin, "changer", "cho", None).await;
    let cho = Api(admin.0.clone(), Some(user("cho", &[])));
    let path = format!("{MAPS}/a?fieldManager=t");
    let apply = async || {
        cho.call("PATCH", &path, "application/apply-patch+yaml", &map("a").to_string())
            .await
    };
    let (code, refused) = apply().await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert!(
        refused["message"].as_str().unwrap().contains("cannot create resource"),
        "{refused}"
    );
    admin.post(MAPS, map("a")).await;
    assert_eq!(apply().await.0, StatusCode::OK);
    let new = role("new", &json!([])).to_string();
    let (code, _) = cho
        .call("PUT", &format!("{RBAC}/clusterroles/new"), "application/json", &new)
        .await;
    assert_eq!(code, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_list_of_one_name_needs_the_right_to_that_name() {
    let admin = Api::new();
    let rules =
        json!([{"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]}]);
    admin.post(&format!("{RBAC}/clusterroles"), role("one", &rules)).await;
    bind(&admin, "one", "una", Some("default")).await;
    let una = Api(admin.0.clone(), Some(user("una", &[])));
    assert_eq!(una.get(MAPS, "*/*").await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        una.get(&format!("{MAPS}?fieldSelector=metadata.name%3Da"), "*/*")
            .await
            .0,
        StatusCode::OK
    );
    assert_eq!(
        una.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db"), "*/*")
            .await
            .0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn default_roles_are_mended_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let config = Config {
            storage: Storage::Folder(folder.path().into()),
            ..Config::default()
        };
        Api(Server::open(config).unwrap(), Some(Identity::admin()))
    };
    let (basic, discovery) = (
        format!("{RBAC}/clusterroles/system:basic-user"),
        format!("{RBAC}/clusterroles/system:discovery"),
    );
    let empty = json!({"rules": []}).to_string();
    let left =
        json!({"rules": [], "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    {
        let api = open();
        api.call("PATCH", &basic, "application/merge-patch+json", &empty).await;
        api.call("PATCH", &discovery, "application/merge-patch+json", &left.to_string())
            .await;
        api.call("DELETE", &format!("{RBAC}/clusterrolebindings/cluster-admin"), "", "")
            .await;
    }
    let api = open();
    assert_eq!(
        api.get(&basic, "*/*").await.1["rules"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(api.get(&discovery, "*/*").await.1["rules"], json!([]));
    assert_eq!(
        api.get(&format!("{RBAC}/clusterrolebindings/cluster-admin"), "*/*")
            .await
            .0,
        StatusCode::OK
    );
}
