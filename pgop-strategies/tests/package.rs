//! The published crate holds the templates, though their folder is a link.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, and sees none in their helpers

use std::collections::BTreeSet;
use std::process::Command;

use pgop_strategies::Folder;

#[test]
fn the_package_holds_every_template() {
    if std::fs::symlink_metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/templates"))
        .unwrap()
        .is_dir()
    {
        return; // this is the published crate, where the folder is real
    }
    let list = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let packaged: BTreeSet<String> = String::from_utf8(list.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let missing: Vec<String> = Folder::builtin()
        .paths()
        .map(|path| format!("templates/{path}"))
        .filter(|path| !packaged.contains(path))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
