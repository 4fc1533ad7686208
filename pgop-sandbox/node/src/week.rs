//! A week of a node with ten pods, in seconds: time is virtual, and containers are played. Everything else is what runs in the sandbox.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use pgop_sandbox_server::{Config, Server};
use pgop_sandbox_tasks::{now, spawn_tracked, supervise, virtual_time};
use serde_json::{Value, from_value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::container::{Action, Live, Place, Plan, Running, Runtime, StartError, Subject};
use crate::events::Events;
use crate::holder::Users;
use crate::logs::{Feed, Stream};
use crate::network::{Addresses, NetworkError, PodNetwork};
use crate::pods::Pods;
use crate::register::{self, Machine};
use crate::shared::Shared;
use crate::start::run;
use crate::volumes::Tokens;

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Plays containers: `run-for SECONDS CODE`, `stay`, `say BYTES` an hour, `panic-after SECONDS` once. Each hears its signals, after a second.
#[derive(Default)]
struct Stage {
    addresses: Arc<Mutex<Addresses>>,
    /// When what runs now was started, by its log.
    started: Arc<Mutex<HashMap<PathBuf, Instant>>>,
    cleared: AtomicBool,
}

struct Played {
    live: Arc<Live>,
    ends: Option<(Instant, i32)>,
    says: Option<(Instant, Vec<u8>)>,
    panics: bool,
    signal: watch::Sender<Option<Instant>>,
    started: Arc<Mutex<HashMap<PathBuf, Instant>>>,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.live.feed.end();
        self.started.lock().unwrap().remove(self.live.feed.path());
    }
}

#[async_trait]
impl Running for Played {
    fn live(&self) -> &Arc<Live> {
        &self.live
    }

    fn signal(&self, _: i32) {
        let heard = Instant::now() + Duration::from_secs(1);
        self.signal.send_modify(|at| *at = Some(at.unwrap_or(heard)));
    }

    async fn wait(&mut self) -> i32 {
        let mut signal = self.signal.subscribe();
        let code = loop {
            let told = *signal.borrow_and_update();
            let far = Instant::now() + 2 * WEEK;
            let (end, code) = self.ends.unwrap_or((far, 0));
            let (end, code) = told.filter(|at| *at < end).map_or((end, code), |at| (at, 143));
            let word = self.says.as_ref().map_or(far, |(at, _)| *at);
            tokio::select! {
                biased;
                () = sleep_until(end) => break code,
                () = sleep_until(word) => if let Some((at, bytes)) = &mut self.says {
                    *at += HOUR;
                    self.live.feed.carry(Stream::Stdout, &bytes[..]).await;
                },
                _ = signal.changed() => {}
            }
        };
        assert!(!self.panics, "the play is over");
        self.live.feed.end();
        code
    }
}

#[async_trait]
impl Runtime for Stage {
    async fn attach(&self) -> Result<PodNetwork, NetworkError> {
        let net = Arc::new(File::open("/dev/null")?.into());
        PodNetwork::new(net, &self.addresses).ok_or(NetworkError::NoAddress)
    }

    async fn start(&self, place: &Place<'_>, plan: Plan, feed: Arc<Feed>) -> Result<Box<dyn Running>, StartError> {
        let words: Vec<&str> = plan.command.iter().map(String::as_str).collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let ends = matches!(words[0], "run-for" | "panic-after").then(|| {
            let end = Instant::now() + Duration::from_secs(number(1));
            (end, i32::try_from(number(2)).unwrap())
        });
        let ends = ends.filter(|_| words[0] == "run-for" || place.run == 0);
        let text = [vec![b'x'; 1023], b"\n".to_vec()].concat();
        let says =
            (words[0] == "say").then(|| (Instant::now(), text.repeat(usize::try_from(number(1)).unwrap() / 1024)));
        self.started
            .lock()
            .unwrap()
            .insert(feed.path().to_owned(), Instant::now());
        let live = Live {
            init: None,
            ids: None,
            env: HashMap::new(),
            directory: PathBuf::new(),
            feed,
            tty: false,
            stdin_once: false,
            input: Mutex::default(),
        };
        Ok(Box::new(Played {
            live: Arc::new(live),
            ends,
            says,
            panics: words[0] == "panic-after" && place.run == 0,
            signal: watch::Sender::new(None),
            started: self.started.clone(),
        }))
    }

    /// `up-after SECONDS`, `up-for SECONDS`: since the container was started.
    async fn act(&self, subject: &Subject<'_>, action: &Action, _: Duration) -> Result<(), String> {
        let Action::Exec(words) = action else {
            return Err("not played".to_owned());
        };
        let ran = self.started.lock().unwrap()[subject.live.feed.path()].elapsed();
        let span = Duration::from_secs(words[1].parse().unwrap());
        let good = if words[0] == "up-for" { ran < span } else { ran >= span };
        if good { Ok(()) } else { Err("no".to_owned()) }
    }

    async fn clear(&self, _: &PodNetwork) {
        assert_eq!(self.started.lock().unwrap().len(), 1, "of two pods one runs");
        self.cleared.store(true, Ordering::Relaxed);
    }
}

/// A node whose containers are played.
struct Play {
    client: Client,
    shared: Arc<Shared>,
    stage: Arc<Stage>,
    pods: Arc<Pods>,
    folder: TempDir,
}

impl Play {
    async fn begin() -> Self {
        let client = Server::open(Config::default()).unwrap().client();
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        let account = from_value(json!({"metadata": {"name": "default"}})).unwrap();
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let machine = Machine::here(&PathBuf::from("/bin/true"));
        register::register(&client, "sandbox", &machine).await.unwrap();
        let (tasks, stop, folder) = (
            TaskTracker::new(),
            CancellationToken::new(),
            tempfile::tempdir().unwrap(),
        );
        let stage = Arc::new(Stage::default());
        let shared = Arc::new(Shared {
            node: "sandbox".to_owned(),
            client: client.clone(),
            cluster: Cluster::start(&client, "sandbox", &tasks, &stop).await,
            runtime: stage.clone(),
            users: Users::One,
            events: Events::start(client.clone(), "sandbox".to_owned(), &tasks, stop.clone()),
            tokens: Tokens::default(),
            allocatable: machine.resources(),
            folder: folder.path().join("node"),
            memory: folder.path().join("memory"),
            images: BTreeMap::new(),
            path: Vec::new(),
            stop,
            hurry: CancellationToken::new(),
            tasks,
        });
        let pods = Pods::new(shared.clone());
        run(&shared, "lease of the node", register::keep);
        let followed = pods.clone();
        spawn_tracked(&shared.tasks, "pods of the node", async move {
            supervise("pods of the node", || followed.clone().follow()).await;
        });
        Self {
            client,
            shared,
            stage,
            pods,
            folder,
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    async fn pod(&self, name: &str, words: &[&str], mut more: Value) {
        let mut spec = json!({"nodeName": "sandbox", "automountServiceAccountToken": false});
        if let Some(policy) = more.as_object_mut().unwrap().remove("restartPolicy") {
            spec["restartPolicy"] = policy;
        }
        more["name"] = json!("main");
        more["image"] = json!("played");
        more["command"] = json!(words);
        spec["containers"] = json!([more]);
        let pod = from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.api().create(&PostParams::default(), &pod).await.unwrap();
    }

    /// How often a pod's container was started again, whether it is ready, and its phase.
    async fn state(&self, name: &str) -> (i32, bool, String) {
        let status = self.api().get(name).await.unwrap().status.unwrap();
        let container = &status.container_statuses.unwrap()[0];
        (container.restart_count, container.ready, status.phase.unwrap())
    }

    /// How many tasks, played containers, addresses, workers and events there are.
    async fn counted(&self) -> Vec<usize> {
        let events: Api<Event> = Api::all(self.client.clone());
        let events = events.list(&ListParams::default()).await.unwrap().items.len();
        vec![
            tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            self.shared.tasks.len(),
            self.stage.started.lock().unwrap().len(),
            self.pods.len(),
            events,
        ]
    }

    async fn end(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        assert!(self.stage.started.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_with_ten_pods_lives_a_week() {
    let _clock = virtual_time("2026-01-05T10:20:00Z".parse().unwrap());
    let play = Play::begin().await;
    let (readiness, liveness) = (
        json!({"exec": {"command": ["up-after", "3"]}}),
        json!({"exec": {"command": ["up-for", "9999999"]}}),
    );
    let probed = json!({"readinessProbe": readiness, "livenessProbe": liveness});
    for name in ["steady-0", "steady-1", "steady-2"] {
        play.pod(name, &["stay"], probed.clone()).await;
    }
    play.pod("plain", &["stay"], json!({})).await;
    play.pod("once", &["run-for", "60", "0"], json!({"restartPolicy": "Never"}))
        .await;
    play.pod("hourly", &["run-for", "3600", "1"], json!({})).await;
    play.pod("crash", &["run-for", "0", "1"], json!({})).await;
    let sick = json!({"livenessProbe": {"exec": {"command": ["up-for", "3600"]}}});
    play.pod("sick", &["stay"], sick).await;
    let slow = json!({"startupProbe": {"exec": {"command": ["up-after", "120"]}, "failureThreshold": 100}, "readinessProbe": readiness});
    play.pod("slow", &["stay"], slow).await;
    play.pod("chatty", &["say", "131072"], json!({})).await;

    let begin = now();
    sleep(12 * HOUR + HOUR / 2).await;
    let early = play.counted().await;
    sleep(WEEK.saturating_sub(12 * HOUR)).await;
    assert!(now().duration_since(begin).unsigned_abs() >= WEEK);
    assert_eq!(
        play.counted().await,
        early,
        "tasks, containers, workers and events are as many as on the first day"
    );

    let running = |restarts: i32, ready: bool| (restarts, ready, "Running".to_owned());
    for name in ["steady-0", "steady-1", "steady-2", "plain", "slow", "chatty"] {
        assert_eq!(play.state(name).await, running(0, true), "{name}");
    }
    assert_eq!(play.state("once").await, (0, false, "Succeeded".to_owned()));
    for (name, restarts) in [("hourly", 167..=168), ("sick", 165..=168), ("crash", 2015..=2030)] {
        let (found, _, phase) = play.state(name).await;
        assert!(
            restarts.contains(&found) && phase == "Running",
            "{name}: {found}, {phase}"
        );
    }
    let leases: Api<Lease> = Api::namespaced(play.client.clone(), "kube-node-lease");
    let renewed = leases.get("sandbox").await.unwrap().spec.unwrap().renew_time.unwrap();
    assert!(now().duration_since(renewed.0).as_secs() <= 40, "the lease is renewed");
    let uid = play.api().get("chatty").await.unwrap().metadata.uid.unwrap();
    let logs = play.folder.path().join("node/pods").join(uid).join("containers/main");
    let lengths: Vec<u64> = logs
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert!(
        lengths.len() == 2 && lengths.iter().sum::<u64>() < 21 << 20,
        "its log is put aside: {lengths:?}"
    );
    play.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_work_panics_begins_again_when_nothing_runs_of_it() {
    let _clock = virtual_time("2026-01-05T10:20:00Z".parse().unwrap());
    let play = Play::begin().await;
    play.pod("broken", &["panic-after", "60"], json!({})).await;
    play.pod("other", &["stay"], json!({})).await;
    sleep(HOUR).await;
    assert!(play.stage.cleared.load(Ordering::Relaxed));
    assert_eq!(play.state("broken").await, (1, true, "Running".to_owned()));
    let status = play.api().get("broken").await.unwrap().status.unwrap();
    let last = status.container_statuses.unwrap().remove(0).last_state.unwrap();
    assert_eq!(
        last.terminated.unwrap().reason.as_deref(),
        Some("ContainerStatusUnknown")
    );
    assert_eq!(play.state("other").await, (0, true, "Running".to_owned()));
    assert_eq!(play.pods.len(), 2);
    play.end().await;
}
