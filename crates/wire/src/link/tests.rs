use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;

/// Targets with their attributes, as (name, value or none).
type Shown = Vec<(String, Vec<(String, Option<String>)>)>;

fn read(text: &str) -> Result<Shown, LinkError> {
    LinkFormat::parse(text)
        .map(|link| {
            let link = link?;
            let attributes = link.attributes().map(|one| {
                (
                    one.name.to_string(),
                    one.value.map(|value| value.to_string()),
                )
            });
            Ok((link.target.to_string(), attributes.collect()))
        })
        .collect()
}

fn one(text: &str) -> Link<'_> {
    LinkFormat::parse(text).next().unwrap().unwrap()
}

fn pair(name: &str, value: &str) -> (String, Option<String>) {
    (name.into(), Some(value.into()))
}

// RFC 6690, section 5: the examples.
#[test]
fn the_examples_of_the_document_are_read() {
    assert_eq!(
        read("</sensors>;ct=40;title=\"Sensor Index\",</sensors/temp>;rt=\"temperature-c\";if=\"sensor\"")
            .unwrap(),
        [
            ("/sensors".to_string(), [pair("ct", "40"), pair("title", "Sensor Index")].to_vec()),
            (
                "/sensors/temp".into(),
                [pair("rt", "temperature-c"), pair("if", "sensor")].to_vec()
            ),
        ]
    );
    assert_eq!(
        read("<http://www.example.com/sensors/t123>;anchor=\"/sensors/temp\";rel=\"describedby\",</t>;obs")
            .unwrap(),
        [
            (
                "http://www.example.com/sensors/t123".to_string(),
                [pair("anchor", "/sensors/temp"), pair("rel", "describedby")].to_vec()
            ),
            ("/t".into(), [("obs".to_string(), None)].to_vec()),
        ]
    );
}

#[test]
fn bytes_and_text_read_the_same() {
    let text = "</a>;rt=x";
    assert_eq!(
        LinkFormat::parse(text).next(),
        LinkFormat::parse(text.as_bytes()).next()
    );
}

#[test]
fn a_document_may_be_empty() {
    assert_eq!(read("").unwrap(), []);
    assert_eq!(read(" \r\n").unwrap(), []);
    assert_eq!(read("<>").unwrap(), [(String::new(), [].to_vec())]);
}

#[test]
fn delimiters_within_quotes_are_text() {
    assert_eq!(
        read("</a>;title=\"a,b;c=\\\"d\\\" \\\\ <e>\";x=1,</b>").unwrap(),
        [
            (
                "/a".to_string(),
                [pair("title", "a,b;c=\"d\" \\ <e>"), pair("x", "1")].to_vec()
            ),
            ("/b".into(), [].to_vec()),
        ]
    );
    assert_eq!(
        read("</a>;x=\"\"").unwrap(),
        [("/a".to_string(), [pair("x", "")].to_vec())]
    );
    assert_eq!(
        read("</a>;title*=UTF-8''%e2%82%ac").unwrap(),
        [(
            "/a".to_string(),
            [pair("title*", "UTF-8''%e2%82%ac")].to_vec()
        )]
    );
    assert_eq!(
        read("</a>;title=\"\u{20ac}\"").unwrap(),
        [("/a".to_string(), [pair("title", "\u{20ac}")].to_vec())]
    );
}

#[test]
fn space_around_separators_is_skipped() {
    assert_eq!(
        read(" </a> ; rt=x\t;\r\nobs , </b>\n").unwrap(),
        [
            (
                "/a".to_string(),
                [pair("rt", "x"), ("obs".into(), None)].to_vec()
            ),
            ("/b".into(), [].to_vec()),
        ]
    );
}

#[test]
fn every_error_says_what_and_where() {
    use LinkErrorKind::*;
    let cases = [
        ("/a", TargetExpected, 0),
        (" x", TargetExpected, 1),
        (",", TargetExpected, 0),
        ("</a>,", TargetExpected, 5),
        ("</a>, ", TargetExpected, 6),
        ("</a>,,</b>", TargetExpected, 5),
        ("<", Target, 1),
        ("</a", Target, 3),
        ("</a b>", Target, 3),
        ("</a<b>", Target, 3),
        ("</a\">", Target, 3),
        ("</a\x7f>", Target, 3),
        ("</a>x", Separator, 4),
        ("</a> </b>", Separator, 5),
        ("</a>;x y", Separator, 7),
        ("</a>;x=\"y\"z", Separator, 10),
        ("</a>;x=y\"", Separator, 8),
        ("</a>;", Name, 5),
        ("</a>;;x", Name, 5),
        ("</a>;=y", Name, 5),
        ("</a>;,", Name, 5),
        ("</a>;\u{e9}", Name, 5),
        ("</a>;x=", Value, 7),
        ("</a>;x=;y", Value, 7),
        ("</a>;x=,</b>", Value, 7),
        ("</a>;x=\\", Value, 7),
        ("</a>;x=\"", OpenQuote, 7),
        ("</a>;x=\"y\\\"", OpenQuote, 7),
    ];
    for (text, kind, offset) in cases {
        assert_eq!(read(text), Err(LinkError { kind, offset }), "{text}");
        // Nothing more comes after an error.
        let mut links = LinkFormat::parse(text).skip_while(Result::is_ok);
        assert!(links.next().is_some(), "{text}");
        assert!(links.next().is_none(), "{text}");
    }
    let mut links = LinkFormat::parse(b"</a>,\xff");
    assert_eq!(
        links.next(),
        Some(Err(LinkError {
            kind: NotUtf8,
            offset: 5
        }))
    );
    assert_eq!(links.next(), None);
    assert_eq!(
        format!("{}", read("</a>;").unwrap_err()),
        "no attribute name at byte 5"
    );
}

#[test]
fn characters_have_their_places() {
    // Each printable character but the delimiters may stand in a value without quotes.
    let token = "!#$%&'()*+-./0123456789:<=>?@ABCXYZ[]^_`abcxyz{|}~";
    assert_eq!(one(&format!("</a>;x={token}")).value("x").unwrap(), token);
    let name = "!#$&+-.^_`|~aZ09";
    assert!(one(&format!("</a>;{name}=1")).attribute(name).is_some());
    for bad in ["'", "(", "%", "*x", "/", "@"] {
        assert!(read(&format!("</a>;{bad}=1")).is_err(), "{bad}");
    }
}

#[test]
fn attributes_are_found_by_name() {
    let link = one("</a>;rt;rt=one;rt=\"t\\wo\";ct=40");
    assert_eq!(link.attribute("rt").unwrap().value, None);
    assert_eq!(link.value("rt").unwrap(), "one");
    assert_eq!(link.value("RT"), None);
    assert_eq!(link.attribute("sz"), None);
    let two = link.attributes().nth(2).unwrap().value.unwrap();
    assert_eq!(two, *"two");
    assert_eq!((two.as_str(), two.is_quoted()), (None, true));
    let one = link.value("rt").unwrap();
    assert_eq!((one.as_str(), one.is_quoted()), (Some("one"), false));
    assert_ne!(one, two);
    assert!(one != *"two" && one != *"on" && one != *"ones");
    assert!(one != "two" && one != "on" && one != "ones");
    assert_eq!(
        one,
        super::tests::one("</b>;x=\"\\one\"").value("x").unwrap()
    );
}

#[test]
fn lists_are_divided_at_spaces() {
    let link = one("</a>;rt=\"a  b c\"");
    let words: Vec<_> = link
        .value("rt")
        .unwrap()
        .words()
        .map(|word| word.to_string())
        .collect();
    assert_eq!(words, ["a", "b", "c"]);
    assert_eq!(one("</a>;rt=\"\"").value("rt").unwrap().words().count(), 0);
}

#[test]
fn links_are_written_in_the_shortest_form() {
    let mut text = String::new();
    let mut writer = LinkWriter::new(&mut text);
    writer
        .link("/gp/gp1")
        .unwrap()
        .attribute("rt", "g.light")
        .unwrap();
    writer
        .link("coap://[ff05::db8:8000:1]:5685/gp/gp1")
        .unwrap()
        .number("ct", 40)
        .unwrap()
        .flag("obs")
        .unwrap()
        .attribute("ct", "40 60")
        .unwrap()
        .attribute("sz", "1280")
        .unwrap()
        .attribute("title", "x")
        .unwrap()
        .attribute("anchor", "x")
        .unwrap()
        .attribute("if", "a\"b\\c")
        .unwrap()
        .attribute("title*", "UTF-8''x")
        .unwrap();
    assert_eq!(
        text,
        "</gp/gp1>;rt=g.light,<coap://[ff05::db8:8000:1]:5685/gp/gp1>;ct=40;obs;ct=\"40 60\"\
         ;sz=1280;title=\"x\";anchor=\"x\";if=\"a\\\"b\\\\c\";title*=\"UTF-8''x\""
    );
    assert_eq!(read(&text).unwrap().len(), 2);
}

#[test]
fn values_that_are_no_names_are_quoted() {
    let written = |value: &str| {
        let mut text = String::new();
        LinkWriter::new(&mut text)
            .link("")
            .unwrap()
            .attribute("x", value)
            .unwrap();
        text.split_off(4)
    };
    assert_eq!(written("a.b-9"), "=a.b-9");
    assert_eq!(written("007"), "=007");
    assert_eq!(written("a"), "=a");
    assert_eq!(written(""), "=\"\"");
    assert_eq!(written("9a"), "=\"9a\"");
    assert_eq!(written("-a"), "=\"-a\"");
    assert_eq!(written("aB"), "=\"aB\"");
    assert_eq!(written("A"), "=\"A\"");
    assert_eq!(written("a b"), "=\"a b\"");
    assert_eq!(written("a_b"), "=\"a_b\"");
}

#[test]
fn nothing_is_written_that_could_not_be_read() {
    let mut text = String::new();
    let mut writer = LinkWriter::new(&mut text);
    assert!(writer.attribute("rt", "x").is_err());
    assert!(writer.flag("obs").is_err());
    assert!(writer.link("/a>b").is_err());
    assert!(writer.link("/a b").is_err());
    writer.link("/a").unwrap();
    assert!(writer.flag("").is_err());
    assert!(writer.flag("*").is_err());
    assert!(writer.flag("a*b").is_err());
    assert!(writer.attribute("a=b", "").is_err());
    assert!(writer.number("a;b", 1).is_err());
    assert_eq!(text, "</a>");
}

#[test]
fn a_link_is_copied_with_its_attributes() {
    let mut text = String::new();
    let mut writer = LinkWriter::new(&mut text);
    for link in LinkFormat::parse("</a>;rt=\"a b\";obs,</b>") {
        writer.copy(&link.unwrap()).unwrap();
    }
    assert_eq!(text, "</a>;rt=\"a b\";obs,</b>");
}

fn matches(filter: &str, link: &str) -> bool {
    Filter::parse(filter.as_bytes())
        .unwrap()
        .matches(&one(link))
}

#[test]
fn an_escaped_space_divides_a_list_and_an_escaped_backslash_does_not_hide_one() {
    let words = |link: &str| -> Vec<String> {
        let value = one(link).attributes().next().unwrap().value.unwrap();
        value.words().map(|word| word.to_string()).collect()
    };
    assert_eq!(words(r#"</a>;rt="a\ b""#), ["a", "b"]);
    assert_eq!(words(r#"</a>;rt="a\\ b""#), ["a\\", "b"]);
    assert_eq!(words(r#"</a>;rt="\  a\"b \ ""#), ["a\"b"]);
    assert_eq!(words(r#"</a>;rt="\ ""#), Vec::<String>::new());
    assert!(matches("ct=b", r#"</a>;ct="a\ b""#));
}

#[test]
fn a_filter_wants_the_value_or_how_it_begins() {
    let link =
        "</gp/gp1>;rt=\"g.light x.y\";if=\"core.s\";ct=\"40 60\";title=\"a b\";obs;gpt=light";
    for wanted in [
        "rt=g.light",
        "rt=x.y",
        "rt=g.*",
        "rt=x*",
        "rt=*",
        "if=core.s",
        "ct=60",
        "ct=40",
        "title=a b",
        "title=a*",
        "href=/gp/gp1",
        "href=/gp/*",
        "href=*",
        "obs=",
        "obs=*",
        "gpt=*",
        "gpt=light",
        "gpt=light*",
    ] {
        assert!(matches(wanted, link), "{wanted}");
    }
    for unwanted in [
        "rt=g.lights",
        "rt=g.ligh",
        "rt=light",
        "rt=g.light x.y",
        "rt=y*",
        "rt=",
        "rt=G.light",
        "if=core",
        "ct=4",
        "title=a",
        "title=b",
        "href=/gp",
        "href=gp*",
        "href=/gp/gp1/",
        "obs=x",
        "sz=*",
        "g*=light",
        "RT=g.light",
    ] {
        assert!(!matches(unwanted, link), "{unwanted}");
    }
}

#[test]
fn lists_are_lists_in_five_attributes_only() {
    for name in ["rt", "if", "rel", "rev", "ct"] {
        assert!(matches(
            &format!("{name}=b"),
            &format!("</a>;{name}=\"a b\"")
        ));
        assert!(!matches(
            &format!("{name}=a b"),
            &format!("</a>;{name}=\"a b\"")
        ));
    }
    assert!(!matches("sz=b", "</a>;sz=\"a b\""));
    assert!(matches("sz=a b", "</a>;sz=\"a b\""));
}

#[test]
fn any_attribute_of_the_name_suffices() {
    assert!(matches("rt=b", "</a>;rt=a;rt=b"));
    assert!(matches("x=a\"b", "</a>;x=\"a\\\"b\""));
    assert!(matches("x=a*b", "</a>;x=a*b"));
    assert!(!matches("x=a*b", "</a>;x=acb"));
}

#[test]
fn some_queries_are_no_filter() {
    assert_eq!(Filter::parse(b"rt"), None);
    assert_eq!(Filter::parse(b"=x"), None);
    assert_eq!(Filter::parse(b""), None);
    assert_eq!(Filter::parse(b"rt=\xff"), None);
    assert_eq!(Filter::parse(b"rt=a=b").unwrap().name(), "rt");
    assert!(matches("x=a=b", "</a>;x=a=b"));
}

// Covers: GO-11-03, GO-11-05, GO-11-07
#[test]
fn gosc_is_a_flag_that_overshadows_osc() {
    let hint = |text: &str| {
        let mut links = LinkFormat::parse(text);
        let link = links.next().unwrap().unwrap();
        assert!(links.next().is_none());
        (link.flag("gosc"), link.security())
    };
    let group = (true, Some(SecurityHint::GroupOscoreOrOscore));
    for text in [
        "</a>;gosc",
        "</a>;gosc=1",
        "</a>;gosc=\"x\"",
        "</a>;gosc;osc",
        "</a>;osc;gosc",
        "</a>;gosc;osc;gosc=0",
        "</a>;gosc=0;gosc;osc=1",
    ] {
        assert_eq!(hint(text), group, "{text}");
    }
    let plain = (false, Some(SecurityHint::Oscore));
    for text in ["</b>;osc", "</b>;osc=1", "</b>;Gosc;osc"] {
        assert_eq!(hint(text), plain, "{text}");
    }
    for text in ["</c>", "</c>;rt=gosc", "</c>;GOSC", "</c>;goscar;oscar"] {
        assert_eq!(hint(text), (false, None), "{text}");
    }
    assert_eq!(SecurityHint::GroupOscoreOrOscore.attribute(), "gosc");
    assert_eq!(SecurityHint::Oscore.attribute(), "osc");
}
