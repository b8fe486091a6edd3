use super::*;

fn fill(source: &str, form: Form) -> Result<String, String> {
    let sample = Sample {
        event: Event::Failure,
        facts: Facts { what: "a \"b\"\n\\c".into(), next: Some("</script>".into()), ..Facts::default() },
        about: Some("db"),
    };
    render(source, form, &sample.words(["token"].into_iter())).map_err(|error| error.to_string())
}

#[test]
fn what_is_filled_into_json_stays_within_its_quotes() {
    let json =
        fill(r#"{"a": "{{ what }}", "b": {{ what | tojson }}, "c": "{{ why }}", "d": {{ why | tojson }}}"#, Form::Json);
    let value: serde_json::Value = serde_json::from_str(&json.expect("JSON")).expect("JSON");
    assert_eq!(value["a"], "a \"b\"\n\\c");
    assert_eq!(value["b"], "a \"b\"\n\\c");
    assert_eq!(value["c"], "");
    assert_eq!(value["d"], serde_json::Value::Null);
    assert_eq!(fill("{{ what }} {{ next }} {{ count }}", Form::Text).as_deref(), Ok("a \"b\"\n\\c </script> 2"));
    assert_eq!(fill(r#"["{{ next }}", {{ count }}]"#, Form::Json).as_deref(), Ok(r#"["</script>", 2]"#));
    assert_eq!(fill(r#"["{{ next ~ "\"" }}"]"#, Form::Json).as_deref(), Ok(r#"["</script>\""]"#));
}

#[test]
fn json_without_quotes_around_a_text_is_an_error() {
    for source in ["{\"a\": {{ subject }}}", "{\"a\": \"{{ subject | tojson }}\"}", "{\"a\": {{ why }}}", "text"] {
        let error = fill(source, Form::Json).expect_err(source);
        assert_eq!(error, "comes to no JSON, in line 1 of what it comes to", "{source}");
    }
}

#[test]
fn a_key_that_does_not_exist_is_an_error_and_one_without_a_text_is_not() {
    for source in ["{{ subjet }}", "{{ secret.tokn }}", "{% if polcy %}x{% endif %}", "{{ what.x }}"] {
        assert_eq!(fill(source, Form::Text), Err("there is no such value in line 1 of it".into()), "{source}");
    }
    for source in ["{{ why }}", "{% if why %}x{% endif %}", "{{ why | truncate(3) }}", "{{ snapshot }}"] {
        assert_eq!(fill(source, Form::Text).as_deref(), Ok(""), "{source}");
    }
    assert_eq!(
        fill("{{ what | truncate(3) }}|{{ event | truncate(7) }}", Form::Text).as_deref(),
        Ok("a \u{2026}|failure")
    );
}

#[test]
fn what_is_unknown_is_told_by_name() {
    let of = |source| unknown(source, &["token"]);
    assert_eq!(
        of("{{ subjet }} {{ what }} {{ secret.tokn }} {% for own in text | lines %}{{ own }}{% endfor %}"),
        ["secret.tokn", "subjet"]
    );
    assert_eq!(
        of("{{ secret.token }} {% for line in text | lines %}{{ loop.index }}{{ line }}{% endfor %}"),
        Vec::<String>::new()
    );
    assert_eq!(of("{{ broken"), Vec::<String>::new());
    let sample = samples().remove(0);
    for key in KEYS {
        render(&format!("{{{{ {key} }}}}"), Form::Text, &sample.words([].into_iter())).expect(key);
    }
}

#[test]
fn steps_and_output_have_a_bound() {
    let nested = "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}{% endfor %}";
    assert_eq!(fill(nested, Form::Text).map(|_| ()), Err("takes too many steps in line 1 of it".into()));
    let many = "{% for a in text %}{% for b in text %}{{ text }}{% endfor %}{% endfor %}";
    let long = fill(many, Form::Text).expect_err("too long");
    assert!(long.starts_with("comes to more than 64 kB"), "{long}");
    let long = fill(&"x".repeat(SOURCE_BYTES_MAX + 1), Form::Text);
    assert_eq!(long, Err("is larger than 16 kB".into()));
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(500), ")".repeat(500));
    fill(&deep, Form::Text).expect_err("too deep");
    for gone in ["{{ range(9) }}", "{% set n = namespace(a=1) %}", "{{ what | replace(\"\", what) }}", "{{ debug() }}"]
    {
        fill(gone, Form::Text).expect_err(gone);
    }
    for none in [
        "{% include \"/etc/passwd\" %}",
        "{% import \"x\" as y %}",
        "{% extends \"x\" %}",
        "{% macro a() %}{% endmacro %}",
    ] {
        fill(none, Form::Text).expect_err(none);
    }
}

/// Whatever is accepted is compiled, filled and let go of on a quarter of the stack that any thread of ours has.
#[test]
fn the_deepest_templates_need_little_stack() {
    let (parts, brackets) = (PARTS_MAX - 2, BRACKETS_MAX);
    let deepest = "(".repeat(brackets) + &"-".repeat(parts - brackets) + "1" + &")".repeat(brackets);
    let expressions = [
        "1+".repeat(parts) + "1",
        "-".repeat(parts) + "1",
        "not ".repeat(parts) + "1",
        "what".to_owned() + &"|trim".repeat(parts),
        "what".to_owned() + &".a".repeat(parts),
        "1 if 1 else ".repeat(parts / 2) + "1",
        "what ~ ".repeat(parts) + "what",
        "not (".repeat(brackets) + &"not ".repeat(parts - 2 * brackets) + "1" + &")".repeat(brackets),
        "[".repeat(brackets) + &"]".repeat(brackets),
        deepest,
    ];
    let conditions = |expression: &str| {
        let open = "{% if what %}".repeat(BLOCKS_MAX - 1);
        let elifs = "{% elif not what %}".repeat(ELIF_MAX);
        let close = "{% endif %}".repeat(BLOCKS_MAX);
        format!("{open}{{% if not what %}}{elifs}{{% else %}}{{{{ {expression} }}}}{close}")
    };
    let sources = expressions.iter().flat_map(|one| [format!("{{{{ {one} }}}}"), conditions(one)]);
    let sources: Vec<String> = sources.collect();
    let tried = std::thread::Builder::new().stack_size(512 << 10).spawn(move || {
        for source in sources {
            assert_eq!(checked(&source), Ok(()), "{source}");
            let _ = fill(&source, Form::Text);
            unknown(&source, &[]);
        }
    });
    tried.expect("a thread").join().expect("whole");
}

#[test]
fn what_would_need_much_stack_or_memory_is_refused_before_it_is_read() {
    let quoted = format!("{{% raw %}}{{{{ \"{{% endraw %}}{{{{ {}1 }}}}", "1+".repeat(7_000));
    for (source, why) in [
        (format!("{{{{ {}1 }}}}", "1+".repeat(65)), "has a tag with more than 64"),
        (format!("{{{{ {}1 }}}}", "1+".repeat(7_000)), "has a tag with more than 64"),
        (format!("{{{{ {}1 }}}}", "not ".repeat(65)), "has a tag with more than 64"),
        (format!("{{{{ {}1 }}}}", "not\t".repeat(3_000)), "has a tag with more than 64"),
        (format!("{{{{ {}1 }}}}", "-".repeat(9_000)), "has a tag with more than 64"),
        (format!("{{{{ what{} }}}}", ".a".repeat(5_000)), "has a tag with more than 64"),
        (format!("{{{{ what{} }}}}", "|trim".repeat(3_000)), "has a tag with more than 64"),
        (format!("{{{{ '{}' }}}}", "x".repeat(1_100)), "has a tag of more than 1024"),
        (format!("{{{{ {}1{} }}}}", "(".repeat(9), ")".repeat(9)), "has more than 8 brackets"),
        (format!("{{{{ {}1{} }}}}", "[".repeat(9), "]".repeat(9)), "has more than 8 brackets"),
        ("{% if 1 %}".repeat(9), "has more than 8 of"),
        (format!("{{% if 1 %}}{}", "{% elif 1 %}".repeat(33)), "has more than 32 times"),
        (format!("{{{{ '}}}}' ~ \"\\\"}}}}\" {} }}}}", "+1".repeat(7_000)), "has a tag with more than 64"),
        (format!("{{# {{{{ \" #}}{{{{ {}1 }}}}", "1+".repeat(7_000)), "has a tag with more than 64"),
        (quoted, "has `{% raw %}`"),
        ("{% set a = a ~ a %}".into(), "has `{% set %}`"),
        ("{%- set a %}{{ what }}{% endset %}".into(), "has `{% set %}`"),
        ("{% with a = what ~ what %}{% endwith %}".into(), "has `{% with %}`"),
        ("{% filter upper %}x{% endfilter %}".into(), "has `{% filter %}`"),
        ("{% for a in [what ~ what] %}{% endfor %}".into(), "has a `for`"),
        ("{% for a in text recursive %}{% endfor %}".into(), "has a `for`"),
        ("{{ 'x' * 1000000000 }}".into(), "multiplies"),
        ("{{ {} }}".into(), "has a brace"),
        ("{{ (1 }}".into(), "has a bracket without its end"),
        ("{{ 1) }}".into(), "has a bracket without its beginning"),
    ] {
        let error = fill(&source, Form::Text).expect_err("refused");
        assert!(error.starts_with(why) && error.ends_with(" in line 1 of it"), "{error}: {why}");
        assert_eq!(unknown(&source, &[]), Vec::<String>::new());
    }
    for source in ["{{ [1] | tojson(99999999999) }}", "{{ [1] | tojson(indent=99999999999) }}"] {
        fill(source, Form::Text).expect_err("an indent");
    }
    for filter in FILTERS_GONE {
        assert_eq!(
            fill(&format!("{{{{ what | {filter} }}}}"), Form::Text),
            Err("is no template in line 1 of it".into()),
            "{filter}"
        );
    }
    // Each makes twice as many backslashes of it.
    let escaped = format!("{{{{ \"\\\\\"{} }}}}", " | tojson".repeat(40));
    assert_eq!(fill(&escaped, Form::Text), Err("comes to more than 64 kB in line 1 of it".into()));
    let fine = "{# {{ #}{ {%- if event in [\"failure\", 'x}}'] -%} {{ (what ~ \"}}\") | truncate(2) }} {%- endif %} }";
    assert_eq!(fill(fine, Form::Text).as_deref(), Ok("{a\u{2026} }"));
}

#[test]
fn a_line_is_one_line() {
    assert_eq!(fill(" Bearer {{ secret.token }} ", Form::Line).as_deref(), Ok("Bearer s3cret\"\\"));
    for source in ["{{ what }}", "a\r\nb", "a\0b", "{{ text }}", "a\u{85}b"] {
        assert_eq!(fill(source, Form::Line), Err("comes to more than a line".into()), "{source:?}");
    }
}

#[test]
fn what_is_wrong_repeats_nothing_that_was_filled_in() {
    for source in [
        "{{ secret.token + 1 }}",
        "{{ secret.token | int }}",
        "{{ secret.token.x }}",
        "{{ secret.token() }}",
        "{{ what | truncate(secret.token) }}",
        "{{ secret[secret.token] }}",
    ] {
        let error = fill(source, Form::Text).expect_err(source);
        assert!(!error.contains("s3cret"), "{error}");
    }
    let error = fill("{ {{ secret.token }} }", Form::Json).expect_err("no JSON");
    assert!(!error.contains("s3cret"), "{error}");
}
