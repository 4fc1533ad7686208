//! What befalls a server from outside: it serves on, or again without a hand, and says so.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::copies::follows;
use crate::ground::{Small, folder, postgres};
use crate::network::{HERE, NAME, NameServer, Network};
use crate::pod::{Init, Pod, wait_until};
use crate::server::{Writer, ask, value};
use crate::servers::Primary;

/// How long what lasts is endured: a minute where steps are walked at length.
fn endured() -> Duration {
    let is_long = std::env::var_os("PGOP_STEPS").is_some();
    Duration::from_secs(if is_long { 60 } else { 0 })
}

#[test]
fn a_server_that_is_killed_serves_again_in_its_container() {
    let Some(_network) = Network::enter() else { return };
    let mut primary = Primary::start(Init::Agent);
    let (pod, writer) = (&primary.pod, &primary.writer);
    let goes_on = |what: &str| {
        let count = writer.count();
        wait_until(what, || writer.count() > count + 10 && pod.is_ready());
        writer.check();
    };
    for _ in 0..3 {
        primary.kill_server();
        goes_on("it serves again after its postmaster was killed");
    }
    assert!(
        pod.log().contains("PostgreSQL ended with signal: 9 (SIGKILL)"),
        "it says so"
    );
    let session = value(
        &pod.run(),
        "select pid from pg_stat_activity where query like 'insert%' or application_name = 'test' limit 1",
    );
    let inside: i32 = session.parse().unwrap();
    kill(Pid::from_raw(primary.container.outside(inside)), Signal::SIGKILL).unwrap();
    goes_on("it serves again after a session was killed");
    // Nobody else waits for them.
    wait_until("no process that has ended is left", || {
        ended_children(primary.container.agent) == 0
    });
    assert!(!primary.container.has_ended());
    primary.check();
}

fn ended_children(agent: i32) -> usize {
    let children = fs::read_to_string(format!("/proc/{agent}/task/{agent}/children")).unwrap();
    let has_ended =
        |pid: &&str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    children.split_whitespace().filter(has_ended).count()
}

#[test]
fn a_full_volume_is_told_and_served_from_again_when_there_is_room() {
    let Some(_network) = Network::enter() else { return };
    let Some(small) = Small::mount(96, postgres()) else {
        eprintln!("skipped: no file system may be mounted here");
        return;
    };
    let pod = Pod::primary(small.path(), Init::Agent);
    let mut container = pod.start();
    pod.keep(&mut container, "the primary is ready", || pod.is_ready());
    let writer = Writer::start(&pod.run());
    wait_until("something is written", || writer.count() > 10);
    let filler = small.path().join("filler");
    fill(&filler);
    wait_until("it says that space is short", || {
        pod.condition("Space").is_some_and(|(holds, _)| holds == Some(false))
    });
    // What a person changes now is in force, and nothing ends for want of room to remember it.
    pod.set("work_mem = 1234");
    wait_until("the settings are in force", || {
        ask(&pod.run(), "show work_mem").as_deref() == Some("1234kB") && pod.log().contains("could not be kept")
    });
    assert!(!container.has_ended() && pod.is_ready(), "{}", pod.log());
    writer.check();
    // Without room for WAL no server runs.
    ask(
        &pod.run(),
        "select count(pg_logical_emit_message(false, '', repeat('x', 1000000))) from generate_series(1, 200)",
    );
    wait_until("its WAL is full", || pod.log().contains("PANIC:"));
    wait_until("it waits for room", || {
        pod.ask("/ready")
            .is_some_and(|(code, words)| code == 503 && words.contains("No space left on device"))
    });
    let count = writer.count();
    fs::remove_file(&filler).unwrap();
    wait_until("it serves again", || writer.count() > count + 10 && pod.is_ready());
    assert!(!container.has_ended(), "nobody had to start it again: {}", pod.log());
    writer.check();
    wait_until("it says that there is room", || {
        pod.condition("Space").is_some_and(|(holds, _)| holds == Some(true))
    });
    wait_until("the settings are kept after all", || {
        fs::read_to_string(small.path().join("hippo/settings.kept")).is_ok_and(|kept| kept.contains("1234"))
    });
    pod.check_for_a_second();
    container.kill();
}

#[test]
fn a_pod_without_room_for_a_file_serves_on() {
    let Some(_network) = Network::enter() else { return };
    let Some(small) = Small::mount(1, postgres()) else {
        eprintln!("skipped: no file system may be mounted here");
        return;
    };
    let claim = folder(postgres());
    let pod = Pod::primary(claim.path(), Init::Agent);
    fs::remove_dir(pod.run()).unwrap();
    std::os::unix::fs::symlink(small.path(), pod.run()).unwrap();
    let mut container = pod.start();
    pod.keep(&mut container, "the primary is ready", || pod.is_ready());
    let writer = Writer::start(&pod.run());
    let filler = small.path().join("filler");
    fill(&filler);
    pod.set("work_mem = 4321");
    wait_until("it says so", || pod.log().contains("No space left on device"));
    let count = writer.count();
    wait_until("it serves on", || writer.count() > count + 100);
    assert!(
        pod.is_ready() && pod.is_live() && !container.has_ended(),
        "{}",
        pod.log()
    );
    fs::remove_file(&filler).unwrap();
    wait_until("the settings are in force", || {
        ask(&pod.run(), "show work_mem").as_deref() == Some("4321kB")
    });
    writer.check();
    container.kill();
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_replica_serves_on_while_no_name_is_known_and_says_so() {
    let Some(network) = Network::enter() else { return };
    let primary = Primary::start(Init::Agent);
    let names = NameServer::start();
    let claim = folder(postgres());
    let replica = Pod::replica(claim.path(), NAME, network.there(), Init::Agent);
    let resolver = replica.home().join("resolv.conf");
    let asks = |server: &str| {
        let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
        fs::write(&resolver, text).unwrap();
    };
    asks(HERE);
    let mut container = replica.start();
    replica.keep(&mut container, "the replica follows", || follows(&replica));
    primary.agrees(&replica);

    // An address that nobody has.
    asks("10.9.0.77");
    drop(names);
    value(
        &primary.pod.run(),
        "select count(pg_terminate_backend(pid)) from pg_stat_replication",
    );
    let is_told = || {
        let following = replica.condition("Following");
        following.is_some_and(|(holds, words)| holds == Some(false) && words.contains("DNS"))
    };
    wait_until("it says why it does not follow", is_told);
    let began = Instant::now();
    loop {
        assert!(
            replica.is_ready() && replica.is_live() && !container.has_ended(),
            "{}",
            replica.log()
        );
        assert!(
            value(&replica.run(), "select count(*) from journal")
                .parse::<i64>()
                .unwrap()
                > 0
        );
        if began.elapsed() >= endured() {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    container.kill();
    container = replica.start();
    replica.keep(&mut container, "it serves what it has, also after a start", || {
        replica.is_ready()
    });
    let _names = NameServer::start();
    asks(HERE);
    replica.keep(&mut container, "it follows again", || follows(&replica));
    primary.agrees(&replica);
    container.kill();
}

#[test]
fn an_api_server_that_is_away_keeps_nothing_from_being_served() {
    let Some(_network) = Network::enter() else { return };
    let claim = folder(postgres());
    let pod = Pod::primary(claim.path(), Init::Agent);
    let account = pod.home().join("account").display().to_string();
    let pod = pod
        .with("PGOP_ACCOUNT", &account)
        .with("PGOP_POD", "hippo-0")
        .with("PGOP_POD_UID", "1a2b")
        .with("KUBERNETES_SERVICE_HOST", HERE)
        .with("KUBERNETES_SERVICE_PORT", "6443");
    let authority = rcgen::generate_simple_self_signed(vec![HERE.to_owned()])
        .unwrap()
        .cert
        .pem();
    for (name, text) in [("token", "t"), ("namespace", "shop"), ("ca.crt", &authority)] {
        pod.file(&format!("account/{name}"), text);
    }
    let mut container = pod.start();
    pod.keep(&mut container, "the primary is ready", || pod.is_ready());
    let words = format!("it is tried again: could not connect to the API server at {HERE}:6443: Connection refused");
    wait_until("it says so", || pod.log().contains(&words));
    let resident = resident(container.agent);
    for memory in 0..20 {
        pod.set(&format!("work_mem = {}", 2000 + memory));
        wait_until("settings are in force all the same", || {
            ask(&pod.run(), "show work_mem").is_some_and(|shown| shown == format!("{}kB", 2000 + memory))
        });
    }
    let began = Instant::now();
    while began.elapsed() < endured() * 10 {
        assert!(
            pod.is_ready() && pod.is_live() && !container.has_ended(),
            "{}",
            pod.log()
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(pod.log().matches(&words).count(), 1, "once is enough");
    let grown = self::resident(container.agent).saturating_sub(resident);
    assert!(grown < 4 << 10, "it has grown by {grown} KiB");
    container.kill();
}

/// KiB.
fn resident(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let Some(_network) = Network::enter() else { return };
    if !Path::new(FAKETIME).exists() {
        eprintln!("skipped: libfaketime is not installed");
        return;
    }
    let claim = folder(postgres());
    let pod = Pod::primary(claim.path(), Init::Agent);
    let clock = pod.home().join("clock").display().to_string();
    let pod = pod
        .with("LD_PRELOAD", FAKETIME)
        .with("FAKETIME_TIMESTAMP_FILE", &clock)
        .with("FAKETIME_NO_CACHE", "1")
        // The kernel never sets this one.
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    pod.file("clock", "+0");
    let mut container = pod.start();
    pod.keep(&mut container, "the primary is ready", || pod.is_ready());
    let writer = Writer::start(&pod.run());
    for (at, jump) in ["+1d", "-2d", "+1000d", "-1h"].into_iter().enumerate() {
        let before = value(&pod.run(), "select extract(epoch from clock_timestamp())::int8");
        pod.file("clock", jump);
        let shown = value(&pod.run(), "select extract(epoch from clock_timestamp())::int8");
        let jumped = (before.parse::<i64>().unwrap() - shown.parse::<i64>().unwrap()).abs();
        assert!(jumped > 3000, "the clock has not jumped");
        let count = writer.count();
        pod.set(&format!("work_mem = {}", 3000 + at));
        wait_until(&format!("settings are in force after {jump}"), || {
            ask(&pod.run(), "show work_mem").is_some_and(|shown| shown == format!("{}kB", 3000 + at))
                && pod
                    .condition("SettingsInForce")
                    .is_some_and(|(holds, _)| holds == Some(true))
                && writer.count() > count + 10
        });
        assert!(
            pod.is_ready() && pod.is_live() && !container.has_ended(),
            "{}",
            pod.log()
        );
    }
    writer.check();
    drop(writer);
    container.terminate();
    assert_eq!(container.end(), Some(0), "{}", pod.log());
}
