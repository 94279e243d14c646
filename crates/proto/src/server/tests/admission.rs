//! Who is let in by proof, permission, freshness, reachability and security group.

use super::*;
use crate::policy::AccessRequest;

const GROUP: &str = "[ff05::1]:5683";

fn name(name: &str) -> SecurityGroupName {
    SecurityGroupName::new(name).unwrap()
}

/// A strict server in a group that the security groups "lights" and "blinds" protect.
fn secured() -> Server {
    let mut server = Server::with(ServerConfig::default());
    let spec = CoapGroupSpec::new(address(GROUP))
        .on(2)
        .secured(name("lights"))
        .secured(name("blinds"));
    server.memberships.create(spec).unwrap();
    server
}

/// A resource with GET and PUT that answers groups at once, and how often its handler has run.
fn lamp(path: &str) -> (Resource, Arc<AtomicUsize>) {
    let (handler, runs) = counted("x");
    let at_once = GroupPolicy::respond()
        .leisure(Leisure::Fixed(Duration::ZERO))
        .answer(Class::ClientError);
    let resource = Resource::at(path)
        .on(Methods::GET | Methods::PUT, handler)
        .group_policy(at_once);
    (resource, runs)
}

// Covers: GC-2.1.4-05, GC-2.1.4-06
#[test]
fn a_member_without_permission_gets_4_03_and_through_a_group_nothing() {
    let mut server = secured();
    let (lamp, count) = lamp("/lamp");
    let permissions = Permissions::none()
        .grant_all(Methods::GET)
        .grant(Methods::PUT, [member("switch"), member("panel")]);
    server.add(lamp.access(Access::Only(permissions))).unwrap();
    let get = get("/lamp").by("guest");
    let put = ask(Code::PUT, "/lamp");
    // All are members of the same security group, and all requests are verified.
    assert_eq!(server.ask(&get).code(), Code::CONTENT);
    assert_eq!(server.ask(&get.to(GROUP)).code(), Code::CONTENT);
    for allowed in ["switch", "panel"] {
        let put = put.clone().by(allowed);
        assert_eq!(server.ask(&put).code(), Code::CHANGED);
        assert_eq!(server.ask(&put.to(GROUP)).code(), Code::CHANGED);
    }
    assert_eq!(runs(&count), 6);
    let guest = put.clone().by("guest");
    assert_eq!(server.ask(&guest).code(), Code::FORBIDDEN);
    assert_eq!(server.ask(&guest).text(), "");
    // Not even where the resource answers groups with errors.
    assert_eq!(
        server.ask(&guest.to(GROUP)).silence(),
        SilenceReason::NotPermitted
    );
    // The same credential in another security group is somebody else.
    let mut namesake = put.clone().by("switch").under("blinds");
    namesake.sender = Sender::Proven(Identity::member("blinds", b"switch"));
    assert_eq!(server.ask(&namesake).code(), Code::FORBIDDEN);
    // A method that nobody was granted is refused, not found to be missing.
    let delete = ask(Code::DELETE, "/lamp").by("switch");
    assert_eq!(server.ask(&delete).code(), Code::FORBIDDEN);
    assert_eq!(runs(&count), 6);
}

#[test]
fn only_these_members_means_every_method_for_them_and_none_for_others() {
    let mut server = secured();
    let (lamp, _) = lamp("/lamp");
    server
        .add(lamp.access(Access::only([member("b"), member("a")])))
        .unwrap();
    for (who, method, code) in [
        ("a", Code::GET, Code::CONTENT),
        ("b", Code::PUT, Code::CHANGED),
        ("b", Code::POST, Code::METHOD_NOT_ALLOWED),
        ("c", Code::GET, Code::FORBIDDEN),
    ] {
        assert_eq!(server.ask(&ask(method, "/lamp").by(who)).code(), code);
    }
    assert_eq!(server.ask(&get("/lamp")).code(), Code::UNAUTHORIZED);
    assert!(
        server
            .nosec_report()
            .iter()
            .all(|entry| entry.path != "/lamp")
    );
}

// Covers: GN-6.2.2-01
#[test]
fn permission_does_not_depend_on_where_a_request_comes_from() {
    let mut server = secured();
    let (resource, _) = lamp("/lamp");
    server
        .add(resource.access(Access::only([member("switch")])))
        .unwrap();
    for peer in [
        "[fe80::99]:61616",
        "[fe80::98]:61616",
        "[fe80::99]:1",
        "10.0.0.9:5683",
    ] {
        let put = ask(Code::PUT, "/lamp").from(peer);
        assert_eq!(server.ask(&put.clone().by("switch")).code(), Code::CHANGED);
        // From the very address of somebody with permission.
        assert_eq!(server.ask(&put.clone().by("guest")).code(), Code::FORBIDDEN);
        assert_eq!(server.ask(&put).code(), Code::UNAUTHORIZED);
    }
}

#[test]
fn an_application_decides_by_sender_method_resource_mode_and_groups() {
    let mut server = secured();
    let (lamp, count) = lamp("/lamp");
    type Seen = (Sender, Code, ResourceId, SecurityMode, Option<GroupTuple>);
    let seen: Arc<std::sync::Mutex<Vec<Seen>>> = Arc::default();
    let into = Arc::clone(&seen);
    let rule = move |request: &AccessRequest<'_>| {
        into.lock().unwrap().push((
            request.sender.clone(),
            request.method,
            request.resource,
            request.mode,
            request.group.cloned(),
        ));
        request.method == Code::GET
    };
    let access = Access::only([member("a")]);
    let id = server.add(lamp.access(access).permits(rule)).unwrap();
    let a = Sender::Proven(member("a"));
    let only = SecurityMode::Pairwise { only: true };
    assert_eq!(
        server.ask(&get("/lamp").by("a").mode(only)).code(),
        Code::CONTENT
    );
    let put = ask(Code::PUT, "/lamp").by("a").to(GROUP);
    assert_eq!(server.ask(&put).silence(), SilenceReason::NotPermitted);
    let put = ask(Code::PUT, "/lamp").by("a");
    assert_eq!(server.ask(&put).code(), Code::FORBIDDEN);
    // It is asked for nobody whom the access turns away already.
    assert_eq!(server.ask(&get("/lamp").by("b")).code(), Code::FORBIDDEN);
    assert_eq!(server.ask(&get("/lamp")).code(), Code::UNAUTHORIZED);
    assert_eq!(runs(&count), 1);
    let tuple = GroupTuple {
        coap_group: address(GROUP),
        application_group: None,
        security_group: SecurityGroup::Named("lights".into()),
    };
    let expected = [
        (a.clone(), Code::GET, id, only, None),
        (a.clone(), Code::PUT, id, SecurityMode::Group, Some(tuple)),
        (a, Code::PUT, id, SecurityMode::Group, None),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

// Covers: GC-6.2-01, GN-6.3-07
#[test]
fn a_strict_server_handles_group_requests_under_group_oscore_only() {
    let mut server = secured();
    let spec = CoapGroupSpec::new(address("[ff05::2]:5683"))
        .on(2)
        .unsecured();
    server.memberships.create(spec).unwrap();
    let (alarm, alarms) = lamp("/alarm");
    let (level, levels) = lamp("/level");
    server.add(alarm.sensitive()).unwrap();
    server.add(level).unwrap();
    for group in [GROUP, "[ff05::2]:5683"] {
        for path in ["/alarm", "/level"] {
            for method in [Code::GET, Code::PUT] {
                assert_eq!(
                    server.ask(&ask(method, path).to(group)).silence(),
                    SilenceReason::NotSecured
                );
            }
        }
    }
    assert_eq!((runs(&alarms), runs(&levels)), (0, 0));
    assert_eq!(server.counters().handled, 0);
    for group in [GROUP, "[ff05::2]:5683"] {
        for path in ["/alarm", "/level"] {
            let asked = get(path).to(group).proven();
            assert_eq!(server.ask(&asked).code(), Code::CONTENT);
        }
    }
    assert_eq!((runs(&alarms), runs(&levels)), (2, 2));
    // The exception, to be discovered before there is any security.
    let discovery = get("/.well-known/core").to(GROUP);
    assert_eq!(server.ask(&discovery).code(), Code::CONTENT);
}

#[test]
fn what_is_known_and_what_is_demanded_decide_the_admission() {
    use Admission::{Challenge, Refuse, Serve};
    let bits = |n: u8| (n & 4 != 0, n & 2 != 0, n & 1 != 0);
    // Known: proven, fresh, reachable. Demanded: proof, freshness, reachability.
    let table = [
        // known 000
        [
            Serve, Challenge, Refuse, Refuse, Refuse, Refuse, Refuse, Refuse,
        ],
        // known 001
        [Serve, Serve, Refuse, Refuse, Refuse, Refuse, Refuse, Refuse],
        // known 010: freshness counts for nothing without proof
        [
            Serve, Challenge, Refuse, Refuse, Refuse, Refuse, Refuse, Refuse,
        ],
        // known 011
        [Serve, Serve, Refuse, Refuse, Refuse, Refuse, Refuse, Refuse],
        // known 100
        [
            Serve, Challenge, Challenge, Challenge, Serve, Challenge, Challenge, Challenge,
        ],
        // known 101
        [
            Serve, Serve, Challenge, Challenge, Serve, Serve, Challenge, Challenge,
        ],
        // known 110
        [
            Serve, Challenge, Serve, Challenge, Serve, Challenge, Serve, Challenge,
        ],
        // known 111
        [Serve, Serve, Serve, Serve, Serve, Serve, Serve, Serve],
    ];
    for (k, row) in (0..).zip(table) {
        let (proven, fresh, reachable) = bits(k);
        let known = Known {
            proven,
            fresh,
            reachable,
        };
        for (d, expected) in (0..).zip(row) {
            let (proof, freshness, reachability) = bits(d);
            let demanded = Demanded {
                proof,
                freshness,
                reachability,
            };
            assert_eq!(
                Admission::of(known, demanded),
                expected,
                "{known:?} {demanded:?}"
            );
        }
    }
}

#[test]
fn a_request_that_must_be_fresh_is_challenged_before_its_handler_runs() {
    let mut server = secured();
    let (lock, count) = lamp("/lock");
    server.add(lock.fresh(Methods::PUT)).unwrap();
    let put = ask(Code::PUT, "/lock").by("a");
    let challenge = Disposition::Challenge {
        leisure: Duration::ZERO,
    };
    assert_eq!(server.ask(&put.clone().stale()).disposition, challenge);
    assert_eq!(
        server.ask(&put.clone().stale().to(GROUP)).disposition,
        challenge
    );
    assert_eq!(runs(&count), 0);
    assert_eq!(server.counters().challenges, 2);
    assert_eq!(server.ask(&put.clone()).code(), Code::CHANGED);
    assert_eq!(server.ask(&put.to(GROUP)).code(), Code::CHANGED);
    assert_eq!(
        server.ask(&get("/lock").by("a").stale()).code(),
        Code::CONTENT
    );
    assert_eq!(runs(&count), 3);
    // An open server cannot make the unproven fresh.
    server.set_nosec(NoSecPolicy::Stated);
    let (open, count) = lamp("/open");
    let open = open.access(Access::Unsecured).fresh(Methods::PUT);
    server.add(open).unwrap();
    assert_eq!(server.ask(&get("/open")).code(), Code::CONTENT);
    assert_eq!(
        server.ask(&ask(Code::PUT, "/open")).code(),
        Code::UNAUTHORIZED
    );
    assert_eq!(runs(&count), 1);
}

#[test]
fn who_has_no_permission_is_not_challenged() {
    let mut server = secured();
    let (lamp, _) = lamp("/lamp");
    let access = Access::only([member("a")]);
    server.add(lamp.access(access).fresh(Methods::PUT)).unwrap();
    let put = ask(Code::PUT, "/lamp").by("b").stale();
    assert_eq!(server.ask(&put).code(), Code::FORBIDDEN);
    let put = put.to(GROUP).far_away();
    assert_eq!(server.ask(&put).silence(), SilenceReason::NotPermitted);
}

#[test]
fn a_group_request_that_could_be_answered_is_challenged_until_its_sender_is_reachable() {
    let mut server = secured();
    let (lamp, count) = lamp("/lamp");
    server.add(lamp).unwrap();
    let (handler, quietly) = counted("");
    let quiet = Resource::at("/quiet").put(handler);
    server
        .add(quiet.group_policy(GroupPolicy::silent()))
        .unwrap();
    let asked = get("/lamp").by("a").to(GROUP);
    let challenge = Disposition::Challenge {
        leisure: Duration::ZERO,
    };
    let far = asked.clone().far_away();
    // What is demanded of those who prove nothing makes no difference to it.
    for unproven in [Reachability::Required, Reachability::Assumed] {
        server.config.unproven_reachability = unproven;
        assert_eq!(server.ask(&far).disposition, challenge);
    }
    assert_eq!(runs(&count), 0);
    assert_eq!(server.ask(&asked).code(), Code::CONTENT);
    // By unicast nothing is multiplied.
    assert_eq!(
        server.ask(&get("/lamp").by("a").far_away()).code(),
        Code::CONTENT
    );
    // Where no answer is ever sent, nothing can be turned against anyone.
    let put = ask(Code::PUT, "/quiet").by("a").to(GROUP).far_away();
    assert_eq!(server.ask(&put).silence(), SilenceReason::Policy);
    assert_eq!(runs(&quietly), 1);
    server.config.proven_reachability = Reachability::Assumed;
    assert_eq!(server.ask(&far).code(), Code::CONTENT);
}

#[test]
fn only_a_large_answer_needs_a_reachable_sender_if_so_configured() {
    let mut server = Server::with(ServerConfig {
        proven_reachability: Reachability::WhenAmplified,
        group_answer_limit: Some(1_000),
        ..ServerConfig::default()
    });
    let at_once = || GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    // A request of 11 bytes allows 33; an answer with a token of one byte has 6 beside its payload.
    for (path, text) in [
        ("/27", "012345678901234567890123456"),
        ("/28", "0123456789012345678901234567"),
    ] {
        let resource = Resource::at(path).get(says(text)).put(says(text));
        server.add(resource.group_policy(at_once())).unwrap();
    }
    let slow = Resource::at("/slow").deferred(Methods::GET);
    server.add(slow.group_policy(at_once())).unwrap();
    let asked = |path: &str| {
        let asked = get(path).by("a").to(ALL_NODES).far_away();
        asked.option(OptionNumber::URI_QUERY, b"q")
    };
    assert_eq!(asked("/27").bytes().len(), 10);
    let challenge = Disposition::Challenge {
        leisure: Duration::ZERO,
    };
    let longer = |path: &str| asked(path).option(OptionNumber::URI_QUERY, b"");
    assert_eq!(longer("/27").bytes().len(), 11);
    assert_eq!(server.ask(&longer("/27")).code(), Code::CONTENT);
    assert_eq!(server.ask(&longer("/28")).disposition, challenge);
    let mut near = longer("/28");
    near.reachable = true;
    assert_eq!(server.ask(&near).code(), Code::CONTENT);
    // What has been done is answered; what is answered late is challenged early.
    let mut put = longer("/28");
    put.code = Code::PUT;
    assert_eq!(server.ask(&put).code(), Code::CHANGED);
    assert_eq!(server.ask(&longer("/slow")).disposition, challenge);
}

// Covers: GN-6.3.1-01, GC-6.2.3-04
#[test]
fn an_unproven_address_gets_4_01_with_an_echo_until_it_sends_the_value_back() {
    let mut server = Server::with(ServerConfig {
        unproven_reachability: Reachability::Required,
        ..unsecured()
    });
    let (resource, count) = lamp("/lamp");
    server.add(resource.access(Access::Unsecured)).unwrap();
    for request in [get("/lamp"), get("/lamp").to(ALL_NODES).from("[fe80::2]:1")] {
        let first = server.ask(&request);
        assert_eq!(first.code(), Code::UNAUTHORIZED);
        assert_eq!(first.response().payload, b"");
        let value = first.response().options.get(OptionNumber::ECHO).unwrap();
        assert_eq!(value.len(), 8);
        let value = value.to_vec();
        // The value is of no use at another address or port, and neither is another value.
        let with = |request: &Ask, value: &[u8]| request.clone().option(OptionNumber::ECHO, value);
        for peer in ["[fe80::3]:1", "[fe80::2]:2", "[fe80::99]:61617"] {
            let elsewhere = with(&request, &value).from(peer);
            assert_eq!(server.ask(&elsewhere).code(), Code::UNAUTHORIZED, "{peer}");
        }
        let mut other = value.clone();
        other[7] ^= 1;
        for wrong in [&other[..], &value[..7], b""] {
            let wrong = with(&request, wrong);
            assert_eq!(server.ask(&wrong).code(), Code::UNAUTHORIZED);
        }
        let before = runs(&count);
        assert_eq!(server.ask(&with(&request, &value)).code(), Code::CONTENT);
        // Once for each endpoint.
        assert_eq!(server.ask(&request).code(), Code::CONTENT);
        assert_eq!(runs(&count), before + 2);
    }
    // Discovery is asked of anyone just so, and no challenge is larger than three times its request.
    let discovery = get("/.well-known/core").to(ALL_NODES).from("[fe80::7]:1");
    let reply = server.ask(&discovery);
    assert_eq!(reply.code(), Code::UNAUTHORIZED);
    assert!(encoded_len(1, reply.response()) <= 3 * discovery.bytes().len());
    // A sender that is proven is none of these.
    let proven = get("/lamp").by("a").from("[fe80::9]:1");
    assert_eq!(server.ask(&proven).code(), Code::CONTENT);
}

#[test]
fn an_echo_value_is_good_for_its_period_and_the_next() {
    let mut server = Server::with(ServerConfig {
        unproven_reachability: Reachability::Required,
        ..unsecured()
    });
    let (lamp, _) = lamp("/lamp");
    server.add(lamp.access(Access::Unsecured)).unwrap();
    let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
    let first = server.ask_at(at(59), &get("/lamp"));
    let value = first
        .response()
        .options
        .get(OptionNumber::ECHO)
        .unwrap()
        .to_vec();
    let back = |peer: &str| get("/lamp").from(peer).option(OptionNumber::ECHO, &value);
    let here = "[fe80::99]:61616";
    assert_eq!(
        server.ask_at(at(120), &back(here)).code(),
        Code::UNAUTHORIZED
    );
    assert_eq!(server.ask_at(at(119), &back(here)).code(), Code::CONTENT);
    // An hour long it is known that somebody is there.
    let plain = get("/lamp").from(here);
    assert_eq!(server.ask_at(at(119 + 3_600), &plain).code(), Code::CONTENT);
    assert_eq!(
        server.ask_at(at(119 + 3_601), &plain).code(),
        Code::UNAUTHORIZED
    );
}

#[test]
fn reachable_addresses_are_remembered_in_bounds() {
    let mut server = Server::with(ServerConfig {
        unproven_reachability: Reachability::Required,
        ..unsecured()
    });
    let (lamp, _) = lamp("/lamp");
    server.add(lamp.access(Access::Unsecured)).unwrap();
    let from = |port: u16| get("/lamp").from(&std::format!("[fe80::99]:{port}"));
    for port in 1..=257 {
        let reply = server.ask(&from(port));
        let value = reply.response().options.get(OptionNumber::ECHO).unwrap();
        let again = from(port).option(OptionNumber::ECHO, value);
        assert_eq!(server.ask(&again).code(), Code::CONTENT);
    }
    assert_eq!(server.ask(&from(1)).code(), Code::UNAUTHORIZED);
    for port in [2, 257] {
        assert_eq!(server.ask(&from(port)).code(), Code::CONTENT);
    }
}

#[test]
fn a_large_answer_to_an_unproven_address_is_a_challenge_if_so_configured() {
    let mut server = Server::with(ServerConfig {
        unproven_reachability: Reachability::WhenAmplified,
        group_answer_limit: Some(1_000),
        ..unsecured()
    });
    let text: &'static str = std::string::String::from_utf8(vec![b'x'; 131])
        .unwrap()
        .leak();
    for (path, length) in [("/a", 130), ("/b", 131)] {
        let (text, _) = text.split_at(length);
        let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
        let resource = Resource::at(path).get(says(text)).put(says(text));
        server
            .add(resource.access(Access::Unsecured).group_policy(policy))
            .unwrap();
    }
    // By unicast 136 bytes are sent to anyone: header, token, marker and 130 of payload.
    assert_eq!(server.ask(&get("/a")).code(), Code::CONTENT);
    let reply = server.ask(&get("/b"));
    assert_eq!(reply.code(), Code::UNAUTHORIZED);
    let value = reply
        .response()
        .options
        .get(OptionNumber::ECHO)
        .unwrap()
        .to_vec();
    assert_eq!(server.ask(&ask(Code::PUT, "/b")).code(), Code::CHANGED);
    // Through a group three times the request, and then a challenge in place of silence.
    let group = get("/a").to(ALL_NODES);
    assert_eq!(server.ask(&group).code(), Code::UNAUTHORIZED);
    let put = ask(Code::PUT, "/a").to(ALL_NODES);
    assert_eq!(server.ask(&put).silence(), SilenceReason::Amplification);
    let back = get("/b").option(OptionNumber::ECHO, &value);
    assert_eq!(server.ask(&back).code(), Code::CONTENT);
    assert_eq!(server.ask(&group).code(), Code::CONTENT);
    assert_eq!(server.ask(&put).code(), Code::CHANGED);
    // Without it unicast answers are as long as they are, and nobody gets an Echo value.
    server.config.unproven_reachability = Reachability::Assumed;
    let other = get("/b").from("[fe80::5]:1");
    assert_eq!(server.ask(&other).code(), Code::CONTENT);
    assert_eq!(
        server.ask(&other.to(ALL_NODES)).silence(),
        SilenceReason::Amplification
    );
}

// Covers: GO-14.9-03
#[test]
fn a_request_in_group_mode_by_unicast_is_told_apart_and_treated_by_policy() {
    let mut server = secured();
    let seen: Arc<std::sync::Mutex<Vec<(SecurityMode, bool)>>> = Arc::default();
    let into = Arc::clone(&seen);
    let handler = move |request: &Incoming<'_>, _: &mut Response| {
        let arrival = request.arrival;
        into.lock()
            .unwrap()
            .push((arrival.mode, arrival.is_group()));
    };
    let policy = GroupPolicy::silent();
    let lamp = Resource::at("/lamp").on(Methods::GET | Methods::PUT, handler);
    server.add(lamp.group_policy(policy)).unwrap();
    let pairwise = SecurityMode::Pairwise { only: false };
    let get = get("/lamp").by("a");
    let put = ask(Code::PUT, "/lamp").by("a");
    let requests = [
        get.clone(),
        put.clone(),
        put.clone().mode(pairwise),
        put.clone().mode(SecurityMode::Oscore),
        put.to(GROUP),
    ];
    use GroupModeByUnicast::{ReadOnly, Refuse, Serve};
    assert_eq!(server.config.group_mode_by_unicast, Serve);
    for (policy, served) in [
        (Serve, [true, true, true, true, true]),
        (ReadOnly, [true, false, true, true, true]),
        (Refuse, [false, false, true, true, true]),
    ] {
        server.config.group_mode_by_unicast = policy;
        for (request, served) in requests.iter().zip(served) {
            seen.lock().unwrap().clear();
            let reply = server.ask(request);
            let is_group = request.to == address(GROUP);
            if served {
                let seen = seen.lock().unwrap();
                assert_eq!(*seen, [(request.mode, is_group)], "{policy:?}");
            } else {
                assert_eq!(reply.code(), Code::UNAUTHORIZED, "{policy:?}");
                assert_eq!(*seen.lock().unwrap(), []);
            }
        }
    }
}

// Covers: GN-3.6.1-02, GN-3.6.1-03
#[test]
fn the_default_leisure_is_that_of_the_protection() {
    let mut server = secured();
    let spec = CoapGroupSpec::new(address("[ff05::2]:5683"))
        .on(2)
        .unsecured();
    let plain = server.memberships.create(spec).unwrap();
    server.set_nosec(NoSecPolicy::Stated);
    let lamp = Resource::at("/lamp").get(says("x")).access(Access::Public);
    server
        .add(lamp.group_policy(GroupPolicy::respond()))
        .unwrap();
    let at = |mode| get("/lamp").by("a").to(GROUP).mode(mode);
    let nosec = get("/lamp").to("[ff05::2]:5683");
    let longest = |server: &mut Server, request: &Ask| {
        let drawn: Vec<_> = (0..500).map(|_| server.ask(request).leisure()).collect();
        let drawn_apart: Vec<_> = (0..500)
            .map(|_| server.draw_leisure(&request.path(), request.mode))
            .collect();
        let longest = *drawn.iter().max().unwrap();
        let apart = *drawn_apart.iter().max().unwrap();
        assert!(
            longest.abs_diff(apart) < longest / 10,
            "{longest:?} {apart:?}"
        );
        longest.max(apart)
    };
    for (request, seconds) in [
        (at(SecurityMode::Group), 20),
        (at(SecurityMode::Pairwise { only: false }), 20),
        (at(SecurityMode::Pairwise { only: true }), 13),
        (nosec.clone(), 5),
    ] {
        let interval = Duration::from_secs(seconds);
        let longest = longest(&mut server, &request);
        assert!(longest <= interval, "{longest:?} of {interval:?}");
        assert!(longest > interval * 95 / 100, "{longest:?} of {interval:?}");
    }
    // What is configured holds for every protection: for the server, and before that for the group.
    server.set_leisure(Leisure::Fixed(Duration::from_secs(2)));
    for request in [at(SecurityMode::Group), nosec.clone()] {
        let longest = longest(&mut server, &request);
        assert!(longest <= Duration::from_secs(2) && longest > Duration::from_millis(1_900));
    }
    let leisure = Leisure::Fixed(Duration::from_secs(1));
    server
        .memberships
        .set_leisure(plain, Some(leisure))
        .unwrap();
    let longest = longest(&mut server, &nosec);
    assert!(longest <= Duration::from_secs(1) && longest > Duration::from_millis(950));
    let unicast = get("/lamp").by("a");
    assert_eq!(server.ask(&unicast).leisure(), Duration::ZERO);
    assert_eq!(
        server.draw_leisure(&unicast.path(), SecurityMode::Group),
        Duration::ZERO
    );
}

/// A server in two application groups, each with a resource `r` that says its name.
fn with_applications(security: [&[&str]; 2]) -> Server {
    let mut server = secured();
    let group = server
        .memberships
        .membership(address(GROUP), 2)
        .unwrap()
        .id();
    for (application, security) in ["gp1", "gp2"].into_iter().zip(security) {
        let memberships = &mut server.memberships;
        let id = memberships
            .create_application(application, Naming::path(), Attributes::new())
            .unwrap();
        memberships.relate(id, group).unwrap();
        let security = security.iter().map(|text| name(text)).collect();
        memberships.set_application_security(id, security).unwrap();
        let at_once = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
        let resource = Resource::at("r")
            .get(says(application))
            .in_group(application);
        server.add(resource.group_policy(at_once)).unwrap();
    }
    server
}

// Covers: GN-2.1.3-01, GC-2.1.4-02
#[test]
fn security_groups_and_application_groups_are_many_to_many() {
    let all: [&[&str]; 2] = [&["lights", "blinds"], &["lights", "blinds"]];
    let shared: [&[&str]; 2] = [&["lights"], &["lights"]];
    let apart: [&[&str]; 2] = [&["lights"], &["blinds"]];
    let unstated: [&[&str]; 2] = [&[], &["blinds"]];
    // In gp1 by lights, in gp1 by blinds, in gp2 by lights, in gp2 by blinds.
    for (security, expected) in [
        (all, [true, true, true, true]),
        (shared, [true, false, true, false]),
        (apart, [true, false, false, true]),
        (unstated, [true, true, false, true]),
    ] {
        let mut server = with_applications(security);
        let pairings = [
            ("gp1", "lights"),
            ("gp1", "blinds"),
            ("gp2", "lights"),
            ("gp2", "blinds"),
        ];
        for ((application, group), expected) in pairings.into_iter().zip(expected) {
            let request = get(&std::format!("/gp/{application}/r"))
                .by("a")
                .under(group);
            let (unicast, multicast) = (server.ask(&request), server.ask(&request.to(GROUP)));
            if expected {
                // The resource is found by its path, whichever security group is shared.
                assert_eq!(
                    (unicast.text(), multicast.text()),
                    (application, application)
                );
            } else {
                assert_eq!(unicast.code(), Code::UNAUTHORIZED, "{application} {group}");
                assert_eq!(multicast.silence(), SilenceReason::OtherSecurityGroup);
            }
        }
    }
    let mut server = with_applications(all);
    // A third security group, which this server is in for something else; and OSCORE with a single peer.
    let other = get("/gp/gp1/r").by("a").under("doors");
    assert_eq!(server.ask(&other).code(), Code::UNAUTHORIZED);
    assert_eq!(
        server.ask(&other.to(GROUP)).silence(),
        SilenceReason::OtherSecurityGroup
    );
    let mut pair = get("/gp/gp1/r").by("a").mode(SecurityMode::Oscore);
    pair.security_group = None;
    assert_eq!(server.ask(&pair).code(), Code::UNAUTHORIZED);
}

#[test]
fn a_resource_names_its_own_security_groups() {
    let mut server = secured();
    let resource = Resource::at("/r").get(says("r"));
    let resource = resource.secured(name("blinds")).secured(name("doors"));
    server
        .add(resource.group_policy(GroupPolicy::respond()))
        .unwrap();
    let (free, _) = lamp("/free");
    server.add(free).unwrap();
    let by = |path: &str, group| get(path).by("a").under(group);
    for (group, unicast, multicast) in [
        ("lights", Code::UNAUTHORIZED, false),
        ("blinds", Code::CONTENT, true),
        // Paired with the resource, and not with the CoAP group.
        ("doors", Code::CONTENT, false),
    ] {
        assert_eq!(server.ask(&by("/r", group)).code(), unicast, "{group}");
        let reply = server.ask(&by("/r", group).to(GROUP));
        match multicast {
            true => assert_eq!(reply.code(), Code::CONTENT),
            false => assert_eq!(reply.silence(), SilenceReason::OtherSecurityGroup),
        }
    }
    // Where nothing is stated, any will do.
    assert_eq!(server.ask(&by("/free", "doors")).code(), Code::CONTENT);
    assert_eq!(
        server.ask(&by("/free", "doors").to(ALL_NODES)).code(),
        Code::CONTENT
    );
}

// Covers: GC-2.1.4-04
#[test]
fn an_application_group_is_ready_when_the_contexts_of_all_its_security_groups_are_loaded() {
    let mut server = with_applications([&["lights", "blinds"], &[]]);
    let memberships = &mut server.memberships;
    let id =
        |memberships: &crate::Memberships, text| memberships.application_named(text).unwrap().id();
    let (gp1, gp2) = (id(memberships, "gp1"), id(memberships, "gp2"));
    let missing = |memberships: &crate::Memberships, id| -> Vec<std::string::String> {
        let missing = memberships.missing_contexts(id).unwrap();
        missing.map(std::string::ToString::to_string).collect()
    };
    assert_eq!(missing(memberships, gp1), ["blinds", "lights"]);
    assert_eq!(memberships.is_ready(gp1), Ok(false));
    assert_eq!(memberships.is_ready(gp2), Ok(true));
    for (group, loaded, ready) in [
        ("lights", true, false),
        ("doors", true, false),
        ("lights", true, false),
        ("blinds", true, true),
        ("lights", false, false),
        ("lights", false, false),
        ("lights", true, true),
    ] {
        memberships.set_context_loaded(&name(group), loaded);
        assert_eq!(memberships.is_ready(gp1), Ok(ready), "{group} {loaded}");
    }
    memberships.set_context_loaded(&name("blinds"), false);
    assert_eq!(missing(memberships, gp1), ["blinds"]);
    // A part that is split off uses the same; merged with one that takes any, so does the whole.
    let part = memberships.split_application(gp1, "part", &[]).unwrap();
    assert_eq!(missing(memberships, part), ["blinds"]);
    memberships
        .set_application_security(gp2, vec![name("doors"), name("gates"), name("doors")])
        .unwrap();
    memberships.merge_applications(part, gp2).unwrap();
    assert_eq!(missing(memberships, gp2), ["blinds", "gates"]);
    let any = memberships.split_application(gp1, "any", &[]).unwrap();
    memberships.set_application_security(any, vec![]).unwrap();
    memberships.merge_applications(any, gp2).unwrap();
    assert_eq!(memberships.application(gp2).unwrap().security(), []);
    memberships.remove_application(gp1).unwrap();
    assert_eq!(
        memberships.is_ready(gp1),
        Err(crate::MembershipError::UnknownGroup)
    );
}
