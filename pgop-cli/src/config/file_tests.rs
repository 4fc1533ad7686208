use proptest::prelude::*;

use super::*;

fn yaml(text: &str) -> Result<File, FileError> {
    parse_yaml(Path::new(".pgo.yaml"), text)
}

fn value(file: &File, key: &str) -> Option<String> {
    file.values.get(key).map(|(value, _)| value.clone())
}

#[test]
fn the_sample_of_v1_is_read_unchanged() {
    let file = read(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/cli/fixture/v1.pgo.yaml"
    )))
    .unwrap();
    assert_eq!(value(&file, "DB.PORT").as_deref(), Some("5432"));
    assert_eq!(value(&file, "DB.FSGROUP").as_deref(), Some("26"));
    assert_eq!(value(&file, "DB.CCP_IMAGE_TAG").as_deref(), Some("centos7-9.5-1.2.8"));
    assert_eq!(value(&file, "CLUSTER.REPLICAS").as_deref(), Some("2"));
    assert_eq!(value(&file, "PGO.DEBUG").as_deref(), Some("false"));
    assert_eq!(file.values.len(), 21);
}

#[test]
fn text_stays_as_it_was_typed() {
    let file = yaml("DB:\n  PG_PASSWORD: 0123\n  PG_VERSION: 15.10\n  PG_USER: yes\n").unwrap();
    assert_eq!(value(&file, "DB.PG_PASSWORD").as_deref(), Some("0123"));
    assert_eq!(value(&file, "DB.PG_VERSION").as_deref(), Some("15.10"));
    assert_eq!(value(&file, "DB.PG_USER").as_deref(), Some("yes"));
}

#[test]
fn case_does_not_matter_and_twice_is_an_error() {
    assert_eq!(
        value(&yaml("db:\n  port: 1\n").unwrap(), "DB.PORT").as_deref(),
        Some("1")
    );
    let error = yaml("DB:\n  PORT: 1\n  port: 2\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "configuration file .pgo.yaml, line 3: DB.PORT is set twice (case does not matter)"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = yaml("KUBECONFIG: /k\nDB:\n  PROT: 5432\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "configuration file .pgo.yaml, line 3: there is no key DB.PROT; did you mean DB.PORT?"
    );
    let error = parse_toml(Path::new("x.toml"), "[DB]\nPORT = 1\nPROT = 1\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("configuration file x.toml, line "), "{error}");
    assert!(
        error.ends_with("there is no key DB.PROT; did you mean DB.PORT?"),
        "{error}"
    );
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let error = yaml("DB:\n  PORT: [\n").unwrap_err().to_string();
    assert!(error.starts_with("configuration file .pgo.yaml, line "), "{error}");
    let error = yaml("DB:\n  PORT: [1, 2]\n").unwrap_err().to_string();
    assert!(error.starts_with("configuration file .pgo.yaml, line 2: "), "{error}");
    let error = parse_toml(Path::new("x.toml"), "a = = 1").unwrap_err().to_string();
    assert!(error.starts_with("configuration file x.toml, line 1: "), "{error}");
}

#[test]
fn nothing_is_not_set() {
    for text in [
        "",
        "# only a comment\n",
        "DB:\n",
        "DB:\n  PVC_NAME:\n",
        "PVC_NAME: ~\n",
        "{}",
    ] {
        assert!(yaml(text).unwrap().values.is_empty(), "{text:?}");
    }
    assert_eq!(
        value(&yaml("PVC_NAME: \"\"\n").unwrap(), "PVC_NAME").as_deref(),
        Some("")
    );
}

#[test]
fn three_formats_say_the_same() {
    let of_yaml = yaml("KUBECONFIG: /k\nDB:\n  PORT: 6000\n  PG_DATABASE: shop\nPGO:\n  DEBUG: true\n").unwrap();
    let of_json =
        yaml(r#"{"KUBECONFIG": "/k", "DB": {"PORT": 6000, "PG_DATABASE": "shop"}, "PGO": {"DEBUG": true}}"#).unwrap();
    let text = "KUBECONFIG = \"/k\"\n[DB]\nPORT = 6000\nPG_DATABASE = \"shop\"\n[PGO]\nDEBUG = true\n";
    let of_toml = parse_toml(Path::new("x.toml"), text).unwrap();
    let values = |file: File| -> Vec<_> { file.values.into_iter().map(|(k, (v, _))| (k, v)).collect() };
    let expected = values(of_yaml);
    assert_eq!(expected.len(), 4);
    assert_eq!(values(of_json), expected);
    assert_eq!(of_toml.values["DB.PORT"].1, 3);
    assert_eq!(values(of_toml), expected);
}

#[test]
fn the_first_directory_and_the_first_ending_win() {
    let home = tempfile::tempdir().unwrap();
    let here = tempfile::tempdir().unwrap();
    let directories = [here.path().to_owned(), home.path().to_owned()];
    assert_eq!(find(&directories), None);
    std::fs::write(home.path().join(".pgo.yaml"), "").unwrap();
    assert_eq!(find(&directories), Some(home.path().join(".pgo.yaml")));
    std::fs::write(here.path().join(".pgo.toml"), "").unwrap();
    assert_eq!(find(&directories), Some(here.path().join(".pgo.toml")));
    std::fs::write(here.path().join(".pgo.json"), "").unwrap();
    assert_eq!(find(&directories), Some(here.path().join(".pgo.json")));
}

proptest! {
    /// Whatever is in the file, it is read or refused, and a refusal names the file.
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        for result in [yaml(&text), parse_toml(Path::new(".pgo.yaml"), &text)] {
            if let Err(error) = result {
                prop_assert!(error.to_string().starts_with("configuration file .pgo.yaml"));
            }
        }
    }

    /// A value survives being quoted, in both formats.
    #[test]
    fn values_come_back(value in "[^\\p{C}]{1,40}", key in prop::sample::select(vec!["PG_USER", "PG_PASSWORD", "PVC_NAME"])) {
        let quoted = serde_json::to_string(&value).unwrap();
        let name = format!("DB.{key}");
        let of_yaml = yaml(&format!("DB:\n  {key}: {quoted}\n"));
        let of_toml = parse_toml(Path::new("x.toml"), &format!("[DB]\n{key} = {quoted}\n"));
        prop_assert_eq!(super::tests::value(&of_yaml.unwrap(), &name), Some(value.clone()));
        prop_assert_eq!(super::tests::value(&of_toml.unwrap(), &name), Some(value));
    }
}
