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

/// The account `default` of a namespace.
struct Account<'s> {
    space: &'s Space,
    client: Client,
}

impl<'s> Account<'s> {
    async fn of(space: &'s Space) -> Self {
        space.account().await;
        let made = token(space, json!({})).await.is(201);
        let client = space.client_of(made["status"]["token"].as_str().expect("a token"));
        Self { space, client }
    }

    /// The account with a role of these rights in its namespace. Rights take effect a moment after they are written: `path` can be read then.
    async fn with(space: &'s Space, rules: Value, path: &str) -> Self {
        let account = Self::of(space).await;
        grant(space, rules).await;
        let is_there = async || account.ask(Method::GET, path).await.status == 200;
        space.eventually("the right is there", is_there).await;
        account
    }

    async fn ask(&self, method: Method, path: &str) -> Reply {
        self.space.ask(method, path).by(&self.client).send().await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.space
            .ask(Method::POST, path)
            .by(&self.client)
            .json(body)
            .send()
            .await
    }

    /// It may not do that. Answers the refusal.
    async fn is_refused(&self, method: Method, path: &str) -> Value {
        self.ask(method, path).await.fails(403, "Forbidden")
    }
}

/// Asks for a token of the account `default`.
async fn token(s: &Space, spec: Value) -> Reply {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    s.post("serviceaccounts/default/token", &body).await
}

/// Gives the account `default` these rights in its namespace.
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

/// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>
async fn a_token_can_be_asked_for(s: Space) {
    s.account().await;
    let made = token(&s, json!({"expirationSeconds": 900})).await.is(201);
    assert_eq!(made["spec"]["expirationSeconds"], 900);
    assert_eq!(made["status"]["token"].as_str().unwrap().split('.').count(), 3, "a JWT");
    assert!(made["status"]["expirationTimestamp"].is_string());
    let short = token(&s, json!({"expirationSeconds": 1})).await;
    short.fails_with(422, "Invalid", &["may not specify a duration less than 10 minutes"]);
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>
async fn a_token_reviews_as_its_account(s: Space) {
    s.account().await;
    let made = token(&s, json!({})).await.is(201);
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
    let account = Account::of(&s).await;
    let status = account.is_refused(Method::GET, "configmaps").await;
    let message = format!(
        "configmaps is forbidden: User \"system:serviceaccount:{0}:default\" cannot list resource \"configmaps\" \
         in API group \"\" in the namespace \"{0}\"",
        s.name()
    );
    assert_eq!(status["message"], message);
    assert_eq!(status["details"], json!({"kind": "configmaps"}));
    let status = account.is_refused(Method::DELETE, "apps/v1:deployments/x").await;
    let start = "deployments.apps \"x\" is forbidden: User ";
    assert!(status["message"].as_str().unwrap().starts_with(start), "{status}");
    account.ask(Method::GET, "/version").await.is(200);
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#role-and-clusterrole>
async fn a_role_allows_what_it_lists_and_no_more(s: Space) {
    let account = Account::with(
        &s,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]),
        "configmaps",
    )
    .await;
    s.post("configmaps", &config_map("a")).await.ok();
    account.ask(Method::GET, "configmaps/a").await.is(200);
    account.is_refused(Method::DELETE, "configmaps/a").await;
    account.is_refused(Method::GET, "configmaps?watch=true").await;
    account.is_refused(Method::GET, "secrets").await;
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#rolebinding-and-clusterrolebinding>
async fn a_role_holds_in_its_namespace_only(s: Space) {
    let account = Account::with(
        &s,
        json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]),
        "configmaps",
    )
    .await;
    account
        .is_refused(Method::GET, "/api/v1/namespaces/default/configmaps")
        .await;
    let status = account.is_refused(Method::GET, "/api/v1/configmaps").await;
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
    s.post("configmaps", &config_map("mine")).await.ok();
    let account = Account::with(
        &s,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]}]),
        "configmaps/mine",
    )
    .await;
    account.is_refused(Method::GET, "configmaps/other").await;
    account.is_refused(Method::GET, "configmaps").await;
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>
async fn subresources_need_their_own_right(s: Space) {
    let account = Account::with(
        &s,
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]),
        "pods",
    )
    .await;
    let status = account.is_refused(Method::GET, "pods/a/log").await;
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
    let account = Account::with(
        &s,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]),
        "configmaps",
    )
    .await;
    s.delete(&format!("{RBAC}:rolebindings/r")).await.is(200);
    s.eventually("the right is lost", async || {
        account.ask(Method::GET, "configmaps").await.status == 403
    })
    .await;
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>
async fn an_access_review_answers_for_oneself(s: Space) {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
        "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": s.name()}}});
    assert_eq!(s.post(path, &review).await.is(201)["status"]["allowed"], true);
    let account = Account::of(&s).await;
    let answer = account.post(path, &review).await.is(201);
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
    let account = Account::with(
        &s,
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create", "list"]}]),
        &format!("{RBAC}:roles"),
    )
    .await;
    let more = json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "more"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    let reply = account.post(&format!("{RBAC}:roles"), &more).await;
    reply.fails_with(
        403,
        "Forbidden",
        &["is attempting to grant RBAC permissions not currently held"],
    );
}
