//! Who may do what, and what stands for them.

use crate::kubectl::with_each;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn rights_and_secrets_are_made_and_asked_for() {
    with_each(async |kubectl| {
        assert_eq!(kubectl.ok(&["auth", "can-i", "create", "pods"]).await, "yes\n");
        kubectl.says(&["auth", "can-i", "--list"], &["Verbs", "[*]"]).await;
        kubectl.ok(&["create", "serviceaccount", "robot"]).await;
        kubectl
            .ok(&["create", "role", "reader", "--verb=get", "--resource=pods"])
            .await;
        let account = format!("{}:robot", kubectl.namespace);
        kubectl
            .ok(&[
                "create",
                "rolebinding",
                "readers",
                "--role=reader",
                "--serviceaccount",
                &account,
            ])
            .await;
        kubectl.says(&["describe", "role", "reader"], &["pods", "[get]"]).await;
        kubectl
            .ok(&["create", "secret", "generic", "s", "--from-literal=a=b"])
            .await;
        assert_eq!(
            kubectl.ok(&["get", "secret", "s", "-o", "jsonpath={.data.a}"]).await,
            "Yg=="
        );
        kubectl.says(&["describe", "secret", "s"], &["a:  1 byte"]).await;
        if kubectl.minor >= 24 {
            assert_eq!(kubectl.ok(&["create", "token", "robot"]).await.split('.').count(), 3);
        }
        if kubectl.minor >= 28 {
            kubectl.says(&["auth", "whoami"], &["kubernetes-admin"]).await;
        }
    })
    .await;
}
