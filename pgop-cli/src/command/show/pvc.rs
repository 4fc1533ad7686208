//! `pgo show pvc`

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::browse;
use crate::args::show::Browsed;
use crate::claim::remark;
use crate::command::{Context, for_each, unique};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output::bytes;
use crate::screen::Style;
use crate::tree::Tree;
use crate::volume::{self, listing::Entry};

/// Whether each claim exists, and what is in its root.
pub async fn run(args: Browsed, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("show pvc")?;
    let names: Vec<String> = unique(&args.names).into_iter().map(str::to_owned).collect();
    Ok(for_each(context, names, async |context, name| one(&name, &args, context).await).await)
}

async fn one(name: &str, args: &Browsed, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let cluster = context.cluster().await?;
    let Some(claim) = cluster.get::<PersistentVolumeClaim>(name).await? else {
        return Err(Error::Object(format!(
            "there is no claim {name} in namespace {}",
            cluster.namespace
        )));
    };
    let value = serde_json::to_value(&claim).unwrap_or_default();
    if let Some(text) = crate::output::resources(context.config.output, &[value], false) {
        context.screen.raw(text.as_bytes());
        return Ok(ExitCode::Ok);
    }
    let phase = claim
        .status
        .as_ref()
        .and_then(|s| s.phase.clone())
        .unwrap_or_else(|| "unknown".to_owned());
    let size = claim
        .status
        .as_ref()
        .and_then(|s| s.capacity.as_ref()?.get("storage").map(|q| q.0.clone()));
    let words: Vec<String> = [size.unwrap_or_else(|| "no size yet".to_owned()), phase]
        .into_iter()
        .chain(remark(&claim, None))
        .collect();
    let mut tree = Tree::new(format!("pvc : {name} ({})", words.join(", ")));
    let mut failed = None;
    if !args.no_volume {
        let user = browse::user_of(&cluster, &claim).await;
        let look = browse::look(name, "", user.as_ref(), args, &context.config);
        match volume::list(&cluster, &context.interrupt, &look).await {
            Ok(entries) => draw(&mut tree, &entries.unwrap_or_default()),
            Err(error) => failed = Some(Error::from(error)),
        }
    }
    // The claim exists, and that is said whether or not it can be looked into.
    let text = tree.render(context.screen.colour());
    context.screen.raw(text.as_bytes());
    failed.map_or(Ok(ExitCode::Ok), Err)
}

fn draw(tree: &mut Tree, entries: &[Entry]) {
    // What a file system makes for itself, and hidden files, are nobody's data.
    let shown: Vec<&Entry> = entries
        .iter()
        .filter(|e| !e.name.starts_with('.') && e.name != "lost+found")
        .collect();
    if shown.is_empty() {
        tree.push(Tree::styled("(empty)", Style::Dim));
    }
    for entry in shown {
        let size = entry
            .bytes
            .map(|count| format!(" ({})", bytes(count)))
            .unwrap_or_default();
        tree.push(format!("/{}{size}", entry.name));
    }
}
