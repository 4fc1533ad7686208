//! The container's `/etc`: links to the machine's, and files of its own for users, names and addresses.
//!
//! It is a folder of links and not the machine's own, so that these files can be there whatever the machine's are (links, missing), and so
//! that a container may write to it.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;

use k8s_openapi::api::core::v1::PodSpec;

use super::identity::Identity;
use crate::network::DNS;
use crate::network::zone::DOMAIN;

/// Where the image's `/etc` is in a container.
pub(super) const ORIGINAL: &str = "/.etc";

/// What the files say.
pub(crate) struct Names<'a> {
    pub(crate) spec: &'a PodSpec,
    pub(crate) namespace: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) image: &'a str,
    pub(crate) identity: &'a Identity,
}

/// Makes the folder, from the `/etc` of the image.
pub(crate) fn make(folder: &Path, original: &Path, names: &Names) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let read = |name: &str| fs::read_to_string(original.join(name)).unwrap_or_default();
    let own = [
        ("hostname", format!("{}\n", names.hostname)),
        ("hosts", hosts(names)),
        ("resolv.conf", resolv_conf(names)),
        ("passwd", passwd(&read("passwd"), names)),
        ("group", group(&read("group"), names)),
    ];
    let entries = match fs::read_dir(original) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(), // an image may have none
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let secret = text.contains("shadow") || text.starts_with("sudoers") || text == "mtab";
        if secret || own.iter().any(|(own, _)| *own == text) {
            continue;
        }
        let to = match fs::read_link(entry.path()) {
            Ok(to) => to,
            Err(_) => Path::new(ORIGINAL).join(&name),
        };
        symlink(to, folder.join(&name))?;
    }
    symlink("/proc/self/mounts", folder.join("mtab"))?;
    for (name, text) in own {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// The home folder of the user.
pub(crate) fn home(folder: &Path, uid: u32) -> String {
    let passwd = fs::read_to_string(folder.join("passwd")).unwrap_or_default();
    let uid = uid.to_string();
    let line = passwd.lines().find(|l| l.split(':').nth(2) == Some(&uid));
    line.and_then(|l| l.split(':').nth(5))
        .filter(|h| !h.is_empty())
        .unwrap_or("/")
        .to_owned()
}

/// The image's users; one more where the container's is none of them, named after the image (`postgres` for `postgres:18`).
fn passwd(original: &str, names: &Names) -> String {
    let Identity { uid, gid, .. } = *names.identity;
    let name = user_name(names.image, uid);
    with_entry(original, uid, &name, &format!("{name}:x:{uid}:{gid}::/:/bin/sh"))
}

fn group(original: &str, names: &Names) -> String {
    let gid = names.identity.gid;
    let name = user_name(names.image, gid);
    with_entry(original, gid, &name, &format!("{name}:x:{gid}:"))
}

fn with_entry(original: &str, id: u32, name: &str, line: &str) -> String {
    let id = id.to_string();
    if original.lines().any(|l| l.split(':').nth(2) == Some(&id)) {
        return original.to_owned();
    }
    // Only one user exists here, so a user of the same name and another number is of no use.
    let kept = original.lines().filter(|l| l.split(':').next() != Some(name));
    kept.chain([line]).fold(String::new(), |text, line| text + line + "\n")
}

fn user_name(image: &str, id: u32) -> String {
    if id == 0 {
        return "root".to_owned();
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split(['@', ':']).next().unwrap_or_default();
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name != "root"
        && name.len() <= 32
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if plain { name.to_owned() } else { format!("user{id}") }
}

fn hosts(names: &Names) -> String {
    let mut text =
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            .to_owned();
    let (address, hostname) = (names.address, names.hostname);
    let _ = match names.spec.subdomain.as_deref().filter(|s| !s.is_empty()) {
        Some(sub) => writeln!(
            text,
            "{address}\t{hostname}.{sub}.{}.svc.{DOMAIN}\t{hostname}",
            names.namespace
        ),
        None => writeln!(text, "{address}\t{hostname}"),
    };
    let aliases: Vec<_> = names.spec.host_aliases.iter().flatten().collect();
    if !aliases.is_empty() {
        text += "\n# Entries added by HostAliases.\n";
    }
    for alias in aliases {
        let _ = writeln!(
            text,
            "{}\t{}",
            alias.ip,
            alias.hostnames.as_deref().unwrap_or_default().join("\t")
        );
    }
    text
}

/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>
fn resolv_conf(names: &Names) -> String {
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    match names.spec.dns_policy.as_deref() {
        Some("None") => {}
        // The machine's servers can't be reached from the pod network; ours asks them.
        Some("Default") => servers.push(DNS.to_string()),
        _ => {
            servers.push(DNS.to_string());
            searches.extend([
                format!("{}.svc.{DOMAIN}", names.namespace),
                format!("svc.{DOMAIN}"),
                DOMAIN.to_owned(),
            ]);
            options.push("ndots:5".to_owned());
        }
    }
    if let Some(config) = &names.spec.dns_config {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            options.retain(|o: &String| o.split(':').next() != Some(name));
            options.push(
                option
                    .value
                    .as_ref()
                    .map_or_else(|| name.clone(), |value| format!("{name}:{value}")),
            );
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Identity, Names, home, hosts, make, resolv_conf, user_name};
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{from_value, json};
    use std::fs;

    fn identity(uid: u32) -> Identity {
        Identity {
            uid,
            gid: uid,
            groups: Vec::new(),
            privileged: false,
            rights: Vec::new(),
        }
    }

    fn names<'a>(spec: &'a PodSpec, image: &'a str, identity: &'a Identity) -> Names<'a> {
        Names {
            spec,
            namespace: "shop",
            hostname: "orders-0",
            address: "10.244.0.5".parse().unwrap(),
            image,
            identity,
        }
    }

    fn spec(value: serde_json::Value) -> PodSpec {
        let mut value = value;
        value["containers"] = json!([]);
        from_value(value).unwrap()
    }

    #[test]
    fn an_unknown_user_gets_a_line_and_a_known_one_keeps_his() {
        let (original, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(
            original.path().join("passwd"),
            "root:x:0:0:root:/root:/bin/bash\npostgres:x:104:110::/var/lib/postgresql:/bin/bash\n",
        )
        .unwrap();
        fs::write(original.path().join("shadow"), "root:secret").unwrap();
        fs::write(original.path().join("nsswitch.conf"), "hosts: files dns").unwrap();
        std::os::unix::fs::symlink("../usr/lib/os-release", original.path().join("os-release")).unwrap();
        let (spec, folder) = (spec(json!({})), own.path().join("etc"));
        make(
            &folder,
            original.path(),
            &names(&spec, "docker.io/library/postgres:18", &identity(999)),
        )
        .unwrap();
        let passwd = fs::read_to_string(folder.join("passwd")).unwrap();
        assert_eq!(
            passwd,
            "root:x:0:0:root:/root:/bin/bash\npostgres:x:999:999::/:/bin/sh\n"
        );
        assert_eq!(home(&folder, 999), "/");
        assert_eq!(
            fs::read_link(folder.join("nsswitch.conf")).unwrap().to_str(),
            Some("/.etc/nsswitch.conf")
        );
        assert_eq!(
            fs::read_link(folder.join("os-release")).unwrap().to_str(),
            Some("../usr/lib/os-release")
        );
        assert!(!folder.join("shadow").exists());

        make(&folder, original.path(), &names(&spec, "postgres", &identity(104))).unwrap();
        assert_eq!(home(&folder, 104), "/var/lib/postgresql");
    }

    #[test]
    fn users_are_named_after_images() {
        for (image, id, want) in [
            ("postgres:18", 999, "postgres"),
            ("ghcr.io/pgop/operator@sha256:00", 65532, "operator"),
            ("registry:5000/X", 1000, "user1000"),
            ("a", 0, "root"),
        ] {
            assert_eq!(user_name(image, id), want);
        }
    }

    #[test]
    fn hosts_name_the_pod_below_its_service() {
        let spec =
            spec(json!({"subdomain": "orders-pods", "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["a", "b"]}]}));
        let text = hosts(&names(&spec, "x", &identity(1)));
        assert!(
            text.contains("10.244.0.5\torders-0.orders-pods.shop.svc.cluster.local\torders-0\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\n# Entries added by HostAliases.\n10.0.0.9\ta\tb\n"),
            "{text}"
        );
    }

    #[test]
    fn names_are_looked_up_in_the_cluster_first() {
        let plain = resolv_conf(&names(&spec(json!({})), "x", &identity(1)));
        assert_eq!(
            plain,
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        let own = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]}});
        assert_eq!(
            resolv_conf(&names(&spec(own), "x", &identity(1))),
            "nameserver 1.1.1.1\noptions ndots:2\n"
        );
    }
}
