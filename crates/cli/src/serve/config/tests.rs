use super::*;
use crate::hex;

const LAMP: &str = r#"
[server]
listen = ["10.0.0.7", "[::1]:5685"]
discoverable = "groups"
unsecured = true
profile = "seed03"
interfaces = ["eth1"]
6lowpan = ["wpan0"]
leisure = "2s"
group-answer-limit = 80

[[group]]
name = "floor-3"
address = "224.0.1.187"
interfaces = ["eth0", "wlan0"]
leisure = "500ms"
unsecured = true

[[group]]
address = "all-coap-nodes-site"
unsecured = true

[[application-group]]
name = "lights"
groups = ["floor-3", "[ff05::fd]:5683"]

[[resource]]
path = "/light"
title = "Lamp"
rt = ["light", "x"]
if = ["actuator"]
value = "{\"on\": false}"
content-format = "cbor"
writable = true
access = "unsecured"
application-group = "lights"
on-group = "respond"
suppress = ["2.xx"]
answer = ["4.xx"]
consider-no-response = true
leisure = { response-size = 100, group-size = 50, rate = 1000 }
limit = 100

[[resource]]
path = "/uptime"
command = ["uptime"]
access = "public"
hidden = true

[[resource]]
path = "/file"
file = "state.bin"
content-format = 42

[[resource]]
path = "/count"
counter = 7
on-group = "silent"

[[resource]]
path = "/raw"
value-hex = "00 ff"
"#;

#[test]
fn what_is_observable_says_when_it_changes() {
    let read = |keys: &str| {
        let text = format!("[server]\nunsecured = true\n[[resource]]\npath = \"/x\"\n{keys}");
        let config = parse(&text, Path::new(""));
        config.map(|config| {
            (
                config.resources[0].observable,
                config.resources[0].notify_every,
            )
        })
    };
    let yes = "observable = true\n";
    for keys in [
        "value = \"v\"\nwritable = true\n",
        "file = \"f\"\n",
        "counter = 0\nwritable = true\n",
    ] {
        assert_eq!(
            read(&format!("{keys}{yes}")).unwrap(),
            (true, None),
            "{keys}"
        );
        assert_eq!(read(keys).unwrap(), (false, None));
    }
    for keys in ["value = \"v\"\n", "counter = 0\n", "command = [\"date\"]\n"] {
        let refused = read(&format!("{keys}{yes}")).unwrap_err();
        assert!(refused.to_string().contains("notify-every"), "{refused}");
        let clock = format!("{keys}{yes}notify-every = \"100ms\"\n");
        let every = Duration::from_millis(100);
        assert_eq!(read(&clock).unwrap(), (true, Some(every)), "{keys}");
    }
    let often = format!("counter = 0\n{yes}notify-every = \"99ms\"\n");
    assert!(read(&often).unwrap_err().to_string().contains("100ms"));
    let useless = "counter = 0\nnotify-every = \"1s\"\n";
    let refused = read(useless).unwrap_err().to_string();
    assert!(refused.contains("observable = true"), "{refused}");
}

#[test]
fn entity_tags_are_for_what_stays_the_same() {
    let read = |keys: &str| {
        let text = format!("[server]\nunsecured = true\n[[resource]]\npath = \"/x\"\n{keys}");
        parse(&text, Path::new("")).map(|config| config.resources[0].etag)
    };
    for keys in [
        "value = \"v\"\n",
        "file = \"f\"\n",
        "command = [\"date\"]\n",
        "counter = 0\nwritable = true\n",
    ] {
        assert_eq!(read(keys), Ok(false), "{keys}");
        assert_eq!(read(&format!("{keys}etag = true\n")), Ok(true), "{keys}");
    }
    let refused = read("counter = 0\netag = true\n").unwrap_err().to_string();
    assert_eq!(
        refused,
        "3: etag has no meaning for a counter of its reads: no representation of it comes twice"
    );
}

#[test]
fn reads_everything() {
    let config = parse(LAMP, Path::new("/etc/lamp")).unwrap();
    let server = &config.server;
    assert_eq!(
        server
            .listen
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["10.0.0.7:5683", "[::1]:5685"]
    );
    assert_eq!(
        (
            server.discoverable,
            server.profile,
            server.leisure,
            server.group_answer_limit
        ),
        (
            Discoverable::Groups,
            Profile::Seed03,
            Some(Duration::from_secs(2)),
            Some(80)
        )
    );
    assert_eq!(server.interfaces, ["eth1"]);
    assert_eq!(server.sixlowpan, ["wpan0"]);
    let floor = &config.groups[0];
    assert_eq!(
        (
            floor.name.as_str(),
            floor.address.to_string().as_str(),
            floor.leisure
        ),
        (
            "floor-3",
            "224.0.1.187:5683",
            Some(Duration::from_millis(500))
        )
    );
    assert_eq!(floor.interfaces, ["eth0", "wlan0"]);
    assert_eq!(config.groups[1].name, "[ff05::fd]:5683");
    assert_eq!(config.applications[0].groups, [0, 1]);
    assert_eq!(
        config.applications[0].naming,
        Naming::Path {
            base: vec![],
            delimiter: Some("gp".into())
        }
    );

    let [light, uptime, file, count, raw] = config.resources.as_slice() else {
        panic!("{:?}", config.resources)
    };
    assert_eq!(config.full_path(light), "/gp/lights/light");
    assert_eq!(
        light.source,
        Source::Fixed(hex::parse("a1626f6ef4").unwrap())
    );
    assert_eq!(
        (light.access, light.on_group, light.writable),
        (Access::Unsecured, OnGroup::Respond, true)
    );
    assert_eq!(
        (&light.suppress, &light.answer),
        (&vec![Class::Success], &vec![Class::ClientError])
    );
    assert_eq!(
        light.leisure,
        Some(Leisure::Estimated {
            response_size: 100,
            group_size: 50,
            rate: 1000
        })
    );
    assert_eq!(
        (light.limit, light.consider_no_response, light.format),
        (Some(100), true, ContentFormat::CBOR)
    );
    assert_eq!(
        (
            light.title.as_deref(),
            light.rt.len(),
            light.interfaces.len()
        ),
        (Some("Lamp"), 2, 1)
    );
    assert_eq!(
        (&uptime.source, uptime.hidden),
        (&Source::Command(vec!["uptime".into()]), true)
    );
    assert_eq!(
        (uptime.access, uptime.on_group, uptime.format),
        (Access::Public, OnGroup::Ignore, ContentFormat::TEXT)
    );
    assert_eq!(file.source, Source::File("/etc/lamp/state.bin".into()));
    assert_eq!(
        (file.access, file.format),
        (Access::Verified, ContentFormat::OCTETS)
    );
    assert_eq!(
        (&count.source, count.on_group),
        (&Source::Counter(7), OnGroup::Silent)
    );
    assert_eq!(
        (&raw.source, raw.format),
        (&Source::Fixed(vec![0, 255]), ContentFormat::OCTETS)
    );
}

#[test]
fn all_six_naming_forms_are_read() {
    let naming = |keys: &str| {
        let text = format!(
            "[[group]]\nname=\"g\"\naddress=\"224.0.1.187\"\nunsecured=true\n[[application-group]]\nname=\"5690\"\ngroups=[\"g\"]\n{keys}\n[[resource]]\npath=\"/x\"\ncounter=0\napplication-group=\"5690\"\n"
        );
        parse(&text, Path::new("")).map(|config| {
            (
                config.applications[0].naming.clone(),
                config.full_path(&config.resources[0]),
            )
        })
    };
    let path = |base: &[&str], delimiter: Option<&str>| Naming::Path {
        base: base.iter().map(|s| (*s).to_owned()).collect(),
        delimiter: delimiter.map(Into::into),
    };
    for (keys, expected, full) in [
        ("", path(&[], Some("gp")), "/gp/5690/x"),
        (
            "naming=\"path\"\nbase=\"/a/b\"\ndelimiter=\"group\"",
            path(&["a", "b"], Some("group")),
            "/a/b/group/5690/x",
        ),
        ("delimiter=\"\"", path(&[], None), "/5690/x"),
        ("naming=\"query-name\"", Naming::QueryName, "/x"),
        (
            "naming=\"query\"",
            Naming::Query {
                indicator: "gp".into(),
            },
            "/x",
        ),
        (
            "naming=\"query\"\nindicator=\"g\"",
            Naming::Query {
                indicator: "g".into(),
            },
            "/x",
        ),
        ("naming=\"authority\"", Naming::Authority, "/x"),
        (
            "naming=\"host-label\"\ndomain=\"example\"",
            Naming::HostLabel {
                domain: "example".into(),
            },
            "/x",
        ),
        ("naming=\"port\"", Naming::Port, "/x"),
        ("naming=\"implied\"", Naming::Implied, "/x"),
    ] {
        assert_eq!(naming(keys), Ok((expected, full.into())), "{keys}");
    }
    for (keys, what) in [
        ("naming=\"host-label\"", "needs the domain"),
        (
            "naming=\"query\"\nbase=\"x\"",
            "base has no meaning with this naming",
        ),
        ("indicator=\"x\"", "indicator has no meaning"),
        ("domain=\"x\"", "domain has no meaning"),
        (
            "naming=\"query-name\"\ndelimiter=\"x\"",
            "delimiter has no meaning",
        ),
    ] {
        let error = naming(keys).unwrap_err();
        assert!(error.what.contains(what), "{keys}: {error}");
        assert_eq!(error.line, 5);
    }
}

#[test]
fn group_addresses_are_read_in_every_form() {
    for (text, shown) in [
        ("224.0.1.187", "224.0.1.187:5683"),
        ("224.0.1.187:5690", "224.0.1.187:5690"),
        ("ff05::fd", "[ff05::fd]:5683"),
        ("[ff05::fd]", "[ff05::fd]:5683"),
        ("[ff05::fd]:1", "[ff05::fd]:1"),
        ("all-coap-nodes", "224.0.1.187:5683"),
        ("all-coap-nodes-link", "[ff02::fd]:5683"),
        ("all-coap-nodes-realm", "[ff03::fd]:5683"),
        ("Lights.example", "lights.example:5683"),
        ("lights.example:5690", "lights.example:5690"),
    ] {
        assert_eq!(group_address(text).unwrap().to_string(), shown);
    }
    for text in [
        "",
        "224.0.1",
        "1.2.3.4.5",
        "a b",
        "a..b",
        "lights:0",
        "224.0.1.187:0",
        "all-coap-nodes-nowhere",
        "[ff05::fd",
        "x:y",
    ] {
        assert_eq!(group_address(text), None, "{text}");
    }
}

const SECURED: &str = r#"
[server]
echo = "when-amplified"
group-mode-by-unicast = "read-only"

[[group]]
name = "floor"
address = "[ff0e::1]"
secured-by = ["floor-3", "floor-4"]

[[application-group]]
name = "lights"
groups = ["floor"]
secured-by = ["floor-3"]

[[member]]
name = "switch"
security-group = "floor-3"
credential = "a1 01"

[[member]]
name = "panel"
security-group = "floor-4"
credential = "a102"

[[resource]]
path = "/light"
value = "off"
writable = true
secured-by = ["floor-4"]
fresh = ["PUT", "iPATCH"]

[[resource.allow]]
methods = ["GET", "FETCH"]

[[resource.allow]]
members = ["switch", "panel"]
methods = ["PUT"]

[[resource.allow]]
members = ["panel"]

[[resource]]
path = "/nobody"
value = "x"
allow = [{ members = [] }]
"#;

#[test]
fn permissions_and_security_groups_are_read() {
    let config = parse(SECURED, Path::new("")).unwrap();
    assert_eq!(config.server.echo, Echo::WhenAmplified);
    assert_eq!(config.server.group_mode_by_unicast, GroupMode::ReadOnly);
    let names = |groups: &[SecurityGroupName]| -> Vec<String> {
        groups.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&config.groups[0].secured_by), ["floor-3", "floor-4"]);
    assert_eq!(names(&config.applications[0].secured_by), ["floor-3"]);
    let [light, nobody] = config.resources.as_slice() else {
        panic!("{:?}", config.resources)
    };
    assert_eq!(names(&light.secured_by), ["floor-4"]);
    assert_eq!(light.fresh, Methods::PUT | Methods::IPATCH);
    let floor = |n: u8| SecurityGroupName::new(format!("floor-{n}")).unwrap();
    let switch = antiphon::Identity::member(floor(3).as_str(), &[0xa1, 1]);
    let panel = antiphon::Identity::member(floor(4).as_str(), &[0xa1, 2]);
    let namesake = antiphon::Identity::member(floor(4).as_str(), &[0xa1, 1]);
    let access = net_access(light.access, &light.allow);
    let may = |who: &antiphon::Identity| -> Vec<&str> {
        let methods = Methods::ALL
            .iter()
            .filter(|method| access.allows(who, *method));
        methods.filter_map(antiphon::Code::name).collect()
    };
    assert_eq!(may(&switch), ["GET", "PUT", "FETCH"]);
    assert_eq!(may(&panel).len(), 7);
    assert_eq!(may(&namesake), ["GET", "FETCH"]);
    assert!(!access.is_open());
    let closed = net_access(nobody.access, &nobody.allow);
    assert!(!closed.allows(&panel, antiphon::Code::GET) && !closed.is_open());
    for (access, expected) in [
        (Access::Verified, antiphon::Access::Verified),
        (Access::Public, antiphon::Access::Public),
        (Access::Unsecured, antiphon::Access::Unsecured),
    ] {
        assert_eq!(net_access(access, &[]), expected);
    }
}

#[test]
fn what_is_wrong_with_permissions_names_its_line() {
    const R: &str = "[[resource]]\npath=\"/x\"\ncounter=0\n";
    const M: &str = "[[member]]\nname=\"m\"\nsecurity-group=\"g\"\ncredential=\"a0\"\n";
    for (text, line, what) in [
        (
            format!("{R}[[resource.allow]]\nwho=[]\n"),
            5,
            "unknown field `who`",
        ),
        (
            format!("{R}[[resource.allow]]\nmembers=[\n\"m\"]\n"),
            6,
            "there is no member \"m\"",
        ),
        (
            format!("{R}[[resource.allow]]\nmethods=[\"GET\",\n\"put\"]\n"),
            6,
            "\"put\" is no method: GET, POST",
        ),
        (format!("{R}fresh=[\"X\"]\n"), 4, "\"X\" is no method"),
        (
            format!("[server]\nunsecured=true\n{R}access=\"public\"\n[[resource.allow]]\n"),
            7,
            "permissions have no meaning where access is open",
        ),
        (format!("{M}{M}"), 5, "a second member \"m\""),
        (M.replace("=\"m\"", "=\"\""), 2, "the name is empty"),
        (M.replace("a0", "a"), 4, ""),
        (M.replace("a0", ""), 4, "the credential is empty"),
        (
            M.replace("\"g\"", "\"nosec\""),
            3,
            "cannot name a security group",
        ),
        (
            M.replace("security-group", "group"),
            3,
            "unknown field `group`",
        ),
        (format!("{R}secured-by=[\"\"]\n"), 4, "the name is empty"),
        (
            format!("{R}[[group]]\naddress=\"239.0.0.1\"\nunsecured=true\nsecured-by=[\"g\"]\n"),
            4,
            "a group says either which security groups",
        ),
        (
            format!("{R}[[group]]\naddress=\"239.0.0.1\"\n"),
            4,
            "a group says either which security groups",
        ),
        (
            String::from("[server]\necho=\"sometimes\"\n"),
            2,
            "unknown variant `sometimes`",
        ),
    ] {
        let error = parse(&text, Path::new("")).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.what.contains(what), "{text}: {error}");
    }
}

#[test]
fn every_complaint_names_its_line() {
    const R: &str = "[[resource]]\npath=\"/x\"\ncounter=0\n";
    for (text, line, what) in [
        ("", 1, "nothing to serve"),
        ("[server]\nlisen = []\n", 2, "unknown field `lisen`"),
        (
            "[server]\nlisten = [\n\"x\"]\n",
            3,
            "\"x\" is no address to listen on",
        ),
        (
            "[server]\nlisten = [\"224.0.1.187\"]\n",
            2,
            "belongs into a [[group]]",
        ),
        ("[server]\nlisten = [\"10.0.0.1:5684\"]\n", 2, "port 5684"),
        (
            "[[resource]]\npath=\"/x\"\ncounter=0\naccess=\"public\"\n",
            1,
            "\"/x\" is open without security: state unsecured = true in [server]",
        ),
        (
            "[server]\n[[resource]]\npath=\"/x\"\ncounter=0\naccess=\"unsecured\"\n",
            2,
            "\"/x\" is open without security: state unsecured = true in [server]",
        ),
        (
            "[server]\nlisten = [\"10.0.0.1\",\n\"10.0.0.1:5683\"]\n",
            3,
            "given twice",
        ),
        ("[server]\nleisure = \"soon\"\n", 2, "no unit of time"),
        ("[server]\nprofile = \"old\"\n", 2, "unknown variant `old`"),
        (
            "\n[[group]]\naddress = \"10.0.0.1\"\nunsecured = true\n",
            3,
            "10.0.0.1 is not a multicast address",
        ),
        (
            "[[group]]\naddress = \"224.0.1.187:5684\"\n",
            2,
            "never 5684",
        ),
        (
            "[[group]]\naddress = \"grp.example:5684\"\n",
            2,
            "never 5684",
        ),
        (
            "[[group]]\naddress = \"ff0e::fd\"\nunsecured = true\n",
            2,
            "global scope",
        ),
        (
            "[[group]]\naddress = \"ff3e::1\"\nunsecured = true\n",
            2,
            "global scope",
        ),
        (
            "[[group]]\naddress = \"224.0.1.187\"\n",
            1,
            "(secured-by) or unsecured = true",
        ),
        (
            "[[group]]\naddress = \"a b\"\n",
            2,
            "neither a group's address nor a host name",
        ),
        (
            "[[group]]\nname = \"\"\naddress = \"ff05::fd\"\nunsecured = true\n",
            2,
            "the name is empty",
        ),
        (
            "[[group]]\naddress = \"ff05::fd\"\nunsecured = true\n[[group]]\naddress = \"ff05::fd\"\nunsecured = true\n",
            4,
            "a second group",
        ),
        (
            "[[application-group]]\nname=\"a\"\ngroups=[\"g\"]\n",
            3,
            "there is no group \"g\"",
        ),
        (
            "[[application-group]]\nname=\"a\"\ngroups=[]\n",
            1,
            "at least one group",
        ),
        (
            "[[resource]]\npath = \"x\"\ncounter = 0\n",
            2,
            "does not begin with /",
        ),
        (
            "[[resource]]\npath = \"/a?b\"\ncounter = 0\n",
            2,
            "without query",
        ),
        (
            "[[resource]]\npath = \"/a/../b\"\ncounter = 0\n",
            2,
            "path segment",
        ),
        (
            "[[resource]]\npath = \"/.well-known/core\"\ncounter = 0\n",
            2,
            "made by the server",
        ),
        ("[[resource]]\npath = \"/x\"\n", 1, "exactly one of value"),
        (
            "[[resource]]\npath = \"/x\"\nvalue = \"1\"\ncounter = 0\n",
            1,
            "exactly one of value",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncommand = []\n",
            1,
            "names no program",
        ),
        (
            "[[resource]]\npath = \"/x\"\nvalue-hex = \"0\"\n",
            3,
            "half a byte",
        ),
        (
            "[[resource]]\npath = \"/x\"\nvalue = \"{\"\ncontent-format = \"cbor\"\n",
            3,
            "not JSON",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\ncontent-format = \"yaml\"\n",
            4,
            "\"yaml\" is no known Content-Format",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\ncontent-format = true\n",
            4,
            "a name or a number",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\napplication-group = \"a\"\n",
            4,
            "no application group \"a\"",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\nsuppress = [\"4.04\"]\n",
            4,
            "single codes cannot be suppressed",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\non-group=\"respond\"\nsuppress = [\"4.xx\"]\nanswer = [\"4.xx\"]\n",
            1,
            "4.xx is both",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\nleisure = \"1s\"\n",
            1,
            "leisure has no meaning without",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\non-group=\"silent\"\nlimit = 3\n",
            1,
            "limit has no meaning without",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\non-group=\"respond\"\nleisure = \"x\"\n",
            5,
            "unit of time",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\non-group=\"respond\"\nleisure = {response-size=1,group-size=1,rate=0}\n",
            5,
            "rate is zero",
        ),
        (
            "[[resource]]\npath = \"/x\"\ncounter = 0\nacess = \"public\"\n",
            4,
            "unknown field `acess`",
        ),
        (&format!("{R}{R}"), 4, "the first is in line 1"),
        ("= 1", 1, ""),
    ] {
        let error = parse(text, Path::new("")).unwrap_err();
        assert!(error.what.contains(what), "{text:?}: {error}");
        assert_eq!(error.line, line, "{text:?}: {error}");
    }
}

#[test]
fn images_are_taken_as_the_file_says() {
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"; // RFC 8032 section 7.1
    let text = format!(
        r#"
[[images]]
path = "/fw"
folder = "receiving"
kind = "lamp"
max-size = 1000000
activate = ["install", "--now"]
activate-timeout = "90s"
trusted-key = "{key}"
secured-by = "lights"
newer-wins = true
[[images]]
path = "/maps/town"
folder = "/var/maps"
"#
    );
    let config = parse(&text, Path::new("/etc/lamp")).unwrap();
    let [first, second] = config.images.as_slice() else {
        panic!("two of them");
    };
    assert_eq!(first.path, "/fw");
    assert_eq!(first.folder, Path::new("/etc/lamp/receiving"));
    assert_eq!(first.kind.as_deref(), Some("lamp"));
    assert_eq!(first.max_size, 1_000_000);
    assert_eq!(first.activate, ["install", "--now"]);
    assert_eq!(first.timeout, Duration::from_secs(90));
    let trusted = first.trusted_key.as_ref().unwrap().to_bytes();
    assert_eq!(hex::plain(&trusted), key);
    let group = first.secured_by.as_ref().map(SecurityGroupName::as_str);
    assert_eq!(group, Some("lights"));
    assert!(first.newer_wins && first.access == Access::Verified);
    assert_eq!(second.folder, Path::new("/var/maps"));
    assert_eq!((second.kind.as_deref(), second.max_size), (None, 16 << 20));
    assert_eq!(second.timeout, Duration::from_secs(300));
    assert!(second.activate.is_empty() && second.trusted_key.is_none());
    assert!(second.secured_by.is_none() && !second.newer_wins);
}

#[test]
fn images_that_cannot_be_taken_are_refused_with_their_line() {
    let cases = [
        ("path = \"fw\"", 2, "is no path for images"),
        ("path = \"/\"", 2, "is no path for images"),
        ("path = \"/a b\"", 2, "is no path for images"),
        ("path = \"/a//b\"", 2, "a path segment is empty"),
        ("path = \"/a/..\"", 2, "a path segment is empty"),
        (
            "path = \"/a\"\naccess = \"public\"",
            1,
            "by anyone (\"unsecured\")",
        ),
        (
            "path = \"/a\"\naccess = \"unsecured\"",
            1,
            "state unsecured = true",
        ),
        ("path = \"/a\"\nactivate = []", 3, "names no program"),
        ("path = \"/a\"\nactivate-timeout = \"soon\"", 3, "soon"),
        (
            "path = \"/a\"\ntrusted-key = \"00\"",
            3,
            "no Ed25519 public key",
        ),
        (
            "path = \"/a\"\napplication-group = \"x\"",
            3,
            "no application group",
        ),
        ("path = \"/a\"\nfolders = \"x\"", 3, "unknown field"),
    ];
    for (keys, line, what) in cases {
        let text = format!("[[images]]\n{keys}\nfolder = \"f\"\n");
        let error = parse(&text, Path::new("")).unwrap_err();
        assert_eq!(error.line, line, "{keys}: {error}");
        assert!(error.what.contains(what), "{keys}: {error}");
    }
    let twice =
        "[[resource]]\npath = \"/a\"\nvalue = \"x\"\n[[images]]\npath = \"/a\"\nfolder = \"f\"\n";
    let error = parse(twice, Path::new("")).unwrap_err();
    assert_eq!(error.line, 4);
}
