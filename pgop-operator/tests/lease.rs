//! The lease against an API server in memory that keeps `resourceVersion`s, on a clock that the tests turn.
#![allow(clippy::unwrap_used)] // a test may panic

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::Body;
use pgop_operator::lease::{Candidate, Held, LeaseError};
use serde_json::{Value, json};
use tokio::time::{Instant, advance, timeout};
use tower::service_fn;

const DURATION: Duration = Duration::from_secs(15);

/// One lease; every write gives it a new version, and a write that names an old one is a conflict.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Value>,
    version: u64,
    writes: u64,
    /// Answer of a server in trouble.
    failing: Option<u16>,
    /// So many requests get no answer: their connection is dead.
    unanswered: u32,
}

impl Server {
    fn candidate(&self, identity: &str) -> Candidate {
        self.candidate_for(identity, DURATION)
    }

    fn candidate_for(&self, identity: &str, duration: Duration) -> Candidate {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                if server.is_dead() {
                    std::future::pending::<()>().await;
                }
                let (code, value) = server.answer(&parts.method, &body);
                let body = Body::from(serde_json::to_vec(&value).unwrap());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Candidate::new(
            kube::Client::new(service, "pgop"),
            "pgop",
            "pgop-operator",
            identity,
            duration,
        )
    }

    fn answer(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        let mut stored = self.0.lock().unwrap();
        if let Some(code) = stored.failing {
            return refusal(code, if code == 403 { "Forbidden" } else { "InternalError" });
        }
        let sent = || serde_json::from_slice::<Value>(body).unwrap();
        match (method, &stored.lease) {
            (&Method::GET, Some(lease)) => (200, lease.clone()),
            (&Method::GET | &Method::PUT, None) => refusal(404, "NotFound"),
            (&Method::POST, Some(_)) => refusal(409, "AlreadyExists"),
            (&Method::POST, None) => (201, stored.keep(sent())),
            (&Method::PUT, Some(_)) if sent()["spec"]["holderIdentity"] == "" => refusal(422, "Invalid"),
            (&Method::PUT, Some(lease)) => {
                let sent = sent();
                let is_current = sent["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"];
                if is_current {
                    (200, stored.keep(sent))
                } else {
                    refusal(409, "Conflict")
                }
            }
            _ => refusal(405, "MethodNotAllowed"),
        }
    }

    fn is_dead(&self) -> bool {
        let mut stored = self.0.lock().unwrap();
        let is_dead = stored.unanswered > 0;
        stored.unanswered = stored.unanswered.saturating_sub(1);
        is_dead
    }

    fn set_failing(&self, code: impl Into<Option<u16>>) {
        self.0.lock().unwrap().failing = code.into();
    }

    fn spec(&self) -> Value {
        self.0
            .lock()
            .unwrap()
            .lease
            .as_ref()
            .map(|lease| lease["spec"].clone())
            .unwrap_or_default()
    }

    fn holder(&self) -> String {
        self.spec()["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }
}

impl Stored {
    fn keep(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        self.writes += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}),
    )
}

async fn acquire(candidate: &Candidate) -> Held {
    timeout(Duration::from_secs(60), candidate.acquire(|_| {}))
        .await
        .expect("in time")
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_free_lease_is_taken_at_once_and_renewed() {
    let server = Server::default();
    let started = Instant::now();
    let held = acquire(&server.candidate("a")).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(
        (server.holder().as_str(), &server.spec()["leaseTransitions"]),
        ("a", &json!(1))
    );
    tokio::time::sleep(DURATION * 4).await;
    assert!(server.writes() >= 15, "{} renewals in four durations", server.writes());
    assert_eq!(server.spec()["leaseTransitions"], 1);
    held.release().await.unwrap();
    assert_eq!(server.holder(), "");
}

#[tokio::test(start_paused = true)]
async fn a_second_one_waits_and_takes_over_what_was_released_without_delay() {
    let server = Server::default();
    let first = acquire(&server.candidate("a")).await;
    let second = server.candidate("b");
    let waited = timeout(DURATION * 3, second.acquire(|holder| assert_eq!(holder, "a"))).await;
    assert!(waited.is_err(), "b must wait while a renews");
    first.release().await.unwrap();
    let released = Instant::now();
    let held = acquire(&second).await;
    assert!(released.elapsed() <= Duration::from_secs(3), "{:?}", released.elapsed());
    assert_eq!(
        (server.holder().as_str(), &server.spec()["leaseTransitions"]),
        ("b", &json!(2))
    );
    held.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_followed_after_the_duration_and_not_before() {
    let server = Server::default();
    // It renewed its lease long ago by its own clock, which nobody trusts.
    let spec =
        json!({"holderIdentity": "dead", "leaseDurationSeconds": 15, "renewTime": "2001-01-01T00:00:00.000000Z"});
    server
        .0
        .lock()
        .unwrap()
        .keep(json!({"metadata": {"name": "pgop-operator"}, "spec": spec}));
    let started = Instant::now();
    let _held = acquire(&server.candidate("b")).await;
    assert!(started.elapsed() >= DURATION, "{:?}", started.elapsed());
    assert!(
        started.elapsed() <= DURATION + Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_identity_goes_on_at_once() {
    let server = Server::default();
    let spec = json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 7});
    server
        .0
        .lock()
        .unwrap()
        .keep(json!({"metadata": {"name": "pgop-operator"}, "spec": spec}));
    let started = Instant::now();
    let _held = acquire(&server.candidate("a")).await;
    assert_eq!(
        (started.elapsed(), &server.spec()["leaseTransitions"]),
        (Duration::ZERO, &json!(7))
    );
}

#[tokio::test(start_paused = true)]
async fn of_many_exactly_one_gets_it() {
    let server = Server::default();
    let mut tries = tokio::task::JoinSet::new();
    for i in 0..20 {
        let candidate = server.candidate(&format!("c{i}"));
        tries.spawn(async move { timeout(DURATION * 2, candidate.acquire(|_| {})).await.ok() });
    }
    let held = tries.join_all().await.into_iter().flatten().count();
    assert_eq!(held, 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_cut_off_says_so_before_anybody_can_follow() {
    let server = Server::default();
    let mut held = acquire(&server.candidate("a")).await;
    server.set_failing(500);
    let cut = Instant::now();
    let error = timeout(DURATION, held.lost())
        .await
        .expect("before the duration is over");
    assert!(matches!(error, LeaseError::Silent { .. }), "{error}");
    assert!(cut.elapsed() < DURATION, "{:?}", cut.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_is_survived() {
    let server = Server::default();
    let mut held = acquire(&server.candidate("a")).await;
    for _ in 0..5 {
        server.set_failing(503);
        advance(Duration::from_secs(4)).await;
        server.set_failing(None);
        let lost = timeout(Duration::from_secs(6), held.lost()).await;
        assert!(lost.is_err(), "{lost:?}");
    }
    assert_eq!(server.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_given_up_and_asked_again() {
    let server = Server::default();
    let mut held = acquire(&server.candidate("a")).await;
    for _ in 0..5 {
        server.0.lock().unwrap().unanswered = 1;
        let lost = timeout(DURATION, held.lost()).await;
        assert!(lost.is_err(), "{lost:?}");
        assert_eq!(server.0.lock().unwrap().unanswered, 0);
    }
    assert_eq!(server.holder(), "a");
    // For all requests it is the end, and still before anybody can follow.
    server.0.lock().unwrap().unanswered = u32::MAX;
    let cut = Instant::now();
    let error = timeout(DURATION, held.lost())
        .await
        .expect("before the duration is over");
    assert!(
        matches!(error, LeaseError::Silent { .. }) && cut.elapsed() < DURATION,
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_week_of_renewals_with_a_trouble_every_hour_is_held_throughout() {
    let hour = Duration::from_secs(3600);
    // Long, for fewer renewals.
    let duration = Duration::from_secs(150);
    let server = Server::default();
    let mut held = acquire(&server.candidate_for("a", duration)).await;
    let rival = server.candidate_for("b", duration);
    let rival = tokio::spawn(async move { rival.acquire(|holder| assert_eq!(holder, "a")).await });
    for number in 0..7 * 24 {
        match number % 3 {
            0 => server.0.lock().unwrap().unanswered = 1,
            1 => server.set_failing(500),
            _ => {}
        }
        let lost = timeout(duration / 3, held.lost()).await;
        assert!(lost.is_err(), "hour {number}: {lost:?}");
        server.set_failing(None);
        let lost = timeout(hour - duration / 3, held.lost()).await;
        assert!(lost.is_err(), "hour {number}: {lost:?}");
    }
    assert_eq!(server.holder(), "a");
    assert!(!rival.is_finished());
    rival.abort();
    held.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_has_is_lost_at_the_next_renewal() {
    let server = Server::default();
    let mut held = acquire(&server.candidate("a")).await;
    let taken =
        json!({"metadata": {"name": "pgop-operator"}, "spec": {"holderIdentity": "b", "leaseDurationSeconds": 15}});
    server.0.lock().unwrap().keep(taken);
    let error = timeout(DURATION / 4, held.lost()).await.expect("at the next renewal");
    assert!(
        matches!(&error, LeaseError::Taken { holder } if holder == "b"),
        "{error}"
    );
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again() {
    let server = Server::default();
    let mut held = acquire(&server.candidate("a")).await;
    server.0.lock().unwrap().lease = None;
    let lost = timeout(DURATION, held.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(server.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_names_what_grants_it() {
    let server = Server::default();
    server.set_failing(403);
    let candidate = server.candidate("a");
    let error = timeout(DURATION * 3, candidate.acquire(|_| {}))
        .await
        .expect("no endless tries")
        .unwrap_err();
    assert!(
        error.to_string().contains("pgop/pgop-operator") && error.to_string().contains("pgo install"),
        "{error}"
    );
}
