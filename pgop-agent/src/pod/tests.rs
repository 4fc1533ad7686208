//! The agent tells, in virtual time, to an API server that does as it is told.

use std::sync::Mutex;
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::watch;
use tokio::time::sleep;

use super::*;

/// What an API server answers and was asked.
struct Server {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pod: Vec<PodCondition>,
    refuses: Option<StatusCode>,
    /// An answer takes so long.
    takes: Duration,
    log: Vec<(u64, String)>,
}

impl Server {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::default(),
        }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// What it was asked since the last look, each with the second.
    fn log(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    async fn asked(&self, what: String) -> Result<(), ClientError> {
        let takes = self.state.lock().unwrap().takes;
        sleep(takes).await;
        let mut state = self.state.lock().unwrap();
        state.log.push((self.began.elapsed().as_secs(), what));
        state.refuses.map_or(Ok(()), |code| {
            Err(ClientError::Refused {
                code,
                message: "no".to_owned(),
            })
        })
    }
}

impl Api for Server {
    async fn read(&self) -> Result<Vec<PodCondition>, ClientError> {
        self.asked("read".to_owned()).await?;
        Ok(self.state.lock().unwrap().pod.clone())
    }

    async fn apply(&self, conditions: &[PodCondition]) -> Result<(), ClientError> {
        let words = |one: &PodCondition| format!("{:?} {} since {}", one.status, one.message, one.last_transition_time);
        let all: Vec<String> = conditions.iter().map(words).collect();
        self.asked(all.join(", ")).await?;
        self.state.lock().unwrap().pod = conditions.to_vec();
        Ok(())
    }
}

fn space(holds: bool, message: &str) -> Vec<Condition> {
    vec![Condition {
        about: "Space",
        holds: Some(holds),
        reason: "Because",
        message: message.to_owned(),
    }]
}

/// Lets the agent tell what `scenario` says to the server, till the scenario is over.
async fn telling(server: &Server, scenario: impl AsyncFnOnce(&watch::Sender<Vec<Condition>>)) {
    let (sender, receiver) = watch::channel(Vec::new());
    let clock = || server.began.elapsed().as_secs().to_string();
    tokio::select! {
        biased;
        () = tell(server, receiver, clock) => panic!("it ended before its sender"),
        () = scenario(&sender) => {}
    }
}

async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

fn log(entries: &[(u64, &str)]) -> Vec<(u64, String)> {
    entries.iter().map(|(at, what)| (*at, (*what).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_changes() {
    let server = Server::new();
    telling(&server, async |sender| {
        pass(100).await;
        assert_eq!(server.log(), [], "nothing was looked at yet");
        sender.send_replace(space(true, "a"));
        pass(1).await;
        assert_eq!(server.log(), log(&[(100, "read"), (100, "True a since 100")]));
        for _ in 0..1000 {
            sender.send_replace(space(true, "a"));
            pass(10).await;
        }
        assert_eq!(server.log(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_starts_again_goes_on_where_it_was() {
    let server = Server::new();
    server.set(|state| state.pod = told(&space(true, "a"), &[], "before"));
    telling(&server, async |sender| {
        sender.send_replace(space(true, "a"));
        pass(60).await;
        assert_eq!(server.log(), log(&[(0, "read")]), "the pod says it already");
        sender.send_replace(space(true, "b"));
        pass(60).await;
        assert_eq!(server.log(), log(&[(60, "True b since before")]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_status_is_told_at_once_and_words_every_five_seconds() {
    let server = Server::new();
    telling(&server, async |sender| {
        sender.send_replace(space(true, "a"));
        pass(1).await;
        server.log();
        for second in 1..13 {
            sender.send_replace(space(true, &second.to_string()));
            pass(1).await;
        }
        assert_eq!(server.log(), log(&[(5, "True 4 since 0"), (10, "True 9 since 0")]));
        sender.send_replace(space(false, "full"));
        pass(60).await;
        assert_eq!(server.log(), log(&[(13, "False full since 13")]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_said_during_a_request_is_told_after_it() {
    let server = Server::new();
    server.set(|state| state.takes = Duration::from_secs(3));
    telling(&server, async |sender| {
        sender.send_replace(space(true, "a"));
        pass(4).await;
        sender.send_replace(space(false, "b"));
        pass(1).await;
        sender.send_replace(space(false, "c"));
        pass(60).await;
        assert_eq!(
            server.log(),
            log(&[(3, "read"), (6, "True a since 0"), (9, "False c since 6")])
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_for_ten_minutes_is_told_when_it_is_back() {
    let server = Server::new();
    telling(&server, async |sender| {
        sender.send_replace(space(true, "a"));
        pass(10).await;
        server.log();
        server.set(|state| state.refuses = Some(StatusCode::SERVICE_UNAVAILABLE));
        sender.send_replace(space(false, "b"));
        pass(600).await;
        let tries: Vec<u64> = server.log().into_iter().map(|(at, _)| at).collect();
        assert_eq!(
            tries,
            [10, 11, 13, 17, 25, 41, 73, 133, 193, 253, 313, 373, 433, 493, 553]
        );
        server.set(|state| state.refuses = None);
        pass(60).await;
        // The status is as old as it is, and not as its telling.
        assert_eq!(server.log(), log(&[(613, "False b since 10")]));
        pass(3600).await;
        assert_eq!(server.log(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_to_mend_is_tried_once_a_minute() {
    let server = Server::new();
    server.set(|state| state.refuses = Some(StatusCode::FORBIDDEN));
    telling(&server, async |sender| {
        sender.send_replace(space(true, "a"));
        pass(150).await;
        assert_eq!(server.log(), log(&[(0, "read"), (60, "read"), (120, "read")]));
        server.set(|state| state.refuses = None);
        pass(60).await;
        assert_eq!(server.log(), log(&[(180, "read"), (180, "True a since 0")]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_sender_after_the_last_word() {
    let server = Server::new();
    let (sender, receiver) = watch::channel(space(true, "a"));
    sender.send_replace(space(false, "b"));
    drop(sender);
    tell(&server, receiver, || "now".to_owned()).await;
    assert_eq!(server.log(), log(&[(0, "read"), (0, "False b since now")]));
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_an_account_is_left_alone() {
    let (_sender, receiver) = watch::channel(space(true, "a"));
    let began = Instant::now();
    run(|_| None, receiver).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "it waited for something");
}
