//! New keys while servers and clients run, and leaving.

use antiphon::oscore::Settings;
use antiphon::proto::NotProtected;
use antiphon::security_group::Update;
use antiphon::{AsyncResource as _, Response};

use super::*;

/// The keys of that generation for members 0 to `last`, without `me`.
fn generation(generation: u64, me: u8, last: u8) -> SecurityGroupBuilder {
    let group = SecurityGroup::builder("lights")
        .generation(generation)
        .gid([0x0d, generation as u8])
        .master_secret(Secret::copy_of(&[generation as u8; 16]));
    let others = (0..=last).filter(|n| *n != me);
    others.fold(group, |group, n| group.peer([n], credential(n)))
}

/// Who answers a question to the group, by name.
async fn answer(client: &Client, place: &Place, group: &SecurityGroup) -> Vec<String> {
    let call = client.group(&place.uri()).unwrap().get().secure(group);
    let call = call.expect(group.expect_all()).leisure(LEISURE);
    let mut answers = call.collect_for(SILENCE).send().await.unwrap();
    let mut names = Vec::new();
    while let Some(answer) = answers.answer().await {
        names.push(group.identify(&answer.sender).unwrap().name());
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_group_gets_new_keys_while_it_is_used_and_whoever_is_expelled_is_out() {
    let place = Place::new();
    let (mut servers, mut groups) = (Vec::new(), Vec::new());
    for n in 1..=2 {
        let group = lights(n, 2).volatile().unwrap();
        servers.push(place.run(n, &group).await);
        groups.push(group);
    }
    let mut state = open_state(&place.file(0)).unwrap();
    let asker = lights(CLIENT, 2).create(&mut state).unwrap();
    drop(state);
    let client = place.client().await;
    assert_eq!(answer(&client, &place, &asker).await, ["lamp-1", "lamp-2"]);

    // Lamp 2 gets nothing.
    let update = asker.install(generation(1, CLIENT, 1)).await.unwrap();
    assert_eq!(update, Update::NewKeys);
    groups[0].install(generation(1, 1, 1)).await.unwrap();
    assert_eq!(answer(&client, &place, &asker).await, ["lamp-1"]);
    assert!(asker.member("lamp-2").is_none());
    let lamp = asker.member("lamp-1").unwrap();
    let reply = client.one(&place.uri_of(1)).unwrap().get().secure(&lamp);
    assert_eq!(
        text(&reply.send().await.unwrap().response.payload),
        "member 1"
    );
    // What it says under the old keys is not heard, and it hears nothing.
    let expelled = groups[1].member("asker").unwrap();
    let other = servers[1].client();
    let asked = other.one(&place.uri_of(1)).unwrap().get();
    let mut transmission = Transmission::default();
    transmission
        .set_ack_timeout(Duration::from_millis(50))
        .unwrap();
    other.set_transmission(transmission).await.unwrap();
    let _ = expelled;
    let unheard = asked.secure(&groups[1]).send().await;
    assert!(unheard.is_err(), "{unheard:?}");

    client.close().await;
    drop((client, asker, lamp));
    assert_eq!(stored(&place.file(0)).generation(), 1);
}

#[tokio::test]
async fn a_request_that_is_under_way_is_answered_across_new_keys_where_old_ones_are_retained() {
    let place = Place::new();
    let settings = Settings {
        retention: Duration::from_secs(60),
        ..Settings::default()
    };
    let lamp = lights(1, 1).settings(settings).volatile().unwrap();
    let (go, gone) = tokio::sync::watch::channel(false);
    let waits = move |_| {
        let mut gone = gone.clone();
        async move {
            let _ = gone.wait_for(|gone| *gone).await;
            Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, b"after all")
        }
    };
    let slow = Resource::at("/slow").get_async(waits);
    let server = place.server(1, &lamp).resource(slow);
    let server = server.build().await.unwrap().spawn();
    let asker = lights(CLIENT, 1).settings(settings).volatile().unwrap();
    let client = place.client().await;
    let uri = format!("coap://{}/slow", place.address(1));
    let call = client.one(&uri).unwrap().get();
    let call = call.secure(&asker.member("lamp-1").unwrap());
    let reply = tokio::spawn(call.send());
    let counted = || async { server.handle.counters().await.unwrap().endpoint };
    while counted().await.requests < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lamp.install(generation(1, 1, 1)).await.unwrap();
    asker.install(generation(1, CLIENT, 1)).await.unwrap();
    go.send(true).unwrap();
    let reply = reply.await.unwrap().unwrap();
    assert_eq!(text(&reply.response.payload), "after all");
    assert_eq!(reply.signer().unwrap().subject(), Some("lamp-1"));
}

// Covers: GO-5.1-03
#[tokio::test]
async fn leaving_ends_what_was_asked_and_no_late_answer_is_taken() {
    let place = Place::new();
    let lamp = lights(1, 1).volatile().unwrap();
    let (go, gone) = tokio::sync::watch::channel(false);
    let waits = move |_| {
        let mut gone = gone.clone();
        async move {
            let _ = gone.wait_for(|gone| *gone).await;
            Response::new(Code::CONTENT)
        }
    };
    let slow = Resource::at("/slow").get_async(waits);
    let server = place.server(1, &lamp).resource(slow);
    let server = server.build().await.unwrap().spawn();
    let mut state = open_state(&place.file(0)).unwrap();
    let asker = lights(CLIENT, 1).create(&mut state).unwrap();
    drop(state);
    let client = place.client().await;
    let uri = format!("coap://{}/slow", place.address(1));
    let call = client.one(&uri).unwrap().get();
    let reply = tokio::spawn(call.secure(&asker.member("lamp-1").unwrap()).send());
    // The first is challenged: what is answered late could go to a forged address.
    while server.handle.counters().await.unwrap().endpoint.requests < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asker.leave().await.unwrap();
    let left = reply.await.unwrap();
    let why = OneError::Failed(Failure::NotProtected(NotProtected::Left));
    assert_eq!(left.unwrap_err().to_string(), why.to_string());
    let counted = || async { client.counters().await.unwrap() };
    assert_eq!(counted().await.load.exchanges, 0, "the token is free");
    go.send(true).unwrap();
    while counted().await.endpoint.unmatched == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        counted().await.endpoint.security.responses,
        1,
        "the challenge"
    );
    let again = client.one(&uri).unwrap().get().secure(&asker).send().await;
    assert!(matches!(
        again,
        Err(OneError::Security(SecurityError::Left { .. }))
    ));
    client.close().await;
    drop((client, asker));
    let mut state = open_state(&place.file(0)).unwrap();
    let none = SecurityGroup::open(&mut state, "lights");
    assert!(matches!(none, Err(SecurityError::Unknown { .. })));
}

#[tokio::test]
async fn an_application_group_is_ready_when_its_contexts_are_loaded_and_no_more_when_they_are_left()
{
    let place = Place::new();
    let group = lights(1, 1).volatile().unwrap();
    let name = antiphon::SecurityGroupName::new("lights").unwrap();
    let server = place
        .server(1, &group)
        .application(
            "floor",
            antiphon::Naming::default(),
            antiphon::Attributes::new(),
        )
        .application_security("floor", vec![name]);
    let server = server.build().await.unwrap().spawn();
    let missing = || async { server.handle.missing_contexts("floor").await.unwrap() };
    assert_eq!(missing().await, []);
    group.leave().await.unwrap();
    assert_eq!(missing().await.len(), 1);
}
