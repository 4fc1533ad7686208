//! Where the log goes: standard error, as text or JSON.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Why there is no log.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The level is no level.
    #[error(
        "--log-level `{level}` can't be read: {source}; use error, warn, info, debug or trace, or levels by module such as info,pgop_core=debug"
    )]
    Level {
        /// As given.
        level: String,
        /// What is wrong.
        source: tracing_subscriber::filter::ParseError,
    },
}

/// Starts logging. A program that embeds this one may have its own log already, which then stays.
pub fn start(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|source| TelemetryError::Level {
            level: level.to_owned(),
            source,
        })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false); // it would tell of a full disk on the same disk, and panic
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic belongs into the log, wherever it happens: what comes of it is decided by who waits for the task.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str));
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let current = std::thread::current();
    let thread = current.name().unwrap_or_default();
    tracing::error!(thread, place, "panic: {}", text.unwrap_or("no message"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_says_what_is_right() {
        let error = start(LogFormat::Text, "pgop_core=loud").unwrap_err().to_string();
        assert!(
            error.starts_with("--log-level `pgop_core=loud` can't be read"),
            "{error}"
        );
        assert!(error.contains("use error, warn, info, debug or trace"), "{error}");
    }
}
