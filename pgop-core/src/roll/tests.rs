use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::description::Members;

/// Seconds of the world in which no pod is older than another; what was ready has turned later.
const MADE: &str = "2026-11-30T06:00:00Z";
const LATER: &str = "2026-11-30T07:00:00Z";

fn description() -> Description {
    Description {
        members: Members::by_role(),
        ..Description::new("given")
    }
}

/// A `StatefulSet` whose template asks for `asked` and is of revision `revision`.
fn set(name: &str, replicas: usize, asked: &str, revision: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": name, "generation": 3, "annotations": {"pgop.dev/template": "t2 5 asked"}},
        "spec": {"replicas": replicas, "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"annotations": {"pgop.dev/requested": asked}}}},
        "status": {"observedGeneration": 3, "updateRevision": revision},
    })
}

/// A server's pod: `what` says what was asked for it (`old` or any other word), and how it does.
fn pod(name: &str, asked: &str, revision: &str, state: State) -> Pod {
    let set = name.rsplit_once('-').unwrap().0;
    let role = if set == "hippo" { "primary" } else { "replica" };
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let (container, ready, turned) = match state {
        State::Ready | State::Leaving => (json!({"running": {}}), "True", LATER),
        State::Faltering => (json!({"running": {}}), "False", LATER),
        State::Crashing => (waiting, "False", LATER),
        State::New | State::Missing => (json!({"running": {}}), "False", MADE),
    };
    let mut pod = json!({
        "metadata": {"name": name, "uid": format!("{name}-{asked}"), "labels": {"controller-revision-hash": revision, "pgop.dev/role": role},
            "annotations": {"pgop.dev/requested": asked},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "uid": set, "controller": true}]},
        "status": {"startTime": MADE, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": turned}],
            "containerStatuses": [{"name": "postgres", "image": "", "imageID": "", "ready": ready == "True", "restartCount": 0,
                "started": state != State::New, "state": container}]},
    });
    if state == State::Leaving {
        pod["metadata"]["deletionTimestamp"] = json!(LATER);
    }
    serde_json::from_value(pod).unwrap()
}

/// A cluster whose spec asks for `new`, with these pods of `old` or `new`: the primary, then the replicas in the order of their ordinals.
fn live(servers: &[(&str, State)]) -> Live {
    let mut live = Live::default();
    for (name, replicas) in [("hippo", 1), ("hippo-replica", servers.len() - 1)] {
        live.objects
            .insert((Kind::StatefulSet, name.to_owned()), set(name, replicas, "new", "new"));
    }
    for (at, (asked, state)) in servers.iter().enumerate() {
        let name = at
            .checked_sub(1)
            .map_or("hippo-0".to_owned(), |ordinal| format!("hippo-replica-{ordinal}"));
        if *state != State::Missing {
            live.pods.push(pod(&name, asked, asked, *state));
        }
    }
    live
}

fn roll(live: &Live) -> Roll {
    Roll::of(&description(), live)
}

#[test]
fn one_server_at_a_time_and_the_primary_last() {
    use State::{Crashing, Faltering, Leaving, Missing, New, Ready};
    let (old, new) = ("old", "new");
    let (primary, first, second) = (Some("hippo-0"), Some("hippo-replica-0"), Some("hippo-replica-1"));
    for (why, servers, next) in [
        ("nothing to do", vec![(new, Ready), (new, Ready), (new, Ready)], None),
        (
            "from the highest ordinal",
            vec![(old, Ready), (old, Ready), (old, Ready)],
            second,
        ),
        ("it goes", vec![(old, Ready), (old, Ready), (old, Leaving)], None),
        ("it is gone", vec![(old, Ready), (old, Ready), (old, Missing)], None),
        ("it starts", vec![(old, Ready), (old, Ready), (new, New)], None),
        (
            "it does not come up any more",
            vec![(old, Ready), (old, Ready), (new, Crashing)],
            None,
        ),
        ("it is ready", vec![(old, Ready), (old, Ready), (new, Ready)], first),
        (
            "the primary last",
            vec![(old, Ready), (new, Ready), (new, Ready)],
            primary,
        ),
        (
            "a replica wavers",
            vec![(old, Ready), (new, Faltering), (new, Ready)],
            None,
        ),
        ("alone", vec![(old, Ready)], primary),
        ("alone, and wavering", vec![(old, Faltering)], primary),
        (
            "the one that is not ready goes first",
            vec![(old, Ready), (old, Faltering), (old, Ready)],
            first,
        ),
        (
            "never two",
            vec![(old, Ready), (old, Faltering), (old, Faltering)],
            None,
        ),
        (
            "a wavering primary keeps its turn",
            vec![(old, Faltering), (old, Ready), (old, Ready)],
            None,
        ),
        (
            "a broken one at once",
            vec![(old, Ready), (old, New), (new, New)],
            first,
        ),
        (
            "broken ones one after the other",
            vec![(old, New), (old, New), (old, New)],
            second,
        ),
        (
            "a broken primary at once",
            vec![(old, New), (old, Ready), (old, Ready)],
            primary,
        ),
        (
            "one that crashes at once",
            vec![(old, Crashing), (old, Ready), (old, Ready)],
            primary,
        ),
        (
            "but not into what fails",
            vec![(old, Crashing), (old, Ready), (new, New)],
            None,
        ),
        (
            "nor is a missing node a reason to wait",
            vec![(old, Crashing), (old, Ready), (old, Leaving)],
            primary,
        ),
    ] {
        assert_eq!(roll(&live(&servers)).next.as_deref(), next, "{why}: {servers:?}");
    }
}

/// The pod holds a claim, which is being deleted.
fn delete_claim_of(live: &mut Live, name: &str) {
    let pod = live
        .pods
        .iter_mut()
        .find(|pod| pod.metadata.name.as_deref() == Some(name));
    let claim = format!("data-{name}");
    pod.unwrap().spec = serde_json::from_value(json!({"containers": [],
        "volumes": [{"name": "run", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": &claim}}]}))
    .unwrap();
    let value = json!({"metadata": {"name": &claim, "deletionTimestamp": LATER}});
    live.objects.insert((Kind::PersistentVolumeClaim, claim), value);
}

#[test]
fn no_restart_takes_a_claim_with_it() {
    for state in [State::Ready, State::Faltering, State::Crashing, State::New] {
        let mut alone = live(&[("old", state)]);
        delete_claim_of(&mut alone, "hippo-0");
        assert_eq!(roll(&alone).next, None, "{state:?}");
        assert_eq!(
            roll(&alone).sentence().unwrap(),
            "hippo-0 is not restarted, though the spec asks for other pods; claim data-hippo-0 is being deleted, and its data goes when this pod does: back it up, and delete the pod"
        );
    }
    let all = |second| live(&[("old", State::Ready), (second, State::Ready), ("old", State::Ready)]);
    let mut others_go_on = all("old");
    delete_claim_of(&mut others_go_on, "hippo-replica-1");
    assert_eq!(roll(&others_go_on).next.as_deref(), Some("hippo-replica-0"));
    let mut primary_waits = all("new");
    delete_claim_of(&mut primary_waits, "hippo-replica-1");
    assert_eq!(roll(&primary_waits).next, None);
    let mut none_due = live(&[("new", State::Ready)]);
    delete_claim_of(&mut none_due, "hippo-0");
    assert_eq!((roll(&none_due).kept, roll(&none_due).sentence()), (vec![], None));
}

#[test]
fn it_waits_for_the_controller_to_see_the_template() {
    let mut live = live(&[("old", State::Ready)]);
    live.objects.get_mut(&(Kind::StatefulSet, "hippo".to_owned())).unwrap()["metadata"]["generation"] = json!(4);
    assert_eq!(roll(&live).next, None, "a pod that is deleted now comes back as it was");
    assert_eq!(roll(&live).due, [("hippo-0".to_owned(), Cause::Spec)]);
}

#[test]
fn other_sets_and_surplus_pods_are_none_of_it() {
    let mut live = live(&[("old", State::Ready), ("old", State::Ready)]);
    live.pods.push(pod("hippo-replica-1", "old", "old", State::New));
    assert_eq!(
        roll(&live).next.as_deref(),
        Some("hippo-replica-0"),
        "the surplus one is on its way out"
    );
    for set in live.objects.values_mut() {
        set["spec"]["updateStrategy"]["type"] = json!("RollingUpdate");
    }
    assert_eq!(roll(&live), Roll::default());
}

#[test]
fn what_only_pgop_made_otherwise_waits_until_somebody_asks() {
    let older = |state| {
        let mut live = live(&[("new", State::Ready), ("new", State::Ready)]);
        live.pods[1] = pod("hippo-replica-0", "new", "of another pgop", state);
        live
    };
    let roll_of = |live: &Live| (roll(live).older, roll(live).next, roll(live).sentence());
    let mut ready = older(State::Ready);
    assert_eq!(roll_of(&ready), (vec!["hippo-replica-0".to_owned()], None, None));
    let annotate = |live: &mut Live, text: &str| {
        let set = live
            .objects
            .get_mut(&(Kind::StatefulSet, "hippo-replica".to_owned()))
            .unwrap();
        set["metadata"]["annotations"]["pgop.dev/upgrade"] = json!(text);
    };
    annotate(&mut ready, "t1 at noon");
    assert_eq!(roll(&ready).next, None, "that was asked of another template");
    annotate(&mut ready, "t2 at noon");
    assert_eq!(roll(&ready).due, [("hippo-replica-0".to_owned(), Cause::Upgrade)]);
    assert_eq!(roll(&ready).next.as_deref(), Some("hippo-replica-0"));
    // A copy of the primary that takes hours is not begun anew for it; what can't start is.
    assert_eq!(roll(&older(State::New)).next, None);
    let mut stuck = older(State::New);
    let status = stuck.pods[1].status.as_mut().unwrap();
    let waiting = json!({"name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull"}}});
    status.container_statuses = Some(vec![serde_json::from_value(waiting).unwrap()]);
    assert_eq!(roll(&stuck).due, [("hippo-replica-0".to_owned(), Cause::Stuck)]);
}

#[test]
fn a_server_says_itself_that_it_needs_a_restart() {
    let with = |reason: &str| {
        let mut live = live(&[("new", State::Ready), ("new", State::Ready)]);
        let told = json!({"type": "pgop.dev/SettingsInForce", "status": "False", "reason": reason, "message": "max_connections comes into force with a restart"});
        let conditions = live.pods[0].status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions.push(serde_json::from_value(told).unwrap());
        live
    };
    assert_eq!(
        roll(&with("Refused")),
        Roll {
            servers: 2,
            ..Roll::default()
        }
    );
    let needed = roll(&with("RestartNeeded"));
    assert_eq!(needed.next.as_deref(), Some("hippo-0"));
    assert_eq!(
        needed.sentence().unwrap(),
        "1 of 2 servers is up to date; hippo-0 is restarted, as max_connections comes into force with a restart"
    );
}

#[test]
fn kubectl_rollout_restart_restarts_in_order_too() {
    let mut live = live(&[("new", State::Ready), ("new", State::Ready)]);
    for set in live.objects.values_mut() {
        set["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!(LATER);
    }
    let all = roll(&live);
    assert_eq!(
        all.due,
        [
            ("hippo-replica-0".to_owned(), Cause::Asked),
            ("hippo-0".to_owned(), Cause::Asked)
        ]
    );
    assert_eq!(all.next.as_deref(), Some("hippo-replica-0"));
}

#[test]
fn people_read_how_far_it_is() {
    use State::{New, Ready};
    let said = |servers: &[(&str, State)]| roll(&live(servers)).sentence();
    assert_eq!(said(&[("new", Ready), ("new", New)]), None);
    assert_eq!(
        said(&[("old", Ready), ("old", Ready), ("new", Ready)]).unwrap(),
        "1 of 3 servers is up to date; hippo-replica-0 is restarted, as the spec asks for other pods"
    );
    assert_eq!(
        said(&[("old", Ready), ("new", New)]).unwrap(),
        "1 of 2 servers is up to date; the next is restarted when hippo-replica-0 is ready, as the spec asks for other pods"
    );
    assert_eq!(
        said(&[("old", Ready)]).unwrap(),
        "hippo-0 is restarted, as the spec asks for other pods"
    );
}

/// What happens in a world of pods, beside what the roll does.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The spec asks for this.
    Spec(usize),
    /// So many replicas.
    Scale(usize),
    /// The kubelet and the controllers come to this server.
    Turn(usize),
    /// It stops being ready for a moment.
    Falter(usize),
    /// It crashes, again and again.
    Crash(usize),
    /// Somebody deletes its pod.
    Delete(usize),
    /// The operator looks, whatever the state of the rest.
    Look,
}

/// Specs of an odd number ask for what does not start.
fn starts(spec: usize) -> bool {
    spec.is_multiple_of(2)
}

#[derive(Clone, Debug, PartialEq)]
struct World {
    spec: usize,
    /// The primary, then the replicas: of which spec each pod is, and how it does.
    servers: Vec<(usize, State)>,
}

impl World {
    fn live(&self) -> Live {
        let words: Vec<String> = (0..4).map(|spec| format!("spec-{spec}")).collect();
        let servers: Vec<(&str, State)> = self
            .servers
            .iter()
            .map(|(spec, state)| (words[*spec].as_str(), *state))
            .collect();
        let mut live = live(&servers);
        for (name, replicas) in [("hippo", 1), ("hippo-replica", servers.len() - 1)] {
            let asked = &words[self.spec];
            live.objects
                .insert((Kind::StatefulSet, name.to_owned()), set(name, replicas, asked, asked));
        }
        live
    }

    /// The operator looks, and restarts one at most; what it may never do fails the test.
    fn look(&mut self) -> Option<usize> {
        let next = roll(&self.live()).next?;
        let at = match next.strip_prefix("hippo-replica-") {
            Some(ordinal) => ordinal.parse::<usize>().unwrap() + 1,
            None => 0,
        };
        let (spec, state) = self.servers[at];
        assert_ne!(spec, self.spec, "{next} has what the spec asks for: {self:?}");
        assert!(
            !matches!(state, State::Missing | State::Leaving),
            "{next} is gone: {self:?}"
        );
        if matches!(state, State::Ready | State::Faltering) {
            let mut others = self.servers.iter().enumerate().filter(|(other, _)| *other != at);
            assert!(
                others.all(|(_, (_, state))| *state == State::Ready),
                "two are down: {next}, {self:?}"
            );
            let replicas = self.servers[1..].iter();
            let done = replicas.filter(|(spec, _)| *spec == self.spec).count();
            assert!(
                at > 0 || done == self.servers.len() - 1,
                "the primary is not last: {self:?}"
            );
        }
        self.servers[at].1 = State::Leaving;
        Some(at)
    }

    /// What Kubernetes does with one server.
    fn turn(&mut self, at: usize) {
        let now = self.spec;
        let (spec, state) = &mut self.servers[at];
        *state = match *state {
            State::Leaving => State::Missing,
            State::Missing => {
                *spec = now;
                State::New
            }
            State::New | State::Faltering if starts(*spec) => State::Ready,
            other => other,
        };
    }

    fn happen(&mut self, event: Event) {
        let count = self.servers.len();
        match event {
            Event::Spec(spec) => self.spec = spec,
            Event::Scale(replicas) => self.servers.resize(replicas + 1, (self.spec, State::Missing)),
            Event::Turn(at) => self.turn(at % count),
            Event::Look => drop(self.look()),
            Event::Delete(at) => {
                if self.servers[at % count].1 != State::Missing {
                    self.servers[at % count].1 = State::Leaving;
                }
            }
            Event::Falter(at) | Event::Crash(at) => {
                let is_crash = matches!(event, Event::Crash(_));
                let state = &mut self.servers[at % count].1;
                if *state == State::Ready {
                    *state = if is_crash { State::Crashing } else { State::Faltering };
                }
            }
        }
    }

    /// Nobody disturbs it any more: the operator and Kubernetes go on until nothing moves. What crashes with the very settings that it should have comes
    /// to itself; with others it does not, so that nothing but a restart helps.
    fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.clone();
            self.look();
            for at in 0..self.servers.len() {
                self.turn(at);
                let (spec, state) = &mut self.servers[at];
                if *spec == self.spec && starts(*spec) && *state == State::Crashing {
                    *state = State::Ready;
                }
            }
            if *self == before {
                return;
            }
        }
        panic!("it never comes to rest: {self:?}");
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..4usize).prop_map(Event::Spec),
        1 => (0..4usize).prop_map(Event::Scale),
        6 => (0..4usize).prop_map(Event::Turn),
        1 => (0..4usize).prop_map(Event::Falter),
        1 => (0..4usize).prop_map(Event::Crash),
        1 => (0..4usize).prop_map(Event::Delete),
        6 => Just(Event::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_happens_two_are_never_down_by_our_doing_and_a_good_spec_comes_to_all(
        replicas in 0..4usize, events in vec(event(), 0..60), good in 0..2usize
    ) {
        let mut world = World { spec: 0, servers: vec![(0, State::Ready); replicas + 1] };
        for event in events {
            world.happen(event);
        }
        world.spec = good * 2;
        world.settle();
        let count = world.servers.len();
        prop_assert_eq!(world.servers, vec![(world.spec, State::Ready); count]);
    }

    #[test]
    fn a_spec_that_does_not_start_stops_at_the_first_and_the_former_one_brings_it_back(replicas in 0..4usize) {
        let mut world = World { spec: 0, servers: vec![(0, State::Ready); replicas + 1] };
        world.spec = 1;
        world.settle();
        let serving = world.servers.iter().filter(|(spec, state)| (*spec, *state) == (0, State::Ready)).count();
        prop_assert_eq!(serving, replicas);
        prop_assert_eq!(world.servers[replicas], (1, State::New));
        world.spec = 0;
        prop_assert_eq!(world.look(), Some(replicas), "at once");
        world.settle();
        prop_assert_eq!(world.servers, vec![(0, State::Ready); replicas + 1]);
    }
}
