//! CoAP groups and application groups as requests meet them.

use super::*;
use crate::membership::{ApplicationGroupId, CoapGroupId};
use crate::work::{Task, WorkFailure};

const A: &str = "[ff05::a]:5683";
const B: &str = "[ff05::b]:5683";

/// A server with the CoAP groups A (named a.example) and B, and no discovery.
fn with_groups() -> (Server, CoapGroupId, CoapGroupId) {
    let mut server = Server::with(ServerConfig {
        discoverable: Discoverable::Groups,
        ..unsecured()
    });
    let a = CoapGroupSpec::new(address(A))
        .name("a.example")
        .on(2)
        .unsecured();
    let b = CoapGroupSpec::new(address(B)).on(2).unsecured();
    let a = server.memberships.create(a).unwrap();
    let b = server.memberships.create(b).unwrap();
    (server, a, b)
}

fn application(
    server: &mut Server,
    name: &str,
    naming: Naming,
    uses: &[CoapGroupId],
) -> ApplicationGroupId {
    let memberships = server.memberships_mut();
    let id = memberships
        .create_application(name, naming, Attributes::new())
        .unwrap();
    for group in uses {
        memberships.relate(id, *group).unwrap();
    }
    id
}

/// A resource that says which application group its requests are for.
fn named(path: &str) -> Resource {
    let handler = |request: &Incoming<'_>, response: &mut Response| {
        let name = request.application_group().unwrap_or("-");
        response.payload.extend_from_slice(name.as_bytes());
    };
    Resource::at(path)
        .get(handler)
        .access(Access::Public)
        .group_policy(GroupPolicy::respond().amplification(Amplification::Unlimited))
}

impl Server {
    /// What the resource says, or why there is no answer.
    fn hears(&mut self, request: &Ask) -> Result<std::string::String, SilenceReason> {
        let reply = self.ask(request);
        match reply.disposition {
            Disposition::Silence(reason) => Err(reason),
            _ => Ok(reply.text().to_owned()),
        }
    }
}

fn heard(name: &str) -> Result<std::string::String, SilenceReason> {
    Ok(name.to_owned())
}

const UNKNOWN: Result<std::string::String, SilenceReason> =
    Err(SilenceReason::UnknownApplicationGroup);

// Covers: GC-2.1.2-03
#[test]
fn an_explicit_name_selects_its_group_and_no_name_the_implied_one() {
    let (mut one, a, b) = with_groups();
    application(&mut one, "gp1", Naming::query(), &[a]);
    application(&mut one, "lights", Naming::Implied, &[b]);
    one.add(named("/r")).unwrap();
    let (mut two, a, _) = with_groups();
    application(&mut two, "gp2", Naming::query(), &[a]);
    two.add(named("/r")).unwrap();

    assert_eq!(one.hears(&get("/r?gp=gp1").to(A)), heard("gp1"));
    assert_eq!(two.hears(&get("/r?gp=gp1").to(A)), UNKNOWN);
    assert_eq!(two.hears(&get("/r?foo=bar&gp=gp2").to(A)), heard("gp2"));
    assert_eq!(one.hears(&get("/r").to(B)), heard("lights"));
    // Where the CoAP group implies none, a request without a name is for nobody.
    assert_eq!(
        one.hears(&get("/r").to(A)),
        Err(SilenceReason::UnrelatedResource)
    );
    // By unicast no group is meant.
    assert_eq!(one.hears(&get("/r")), heard("-"));
}

// Covers: GC-2.1.2-04, GN-2.2.2-01
#[test]
fn application_groups_and_coap_groups_are_many_to_many() {
    let (mut server, a, b) = with_groups();
    let v4 = CoapGroupSpec::new(address("239.0.0.7:5683"))
        .on(2)
        .unsecured();
    let v4 = server.memberships.create(v4).unwrap();
    application(&mut server, "gp1", Naming::path(), &[a, b, v4]);
    application(&mut server, "gp2", Naming::path(), &[a]);
    server
        .add(named("r").in_group("gp1").in_group("gp2"))
        .unwrap();
    for (path, group, expected) in [
        ("/gp/gp1/r", A, heard("gp1")),
        ("/gp/gp1/r", B, heard("gp1")),
        // One group of lights, reached by either family with the same result.
        ("/gp/gp1/r", "239.0.0.7:5683", heard("gp1")),
        ("/gp/gp2/r", A, heard("gp2")),
        ("/gp/gp2/r", B, UNKNOWN),
    ] {
        assert_eq!(
            server.hears(&get(path).to(group)),
            expected,
            "{path} {group}"
        );
    }
}

#[test]
fn each_form_of_naming_finds_its_group_and_ignores_unknown_names() {
    let label = Naming::HostLabel {
        domain: "example".into(),
    };
    let base = Naming::Path {
        base: vec!["base".into()],
        delimiter: Some("g".into()),
    };
    let plain = Naming::Path {
        base: Vec::new(),
        delimiter: None,
    };
    let host = |request: Ask, host: &str| request.option(OptionNumber::URI_HOST, host.as_bytes());
    let r = || get("/r");
    for (name, naming, request, stranger) in [
        ("gp1", Naming::path(), get("/gp/gp1/r"), get("/gp/gp2/r")),
        ("gp1", base, get("/base/g/gp1/r"), get("/base/g/gp2/r")),
        ("gp1", Naming::QueryName, get("/r?gp1"), get("/r?gp2")),
        ("gp1", Naming::query(), get("/r?gp=gp1"), get("/r?gp=gp2")),
        (
            "b.example",
            Naming::Authority,
            host(r(), "B.example"),
            host(r(), "c.example"),
        ),
        (
            "grp42",
            label,
            host(r(), "GRP42.example"),
            host(r(), "grp43.example"),
        ),
    ] {
        let (mut server, a, _) = with_groups();
        application(&mut server, name, naming.clone(), &[a]);
        server.add(named("r").in_group(name)).unwrap();
        assert_eq!(server.hears(&request.to(A)), heard(name), "{naming:?}");
        assert_eq!(server.hears(&stranger.to(A)), UNKNOWN, "{naming:?}");
    }
    // Without a delimiter nothing tells an unknown group from an unknown path.
    let (mut server, a, _) = with_groups();
    application(&mut server, "gp1", plain, &[a]);
    server.add(named("r").in_group("gp1")).unwrap();
    assert_eq!(server.hears(&get("/gp1/r").to(A)), heard("gp1"));
    assert_eq!(
        server.hears(&get("/gp2/r").to(A)),
        Err(SilenceReason::Policy)
    );
    // The port of the destination.
    let (mut server, _, _) = with_groups();
    let spec = CoapGroupSpec::new(address("[ff05::a]:55685"))
        .on(2)
        .unsecured();
    let group = server.memberships.create(spec).unwrap();
    application(&mut server, "55685", Naming::Port, &[group]);
    server.add(named("r").in_group("55685")).unwrap();
    assert_eq!(
        server.hears(&get("/r").to("[ff05::a]:55685")),
        heard("55685")
    );
    let other_port = get("/r")
        .uint(OptionNumber::URI_PORT, 5683)
        .to("[ff05::a]:55685");
    assert_eq!(server.hears(&other_port), Err(SilenceReason::Policy));
}

#[test]
fn the_coap_groups_own_names_do_not_name_an_application_group() {
    let (mut server, a, _) = with_groups();
    application(&mut server, "b.example", Naming::Authority, &[a]);
    application(&mut server, "lights", Naming::Implied, &[a]);
    server.add(named("/r")).unwrap();
    let host = |host: &[u8]| get("/r").option(OptionNumber::URI_HOST, host).to(A);
    assert_eq!(server.hears(&host(b"A.EXAMPLE")), heard("lights"));
    assert_eq!(server.hears(&host(b"[ff05::a]")), heard("lights"));
    assert_eq!(server.hears(&host(b"b.example")), heard("b.example"));
    assert_eq!(server.hears(&host(b"x.example")), UNKNOWN);
}

// Covers: GN-6.3-01, GC-2.2.1-09, GC-2.2.2-05
#[test]
fn through_a_group_only_the_resources_of_its_application_groups_are_reached() {
    let (mut server, a, b) = with_groups();
    application(&mut server, "lights", Naming::Implied, &[a]);
    application(&mut server, "gp1", Naming::query(), &[b]);
    application(&mut server, "other", Naming::query(), &[]);
    // The name stands neither in the request nor in the path: the CoAP group implies it.
    let light = server.add(named("light").in_group("lights")).unwrap();
    server.add(named("alarm").in_group("other")).unwrap();
    server.add(named("/any")).unwrap();
    assert_eq!(server.hears(&get("/light").to(A)), heard("lights"));
    assert_eq!(server.hears(&get("/any").to(A)), heard("lights"));
    // Resources of groups that do not use this CoAP group are not there for it.
    assert_eq!(
        server.hears(&get("/alarm").to(A)),
        Err(SilenceReason::Policy)
    );
    assert_eq!(
        server.hears(&get("/light?gp=gp1").to(B)),
        Err(SilenceReason::Policy)
    );
    assert_eq!(server.hears(&get("/any?gp=gp1").to(B)), heard("gp1"));
    assert_eq!(
        server.hears(&get("/any").to(B)),
        Err(SilenceReason::UnrelatedResource)
    );
    // By unicast every resource is there.
    for path in ["/light", "/alarm", "/any"] {
        assert_eq!(server.hears(&get(path)), heard("-"));
    }
    // Taking the path away ends the answers without leaving the CoAP group; adding it begins them again.
    assert!(server.remove(light));
    assert_eq!(
        server.hears(&get("/light").to(A)),
        Err(SilenceReason::Policy)
    );
    assert!(server.memberships.membership(address(A), 2).is_some());
    server.add(named("light").in_group("lights")).unwrap();
    assert_eq!(server.hears(&get("/light").to(A)), heard("lights"));
}

#[test]
fn the_same_path_may_be_different_resources_of_different_groups() {
    let (mut server, a, _) = with_groups();
    application(&mut server, "gp1", Naming::path(), &[a]);
    application(&mut server, "gp2", Naming::query(), &[a]);
    let text = |text| {
        Resource::at("r")
            .get(says(text))
            .access(Access::Public)
            .group_policy(GroupPolicy::respond())
    };
    server.add(text("one").in_group("gp1")).unwrap();
    server.add(text("two").in_group("gp2")).unwrap();
    server.add(text("plain")).unwrap();
    let again = text("").in_group("gp2").in_group("gp1");
    assert_eq!(server.add(again), Err(ResourceError::PathTaken));
    assert_eq!(server.hears(&get("/gp/gp1/r").to(A)), heard("one"));
    assert_eq!(server.hears(&get("/r?gp=gp2").to(A)), heard("two"));
    assert_eq!(server.hears(&get("/gp/gp1/r")), heard("one"));
    assert_eq!(server.hears(&get("/r")), heard("plain"));
    let plain = server
        .resources
        .find(None, [&b"r"[..]].into_iter(), |entry| {
            entry.groups.is_empty()
        });
    assert!(server.remove(plain.unwrap()));
    // With no resource of its own, the path means the one of the group that the request names.
    assert_eq!(server.hears(&get("/r?gp=gp2")), heard("two"));
    assert_eq!(server.hears(&get("/r")), heard("two"));
}

// Covers: GC-2.2.1-07, GC-2.2.1-08
#[test]
fn uri_host_selects_one_virtual_server() {
    let (mut server, a, _) = with_groups();
    application(&mut server, "gp1", Naming::Authority, &[a]);
    application(&mut server, "gp2", Naming::Authority, &[a]);
    for host in ["gp1", "gp2"] {
        let handler = move |request: &Incoming<'_>, response: &mut Response| {
            let name = request.application_group().unwrap_or(host);
            response.payload.extend_from_slice(name.as_bytes());
        };
        let policy = GroupPolicy::respond().amplification(Amplification::Unlimited);
        let resource = Resource::at("/r")
            .get(handler)
            .access(Access::Public)
            .host(host)
            .group_policy(policy);
        server.add(resource).unwrap();
    }
    server.add(named("/main")).unwrap();
    let on = |request: Ask, host: &str| request.option(OptionNumber::URI_HOST, host.as_bytes());
    // Each virtual server serves one application group, and no other.
    assert_eq!(server.hears(&on(get("/r"), "gp1").to(A)), heard("gp1"));
    assert_eq!(server.hears(&on(get("/r"), "GP2").to(A)), heard("gp2"));
    assert_eq!(
        server.hears(&on(get("/main"), "gp1").to(A)),
        Err(SilenceReason::Policy)
    );
    assert_eq!(server.hears(&on(get("/r"), "gp1")), heard("gp1"));
    // An unknown one: silence by multicast, 4.04 by unicast.
    assert_eq!(
        server.hears(&on(get("/r"), "gp3").to(A)),
        Err(SilenceReason::Policy)
    );
    assert_eq!(server.ask(&on(get("/r"), "gp3")).code(), Code::NOT_FOUND);
    assert_eq!(server.ask(&on(get("/main"), "gp3")).code(), Code::NOT_FOUND);
    // The server itself, by its address or a name of its own.
    assert_eq!(server.ask(&get("/r")).code(), Code::NOT_FOUND);
    assert_eq!(server.hears(&on(get("/main"), "[fe80::1]")), heard("-"));
    server.config.names.push("Me.example".into());
    assert_eq!(server.hears(&on(get("/main"), "me.example")), heard("-"));
}

#[test]
fn without_virtual_servers_uri_host_does_not_matter() {
    let mut server = server();
    let id = server.add(open("/r").host("gp1")).unwrap();
    server.add(open("/main")).unwrap();
    let main = get("/main").option(OptionNumber::URI_HOST, b"any.example");
    assert_eq!(server.ask(&main).code(), Code::NOT_FOUND);
    assert!(server.remove(id));
    assert_eq!(server.ask(&main).code(), Code::CONTENT);
}

// Covers: GC-2.1.4-01, GC-4-02, GN-2.1.3-02, GC-2.1.3-03
#[test]
fn each_group_request_is_attributed_to_its_tuple() {
    let seen = Arc::new(std::sync::Mutex::new(None));
    let (mut server, a, b) = with_groups();
    application(&mut server, "gp1", Naming::path(), &[a]);
    let name = |name| SecurityGroupName::new(name).unwrap();
    let one = GroupSecurity::Groups(vec![name("lights")]);
    let two = GroupSecurity::Groups(vec![name("lights"), name("blinds")]);
    let into = Arc::clone(&seen);
    let handler = move |request: &Incoming<'_>, _: &mut Response| {
        *into.lock().unwrap() = request.arrival.group.clone();
    };
    let policy = GroupPolicy::silent();
    server
        .add(
            Resource::at("/gp/gp1/r")
                .get(handler.clone())
                .access(Access::Public)
                .group_policy(policy.clone()),
        )
        .unwrap();
    server
        .add(
            Resource::at("/r")
                .get(handler)
                .access(Access::Public)
                .group_policy(policy),
        )
        .unwrap();
    let ask = |server: &mut Server, request: Ask| {
        assert_eq!(server.ask(&request).silence(), SilenceReason::Policy);
        let tuple: GroupTuple = seen.lock().unwrap().take().unwrap();
        (
            tuple.coap_group,
            tuple.application_group,
            tuple.security_group,
        )
    };
    let gp1 = || Some("gp1".into());
    let (in_a, in_b) = (get("/gp/gp1/r").to(A), get("/r").to(B));
    assert_eq!(
        ask(&mut server, in_a.clone()),
        (address(A), gp1(), SecurityGroup::None)
    );
    assert_eq!(
        ask(&mut server, in_b.clone()),
        (address(B), None, SecurityGroup::None)
    );
    // The seed calls the absence of security a group of that name; it has neither name nor keys of its own.
    server.config.profile = Profile::Seed03;
    assert_eq!(
        ask(&mut server, in_a.clone()),
        (address(A), gp1(), SecurityGroup::NoSec)
    );
    // Protected: by the group that did it, whichever of several it is.
    server.memberships.set_security(a, one).unwrap();
    server.memberships.set_security(b, two).unwrap();
    let lights = SecurityGroup::Named("lights".into());
    let by_lights = in_a.clone().proven();
    assert_eq!(ask(&mut server, by_lights), (address(A), gp1(), lights));
    let by_blinds = in_b.clone().proven().under("blinds");
    assert_eq!(
        ask(&mut server, by_blinds).2,
        SecurityGroup::Named("blinds".into())
    );
    server
        .memberships
        .set_security(b, GroupSecurity::NoSec)
        .unwrap();
    let mut unknown = in_b.proven();
    unknown.security_group = None;
    assert_eq!(ask(&mut server, unknown).2, SecurityGroup::Unidentified);
}

// Covers: GC-2.1.1-02, GC-2.1.1-03, GC-3.3-01, GC-3.3-04
#[test]
fn one_server_is_in_several_coap_groups_and_changes_them_while_it_runs() {
    let mut server = server();
    server.add(named("/r")).unwrap();
    let texts = [
        "[ff05::a]:5683",
        "[ff05::a]:5685",
        "[ff05::b]:5683",
        "239.0.0.1:61616",
    ];
    let mut ids = Vec::new();
    for text in texts {
        let spec = CoapGroupSpec::new(address(text)).on(2).unsecured();
        ids.push(server.memberships.create(spec).unwrap());
    }
    let answers = |server: &mut Server| texts.map(|text| server.hears(&get("/r").to(text)).is_ok());
    assert_eq!(answers(&mut server), [true; 4]);
    // Two groups on one address stay apart by their ports.
    server.memberships.leave(ids[1], 2).unwrap();
    assert_eq!(answers(&mut server), [true, false, true, true]);
    server.memberships.join(ids[1], 2).unwrap();
    assert_eq!(answers(&mut server), [true; 4]);
    server.memberships.remove(ids[0]).unwrap();
    assert_eq!(answers(&mut server), [false, true, true, true]);
    // A combination that was never configured.
    assert_eq!(
        server.hears(&get("/r").to("[ff05::b]:61616")),
        Err(SilenceReason::NotAMember)
    );
    // Another interface.
    let spec = CoapGroupSpec::new(address("[ff05::c]:5683"))
        .on(3)
        .unsecured();
    server.memberships.create(spec).unwrap();
    assert_eq!(
        server.hears(&get("/r").to("[ff05::c]:5683")),
        Err(SilenceReason::NotAMember)
    );
}

#[test]
fn renaming_splitting_and_merging_move_the_paths_of_resources() {
    let (mut server, a, b) = with_groups();
    let gp1 = application(&mut server, "gp1", Naming::path(), &[a, b]);
    server.add(named("r").in_group("gp1")).unwrap();
    server.memberships.rename(gp1, "gp9").unwrap();
    assert_eq!(server.hears(&get("/gp/gp9/r").to(A)), heard("gp9"));
    assert_eq!(server.hears(&get("/gp/gp1/r").to(A)), UNKNOWN);
    assert_eq!(server.ask(&get("/gp/gp1/r")).code(), Code::NOT_FOUND);
    assert_eq!(server.hears(&get("/gp/gp9/r")), heard("-"));

    server
        .memberships
        .split_application(gp1, "half", &[b])
        .unwrap();
    server.add(named("r").in_group("half")).unwrap();
    assert_eq!(server.hears(&get("/gp/gp9/r").to(B)), UNKNOWN);
    assert_eq!(server.hears(&get("/gp/half/r").to(B)), heard("half"));

    // After a merge the resources of the first group belong to the second; the request does not care how they got there.
    server.add(named("s").in_group("gp9")).unwrap();
    let half = server.memberships.application_named("half").unwrap().id();
    server.memberships.merge_applications(gp1, half).unwrap();
    for group in [A, B] {
        assert_eq!(server.hears(&get("/gp/half/s").to(group)), heard("half"));
        assert_eq!(server.hears(&get("/gp/half/r").to(group)), heard("half"));
        assert_eq!(server.hears(&get("/gp/gp9/s").to(group)), UNKNOWN);
    }
    let duplicate = named("s").in_group("half");
    assert_eq!(server.add(duplicate), Err(ResourceError::PathTaken));
}

#[test]
fn no_reason_for_silence_towards_a_group_lets_anything_be_sent() {
    let mut server = server();
    server.add(named("/r")).unwrap();
    let requests = [
        get("/r").option(OptionNumber(65_001), b""),
        get("/r").option(OptionNumber::URI_PATH, &[0xff]),
        ask(Code::PUT, "/r"),
        get("/nothing"),
        get("/r").option(OptionNumber::PROXY_URI, b"coap://x/"),
        get("/r").option(OptionNumber::BLOCK1, &[0x08]),
        ask(Code::CONTENT, "/r"),
        ask(Code::new(0, 31).unwrap(), "/r"),
    ];
    for request in requests {
        let by_group = server.ask(&request.clone().to(ALL_NODES));
        assert!(
            matches!(by_group.disposition, Disposition::Silence(_)),
            "{:?}",
            request.options
        );
        let confirmable = server.ask(&request.to(ALL_NODES).con());
        assert_eq!(confirmable.silence(), SilenceReason::ConfirmableMulticast);
    }
    assert_eq!(server.counters().responses, 0);
    assert_eq!(
        server
            .counters()
            .silenced(SilenceReason::ConfirmableMulticast),
        8
    );
    assert_eq!(server.counters().group_requests, 16);
    assert_eq!(server.counters().requests, 16);
}

// Covers: GC-3.9.1-03
#[test]
fn a_join_that_fails_on_one_link_stops_nothing_elsewhere() {
    let mut server = server();
    server.add(named("/r")).unwrap();
    // A mesh without MLD beside an ordinary link.
    let spec = CoapGroupSpec::new(address(A)).on(2).on(9).unsecured();
    server.memberships.create(spec).unwrap();
    let mut failed = 0;
    while let Some(task) = server.memberships.poll_task(NOW) {
        let result = match task {
            Task::Join { interface: 9, .. } => {
                failed += 1;
                Err(WorkFailure::System(95))
            }
            _ => Ok(()),
        };
        server.memberships.task_done(NOW, &task, result);
    }
    assert_eq!(failed, 1);
    assert_eq!(server.hears(&get("/r").to(A)), heard("-"));
    assert_eq!(server.hears(&get("/r").to(ALL_NODES)), heard("-"));
    assert_eq!(server.hears(&get("/r")), heard("-"));
    // A subscription made by other means delivers all the same: what arrives on that link is served.
    let mut by_mesh = get("/r").to(A).path();
    by_mesh.interface = 9;
    let bytes = get("/r").to(A).bytes();
    let message = Message::parse(&bytes).unwrap();
    let mut response = Response::new(Code::EMPTY);
    let disposition = server.handle_request(
        NOW,
        &by_mesh,
        &Sender::Unauthenticated,
        &message,
        &mut response,
    );
    assert!(
        matches!(disposition, Disposition::Respond { .. }),
        "{disposition:?}"
    );
}

// Covers: GC-2.2.2-01
#[test]
fn creating_a_group_is_choosing_an_address_and_a_port_and_listening_there() {
    let group = "[ff05::abcd]:61616";
    let mut nodes = [server(), server(), server()];
    for node in &mut nodes {
        node.add(named("/r")).unwrap();
        assert_eq!(
            node.hears(&get("/r").to(group)),
            Err(SilenceReason::NotAMember)
        );
        let spec = CoapGroupSpec::new(address(group)).on(2).unsecured();
        let id = node.memberships.create(spec).unwrap();
        let join = Task::Join {
            group: address(group),
            interface: 2,
        };
        let tasks: Vec<_> = core::iter::from_fn(|| node.memberships.poll_task(NOW)).collect();
        assert!(tasks.contains(&join), "{tasks:?}");
        assert_eq!(
            node.memberships.group(id).unwrap().address(),
            address(group)
        );
    }
    for node in &mut nodes {
        assert_eq!(node.hears(&get("/r").to(group)), heard("-"));
    }
}
