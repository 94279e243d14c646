//! Entity tags: which a server gives, and which it understands.

use super::*;

use antiphon_wire::MultiEtag;

const GROUP: &str = "[ff05::a]:5683";
const OWN: &str = "[2001:db8::1]:5685";

/// A member of a group with `/a`, whose tag is its own affair, and `/made`, whose tag the server makes.
fn tagged(seed: u8) -> Server {
    let mut server = Server::new(unsecured(), &mut Rng::from_seed([seed; 32]));
    let group = CoapGroupSpec::new(address(GROUP)).on(2).unsecured();
    server.memberships.create(group).unwrap();
    let own = |_: &Incoming<'_>, response: &mut Response| {
        response.options.push(OptionNumber::ETAG, b"tag");
        response.set_payload(ContentFormat::TEXT, b"body");
    };
    // 2.05 is what a GET is answered with.
    let read = move |request: &Incoming<'_>, response: &mut Response| {
        response.code = Code::CONTENT;
        own(request, response);
    };
    let bare = |request: &Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::TEXT, request.message.payload());
    };
    let open = |resource: Resource| {
        resource
            .access(Access::Unsecured)
            .group_policy(GroupPolicy::respond().amplification(Amplification::Unlimited))
    };
    for resource in [
        Resource::at("/a").get(own).fetch(own).put(own).post(read),
        Resource::at("/made")
            .get(bare)
            .fetch(bare)
            .post(bare)
            .tagged(),
    ] {
        server.add(open(resource)).unwrap();
    }
    server.set_addresses([address("[2001:db8::1%7]:5685"), address("192.0.2.1:5683")]);
    server
}

fn multi(server: &str, tags: &[&[u8]]) -> Vec<u8> {
    let mut value = vec![0; 100];
    let len = MultiEtag::write(address(server), tags, &mut value).unwrap();
    value.truncate(len);
    value
}

impl Ask {
    fn multi(self, server: &str, tags: &[&[u8]]) -> Self {
        self.option(OptionNumber::MULTI_ETAG, &multi(server, tags))
    }
}

fn etag(reply: &Reply) -> Option<Vec<u8>> {
    let tag = reply.response().options.get(OptionNumber::ETAG);
    tag.map(<[u8]>::to_vec)
}

// Covers: GN-3.2.2-05, GC-3.2.2.3-05
#[test]
fn a_group_request_with_the_tag_is_answered_with_valid() {
    let mut server = tagged(1);
    for method in [Code::GET, Code::FETCH] {
        for by_group in [true, false] {
            let request = match by_group {
                true => ask(method, "/a").to(GROUP),
                false => ask(method, "/a"),
            };
            for known in [
                request.clone().option(OptionNumber::ETAG, b"tag"),
                request.clone().multi(OWN, &[b"old", b"tag"]),
                request.clone().multi("192.0.2.1:5683", &[b"tag"]),
                // others are asked with the same request
                request
                    .clone()
                    .multi("192.0.2.2:5683", &[b"x"])
                    .multi(OWN, &[b"tag"]),
            ] {
                let reply = server.ask(&known);
                assert_eq!((reply.code(), reply.text()), (Code::VALID, ""));
                assert_eq!(etag(&reply), Some(b"tag".to_vec()));
            }
        }
    }
    // By unicast the address that the request came to is the server's, whatever it was told.
    let here = get("/a").multi("[fe80::1]:5683", &[b"tag"]);
    assert_eq!(server.ask(&here).code(), Code::VALID);
    // The null port is 5683, at a server that is there.
    let mut null = vec![0x83];
    null.extend_from_slice(&multi("192.0.2.1:5683", &[b"tag"])[1..10]);
    null.push(0xf6);
    null.extend_from_slice(b"\x43tag");
    let null = get("/a").to(GROUP).option(OptionNumber::MULTI_ETAG, &null);
    assert_eq!(server.ask(&null).code(), Code::VALID);
}

// Covers: GC-3.2.2.3-01, GC-3.2.2.3-02, GC-3.2.2.3-03
#[test]
fn tags_that_do_not_count_are_as_if_they_were_not_there() {
    let mut server = tagged(1);
    let request = get("/a").to(GROUP);
    let mut short = multi(OWN, &[b"tag"]);
    short.pop();
    for ignored in [
        request.clone().option(OptionNumber::ETAG, b"old"),
        // both kinds
        request
            .clone()
            .option(OptionNumber::ETAG, b"tag")
            .multi(OWN, &[b"tag"]),
        // twice, and twice under two of its addresses
        request.clone().multi(OWN, &[b"tag"]).multi(OWN, &[b"tag"]),
        request
            .clone()
            .multi(OWN, &[b"tag"])
            .multi("192.0.2.1:5683", &[b"tag"]),
        // another address, another port
        request.clone().multi("[2001:db8::2]:5685", &[b"tag"]),
        request.clone().multi("[2001:db8::1]:5683", &[b"tag"]),
        // malformed
        request.clone().option(OptionNumber::MULTI_ETAG, &short),
        request.clone().option(OptionNumber::MULTI_ETAG, b""),
    ] {
        let reply = server.ask(&ignored);
        assert_eq!((reply.code(), reply.text()), (Code::CONTENT, "body"));
    }
    // A malformed one takes nothing from one that is well-formed.
    let both = request
        .clone()
        .option(OptionNumber::MULTI_ETAG, &short)
        .multi(OWN, &[b"tag"]);
    assert_eq!(server.ask(&both).code(), Code::VALID);
    // In methods that are neither GET nor FETCH, also where the answer looks like that to a GET.
    for (method, code) in [(Code::PUT, Code::CHANGED), (Code::POST, Code::CONTENT)] {
        let request = ask(method, "/a").to(GROUP).multi(OWN, &[b"tag"]);
        let reply = server.ask(&request);
        assert_eq!((reply.code(), reply.text()), (code, "body"));
    }
}

// Covers: GN-3.2.2-06
#[test]
fn the_tags_that_two_servers_make_differ() {
    let (mut one, mut other) = (tagged(1), tagged(2));
    let fetch = |payload: &[u8]| {
        let mut fetch = ask(Code::FETCH, "/made").to(GROUP);
        fetch.payload = payload.to_vec();
        fetch
    };
    let tag = etag(&one.ask(&fetch(b"22.3"))).unwrap();
    assert_eq!(tag.len(), 8);
    assert_eq!(etag(&one.ask(&fetch(b"22.3"))).as_ref(), Some(&tag));
    assert_ne!(etag(&one.ask(&fetch(b"22.4"))).as_ref(), Some(&tag));
    assert_ne!(etag(&other.ask(&fetch(b"22.3"))).as_ref(), Some(&tag));
    let known = fetch(b"22.3").option(OptionNumber::ETAG, &tag);
    assert_eq!(one.ask(&known).code(), Code::VALID);
    assert_eq!(other.ask(&known).code(), Code::CONTENT);
    // Only a representation has a tag.
    let post = one.ask(&ask(Code::POST, "/made"));
    assert_eq!((post.code(), etag(&post)), (Code::CHANGED, None));
}
