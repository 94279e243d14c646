//! Answers to group requests: suppression, No-Response, leisure, size.

use super::*;

/// A server with one open resource that has this policy and answers what the payload of the request says.
fn answering(policy: GroupPolicy) -> Server {
    answering_with(policy, unsecured())
}

fn answering_with(policy: GroupPolicy, config: ServerConfig) -> Server {
    let mut server = Server::with(config);
    let handler = |request: &Incoming<'_>, response: &mut Response| {
        if let [class, detail, text @ ..] = request.payload() {
            response.code = Code::new(*class, *detail).unwrap();
            response.payload.extend_from_slice(text);
        }
    };
    let resource = Resource::at("/r")
        .on(Methods::GET | Methods::POST, handler)
        .consumes(ContentFormat::OCTETS)
        .access(Access::Unsecured)
        .group_policy(policy.amplification(Amplification::Unlimited));
    server.add(resource).unwrap();
    server
}

/// A group request that is answered with this code and text.
fn wanting(class: u8, detail: u8, text: &str) -> Ask {
    let mut payload = vec![class, detail];
    payload.extend_from_slice(text.as_bytes());
    get("/r")
        .uint(
            OptionNumber::CONTENT_FORMAT,
            u32::from(ContentFormat::OCTETS.0),
        )
        .payload(&payload)
        .to(ALL_NODES)
}

// Covers: GC-3.1-03, GC-3.1-35, GC-3.1-20, GC-2.1.1-01
#[test]
fn group_and_unicast_requests_are_told_apart_by_their_destination() {
    let mut server =
        answering(GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(5))));
    // A confirmable request to the group is ignored, the handler is not called.
    let confirmable = server.ask(&wanting(2, 5, "x").con());
    assert_eq!(confirmable.silence(), SilenceReason::ConfirmableMulticast);
    assert!(!confirmable.silence().rejects());
    assert_eq!(server.counters().handled, 0);
    assert_eq!(server.ask(&wanting(2, 5, "x")).code(), Code::CONTENT);
    // Only the group request has leisure and suppression.
    let mut unicast = wanting(4, 4, "");
    unicast.to = address("[fe80::1]:5683");
    for _ in 0..20 {
        let reply = server.ask(&unicast);
        assert_eq!(
            (reply.code(), reply.leisure()),
            (Code::NOT_FOUND, Duration::ZERO)
        );
    }
    assert_eq!(
        server.ask(&wanting(4, 4, "")).silence(),
        SilenceReason::Policy
    );
    assert!((0..20).any(|_| server.ask(&wanting(2, 5, "x")).leisure() > Duration::ZERO));
    // The exact pair of address and port makes the group, and the port is where the answer comes from.
    let spec = CoapGroupSpec::new(address("[ff05::1234]:5685"))
        .on(2)
        .unsecured();
    server.memberships_mut().create(spec).unwrap();
    let request = wanting(2, 5, "x");
    let reply = server.ask(&request.clone().to("[ff05::1234]:5685"));
    let Disposition::Respond { port, .. } = reply.disposition else {
        panic!("{:?}", reply.disposition);
    };
    assert_eq!(port, 5685);
    for elsewhere in [
        "[ff05::1234]:5683",
        "[ff05::1235]:5685",
        "224.0.0.1:5683",
        "255.255.255.255:5683",
    ] {
        assert_eq!(
            server.ask(&request.clone().to(elsewhere)).silence(),
            SilenceReason::NotAMember
        );
    }
}

// Covers: GC-3.1-06, GC-3.1-08, GC-3.5-03, GC-A.2.4-01, GC-A.2.4-02, GC-A.2.1-02
#[test]
fn whether_a_group_request_is_processed_and_answered_is_the_resources_policy() {
    let mut server = server();
    let mut counts = Vec::new();
    for (path, policy) in [
        ("/none", GroupPolicy::unsupported()),
        ("/silent", GroupPolicy::silent()),
        ("/confirm", GroupPolicy::respond()),
    ] {
        let (handler, count) = counted("");
        let resource = Resource::at(path)
            .post(handler)
            .access(Access::Unsecured)
            .group_policy(policy);
        server.add(resource).unwrap();
        counts.push(count);
    }
    let post = |path: &str| ask(Code::POST, path).to(ALL_NODES);
    // Multicast only where it is supported; unicast is served all the same.
    assert_eq!(
        server.ask(&post("/none")).silence(),
        SilenceReason::NotForGroups
    );
    assert_eq!(runs(&counts[0]), 0);
    assert_eq!(server.ask(&ask(Code::POST, "/none")).code(), Code::CHANGED);
    // A notification is taken and not answered.
    assert_eq!(
        server.ask(&post("/silent")).silence(),
        SilenceReason::Policy
    );
    assert_eq!(runs(&counts[1]), 1);
    // With confirmation the answer is held back, the action is not.
    let mut delays = Vec::new();
    for done in 1..=20 {
        let reply = server.ask(&post("/confirm"));
        assert_eq!(reply.code(), Code::CHANGED);
        assert_eq!(runs(&counts[2]), done);
        delays.push(reply.leisure());
    }
    assert!(
        delays.iter().any(|delay| *delay > Duration::from_secs(1)),
        "{delays:?}"
    );
    // The handler itself may decide that nothing is said.
    let quiet = |_: &Incoming<'_>, response: &mut Response| response.code = Code::EMPTY;
    let resource = Resource::at("/quiet")
        .get(quiet)
        .access(Access::Public)
        .group_policy(GroupPolicy::respond());
    server.add(resource).unwrap();
    assert_eq!(
        server.ask(&get("/quiet").to(ALL_NODES)).silence(),
        SilenceReason::Handler
    );
}

// Covers: GC-3.1-09, GC-3.5-02, GC-3.1-13
#[test]
fn errors_and_empty_results_are_suppressed_by_class_unless_the_policy_wants_them() {
    let mut server = answering(GroupPolicy::respond());
    assert_eq!(server.ask(&wanting(2, 5, "x")).code(), Code::CONTENT);
    assert_eq!(
        server.ask(&wanting(2, 5, "")).silence(),
        SilenceReason::Empty
    );
    assert_eq!(server.ask(&wanting(2, 4, "")).code(), Code::CHANGED);
    assert_eq!(
        server.ask(&wanting(5, 0, "")).silence(),
        SilenceReason::Policy
    );
    // Unknown path.
    assert_eq!(
        server.ask(&get("/nothing").to(ALL_NODES)).silence(),
        SilenceReason::Policy
    );
    // 4.05 and 4.15: both silent, or both sent.
    let method = ask(Code::DELETE, "/r").to(ALL_NODES);
    let format = ask(Code::POST, "/r")
        .uint(
            OptionNumber::CONTENT_FORMAT,
            u32::from(ContentFormat::XML.0),
        )
        .payload(b"x")
        .to(ALL_NODES);
    assert_eq!(server.ask(&method).silence(), SilenceReason::Policy);
    assert_eq!(server.ask(&format).silence(), SilenceReason::Policy);
    let mut server = answering_with(
        GroupPolicy::respond()
            .answer(Class::ClientError)
            .answer_empty(),
        ServerConfig {
            unmatched: GroupPolicy::respond()
                .answer(Class::ClientError)
                .amplification(Amplification::Unlimited),
            ..unsecured()
        },
    );
    assert_eq!(server.ask(&method).code(), Code::METHOD_NOT_ALLOWED);
    assert_eq!(server.ask(&format).code(), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(
        server.ask(&wanting(5, 0, "")).silence(),
        SilenceReason::Policy
    );
    assert_eq!(server.ask(&wanting(2, 5, "")).code(), Code::CONTENT);
    assert_eq!(
        server.ask(&get("/nothing").to(ALL_NODES)).code(),
        Code::NOT_FOUND
    );
    let mut server = answering(
        GroupPolicy::respond()
            .suppress(Class::Success)
            .answer(Class::ServerError),
    );
    assert_eq!(
        server.ask(&wanting(2, 5, "x")).silence(),
        SilenceReason::Policy
    );
    assert_eq!(
        server.ask(&wanting(5, 3, "")).code(),
        Code::SERVICE_UNAVAILABLE
    );
}

// Covers: GC-3.1-10, GC-3.1-11, GC-3.1-12, GC-6.4-01, GC-6.4-02
#[test]
fn no_response_widens_for_anyone_and_narrows_for_proven_senders() {
    // A resource that does not say so ignores the option.
    let mut server = answering(GroupPolicy::respond());
    assert_eq!(
        server
            .ask(&wanting(2, 5, "x").no_response(NoResponse::ALL))
            .code(),
        Code::CONTENT
    );
    let narrow = wanting(4, 4, "").no_response(NoResponse::NONE);
    assert_eq!(
        server.ask(&narrow.clone().proven()).silence(),
        SilenceReason::Policy
    );

    let considering = GroupPolicy::respond().consider_no_response();
    let mut server = answering(considering.clone());
    // Value absent: the default.
    assert_eq!(server.ask(&wanting(2, 5, "x")).code(), Code::CONTENT);
    assert_eq!(
        server.ask(&wanting(4, 4, "")).silence(),
        SilenceReason::Policy
    );
    // Anyone silences more; the default suppression stays in force beside the option.
    let wide = wanting(2, 5, "x").no_response(NoResponse::SUCCESS);
    assert_eq!(server.ask(&wide).silence(), SilenceReason::NoResponse);
    let wide = wanting(4, 4, "").no_response(NoResponse::SUCCESS);
    assert_eq!(server.ask(&wide).silence(), SilenceReason::Policy);
    // A sender that has proven nothing cannot call forth more answers.
    assert_eq!(server.ask(&narrow).silence(), SilenceReason::Policy);
    let empty = wanting(2, 5, "").no_response(NoResponse::NONE);
    assert_eq!(server.ask(&empty).silence(), SilenceReason::Empty);
    // A proven one can: the option stands in place of the default.
    assert_eq!(server.ask(&narrow.clone().proven()).code(), Code::NOT_FOUND);
    assert_eq!(server.ask(&empty.proven()).code(), Code::CONTENT);
    let exactly = wanting(5, 0, "").no_response(NoResponse::SUCCESS).proven();
    assert_eq!(server.ask(&exactly).code(), Code::INTERNAL_SERVER_ERROR);

    // A silent light stays silent for forged requests.
    let mut silent = answering(GroupPolicy::silent().consider_no_response());
    let all = wanting(2, 4, "").no_response(NoResponse::NONE);
    assert_eq!(silent.ask(&all).silence(), SilenceReason::Policy);
    assert_eq!(silent.ask(&all.clone().proven()).code(), Code::CHANGED);

    // The seed's rule, switched on: the option overrides for anyone.
    let config = ServerConfig {
        nosec_no_response_full: true,
        ..unsecured()
    };
    let mut seed = answering_with(considering, config);
    assert_eq!(seed.ask(&narrow).code(), Code::NOT_FOUND);
    let wide = wanting(2, 5, "x").no_response(NoResponse::SUCCESS);
    assert_eq!(seed.ask(&wide).silence(), SilenceReason::NoResponse);
}

#[test]
fn no_response_is_honoured_by_unicast() {
    let mut server = answering(GroupPolicy::unsupported());
    let unicast = |class, detail, value| {
        let mut request = wanting(class, detail, "").no_response(value);
        request.to = address("[fe80::1]:5683");
        request
    };
    assert_eq!(
        server.ask(&unicast(2, 5, NoResponse::SUCCESS)).silence(),
        SilenceReason::NoResponse
    );
    assert_eq!(
        server.ask(&unicast(4, 4, NoResponse::SUCCESS)).code(),
        Code::NOT_FOUND
    );
    assert_eq!(
        server.ask(&unicast(5, 0, NoResponse::ALL)).silence(),
        SilenceReason::NoResponse
    );
    let nowhere = get("/nothing").no_response(NoResponse::CLIENT_ERROR);
    assert_eq!(server.ask(&nowhere).silence(), SilenceReason::NoResponse);
}

// Covers: GC-3.5-05, GN-3.6-04, GN-3.6.1-04
#[test]
fn answers_are_spread_evenly_over_the_default_leisure() {
    let mut server = answering(GroupPolicy::respond());
    const BINS: usize = 10;
    let mut bins = [0_u32; BINS];
    let mut largest = Duration::ZERO;
    for _ in 0..1_000 {
        let delay = server.ask(&wanting(2, 5, "x")).leisure();
        assert!(delay <= Duration::from_secs(5), "{delay:?}");
        largest = largest.max(delay);
        let bin = usize::try_from(delay.as_micros()).unwrap() * BINS / 5_000_001;
        bins[bin] += 1;
    }
    assert!(largest > Duration::from_secs(4), "{largest:?}");
    // Chi-square with 9 degrees of freedom: above 27.9 in one of a thousand fair draws.
    let chi: f64 = bins
        .iter()
        .map(|n| (f64::from(*n) - 100.0).powi(2) / 100.0)
        .sum();
    assert!(chi < 27.9, "{bins:?}");

    // Another default is taken at once.
    server.set_leisure(Leisure::Fixed(Duration::from_millis(200)));
    let largest = (0..200)
        .map(|_| server.ask(&wanting(2, 5, "x")).leisure())
        .max()
        .unwrap();
    assert!(
        largest <= Duration::from_millis(200) && largest > Duration::from_millis(150),
        "{largest:?}"
    );
    // Zero is at once.
    server.set_leisure(Leisure::Fixed(Duration::ZERO));
    for _ in 0..20 {
        assert_eq!(server.ask(&wanting(2, 5, "x")).leisure(), Duration::ZERO);
    }
}

#[test]
fn the_resources_leisure_comes_before_the_groups_and_the_groups_before_the_servers() {
    let longest = |server: &mut Server| {
        (0..100)
            .map(|_| {
                server
                    .ask(&wanting(2, 5, "x").to("[ff05::1]:5683"))
                    .leisure()
            })
            .max()
            .unwrap()
    };
    let spec = CoapGroupSpec::new(address("[ff05::1]:5683"))
        .on(2)
        .unsecured();
    let of_group = spec.clone().leisure(Leisure::Estimated {
        response_size: 100,
        group_size: 20,
        rate: 1_000,
    });
    let between = |found: Duration, low: u64, high: u64| {
        assert!(
            found >= Duration::from_millis(low) && found <= Duration::from_millis(high),
            "{found:?}"
        );
    };
    let mut server = answering(GroupPolicy::respond());
    server.memberships_mut().create(spec).unwrap();
    between(longest(&mut server), 4_000, 5_000);
    let mut server = answering(GroupPolicy::respond());
    let id = server.memberships_mut().create(of_group.clone()).unwrap();
    between(longest(&mut server), 1_600, 2_000);
    server.memberships_mut().set_leisure(id, None).unwrap();
    between(longest(&mut server), 4_000, 5_000);
    let own = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_millis(100)));
    let mut server = answering(own);
    server.memberships_mut().create(of_group).unwrap();
    between(longest(&mut server), 80, 100);
}

// Covers: GC-3.5-06
#[test]
fn large_representations_are_not_sent_to_groups() {
    let config = unsecured();
    assert_eq!(config.group_answer_limit(), 64);
    let policy = GroupPolicy::respond()
        .answer(Class::ClientError)
        .oversize(Oversize::Suppress);
    let mut server = answering_with(policy, config);
    let (fits, exceeds) = ("x".repeat(64), "x".repeat(65));
    assert_eq!(server.ask(&wanting(2, 5, &fits)).text(), fits);
    assert_eq!(
        server.ask(&wanting(2, 5, &exceeds)).silence(),
        SilenceReason::TooLarge
    );
    // An error is sent without its text.
    let error = server.ask(&wanting(4, 4, &exceeds));
    assert_eq!((error.code(), error.text()), (Code::NOT_FOUND, ""));
    assert_eq!(server.ask(&wanting(4, 4, &fits)).text(), fits);
    // By unicast it is served.
    let mut unicast = wanting(2, 5, &exceeds);
    unicast.to = address("[fe80::1]:5683");
    assert_eq!(server.ask(&unicast).text(), exceeds);

    let mut server = answering(GroupPolicy::respond().limit(65));
    assert_eq!(server.ask(&wanting(2, 5, &exceeds)).text(), exceeds);
    let mut server = answering(GroupPolicy::respond().oversize(Oversize::Tell));
    let told = server.ask(&wanting(2, 5, &exceeds));
    assert_eq!((told.code(), told.text()), (Code::NOT_IMPLEMENTED, ""));
    let config = ServerConfig {
        group_answer_limit: Some(10),
        ..unsecured()
    };
    // By default in blocks, but none is small enough for this limit.
    let mut server = answering_with(GroupPolicy::respond(), config);
    assert_eq!(
        server.ask(&wanting(2, 5, &"x".repeat(11))).silence(),
        SilenceReason::TooLarge
    );
    assert_eq!(
        server.ask(&wanting(2, 5, &"x".repeat(10))).code(),
        Code::CONTENT
    );
    let small_mtu = ServerConfig {
        mtu: 400,
        ..unsecured()
    };
    assert_eq!(small_mtu.group_answer_limit(), 20);
}

// Covers: GN-6.3-03
#[test]
fn an_answer_to_an_unproven_sender_is_at_most_three_times_as_large_as_the_request() {
    // 4 + 1 + 2 bytes: header, token, Uri-Path "r".
    let request = get("/r").to(ALL_NODES);
    assert_eq!(request.bytes().len(), 7);
    let of_size = |size: usize, amplification: Option<Amplification>| {
        let mut policy = GroupPolicy::respond();
        if let Some(amplification) = amplification {
            policy = policy.amplification(amplification);
        }
        let mut server = server();
        // Header, token, Content-Format 0 and the payload marker take 7 bytes.
        let handler = move |_: &Incoming<'_>, response: &mut Response| {
            response.set_payload(ContentFormat::TEXT, &vec![b'x'; size - 7]);
        };
        let resource = Resource::at("/r")
            .get(handler)
            .access(Access::Public)
            .group_policy(policy);
        server.add(resource).unwrap();
        server
    };
    assert_eq!(of_size(21, None).ask(&request).code(), Code::CONTENT);
    assert_eq!(
        of_size(22, None).ask(&request).silence(),
        SilenceReason::Amplification
    );
    assert_eq!(
        of_size(22, None).ask(&request.clone().proven()).code(),
        Code::CONTENT
    );
    assert_eq!(of_size(22, None).ask(&get("/r")).code(), Code::CONTENT);
    let twice = Some(Amplification::AtMost(2));
    assert_eq!(of_size(14, twice).ask(&request).code(), Code::CONTENT);
    assert_eq!(
        of_size(15, twice).ask(&request).silence(),
        SilenceReason::Amplification
    );
    assert_eq!(
        of_size(70, Some(Amplification::Unlimited))
            .ask(&request)
            .code(),
        Code::CONTENT
    );
}

#[test]
fn the_size_of_a_response_is_counted_as_it_is_encoded() {
    let mut response = Response::new(Code::CONTENT);
    let written = |response: &Response, token: &[u8]| {
        let mut buffer = vec![0; 2_048];
        let token = Token::new(token).unwrap();
        let mut writer =
            Writer::new(&mut buffer, Type::Non, response.code, MessageId(1), token).unwrap();
        response.options.write(&mut writer).unwrap();
        writer.payload(&response.payload).unwrap();
        writer.finish()
    };
    assert_eq!(encoded_len(0, &response), 4);
    for (number, length) in [(4, 8), (12, 12), (14, 13), (27, 268), (296, 269), (700, 1)] {
        response
            .options
            .push(OptionNumber(number), &vec![1; length]);
        assert_eq!(
            encoded_len(8, &response),
            written(&response, b"12345678"),
            "{number}"
        );
    }
    response.payload.push(b'x');
    assert_eq!(encoded_len(1, &response), written(&response, b"1"));
}
