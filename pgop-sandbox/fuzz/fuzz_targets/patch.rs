//! Patches of all kinds, on built-in and custom objects. Nothing of it is stored, so that each input stands for itself.
#![no_main]

use std::sync::LazyLock;

use http::Request;
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use pgop_sandbox_fuzz::{ask, server};
use pgop_sandbox_server::Server;

static SERVER: LazyLock<Server> = LazyLock::new(server);

const OBJECTS: [&str; 4] = [
    "/apis/apps/v1/namespaces/default/deployments/web",
    "/api/v1/namespaces/default/configmaps/cm",
    "/apis/example.com/v1/namespaces/default/foos/f",
    "/apis/apps/v1/namespaces/default/deployments/web/scale",
];

const KINDS: [(&str, &str); 5] = [
    ("application/json-patch+json", ""),
    ("application/merge-patch+json", ""),
    ("application/strategic-merge-patch+json", ""),
    ("application/apply-patch+yaml", "&fieldManager=second"),
    ("application/apply-patch+yaml", "&fieldManager=first&force=true"),
];

fuzz_target!(|input: &[u8]| {
    let [kind, object, body @ ..] = input else { return };
    let (media, query) = KINDS[usize::from(*kind) % KINDS.len()];
    let object = OBJECTS[usize::from(*object) % OBJECTS.len()];
    let request = Request::patch(format!("{object}?dryRun=All{query}")).header("content-type", media);
    let request = request.body(Full::from(body.to_vec())).expect("a request");
    ask(&SERVER, request);
});
