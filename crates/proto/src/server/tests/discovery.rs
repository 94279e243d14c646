//! `/.well-known/core`: filters, hierarchy, application groups, and who is discoverable at all.

use super::*;
use crate::membership::{ApplicationGroupId, CoapGroupId};

const GRP: &str = "[ff05::db8:8000:1]:5685";
const GRP2: &str = "[ff05::db8:8000:2]:5683";
const REALM: &str = "[ff03::fd]:5683";

/// A server on a 6LoWPAN link.
fn on_6lowpan() -> Server {
    let mut server = server();
    let interface = Interface {
        sixlowpan: true,
        ..Interface::new(2)
    };
    server.memberships.set_interface(interface).unwrap();
    server
}

fn coap_group(server: &mut Server, address_text: &str, name: Option<&str>) -> CoapGroupId {
    let mut spec = CoapGroupSpec::new(address(address_text)).on(2).unsecured();
    if let Some(name) = name {
        spec = spec.name(name);
    }
    server.memberships.create(spec).unwrap()
}

fn application(
    server: &mut Server,
    name: &str,
    attributes: Attributes,
    uses: &[CoapGroupId],
) -> ApplicationGroupId {
    let memberships = server.memberships_mut();
    let id = memberships
        .create_application(name, Naming::path(), attributes)
        .unwrap();
    for group in uses {
        memberships.relate(id, *group).unwrap();
    }
    id
}

fn rt(types: &str) -> Attributes {
    Attributes::new().rt(types)
}

fn discover(query: &str) -> Ask {
    match query {
        "" => get("/.well-known/core"),
        query => get(&std::format!("/.well-known/core?{query}")),
    }
}

#[track_caller]
fn assert_links(reply: &Reply, links: &str) {
    assert_eq!(reply.code(), Code::CONTENT);
    assert_eq!(reply.text(), links);
    let format = reply.response().options.get(OptionNumber::CONTENT_FORMAT);
    assert_eq!(format, Some(&[40][..]));
}

// Covers: GN-2.2.3.2-01, GC-2.1.2-01, GN-2.2.3.2-08
#[test]
fn appendix_c1_the_application_groups_of_a_coap_group() {
    let mut s1 = server();
    let group = coap_group(&mut s1, GRP, Some("grp.example"));
    application(&mut s1, "gp1", rt("g.light"), &[group]);
    let mut s2 = server();
    let group = coap_group(&mut s2, GRP, Some("grp.example"));
    application(&mut s2, "gp1", rt("g.light"), &[group]);
    application(&mut s2, "gp2", rt("g.temp"), &[group]);
    for query in ["rt=g.*", "href=/gp/*"] {
        let request = discover(query).to(GRP);
        assert_links(&s1.ask(&request), "</gp/gp1>;rt=g.light");
        assert_links(
            &s2.ask(&request),
            "</gp/gp1>;rt=g.light,</gp/gp2>;rt=g.temp",
        );
    }
    // Application groups that do not use the group that is asked are not told.
    let other = coap_group(&mut s2, GRP2, None);
    application(&mut s2, "gp3", rt("g.lock"), &[other]);
    let reply = s2.ask(&discover("rt=g.*").to(GRP));
    assert_links(&reply, "</gp/gp1>;rt=g.light,</gp/gp2>;rt=g.temp");

    // What a group contains is asked of the server, by unicast to the address it answered from.
    for (name, group) in [("light", "gp1"), ("temp", "gp2")] {
        let resource = open(name)
            .in_group(group)
            .group_policy(GroupPolicy::respond());
        s2.add(resource).unwrap();
    }
    let mut follow_up = discover("href=/gp/gp1*");
    follow_up.to = address("[fe80::2]:5685");
    assert_links(&s2.ask(&follow_up), "</gp/gp1>;rt=g.light,</gp/gp1/light>");
    // Members of both application groups serve both.
    for path in ["/gp/gp1/light", "/gp/gp2/temp"] {
        assert_eq!(s2.ask(&get(path).to(GRP)).text(), "value");
        assert_eq!(s2.ask(&get(path)).text(), "value");
    }
}

// Covers: GN-2.2.3.2-02, GN-2.2.3.2-03
#[test]
fn appendix_c2_the_members_of_an_application_group_with_its_coap_group() {
    let mut named = on_6lowpan();
    let group = coap_group(&mut named, GRP, Some("grp.example"));
    application(&mut named, "gp1", rt("g.light"), &[group]);
    let request = discover("href=/gp/gp1").to(REALM);
    assert_links(
        &named.ask(&request),
        "<coap://grp.example:5685/gp/gp1>;rt=g.light",
    );
    // A server that has no name for the group gives its address.
    let mut literal = on_6lowpan();
    let group = coap_group(&mut literal, GRP, None);
    application(&mut literal, "gp1", rt("g.light"), &[group]);
    let links = "<coap://[ff05::db8:8000:1]:5685/gp/gp1>;rt=g.light";
    assert_links(&literal.ask(&request), links);
    // By unicast, too: on another port than the group's it is another endpoint.
    assert_links(&literal.ask(&discover("href=/gp/gp1")), links);
    let mut same_port = discover("href=/gp/gp1");
    same_port.to = address("[fe80::2]:5685");
    assert_links(&literal.ask(&same_port), "</gp/gp1>;rt=g.light");
}

// Covers: GN-2.2.3.2-04
#[test]
fn appendix_c3_the_application_groups_of_a_type() {
    let mut s1 = on_6lowpan();
    let group = coap_group(&mut s1, GRP, Some("grp.example"));
    application(&mut s1, "gp1", rt("g.temp"), &[group]);
    application(&mut s1, "gp9", rt("g.light"), &[group]);
    let mut s2 = on_6lowpan();
    let group = coap_group(&mut s2, GRP, Some("grp.example"));
    application(&mut s2, "gp1", rt("g.temp"), &[group]);
    application(&mut s2, "gp2", rt("g.temp"), &[group]);
    let request = discover("rt=g.temp").to(REALM);
    assert_links(
        &s1.ask(&request),
        "<coap://grp.example:5685/gp/gp1>;rt=g.temp",
    );
    assert_links(
        &s2.ask(&request),
        "<coap://grp.example:5685/gp/gp1>;rt=g.temp,<coap://grp.example:5685/gp/gp2>;rt=g.temp",
    );
}

// Covers: GN-2.2.3.2-05, GN-2.2.3.2-06
#[test]
fn appendix_c4_every_application_group_in_the_network() {
    let with = |light: fn() -> Attributes, lock: fn() -> Attributes| {
        let mut s1 = on_6lowpan();
        let grp = coap_group(&mut s1, GRP, Some("grp.example"));
        let grp2 = coap_group(&mut s1, GRP2, Some("grp2.example"));
        application(&mut s1, "gp1", light(), &[grp]);
        application(&mut s1, "gp5", lock(), &[grp2]);
        let mut s2 = on_6lowpan();
        let grp = coap_group(&mut s2, GRP, Some("grp.example"));
        application(&mut s2, "gp1", light(), &[grp]);
        application(&mut s2, "gp2", light(), &[grp]);
        let mut s3 = on_6lowpan();
        let grp2 = coap_group(&mut s3, GRP2, Some("grp2.example"));
        application(&mut s3, "gp5", lock(), &[grp2]);
        [s1, s2, s3]
    };
    let mut servers = with(|| rt("g.light"), || rt("g.lock"));
    let request = discover("rt=g.*").to(REALM);
    for (server, links) in servers.iter_mut().zip([
        "<coap://grp.example:5685/gp/gp1>;rt=g.light,<coap://grp2.example/gp/gp5>;rt=g.lock",
        "<coap://grp.example:5685/gp/gp1>;rt=g.light,<coap://grp.example:5685/gp/gp2>;rt=g.light",
        "<coap://grp2.example/gp/gp5>;rt=g.lock",
    ]) {
        assert_links(&server.ask(&request), links);
    }
    let mut servers = with(
        || rt("oic.d.light").with("gpt", "light"),
        || rt("oic.d.smartlock").with("gpt", "lock"),
    );
    let request = discover("gpt=*").to(REALM);
    for (server, links) in servers.iter_mut().zip([
        "<coap://grp.example:5685/gp/gp1>;rt=oic.d.light;gpt=light,<coap://grp2.example/gp/gp5>;rt=oic.d.smartlock;gpt=lock",
        "<coap://grp.example:5685/gp/gp1>;rt=oic.d.light;gpt=light,<coap://grp.example:5685/gp/gp2>;rt=oic.d.light;gpt=light",
        "<coap://grp2.example/gp/gp5>;rt=oic.d.smartlock;gpt=lock",
    ]) {
        assert_links(&server.ask(&request), links);
    }
}

#[test]
fn an_application_group_with_several_coap_groups_has_a_link_for_each() {
    let mut server = server();
    let v4 = coap_group(&mut server, "239.1.2.3:5683", None);
    let v6 = coap_group(&mut server, GRP, None);
    application(&mut server, "gp1", rt("g.x"), &[v4, v6]);
    let request = discover("rt=g.x").to(ALL_NODES);
    assert_links(
        &server.ask(&request),
        "<coap://239.1.2.3/gp/gp1>;rt=g.x,<coap://[ff05::db8:8000:1]:5685/gp/gp1>;rt=g.x",
    );
    // Through one of its groups: that one, once, and relative.
    assert_links(&server.ask(&discover("rt=g.x").to(GRP)), "</gp/gp1>;rt=g.x");
    // By unicast on the port of one of them.
    assert_links(
        &server.ask(&discover("rt=g.x")),
        "</gp/gp1>;rt=g.x,<coap://[ff05::db8:8000:1]:5685/gp/gp1>;rt=g.x",
    );
    let another = coap_group(&mut server, "239.1.2.4:5683", None);
    let id = server.memberships.application_named("gp1").unwrap().id();
    server.memberships.relate(id, another).unwrap();
    assert_links(
        &server.ask(&discover("rt=g.x")),
        "</gp/gp1>;rt=g.x,<coap://[ff05::db8:8000:1]:5685/gp/gp1>;rt=g.x",
    );
}

#[test]
fn application_groups_named_elsewhere_have_links_too() {
    let mut server = server();
    let group = coap_group(&mut server, GRP, Some("grp.example"));
    for (name, naming) in [
        ("a", Naming::query()),
        ("b c", Naming::QueryName),
        ("grp.example:5685", Naming::Authority),
    ] {
        let memberships = server.memberships_mut();
        let id = memberships
            .create_application(name, naming, rt("g.x"))
            .unwrap();
        memberships.relate(id, group).unwrap();
    }
    // One that says nothing about itself, and whose name is in no path, has nothing to be listed.
    let memberships = server.memberships_mut();
    let id = memberships
        .create_application("quiet", Naming::query(), Attributes::new())
        .unwrap();
    memberships.relate(id, group).unwrap();
    assert_links(
        &server.ask(&discover("").to(GRP)),
        "</?gp=a>;rt=g.x,</?b%20c>;rt=g.x,</>;rt=g.x",
    );
    // Resources of such groups have one link, whatever the number of groups.
    server
        .add(open("light").in_group("a").in_group("b c"))
        .unwrap();
    assert_links(&server.ask(&discover("href=/light")), "</light>");
}

fn sensors() -> Server {
    let mut server = server();
    let list = [
        ("/s/1", "temp", "sensor", ContentFormat::CBOR),
        ("/s/2", "temp hum", "sensor core.s", ContentFormat::JSON),
        ("/light", "light", "actuator", ContentFormat::TEXT),
    ];
    for (path, types, interface, format) in list {
        let attributes = Attributes::new().rt(types).interface(interface);
        server
            .add(open(path).attributes(attributes).produces(format))
            .unwrap();
    }
    server
}

// Covers: GN-2.2.3.2-07, GC-3.5-02
#[test]
fn filters_match_as_rfc_6690_says() {
    let mut server = sensors();
    let one = "</s/1>;rt=temp;if=sensor;ct=60";
    let two = "</s/2>;rt=\"temp hum\";if=\"sensor core.s\";ct=50";
    let light = "</light>;rt=light;if=actuator;ct=0";
    let both = std::format!("{one},{two}");
    for (query, links) in [
        ("rt=temp", both.as_str()),
        ("rt=hum", two),
        ("rt=temp%20hum", ""),
        ("rt=te*", &both),
        ("rt=*", &std::format!("{both},{light}")),
        ("if=core.s", two),
        ("if=sensor", &both),
        ("href=/s/*", &both),
        ("href=/light", light),
        ("href=/ligh", ""),
        ("ct=60", one),
        ("ct=6", ""),
        ("rt=temp&if=core.s", two),
        ("rt=temp&if=actuator", ""),
        ("unknown=1", ""),
    ] {
        let unicast = server.ask(&discover(query));
        assert_links(&unicast, links);
        let group = server.ask(&discover(query).to(ALL_NODES));
        match links {
            // Nothing matches: no datagram by multicast.
            "" => assert_eq!(group.silence(), SilenceReason::Empty, "{query}"),
            links => assert_links(&group, links),
        }
    }
}

// Covers: GC-3.5-07
#[test]
fn an_unfiltered_group_request_lists_top_level_links_only() {
    let mut server = server();
    server
        .add(
            Resource::links("/sensors")
                .attributes(rt("sensors"))
                .access(Access::Public),
        )
        .unwrap();
    let mut all = std::string::String::from("</sensors>;rt=sensors;ct=40");
    let mut below = std::string::String::new();
    for number in 1..=5 {
        let path = std::format!("/sensors/{number}");
        server
            .add(open(&path).attributes(rt(&std::format!("t{number}"))))
            .unwrap();
        let comma = if number == 1 { "" } else { "," };
        below += &std::format!("{comma}</sensors/{number}>;rt=t{number}");
    }
    all += &std::format!(",{below}");
    // Neither hidden resources nor resources whose path only looks alike are above others.
    server.add(open("/a").hidden()).unwrap();
    server.add(open("/a/b")).unwrap();
    server.add(open("/sensorsx")).unwrap();
    let rest = "</a/b>,</sensorsx>";
    let group = server.ask(&discover("").to(ALL_NODES));
    assert_links(&group, &std::format!("</sensors>;rt=sensors;ct=40,{rest}"));
    assert_links(
        &server.ask(&discover("rt=t3").to(ALL_NODES)),
        "</sensors/3>;rt=t3",
    );
    assert_links(&server.ask(&discover("")), &std::format!("{all},{rest}"));
    assert_links(&server.ask(&get("/sensors")), &below);
    assert_links(&server.ask(&get("/sensors?rt=t2")), "</sensors/2>;rt=t2");
    // A query that is no filter changes nothing.
    let no_filter = server.ask(&discover("verbose").to(ALL_NODES));
    assert_links(
        &no_filter,
        &std::format!("</sensors>;rt=sensors;ct=40,{rest}"),
    );
}

#[test]
fn what_lies_in_an_application_group_is_below_its_link() {
    let mut server = server();
    let group = coap_group(&mut server, GRP, None);
    application(&mut server, "gp1", rt("g.light"), &[group]);
    server.add(open("light").in_group("gp1")).unwrap();
    server.add(open("/gp/gp1/fixed")).unwrap();
    server.add(open("/gp/gp10")).unwrap();
    assert_links(
        &server.ask(&discover("").to(GRP)),
        "</gp/gp1>;rt=g.light,</gp/gp10>",
    );
    assert_links(
        &server.ask(&discover("href=/gp/*").to(GRP)),
        "</gp/gp1>;rt=g.light,</gp/gp1/light>,</gp/gp1/fixed>,</gp/gp10>",
    );
}

#[test]
fn links_say_what_a_resource_is() {
    let mut server = server();
    let attributes = Attributes::new()
        .title("A \"b\"")
        .sz(70_000)
        .flag("obs")
        .with("x-y", "1 2");
    let resource = open("/a b/ü,;<>\"?#%")
        .attributes(attributes)
        .produces(ContentFormat::TEXT)
        .produces(ContentFormat::CBOR);
    server.add(resource).unwrap();
    server
        .add(
            open("/own")
                .attributes(Attributes::new().with("ct", "7"))
                .produces(ContentFormat::CBOR),
        )
        .unwrap();
    server.add(open("/").hidden()).unwrap();
    assert_links(
        &server.ask(&discover("")),
        "</a%20b/%C3%BC,;%3C%3E%22%3F%23%25>;title=\"A \\\"b\\\"\";sz=70000;obs;x-y=\"1 2\";ct=\"0 60\",</own>;ct=7",
    );
}

// Covers: GC-A.1.1-03, GC-3.3-06, GC-3.8.2-02
#[test]
fn only_a_discoverable_server_answers_discovery() {
    let mut server = sensors();
    coap_group(&mut server, GRP, None);
    let v4 = "224.0.1.187:5683";
    // Whatever port the server's other groups use, it answers on 5683.
    for group in [ALL_NODES, "[ff04::fd]:5683", "[ff05::fd]:5683", v4, GRP] {
        assert_eq!(
            server.ask(&discover("").to(group)).code(),
            Code::CONTENT,
            "{group}"
        );
    }
    let elsewhere = discover("").to("[ff02::fd]:5685");
    assert_eq!(server.ask(&elsewhere).silence(), SilenceReason::NotAMember);
    // Only through its groups.
    server.set_discoverable(Discoverable::Groups);
    for group in [ALL_NODES, v4] {
        assert_eq!(
            server.ask(&discover("").to(group)).silence(),
            SilenceReason::NotAMember
        );
    }
    assert_eq!(server.ask(&discover("").to(GRP)).code(), Code::CONTENT);
    assert_eq!(server.ask(&discover("")).code(), Code::CONTENT);
    // Also if All CoAP Nodes is joined for other resources.
    coap_group(&mut server, ALL_NODES, None);
    assert_eq!(
        server.ask(&discover("").to(ALL_NODES)).silence(),
        SilenceReason::NotDiscoverable
    );
    // On another port that address is a group like any other.
    for elsewhere in ["224.0.1.187:5690", "[ff02::fd]:5690"] {
        coap_group(&mut server, elsewhere, None);
        let asked = server.ask(&discover("").to(elsewhere));
        assert_eq!(asked.code(), Code::CONTENT, "{elsewhere}");
    }
    // Not at all.
    server.set_discoverable(Discoverable::Off);
    for group in [ALL_NODES, GRP] {
        assert_eq!(
            server.ask(&discover("").to(group)).silence(),
            SilenceReason::NotDiscoverable
        );
    }
    assert_eq!(server.ask(&discover("")).code(), Code::NOT_FOUND);
    server.set_discoverable(Discoverable::All);
    assert_eq!(server.ask(&discover("").to(v4)).code(), Code::CONTENT);
    // The resource for discovery is not removed like another.
    let id = server.discovery.unwrap();
    assert!(!server.remove(id));
}

// Covers: GN-6.1-02
#[test]
fn onboarding_limits_discovery_to_responders_a_time_window_and_the_link() {
    let mut server = sensors();
    let site = discover("").to("[ff05::fd]:5683");
    let link = discover("").to(ALL_NODES);
    assert_eq!(server.ask(&site).code(), Code::CONTENT);
    let window = Duration::from_secs(60);
    server.set_onboarding(Some(Onboarding::open(NOW, window)));
    assert_eq!(server.ask_at(NOW, &link).code(), Code::CONTENT);
    assert_eq!(server.ask_at(NOW + window, &link).code(), Code::CONTENT);
    let just_after = NOW + window + Duration::from_micros(1);
    assert_eq!(
        server.ask_at(just_after, &link).silence(),
        SilenceReason::Onboarding
    );
    let just_before = NOW - Duration::from_micros(1);
    assert_eq!(
        server.ask_at(just_before, &link).silence(),
        SilenceReason::Onboarding
    );
    assert_eq!(server.ask(&site).silence(), SilenceReason::Onboarding);
    let v4 = discover("").to("224.0.1.187:5683");
    assert_eq!(server.ask(&v4).silence(), SilenceReason::Onboarding);
    // The limit is for requests without security, and for groups.
    assert_eq!(server.ask(&site.clone().proven()).code(), Code::CONTENT);
    assert_eq!(server.ask(&discover("")).code(), Code::CONTENT);
    let other = Onboarding {
        responder: false,
        ..Onboarding::open(NOW, window)
    };
    server.set_onboarding(Some(other));
    assert_eq!(server.ask(&link).silence(), SilenceReason::Onboarding);
    server.set_onboarding(None);
    assert_eq!(server.ask(&site).code(), Code::CONTENT);
}

#[test]
fn link_local_groups_are_told_by_their_address() {
    for (text, expected) in [
        ("ff01::1", true),
        ("ff02::fd", true),
        ("ff32::1", true),
        ("ff03::fd", false),
        ("ff05::fd", false),
        ("224.0.0.251", true),
        ("224.0.1.187", false),
        ("224.1.0.0", false),
    ] {
        assert_eq!(is_link_local(text.parse().unwrap()), expected, "{text}");
    }
}

#[test]
fn discovery_takes_fetch_without_a_filter_document_and_no_other_method() {
    let mut server = sensors();
    let links = server.ask(&discover("rt=light")).text().to_owned();
    let fetch = ask(Code::FETCH, "/.well-known/core?rt=light");
    assert_links(&server.ask(&fetch), &links);
    let with_body = fetch.payload(b"x");
    assert_eq!(
        server.ask(&with_body).code(),
        Code::UNSUPPORTED_CONTENT_FORMAT
    );
    let put = ask(Code::PUT, "/.well-known/core");
    assert_eq!(server.ask(&put).code(), Code::METHOD_NOT_ALLOWED);
    let accept =
        |format: ContentFormat| discover("").uint(OptionNumber::ACCEPT, u32::from(format.0));
    assert_eq!(
        server.ask(&accept(ContentFormat::LINK_FORMAT)).code(),
        Code::CONTENT
    );
    assert_eq!(
        server.ask(&accept(ContentFormat::JSON)).code(),
        Code::NOT_ACCEPTABLE
    );
}

#[test]
fn a_group_answer_to_discovery_may_have_a_kibibyte() {
    let mut server = server();
    // Each link takes 7 bytes, and a comma stands before each but the first.
    for number in 0..120 {
        server.add(open(&std::format!("/x{number:02x}y"))).unwrap();
    }
    let all = server.ask(&discover("").to(ALL_NODES));
    assert_eq!(all.text().len(), 120 * 8 - 1);
    server.add(open(&"z".repeat(1_024 - 120 * 8 - 3))).unwrap();
    assert_eq!(server.ask(&discover("").to(ALL_NODES)).text().len(), 1_024);
    assert_eq!(
        server
            .ask(&discover("").to(ALL_NODES))
            .response()
            .options
            .get(OptionNumber::BLOCK2),
        None
    );
    // What is larger begins with a block of that size.
    server.add(open("/")).unwrap();
    let first = server.ask(&discover("").to(ALL_NODES));
    assert_eq!(first.text().len(), 1_024);
    assert_eq!(
        first.response().options.get(OptionNumber::BLOCK2),
        Some(&[0x0e][..])
    );
    let behind = discover("").option(OptionNumber::BLOCK2, &[0x16]);
    assert_eq!(server.ask(&behind).text(), ",</>");
}

#[test]
fn a_virtual_server_has_links_of_its_own() {
    let mut server = server();
    let group = coap_group(&mut server, GRP, None);
    application(&mut server, "gp1", rt("g.light"), &[group]);
    server.add(open("/main")).unwrap();
    server.add(open("/a").host("Virtual.example")).unwrap();
    server.add(open("/a/b").host("virtual.example")).unwrap();
    server
        .add(
            Resource::links("/a")
                .host("other.example")
                .access(Access::Public),
        )
        .unwrap();
    server.add(open("/a/c").host("other.example")).unwrap();
    let on = |request: Ask, host: &[u8]| request.option(OptionNumber::URI_HOST, host);
    assert_links(
        &server.ask(&on(discover(""), b"virtual.EXAMPLE")),
        "</a>,</a/b>",
    );
    let group = server.ask(&on(discover("").to(ALL_NODES), b"virtual.example"));
    assert_links(&group, "</a>");
    assert_links(&server.ask(&on(get("/a"), b"other.example")), "</a/c>");
    assert_links(
        &server.ask(&discover("")),
        "<coap://[ff05::db8:8000:1]:5685/gp/gp1>;rt=g.light,</main>",
    );
}

/// A server that marks what it protects.
fn marking(config: ServerConfig) -> Server {
    let mut server = Server::with(ServerConfig {
        mark_protected: true,
        ..config
    });
    server.add(Resource::at("/lock").get(says("shut"))).unwrap();
    server
}

/// A link as another implementation reads it: target, names, values.
type Foreign<'a> = (&'a str, Vec<(&'a str, std::string::String)>);

fn read_by_others(links: &str) -> Vec<Foreign<'_>> {
    let links = coap_lite::link_format::LinkFormatParser::new(links);
    links
        .map(|link| {
            let (target, attributes) = link.unwrap();
            let attributes = attributes.map(|(name, value)| (name, value.to_cow().into_owned()));
            (target, attributes.collect())
        })
        .collect()
}

// Covers: GO-15.2-01, GO-11-01, GO-11-06
#[test]
fn what_is_reached_under_protection_alone_is_marked() {
    let mut server = marking(unsecured());
    server.add(open("/open")).unwrap();
    let read = Resource::at("/half").get(says("r")).put(says("w"));
    server.add(read.access(Access::Public)).unwrap();
    let write = Resource::at("/write").put(says("w")).attributes(rt("w"));
    server.add(write.access(Access::Public)).unwrap();
    let reply = server.ask(&discover(""));
    let links = "</lock>;gosc;osc,</open>,</half>,</write>;rt=w;gosc;osc";
    assert_links(&reply, links);
    let flags = |name: &'static str| (name, std::string::String::new());
    let marked = vec![flags("gosc"), flags("osc")];
    let read = read_by_others(reply.text());
    assert_eq!(
        read[0],
        ("/lock", marked.clone()),
        "in lower case, without value"
    );
    assert_eq!(read[1], ("/open", vec![]));
    assert_eq!(read[3].1[1..], marked);
    // It can be asked for, as every attribute without a value.
    let reply = server.ask(&discover("gosc="));
    assert_links(&reply, "</lock>;gosc;osc,</write>;rt=w;gosc;osc");

    // A server that serves nobody without proof marks all of it, whatever the resource would allow.
    let mut strict = marking(ServerConfig::default());
    assert_links(&strict.ask(&discover("")), "</lock>;gosc;osc");
    // It is said only where that is wanted.
    let mut silent = Server::with(unsecured());
    silent.add(Resource::at("/lock").get(says("shut"))).unwrap();
    assert_links(&silent.ask(&discover("")), "</lock>");
}

// Covers: GO-11-02, GO-11-04
#[test]
fn the_mark_stands_once_and_has_no_value_however_it_was_set() {
    let a = Attributes::new;
    for (attributes, links) in [
        (a().flag("gosc"), "</a>;gosc;osc"),
        (a().flag("gosc").flag("gosc"), "</a>;gosc;osc"),
        (a().with("gosc", "1").rt("x"), "</a>;rt=x;gosc;osc"),
        (
            a().with("gosc", "x").flag("osc").flag("gosc"),
            "</a>;gosc;osc",
        ),
        (
            a().flag("osc").flag("gosc").with("osc", "1"),
            "</a>;gosc;osc",
        ),
        // Plain OSCORE alone is somebody else's word.
        (a().flag("osc"), "</a>;osc"),
    ] {
        for mark_protected in [false, true] {
            let mut server = Server::with(ServerConfig {
                mark_protected,
                ..unsecured()
            });
            let resource = open("/a").attributes(attributes.clone());
            server.add(resource).unwrap();
            assert_links(&server.ask(&discover("")), links);
        }
        let mut server = Server::with(ServerConfig {
            mark_protected: true,
            ..unsecured()
        });
        let resource = Resource::at("/a").get(says("a"));
        server.add(resource.attributes(attributes)).unwrap();
        let reply = server.ask(&discover(""));
        assert_eq!(reply.text().matches("gosc").count(), 1);
        assert!(!reply.text().contains("gosc="));
        assert!(reply.text().ends_with(";gosc;osc"), "{}", reply.text());
    }
}
