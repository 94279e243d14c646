//! Scenario 9: the examples of group naming and group discovery (groupcomm-bis Appendices B and C).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use antiphon_netsim::HostId;
use antiphon_proto::{
    Attributes, CoapGroupSpec, CollectError, GroupAddress, GroupPolicy, MembershipError, Naming,
    NoSec, Options, Reliability, Request, Resource, Security,
};
use antiphon_tests::stage::{
    Collected, Diary, Ground, INTERFACE, Stage, get, number_of, target, uri_request,
};
use antiphon_wire::{Code, Host, OptionNumber, Uri, UriErrorKind};

/// What the test's name server knows: the group of the examples, an alias, two groups behind one name, and one host.
fn names(ground: Ground) -> BTreeMap<&'static str, Vec<IpAddr>> {
    let group = |n| ground.group(n, 0).ip();
    BTreeMap::from([
        ("grp.example", vec![group(1)]),
        ("grp42.example", vec![group(1)]),
        ("alias.example", vec![group(1)]),
        ("grp2.example", vec![group(2)]),
        ("both.example", vec![group(3), group(4)]),
        ("host.example", vec![ground.address(91)]),
    ])
}

/// The destinations of a group URI.
fn resolve(ground: Ground, uri: &str) -> Vec<SocketAddr> {
    let uri = Uri::parse_group(uri).unwrap();
    let addresses = match uri.host {
        Host::Name(name) => names(ground)[name].clone(),
        host => vec![host.ip().unwrap()],
    };
    let socket = |ip| SocketAddr::new(ip, uri.effective_port());
    addresses.into_iter().map(socket).collect()
}

/// One example of Appendix B: how the application group is named, and what then stands in the message.
struct Example {
    uri: &'static str,
    method: Code,
    naming: Naming,
    name: &'static str,
    resource: &'static str,
    query: &'static [&'static str],
    options: &'static [u8],
}

fn examples() -> Vec<Example> {
    let example = Example {
        uri: "coap://grp.example:5685/gp/gp1/light?foo=bar",
        method: Code::GET,
        naming: Naming::path(),
        name: "gp1",
        resource: "light",
        query: &["foo=bar"],
        options: b"\x3bgrp.example\x82gp\x03gp1\x05light\x47foo=bar",
    };
    let path = |delimiter: &str| Naming::Path {
        base: Vec::new(),
        delimiter: Some(delimiter.into()),
    };
    vec![
        Example {
            uri: "coap://LITERAL/g/gp1/li",
            method: Code::POST,
            naming: path("g"),
            resource: "li",
            query: &[],
            options: b"\xb1g\x03gp1\x02li",
            ..example
        },
        Example {
            uri: "coap://grp.example:5685/light?gp1",
            naming: Naming::QueryName,
            query: &[],
            options: b"\x3bgrp.example\x85light\x43gp1",
            ..example
        },
        Example {
            uri: "coap://grp.example:5685/light?foo=bar&gp=gp1",
            naming: Naming::query(),
            options: b"\x3bgrp.example\x85light\x47foo=bar\x06gp=gp1",
            ..example
        },
        Example {
            uri: "coap://grp.example:5685/light?foo=bar",
            naming: Naming::Authority,
            name: "grp.example:5685",
            options: b"\x3bgrp.example\x85light\x47foo=bar",
            ..example
        },
        Example {
            uri: "coap://grp42.example:5685/light?foo=bar",
            naming: Naming::HostLabel {
                domain: "example".into(),
            },
            name: "grp42",
            options: b"\x3d\x00grp42.example\x85light\x47foo=bar",
            ..example
        },
        Example {
            uri: "coap://grp.example:55685/light?foo=bar",
            naming: Naming::Port,
            name: "55685",
            options: b"\x3bgrp.example\x85light\x47foo=bar",
            ..example
        },
        example,
    ]
}

fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// A member of the CoAP group of this URI with one application group, in which the resource writes into the diary.
fn member_of(
    stage: &mut Stage,
    n: u16,
    example: &Example,
    name: &str,
    uri: &str,
) -> (HostId, Diary) {
    let host = stage.member(n);
    let group = resolve(stage.ground, uri)[0];
    let mut spec = CoapGroupSpec::new(group).on(INTERFACE).unsecured();
    if !uri.contains("://[") && !uri.contains("://2") {
        spec = spec.name("grp.example").name("grp42.example");
    }
    let memberships = stage.server(host).memberships_mut();
    let coap = memberships.create(spec).unwrap();
    let naming = example.naming.clone();
    let application = memberships.create_application(name, naming, Attributes::new());
    memberships.relate(application.unwrap(), coap).unwrap();
    let diary = Diary::new();
    let resource = Resource::at(example.resource).in_group(name);
    let resource = match example.method {
        Code::GET => resource.get(diary.handler(Code::CONTENT, "on")),
        _ => resource.post(diary.handler(Code::CHANGED, "")),
    };
    stage.offer(host, resource.group_policy(GroupPolicy::respond()));
    (host, diary)
}

// Covers: GN-B-01, GC-2.2.1-05, GN-2.2.1.2-01, GN-2.2.1.2-02, GN-2.2.1.2-03, GN-2.2.1.2-04
#[test]
fn the_seven_examples_byte_for_byte_and_the_group_that_is_meant_answers() {
    for ground in [Ground::Site, Ground::Realm, Ground::Link, Ground::V4] {
        for example in examples() {
            let group = literal(ground.group(1, 0).ip());
            let uri = example.uri.replace("LITERAL", &group);
            let mut stage = Stage::new(ground, 9);
            let client = stage.client();
            let (_, meant) = member_of(&mut stage, 91, &example, example.name, &uri);
            // Another member, of an application group of another name.
            let other_name = match example.naming {
                Naming::Authority => "grp9.example:5685",
                Naming::Port => "55686",
                _ => "gp9",
            };
            let (_, other) = member_of(&mut stage, 92, &example, other_name, &uri);
            stage.settle();
            let [destination] = resolve(ground, &uri)[..] else {
                panic!("one group");
            };
            let mut request = uri_request(example.method, &uri, destination);
            // Composed from the group's configuration it is the same.
            let mut options = Options::new();
            let host = uri.contains("example").then_some(match &example.naming {
                Naming::HostLabel { .. } => "grp42.example",
                _ => "grp.example",
            });
            let address = GroupAddress {
                group: destination,
                host,
                naming: &example.naming,
                name: example.name,
                path: example.resource,
                query: example.query,
            };
            address.write(&mut options).unwrap();
            assert_eq!(options, request.options, "{uri}");

            request.payload.clear();
            let question = stage.question(request, destination);
            let done = stage.collect(client, question);
            let sent = stage.sent(client);
            assert_eq!(sent[0][0], 0x58);
            assert_eq!(sent[0][1], example.method.to_u8());
            assert_eq!(&sent[0][12..], example.options, "{uri}");
            assert_eq!(done.who(), [91], "{ground:?} {uri}");
            let entries = meant.entries();
            assert_eq!(entries.len(), 1);
            let tuple = entries[0].arrival.group.as_ref().unwrap();
            assert_eq!(tuple.application_group.as_deref(), Some(example.name));
            assert_eq!(tuple.coap_group, destination);
            assert!(other.is_empty());
        }
    }
}

#[test]
fn a_name_that_nobody_has_is_met_with_silence() {
    for ground in Ground::ALL {
        for example in examples() {
            let unknown = match example.naming {
                Naming::Path { .. } => get("/gp/gp8/light"),
                Naming::QueryName => get("/light").query("gp8"),
                Naming::Query { .. } => get("/light").query("gp=gp8"),
                Naming::HostLabel { .. } => {
                    get("/light").option(OptionNumber::URI_HOST, b"grp8.example")
                }
                _ => continue,
            };
            let mut stage = Stage::new(ground, 9);
            let client = stage.client();
            let uri = "coap://grp.example:5685/";
            let (host, diary) = member_of(&mut stage, 91, &example, "gp1", uri);
            stage.settle();
            let group = ground.group(1, 5685);
            let question = stage.question(unknown, group);
            assert_eq!(stage.collect(client, question).who(), [0_u16; 0]);
            assert_eq!(stage.world.node(host).received.len(), 1);
            assert_eq!((diary.len(), stage.sent(host).len()), (0, 0));
        }
    }
}

struct Found {
    stage: Stage,
    client: HostId,
}

/// Name, rt, gpt.
type Application<'a> = (&'a str, &'a str, &'a str);
/// Number, name, application groups.
type Membership<'a> = (u8, &'a str, &'a [Application<'a>]);

/// Servers from S1 on. Each has CoAP groups (number and name; number 1 at port 5685, others at 5683), and in each
/// application groups: name, rt, gpt.
fn servers(ground: Ground, all: &[&[Membership<'_>]]) -> Found {
    let mut stage = Stage::new(ground, 99);
    let client = stage.client();
    for (n, groups) in (1..).zip(all) {
        let host = stage.member(n + 10);
        let memberships = stage.server(host).memberships_mut();
        for (number, name, applications) in *groups {
            let port = if *number == 1 { 5685 } else { 5683 };
            let address = ground.group(*number, port);
            let mut spec = CoapGroupSpec::new(address).on(INTERFACE).unsecured();
            if !name.is_empty() {
                spec = spec.name(name.to_owned());
            }
            let coap = memberships.create(spec).unwrap();
            for (name, rt, gpt) in *applications {
                let mut attributes = Attributes::new().rt(rt);
                if !gpt.is_empty() {
                    attributes = attributes.with("gpt", gpt);
                }
                let application = memberships.create_application(name, Naming::path(), attributes);
                memberships.relate(application.unwrap(), coap).unwrap();
            }
        }
    }
    stage.settle();
    Found { stage, client }
}

impl Found {
    fn ask(&mut self, group: SocketAddr, query: &str) -> Vec<(u16, String)> {
        self.collect(group, query).texts()
    }

    fn collect(&mut self, group: SocketAddr, query: &str) -> Collected {
        let request = get("/.well-known/core").query(query);
        let mut question = self.stage.question(request, group);
        question.security = Security::Unsecured(NoSec::Discovery);
        let found = self.stage.collect(self.client, question);
        for answer in &found.answers {
            let format = answer.response.options.get(OptionNumber::CONTENT_FORMAT);
            assert_eq!(format, Some(&[40][..]));
        }
        found
    }
}

const LIGHT: (&str, &str, &str) = ("gp1", "g.light", "");

fn text(all: &[(u16, &str)]) -> Vec<(u16, String)> {
    all.iter().map(|(n, t)| (n + 10, (*t).to_owned())).collect()
}

// Covers: GN-2.2.3.2-01, GC-2.2.3-03, GC-2.1.2-01
#[test]
fn c1_the_application_groups_of_a_coap_group_have_relative_links() {
    for ground in Ground::ALL {
        let temp = ("gp2", "g.temp", "");
        let mut found = servers(
            ground,
            &[
                &[(1, "grp.example", &[LIGHT])],
                &[(1, "grp.example", &[LIGHT, temp])],
            ],
        );
        let expected = text(&[
            (1, "</gp/gp1>;rt=g.light"),
            (2, "</gp/gp1>;rt=g.light,</gp/gp2>;rt=g.temp"),
        ]);
        let group = ground.group(1, 5685);
        assert_eq!(found.ask(group, "rt=g.*"), expected, "{ground:?}");
        assert_eq!(found.ask(group, "href=/gp/*"), expected);
        // To All CoAP Nodes the same servers answer, and say where the groups are.
        let everywhere = found.ask(ground.all_nodes(), "rt=g.temp");
        let link = "<coap://grp.example:5685/gp/gp2>;rt=g.temp";
        assert_eq!(everywhere, text(&[(2, link)]));
        // And each answers for the groups that it is a member of.
        let hosts: Vec<_> = found
            .stage
            .world
            .sim
            .nodes()
            .map(|(host, _)| host)
            .collect();
        for (host, groups) in hosts[1..].iter().zip([&["gp1"][..], &["gp1", "gp2"]]) {
            for name in groups {
                let value = Diary::new().handler(Code::CONTENT, name);
                let resource = Resource::at("r").in_group(name).get(value);
                found
                    .stage
                    .offer(*host, resource.group_policy(GroupPolicy::respond()));
            }
        }
        for (name, who) in [("gp1", &[11, 12][..]), ("gp2", &[12]), ("gp3", &[])] {
            let question = found.stage.question(get(&format!("/gp/{name}/r")), group);
            let done = found.stage.collect(found.client, question);
            assert_eq!(done.who(), who, "{name}");
            assert!(done.texts().iter().all(|(_, text)| text == name));
        }
    }
}

// Covers: GN-2.2.3.2-02, GN-2.2.3.2-03
#[test]
fn c2_the_members_of_an_application_group_have_absolute_links() {
    for ground in Ground::ALL {
        let mut found = servers(
            ground,
            &[
                &[(1, "grp.example", &[LIGHT])],
                &[(1, "grp.example", &[LIGHT])],
                &[(1, "", &[LIGHT])],
                &[(1, "grp.example", &[("gp2", "g.light", "")])],
            ],
        );
        let literal = literal(ground.group(1, 0).ip());
        let named = "<coap://grp.example:5685/gp/gp1>;rt=g.light";
        let unnamed = format!("<coap://{literal}:5685/gp/gp1>;rt=g.light");
        let expected = text(&[(1, named), (2, named), (3, &unnamed)]);
        assert_eq!(found.ask(ground.all_nodes(), "href=/gp/gp1"), expected);
    }
}

// Covers: GN-2.2.3.2-04
#[test]
fn c3_the_members_of_any_application_group_of_a_type() {
    for ground in Ground::ALL {
        let [one, two] = [("gp1", "g.temp", ""), ("gp2", "g.temp", "")];
        let mut found = servers(
            ground,
            &[
                &[(1, "grp.example", &[one])],
                &[(1, "grp.example", &[one, two])],
                &[(1, "grp.example", &[LIGHT])],
            ],
        );
        let expected = text(&[
            (1, "<coap://grp.example:5685/gp/gp1>;rt=g.temp"),
            (
                2,
                "<coap://grp.example:5685/gp/gp1>;rt=g.temp,\
                 <coap://grp.example:5685/gp/gp2>;rt=g.temp",
            ),
        ]);
        assert_eq!(found.ask(ground.all_nodes(), "rt=g.temp"), expected);
    }
}

// Covers: GN-2.2.3.2-05, GN-2.2.3.2-06
#[test]
fn c4_the_members_of_any_application_group_in_the_network() {
    for ground in Ground::ALL {
        let lock = ("gp5", "g.lock", "");
        let two = ("gp2", "g.light", "");
        let mut found = servers(
            ground,
            &[
                &[(1, "grp.example", &[LIGHT]), (2, "grp2.example", &[lock])],
                &[(1, "grp.example", &[LIGHT, two])],
                &[(2, "grp2.example", &[lock])],
            ],
        );
        let expected = text(&[
            (
                1,
                "<coap://grp.example:5685/gp/gp1>;rt=g.light,<coap://grp2.example/gp/gp5>;rt=g.lock",
            ),
            (
                2,
                "<coap://grp.example:5685/gp/gp1>;rt=g.light,\
                 <coap://grp.example:5685/gp/gp2>;rt=g.light",
            ),
            (3, "<coap://grp2.example/gp/gp5>;rt=g.lock"),
        ]);
        assert_eq!(found.ask(ground.all_nodes(), "rt=g.*"), expected);

        let light = ("gp1", "oic.d.light", "light");
        let lock = ("gp5", "oic.d.smartlock", "lock");
        let two = ("gp2", "oic.d.light", "light");
        let mut found = servers(
            ground,
            &[
                &[(1, "grp.example", &[light]), (2, "grp2.example", &[lock])],
                &[(1, "grp.example", &[light, two])],
                &[(2, "grp2.example", &[lock])],
            ],
        );
        let lights = "<coap://grp.example:5685/gp/gp1>;rt=oic.d.light;gpt=light";
        let locks = "<coap://grp2.example/gp/gp5>;rt=oic.d.smartlock;gpt=lock";
        let more = "<coap://grp.example:5685/gp/gp2>;rt=oic.d.light;gpt=light";
        let expected = text(&[
            (1, &format!("{lights},{locks}")),
            (2, &format!("{lights},{more}")),
            (3, locks),
        ]);
        assert_eq!(found.ask(ground.all_nodes(), "gpt=*"), expected);
    }
}

// Covers: GN-2.2.3.2-08, GN-2.2.3.2-09
#[test]
fn the_source_of_an_answer_is_asked_for_what_lies_in_the_group() {
    for ground in Ground::ALL {
        let mut found = servers(
            ground,
            &[
                &[(1, "grp.example", &[LIGHT])],
                &[(1, "grp.example", &[LIGHT])],
            ],
        );
        let hosts: Vec<_> = found
            .stage
            .world
            .sim
            .nodes()
            .map(|(host, _)| host)
            .collect();
        for (host, own) in hosts[1..].iter().zip(["dim", "hue"]) {
            for path in ["on", own] {
                let value = Diary::new().handler(Code::CONTENT, "1");
                found
                    .stage
                    .offer(*host, Resource::at(path).in_group("gp1").get(value));
            }
        }
        let members = found.collect(ground.all_nodes(), "href=/gp/gp1");
        for answer in &members.answers {
            let server = answer.from.peer;
            let request = get("/.well-known/core").query("href=/gp/gp1*");
            let reliability = Reliability::Confirmable;
            let answer = found
                .stage
                .unicast(found.client, server, reliability, request);
            let links = String::from_utf8(answer.unwrap().1.payload).unwrap();
            let own = if number_of(server.ip()) == 11 {
                "dim"
            } else {
                "hue"
            };
            assert!(links.contains("</gp/gp1/on>"), "{links}");
            assert!(links.contains(&format!("</gp/gp1/{own}>")), "{links}");
        }
        let mut servers: Vec<_> = members.answers.iter().map(|a| a.from.peer).collect();
        servers.sort();
        servers.dedup();
        assert_eq!(servers.len(), 2);
    }
}

// Covers: GN-2.2.1.1-01, GN-2.2.1.1-02
#[test]
fn a_name_of_two_addresses_is_two_groups_and_two_names_of_one_address_are_one() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 98);
        let client = stage.client();
        let hosts = [91, 92].map(|n| stage.member(n));
        for (host, group) in hosts.into_iter().zip([3, 4]) {
            stage.join(host, ground.group(group, 5683));
            let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
            stage.offer(host, resource.group_policy(GroupPolicy::respond()));
        }
        stage.settle();
        let uri = "coap://both.example/r";
        let groups = resolve(ground, uri);
        assert_eq!(groups.len(), 2);
        // Either, or both in one question.
        for (group, who) in [(groups[0], 91), (groups[1], 92)] {
            let request = uri_request(Code::GET, uri, group);
            let question = stage.question(request, group);
            assert_eq!(stage.collect(client, question).who(), [who]);
        }
        let mut question = stage.question(uri_request(Code::GET, uri, groups[0]), groups[0]);
        question.targets.push(target(groups[1]));
        assert_eq!(stage.collect(client, question).who(), [91, 92]);

        let member = stage.member(93);
        let memberships = stage.server(member).memberships_mut();
        let spec = CoapGroupSpec::new(groups[0]).on(INTERFACE).unsecured();
        let created = |memberships: &mut antiphon_proto::Memberships, name: &str| {
            memberships.create_resolved(name, 5683, &names(ground)[name], &spec)
        };
        let both = created(memberships, "both.example").unwrap();
        assert_eq!(both.len(), 2);
        let one = created(memberships, "grp.example").unwrap();
        assert_eq!(created(memberships, "alias.example"), Ok(one));
        assert!(memberships.same_groups("grp.example", "alias.example:5683"));
        let literal = literal(ground.group(1, 0).ip());
        assert!(memberships.same_groups("grp.example:5683", &literal));
        assert!(!memberships.same_groups("grp.example", "grp.example:5685"));
        assert!(!memberships.same_groups("grp.example", "both.example"));
        // A name of a single host is no group.
        let refused = created(memberships, "host.example");
        assert_eq!(refused, Err(MembershipError::NotMulticast));
    }
}

// Covers: GC-2.1.1-06, GC-3.3-05, GC-2.1.1-05
#[test]
fn what_is_no_group_is_refused_and_nothing_is_sent() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 97);
        let client = stage.client();
        let member = stage.member(91);
        let literal = literal(ground.group(1, 0).ip());
        let single = self::literal(ground.address(91));
        let error = |uri: String| Uri::parse_group(&uri).unwrap_err().kind;
        assert_eq!(
            error(format!("coap://{literal}:5684/r")),
            UriErrorKind::SecurePort
        );
        assert_eq!(
            error(format!("coap://{single}/r")),
            UriErrorKind::NotMulticast
        );
        assert_eq!(
            error("coap://grp.example:5684/r".into()),
            UriErrorKind::SecurePort
        );

        let now = stage.world.now();
        let mut ask = |group| {
            let question = stage.question(get("/r"), group);
            stage.world.endpoint(client).collect(now, question)
        };
        let secure = ground.group(1, 5684);
        assert_eq!(ask(secure), Err(CollectError::SecurePort));
        let [host] = resolve(ground, "coap://host.example/r")[..] else {
            panic!("one address");
        };
        assert_eq!(ask(host), Err(CollectError::NotAGroup(host)));
        let spec = |group| CoapGroupSpec::new(group).on(INTERFACE).unsecured();
        let memberships = stage.server(member).memberships_mut();
        assert_eq!(
            memberships.create(spec(secure)),
            Err(MembershipError::SecurePort)
        );
        assert_eq!(
            memberships.create(spec(host)),
            Err(MembershipError::NotMulticast)
        );
        stage.settle();
        assert_eq!(stage.sent(client).len(), 0);
        // Without a port it is 5683.
        let uri = format!("coap://{literal}/r");
        let [group] = resolve(ground, &uri)[..] else {
            panic!("one address");
        };
        let question = stage.question(uri_request(Code::GET, &uri, group), group);
        stage.ask(client, question);
        stage.settle();
        let (_, route, _) = &stage.world.node(client).sent[0];
        assert_eq!(route.destination, ground.group(1, 5683));
    }
}

#[test]
fn requests_are_equal_however_the_group_is_written() {
    let group: SocketAddr = "[ff05::db8:8000:1]:5683".parse().unwrap();
    let request = |uri: &str| -> Request { uri_request(Code::GET, uri, group) };
    let plain = request("coap://[ff05::db8:8000:1]/light");
    assert_eq!(request("COAP://[FF05:0::db8:8000:1]:5683/light"), plain);
    assert_eq!(plain.options.len(), 1);
    let named = request("coap://grp.example:5683/light");
    assert_eq!(named, request("coap://GRP.example/light"));
    assert_eq!(named.options.len(), 2);
}
