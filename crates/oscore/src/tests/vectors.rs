//! Every recorded message, made and opened again.

use super::floor::*;
use crate::nonce::PartialIv;
use crate::option::OscoreOption;
use crate::test_vectors::*;

/// A member of a recorded group, that has received nothing yet.
pub(super) fn recorded(file: &Value, name: &str) -> One {
    let group = &file["group"];
    let parameters = Parameters {
        gid: Gid::new(&bytes(group, "gid")).unwrap(),
        generation: 1,
        master_secret: secret(group, "master_secret"),
        master_salt: secret(group, "master_salt"),
        suite: suite(group),
        format: CredentialFormat::Ccs,
        gm_credential: crate::GroupManagerCredential::configured_by_hand(bytes(group, "gm_cred")),
    };
    let settings = Settings {
        // As aiocoap does.
        kid_in_pairwise_responses: true,
        ..Settings::default()
    };
    let credential =
        |member: &Value| Credential::import(CredentialFormat::Ccs, &bytes(member, "cred")).unwrap();
    let id = |member: &Value| Kid::new(&bytes(member, "sender_id")).unwrap();
    let own = member(file, name);
    let own_part = Own {
        sender_id: id(own),
        credential: credential(own),
        sequence: sequence(),
    };
    let mut group = Group::new("recorded", parameters, Some(own_part), settings, None).unwrap();
    for peer in list(file, "members") {
        if peer["name"] != name {
            group.add_peer(id(peer), credential(peer)).unwrap();
        }
    }
    let mut contexts = Contexts::new();
    let group = contexts.add_group(group);
    One {
        contexts,
        group,
        key: private_key(file, own),
        now: seconds(1),
    }
}

fn number(option: &[u8]) -> Option<PartialIv> {
    OscoreOption::parse(option).unwrap().partial_iv
}

type Options = Vec<(OptionNumber, Vec<u8>)>;

/// Everything of a message that this test compares: the outer Observe value is free (RFC 8613, section 4.1.3.5.2), and the
/// value of a notification is made of its Partial IV.
fn essence(bytes: &[u8]) -> (Code, Options, Vec<u8>) {
    let message = Message::parse(bytes).unwrap();
    let options = message.options().map(|option| match option.number {
        OptionNumber::OBSERVE => (option.number, vec![]),
        number => (number, option.value.to_vec()),
    });
    (
        message.code(),
        options.collect(),
        message.payload().to_vec(),
    )
}

fn header(bytes: &[u8]) -> (Type, MessageId, Token) {
    let message = Message::parse(bytes).unwrap();
    (message.kind(), message.message_id(), message.token())
}

fn protected_as_recorded(file: &Value, case: &Value, made: &[u8]) {
    let label = label(file, case);
    let expected = bytes(case, "protected_coap");
    assert_eq!(header(made), header(&expected), "{label}");
    let (mut made, mut expected) = (essence(made), essence(&expected));
    if file["protected_bytes_reproducible"] == false && text(case, "mode") == "group" {
        // The countersignature is another one each time.
        for payload in [&mut made.2, &mut expected.2] {
            payload.truncate(payload.len() - 64);
        }
    }
    assert_eq!(made, expected, "{label}");
}

#[test]
fn recorded_group_messages_are_made_and_opened() {
    let mut seen = 0;
    for file in groups() {
        let names = list(&file, "members").iter();
        let names: Vec<&str> = names.map(|member| text(member, "name")).collect();
        let mut members: Vec<One> = names.iter().map(|name| recorded(&file, name)).collect();
        let index = |name: &str| names.iter().position(|it| *it == name).unwrap();
        let cases = list(&file, "cases");
        // Of each request: what its client keeps, and what each server keeps.
        let mut asked: Vec<Option<Asked>> = cases.iter().map(|_| None).collect();
        let mut received: Vec<Vec<Option<Received>>> = cases
            .iter()
            .map(|_| names.iter().map(|_| None).collect())
            .collect();
        for (at, case) in cases.iter().enumerate() {
            let label = label(&file, case);
            let (plain, recorded) = (bytes(case, "plain_coap"), bytes(case, "protected_coap"));
            let plain_message = Message::parse(&plain).unwrap();
            let sender = index(text(case, "sender"));
            let receivers = list(case, "receivers").iter();
            let receivers: Vec<usize> = receivers
                .map(|name| index(name.as_str().unwrap()))
                .collect();
            let mode = match text(case, "mode") {
                "group" => Mode::Group,
                _ => Mode::Pairwise,
            };
            let piv = number(&bytes(case, "oscore_option"));
            if text(case, "kind") == "request" {
                let to = match mode {
                    Mode::Group => To::Group,
                    _ => To::Member(members[receivers[0]].group().sender_id().unwrap()),
                };
                let id = members[sender].group.into();
                let protected = members[sender].protect(|it, now| {
                    it.protect_request_numbered(now, id, &plain_message, to, piv.unwrap())
                });
                let protected = protected.unwrap();
                protected_as_recorded(&file, case, &protected.bytes);
                asked[at] = protected.asked;
                for receiver in receivers {
                    let opened = members[receiver].hear(&recorded).unwrap();
                    assert_eq!(opened.message, plain, "{label}");
                    assert_eq!(opened.mode, mode, "{label}");
                    assert_eq!(
                        opened.sender.credential(),
                        bytes(member(&file, names[sender]), "cred")
                    );
                    received[at][receiver] = Some(opened.received);
                }
            } else {
                let request = case["request"].as_u64().unwrap() as usize;
                let to_it = received[request][sender].as_mut().unwrap();
                let protected = members[sender].protect(|it, now| {
                    it.protect_response_numbered(now, &plain_message, to_it, Some(mode), piv)
                });
                protected_as_recorded(&file, case, &protected.unwrap().bytes);
                for receiver in receivers {
                    let asked = asked[request].as_mut().unwrap();
                    // Several answers to a request for one answer: each as if it were the only one.
                    asked.answered = false;
                    let opened = members[receiver].listen(&recorded, asked).unwrap();
                    assert_eq!(essence(&opened.message), essence(&plain), "{label}");
                    assert_eq!(header(&opened.message), header(&plain), "{label}");
                    assert_eq!(opened.mode, mode, "{label}");
                }
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 7 * 18);
}

#[test]
fn recorded_forgeries_are_refused_each_for_its_own_reason() {
    let mut seen = 0;
    for file in groups() {
        for case in list(&file, "negative") {
            let label = label(&file, case);
            let mut receiver = recorded(&file, text(case, "receiver"));
            let base = &list(&file, "cases")[case["base"].as_u64().unwrap() as usize];
            let forged = bytes(case, "protected_coap");
            let raw = option(&forged);
            let known = OscoreOption::parse(&raw)
                .ok()
                .and_then(|option| receiver.group().peer(Kid::new(option.kid?)?).map(|_| ()));
            let expected = match text(case, "label") {
                "replay of the base" => {
                    receiver.hear(&forged).unwrap();
                    Reason::Replayed
                }
                "payload shortened to 63 bytes" | "reserved flag 0x40 set" => Reason::Malformed,
                "kid changed" if known.is_none() => Reason::NoContext,
                "Gid changed" => Reason::NoContext,
                _ => Reason::NotVerified,
            };
            assert_eq!(receiver.hear(&forged).unwrap_err(), expected, "{label}");
            if expected != Reason::Replayed {
                // Nothing has moved: the genuine one is still welcome.
                assert!(
                    receiver.hear(&bytes(base, "protected_coap")).is_ok(),
                    "{label}"
                );
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 7 * 10);
}

/// The two ends of a recorded plain context, seen from the one with this Sender ID.
fn pair(vector: &Value, sender: &str, recipient: &str, aead: i32) -> (Contexts, PairId) {
    let gid = vector["id_context"]
        .as_str()
        .map(|_| bytes(vector, "id_context"));
    let parameters = PairParameters {
        master_secret: secret(vector, "master_secret"),
        master_salt: secret(vector, "master_salt"),
        id_context: gid.as_deref().and_then(Gid::new),
        sender_id: Kid::new(&hex(sender)).unwrap(),
        recipient_id: Kid::new(&hex(recipient)).unwrap(),
        hkdf: hash(vector),
        aead: crate::suite::Aead::from_id(aead).unwrap(),
    };
    let settings = PairSettings {
        send_id_context: true,
        ..PairSettings::default()
    };
    let pair = Pair::new("recorded", &parameters, sequence(), settings).unwrap();
    let mut contexts = Contexts::new();
    let id = contexts.add_pair(pair);
    (contexts, id)
}

fn done(protecting: Protecting) -> Protected {
    match protecting {
        Protecting::Done(protected) => protected,
        other => panic!("{other:?}"),
    }
}

fn opened(step: Step<Opened>) -> OpenedRequest {
    match step {
        Step::Done(Opened::Request(opened)) => opened,
        other => panic!("{other:?}"),
    }
}

#[test]
fn recorded_plain_messages_are_made_and_opened() {
    let file = oscore_single();
    let mut seen = 0;
    for vector in list(&file, "vectors") {
        let aead = vector["alg_value"].as_i64().unwrap() as i32;
        let (client_id, server_id) = (text(vector, "client_id"), text(vector, "server_id"));
        let (mut client, at_client) = pair(vector, client_id, server_id, aead);
        let (mut server, _) = pair(vector, server_id, client_id, aead);
        let mut current: Option<(Asked, Received)> = None;
        for case in list(vector, "cases") {
            let label = text(case, "label");
            let (plain, recorded) = (bytes(case, "plain_coap"), bytes(case, "protected_coap"));
            let plain_message = Message::parse(&plain).unwrap();
            let recorded_message = Message::parse(&recorded).unwrap();
            let piv = number(&bytes(case, "oscore_option"));
            let now = seconds(1);
            if text(case, "kind") == "request" {
                let made = client.protect_request_numbered(
                    now,
                    at_client.into(),
                    &plain_message,
                    To::Peer,
                    piv.unwrap(),
                );
                let made = done(made.unwrap());
                assert_eq!(essence(&made.bytes), essence(&recorded), "{label}");
                let request = server.begin_request(now, &recorded_message, false);
                let request = opened(request.unwrap());
                assert_eq!(request.message, plain, "{label}");
                assert_eq!(request.mode, Mode::Plain);
                assert_eq!(request.sender.credential(), hex(client_id));
                current = Some((made.asked.unwrap(), request.received));
            } else {
                let (asked, received) = current.as_mut().unwrap();
                let made =
                    server.protect_response_numbered(now, &plain_message, received, None, piv);
                let made = done(made.unwrap()).bytes;
                let (mine, theirs) = (essence(&made), essence(&recorded));
                assert_eq!((mine.1, mine.2), (theirs.1, theirs.2), "{label}");
                // aiocoap takes the outer code of a response from the request (RFC 8613 section 4.2: from the response).
                assert_eq!(mine.0, Code::CHANGED, "{label}");
                // Several answers to a request that asked for one: each to a request of its own here.
                asked.answered = false;
                let response = client.begin_response(now, &recorded_message, asked);
                match response.unwrap() {
                    Step::Done(response) => assert_eq!(response.message, plain, "{label}"),
                    other => panic!("{other:?}"),
                }
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 48 * 12);
}

#[test]
fn the_messages_of_rfc_8613_appendix_c_are_made_and_opened() {
    let file = appendix_c();
    let vectors = list(&file, "vectors");
    let of = |name: &str| vectors.iter().find(|it| it["appendix"] == name).unwrap();
    for name in ["C.4", "C.5", "C.6"] {
        let vector = of(name);
        let (own, peer) = (text(vector, "sender_id"), text(vector, "recipient_id"));
        let (mut client, at_client) = pair(vector, own, peer, 10);
        let (mut server, _) = pair(vector, peer, own, 10);
        let plain = bytes(vector, "plain_coap");
        let plain_message = Message::parse(&plain).unwrap();
        let piv = PartialIv::new(vector["sender_sequence_number"].as_u64().unwrap()).unwrap();
        let now = seconds(1);
        let made =
            client.protect_request_numbered(now, at_client.into(), &plain_message, To::Peer, piv);
        let made = done(made.unwrap());
        assert_eq!(made.bytes, bytes(vector, "protected_coap"), "{name}");
        let message = Message::parse(&made.bytes).unwrap();
        let request = opened(server.begin_request(now, &message, false).unwrap());
        assert_eq!(request.message, plain, "{name}");
        if name != "C.4" {
            continue;
        }
        // C.7 and C.8 are answers to C.4, by the server.
        let (mut asked, mut received) = (made.asked.unwrap(), request.received);
        for (name, number) in [("C.7", None), ("C.8", PartialIv::new(0))] {
            let vector = of(name);
            let plain = bytes(vector, "plain_coap");
            let plain_message = Message::parse(&plain).unwrap();
            let made =
                server.protect_response_numbered(now, &plain_message, &mut received, None, number);
            let made = done(made.unwrap()).bytes;
            assert_eq!(made, bytes(vector, "protected_coap"), "{name}");
            asked.answered = false;
            let message = Message::parse(&made).unwrap();
            match client.begin_response(now, &message, &mut asked).unwrap() {
                Step::Done(response) => assert_eq!(response.message, plain, "{name}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
