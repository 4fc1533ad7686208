//! What a kubelet gives to a pod and asks of it, for tests that run an agent as in one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Who may log in to a server.
pub const RULES: &str = "local all all trust\nhost all all all scram-sha-256\nhost replication all all scram-sha-256\n";

/// The Secrets that each pod has: role, and username.
pub const USERS: [(&str, &str); 3] = [
    ("superuser", "postgres"),
    ("replication", "replicator"),
    ("user", "app"),
];

/// The variables of a container, by name.
pub type Variables = Vec<(&'static str, String)>;

fn variables<const N: usize>(told: [(&'static str, &str); N]) -> Variables {
    told.map(|(name, value)| (name, value.to_owned())).into()
}

/// Of a server's, but for the name of its claim.
pub fn of_server(role: &str, instance: &str, claim: &Path) -> Variables {
    variables([
        ("PGOP_ROLE", role),
        ("PGOP_OWNER", "PgCluster/shop/hippo"),
        ("PGOP_INSTANCE", instance),
        ("PGOP_HTTP", "0.0.0.0:8008"),
        ("PGOP_VOLUME", &claim.display().to_string()),
    ])
}

/// Of the Job's that copies the server at this address.
pub fn of_backup(source: &str, shelf: &Path, path: &str, uid: &str) -> Variables {
    variables([
        ("PGOP_SOURCE_HOST", source),
        ("PGOP_SOURCE_PORT", "5432"),
        ("PGOP_CLAIM", "shelf"),
        ("PGOP_BACKUP_UID", uid),
        ("PGOP_BACKUP_PATH", path),
        ("PGOP_BACKUP_VOLUME", &shelf.display().to_string()),
    ])
}

/// Of the Job's that makes the primary's data of a snapshot.
pub fn of_restore(shelf: &Path, path: &str, claim: &Path) -> Variables {
    variables([
        ("PGOP_OWNER", "PgCluster/shop/hippo"),
        ("PGOP_OWNER_UID", "1a2b"),
        ("PGOP_INSTANCE", "hippo"),
        ("PGOP_CLAIM", "hippo"),
        ("PGOP_BACKUP_CLAIM", "shelf"),
        ("PGOP_BACKUP_PATH", path),
        ("PGOP_BACKUP_VOLUME", &shelf.display().to_string()),
        ("PGOP_VOLUME", &claim.display().to_string()),
    ])
}

/// Puts a file into a volume: whole, or not at all. `give` makes it the pod's user's.
pub fn put(path: &Path, text: &str, give: impl FnOnce(&Path)) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("next");
    fs::write(&new, text).unwrap();
    give(&new);
    fs::rename(new, path).unwrap();
}

/// Code and text of the answer to a probe of the pod at this address.
pub fn ask(host: &str, path: &str) -> Option<(u16, String)> {
    let address = format!("{host}:8008").parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let code = answer.split(' ').nth(1)?.parse().ok()?;
    Some((code, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// Whether a probe succeeds.
pub fn succeeds(host: &str, path: &str) -> bool {
    ask(host, path).is_some_and(|(code, _)| code == 200)
}

/// Whether a condition holds, as the pod at this address tells it, and its sentence.
pub fn condition(host: &str, about: &str) -> Option<(Option<bool>, String)> {
    let status: Value = serde_json::from_str(&ask(host, "/status")?.1).ok()?;
    let all = status["conditions"].as_array()?;
    let found = all.iter().find(|condition| condition["about"] == about)?;
    Some((found["holds"].as_bool(), found["message"].as_str()?.to_owned()))
}
