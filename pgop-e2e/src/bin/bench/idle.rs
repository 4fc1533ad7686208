//! What a server costs that nobody uses: CPU an hour, and of it what is spent on asking whether it is well.
//!
//! All is counted in the pod, from `/proc`: the agent, `PostgreSQL` and whatever they have started and waited for. What the kubelet and the runtime of
//! containers spend on a probe is not in it, neither before, when each was an `exec`, nor now. A probe's cost is that of many in a row; an hour's is
//! that times how often it is asked.

use std::thread::sleep;
use std::time::{Duration, Instant};

use pgop_e2e::{Space, api};

use super::{megabytes, row, seconds};

/// Some rounds of what `PostgreSQL` does each minute.
const IDLE: Duration = Duration::from_secs(240);
/// Of `/proc`, a second: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
const TICKS: f64 = 100.0;

/// A way to ask, and what becomes of it.
struct Probe {
    name: &'static str,
    /// Asked so often in the bench.
    times: u32,
    /// And so often by the kubelet.
    an_hour: u32,
    /// Asks `times` times. What it prints is the CPU that it has used for it itself, in ticks.
    script: String,
}

/// One reading of a pod's processes.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    /// CPU in seconds, of all.
    all: f64,
    agent: f64,
    /// The agent's session, on the server's side.
    session: f64,
}

/// `hippo` runs, with replicas, and nobody uses it.
pub(super) fn measure(space: &Space) {
    let pods = [("primary", "hippo-0"), ("replica", "hippo-replica-0")];
    let before = pods.map(|(_, pod)| read(space, pod));
    sleep(IDLE);
    let after = pods.map(|(_, pod)| read(space, pod));
    for (((role, pod), before), after) in pods.into_iter().zip(before).zip(after) {
        let an_hour = 3600.0 / (after.at - before.at).as_secs_f64();
        let idle = (after.all - before.all) * an_hour;
        let cpu = |what: &str, cost: f64| row(&format!("an idle {role}: {what}"), &format!("{cost:.2} s"));
        cpu("CPU an hour, all of it", idle);
        cpu("CPU an hour, the agent", (after.agent - before.agent) * an_hour);
        cpu(
            "CPU an hour, the agent's session in PostgreSQL",
            (after.session - before.session) * an_hour,
        );
        let former = probes(space, pod, role, &former(), idle);
        let now = probes(space, pod, role, &current(), idle);
        row(
            &format!("an idle {role}: CPU of probes, formerly to now"),
            &ratio(former, now),
        );
        let all = idle - now;
        row(
            &format!("an idle {role}: CPU of all, with the probes of before to now"),
            &ratio(all + former, idle),
        );
        for (what, bytes) in memory(space, pod) {
            row(&format!("an idle {role}: {what}"), &megabytes(bytes));
        }
    }
}

/// `bash` and `psql`, every ten seconds; `bash` and `pg_isready`, every fifteen.
fn former() -> [Probe; 2] {
    [("readiness", 360), ("liveness", 240)].map(|(name, an_hour)| {
        let times = 40;
        let script = format!(
            "mkdir -p /tmp/before && cd /tmp/before && echo 1 >supervisor.pid && echo running >phase && : >synced && printf %s \"$1\" >before.sh\n\
             for ((i = 0; i < {times}; i++)); do bash before.sh {name} || exit; done\n\
             read -r -a stat </proc/$$/stat && echo $((stat[15] + stat[16]))"
        );
        Probe {
            name: if name == "readiness" { "by psql" } else { "by pg_isready" },
            times,
            an_hour,
            script,
        }
    })
}

/// The agent's answers, every two seconds and every fifteen. Whoever asks is not in the pod.
fn current() -> [Probe; 2] {
    [("by HTTP, /ready", "ready", 1800), ("by HTTP, /live", "live", 240)].map(|(name, path, an_hour)| {
        let times = 2000;
        let script = format!(
            "for ((i = 0; i < {times}; i++)); do\n\
               exec 3<>/dev/tcp/127.0.0.1/8008 && printf 'GET /{path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3 || exit\n\
               read -r -u 3 line && [[ $line == *' 200 '* ]] || exit\n\
               while read -r -u 3 line; do :; done\n\
               exec 3>&-\n\
             done\n\
             echo 0"
        );
        Probe {
            name,
            times,
            an_hour,
            script,
        }
    })
}

/// What they cost in an hour.
fn probes(space: &Space, pod: &str, role: &str, probes: &[Probe], idle: f64) -> f64 {
    let costs = probes.iter().map(|probe| {
        let before = read(space, pod);
        let command = ["bash", "-c", &probe.script, "bash", include_str!("before.sh")];
        let said = api::exec(space.name(), pod, &command).unwrap();
        let own: f64 = said.trim().parse().unwrap();
        let after = read(space, pod);
        let meanwhile = idle * (after.at - before.at).as_secs_f64() / 3600.0;
        let one = (own / TICKS + after.all - before.all - meanwhile).max(0.0) / f64::from(probe.times);
        row(
            &format!(
                "an idle {role}: a probe {}, {} times an hour",
                probe.name, probe.an_hour
            ),
            &format!("{:.2} ms", one * 1e3),
        );
        one * f64::from(probe.an_hour)
    });
    let an_hour: f64 = costs.sum();
    row(
        &format!("an idle {role}: CPU an hour, these probes"),
        &seconds(Duration::from_secs_f64(an_hour)),
    );
    an_hour
}

fn ratio(before: f64, now: f64) -> String {
    format!("{:.1} : 1", before / now)
}

/// Sums up the processes below the agent. What an exec has started is not below it.
fn read(space: &Space, pod: &str) -> Reading {
    let sessions = space.sql_in(pod, "select pid from pg_stat_activity where application_name = 'pgop'");
    let sessions: Vec<u32> = sessions.unwrap().lines().map(|pid| pid.parse().unwrap()).collect();
    // One that ends meanwhile is read in vain.
    let text = api::exec(
        space.name(),
        pod,
        &["bash", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; :"],
    )
    .unwrap();
    let at = Instant::now();
    let all: Vec<Process> = text.lines().filter_map(Process::parse).collect();
    let mut reading = Reading {
        at,
        all: 0.0,
        agent: 0.0,
        session: 0.0,
    };
    for process in all.iter().filter(|process| process.is_below(1, &all)) {
        reading.all += process.own + process.ended;
        if process.pid == 1 {
            reading.agent += process.own + process.ended;
        } else if sessions.contains(&process.pid) {
            reading.session += process.own;
        }
    }
    reading
}

struct Process {
    pid: u32,
    parent: u32,
    /// CPU in seconds.
    own: f64,
    /// That of its children that have ended.
    ended: f64,
}

impl Process {
    /// `pid (name) state parent …`; a name may hold blanks and parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(' ')?;
        let fields: Vec<&str> = rest.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            own: (ticks(11)? + ticks(12)?) / TICKS,
            ended: (ticks(13)? + ticks(14)?) / TICKS,
        })
    }

    fn is_below(&self, root: u32, all: &[Self]) -> bool {
        self.pid == root
            || all
                .iter()
                .any(|parent| parent.pid == self.parent && parent.is_below(root, all))
    }
}

/// The agent's, in bytes.
fn memory(space: &Space, pod: &str) -> [(&'static str, f64); 3] {
    let status = api::exec(space.name(), pod, &["cat", "/proc/1/status"]).unwrap();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0
    };
    let file = api::exec(space.name(), pod, &["stat", "-L", "-c", "%s", "/proc/1/exe"]).unwrap();
    [
        ("the agent, resident memory", number("VmRSS:")),
        ("the agent, of it its own", number("RssAnon:")),
        ("the agent, its file", file.trim().parse().unwrap()),
    ]
}
