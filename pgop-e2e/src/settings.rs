//! What the suite is told by its environment.

use std::path::PathBuf;
use std::sync::OnceLock;

/// The suite's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `pgo` binary.
    pub pgo: PathBuf,
    /// Image of the operator.
    pub operator_image: String,
    /// Image of the servers.
    pub postgres_image: String,
    /// How many of the twenty databases and twenty clusters run a server, where a story has so many.
    pub running: usize,
    /// Keep the namespaces of the tests.
    pub keep: bool,
}

/// They are read once.
pub fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let text = |name: &str, default: &str| {
            std::env::var(name)
                .ok()
                .filter(|v| !v.is_empty())
                .unwrap_or(default.to_owned())
        };
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/pgo");
        Settings {
            pgo: text("PGO", built).into(),
            operator_image: text("PGOP_E2E_IMAGE", "pgop/operator:dev"),
            postgres_image: text("PGOP_E2E_POSTGRES_IMAGE", "lab/postgres:15"),
            running: text("PGOP_E2E_RUNNING", "1")
                .parse()
                .expect("PGOP_E2E_RUNNING is a number"),
            keep: std::env::var_os("PGOP_E2E_KEEP").is_some(),
        }
    })
}
