use super::*;
use crate::lifecycle::channel::SecretSource;

fn server(allowed: &[&str]) -> Server {
    Server {
        url: MaybeSecret::Plain("https://hooks.example".into()),
        ca: None,
        time_limit: Span::parse("30s").expect("a span"),
        allow_hosts: allowed.iter().map(|host| (*host).into()).collect(),
    }
}

fn at(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|address| SocketAddr::new(address.parse().expect(address), 443)).collect()
}

fn is_asked(allowed: &[&str], host: &str, addresses: &[&str]) -> bool {
    match judged(&server(allowed), host, at(addresses)) {
        Ok(left) => {
            assert_eq!(left, at(addresses));
            true
        }
        Err(trouble) => {
            assert_eq!(trouble.again, Again::Changed);
            assert!(trouble.why.ends_with("it is not asked"), "{}", trouble.why);
            false
        }
    }
}

#[test]
fn only_addresses_that_are_anybodys_are_asked() {
    for outside in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001:831::200e",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ] {
        assert!(is_asked(&[], "hooks.example", &[outside]), "{outside}");
    }
    for inside in [
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::192.168.1.1",
        "2002:7f00:1::1",
        "2002:a00:1::",
        "fc00::1",
        "fd12:3456::1",
        "fdff:ffff::1",
        "fec0::1",
    ] {
        assert!(!is_asked(&[], "hooks.example", &[inside]), "{inside}");
        assert!(!is_asked(&["other.example", "10.9.9.9"], "hooks.example", &[inside]), "{inside}");
        assert!(is_asked(&["hooks.example"], "hooks.example", &[inside]), "{inside}");
    }
    for never in [
        "0.0.0.0",
        "0.1.2.3",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:a9fe:a9fe::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "febf::1",
        "ff02::1",
    ] {
        assert!(!is_asked(&[], "hooks.example", &[never]), "{never}");
        assert!(!is_asked(&["hooks.example"], "hooks.example", &[never]), "{never}");
        let itself = never.parse::<IpAddr>().expect(never).to_canonical().to_string();
        assert!(is_asked(&[&itself], "hooks.example", &[never]), "{never}");
    }
}

#[test]
fn one_address_that_may_not_be_asked_spoils_the_others() {
    assert!(is_asked(&[], "hooks.example", &["1.1.1.1", "2606:4700::1111"]));
    for list in [
        &["1.1.1.1", "127.0.0.1"][..],
        &["10.0.0.1", "1.1.1.1"],
        &["1.1.1.1", "2606:4700::1111", "::ffff:169.254.169.254"],
    ] {
        assert!(!is_asked(&[], "hooks.example", list), "{list:?}");
    }
    assert!(!is_asked(&["hooks.example"], "hooks.example", &["10.0.0.1", "169.254.169.254"]));
    assert!(!is_asked(&["10.0.0.1"], "hooks.example", &["10.0.0.1", "10.0.0.2"]));
    assert!(is_asked(&["10.0.0.1", "10.0.0.2"], "hooks.example", &["10.0.0.1", "10.0.0.2"]));
}

#[test]
fn a_status_says_when_to_try_again() {
    let sent_at = Timestamp::from_seconds(784_111_777);
    let of = |status: u16, after: Option<&'static str>| {
        let mut head = HeaderMap::new();
        after.map(|after| head.insert(RETRY_AFTER, HeaderValue::from_static(after)));
        verdict("h", StatusCode::from_u16(status).expect("a status"), &head, sent_at).map_err(|trouble| trouble.again)
    };
    let seconds = |seconds| Err(Again::After(Duration::from_secs(seconds)));
    for fine in [200, 201, 202, 204, 299] {
        assert_eq!(of(fine, Some("9")), Ok(()), "{fine}");
    }
    for later in [408, 425, 429, 500, 501, 502, 503, 504, 599] {
        assert_eq!(of(later, None), Err(Again::Later), "{later}");
        assert_eq!(of(later, Some("7")), seconds(7), "{later}");
    }
    for changed in [101, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422] {
        assert_eq!(of(changed, None), Err(Again::Changed), "{changed}");
    }
    assert_eq!(of(302, Some("7")), Err(Again::Changed));
    assert_eq!(of(403, Some("7")), seconds(7));
    for (after, expected) in [
        ("120", seconds(120)),
        (" 120 ", seconds(120)),
        ("86400", seconds(86_400)),
        ("86401", seconds(86_400)),
        ("99999999999999999999999999", seconds(86_400)),
        ("0", Err(Again::Later)),
        ("-1", Err(Again::Later)),
        ("1.5", Err(Again::Later)),
        ("", Err(Again::Later)),
        ("soon", Err(Again::Later)),
        ("Sun, 06 Nov 1994 08:59:37 GMT", seconds(600)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Err(Again::Later)),
        ("Sun, 06 Nov 1993 08:49:37 GMT", Err(Again::Later)),
        ("Sat, 06 Nov 1993 08:49:37 GMT", Err(Again::Later)),
        ("Fri, 31 Dec 2100 23:59:59 GMT", seconds(86_400)),
        ("Sunday, 06-Nov-94 08:59:37 GMT", Err(Again::Later)),
    ] {
        assert_eq!(of(503, Some(after)), expected, "{after}");
    }
}

#[test]
fn a_redirect_tells_where_to_and_no_more() {
    let mut head = HeaderMap::new();
    head.insert(LOCATION, HeaderValue::from_static("https://user:canary@elsewhere.example/canary"));
    let why = |head: &HeaderMap| {
        verdict("h", StatusCode::FOUND, head, Timestamp::EPOCH).map_err(|trouble| trouble.why).expect_err("one")
    };
    assert_eq!(why(&head), "h answers 302 Found and sends us to another place; nobody is followed");
    head.insert(LOCATION, HeaderValue::from_static("https://elsewhere.example/canary?canary"));
    assert_eq!(why(&head), "h answers 302 Found and sends us to elsewhere.example; nobody is followed");
}

#[test]
fn of_a_secret_address_is_hidden_what_can_be_a_secret() {
    let mut secret = server(&[]);
    secret.url = MaybeSecret::Secret(SecretSource::File("/nowhere".into()));
    let said = |text: &str| {
        let mut conversation = Conversation::default();
        address(&secret, text, &mut conversation).expect("an address");
        conversation.blanked("text/plain from /services/T0000000/canary-9 of https://h/services/T0000000/canary-9")
    };
    for text in ["https://h", "https://h/", "https://h/a"] {
        assert!(said(text).starts_with("text/plain from /services/T0000000/canary-9 of "), "{text}: {}", said(text));
    }
    assert_eq!(said("https://h/services/T0000000/canary-9"), "text/plain from *** of ***");
}

#[test]
fn a_header_holds_one_line() {
    for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\u{7f}"] {
        assert_eq!(header("x-a", bad).map_err(|trouble| trouble.again), Err(Again::Changed), "{bad:?}");
    }
    assert!(header("x-a", "caf\u{e9} \u{1f4be}").is_ok());
    assert!(header("x a", "b").is_err());
}

#[test]
fn host_names_the_port_where_it_is_not_the_usual_one() {
    let of = |text| host_line(&Url::parse(text).expect(text));
    assert_eq!(of("https://h/"), "h");
    assert_eq!(of("https://h:80/"), "h:80");
    assert_eq!(of("http://[::1]:80/"), "[::1]");
    assert_eq!(of("http://h:443/"), "h:443");
}
