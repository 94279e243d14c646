//! Who may reach what without security.

use super::*;
use std::string::ToString;

fn with_nosec(nosec: NoSecPolicy) -> Server {
    let mut server = server();
    for (path, access) in [
        ("/verified", Access::Verified),
        ("/public", Access::Public),
        ("/unsecured", Access::Unsecured),
    ] {
        let resource = Resource::at(path)
            .get(says("x"))
            .fetch(says("x"))
            .put(says(""))
            .access(access)
            .group_policy(GroupPolicy::respond());
        server.add(resource).unwrap();
    }
    server.set_nosec(nosec);
    server
}

// Covers: GN-4-01, GN-6.1-01, GC-6.1-03, GC-6.1-04, GN-6.3-02, GC-4-01
#[test]
fn without_security_only_discovery_and_what_states_it_is_reachable() {
    let mut server = with_nosec(NoSecPolicy::Stated);
    let allowed = |server: &mut Server, method, path: &str| {
        let unicast = server.ask(&ask(method, path)).code();
        let group = server.ask(&ask(method, path).to(ALL_NODES)).disposition;
        match unicast {
            Code::UNAUTHORIZED => {
                assert_eq!(group, Disposition::Silence(SilenceReason::NotSecured));
                false
            }
            _ => {
                assert!(matches!(group, Disposition::Respond { .. }), "{group:?}");
                true
            }
        }
    };
    // Nothing stated: out of reach, by unicast with 4.01, through a group in silence.
    for method in [Code::GET, Code::FETCH, Code::PUT] {
        assert!(!allowed(&mut server, method, "/verified"));
    }
    assert_eq!(server.counters().handled, 0);
    // Public: to read.
    assert!(allowed(&mut server, Code::GET, "/public"));
    assert!(allowed(&mut server, Code::FETCH, "/public"));
    assert!(!allowed(&mut server, Code::PUT, "/public"));
    // Unsecured: everything.
    assert!(allowed(&mut server, Code::PUT, "/unsecured"));
    // Discovery works before any security is set up.
    assert_eq!(server.ask(&get("/.well-known/core")).code(), Code::CONTENT);
    assert_eq!(
        server.ask(&get("/.well-known/core").to(ALL_NODES)).code(),
        Code::CONTENT
    );
    // A proven sender reaches all.
    for path in ["/verified", "/public", "/unsecured"] {
        assert_eq!(
            server.ask(&ask(Code::PUT, path).proven()).code(),
            Code::CHANGED
        );
        assert_eq!(
            server
                .ask(&ask(Code::PUT, path).to(ALL_NODES).proven())
                .code(),
            Code::CHANGED
        );
    }
}

#[test]
fn the_server_may_close_further_than_its_resources() {
    let mut server = with_nosec(NoSecPolicy::DiscoveryOnly);
    for path in ["/verified", "/public", "/unsecured"] {
        assert_eq!(server.ask(&get(path)).code(), Code::UNAUTHORIZED);
        assert_eq!(server.ask(&get(path).proven()).code(), Code::CONTENT);
    }
    assert_eq!(server.ask(&get("/.well-known/core")).code(), Code::CONTENT);
    let mut server = with_nosec(NoSecPolicy::Nothing);
    let discover = get("/.well-known/core");
    assert_eq!(server.ask(&discover).code(), Code::UNAUTHORIZED);
    assert_eq!(
        server.ask(&discover.clone().to(ALL_NODES)).silence(),
        SilenceReason::NotSecured
    );
    assert_eq!(server.ask(&discover.proven()).code(), Code::CONTENT);
}

// Covers: GC-6.1-02
#[test]
fn a_sensitive_resource_cannot_be_opened() {
    let mut server = server();
    let alarm = |access| {
        Resource::at("/alarm")
            .get(says(""))
            .access(access)
            .sensitive()
    };
    for access in [Access::Public, Access::Unsecured] {
        assert_eq!(
            server.add(alarm(access)),
            Err(ResourceError::SensitiveWithoutSecurity)
        );
    }
    server.add(alarm(Access::Verified)).unwrap();
    assert_eq!(server.ask(&get("/alarm")).code(), Code::UNAUTHORIZED);
}

#[test]
fn a_server_is_unsecured_only_if_it_says_so() {
    let mut strict = Server::with(ServerConfig::default());
    for access in [Access::Public, Access::Unsecured] {
        let resource = || Resource::at("/open").get(says("x")).access(access.clone());
        assert_eq!(
            strict.add(resource()),
            Err(ResourceError::UnsecuredNotStated)
        );
        let mut nothing = Server::with(ServerConfig {
            nosec: NoSecPolicy::Nothing,
            ..ServerConfig::default()
        });
        assert_eq!(
            nothing.add(resource()),
            Err(ResourceError::UnsecuredNotStated)
        );
        server().add(resource()).unwrap();
    }
    // The links below a resource are no exception.
    strict.add(Resource::links("/sensors")).unwrap();
    assert_eq!(strict.ask(&get("/sensors")).code(), Code::UNAUTHORIZED);
    // The list of exceptions has one entry: discovery.
    let report = strict.nosec_report();
    let open: Vec<_> = report.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(open, ["/.well-known/core"]);
    assert_eq!(strict.ask(&get("/.well-known/core")).code(), Code::CONTENT);
}

// Covers: GN-4-03
#[test]
fn the_report_names_everything_that_is_reachable_without_security() {
    let server = with_nosec(NoSecPolicy::Stated);
    let report = server.nosec_report();
    let seen: Vec<_> = report
        .iter()
        .map(|entry| {
            (
                entry.path.as_str(),
                entry.access.clone(),
                entry.methods,
                entry.through_groups,
            )
        })
        .collect();
    let read = Methods::GET | Methods::FETCH;
    assert_eq!(
        seen,
        [
            ("/.well-known/core", Access::Public, read, true),
            ("/public", Access::Public, read, true),
            ("/unsecured", Access::Unsecured, read | Methods::PUT, true),
        ]
    );
    let mut closed = with_nosec(NoSecPolicy::DiscoveryOnly);
    assert_eq!(closed.nosec_report().len(), 1);
    closed.set_discoverable(Discoverable::Off);
    assert_eq!(closed.nosec_report(), []);
    let quiet = with_nosec(NoSecPolicy::Nothing);
    assert_eq!(quiet.nosec_report(), []);
    let mut server = self::server();
    server.add(open("/unicast")).unwrap();
    let report = server.nosec_report();
    assert!(!report[1].through_groups);
    assert_eq!(
        report[1].to_string(),
        "/unicast is open to anyone for GET, PUT"
    );
    assert!(
        report[0]
            .to_string()
            .starts_with("/.well-known/core is open to anyone for GET, FETCH, through groups too")
    );
}

// Covers: GN-4-02
#[test]
fn group_requests_from_the_public_internet_are_dropped_and_global_groups_not_joined_without_security()
 {
    let mut server = with_nosec(NoSecPolicy::Stated);
    let on_link = Prefix::new("2600:1::".parse().unwrap(), 64).unwrap();
    let request = get("/public").to(ALL_NODES);
    for peer in [
        "[fe80::2]:1",
        "[fd00::2]:1",
        "[2001:db8::2]:1",
        "10.0.0.1:1",
        "192.0.2.1:1",
        "127.0.0.1:1",
    ] {
        assert_eq!(
            server.ask(&request.clone().from(peer)).code(),
            Code::CONTENT,
            "{peer}"
        );
    }
    for peer in [
        "[2600:1::2]:1",
        "[2a00::1]:1",
        "8.8.8.8:1",
        "[::ffff:8.8.8.8]:1",
        "[64:ff9b::808:808]:1",
    ] {
        let reply = server.ask(&request.clone().from(peer));
        assert_eq!(reply.silence(), SilenceReason::PublicSource, "{peer}");
        assert_eq!(
            server.ask(&request.clone().from(peer).proven()).code(),
            Code::CONTENT
        );
        assert_eq!(server.ask(&get("/public").from(peer)).code(), Code::CONTENT);
    }
    server.config.on_link.push(on_link);
    assert_eq!(
        server.ask(&request.clone().from("[2600:1::2]:1")).code(),
        Code::CONTENT
    );
    assert_eq!(
        server
            .ask(&request.clone().from("[2600:1:0:1::2]:1"))
            .silence(),
        SilenceReason::PublicSource
    );
    server.config.nosec_sources = NoSecSources::Any;
    assert_eq!(server.ask(&request.from("8.8.8.8:1")).code(), Code::CONTENT);

    let memberships = server.memberships_mut();
    let global = CoapGroupSpec::new(address("[ff0e::1]:5683")).on(2);
    assert_eq!(
        memberships.create(global.clone().unsecured()),
        Err(crate::MembershipError::GlobalScope)
    );
    let name = SecurityGroupName::new("lights").unwrap();
    memberships.create(global.secured(name)).unwrap();
    memberships
        .set_interface(Interface {
            public: true,
            ..Interface::new(9)
        })
        .unwrap();
    let public = CoapGroupSpec::new(address("[ff05::1]:5683"))
        .on(9)
        .unsecured();
    assert_eq!(
        memberships.create(public),
        Err(crate::MembershipError::PublicInterface)
    );
}

#[test]
fn a_group_that_is_secured_takes_no_request_without_security() {
    let mut server = with_nosec(NoSecPolicy::Stated);
    let name = SecurityGroupName::new("lights").unwrap();
    let spec = CoapGroupSpec::new(address("[ff05::1]:5683"))
        .on(2)
        .secured(name);
    server.memberships_mut().create(spec).unwrap();
    let request = get("/unsecured").to("[ff05::1]:5683");
    assert_eq!(server.ask(&request).silence(), SilenceReason::NotSecured);
    assert_eq!(server.ask(&request.proven()).code(), Code::CONTENT);
    let discovery = get("/.well-known/core").to("[ff05::1]:5683");
    assert_eq!(server.ask(&discovery).code(), Code::CONTENT);
}

#[test]
fn a_member_gets_a_large_answer_by_unicast_only_where_it_is_reachable() {
    let mut server = server();
    // An answer with a token of one byte has 6 beside its payload; 136 bytes go anywhere.
    for (path, len) in [("/130", 130), ("/131", 131)] {
        let text = "x".repeat(len);
        let says = move |_: &Incoming<'_>, response: &mut Response| {
            response.payload.extend_from_slice(text.as_bytes());
        };
        let resource = Resource::at(path).get(says.clone()).put(says);
        server.add(resource).unwrap();
    }
    let slow = Resource::at("/slow").deferred(Methods::GET | Methods::PUT);
    server.add(slow).unwrap();
    let challenge = Disposition::Challenge {
        leisure: Duration::ZERO,
    };
    let far = |path: &str| get(path).by("a").far_away();
    assert_eq!(server.ask(&far("/130")).code(), Code::CONTENT);
    assert_eq!(server.ask(&far("/131")).disposition, challenge);
    assert_eq!(server.ask(&get("/131").by("a")).code(), Code::CONTENT);
    let put = |path: &str| ask(Code::PUT, path).by("a").far_away();
    assert_eq!(server.ask(&put("/131")).code(), Code::CHANGED);
    // What is answered late is challenged early.
    assert_eq!(server.ask(&far("/slow")).disposition, challenge);
    let slowly = |ask: &Ask, server: &mut Server| {
        matches!(server.ask(ask).disposition, Disposition::Deferred(_))
    };
    assert!(slowly(&put("/slow"), &mut server));
    server.config.proven_reachability = Reachability::Assumed;
    assert_eq!(server.ask(&far("/131")).code(), Code::CONTENT);
    assert!(slowly(&far("/slow"), &mut server));
}

#[test]
fn who_proves_nothing_does_not_learn_which_names_there_are() {
    for policy in [
        NoSecPolicy::Nothing,
        NoSecPolicy::DiscoveryOnly,
        NoSecPolicy::Stated,
    ] {
        let mut server = Server::with(ServerConfig {
            nosec: policy,
            ..ServerConfig::default()
        });
        server.add(Resource::at("/a").get(says("a"))).unwrap();
        let here = server.ask(&get("/a"));
        let nowhere = server.ask(&get("/b"));
        assert_eq!(here.code(), Code::UNAUTHORIZED);
        if policy == NoSecPolicy::Stated {
            assert_eq!(nowhere.code(), Code::NOT_FOUND);
        } else {
            assert_eq!(nowhere.response(), here.response());
        }
        assert_eq!(server.ask(&get("/b").by("a")).code(), Code::NOT_FOUND);
        // A group hears nothing in any case.
        let silence = server.ask(&get("/b").to(ALL_NODES)).silence();
        assert!(policy == NoSecPolicy::Stated || silence == SilenceReason::NotSecured);
    }
}
