//! Asking a group for the address of one of its members.

use super::*;
use crate::{MEMBER_ADDRESS, MEMBER_ADDRESS_TYPE};

/// Both servers offer it.
fn offering() -> World {
    let mut world = world();
    for node in [LAMP, BELL] {
        let server = world.nodes[node].endpoint.server_mut();
        server
            .add(Resource::member_address(MEMBER_ADDRESS))
            .unwrap();
    }
    world
}

fn wanted(world: &World, query: &[&str]) -> GroupRequest {
    let mut request = Request::new(Code::GET).path("member-address");
    for item in query {
        request = request.query(item);
    }
    GroupRequest {
        request,
        ..question(world, "t")
    }
}

/// What the group says to that: who, and with which links.
fn links(world: &mut World, query: &[&str]) -> Vec<(Sender, alloc::string::String)> {
    world.forget_sent();
    let request = wanted(world, query);
    world.ask_group(request);
    world.pass(Duration::from_secs(60));
    let answers = world.answers();
    answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.response.code, Code::CONTENT);
            let format = answer
                .response
                .options
                .get(antiphon_wire::OptionNumber::CONTENT_FORMAT);
            assert_eq!(format, Some(&[40][..]));
            let text = alloc::string::String::from_utf8(answer.response.payload.clone());
            (answer.sender.clone(), text.unwrap())
        })
        .collect()
}

// Covers: GO-8.1-02
#[test]
fn only_the_member_of_that_sender_id_says_where_it_is() {
    let mut world = offering();
    for (node, link) in [
        (LAMP, "<coap://10.0.0.1:5683>;kid=51"),
        (BELL, "<coap://10.0.0.2:5683>;kid=52"),
    ] {
        let query = alloc::format!("kid={}", kid(node));
        let told = links(&mut world, &[&query]);
        assert_eq!(told, [(proven(node), link.into())]);
        let other = LAMP + BELL - node;
        assert!(
            world.from(other).is_empty(),
            "the others say nothing at all"
        );
        assert!(world.from(node).iter().all(|it| it.is_protected()));
    }
    let mut both = links(&mut world, &["kid=51", "other=1", "kid=52", "kid=53"]);
    both.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(both.len(), 2);
    for query in [&["kid=53"][..], &["kid="], &["kid=5"], &["KID=51"], &[]] {
        assert_eq!(links(&mut world, query), [], "{query:?}");
    }
}

#[test]
fn by_unicast_the_address_is_the_one_that_was_asked_and_somebody_elses_is_not_found() {
    let mut world = offering();
    let ask = |world: &mut World, query: &[&str], protection: Protection| {
        world.forget_sent();
        let unicast = request_to(LAMP, "member-address", protection);
        let mut request = unicast.request;
        for item in query {
            request = request.query(item);
        }
        world.ask(UnicastRequest { request, ..unicast });
        let (response, _) = world.response().unwrap();
        (response.code, response.payload.clone())
    };
    let link = b"<coap://10.0.0.1:5683>;kid=51".to_vec();
    let pairwise = to_member(&world, LAMP);
    let in_group_mode = Protection::Group(world.group());
    // A request in pairwise mode is for whoever opens it.
    let found = (Code::CONTENT, link);
    assert_eq!(ask(&mut world, &[], pairwise.clone()), found);
    assert_eq!(ask(&mut world, &["kid=51"], pairwise.clone()), found);
    assert_eq!(ask(&mut world, &["kid=51"], in_group_mode.clone()), found);
    for (query, protection) in [
        (&["kid=52"][..], pairwise),
        (&["kid=52"], in_group_mode.clone()),
        (&[], in_group_mode),
    ] {
        let not_found = (Code::NOT_FOUND, Vec::new());
        assert_eq!(ask(&mut world, query, protection), not_found, "{query:?}");
    }
    // Without proof nobody learns anything.
    let (code, _) = ask(&mut world, &["kid=51"], Protection::None);
    assert_eq!(code, Code::UNAUTHORIZED);
}

#[test]
fn members_that_are_not_meant_do_not_even_challenge() {
    let config = EndpointConfig::default();
    let mut world = world_with(Modes::Both, Settings::default(), config);
    for node in [LAMP, BELL] {
        let server = world.nodes[node].endpoint.server_mut();
        server
            .add(Resource::member_address(MEMBER_ADDRESS))
            .unwrap();
    }
    let told = links(&mut world, &["kid=52"]);
    assert_eq!(told.len(), 1, "after the address of the client was proven");
    assert!(world.from(LAMP).is_empty());
    assert_eq!(world.nodes[BELL].counters().challenges, 1);
}

#[test]
fn it_is_off_unless_somebody_offers_it_and_then_it_is_found() {
    let mut world = world();
    assert_eq!(links(&mut world, &["kid=51"]), []);
    assert!(world.from(LAMP).is_empty());
    let mut world = offering();
    let server = world.nodes[LAMP].endpoint.server_mut();
    let error = server.add(Resource::member_address("/open").access(crate::Access::Unsecured));
    assert_eq!(error, Err(crate::ResourceError::SensitiveWithoutSecurity));
    let ask = request_to(LAMP, ".well-known/core", to_member(&world, LAMP));
    world.ask(UnicastRequest {
        request: Request::new(Code::GET)
            .path(".well-known/core")
            .query(&alloc::format!("rt={MEMBER_ADDRESS_TYPE}")),
        ..ask
    });
    let (response, _) = world.response().unwrap();
    let link = b"</member-address>;rt=antiphon.member-address;ct=40";
    assert_eq!(response.payload, link);
}
