//! A namespace of a test's own.

use rand::RngExt;
use serde_json::{Value, json};

use crate::pgo::{self, Done};
use crate::settings::settings;
use crate::{api, operator, patiently, report, until};

/// The postmaster is the process of that name whose parent is not one. When it is dead this is true of all that were its children.
const KILL_POSTMASTER: &str = r#"
name_of() { local n=; read -r n <"/proc/$1/comm"; printf %s "$n"; } 2>/dev/null
for p in /proc/[0-9]*; do
  p=${p#/proc/}
  [ "$(name_of "$p")" = postgres ] || continue
  parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status")
  [ "$(name_of "$parent")" = postgres ] || { kill -9 "$p" && echo killed; break; }
done 2>/dev/null"#;

/// A namespace that is deleted with this value. When the test panics, everything that tells why is printed first.
#[derive(Debug)]
pub struct Space {
    name: String,
}

impl Space {
    /// A new namespace, with the operator at work.
    #[track_caller]
    pub fn new(story: &str) -> Self {
        report::remember_panics();
        operator::ensure();
        let name = format!("pgop-e2e-{story}-{:05x}", rand::rng().random_range(0..0x10_0000_u32));
        let labels = json!({"pgop-e2e": "story"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        api::create("", namespace).unwrap_or_else(|error| panic!("{error}"));
        let space = Self { name };
        // Pods are refused until their account exists.
        until(30, "the default service account", || {
            api::find(space.name(), &api::kind("v1", "ServiceAccount"), "default")
                .map(drop)
                .ok_or_else(|| "not yet".to_owned())
        });
        space
    }

    /// Waits until the namespaces of earlier stories are gone, with all that Kubernetes deletes and the operator reconciles for them.
    #[track_caller]
    pub fn alone(&self) {
        until(300, "the namespaces of other stories to go", || {
            let mut others = api::names("", &api::kind("v1", "Namespace"), "pgop-e2e=story");
            others.retain(|name| *name != self.name);
            if others.is_empty() {
                Ok(())
            } else {
                Err(format!("{others:?}"))
            }
        });
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `pgo -n <this namespace>`.
    pub fn pgo(&self, line: &str) -> Done {
        self.pgo_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The same for words with spaces in them.
    pub fn pgo_words(&self, words: &[&str]) -> Done {
        let all: Vec<&str> = ["-n", &self.name].into_iter().chain(words.iter().copied()).collect();
        pgo::pgo(&all)
    }

    /// Asks the primary of `name` in SQL, by `pgo psql`.
    #[track_caller]
    pub fn sql(&self, name: &str, query: &str) -> String {
        self.try_sql(name, query).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same where it may fail.
    pub fn try_sql(&self, name: &str, query: &str) -> Result<String, String> {
        let done = self.pgo_words(&["psql", name, "--", "-v", "ON_ERROR_STOP=1", "-XAtc", query]);
        if done.code == 0 {
            Ok(done.stdout.trim().to_owned())
        } else {
            Err(done.to_string())
        }
    }

    /// Asks one server, whatever its role, by its pod.
    pub fn sql_in(&self, pod: &str, query: &str) -> Result<String, String> {
        let command = [
            "psql",
            "-h",
            "/pgop/run",
            "-U",
            "postgres",
            "-d",
            "app",
            "-v",
            "ON_ERROR_STOP=1",
            "-XAtc",
            query,
        ];
        api::exec(&self.name, pod, &command).map(|text| text.trim().to_owned())
    }

    /// Waits until that server answers so.
    #[track_caller]
    pub fn sql_becomes(&self, pod: &str, query: &str, answer: &str) {
        until(90, &format!("`{answer}` for `{query}` in {pod}"), || {
            match self.sql_in(pod, query)? {
                text if text == answer => Ok(()),
                text => Err(text),
            }
        });
    }

    /// SIGKILL for the server in a pod. Its container may end for that, or start the server again itself.
    pub fn kill_postmaster(&self, pod: &str) -> Result<(), String> {
        match api::exec(&self.name, pod, &["bash", "-c", KILL_POSTMASTER])?.trim() {
            "killed" => Ok(()),
            said => Err(format!("the postmaster of {pod} could not be killed: {said}")),
        }
    }

    /// A custom resource.
    #[track_caller]
    pub fn resource(&self, kind: &str, name: &str) -> Value {
        api::find(&self.name, &api::pgop(kind), name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// Waits until a resource has that phase.
    #[track_caller]
    pub fn phase_becomes(&self, kind: &str, name: &str, phase: &str, seconds: u64) -> Value {
        until(seconds, &format!("{kind} {name} to be {phase}"), || {
            let resource = self.resource(kind, name);
            if api::text(&resource, "/status/phase") == phase {
                Ok(resource)
            } else {
                Err(resource["status"].to_string())
            }
        })
    }

    /// Notes of the events about an object.
    pub fn events(&self, about: &str) -> Vec<String> {
        let events = api::list(&self.name, &api::kind("events.k8s.io/v1", "Event"), "").unwrap_or_default();
        let mine = events
            .iter()
            .filter(|event| api::text(event, "/regarding/name") == about);
        mine.map(|event| format!("{}: {}", api::text(event, "/reason"), api::text(event, "/note")))
            .collect()
    }

    /// Names of the objects of a kind.
    pub fn names(&self, api_version: &str, kind: &str) -> Vec<String> {
        let mut names = api::names(&self.name, &api::kind(api_version, kind), "");
        names.sort();
        names
    }

    /// Everything that pgop made here and that is not data: `kind/name`. Claims hold data.
    pub fn made(&self) -> Vec<String> {
        let all = api::made().filter(|kind| kind.kind != "PersistentVolumeClaim");
        all.flat_map(|kind| {
            let found = api::names(&self.name, &kind, "app.kubernetes.io/managed-by=pgop");
            found.into_iter().map(move |name| format!("{}/{name}", kind.kind))
        })
        .collect()
    }

    /// Deletes the claims of a server that is gone, and waits until nothing of it is left.
    pub fn leave_nothing(&self, name: &str) -> Result<(), String> {
        let (namespace, claims) = (self.name(), api::kind("v1", "PersistentVolumeClaim"));
        let labels = format!("app.kubernetes.io/instance={name}");
        for claim in api::list(namespace, &claims, &labels)? {
            api::delete(namespace, &claims, &api::text(&claim, "/metadata/name"), false);
        }
        patiently(&format!("everything of {name} to go"), || {
            let mut left = Vec::new();
            for kind in api::made() {
                let objects = api::list(namespace, &kind, &labels)?;
                let names = objects.iter().map(|object| api::text(object, "/metadata/name"));
                left.extend(names.map(|name| format!("{} {name}", kind.kind)));
            }
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        })
    }

    /// A pod that holds a claim at `/claim` and does what it is told, for looking at volumes and spoiling them.
    #[track_caller]
    pub fn hand(&self, claim: &str) -> String {
        let name = format!("hand-{claim}");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "hand", "image": settings().postgres_image, "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"], "volumeMounts": [{"name": "claim", "mountPath": "/claim"}],
                }],
                "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}],
            },
        });
        api::create(&self.name, pod).unwrap_or_else(|error| panic!("{error}"));
        until(60, "the hand", || api::exec(&self.name, &name, &["true"]));
        name
    }

    /// What `bash -c` prints in that pod.
    #[track_caller]
    pub fn bash(&self, pod: &str, script: &str) -> String {
        api::exec(&self.name, pod, &["bash", "-c", script]).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report::print(&self.name);
        }
        if !settings().keep {
            api::delete("", &api::kind("v1", "Namespace"), &self.name, false);
        }
    }
}
