//! `pgo sandbox`

mod demo;
mod place;
mod process;
mod requirements;

use std::time::Instant;

use pgop_sandbox::{Folder, Options, Sandbox};

use super::Context;
use super::ask::confirm;
use crate::args;
use crate::args::sandbox::{Sandbox as Args, Start, Verb};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output::bytes;

pub(crate) use place::running;

/// Does what was asked of a sandbox.
pub async fn run(args: Args, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let folder = place::folder(context.env, &args.name)?;
    match args.verb {
        Verb::Start(start_args) => start(&args.name, &folder, &start_args, context).await,
        Verb::Status => Ok(status(&args.name, &folder, context)),
        Verb::Stop => stop(&args.name, &folder, context).await,
        Verb::Delete(delete_args) => delete(&args.name, &folder, delete_args.yes, context).await,
        Verb::Kubeconfig(which) => kubeconfig(&args.name, &folder, which.path, context),
        Verb::Demo(demo_args) => {
            start_quietly(&args.name, &folder, context).await?;
            demo::run(&folder, demo_args.clean, context).await
        }
        Verb::Run => foreground(&args.name, &folder, context).await,
    }
}

async fn start(name: &str, folder: &Folder, args: &Start, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let started = Instant::now();
    if process::answers(name, folder, args.timeout).await? {
        context.screen.line(format!("sandbox {name} runs already"));
    } else {
        requirements::check()?;
        process::start(name, folder, args.timeout).await?;
        context.screen.line(format!(
            "sandbox {name} runs ({:.1} s)",
            started.elapsed().as_secs_f64()
        ));
    }
    if !args.without_operator {
        let left = args.timeout.saturating_sub(started.elapsed());
        operator(folder, left, context).await?;
    }
    context.screen.note_line(format!(
        "pgo uses it while no other kubeconfig is given; for other tools: export KUBECONFIG={}",
        folder.kubeconfig().display()
    ));
    Ok(ExitCode::Ok)
}

/// As `start`, for verbs that need it: says nothing when it runs.
async fn start_quietly(name: &str, folder: &Folder, context: &mut Context<'_>) -> Result<(), Error> {
    let timeout = std::time::Duration::from_secs(60);
    let args = Start {
        without_operator: false,
        timeout,
    };
    start(name, folder, &args, context).await.map(drop)
}

/// Installs the operator as in any cluster: as a pod, under the rights that `pgo install` makes.
async fn operator(folder: &Folder, timeout: std::time::Duration, context: &mut Context<'_>) -> Result<(), Error> {
    context.use_kubeconfig(folder.kubeconfig());
    let install = args::operate::Install {
        image: None,
        watch_namespaces: None,
        strategies: None,
        dry_run: false,
        wait: args::Wait { wait: true, timeout },
    };
    super::install::quietly(install, context).await
}

fn status(name: &str, folder: &Folder, context: &mut Context<'_>) -> ExitCode {
    let size = place::size(folder.path());
    match folder.holder() {
        Some(process) => {
            context.screen.line(format!("sandbox {name} runs (process {process})"));
            context
                .screen
                .line(format!("kubeconfig : {}", folder.kubeconfig().display()));
        }
        None if folder.path().exists() => context.screen.line(format!("sandbox {name} is stopped")),
        None => {
            context.screen.line(format!("there is no sandbox {name}"));
            return ExitCode::Failed;
        }
    }
    context
        .screen
        .line(format!("folder     : {} ({})", folder.path().display(), bytes(size)));
    if folder.holder().is_some() {
        ExitCode::Ok
    } else {
        ExitCode::Failed
    }
}

async fn stop(name: &str, folder: &Folder, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let line = if process::stop(folder).await? {
        format!(
            "sandbox {name} stopped; its resources and data stay in {}",
            folder.path().display()
        )
    } else {
        // It may have been killed.
        pgop_sandbox::clean(folder).map_err(|error| Error::Object(error.to_string()))?;
        format!("sandbox {name} does not run")
    };
    context.screen.line(line);
    Ok(ExitCode::Ok)
}

async fn delete(name: &str, folder: &Folder, yes: bool, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    if !folder.path().exists() {
        return Err(Error::Object(format!("there is no sandbox {name}")));
    }
    if !yes {
        if !(context.env.stdin_terminal && context.env.stderr_terminal) {
            return Err(Error::Usage(
                "deleting without a terminal to ask on needs --yes".to_owned(),
            ));
        }
        confirm(
            context,
            &format!("Delete sandbox {name} with all its databases and their data?"),
        )?;
    }
    process::stop(folder).await?;
    pgop_sandbox::remove(folder).map_err(|error| Error::Object(error.to_string()))?;
    context.screen.line(format!("sandbox {name} deleted"));
    Ok(ExitCode::Ok)
}

fn kubeconfig(name: &str, folder: &Folder, path_only: bool, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let path = folder.kubeconfig();
    let text = std::fs::read_to_string(&path)
        .map_err(|_| Error::Object(format!("sandbox {name} was never started: `pgo sandbox start`")))?;
    if path_only {
        context.screen.line(path.display().to_string());
    } else {
        context.screen.raw(text.as_bytes());
    }
    Ok(ExitCode::Ok)
}

/// The sandbox itself, until it is told to end.
async fn foreground(name: &str, folder: &Folder, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Object(format!("sandbox {name} can't start: {error}"));
    let mut end = process::Ends::listen().map_err(|error| failed(&error))?;
    context.interrupt.leave_to_work();
    process::log();
    let options = Options {
        folder: Some(folder.path().to_owned()),
        name: Some(format!("pgop-sandbox-{name}")),
        path: requirements::path()?,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.map_err(|error| failed(&error))?;
    context.screen.line(format!("sandbox {name} serves {}", sandbox.url()));
    let broken = tokio::select! {
        () = end.asked() => false,
        () = sandbox.broken() => true,
    };
    context
        .screen
        .note_line("pods have up to 30 s to end; Ctrl-C ends them at once");
    sandbox.stop_unless(end.asked()).await;
    if broken {
        return Err(Error::Object(format!(
            "sandbox {name} stopped, as a part of it panicked: its log tells which. Start it again with `pgo sandbox start --name {name}`, and tell us"
        )));
    }
    context.screen.line(format!("sandbox {name} stopped"));
    Ok(ExitCode::Ok)
}
