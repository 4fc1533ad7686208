//! Assertions by subject, and the run over all of them.

use crate::{Space, Target, space::PATIENCE};
use futures::{FutureExt as _, future::LocalBoxFuture};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{
    any::type_name,
    cell::RefCell,
    collections::BTreeMap,
    fmt::Write as _,
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::runtime::Runtime;

/// No assertion may take longer: more than its longest wait, so that it is told what it waited for.
const LIMIT: Duration = PATIENCE.saturating_add(Duration::from_secs(100));
/// Most assertions wait for somebody else's work: more of them than there are cores can run at once.
const THREADS: usize = 10;

type Body = Arc<dyn Fn(Space) -> LocalBoxFuture<'static, ()> + Send + Sync>;

struct Assertion {
    name: &'static str,
    /// From which minor version on it holds, and why, where that is newer than the oldest supported.
    since: Option<(u32, &'static str)>,
    body: Body,
}

/// Assertions about one thing.
pub struct Subject {
    name: &'static str,
    assertions: Vec<Assertion>,
}

impl Subject {
    /// A subject without assertions.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            assertions: Vec::new(),
        }
    }

    /// Adds an assertion that holds on every server. Its name is the function's.
    #[must_use]
    pub fn holds<T, F>(self, assertion: T) -> Self
    where
        T: Fn(Space) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.add(None, assertion)
    }

    /// Adds an assertion that holds from 1.`minor` on, for this reason.
    #[must_use]
    pub fn since<T, F>(self, minor: u32, reason: &'static str, assertion: T) -> Self
    where
        T: Fn(Space) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.add(Some((minor, reason)), assertion)
    }

    fn add<T, F>(mut self, since: Option<(u32, &'static str)>, assertion: T) -> Self
    where
        T: Fn(Space) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        let name = type_name::<T>().rsplit("::").next().unwrap_or_default();
        self.assertions.push(Assertion {
            name,
            since,
            body: Arc::new(move |space| assertion(space).boxed_local()),
        });
        self
    }
}

impl Assertion {
    /// Why it doesn't concern this server, if so.
    fn skipped(&self, minor: u32) -> Option<String> {
        let (since, reason) = self.since.filter(|(since, _)| minor < *since)?;
        Some(format!("since 1.{since}: {reason}"))
    }
}

/// Passed, failed and skipped assertions of each subject.
type Tally = Arc<Mutex<BTreeMap<&'static str, [usize; 3]>>>;

/// Connects when the first assertion runs, so that `--list` needs no cluster.
#[derive(Clone)]
struct Connection(Arc<(Runtime, OnceLock<Arc<Target>>)>);

impl Connection {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        Self(Arc::new((runtime.expect("a runtime"), OnceLock::new())))
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.0.block_on(work)
    }

    fn target(&self) -> Arc<Target> {
        self.0.1.get_or_init(|| Arc::new(self.wait(Target::connect()))).clone()
    }
}

/// Runs the assertions that the command line asks for, as libtest would (`--ignored` to run those that need a cluster, which
/// is all of them; a filter; `--list`; `--test-threads`), and prints a table of subjects.
pub fn run(subjects: Vec<Subject>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    remember_panics();
    let (connection, tally) = (Connection::new(), Tally::default());
    let mut trials = Vec::new();
    for subject in subjects {
        for assertion in subject.assertions {
            let (connection, tally, subject) = (connection.clone(), tally.clone(), subject.name);
            let name = format!("{subject}::{}", assertion.name);
            let trial = Trial::ignorable_test(name, move || {
                let outcome = check(&connection, &assertion);
                let column = match &outcome {
                    Ok(Completion::Completed) => 0,
                    Err(_) => 1,
                    Ok(_) => 2,
                };
                tally.lock().unwrap().entry(subject).or_default()[column] += 1;
                outcome
            });
            // #[ignore = "needs a cluster"]
            trials.push(trial.with_ignored_flag(true));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(target) = connection.0.1.get() {
        connection.wait(target.clean());
        show(&format!(
            "{} at {}\n{}",
            target.version(),
            target.address(),
            table(&tally.lock().unwrap())
        ));
    }
    conclusion.exit_code()
}

fn check(connection: &Connection, assertion: &Assertion) -> Result<Completion, Failed> {
    let target = connection.target();
    if let Some(reason) = assertion.skipped(target.minor()) {
        return Ok(Completion::ignored_with(reason));
    }
    connection.wait(async {
        let body = async {
            let space = Space::new(target).await;
            let outcome = AssertUnwindSafe(tokio::time::timeout(LIMIT, (assertion.body)(space.clone())))
                .catch_unwind()
                .await;
            space.clean().await;
            outcome
        };
        match AssertUnwindSafe(body).catch_unwind().await {
            Ok(Ok(Ok(()))) => Ok(Completion::Completed),
            Ok(Ok(Err(_))) => Err(format!("not done after {LIMIT:?}").into()),
            Ok(Err(_)) | Err(_) => Err(LAST_PANIC.take().into()),
        }
    })
}

thread_local! {
    /// What the last panic on this thread said, and where. An assertion is polled by one thread only.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics kept for the report instead of printed between other tests' lines.
fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        let message = message.unwrap_or("a panic without words");
        LAST_PANIC.set(format!("{place}: {message}"));
    }));
}

fn table(tally: &BTreeMap<&'static str, [usize; 3]>) -> String {
    let mut text = format!("{:<24}{:>8}{:>8}{:>8}\n", "subject", "passed", "failed", "skipped");
    let mut sum = [0; 3];
    for (subject, counts) in tally {
        let [passed, failed, skipped] = counts;
        let _ = writeln!(text, "{subject:<24}{passed:>8}{failed:>8}{skipped:>8}");
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [passed, failed, skipped] = sum;
    let _ = writeln!(text, "{:<24}{passed:>8}{failed:>8}{skipped:>8}", "all");
    text
}

#[expect(clippy::print_stdout, reason = "the table is what a run is for")]
fn show(text: &str) {
    println!("{text}");
}
