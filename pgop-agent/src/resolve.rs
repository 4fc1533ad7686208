//! Addresses of hosts.
//!
//! The C library's own look-up loads libraries at run time, which a static program in an empty root does not have. This one reads what the kubelet
//! writes, `/etc/hosts` and `/etc/resolv.conf`, as the C library does: search domains, `ndots`, names that end in a dot, several servers. Both files
//! are read for each question, and no answer is kept: an address changes when its pod is replaced.
//!
//! ```no_run
//! # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! let names = pgop_agent::resolve::Names::of_machine()?;
//! let mut config = tokio_postgres::Config::new();
//! for address in names.addresses("orders", Duration::from_secs(5)).await? {
//!     config.host("orders").hostaddr(address); // one after the other is tried
//! }
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use thiserror::Error;

/// Why a host has no address.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// One of the files can't be read.
    #[error("could not read {path}: {source}")]
    Read {
        /// Which.
        path: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// What is in `/etc/resolv.conf` can't be used.
    #[error("could not use /etc/resolv.conf: {0}; set the pod's dnsConfig right")]
    Configure(#[source] NetError),
    /// It is no name of a host.
    #[error("`{host}` is no name of a host: {source}")]
    Parse {
        /// What was given.
        host: String,
        /// What is wrong with it.
        source: ProtoError,
    },
    /// The servers know no such name.
    #[error("there is no host {host} (asked for {asked}): is there a Service or a pod of that name, and is it ready?")]
    Unknown {
        /// The host.
        host: String,
        /// The names that were asked for.
        asked: String,
    },
    /// A server failed, or none answers.
    #[error("could not ask for the address of host {host}: {source}; see whether the cluster's DNS works")]
    Ask {
        /// The host.
        host: String,
        /// What the last server said.
        source: NetError,
    },
    /// There was no answer in time.
    #[error("no name server told the address of host {host} within {} s; see whether the cluster's DNS works", limit.as_secs_f32())]
    TimedOut {
        /// The host.
        host: String,
        /// How long was waited.
        limit: Duration,
    },
}

/// What the two files say.
#[derive(Debug)]
pub struct Names {
    hosts: Hosts,
    servers: ResolverConfig,
    options: ResolverOpts,
}

impl Names {
    /// Those of this machine, or container. A file that is not there is empty.
    pub fn of_machine() -> Result<Self, ResolveError> {
        let read = |path: &'static str| match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|source| ResolveError::Read { path, source }),
        };
        Self::parse(&read("/etc/resolv.conf")?, &read("/etc/hosts")?)
    }

    /// Reads both texts.
    pub fn parse(resolv_conf: &[u8], hosts: &[u8]) -> Result<Self, ResolveError> {
        let parsed = parse_resolv_conf(resolv_conf).or_else(|_| {
            // Without a server it is this machine, as everywhere.
            parse_resolv_conf([resolv_conf, b"\nnameserver 127.0.0.1\n"].concat())
        });
        let (servers, mut options) = parsed.map_err(ResolveError::Configure)?;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.use_hosts_file = ResolveHosts::Never; // looked at here, before any server is asked
        let mut known = Hosts::default();
        let read = known.read_hosts_conf(String::from_utf8_lossy(hosts).as_bytes());
        read.map_err(|source| ResolveError::Read {
            path: "/etc/hosts",
            source,
        })?;
        Ok(Self {
            hosts: known,
            servers,
            options,
        })
    }

    /// Addresses of a host, those of IPv4 first. Never none.
    pub async fn addresses(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let name = Name::from_utf8(host).map_err(|source| ResolveError::Parse {
            host: host.to_owned(),
            source,
        })?;
        let known = self.known(&name);
        if !known.is_empty() {
            return Ok(known);
        }
        let asked = tokio::time::timeout(limit, self.ask(host, &name)).await;
        asked.unwrap_or_else(|_| {
            Err(ResolveError::TimedOut {
                host: host.to_owned(),
                limit,
            })
        })
    }

    /// What `/etc/hosts` says.
    fn known(&self, name: &Name) -> Vec<IpAddr> {
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(LookupIp::from)
            .collect()
    }

    /// The first of the candidates that has an address. A server that fails for one may know the next; where none answers, none is asked again.
    async fn ask(&self, host: &str, name: &Name) -> Result<Vec<IpAddr>, ResolveError> {
        let error = |source| ResolveError::Ask {
            host: host.to_owned(),
            source,
        };
        let resolver = self.resolver().map_err(error)?;
        let candidates = candidates(name, self.servers.search(), self.options.ndots);
        let mut failed = None;
        for candidate in &candidates {
            match resolver.lookup_ip(candidate.clone()).await {
                Ok(found) => {
                    let addresses: Vec<IpAddr> = found.iter().collect();
                    if !addresses.is_empty() {
                        return Ok(addresses);
                    }
                }
                Err(none) if none.is_no_records_found() => {}
                Err(refused @ NetError::Dns(_)) => failed = Some(refused),
                Err(silent) => return Err(error(silent)),
            }
        }
        Err(match failed {
            Some(source) => error(source),
            None => ResolveError::Unknown {
                host: host.to_owned(),
                asked: candidates.iter().map(Name::to_string).collect::<Vec<_>>().join(", "),
            },
        })
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let servers = ResolverConfig::from_parts(None, Vec::new(), self.servers.name_servers().to_vec());
        let builder = Resolver::builder_with_config(servers, TokioRuntimeProvider::default());
        builder.with_options(self.options.clone()).build()
    }
}

/// Full names to ask for, in order: the name as it is comes first when it has at least `ndots` dots, and last when not.
fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut full = name.clone();
    full.set_fqdn(true);
    if name.is_fqdn() {
        return vec![full];
    }
    // Where both are too long for a name, the search domain is none.
    let mut all: Vec<Name> = search
        .iter()
        .filter_map(|domain| {
            let mut found = name.clone().append_domain(domain).ok()?;
            found.set_fqdn(true);
            Some(found)
        })
        .collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    all.insert(if dots >= ndots { 0 } else { all.len() }, full);
    all
}

#[cfg(test)]
mod tests;
