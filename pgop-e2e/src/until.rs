//! Waiting for something, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(300);

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
