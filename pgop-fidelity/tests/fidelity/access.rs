//! Who may do what. <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

use http::Method;
use kube::Client;
use pgop_fidelity::{Reply, Space, Subject, config_map};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("access")
        .holds(a_token_can_be_asked_for)
        .holds(a_token_reviews_as_its_account)
        .holds(an_account_without_rights_is_forbidden)
        .holds(a_role_allows_what_it_lists_and_no_more)
        .holds(a_role_holds_in_its_namespace_only)
        .holds(a_role_can_be_limited_to_names)
        .holds(subresources_need_their_own_right)
        .holds(a_lost_binding_is_a_lost_right)
        .holds(an_access_review_answers_for_oneself)
        .holds(an_access_review_answers_for_others)
        .holds(a_binding_cannot_change_its_role)
        .holds(nobody_grants_more_than_they_have)
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// A client of the account `default` of this namespace.
async fn account(s: &Space) -> Client {
    s.account().await;
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = s.post("serviceaccounts/default/token", &body).await.is(201);
    s.client_of(made["status"]["token"].as_str().expect("a token"))
}

/// Gives the account `default` these rights in this namespace.
async fn grant(s: &Space, rules: Value) {
    let role = json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "r"}, "rules": rules});
    s.post(&format!("{RBAC}:roles"), &role).await.is(201);
    s.post(&format!("{RBAC}:rolebindings"), &binding(s)).await.is(201);
}

fn binding(s: &Space) -> Value {
    json!({"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": s.name()}]})
}

async fn ask(s: &Space, who: &Client, method: Method, path: &str) -> Reply {
    s.ask(method, path).by(who).send().await
}

/// Rights take effect a moment after they are written.
async fn allowed(s: &Space, who: &Client, path: &str) {
    s.eventually("the right is there", async || {
        ask(s, who, Method::GET, path).await.status == 200
    })
    .await;
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>
async fn a_token_can_be_asked_for(s: Space) {
    s.account().await;
    let body =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 900}});
    let made = s.post("serviceaccounts/default/token", &body).await.is(201);
    assert_eq!(made["spec"]["expirationSeconds"], 900);
    assert_eq!(made["status"]["token"].as_str().unwrap().split('.').count(), 3, "a JWT");
    assert!(made["status"]["expirationTimestamp"].is_string());
    let short =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 1}});
    s.post("serviceaccounts/default/token", &short).await.fails_with(
        422,
        "Invalid",
        &["may not specify a duration less than 10 minutes"],
    );
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>
async fn a_token_reviews_as_its_account(s: Space) {
    s.account().await;
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = s.post("serviceaccounts/default/token", &body).await.is(201);
    let review = |token: &Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let status = s.post(path, &review(&made["status"]["token"])).await.is(201)["status"].take();
    assert_eq!(status["authenticated"], true);
    assert_eq!(
        status["user"]["username"],
        format!("system:serviceaccount:{}:default", s.name())
    );
    let groups = status["user"]["groups"].as_array().unwrap();
    assert!(
        groups.contains(&json!("system:serviceaccounts")) && groups.contains(&json!("system:authenticated")),
        "{status}"
    );
    let status = s.post(path, &review(&json!("lie"))).await.is(201)["status"].take();
    assert_ne!(status["authenticated"], true);
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>
async fn an_account_without_rights_is_forbidden(s: Space) {
    let account = account(&s).await;
    let status = ask(&s, &account, Method::GET, "configmaps")
        .await
        .fails(403, "Forbidden");
    let message = format!(
        "configmaps is forbidden: User \"system:serviceaccount:{0}:default\" cannot list resource \"configmaps\" \
         in API group \"\" in the namespace \"{0}\"",
        s.name()
    );
    assert_eq!(status["message"], message);
    assert_eq!(status["details"], json!({"kind": "configmaps"}));
    let status = ask(&s, &account, Method::DELETE, "apps/v1:deployments/x")
        .await
        .fails(403, "Forbidden");
    let start = "deployments.apps \"x\" is forbidden: User ";
    assert!(status["message"].as_str().unwrap().starts_with(start), "{status}");
    ask(&s, &account, Method::GET, "/version").await.is(200);
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#role-and-clusterrole>
async fn a_role_allows_what_it_lists_and_no_more(s: Space) {
    let account = account(&s).await;
    grant(
        &s,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]),
    )
    .await;
    allowed(&s, &account, "configmaps").await;
    s.post("configmaps", &config_map("a")).await.ok();
    ask(&s, &account, Method::GET, "configmaps/a").await.is(200);
    ask(&s, &account, Method::DELETE, "configmaps/a")
        .await
        .fails(403, "Forbidden");
    ask(&s, &account, Method::GET, "configmaps?watch=true")
        .await
        .fails(403, "Forbidden");
    ask(&s, &account, Method::GET, "secrets").await.fails(403, "Forbidden");
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#rolebinding-and-clusterrolebinding>
async fn a_role_holds_in_its_namespace_only(s: Space) {
    let account = account(&s).await;
    grant(&s, json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])).await;
    allowed(&s, &account, "configmaps").await;
    ask(&s, &account, Method::GET, "/api/v1/namespaces/default/configmaps")
        .await
        .fails(403, "Forbidden");
    let status = ask(&s, &account, Method::GET, "/api/v1/configmaps")
        .await
        .fails(403, "Forbidden");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .ends_with("in API group \"\" at the cluster scope"),
        "{status}"
    );
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>
async fn a_role_can_be_limited_to_names(s: Space) {
    let account = account(&s).await;
    s.post("configmaps", &config_map("mine")).await.ok();
    grant(
        &s,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]}]),
    )
    .await;
    allowed(&s, &account, "configmaps/mine").await;
    ask(&s, &account, Method::GET, "configmaps/other")
        .await
        .fails(403, "Forbidden");
    ask(&s, &account, Method::GET, "configmaps")
        .await
        .fails(403, "Forbidden");
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>
async fn subresources_need_their_own_right(s: Space) {
    let account = account(&s).await;
    grant(&s, json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}])).await;
    allowed(&s, &account, "pods").await;
    let status = ask(&s, &account, Method::GET, "pods/a/log")
        .await
        .fails(403, "Forbidden");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("cannot get resource \"pods/log\""),
        "{status}"
    );
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#rolebinding-and-clusterrolebinding>
async fn a_lost_binding_is_a_lost_right(s: Space) {
    let account = account(&s).await;
    grant(
        &s,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]),
    )
    .await;
    allowed(&s, &account, "configmaps").await;
    s.delete(&format!("{RBAC}:rolebindings/r")).await.is(200);
    s.eventually("the right is lost", async || {
        ask(&s, &account, Method::GET, "configmaps").await.status == 403
    })
    .await;
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>
async fn an_access_review_answers_for_oneself(s: Space) {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
        "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": s.name()}}});
    assert_eq!(s.post(path, &review).await.is(201)["status"]["allowed"], true);
    let account = account(&s).await;
    let answer = s
        .ask(Method::POST, path)
        .by(&account)
        .json(&review)
        .send()
        .await
        .is(201);
    assert_eq!(answer["status"]["allowed"], false);
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/>
async fn an_access_review_answers_for_others(s: Space) {
    s.account().await;
    let rule = json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}]);
    grant(&s, rule).await;
    let review = |verb: &str| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": format!("system:serviceaccount:{}:default", s.name()),
            "resourceAttributes": {"verb": verb, "group": "apps", "resource": "deployments", "namespace": s.name()}}})
    };
    let answers = async |verb: &str| {
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        s.post(path, &review(verb)).await.is(201)["status"]["allowed"] == true
    };
    s.eventually("the right is there", async || answers("patch").await)
        .await;
    assert!(!answers("delete").await);
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#rolebinding-and-clusterrolebinding>
async fn a_binding_cannot_change_its_role(s: Space) {
    s.post(&format!("{RBAC}:rolebindings"), &binding(&s)).await.is(201);
    let mut other = binding(&s);
    other["roleRef"]["name"] = json!("other");
    let reply = s.put(&format!("{RBAC}:rolebindings/r"), &other).await;
    reply.fails_with(422, "Invalid", &["roleRef", "cannot change roleRef"]);
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>
async fn nobody_grants_more_than_they_have(s: Space) {
    let account = account(&s).await;
    grant(
        &s,
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create", "list"]}]),
    )
    .await;
    allowed(&s, &account, &format!("{RBAC}:roles")).await;
    let more = json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "more"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    let reply = s
        .ask(Method::POST, &format!("{RBAC}:roles"))
        .by(&account)
        .json(&more)
        .send()
        .await;
    reply.fails_with(
        403,
        "Forbidden",
        &["is attempting to grant RBAC permissions not currently held"],
    );
}
