//! Waiting for something, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(300);
/// For programs that run for hours on a slow machine.
const PATIENCE: Duration = Duration::from_secs(900);
/// Asking costs the machine something, too.
const LONGEST: Duration = Duration::from_secs(2);

/// Probes until it gives a value. A test that waits in vain panics with what was waited for and what stood in the way last.
///
/// ```
/// let mut tries = 0;
/// let third = pgop_e2e::until(5, "the third try", || {
///     tries += 1;
///     if tries == 3 { Ok(tries) } else { Err(format!("only {tries}")) }
/// });
/// assert_eq!(third, 3);
/// ```
#[track_caller]
pub fn until<T>(seconds: u64, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if started.elapsed() > Duration::from_secs(seconds) => {
                panic!("waited {seconds} s in vain for {what}: {last}")
            }
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Probes for a time, and panics when that fails once: for what must stay as it is.
#[track_caller]
pub fn hold(seconds: u64, what: &str, mut probe: impl FnMut() -> Result<(), String>) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        if let Err(problem) = probe() {
            panic!("{what} held only {} s: {problem}", started.elapsed().as_secs());
        }
        sleep(PAUSE);
    }
}

/// Asks until there is an answer. It does not mind a slow machine: the deadline is far away, and what is waited for is told.
pub fn patiently<T>(what: &str, probe: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    within(PATIENCE, what, probe)
}

/// The same with a deadline.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let started = Instant::now();
    let mut pause = PAUSE;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() > limit => {
                return Err(format!("waited {} s in vain for {what}: {last}", limit.as_secs()));
            }
            Err(_) => sleep(pause),
        }
        pause = (pause * 2).min(LONGEST);
    }
}
