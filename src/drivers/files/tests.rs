use serde_json::json;

use super::*;

fn told(problems: Vec<SettingProblem>) -> Vec<String> {
    problems
        .into_iter()
        .map(|p| {
            format!("{}: {}{}", p.path.join("."), p.message, p.hint.map(|h| format!(" ({h})")).unwrap_or_default())
        })
        .collect()
}

fn opened(table: Value) -> Result<Arc<dyn Driver>, Vec<String>> {
    open(table.as_object().expect("a table"), Path::new("/etc/snapkeep"), Path::new("/bin/false")).map_err(told)
}

fn configured(table: Value) -> Result<Value, Vec<String>> {
    check_config(table.as_object().expect("a table"), Path::new("/etc/snapkeep")).map_err(told)
}

#[test]
fn settings_are_checked_when_the_repository_is_opened() {
    assert!(opened(json!({"path": "/srv/backup"})).is_ok());
    assert!(opened(json!({"path": "/srv/backup", "key_credential": "backup"})).is_ok());
    assert!(opened(json!({"path": "repo", "key_file": "repo.key", "memory_max": "1GiB"})).is_ok());
    let cases = [
        (json!({}), "path: path is missing"),
        (json!({"path": "  "}), "path: path is blank"),
        (json!({"path": "/a/.."}), "path: path is the root directory"),
        (json!({"path": "/a", "keyfile": "/b"}), "keyfile: unknown key keyfile (did you mean key_file?)"),
        (
            json!({"path": "/a", "key_file": "/b/../a/key"}),
            "key_file: key_file lies inside of the repository (whoever has the repository would have its key)",
        ),
        (
            json!({"path": "/a", "key_file": "/b", "key_credential": "c"}),
            "key_credential: key_file and key_credential are both given (the key is in one place: a file, or a \
             credential of the daemon's unit)",
        ),
        (
            json!({"path": "/a", "key_credential": "../c"}),
            "key_credential: key_credential is not the name of a credential (write NAME of LoadCredential=NAME:FILE in \
             the daemon's unit)",
        ),
        (
            json!({"path": "/a", "memory_max": "1MiB"}),
            "memory_max: memory_max is less than 256MiB, which no snapshot can do with",
        ),
    ];
    for (table, expected) in cases {
        assert_eq!(opened(table.clone()).expect_err("refused"), [expected], "{table}");
    }
}

#[test]
fn a_configuration_comes_back_whole_and_absolute() {
    assert_eq!(
        configured(json!({"paths": ["/srv/wiki", "../data/./x"], "exclude": ["*.tmp"]})),
        Ok(json!({"paths": ["/srv/wiki", "/etc/data/x"], "exclude": ["*.tmp"], "one_file_system": false}))
    );
    assert_eq!(configured(json!({})), Err(vec!["paths: paths is missing".to_owned()]));
    assert_eq!(configured(json!({"paths": []})), Err(vec!["paths: paths is empty".to_owned()]));
    let problems = configured(json!({"paths": ["/a"], "exclude": ["ok", "a{b", "!c"], "one_file_sytem": true}));
    let problems = problems.expect_err("refused");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("exclude.1: pattern cannot be understood: "), "{problems:?}");
    assert_eq!(problems[1], "exclude.2: an exclude pattern cannot begin with !");
    assert_eq!(problems[2], "one_file_sytem: unknown key one_file_sytem (did you mean one_file_system?)");
}
