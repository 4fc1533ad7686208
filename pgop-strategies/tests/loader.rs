//! Bundles from a folder: the layouts that work, and what a person reads when one is broken.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, and sees none in their helpers

use std::fs;
use std::path::Path;

use pgop_core::Registry;
use pgop_core::owner::ResourceKind;
use pgop_strategies::{builtin, load_dir};
use tempfile::TempDir;

const DESCRIPTOR: &str = "name: tiny\nkind: PgDatabase\nversion: 1\nsummary: Just a Service.\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{json name}}\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load(folder: &TempDir) -> Result<Vec<(ResourceKind, String)>, String> {
    load_dir(&mut builtin().unwrap(), folder.path()).map_err(|error| told(folder, &error.to_string()))
}

/// A message with the folder's own name taken out.
fn told(folder: &TempDir, message: &str) -> String {
    message.replace(folder.path().to_str().unwrap(), "/etc/strategies")
}

/// What is said of a bundle `tiny` of these files.
fn refusal(files: &[(&str, &str)]) -> String {
    let files: Vec<(String, &str)> = files
        .iter()
        .map(|(name, text)| (format!("tiny/{name}"), *text))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    load(&folder(&files)).unwrap_err()
}

#[test]
fn bundles_lie_below_the_folder_or_below_kinds() {
    let tiny = vec![(ResourceKind::PgDatabase, "tiny".to_owned())];
    assert_eq!(
        load(&folder(&[
            ("tiny/strategy.yaml", DESCRIPTOR),
            ("tiny/service.yaml.hbs", SERVICE)
        ])),
        Ok(tiny.clone())
    );
    let files = [
        ("database/tiny/strategy.yaml", DESCRIPTOR),
        ("database/tiny/service.yaml.hbs", SERVICE),
    ];
    assert_eq!(load(&folder(&files)), Ok(tiny.clone()));
    assert_eq!(
        load(&folder(&[("strategy.yaml", DESCRIPTOR), ("service.yaml.hbs", SERVICE)])),
        Ok(tiny)
    );
}

#[test]
fn the_projects_own_templates_load_from_disk() {
    let mut registry = Registry::default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let added = load_dir(&mut registry, &path).unwrap();
    let names: Vec<&str> = added.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["basebackup", "streaming", "standalone"]);
}

/// A mounted `ConfigMap`: every key is a link into `..data`, which is a link to a folder with a time in its name.
#[cfg(unix)]
#[test]
fn a_mounted_config_map_is_a_bundle() {
    use std::os::unix::fs::symlink;
    let files = [
        (
            "strategy.yaml",
            "{name: tiny, kind: PgDatabase, version: 1, summary: x, files: [motd], partials: [port]}",
        ),
        (
            "service.yaml.hbs",
            "apiVersion: v1\nkind: Service\nmetadata: {name: {{json name}}, annotations: {motd: {{json files.motd}} }}\nspec:\n  ports:\n    {{> port}}\n",
        ),
        ("motd", "hello"),
        ("port.partial.hbs", "- {port: 5432}\n"),
    ];
    let mount = TempDir::new().unwrap();
    let bundle = mount.path().join("tiny");
    fs::create_dir_all(bundle.join("..2026_11_22")).unwrap();
    symlink("..2026_11_22", bundle.join("..data")).unwrap();
    for (name, text) in files {
        fs::write(bundle.join("..2026_11_22").join(name), text).unwrap();
        symlink(format!("..data/{name}"), bundle.join(name)).unwrap();
    }
    assert_eq!(load(&mount), Ok(vec![(ResourceKind::PgDatabase, "tiny".to_owned())]));
}

#[test]
fn files_and_partials_come_from_the_bundle_then_the_folder_then_the_binary() {
    let descriptor = "name: tiny\nkind: PgDatabase\nversion: 1\nsummary: x\nfiles: [mine, ours, pg_hba.conf]\npartials: [mine, ours, claim]\n";
    let mut files = vec![
        ("database/tiny/strategy.yaml", descriptor),
        ("database/tiny/service.yaml.hbs", SERVICE),
        ("database/tiny/files/mine", "mine"),
        ("files/mine", "not this one"),
        ("files/ours", "ours"),
        ("database/tiny/partials/mine.yaml.hbs", "# mine"),
        ("partials/ours.yaml.hbs", "# ours"),
    ];
    assert!(load(&folder(&files)).is_ok());
    files.retain(|(path, _)| *path != "files/ours");
    assert_eq!(
        load(&folder(&files)).unwrap_err(),
        "/etc/strategies/database/tiny/strategy.yaml lists ours under files, and there is no such file; looked for \
         /etc/strategies/database/tiny/files/ours, /etc/strategies/database/tiny/ours, /etc/strategies/files/ours, files/ours"
    );
}

#[test]
fn a_folder_without_bundles_is_refused() {
    let empty = folder(&[("README.md", "nothing here")]);
    assert_eq!(
        load(&empty).unwrap_err(),
        "/etc/strategies holds no strategy.yaml: a bundle is a folder with one, at <folder>/<bundle>/ or <folder>/<kind>/<bundle>/"
    );
    let missing = load_dir(&mut Registry::default(), &empty.path().join("nothing")).unwrap_err();
    assert_eq!(
        told(&empty, &missing.to_string()),
        "folder /etc/strategies/nothing can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let bundle = folder(&[("tiny/strategy.yaml", DESCRIPTOR), ("tiny/service.yaml.hbs", SERVICE)]);
    fs::write(bundle.path().join("tiny/logo.png"), [0x89, 0x50, 0xff]).unwrap();
    assert_eq!(
        load(&bundle).unwrap_err(),
        "file /etc/strategies/tiny/logo.png can't be read as UTF-8 text: stream did not contain valid UTF-8; \
         if it is no part of a bundle, move it or start its name with a dot"
    );
}

#[test]
fn a_broken_descriptor_is_told_with_its_line() {
    assert_eq!(
        refusal(&[("strategy.yaml", "name: tiny\nkind: PgDatabase\nversion: 1\nsumary: x\n")]),
        "/etc/strategies/tiny/strategy.yaml can't be read: unknown field `sumary`, expected one of name, aliases, kind, version, \
         summary, parameters, files, partials, members, names at line 4, column 1"
    );
    assert_eq!(
        refusal(&[("strategy.yaml", "name: tiny\nkind: PgDatabse\nversion: 1\nsummary: x\n")]),
        "/etc/strategies/tiny/strategy.yaml can't be read: kind `PgDatabse` is none of PgDatabase, PgCluster, PgBackup at line 2, column 7"
    );
    assert_eq!(
        refusal(&[("strategy.yaml", "name: tiny\n kind: PgDatabase\n")]),
        "/etc/strategies/tiny/strategy.yaml can't be read: mapping values are not allowed in this context at line 2, column 6"
    );
    assert_eq!(
        refusal(&[("strategy.yaml", "name: tiny\nkind: PgDatabase\nsummary: x\n")]),
        "/etc/strategies/tiny/strategy.yaml can't be read: missing field `version` at line 3, column 1"
    );
}

#[test]
fn values_of_a_descriptor_are_checked() {
    let with = |line: &str| {
        refusal(&[
            ("strategy.yaml", &format!("{DESCRIPTOR}{line}\n")),
            ("service.yaml.hbs", SERVICE),
        ])
    };
    let told = |problem: &str| format!("/etc/strategies/tiny/strategy.yaml: {problem}");
    assert_eq!(
        with("parameters: {type: array}"),
        told("parameters is no schema of an object: start it with `type: object`")
    );
    assert!(
        with("parameters: {type: object, properties: {x: {type: strnig}}}").contains("parameters is no JSON schema: ")
    );
    assert_eq!(
        with("parameters: {type: object, properties: {x: {type: integer, default: many}}}"),
        told("parameters has a default for `x` that its own schema refuses: \"many\" is not of type \"integer\"")
    );
    assert_eq!(
        with("aliases: [\"a b\"]"),
        told("aliases has `a b`: give 1 to 63 characters without spaces")
    );
    assert_eq!(
        with("files: [../../etc/passwd]"),
        told("files has `../../etc/passwd`: give plain file names")
    );
    assert_eq!(
        refusal(&[("strategy.yaml", DESCRIPTOR)]),
        told("the bundle describes no templates: add <name>.yaml.hbs beside it")
    );
}

#[test]
fn a_file_with_a_wrong_name_is_not_left_out_silently() {
    let files = [
        ("strategy.yaml", DESCRIPTOR),
        ("service.yaml.hbs", SERVICE),
        ("config.yaml", "kind: ConfigMap\n"),
    ];
    assert_eq!(
        refusal(&files),
        "/etc/strategies/tiny/config.yaml is not used: name it <name>.yaml.hbs if it is a template, list it in strategy.yaml under \
         files or partials, or remove it"
    );
}

#[test]
fn a_broken_template_is_told_with_its_line() {
    let with = |text: &str| refusal(&[("strategy.yaml", DESCRIPTOR), ("service.yaml.hbs", text)]);
    let at = |line: u32, problem: &str| format!("/etc/strategies/tiny/service.yaml.hbs:{line}: {problem}");
    assert_eq!(
        with("kind: Service\nmetadata:\n  name: {{name}}\n"),
        at(
            3,
            "`name` is printed as it is, so a value could become structure: write {{json …}} around it"
        )
    );
    assert!(
        with("{{#if name}}\nx: {{json name}}\n{{/each}}\n")
            .starts_with(&at(3, "helper \"if\" was opened, but \"each\" is closing"))
    );
    assert!(with("a: 1\nb: {{json name\n").starts_with(&at(3, "invalid handlebars syntax: ")));
}

#[test]
fn a_name_that_is_taken_is_refused_and_nothing_is_added() {
    let mut registry = builtin().unwrap();
    let files = [
        ("a/strategy.yaml", DESCRIPTOR),
        ("a/service.yaml.hbs", SERVICE),
        (
            "b/strategy.yaml",
            "{name: other, aliases: [\"1\"], kind: PgDatabase, version: 1, summary: x}",
        ),
        ("b/service.yaml.hbs", SERVICE),
    ];
    let folder = folder(&files);
    let error = load_dir(&mut registry, folder.path()).unwrap_err();
    assert_eq!(
        told(&folder, &error.to_string()),
        "/etc/strategies/b/strategy.yaml: two strategies for a PgDatabase have the name or alias `1`; choose another name"
    );
    assert!(
        registry.databases.get("tiny").is_err(),
        "an error leaves the registry as it was"
    );
}
