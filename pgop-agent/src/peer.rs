//! A server elsewhere, asked over the network.

use std::time::Duration;

use thiserror::Error;
use tokio_postgres::{Client, Config, NoTls};

use crate::conninfo::Target;
use crate::resolve::{Names, ResolveError};
use crate::secret::Login;

/// How long a connection may take, at each address.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take with all that is said before the first query: a peer that takes connections and says nothing is away.
const GREETING: Duration = Duration::from_secs(20);
/// A peer that vanished is noticed within half a minute.
const VANISHED: Duration = Duration::from_secs(30);

/// Why it told nothing. All of it may mend itself: it restarts, its name or a password is on its way, others have all connections.
#[derive(Debug, Error)]
pub enum PeerError {
    /// In its own words.
    #[error("{}", words(.0))]
    Ask(#[source] tokio_postgres::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Nobody knows where it is.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

/// What an error says: the server's words, or the chain of reasons, as the outermost says no more than that there was an error.
pub fn words(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{}: {}", error.severity(), error.message());
    }
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        source = inner.source();
    }
    words
}

/// Connects to its database `postgres`; `options` are those of libpq.
pub async fn connect(target: &Target, login: &Login, options: &str) -> Result<Client, PeerError> {
    let addresses = Names::of_machine()?.addresses(&target.host, CONNECT).await?;
    let mut config = Config::new();
    config.port(target.port);
    // Every address has a host beside it, which stands for it in what is said.
    for address in addresses {
        config.host(&target.host).hostaddr(address);
    }
    config.user(&login.name).password(&login.password).dbname("postgres");
    config.application_name(&target.application).options(options);
    config.connect_timeout(CONNECT).tcp_user_timeout(VANISHED);
    config
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(4);
    let (client, connection) = within(GREETING, config.connect(NoTls)).await?;
    // It ends with the client.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// An answer that comes in time.
pub async fn within<T>(
    bound: Duration,
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PeerError> {
    match tokio::time::timeout(bound, asked).await {
        Ok(answer) => answer.map_err(PeerError::Ask),
        Err(_) => Err(PeerError::Silent(bound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In virtual time: nobody waits for it.
    #[tokio::test(start_paused = true)]
    async fn who_takes_connections_and_says_nothing_is_away() {
        let silent = within(GREETING, std::future::pending::<Result<(), _>>()).await;
        assert_eq!(silent.unwrap_err().to_string(), "no answer within 20 s");
    }
}
