//! The verbs.

mod ask;
mod config;
mod create;
mod create_backup;
mod delete;
mod install;
mod logs;
mod psql;
mod restore;
#[cfg(target_os = "linux")]
pub(crate) mod sandbox;
mod scale;
mod show;
mod strategies;
mod uninstall;
mod upgrade;
mod version;

use crate::args::Verb;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::env::Env;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::interrupt::Interrupt;
use crate::screen::Screen;

/// What every verb works with.
pub struct Context<'a> {
    /// The configuration.
    pub config: Config,
    /// The surroundings.
    pub env: &'a Env,
    /// Where results go.
    pub screen: Screen<'a>,
    /// Ctrl-C.
    pub(crate) interrupt: Interrupt,
    cluster: Option<Cluster>,
}

impl<'a> Context<'a> {
    /// A context that has not talked to a cluster yet.
    pub fn new(config: Config, env: &'a Env, screen: Screen<'a>) -> Self {
        Self {
            config,
            env,
            screen,
            interrupt: Interrupt::new(),
            cluster: None,
        }
    }

    /// The cluster, found when it is first needed: what works offline never looks for it.
    pub async fn cluster(&mut self) -> Result<Cluster, Error> {
        if let Some(cluster) = &self.cluster {
            Ok(cluster.clone())
        } else {
            self.find_sandbox();
            let cluster = Cluster::connect(&self.config, self.env.stdin_terminal).await?;
            self.cluster = Some(cluster.clone());
            Ok(cluster)
        }
    }

    /// Without a kubeconfig, and outside of pods, a sandbox that runs is meant.
    fn find_sandbox(&mut self) {
        #[cfg(target_os = "linux")]
        if self.config.kubeconfig.is_empty()
            && self.env.get("KUBERNETES_SERVICE_HOST").is_none()
            && let Some(path) = sandbox::running(self.env)
        {
            self.screen
                .note_line("no kubeconfig was given: this is the sandbox (`pgo sandbox status`)");
            self.config.kubeconfig = vec![path];
        }
    }

    /// From now on, the cluster of that kubeconfig.
    #[cfg(target_os = "linux")]
    fn use_kubeconfig(&mut self, path: std::path::PathBuf) {
        self.config.kubeconfig = vec![path];
        self.config.context = None;
        self.cluster = None;
    }

    /// Says an error and returns its code.
    pub fn fail(&mut self, error: &Error) -> ExitCode {
        if !matches!(error, Error::Volume(crate::volume::VolumeError::Interrupted)) {
            self.screen.error(error);
        }
        error.exit_code()
    }

    /// Refuses `-A` for a verb that works in one namespace.
    pub fn one_namespace(&self, verb: &str) -> Result<(), Error> {
        if self.config.all_namespaces {
            return Err(Error::Usage(format!(
                "pgo {verb} works in one namespace: give -n instead of -A"
            )));
        }
        Ok(())
    }
}

/// Does `work` for each name: one that fails is reported and the others go on, unless nothing else would work either.
async fn for_each<'c, T>(
    context: &mut Context<'c>,
    items: impl IntoIterator<Item = T>,
    mut work: impl AsyncFnMut(&mut Context<'c>, T) -> Result<ExitCode, Error>,
) -> ExitCode {
    let mut code = ExitCode::Ok;
    for item in items {
        match work(context, item).await {
            Ok(one) => code = code.and(one),
            Err(error) => {
                code = code.and(context.fail(&error));
                if error.is_final() {
                    break;
                }
            }
        }
    }
    code
}

/// Names without the ones that were given before.
fn unique(names: &[String]) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for name in names {
        if !all.contains(&name.as_str()) {
            all.push(name);
        }
    }
    all
}

/// Whether the names are the one word `all`. Beside other names it makes no sense.
fn is_all(names: &[String]) -> Result<bool, Error> {
    let all = names.iter().any(|name| name == "all");
    if all && unique(names).len() > 1 {
        return Err(Error::Usage(
            "`all` stands alone: leave it out, or leave out the other names".to_owned(),
        ));
    }
    Ok(all)
}

/// Runs a verb.
pub async fn run(verb: Verb, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    match verb {
        Verb::Create(args) => create::run(args, context).await,
        Verb::Show(args) => show::run(args, context).await,
        Verb::Delete(args) => delete::run(args, context).await,
        Verb::Scale(args) => scale::run(args, context).await,
        Verb::Upgrade(args) => upgrade::run(args, context).await,
        Verb::Psql(args) => psql::run(args, context).await,
        Verb::Logs(args) => logs::run(args, context).await,
        Verb::Install(args) => install::run(args, context).await,
        Verb::Uninstall(args) => uninstall::run(args, context).await,
        #[cfg(target_os = "linux")]
        Verb::Sandbox(args) => sandbox::run(args, context).await,
        #[cfg(not(target_os = "linux"))]
        Verb::Sandbox(_) => Err(Error::Object(
            "a sandbox needs Linux: its pods are processes in Linux namespaces. On this system use a local cluster such as kind \
             (https://kind.sigs.k8s.io) and `pgo install`"
                .to_owned(),
        )),
        Verb::Strategies => strategies::run(context),
        Verb::Config => Ok(config::run(context)),
        Verb::Version(args) => version::run(&args, context).await,
        Verb::Completion { .. } => Ok(ExitCode::Ok), // done before the configuration is read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stands_alone() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_all(&names("all")).unwrap());
        assert!(is_all(&names("all all")).unwrap());
        assert!(!is_all(&names("a b")).unwrap());
        assert!(is_all(&names("all db1")).is_err());
        assert_eq!(unique(&names("a b a")), ["a", "b"]);
    }
}
