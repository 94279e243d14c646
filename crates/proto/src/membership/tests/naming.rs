//! The forms of naming, written and read.

use super::*;
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer, write_uri};

use crate::message::Options;

fn label() -> Naming {
    Naming::HostLabel {
        domain: "example".into(),
    }
}

/// The seven examples of Appendix B: method, group URI, name, how it is addressed, and its options.
struct Example {
    method: Code,
    uri: &'static str,
    name: &'static str,
    naming: Naming,
    group: &'static str,
    host: Option<&'static str>,
    path: &'static str,
    query: &'static [&'static str],
    options: &'static [(OptionNumber, &'static str)],
}

const HOST: OptionNumber = OptionNumber::URI_HOST;
const PATH: OptionNumber = OptionNumber::URI_PATH;
const QUERY: OptionNumber = OptionNumber::URI_QUERY;

fn appendix_b() -> Vec<Example> {
    let host = Some("grp.example");
    vec![
        Example {
            method: Code::GET,
            uri: "coap://grp.example:5685/gp/gp1/light?foo=bar",
            name: "gp1",
            naming: Naming::path(),
            group: "[ff05::db8:8000:1]:5685",
            host,
            path: "light",
            query: &["foo=bar"],
            options: &[
                (HOST, "grp.example"),
                (PATH, "gp"),
                (PATH, "gp1"),
                (PATH, "light"),
                (QUERY, "foo=bar"),
            ],
        },
        Example {
            method: Code::POST,
            uri: "coap://[ff05::db8:8000:1]/g/gp1/li",
            name: "gp1",
            naming: Naming::Path {
                base: Vec::new(),
                delimiter: Some("g".into()),
            },
            group: "[ff05::db8:8000:1]:5683",
            host: None,
            path: "/li",
            query: &[],
            options: &[(PATH, "g"), (PATH, "gp1"), (PATH, "li")],
        },
        Example {
            method: Code::GET,
            uri: "coap://grp.example:5685/light?gp1",
            name: "gp1",
            naming: Naming::QueryName,
            group: "[ff05::db8:8000:1]:5685",
            host,
            path: "light",
            query: &[],
            options: &[(HOST, "grp.example"), (PATH, "light"), (QUERY, "gp1")],
        },
        Example {
            method: Code::GET,
            uri: "coap://grp.example:5685/light?foo=bar&gp=gp1",
            name: "gp1",
            naming: Naming::query(),
            group: "[ff05::db8:8000:1]:5685",
            host,
            path: "light",
            query: &["foo=bar"],
            options: &[
                (HOST, "grp.example"),
                (PATH, "light"),
                (QUERY, "foo=bar"),
                (QUERY, "gp=gp1"),
            ],
        },
        Example {
            method: Code::GET,
            uri: "coap://grp.example:5685/light?foo=bar",
            name: "grp.example:5685",
            naming: Naming::Authority,
            group: "[ff05::db8:8000:1]:5685",
            host,
            path: "light",
            query: &["foo=bar"],
            options: &[(HOST, "grp.example"), (PATH, "light"), (QUERY, "foo=bar")],
        },
        Example {
            method: Code::GET,
            uri: "coap://grp42.example:5685/light?foo=bar",
            name: "grp42",
            naming: label(),
            group: "[ff05::db8:8000:1]:5685",
            host: None,
            path: "light",
            query: &["foo=bar"],
            options: &[(HOST, "grp42.example"), (PATH, "light"), (QUERY, "foo=bar")],
        },
        Example {
            method: Code::GET,
            uri: "coap://grp.example:55685/light?foo=bar",
            name: "55685",
            naming: Naming::Port,
            group: "[ff05::db8:8000:1]:55685",
            host,
            path: "light",
            query: &["foo=bar"],
            options: &[(HOST, "grp.example"), (PATH, "light"), (QUERY, "foo=bar")],
        },
    ]
}

impl Example {
    fn address(&self) -> GroupAddress<'_> {
        GroupAddress {
            group: address(self.group),
            host: self.host,
            naming: &self.naming,
            name: self.name,
            path: self.path,
            query: self.query,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut options = Options::new();
        self.address().write(&mut options).unwrap();
        encode(self.method, &options)
    }
}

fn encode(method: Code, options: &Options) -> Vec<u8> {
    let mut buffer = vec![0; 1_024];
    let token = Token::new(&[0x86]).unwrap();
    let mut writer = Writer::new(&mut buffer, Type::Non, method, MessageId(0x7d41), token).unwrap();
    options.write(&mut writer).unwrap();
    let length = writer.finish();
    buffer.truncate(length);
    buffer
}

// Covers: GN-B-01, GC-2.2.1-05, GN-2.2.1.2-01, GN-2.2.1.2-02, GN-2.2.1.2-03
#[test]
fn appendix_b_is_written_option_by_option() {
    for example in appendix_b() {
        let mut options = Options::new();
        example.address().write(&mut options).unwrap();
        let found: Vec<_> = options
            .iter()
            .map(|(number, value)| (number, core::str::from_utf8(value).unwrap()))
            .collect();
        assert_eq!(found, example.options, "{}", example.uri);
        let bytes = example.bytes();
        // Version 1, NON, one byte of token; the method; the Message ID of the examples.
        assert_eq!(bytes[..5], [0x51, example.method.to_u8(), 0x7d, 0x41, 0x86]);
    }
    // Without further statements a name goes into the path behind "gp".
    assert_eq!(Naming::default(), Naming::path());
    let mut options = Options::new();
    let deeper = Naming::Path {
        base: vec!["base".into()],
        delimiter: None,
    };
    let target = GroupAddress {
        group: address("[ff05::1]:5683"),
        host: None,
        naming: &deeper,
        name: "NAME",
        path: "res1/res2",
        query: &[],
    };
    target.write(&mut options).unwrap();
    let path: Vec<_> = options.all(PATH).collect();
    assert_eq!(path, [&b"base"[..], b"NAME", b"res1", b"res2"]);
}

// Covers: GN-2.2.1.2-04, GN-2.2.1.2-05, GN-2.2.1.2-06, GN-2.2.1.2-07
#[test]
fn appendix_b_is_read_back_to_its_uri_and_its_group() {
    for example in appendix_b() {
        let bytes = example.bytes();
        let message = Message::parse(&bytes).unwrap();
        let destination = address(example.group);
        let mut uri = std::string::String::new();
        write_uri(&mut uri, &message, destination).unwrap();
        assert_eq!(uri, example.uri);
        // Uri-Host only for a name, Uri-Port never: it is the port of the datagram.
        let literal = example.uri.starts_with("coap://[");
        assert_eq!(message.option(HOST).is_none(), literal);
        assert_eq!(message.option(OptionNumber::URI_PORT), None);

        let mut memberships = table();
        let coap = memberships
            .create(spec(example.group).name("grp.example"))
            .unwrap();
        for (name, naming) in [(example.name, &example.naming), ("other", &Naming::path())] {
            let id = memberships
                .create_application(name, naming.clone(), Attributes::new())
                .unwrap();
            memberships.relate(id, coap).unwrap();
        }
        let wanted = memberships.application_named(example.name).unwrap().id();
        let group = memberships.membership(destination, 0);
        // It is not listened to on any interface yet, so ask the group itself.
        assert_eq!(group, None);
        let group = memberships.group(coap).unwrap();
        let uri = RequestUri::new(&message, destination);
        assert_eq!(
            memberships.named(group, &uri),
            Named::Group(wanted),
            "{}",
            example.uri
        );
    }
}

/// A request with these options to this destination, and whether it carries the name in this form.
#[track_caller]
fn matches(
    naming: &Naming,
    name: &str,
    destination: &str,
    options: &[(OptionNumber, &[u8])],
) -> bool {
    with_uri(destination, options, |uri| naming.matches(name, uri))
}

fn with_uri<T>(
    destination: &str,
    options: &[(OptionNumber, &[u8])],
    look: impl Fn(&RequestUri<'_>) -> T,
) -> T {
    let mut pushed = Options::new();
    for (number, value) in options {
        pushed.push(*number, value);
    }
    let bytes = encode(Code::GET, &pushed);
    let message = Message::parse(&bytes).unwrap();
    look(&RequestUri::new(&message, address(destination)))
}

#[test]
fn a_name_matches_whole_and_in_its_place() {
    let to = "[ff05::1]:5685";
    let path = Naming::path();
    assert!(matches(&path, "a", to, &[(PATH, b"gp"), (PATH, b"a")]));
    for segments in [
        &[&b"gp"[..], b"ab"][..],
        &[b"gp", b"A"],
        &[b"a"],
        &[b"gp"],
        &[b"x", b"gp", b"a"],
    ] {
        let options: Vec<_> = segments.iter().map(|segment| (PATH, *segment)).collect();
        assert!(!matches(&path, "a", to, &options), "{segments:?}");
    }
    assert!(matches(&Naming::QueryName, "a", to, &[(QUERY, b"a")]));
    assert!(!matches(
        &Naming::QueryName,
        "a",
        to,
        &[(QUERY, b"a"), (QUERY, b"b")]
    ));
    assert!(!matches(&Naming::QueryName, "a", to, &[]));
    let query = Naming::query();
    for (item, expected) in [
        ("gp=a", true),
        ("gp=ab", false),
        ("gp", false),
        ("xgp=a", false),
        ("gpx=a", false),
    ] {
        assert_eq!(
            matches(&query, "a", to, &[(QUERY, item.as_bytes())]),
            expected,
            "{item}"
        );
    }
    let authority = Naming::Authority;
    assert!(matches(
        &authority,
        "a.example:5685",
        to,
        &[(HOST, b"A.example")]
    ));
    assert!(!matches(
        &authority,
        "a.example",
        to,
        &[(HOST, b"a.example")]
    ));
    assert!(matches(
        &authority,
        "a.example",
        "[ff05::1]:5683",
        &[(HOST, b"a.example")]
    ));
    assert!(!matches(&authority, "a.example:5685", to, &[]));
    assert!(matches(&authority, "[ff05::1]:5685", to, &[]));
    assert!(matches(
        &authority,
        "[ff05:0::1]:5685",
        to,
        &[(HOST, b"[ff05::1]")]
    ));
    assert!(!matches(&authority, "[ff05::2]:5685", to, &[]));
    assert!(!matches(
        &authority,
        "[ff05::1]:5685",
        to,
        &[(HOST, b"a.example")]
    ));
    assert!(matches(&authority, "239.1.1.1:5685", "239.1.1.1:5685", &[]));
    // Uri-Port says another port than the datagram's.
    let port: (OptionNumber, &[u8]) = (OptionNumber::URI_PORT, &[0x16, 0x33]);
    assert!(matches(
        &authority,
        "a.example",
        to,
        &[(HOST, b"a.example"), port]
    ));
    assert!(matches(&Naming::Port, "5683", to, &[port]));
    assert!(matches(&Naming::Port, "5685", to, &[]));
    assert!(!matches(&Naming::Port, "5683", to, &[]));
    assert!(matches(&label(), "a", to, &[(HOST, b"A.anything")]));
    assert!(!matches(&label(), "a", to, &[(HOST, b"ab.example")]));
    assert!(!matches(&label(), "239", to, &[(HOST, b"239.1.1.1")]));
    assert!(!matches(&label(), "a", to, &[]));
    assert!(!matches(&Naming::Implied, "a", to, &[]));
}

#[test]
fn some_name_is_told_from_none() {
    let to = "[ff05::1]:5685";
    let named = |naming: Naming, options: &[(OptionNumber, &[u8])]| {
        with_uri(to, options, |uri| {
            naming.names_any(uri, |host| host == b"own.example")
        })
    };
    assert!(named(Naming::path(), &[(PATH, b"gp"), (PATH, b"x")]));
    assert!(!named(Naming::path(), &[(PATH, b"gp")]));
    assert!(!named(Naming::path(), &[(PATH, b"x"), (PATH, b"gp")]));
    let base = Naming::Path {
        base: vec!["b".into()],
        delimiter: Some("gp".into()),
    };
    assert!(named(
        base.clone(),
        &[(PATH, b"b"), (PATH, b"gp"), (PATH, b"x")]
    ));
    assert!(!named(base, &[(PATH, b"gp"), (PATH, b"x")]));
    let bare = Naming::Path {
        base: Vec::new(),
        delimiter: None,
    };
    assert!(!named(bare, &[(PATH, b"x"), (PATH, b"y")]));
    assert!(named(Naming::QueryName, &[(QUERY, b"x")]));
    assert!(!named(Naming::QueryName, &[(QUERY, b"x=y")]));
    assert!(!named(Naming::QueryName, &[(QUERY, b"x"), (QUERY, b"y")]));
    assert!(named(Naming::query(), &[(QUERY, b"a=b"), (QUERY, b"gp=")]));
    assert!(!named(Naming::query(), &[(QUERY, b"gp")]));
    for naming in [Naming::Authority, label()] {
        assert!(named(naming.clone(), &[(HOST, b"x.example")]));
        assert!(!named(naming.clone(), &[(HOST, b"own.example")]));
        assert!(!named(naming.clone(), &[(HOST, b"[ff05::1]")]));
        assert!(!named(naming, &[]));
    }
    assert!(!named(Naming::Port, &[(HOST, b"x.example")]));
    assert!(!named(Naming::Implied, &[(HOST, b"x.example")]));
}

#[test]
fn names_that_cannot_be_carried_are_refused() {
    let long = "x".repeat(256);
    let fits = "x".repeat(255);
    let path = Naming::path();
    assert_eq!(path.check(""), Err(MembershipError::EmptyName));
    assert_eq!(path.check(&fits), Ok(()));
    for name in [long.as_str(), ".", ".."] {
        assert_eq!(path.check(name), Err(MembershipError::NotEncodable));
    }
    let of = |base: &str| Naming::Path {
        base: vec![base.into()],
        delimiter: None,
    };
    assert_eq!(of("..").check("a"), Err(MembershipError::NotEncodable));
    assert_eq!(of("b").check("a"), Ok(()));
    assert_eq!(
        Naming::QueryName.check("a=b"),
        Err(MembershipError::NotEncodable)
    );
    assert_eq!(Naming::QueryName.check(&fits), Ok(()));
    assert_eq!(
        Naming::QueryName.check(&long),
        Err(MembershipError::NotEncodable)
    );
    assert_eq!(Naming::query().check(&"x".repeat(252)), Ok(()));
    assert_eq!(
        Naming::query().check(&"x".repeat(253)),
        Err(MembershipError::NotEncodable)
    );
    let nameless = Naming::Query {
        indicator: "".into(),
    };
    assert_eq!(nameless.check("a"), Err(MembershipError::NotEncodable));
    for (name, ok) in [
        ("a.example", true),
        ("a.example:1", true),
        ("[ff05::1]", true),
        ("[ff05::1]:65535", true),
        ("a.example:0", false),
        ("a.example:65536", false),
        ("a.example:+1", false),
        ("a.example:", false),
        ("a b", false),
        ("[ff05::1", false),
        ("[ff05::g]", false),
        ("", false),
    ] {
        assert_eq!(Naming::Authority.check(name).is_ok(), ok, "{name}");
    }
    for (name, ok) in [
        ("55685", true),
        ("0", false),
        ("65536", false),
        ("+1", false),
        ("a", false),
    ] {
        assert_eq!(Naming::Port.check(name).is_ok(), ok, "{name}");
    }
    assert_eq!(label().check("grp42"), Ok(()));
    assert_eq!(label().check("a.b"), Err(MembershipError::NotEncodable));
    assert_eq!(
        label().check(&"x".repeat(64)),
        Err(MembershipError::NotEncodable)
    );
    let label63 = "x".repeat(63);
    let deep = Naming::HostLabel {
        domain: std::format!("{label63}.{label63}.{label63}"),
    };
    // Label, dot and domain: 63 + 1 + 191 bytes.
    assert_eq!(deep.check(&label63), Ok(()));
    let deeper = Naming::HostLabel {
        domain: std::format!("{label63}.{label63}.{}.xx", "x".repeat(61)),
    };
    assert_eq!(deeper.check(&label63), Err(MembershipError::NotEncodable));
    assert_eq!(deeper.check(&label63[1..]), Ok(()));
    assert_eq!(Naming::Implied.check("anything at all"), Ok(()));
}

#[test]
fn an_address_that_contradicts_the_name_is_refused() {
    let write = |naming: &Naming, name: &str, host, group: &str, path: &str, query: &[&str]| {
        let target = GroupAddress {
            group: address(group),
            host,
            naming,
            name,
            path,
            query,
        };
        target.write(&mut Options::new())
    };
    let group = "[ff05::1]:5685";
    let refused = Err(MembershipError::NotEncodable);
    let authority = Naming::Authority;
    assert_eq!(
        write(
            &authority,
            "a.example:5685",
            Some("A.example"),
            group,
            "",
            &[]
        ),
        Ok(())
    );
    assert_eq!(
        write(
            &authority,
            "a.example:5683",
            Some("a.example"),
            group,
            "",
            &[]
        ),
        refused
    );
    assert_eq!(
        write(
            &authority,
            "a.example:5685",
            Some("b.example"),
            group,
            "",
            &[]
        ),
        refused
    );
    assert_eq!(
        write(&authority, "a.example:5685", None, group, "", &[]),
        refused
    );
    assert_eq!(
        write(&authority, "[ff05::1]:5685", None, group, "", &[]),
        Ok(())
    );
    assert_eq!(
        write(&authority, "[ff05::2]:5685", None, group, "", &[]),
        refused
    );
    assert_eq!(
        write(&label(), "a", Some("a.example"), group, "", &[]),
        Ok(())
    );
    assert_eq!(
        write(&label(), "a", Some("b.example"), group, "", &[]),
        refused
    );
    assert_eq!(
        write(&label(), "a", Some("a.other"), group, "", &[]),
        refused
    );
    assert_eq!(write(&Naming::Port, "5685", None, group, "", &[]), Ok(()));
    assert_eq!(write(&Naming::Port, "5683", None, group, "", &[]), refused);
    assert_eq!(
        write(&Naming::QueryName, "a", None, group, "", &["x"]),
        refused
    );
    let path = Naming::path();
    assert_eq!(write(&path, "a", Some("no host"), group, "", &[]), refused);
    assert_eq!(
        write(&path, "a", None, group, &"x".repeat(256), &[]),
        refused
    );
    assert_eq!(
        write(&path, "a", None, group, "", &[&"x".repeat(256)]),
        refused
    );
    assert_eq!(
        write(&path, "a", None, group, &"x".repeat(255), &[]),
        Ok(())
    );
    assert_eq!(
        write(&path, "", None, group, "", &[]),
        Err(MembershipError::EmptyName)
    );
}

// Covers: GC-2.2.1-06
#[test]
fn the_bytes_that_a_name_costs_are_told_and_long_ones_remarked() {
    for (naming, name, bytes) in [
        (Naming::path(), "gp1", 3 + 4),
        (Naming::path(), "x23456789012", 3 + 13),
        (Naming::path(), "x234567890123", 3 + 15),
        (
            Naming::Path {
                base: vec!["b".into()],
                delimiter: None,
            },
            "gp1",
            4,
        ),
        (Naming::QueryName, "gp1", 4),
        (Naming::query(), "gp1", 7),
        (Naming::Authority, "grp.example:5685", 12),
        (Naming::Authority, "[ff05::1]", 0),
        (label(), "grp42", 1 + 1 + 13),
        (Naming::Port, "55685", 0),
        (Naming::Implied, "lights", 0),
    ] {
        assert_eq!(naming.bytes_for(name), bytes, "{naming:?} {name}");
    }
    let mut memberships = table();
    application(&mut memberships, "x23456789012");
    assert_eq!(memberships.lints(), []);
    application(&mut memberships, "x234567890123");
    let [lint] = memberships.lints().try_into().unwrap();
    assert_eq!(
        lint,
        Lint::LongName {
            name: "x234567890123".into(),
            bytes: 18
        }
    );
    assert_eq!(
        lint.to_string(),
        "each request spends 18 bytes on the group name \"x234567890123\""
    );
}

// Covers: GC-2.2.1-04
#[test]
fn names_are_numbers_uris_or_any_text() {
    for (name, naming) in [
        ("7", Naming::path()),
        ("lights", Naming::query()),
        ("urn:x", Naming::path()),
        ("urn:x", Naming::query()),
    ] {
        let target = GroupAddress {
            group: address("[ff05::1]:5683"),
            host: None,
            naming: &naming,
            name,
            path: "r",
            query: &[],
        };
        let mut options = Options::new();
        target.write(&mut options).unwrap();
        let bytes = encode(Code::GET, &options);
        let message = Message::parse(&bytes).unwrap();
        let uri = RequestUri::new(&message, address("[ff05::1]:5683"));
        assert!(naming.matches(name, &uri), "{name}");
        let carried = match naming {
            Naming::Path { .. } => options.all(PATH).any(|segment| segment == name.as_bytes()),
            _ => options.get(QUERY) == Some(std::format!("gp={name}").as_bytes()),
        };
        assert!(carried, "{name}");
    }
}

#[test]
fn paths_are_split_at_slashes_and_those_at_the_ends_add_nothing() {
    let split = |path| segments(path).collect::<Vec<_>>();
    assert_eq!(split("a/b"), ["a", "b"]);
    assert_eq!(split("/a/b/"), ["a", "b"]);
    assert_eq!(split("/a//b"), ["a", "", "b"]);
    assert_eq!(split(""), [""; 0]);
    assert_eq!(split("/"), [""; 0]);
}

#[test]
fn host_names_have_labels() {
    for (text, ok) in [
        ("grp.example", true),
        ("grp.example.", true),
        ("gp1", true),
        ("a-b_c.d9", true),
        (".example", false),
        ("a..b", false),
        ("", false),
        ("a b", false),
        ("a:b", false),
        ("10.0.0.1", false),
        ("10.0.0.1x", true),
    ] {
        assert_eq!(is_host_name(text), ok, "{text}");
    }
    let label = "x".repeat(63);
    assert!(is_host_name(&label));
    assert!(!is_host_name(&"x".repeat(64)));
    let long = std::format!("{label}.{label}.{label}.{label}");
    assert_eq!(long.len(), 255);
    assert!(is_host_name(&long));
    assert!(!is_host_name(&std::format!("{long}.")));
}

// Covers: GN-2.2.1.1-03
#[test]
fn a_reverse_look_up_asks_for_the_nibbles() {
    assert_eq!(
        reverse_name("ff05::db8:8000:1".parse().unwrap()),
        "1.0.0.0.0.0.0.8.8.b.d.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.f.f.ip6.arpa"
    );
    assert_eq!(
        reverse_name("224.0.1.187".parse().unwrap()),
        "187.1.0.224.in-addr.arpa"
    );
}
