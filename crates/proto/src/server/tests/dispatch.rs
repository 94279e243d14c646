//! Finding the resource, method, options, preconditions, blocks.

use super::*;

#[test]
fn each_method_reaches_its_own_handler_and_gets_its_usual_code_of_success() {
    let mut server = server();
    let resource = Resource::at("/a/b")
        .get(says("get"))
        .post(says("post"))
        .put(says("put"))
        .delete(says("delete"))
        .fetch(says("fetch"))
        .patch(says("patch"))
        .ipatch(says("ipatch"))
        .access(Access::Unsecured);
    server.add(resource).unwrap();
    for (method, code, text) in [
        (Code::GET, Code::CONTENT, "get"),
        (Code::POST, Code::CHANGED, "post"),
        (Code::PUT, Code::CHANGED, "put"),
        (Code::DELETE, Code::DELETED, "delete"),
        (Code::FETCH, Code::CONTENT, "fetch"),
        (Code::PATCH, Code::CHANGED, "patch"),
        (Code::IPATCH, Code::CHANGED, "ipatch"),
    ] {
        let reply = server.ask(&ask(method, "/a/b"));
        assert_eq!((reply.code(), reply.text()), (code, text));
    }
    assert_eq!(server.counters().handled, 7);
    assert_eq!(server.counters().responses, 7);
    assert_eq!(server.counters().requests, 7);
    assert_eq!(server.counters().group_requests, 0);
}

#[test]
fn paths_match_by_whole_segments_only() {
    let mut server = server();
    let paths = [
        ("/", "root"),
        ("/a", "a"),
        ("/a/b", "ab"),
        ("/ab", "joined"),
    ];
    for (path, text) in paths {
        let resource = Resource::at(path).get(says(text)).access(Access::Public);
        server.add(resource).unwrap();
    }
    for (path, text) in paths {
        assert_eq!(server.ask(&get(path)).text(), text);
    }
    let with_empty_segment = get("/a").option(OptionNumber::URI_PATH, b"");
    let with_slash = get("/").option(OptionNumber::URI_PATH, b"a/b");
    for request in [
        get("/b"),
        get("/a/b/c"),
        get("/A"),
        with_empty_segment,
        with_slash,
    ] {
        assert_eq!(
            server.ask(&request).code(),
            Code::NOT_FOUND,
            "{:?}",
            request.options
        );
    }
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let mut server = server();
    let resource = Resource::at("/a").get(says("x")).access(Access::Unsecured);
    server.add(resource).unwrap();
    assert_eq!(server.ask(&get("/b")).code(), Code::NOT_FOUND);
    assert_eq!(
        server.ask(&ask(Code::PUT, "/a")).code(),
        Code::METHOD_NOT_ALLOWED
    );
    let unknown_method = Code::new(0, 9).unwrap();
    assert_eq!(
        server.ask(&ask(unknown_method, "/a")).code(),
        Code::METHOD_NOT_ALLOWED
    );
    let response = server.ask(&ask(Code::CONTENT, "/a"));
    assert_eq!(response.silence(), SilenceReason::NotARequest);
    assert!(response.silence().rejects());
}

#[test]
fn resources_come_and_go_while_the_server_runs() {
    let mut server = server();
    let first = server.add(open("/a")).unwrap();
    assert_eq!(server.add(open("/a")), Err(ResourceError::PathTaken));
    let second = server.add(open("/b")).unwrap();
    assert_eq!(server.path_of(first).as_deref(), Some("/a"));
    assert!(server.remove(first));
    assert!(!server.remove(first));
    assert_eq!(server.path_of(first), None);
    assert_eq!(server.ask(&get("/a")).code(), Code::NOT_FOUND);
    assert_eq!(server.ask(&get("/b")).code(), Code::CONTENT);
    // Its place in the table is used again, its name is not.
    let third = server.add(open("/c")).unwrap();
    assert_eq!(third.index, first.index);
    assert_ne!(third, first);
    assert!(!server.remove(first));
    assert!(!server.set_etag(first, None));
    assert!(!server.set_group_policy(first, GroupPolicy::respond()));
    assert_eq!(server.ask(&get("/c")).code(), Code::CONTENT);
    assert!(server.remove(second));
    assert_eq!(server.ask(&get("/b")).code(), Code::NOT_FOUND);
}

#[test]
fn many_resources_are_all_found() {
    let mut server = Server::with(ServerConfig {
        resources: 300,
        ..unsecured()
    });
    let mut ids = Vec::new();
    for number in 0..300 {
        ids.push(server.add(open(&std::format!("/r/{number}"))).unwrap());
    }
    assert_eq!(server.add(open("/one-too-many")), Err(ResourceError::Full));
    for id in ids.iter().step_by(2) {
        assert!(server.remove(*id));
    }
    for number in 0..300 {
        let expected = if number % 2 == 0 {
            Code::NOT_FOUND
        } else {
            Code::CONTENT
        };
        assert_eq!(
            server.ask(&get(&std::format!("/r/{number}"))).code(),
            expected
        );
    }
}

#[test]
fn what_is_wrong_with_a_resource_is_said_when_it_is_added() {
    let mut server = server();
    let at = |path: &str| Resource::at(path).get(says("ok")).access(Access::Public);
    let cases = [
        (Resource::at("/a"), ResourceError::NoMethod),
        (
            at("/a").on(Methods::GET | Methods::PUT, says("")),
            ResourceError::MethodTwice,
        ),
        (at("/a/.."), ResourceError::Path),
        (at("/./a"), ResourceError::Path),
        (at(&"x".repeat(256)), ResourceError::Path),
        (at("/a").host("no host"), ResourceError::HostName),
        (
            at("/a").attributes(Attributes::new().flag("a b")),
            ResourceError::Attribute,
        ),
        (
            at("/a").in_group("gp1"),
            ResourceError::UnknownApplicationGroup,
        ),
    ];
    for (resource, error) in cases {
        assert_eq!(server.add(resource), Err(error));
    }
    let longest = "x".repeat(255);
    server.add(at(&longest)).unwrap();
    assert_eq!(server.ask(&get(&longest)).text(), "ok");
}

#[test]
fn an_unrecognised_critical_option_is_answered_only_to_a_con() {
    let mut server = server();
    let (handler, count) = counted("x");
    server
        .add(Resource::at("/a").get(handler).access(Access::Public))
        .unwrap();
    let odd = OptionNumber(65_001);
    assert_eq!(
        server.ask(&get("/a").option(odd, b"")).code(),
        Code::BAD_OPTION
    );
    let reply = server.ask(&get("/a").non().option(odd, b""));
    assert_eq!(reply.silence(), SilenceReason::CriticalOption);
    assert!(reply.silence().rejects());
    assert_eq!(runs(&count), 0);
    let even = OptionNumber(65_002);
    assert_eq!(
        server.ask(&get("/a").option(even, b"anything")).code(),
        Code::CONTENT
    );
    assert_eq!(runs(&count), 1);
}

// Covers: GC-3.1-36
#[test]
fn an_unrecognised_critical_option_through_a_group_is_rejected_in_silence() {
    let mut server = server();
    let (handler, count) = counted("x");
    let policy = GroupPolicy::respond().answer(Class::ClientError);
    let resource = Resource::at("/a")
        .get(handler)
        .access(Access::Public)
        .group_policy(policy);
    server.add(resource).unwrap();
    let critical = get("/a").option(OptionNumber(65_001), b"");
    let reply = server.ask(&critical.clone().to(ALL_NODES));
    assert_eq!(reply.silence(), SilenceReason::CriticalOption);
    assert_eq!(runs(&count), 0);
    assert_eq!(server.counters().silenced(SilenceReason::CriticalOption), 1);
    assert_eq!(server.ask(&critical).code(), Code::BAD_OPTION);
    assert_eq!(server.ask(&get("/a").to(ALL_NODES)).code(), Code::CONTENT);
}

#[test]
fn malformed_and_repeated_options_count_as_unrecognised() {
    let mut server = server();
    server
        .add(open("/a").produces(ContentFormat::TEXT))
        .unwrap();
    let bad = [
        get("/a").option(OptionNumber::ACCEPT, &[1, 2, 3]),
        get("/a")
            .uint(OptionNumber::ACCEPT, 0)
            .uint(OptionNumber::ACCEPT, 0),
        get("/a").option(OptionNumber::URI_PATH, &[0xff]),
        get("/a").option(OptionNumber::IF_NONE_MATCH, b"x"),
        get("/a").option(OptionNumber::BLOCK1, &[0x07]),
        get("/a").option(OptionNumber::BLOCK2, &[0x07]),
        get("/a").option(OptionNumber::URI_HOST, b""),
        get("/a").option(OptionNumber::OSCORE, b""),
        get("/a").option(OptionNumber::Q_BLOCK1, b""),
        get("/a").option(OptionNumber::Q_BLOCK2, b""),
    ];
    for request in bad {
        assert_eq!(
            server.ask(&request).code(),
            Code::BAD_OPTION,
            "{:?}",
            request.options
        );
    }
    let ignored = [
        get("/a").option(OptionNumber::CONTENT_FORMAT, &[1, 2, 3]),
        get("/a").uint(OptionNumber::OBSERVE, 0),
        get("/a")
            .uint(OptionNumber::OBSERVE, 0)
            .uint(OptionNumber::OBSERVE, 1),
        get("/a").option(OptionNumber::NO_RESPONSE, &[0, 26]),
        get("/a").uint(OptionNumber::HOP_LIMIT, 16),
        get("/a").uint(OptionNumber::SIZE2, 0),
        get("/a").option(OptionNumber::ECHO, b"1234"),
        get("/a").uint(OptionNumber::URI_PORT, 5683),
    ];
    for request in ignored {
        assert_eq!(
            server.ask(&request).code(),
            Code::CONTENT,
            "{:?}",
            request.options
        );
    }
}

#[test]
fn a_resource_may_recognise_a_critical_option_of_its_own() {
    let mut server = server();
    let own = OptionNumber(2_051);
    server.add(open("/a").recognises(own)).unwrap();
    server.add(open("/b")).unwrap();
    assert_eq!(
        server.ask(&get("/a").option(own, b"x")).code(),
        Code::CONTENT
    );
    assert_eq!(
        server.ask(&get("/b").option(own, b"x")).code(),
        Code::BAD_OPTION
    );
    let another = get("/a").option(own, b"x").option(OptionNumber(2_053), b"");
    assert_eq!(server.ask(&another).code(), Code::BAD_OPTION);
}

#[test]
fn it_is_no_proxy() {
    let mut server = server();
    let policy = GroupPolicy::respond().answer(Class::ServerError);
    server.add(open("/a").group_policy(policy)).unwrap();
    let uri = get("/a").option(OptionNumber::PROXY_URI, b"coap://[ff02::fd]/a");
    let scheme = get("/a").option(OptionNumber::PROXY_SCHEME, b"coap");
    for request in [uri, scheme] {
        assert_eq!(server.ask(&request).code(), Code::PROXYING_NOT_SUPPORTED);
        assert_eq!(
            server.ask(&request.to(ALL_NODES)).silence(),
            SilenceReason::Proxy
        );
    }
}

#[test]
fn accept_and_content_format_are_held_against_what_is_declared() {
    let mut server = server();
    let cbor = |_: &Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::CBOR, &[0xf6])
    };
    let resource = Resource::at("/a")
        .get(cbor)
        .put(says(""))
        .produces(ContentFormat::CBOR)
        .produces(ContentFormat::JSON)
        .consumes(ContentFormat::CBOR)
        .access(Access::Unsecured);
    server.add(resource).unwrap();
    let accept = |format: ContentFormat| get("/a").uint(OptionNumber::ACCEPT, u32::from(format.0));
    assert_eq!(
        server.ask(&accept(ContentFormat::CBOR)).code(),
        Code::CONTENT
    );
    assert_eq!(
        server.ask(&accept(ContentFormat::TEXT)).code(),
        Code::NOT_ACCEPTABLE
    );
    // Declared, but this time it comes as CBOR.
    let reply = server.ask(&accept(ContentFormat::JSON));
    assert_eq!(reply.code(), Code::NOT_ACCEPTABLE);
    assert_eq!(reply.response().payload, b"");
    assert_eq!(reply.response().options.len(), 0);

    let put = |format: ContentFormat| {
        ask(Code::PUT, "/a")
            .uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0))
            .payload(b"\xf6")
    };
    assert_eq!(server.ask(&put(ContentFormat::CBOR)).code(), Code::CHANGED);
    assert_eq!(
        server.ask(&put(ContentFormat::JSON)).code(),
        Code::UNSUPPORTED_CONTENT_FORMAT
    );
    let unmarked = ask(Code::PUT, "/a").payload(b"\xf6");
    assert_eq!(
        server.ask(&unmarked).code(),
        Code::CHANGED,
        "a payload without Content-Format is taken for what is expected"
    );
    assert_eq!(server.ask(&ask(Code::PUT, "/a")).code(), Code::CHANGED);
}

#[test]
fn preconditions_are_held_against_the_present_tag() {
    let mut server = server();
    let (handler, count) = counted("");
    let id = server
        .add(Resource::at("/a").put(handler).access(Access::Unsecured))
        .unwrap();
    let matching = |tag: &[u8]| ask(Code::PUT, "/a").option(OptionNumber::IF_MATCH, tag);
    assert_eq!(server.ask(&matching(b"")).code(), Code::CHANGED);
    assert_eq!(
        server.ask(&matching(b"v1")).code(),
        Code::PRECONDITION_FAILED
    );
    assert!(server.set_etag(id, ETag::new(b"v1")));
    assert_eq!(server.ask(&matching(b"v1")).code(), Code::CHANGED);
    assert_eq!(
        server.ask(&matching(b"v2")).code(),
        Code::PRECONDITION_FAILED
    );
    let either = matching(b"v2").option(OptionNumber::IF_MATCH, b"v1");
    assert_eq!(server.ask(&either).code(), Code::CHANGED);
    let absent = ask(Code::PUT, "/a").option(OptionNumber::IF_NONE_MATCH, b"");
    assert_eq!(server.ask(&absent).code(), Code::PRECONDITION_FAILED);
    assert_eq!(runs(&count), 3);

    let (handler, count) = counted("");
    let own = Resource::at("/b")
        .put(handler)
        .access(Access::Unsecured)
        .evaluates_preconditions();
    server.add(own).unwrap();
    let request = ask(Code::PUT, "/b").option(OptionNumber::IF_MATCH, b"v9");
    assert_eq!(server.ask(&request).code(), Code::CHANGED);
    assert_eq!(runs(&count), 1);
}

#[test]
fn a_tag_that_the_client_has_is_answered_with_valid() {
    let mut server = server();
    let tagged = |_: &Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::TEXT, b"body");
        response.options.push(OptionNumber::ETAG, b"tag2");
    };
    let resource = Resource::at("/a")
        .get(tagged)
        .post(tagged)
        .access(Access::Unsecured);
    server.add(resource).unwrap();
    let known = get("/a")
        .option(OptionNumber::ETAG, b"tag")
        .option(OptionNumber::ETAG, b"tag2");
    let reply = server.ask(&known);
    assert_eq!((reply.code(), reply.text()), (Code::VALID, ""));
    assert_eq!(
        reply.response().options.get(OptionNumber::CONTENT_FORMAT),
        None
    );
    assert_eq!(
        reply.response().options.get(OptionNumber::ETAG),
        Some(&b"tag2"[..])
    );
    let other = server.ask(&get("/a").option(OptionNumber::ETAG, b"tag"));
    assert_eq!((other.code(), other.text()), (Code::CONTENT, "body"));
    let post = server.ask(&ask(Code::POST, "/a").option(OptionNumber::ETAG, b"tag2"));
    assert_eq!((post.code(), post.text()), (Code::CHANGED, "body"));
}

#[test]
fn a_handler_may_have_nothing_to_say_and_must_say_a_response() {
    let mut server = server();
    let quiet = |_: &Incoming<'_>, response: &mut Response| response.code = Code::EMPTY;
    let nonsense = |_: &Incoming<'_>, response: &mut Response| response.code = Code::GET;
    server
        .add(Resource::at("/quiet").get(quiet).access(Access::Public))
        .unwrap();
    server
        .add(
            Resource::at("/nonsense")
                .get(nonsense)
                .access(Access::Public),
        )
        .unwrap();
    let reply = server.ask(&get("/quiet"));
    assert_eq!(reply.silence(), SilenceReason::Handler);
    assert!(!reply.silence().rejects());
    assert_eq!(
        server.ask(&get("/nonsense")).code(),
        Code::INTERNAL_SERVER_ERROR
    );
}

#[test]
fn a_deferred_response_meets_the_same_policy() {
    let mut server = server();
    let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(2)));
    let resource = Resource::at("/slow")
        .deferred(Methods::GET)
        .put(says(""))
        .access(Access::Unsecured)
        .group_policy(policy);
    let id = server.add(resource).unwrap();
    let reply = server.ask(&get("/slow").to(ALL_NODES));
    let Disposition::Deferred(deferred) = reply.disposition else {
        panic!("{:?}", reply.disposition);
    };
    let Deferred {
        resource,
        arrival,
        context,
        assembled,
    } = *deferred;
    assert_eq!(assembled, None);
    assert_eq!(resource, id);
    assert_eq!(arrival.at, NOW);
    assert!(arrival.is_group());
    assert_eq!(server.counters().handled, 1);
    let mut response = Response::new(Code::NOT_FOUND);
    assert_eq!(
        server.finish(NOW, &context, &mut response),
        Disposition::Silence(SilenceReason::Policy)
    );
    let mut response = Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, b"late");
    let Disposition::Respond { leisure, port } = server.finish(NOW, &context, &mut response) else {
        panic!("no response");
    };
    assert!(leisure <= Duration::from_secs(2));
    assert_eq!(port, 5683);
    assert_eq!(server.counters().silenced(SilenceReason::Policy), 1);
    assert_eq!(server.counters().responses, 1);

    let reply = server.ask(&get("/slow").no_response(NoResponse::SUCCESS));
    let Disposition::Deferred(deferred) = reply.disposition else {
        panic!("{:?}", reply.disposition);
    };
    let context = deferred.context;
    assert_eq!(
        server.finish(NOW, &context, &mut Response::new(Code::CONTENT)),
        Disposition::Silence(SilenceReason::NoResponse)
    );
}

#[test]
fn a_handler_sees_the_message_and_how_it_arrived() {
    let mut server = server();
    let seen = |request: &Incoming<'_>, response: &mut Response| {
        assert_eq!(request.method(), Code::POST);
        assert_eq!(request.payload(), b"body");
        assert_eq!(request.query().collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!(request.arrival.path.peer, address("[fe80::99]:61616"));
        assert_eq!(request.arrival.group, None);
        assert_eq!(request.application_group(), None);
        response.code = Code::CREATED;
    };
    server
        .add(Resource::at("/a").post(seen).access(Access::Unsecured))
        .unwrap();
    let request = ask(Code::POST, "/a?a=1&b=2").payload(b"body");
    assert_eq!(server.ask(&request).code(), Code::CREATED);
}
