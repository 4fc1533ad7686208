//! No template prints a value as it is: the checker refuses it, and the built-in ones don't.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, and sees none in their helpers

use std::fs;

use pgop_core::Registry;
use pgop_strategies::{Folder, load_dir};
use tempfile::TempDir;

/// Loads a bundle with this template and this partial `part`.
fn load(template: &str, partial: &str) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let descriptor = "{name: tiny, kind: PgCluster, version: 1, summary: x, partials: [part, again]}";
    for (name, text) in [
        ("strategy.yaml", descriptor),
        ("t.yaml.hbs", template),
        ("part.partial.hbs", partial),
        ("again.partial.hbs", "{{> part}}"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let here = format!("{}/", folder.path().display());
    load_dir(&mut Registry::default(), folder.path())
        .map(|_| ())
        .map_err(|error| error.to_string().replace(&here, ""))
}

#[test]
fn values_are_printed_through_json_only() {
    for (tag, what) in [
        ("{{name}}", "name"),
        ("{{{name}}}", "name"),
        ("{{&name}}", "name"),
        ("{{~name~}}", "name"),
        ("{{storage.size}}", "storage.size"),
        ("{{this}}", "this"),
        ("{{@root.name}}", "@root.name"),
        ("{{[name]}}", "[name]"),
        ("{{../name}}", "../name"),
        ("{{lookup files \"x\"}}", "lookup"),
        ("{{concat name \"x\"}}", "concat"),
        ("{{len slots}}", "len"),
        ("{{json.name}}", "json.name"),
        ("{{{json name}}}", "json"),
        ("{{(lookup files name)}}", "(…)"),
    ] {
        let refused =
            format!("`{what}` is printed as it is, so a value could become structure: write {{{{json …}}}} around it");
        let nested = [
            format!("\n{tag}"),
            format!("{{{{#if name}}}}\n{tag}{{{{/if}}}}"),
            format!("{{{{#if name}}}}x{{{{else}}}}\n{tag}{{{{/if}}}}"),
            format!("{{{{#each slots as |slot i|}}}}\n{tag}{{{{/each}}}}"),
            format!("{{{{#with storage}}}}{{{{#unless size}}}}\n{tag}{{{{/unless}}}}{{{{/with}}}}"),
        ];
        for template in nested {
            assert_eq!(
                load(&template, ""),
                Err(format!("t.yaml.hbs:2: {refused}")),
                "{template}"
            );
        }
        let chained = format!("{{{{#if name}}}}x{{{{else if kind}}}}{tag}{{{{/if}}}}");
        assert_eq!(load(&chained, ""), Err(format!("t.yaml.hbs:1: {refused}")));
        assert_eq!(
            load("x: {{json name}}", &format!("a\nb\n{tag}")),
            Err(format!("part.partial.hbs:3: {refused}")),
            "{tag}"
        );
    }
}

#[test]
fn a_name_can_hide_no_value() {
    // A block parameter named like the helper.
    assert!(
        load("{{#each slots as |json|}}{{json}}{{/each}}", "")
            .unwrap_err()
            .contains("json takes exactly one value")
    );
    assert!(
        load("{{json name kind}}", "")
            .unwrap_err()
            .contains("json takes exactly one value")
    );
    assert!(
        load("{{json name x=kind}}", "")
            .unwrap_err()
            .contains("json takes exactly one value")
    );
}

#[test]
fn helpers_are_those_of_the_list() {
    let unknown = |template: &str| load(template, "").unwrap_err();
    assert_eq!(
        unknown("{{upper name}}"),
        "t.yaml.hbs:1: there is no helper `upper`; there is {{json …}}, the blocks if, unless, each, with, and, in parentheses, json, concat, \
         lookup, eq, ne, gt, gte, lt, lte, and, or, not, len"
    );
    for template in [
        "{{json (upper name)}}",
        "{{json (concat (upper name) \"x\")}}",
        "{{#if (upper name)}}x{{/if}}",
        "{{#upper name}}x{{/upper}}",
        "{{#each (upper slots)}}x{{/each}}",
        "{{> part x=(upper name)}}",
        "{{#if name}}x{{else upper name}}y{{/if}}",
        "{{log name}}",
        "{{json (log name)}}",
        "{{{{raw}}}}{{name}}{{{{/raw}}}}",
    ] {
        assert!(
            unknown(template).contains("there is no helper `"),
            "{template}: {}",
            unknown(template)
        );
    }
}

#[test]
fn partials_are_those_of_the_list() {
    assert_eq!(
        load("{{> prat}}", "").unwrap_err(),
        "t.yaml.hbs:1: there is no partial `prat`; strategy.yaml lists again, part"
    );
    assert!(load("{{> (lookup files name)}}", "").is_err());
    assert!(load("{{> @partial-block}}", "").is_err());
    for template in [
        "{{#> part}}x{{/part}}",
        "{{#*inline \"x\"}}{{name}}{{/inline}}",
        "{{* decorate name}}",
    ] {
        assert!(
            load(template, "")
                .unwrap_err()
                .contains("can't be used: write a file of its own under partials/"),
            "{template}"
        );
    }
    assert_eq!(
        load("x: 1", "{{> again}}").unwrap_err(),
        "again.partial.hbs: the partial `again` includes itself"
    );
}

#[test]
fn what_templates_need_is_accepted() {
    let template = r#"
        {{! a comment with {{name}} }}{{!-- and {{{name}}} --}}
        a: {{json name}} {{~json kind~}} {{json (concat name "-x" (lookup storage "size"))}} {{json (json secrets)}} {{json [name]}}
        {{#if (and restore (not (eq kind "x")))}}{{> part role="x" n=1}}{{else if (gt replicas 1)}}y{{else}}z{{/if}}
        {{#each slots as |slot index|}}{{json slot}}{{json @index}}{{else}}none{{/each}}{{#with storage}}{{json size}}{{/with}}
        \{{name}}
    "#;
    assert_eq!(load(template, "{{json role}}"), Ok(()));
}

/// Reads the built-in templates without Handlebars, so that a mistake of the checker shows.
#[test]
fn no_built_in_template_prints_a_bare_value() {
    let folder = Folder::builtin();
    let mut tags = 0;
    for path in folder.paths().filter(|path| path.contains(".hbs")) {
        let text = folder.text(path).unwrap();
        assert!(!text.contains("{{{") && !text.contains("\\{{"), "{path}");
        for (at, _) in text.match_indices("{{") {
            let tag = text[at + 2..].trim_start_matches('~').trim_start();
            let allowed = [
                "json ", "#if ", "#unless ", "#each ", "/if", "/unless", "/each", "else", "> ", "!",
            ];
            let line = text[..at].lines().count();
            assert!(
                allowed.iter().any(|start| tag.starts_with(start)),
                "{path}:{line}: {}",
                &tag[..tag.len().min(40)]
            );
            tags += 1;
        }
    }
    assert!(tags > 100, "{tags} tags are too few to be all");
}
