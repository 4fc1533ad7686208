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
    let variable = |name: &str| std::env::var(name).ok();
    let done = match std::env::args().nth(1).as_deref() {
        Some("server") => serve().await,
        Some("stop") => stop().await,
        Some("backup") => return pgop_agent::backup::run(variable).await.code().into(),
        Some("restore") => return pgop_agent::restore::run(variable).await.code().into(),
        _ => {
            tracing::error!("usage: pgop-agent server|stop|backup|restore");
            Ok(2)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn stop() -> std::io::Result<u8> {
    let environment = Environment::read(|name| std::env::var(name).ok()).map_err(std::io::Error::other)?;
    pgop_agent::stop::ask(&environment.run).await;
    Ok(0)
}

async fn serve() -> std::io::Result<u8> {
    let environment = Environment::read(|name| std::env::var(name).ok()).map_err(std::io::Error::other)?;
    Agent::new(environment)?.run().await
}
