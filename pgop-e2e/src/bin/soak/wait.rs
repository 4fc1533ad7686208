//! Waiting that does not mind a slow machine: the deadline is far away, and what is waited for is told.

use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(900);
const FIRST: Duration = Duration::from_millis(300);
/// Asking costs the machine something, too.
const LONGEST: Duration = Duration::from_secs(2);

/// Asks until there is an answer.
pub(crate) fn patiently<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let started = Instant::now();
    let mut pause = FIRST;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() > PATIENCE => {
                return Err(format!("waited {} s in vain for {what}: {last}", PATIENCE.as_secs()));
            }
            Err(_) => sleep(pause),
        }
        pause = (pause * 2).min(LONGEST);
    }
}
