//! What a server says of itself, and formats and Echo values to the second.

use super::*;

#[test]
fn a_server_tells_how_it_is_set_up() {
    let mut server = Server::with(ServerConfig {
        mtu: 777,
        ..unsecured()
    });
    assert_eq!(server.config().mtu, 777);
    assert_eq!(server.config().nosec, NoSecPolicy::Stated);
    server.set_leisure(Leisure::Fixed(Duration::from_secs(9)));
    let leisure = server.config().leisure;
    assert_eq!(leisure, Some(Leisure::Fixed(Duration::from_secs(9))));
    let resources = server.resources.len();
    server.add(open("/a")).unwrap();
    let text = std::format!("{server:?}");
    assert!(
        text.starts_with("Server { config: ServerConfig {"),
        "{text}"
    );
    assert!(text.contains("mtu: 777"), "{text}");
    let resources = std::format!(", resources: {}, counters: ", resources + 1);
    assert!(
        text.contains(&resources) && text.ends_with(", .. }"),
        "{text}"
    );
    let addresses = [address("192.0.2.1:5683"), address("[2001:db8::1]:5684")];
    assert_eq!(server.addresses(), []);
    server.set_addresses(addresses);
    assert_eq!(server.addresses(), addresses);
}

#[test]
fn an_echo_value_is_good_in_its_minute_and_the_next_one() {
    for made in [60, 61, 95, 119] {
        for back in [60, 61, 95, 118, 119, 120, 121, 155, 178, 179, 180, 181, 240] {
            if back < made {
                continue;
            }
            let mut server = Server::with(ServerConfig {
                unproven_reachability: Reachability::Required,
                ..unsecured()
            });
            server.add(open("/lamp")).unwrap();
            let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
            let first = server.ask_at(at(made), &get("/lamp"));
            let value = first.response().options.get(OptionNumber::ECHO).unwrap();
            let again = get("/lamp").option(OptionNumber::ECHO, value);
            let code = match back < 180 {
                true => Code::CONTENT,
                false => Code::UNAUTHORIZED,
            };
            assert_eq!(
                server.ask_at(at(back), &again).code(),
                code,
                "{made} {back}"
            );
        }
    }
}

#[test]
fn a_format_that_is_not_declared_is_refused_before_the_handler_runs() {
    let mut server = server();
    let (handler, count) = counted("text");
    let declared = Resource::at("/declared")
        .get(handler)
        .produces(ContentFormat::TEXT);
    let (handler, free) = counted("text");
    let undeclared = Resource::at("/free").get(handler);
    for resource in [declared, undeclared] {
        server.add(resource.access(Access::Unsecured)).unwrap();
    }
    let accepting = |at| get(at).uint(OptionNumber::ACCEPT, u32::from(ContentFormat::CBOR.0));
    let refused = server.ask(&accepting("/declared"));
    assert_eq!((refused.code(), runs(&count)), (Code::NOT_ACCEPTABLE, 0));
    // Whoever declares nothing may have it. A payload without format is not held against Accept.
    let given = server.ask(&accepting("/free"));
    assert_eq!((given.code(), runs(&free)), (Code::CONTENT, 1));
    assert_eq!(given.text(), "text");
}

#[test]
fn only_a_representation_is_held_against_accept() {
    let mut server = server();
    let says = |code: Code| {
        move |_: &Incoming<'_>, response: &mut Response| {
            response.code = code;
            response.set_payload(ContentFormat::TEXT, b"why");
            response.code = code;
        }
    };
    for (at, code) in [("/content", Code::CONTENT), ("/bad", Code::BAD_REQUEST)] {
        let resource = Resource::at(at).get(says(code)).post(says(code));
        server.add(resource.access(Access::Unsecured)).unwrap();
    }
    for (method, at, code) in [
        (Code::GET, "/content", Code::NOT_ACCEPTABLE),
        (Code::GET, "/bad", Code::BAD_REQUEST),
        (Code::POST, "/content", Code::CONTENT),
        (Code::POST, "/bad", Code::BAD_REQUEST),
    ] {
        let asked = ask(method, at).uint(OptionNumber::ACCEPT, u32::from(ContentFormat::CBOR.0));
        let reply = server.ask(&asked);
        assert_eq!(reply.code(), code, "{method:?} {at}");
        let text = if code == Code::NOT_ACCEPTABLE {
            ""
        } else {
            "why"
        };
        assert_eq!(reply.text(), text);
    }
}
