use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::entry::{Kind, Marks, Snapshot, name};
use super::*;

const MANIFEST: &str = r#"{ "PostgreSQL-Backup-Manifest-Version": 2,
"Files": [
{ "Path": "backup_label", "Size": 227 }],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }],
"Manifest-Checksum": "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"}
"#;
const LABEL: &str =
    "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nLABEL: pgop 7c1e-42 17.2\nSTART TIMELINE: 1\n";

fn lines(volume: &Path, path: &str) -> Result<Vec<Value>, BrowseError> {
    let mut out = Vec::new();
    browse(volume, Path::new(path), &mut out)?;
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with('\n'));
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn snapshot(folder: &Path) {
    fs::create_dir_all(folder.join("base/1")).unwrap();
    for (file, text) in [
        ("PG_VERSION", "17\n"),
        ("backup_label", LABEL),
        ("backup_manifest", MANIFEST),
        ("base/1/1259", "12345"),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
}

#[test]
fn a_shelf_is_told_in_order_with_its_snapshots() {
    let volume = tempfile::tempdir().unwrap();
    let shelf = volume.path().join("orders-backups");
    snapshot(&shelf.join("2026-11-22"));
    snapshot(&shelf.join("2026-11-23"));
    fs::write(
        shelf.join("2026-11-23/backup_manifest"),
        &MANIFEST[..MANIFEST.len() - 9],
    )
    .unwrap();
    snapshot(&shelf.join(".partial-7/data"));
    fs::write(shelf.join("notes"), "x").unwrap();
    let all = lines(volume.path(), "orders-backups").unwrap();
    let told: Vec<_> = all
        .iter()
        .map(|line| (&line["name"], &line["kind"], &line["snapshot"]))
        .collect();
    let bytes = 3 + LABEL.len() + MANIFEST.len() + 5;
    let of = |bytes: usize, complete: bool| json!({"label": "pgop 7c1e-42 17.2", "version": "17.2", "bytes": bytes, "complete": complete});
    assert_eq!(
        told,
        [
            (&json!(".partial-7"), &json!("directory"), &Value::Null),
            (&json!("2026-11-22"), &json!("directory"), &of(bytes, true)),
            (&json!("2026-11-23"), &json!("directory"), &of(bytes - 9, false)),
            (&json!("notes"), &json!("file"), &Value::Null),
            (&Value::Null, &Value::Null, &Value::Null),
        ]
    );
    assert_eq!(all[4], json!({"entries": 4, "left_out": 0}));
    assert!(all[3]["bytes"].is_u64() && all[3]["modified"].as_i64().unwrap() > 1_700_000_000);
    assert!(all[1]["bytes"].as_u64().unwrap().is_multiple_of(512));
}

#[test]
fn a_size_is_what_du_says() {
    let volume = tempfile::tempdir().unwrap();
    let folder = volume.path().join("a");
    fs::create_dir_all(folder.join("b/c")).unwrap();
    fs::write(folder.join("b/c/d"), vec![1; 100_000]).unwrap();
    symlink("/usr", folder.join("link")).unwrap();
    let du = std::process::Command::new("du")
        .args(["-s", "--block-size=1"])
        .arg(&folder)
        .output()
        .unwrap();
    let expected: u64 = String::from_utf8(du.stdout)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(lines(volume.path(), "").unwrap()[0]["bytes"], expected);
}

#[test]
fn links_are_told_and_lead_nowhere() {
    let (volume, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    snapshot(&outside.path().join("secret"));
    symlink(outside.path(), volume.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), volume.path().join("snapshot")).unwrap();
    fs::create_dir(volume.path().join("forged")).unwrap();
    for file in ["PG_VERSION", "backup_label", "backup_manifest"] {
        symlink(
            outside.path().join("secret").join(file),
            volume.path().join("forged").join(file),
        )
        .unwrap();
    }
    let all = lines(volume.path(), ".").unwrap();
    let told: Vec<_> = all
        .iter()
        .map(|line| (&line["name"], &line["kind"], line.get("snapshot")))
        .collect();
    assert_eq!(
        told[..3],
        [
            (&json!("forged"), &json!("directory"), None),
            (&json!("out"), &json!("link"), None),
            (&json!("snapshot"), &json!("link"), None),
        ]
    );
    for path in ["out", "out/secret", "snapshot", "absent", "forged/PG_VERSION"] {
        let error = lines(volume.path(), path).unwrap_err();
        assert!(matches!(error, BrowseError::NoDirectory { .. }), "{path}: {error}");
    }
    for path in ["..", "/", "forged/../../x", "/etc"] {
        let error = lines(volume.path(), path).unwrap_err();
        assert!(matches!(error, BrowseError::Path { .. }), "{path}: {error}");
    }
}

#[test]
fn names_come_back_as_they_are() {
    let volume = tempfile::tempdir().unwrap();
    for bytes in [&b"\xff\xfea"[..], b"line\nbreak \x1b[31m", "größe \"'$(id)".as_bytes()] {
        fs::write(volume.path().join(OsStr::from_bytes(bytes)), "").unwrap();
    }
    let all = lines(volume.path(), "").unwrap();
    let told: Vec<_> = all[..3]
        .iter()
        .map(|line| (line["name"].as_str().unwrap(), line.get("raw")))
        .collect();
    assert_eq!(
        told,
        [
            ("größe \"'$(id)", None),
            ("line\nbreak \x1b[31m", None),
            ("\u{fffd}\u{fffd}a", Some(&json!("fffe61"))),
        ]
    );
}

#[test]
fn a_pipe_is_not_waited_for_and_what_is_too_deep_has_no_size() {
    let volume = tempfile::tempdir().unwrap();
    let deep = (0..70).fold(volume.path().join("deep"), |path, _| path.join("d"));
    fs::create_dir_all(deep).unwrap();
    fs::create_dir(volume.path().join("pipe")).unwrap();
    let pipe = volume.path().join("pipe/PG_VERSION");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(pipe)
            .status()
            .unwrap()
            .success()
    );
    let all = lines(volume.path(), "").unwrap();
    assert_eq!((&all[0]["name"], &all[0]["bytes"]), (&json!("deep"), &Value::Null));
    assert!(all[1]["bytes"].is_u64());
}

#[test]
fn a_listing_has_an_end_and_says_what_it_lacks() {
    let volume = tempfile::tempdir().unwrap();
    for number in 0..MOST + 3 {
        fs::write(volume.path().join(format!("{number:05}")), "").unwrap();
    }
    let all = lines(volume.path(), "").unwrap();
    assert_eq!(all.len(), MOST + 1);
    assert_eq!(all[MOST - 1]["name"], format!("{:05}", MOST - 1));
    assert_eq!(all[MOST], json!({"entries": MOST, "left_out": 3}));
}

#[test]
fn a_line_is_never_longer_than_it_may_be() {
    let (name, raw) = name(&[vec![1; 254], vec![0xff]].concat());
    let text = "\u{1}".repeat(1000);
    let marks = Marks {
        version: Some(text.clone().into()),
        label: Some(format!("LABEL: {text}").into()),
        manifest: None,
    };
    let entry = entry::Entry {
        name,
        raw,
        kind: Kind::Directory,
        bytes: Some(u64::MAX),
        modified: i64::MIN,
        snapshot: marks.snapshot(Some(u64::MAX)),
    };
    assert!(serde_json::to_string(&entry).unwrap().len() < 5 * 1024);
}

#[test]
fn a_snapshot_is_known_by_version_and_label_and_is_complete_by_its_manifest() {
    let marks = |version: &str, label: &str, manifest: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_owned());
        Marks {
            version: some(version),
            label: some(label),
            manifest: some(manifest),
        }
        .snapshot(Some(1))
    };
    let of = |label: &str, version: &str, complete| {
        Some(Snapshot {
            label: label.to_owned(),
            version: version.to_owned(),
            bytes: Some(1),
            complete,
        })
    };
    assert_eq!(marks("17\n", LABEL, MANIFEST), of("pgop 7c1e-42 17.2", "17.2", true));
    assert_eq!(
        marks("15\n", "LABEL: nightly, by hand\n", MANIFEST),
        of("nightly, by hand", "15", true)
    );
    assert_eq!(marks("15\n", LABEL, ""), of("pgop 7c1e-42 17.2", "17.2", false));
    // A server that has started from it.
    assert_eq!(marks("15\n", "", MANIFEST), None);
    assert_eq!(marks("", LABEL, MANIFEST), None);
    for cut in 1..MANIFEST.len() {
        let is_complete = marks("15", LABEL, &MANIFEST[..cut]).unwrap().complete;
        // The line break at the end is no part of it.
        assert_eq!(is_complete, cut == MANIFEST.len() - 1, "{cut}");
    }
}
