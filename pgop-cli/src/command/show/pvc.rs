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
use crate::volume;
use crate::volume::listing::{Entry, Kind, Listing, Snapshot};

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
            Ok(listing) => draw(&mut tree, &listing.unwrap_or_default()),
            Err(error) => failed = Some(Error::from(error)),
        }
    }
    // The claim exists, and that is said whether or not it can be looked into.
    let text = tree.render(context.screen.colour());
    context.screen.raw(text.as_bytes());
    failed.map_or(Ok(ExitCode::Ok), Err)
}

fn draw(tree: &mut Tree, listing: &Listing) {
    // What a file system makes for itself, and hidden files, are nobody's data.
    let shown: Vec<&Entry> = (listing.entries.iter())
        .filter(|e| !e.name.starts_with('.') && e.name != "lost+found")
        .collect();
    if shown.is_empty() && listing.left_out == 0 {
        tree.push(Tree::styled("(empty)", Style::Dim));
    }
    for entry in shown {
        let words = words(entry).join(", ");
        let told = if words.is_empty() { words } else { format!(" ({words})") };
        let is_half = entry.snapshot.as_ref().is_some_and(|snapshot| !snapshot.complete);
        let style = if is_half { Style::Warn } else { Style::Plain };
        tree.push(Tree::styled(format!("/{}{told}", entry.shown()), style));
    }
    if let Some(rest) = listing.rest() {
        tree.push(Tree::styled(rest, Style::Warn));
    }
}

/// What is known of an entry: what it is, where that is no folder and no file, and what it takes.
fn words(entry: &Entry) -> Vec<String> {
    let kind = match entry.kind {
        Kind::Directory | Kind::File => None,
        Kind::Link => Some("a link".to_owned()),
        Kind::Other => Some("no file and no folder".to_owned()),
    };
    let snapshot = entry.snapshot.as_ref().map(Snapshot::words);
    kind.into_iter().chain(snapshot).chain(entry.bytes.map(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::listing::parse;

    #[test]
    fn what_lies_there_is_told_as_it_is_and_drives_no_terminal() {
        let listing = parse(concat!(
            r#"{"name":".lock","kind":"file","bytes":0,"modified":0}"#,
            "\n",
            r#"{"name":"copy","kind":"directory","bytes":32485376,"modified":0,"snapshot":{"label":"l","version":"17.2","bytes":1,"complete":true}}"#,
            "\n",
            r#"{"name":"half","kind":"directory","bytes":null,"modified":0,"snapshot":{"label":"l","version":"16","bytes":null,"complete":false}}"#,
            "\n",
            r#"{"name":"out\u001b[2J","kind":"link","bytes":0,"modified":0}"#,
            "\n",
            r#"{"entries":4,"left_out":7}"#,
            "\n",
        ))
        .unwrap();
        let mut tree = Tree::new("pvc : c");
        draw(&mut tree, &listing);
        let expected = "\
pvc : c
├── /copy (snapshot of PostgreSQL 17.2, complete, 32.5 MB)
├── /half (snapshot of PostgreSQL 16, INCOMPLETE: its manifest is not whole)
├── /out\\u{1b}[2J (a link, 0 B)
└── 7 more are not listed: only the first 4 by name are
";
        assert_eq!(tree.render(false), expected);
    }

    #[test]
    fn only_what_has_nothing_is_called_empty() {
        let drawn = |text: &str| {
            let mut tree = Tree::new("pvc : c");
            draw(&mut tree, &parse(text).unwrap());
            tree.render(false)
        };
        assert_eq!(drawn("{\"entries\":0,\"left_out\":0}\n"), "pvc : c\n└── (empty)\n");
        let hidden = "{\"name\":\".a\",\"kind\":\"file\",\"bytes\":0,\"modified\":0}\n{\"entries\":1,\"left_out\":2}\n";
        assert_eq!(
            drawn(hidden),
            "pvc : c\n└── 2 more are not listed: only the first 1 by name are\n"
        );
    }
}
