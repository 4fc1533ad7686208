//! How the tasks of a sandbox are run, how long what failed waits, and what time it is.
//!
//! - A panic is told with the name of its task, and has an effect: the task is started again ([`supervise`]), or who waits for it
//!   learns of it ([`spawn`], [`spawn_essential`]). Nothing else in the sandbox starts tasks; `clippy.toml` sees to that.
//! - No pause and no deadline depends on how long something has run: [`Doubling`] and [`in_seconds`] are right for any number.
//! - What time it is says [`now`], so that tests live through a week in seconds.

mod clock;
mod pause;
mod spawn;

pub use clock::{VirtualTime, now, virtual_time};
pub use pause::{Doubling, in_seconds};
pub use spawn::{Name, Panicked, spawn, spawn_essential, spawn_in, spawn_tracked, supervise, watched};
