//! The agent's program.

use std::process::ExitCode;

use pgop_agent::environment::Environment;
use pgop_agent::server::Agent;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    if let Some("server") = std::env::args().nth(1).as_deref() {
        match serve().await {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        }
    } else {
        tracing::error!("usage: pgop-agent server");
        ExitCode::from(2)
    }
}

async fn serve() -> std::io::Result<u8> {
    let environment = Environment::read(|name| std::env::var(name).ok()).map_err(std::io::Error::other)?;
    Agent::new(environment)?.run().await
}
