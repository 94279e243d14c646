//! OSCORE and Group OSCORE with aiocoap 0.4.17, in both roles. What it does differently, and where it fails, is asserted as well.

mod host;
mod party;

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon::oscore::suite::Aead;
use antiphon::security_group::Curve;
use antiphon::{Code, ContentFormat, Failure, OneError, Reachability, SecurityMode, Signed as _};
use antiphon_tests::Lab;

use crate::inside::inside;
use host::{ALL, our_client, our_server, their_server, they_ask, was_asked};
use party::{Algorithms, our_pair, their_pair};

const CCM: Algorithms = Algorithms::ed25519(Aead::AesCcm16_64_128, Aead::AesCcm16_64_128);
const CHACHA: Algorithms = Algorithms::ed25519(Aead::ChaCha20Poly1305, Aead::ChaCha20Poly1305);

/// aiocoap's names of the contexts in which it has opened something.
const IN_GROUP_MODE: &str = "_GroupContextAspect";
const IN_PAIRWISE_MODE: &str = "_PairwiseContextAspect";
const IN_A_PAIR: &str = "FilesystemSecurityContext";

/// We ask two members of aiocoap's: all by multicast, one in group mode, one in pairwise mode.
fn we_ask(algorithms: Algorithms) {
    let lab = Lab::up(3);
    let mut servers = [1, 2].map(|n| their_server(&lab, n + 1, &algorithms.theirs(n)));
    let uri = |path: &str| format!("coap://{}/{path}", lab.ipv4(2));
    inside(&lab, 1, || async {
        let group = algorithms.ours(0);
        let client = our_client().await;
        let call = client.group(&format!("coap://{ALL}/temp")).unwrap().get();
        let call = call
            .secure(&group)
            .expect(group.expect_all())
            .leisure(Duration::from_secs(1))
            .collect_for(Duration::from_secs(20));
        let mut answers = call.send().await.unwrap();
        let mut heard = BTreeSet::new();
        while let Some(answer) = answers.answer().await {
            let signer = answer.signer().expect("proven");
            let text = String::from_utf8(answer.response.payload).unwrap();
            heard.insert((signer.to_string(), text));
        }
        assert!(answers.finish().await.unwrap().is_complete());
        let expected = ["lamp-1 of lights", "lamp-2 of lights"];
        let expected = expected.map(|name| (name.to_owned(), "21.5 C".to_owned()));
        assert_eq!(heard, BTreeSet::from(expected));

        let lamp = group.member("lamp-1").unwrap();
        let put = |text: &'static str| {
            let call = client.one(&uri("light")).unwrap();
            call.put(ContentFormat::TEXT, text)
        };
        for confirmable in [true, false] {
            let text = if confirmable { "on" } else { "dim" };
            let reply = put(text).confirmable(confirmable).secure(&group);
            assert_eq!(reply.send().await.unwrap().response.code, Code::CHANGED);
            let read = client.one(&uri("light")).unwrap().get().secure(&lamp);
            let reply = read.confirmable(confirmable).send().await.unwrap();
            assert_eq!(reply.response.payload, text.as_bytes());
            assert_eq!(reply.signer().unwrap().subject(), Some("lamp-1"));
        }
        let reply = put("off").secure(&lamp).send().await.unwrap();
        assert_eq!(reply.response.code, Code::CHANGED);

        let other = group.member("lamp-2").unwrap();
        let call = client.one(&uri("temp")).unwrap().get().secure(&other);
        let failed = call.timeout(Duration::from_secs(1)).send().await;
        assert!(is_refused(&failed), "lamp-1 is not lamp-2: {failed:?}");
    });
    for server in &mut servers {
        was_asked(server, "GET temp", IN_GROUP_MODE, 1);
    }
    was_asked(&mut servers[0], "PUT light", IN_GROUP_MODE, 2);
    was_asked(&mut servers[0], "GET light", IN_PAIRWISE_MODE, 2);
    was_asked(&mut servers[0], "PUT light", IN_PAIRWISE_MODE, 1);
    was_asked(&mut servers[0], "GET temp", IN_PAIRWISE_MODE, 0);
}

/// aiocoap asks a member of ours: in pairwise mode, in group mode by unicast, and by multicast, for which `Required` would be the default.
fn they_ask_us(algorithms: Algorithms) {
    let lab = Lab::up(2);
    let config = algorithms.theirs(0);
    let uri = |host: &str, path: &str| format!("coap://{host}/{path}");
    let us = lab.ipv4(2);
    inside(&lab, 2, || async {
        let group = algorithms.ours(1);
        let (server, diary) = our_server(&group, Some(&group), Some(Reachability::Assumed)).await;
        let mut expected = Vec::new();
        // What came by unicast is answered in pairwise mode, however it was protected.
        let (answered, temp) = (format!("answered in {IN_PAIRWISE_MODE}"), uri(&us, "temp"));
        for (mode, ours) in [
            ("group", SecurityMode::Group),
            ("pairwise:01", SecurityMode::Pairwise { only: false }),
        ] {
            for non in [&[][..], &["--non"]] {
                let words = [&[mode, "get", &temp][..], non].concat();
                assert_eq!(
                    they_ask(&lab, 1, &config, &words).await,
                    ["2.05 21.5 C", &answered]
                );
                expected.push(("asker".to_owned(), ours));
            }
            let words = [mode, "put", &uri(&us, "light"), mode];
            assert_eq!(
                they_ask(&lab, 1, &config, &words).await,
                ["2.04 ", &answered]
            );
            expected.push(("asker".to_owned(), ours));
            let words = [mode, "get", &uri(&us, "light")];
            let read = format!("2.05 {mode}");
            assert_eq!(
                they_ask(&lab, 1, &config, &words).await,
                [read.as_str(), &answered]
            );
        }
        let words = ["group", "get", &uri(ALL, "temp"), "--non"];
        let answered = format!("answered in {IN_GROUP_MODE}");
        assert_eq!(
            they_ask(&lab, 1, &config, &words).await,
            ["2.05 21.5 C", &answered]
        );
        expected.push(("asker".to_owned(), SecurityMode::Group));
        assert_eq!(*diary.lock().unwrap(), expected);
        server.stop().await;
    });
}

#[test]
fn we_ask_aiocoap_in_both_modes_with_ed25519_and_aes_ccm() {
    we_ask(CCM);
}

#[test]
fn we_ask_aiocoap_in_both_modes_with_ed25519_and_chacha20() {
    we_ask(CHACHA);
}

#[test]
fn aiocoap_asks_us_in_both_modes_with_ed25519_and_aes_ccm() {
    they_ask_us(CCM);
}

#[test]
fn aiocoap_asks_us_in_both_modes_with_ed25519_and_chacha20() {
    they_ask_us(CHACHA);
}

#[test]
fn mixed_algorithms_pass_in_both_roles() {
    for (aead, group) in [
        (Aead::AesCcm16_64_128, Aead::A128Gcm),
        (Aead::ChaCha20Poly1305, Aead::A128Gcm),
        (Aead::AesCcm16_128_128, Aead::AesCcm16_128_128),
    ] {
        we_ask(Algorithms::ed25519(aead, group));
        they_ask_us(Algorithms::ed25519(aead, group));
    }
}

/// aiocoap compares the length of a ciphertext in group mode with the tag of the algorithm for pairwise mode.
#[test]
fn aiocoap_refuses_short_messages_where_the_tag_of_pairwise_mode_is_longer() {
    let lab = Lab::up(2);
    let algorithms = Algorithms::ed25519(Aead::ChaCha20Poly1305, Aead::AesCcm16_64_128);
    let mut server = their_server(&lab, 2, &algorithms.theirs(1));
    inside(&lab, 1, || async {
        let (group, client) = (algorithms.ours(0), our_client().await);
        let uri = |path: &str| format!("coap://{}/{path}", lab.ipv4(2));
        let call = client.one(&uri("temp")).unwrap().get().secure(&group);
        let failed = call.timeout(Duration::from_secs(2)).send().await;
        assert!(is_refused(&failed), "{failed:?}");
        let call = client.one(&uri("light")).unwrap();
        let long = call.put(ContentFormat::TEXT, "as bright as it goes");
        let reply = long.secure(&group).send().await.unwrap();
        assert_eq!(reply.response.code, Code::CHANGED);
    });
    was_asked(&mut server, "GET temp", IN_GROUP_MODE, 0);
    was_asked(&mut server, "PUT light", IN_GROUP_MODE, 1);
}

/// Nothing came, or what came proves nothing.
fn is_refused<T>(result: &Result<T, OneError>) -> bool {
    matches!(
        result,
        Err(OneError::Failed(
            Failure::TimedOut | Failure::OnlyUnprotected(_)
        ))
    )
}

/// P-256, with the number that aiocoap is to write for the key agreement.
const fn p256(their_agreement: i32) -> Algorithms {
    Algorithms {
        curve: Curve::P256,
        their_agreement,
        ..CCM
    }
}

#[test]
fn p256_passes_in_both_roles_once_aiocoap_writes_the_number_of_the_draft() {
    we_ask(p256(-27));
    they_ask_us(p256(-27));
}

/// It writes -7 for the key agreement, into what is authenticated in both modes.
#[test]
fn p256_as_aiocoap_ships_it_opens_nothing_of_ours_and_we_nothing_of_its() {
    let lab = Lab::up(3);
    let theirs = p256(-7);
    let mut server = their_server(&lab, 2, &theirs.theirs(1));
    inside(&lab, 1, || async {
        let (group, client) = (theirs.ours(0), our_client().await);
        let lamp = group.member("lamp-1").unwrap();
        let uri = format!("coap://{}/temp", lab.ipv4(2));
        let call = || {
            client
                .one(&uri)
                .unwrap()
                .get()
                .timeout(Duration::from_secs(2))
        };
        let failed = call().secure(&group).send().await;
        assert!(is_refused(&failed), "{failed:?}");
        let failed = call().secure(&lamp).send().await;
        assert!(is_refused(&failed), "{failed:?}");
    });
    was_asked(&mut server, "GET temp", IN_GROUP_MODE, 0);
    was_asked(&mut server, "GET temp", IN_PAIRWISE_MODE, 0);
    inside(&lab, 3, || async {
        let group = theirs.ours(2);
        let (server, diary) = our_server(&group, None, None).await;
        let uri = format!("coap://{}/temp", lab.ipv4(3));
        for mode in ["group", "pairwise:02"] {
            let said = they_ask(&lab, 1, &theirs.theirs(0), &[mode, "get", &uri]).await;
            assert!(
                said.iter().any(|line| line == "failed TimeoutError "),
                "{said:?}"
            );
        }
        assert!(diary.lock().unwrap().is_empty());
        server.stop().await;
    });
}

/// Our default asks who is heard for the first time by multicast to send an Echo value back, in group mode. aiocoap's client
/// fails: it takes the context in which it has opened the challenge, which cannot protect. What is asked by unicast is challenged
/// in pairwise mode, which it answers.
#[test]
fn aiocoap_answers_our_echo_challenge_in_pairwise_mode_and_not_in_group_mode() {
    let lab = Lab::up(2);
    let config = CCM.theirs(0);
    let us = lab.ipv4(2);
    inside(&lab, 2, || async {
        let group = CCM.ours(1);
        let (server, diary) = our_server(&group, Some(&group), None).await;
        let (temp, valve) = (format!("coap://{ALL}/temp"), format!("coap://{us}/valve"));
        let said = they_ask(&lab, 1, &config, &["group", "get", &temp, "--non"]).await;
        let failure =
            "failed AttributeError '_GroupContextAspect' object has no attribute 'protect'";
        assert!(said.iter().any(|line| line == failure), "{said:?}");
        assert!(diary.lock().unwrap().is_empty(), "nothing was done");
        let answered = format!("answered in {IN_PAIRWISE_MODE}");
        for mode in ["group", "pairwise:01"] {
            let said = they_ask(&lab, 1, &config, &[mode, "put", &valve, "shut"]).await;
            assert_eq!(said, ["2.04 ", &answered]);
        }
        let modes: Vec<_> = diary
            .lock()
            .unwrap()
            .iter()
            .map(|(_, mode)| *mode)
            .collect();
        assert_eq!(modes, [SecurityMode::Pairwise { only: false }; 2]);
        let counted = server.handle.counters().await.unwrap().endpoint;
        assert_eq!(counted.security.challenges, 3);
        server.stop().await;
    });
}

/// OSCORE for two, asked by us; and of a server that has crashed, which challenges.
#[test]
fn we_ask_aiocoap_by_oscore() {
    for aead in [Aead::AesCcm16_64_128, Aead::ChaCha20Poly1305] {
        for crashed in [false, true] {
            let lab = Lab::up(2);
            let mut server = their_server(&lab, 2, &their_pair(aead, crashed));
            inside(&lab, 1, || async {
                let (pair, client) = (our_pair(aead), our_client().await);
                let call = |path: &str| {
                    let uri = format!("coap://{}/{path}", lab.ipv4(2));
                    client.one(&uri).unwrap()
                };
                let reply = call("temp").get().secure(&pair).send().await.unwrap();
                assert_eq!(reply.response.payload, b"21.5 C");
                let put = call("light").put(ContentFormat::TEXT, "on").secure(&pair);
                let reply = put.confirmable(false).send().await.unwrap();
                assert_eq!(reply.response.code, Code::CHANGED);
                assert_eq!(reply.signer().unwrap().group(), "pair");
            });
            was_asked(&mut server, "GET temp", IN_A_PAIR, 1);
            was_asked(&mut server, "PUT light", IN_A_PAIR, 1);
        }
    }
}

/// OSCORE for two, asked by aiocoap, also for what has to be fresh.
#[test]
fn aiocoap_asks_us_by_oscore() {
    for aead in [Aead::AesCcm16_64_128, Aead::ChaCha20Poly1305] {
        let lab = Lab::up(2);
        let config = their_pair(aead, false);
        inside(&lab, 2, || async {
            let pair = our_pair(aead);
            let (server, diary) = our_server(&pair, None, None).await;
            let uri = |path: &str| format!("coap://{}/{path}", lab.ipv4(2));
            let answered = format!("answered in {IN_A_PAIR}");
            let words = ["pair", "get", &uri("temp"), "--non"];
            assert_eq!(
                they_ask(&lab, 1, &config, &words).await,
                ["2.05 21.5 C", &answered]
            );
            let words = ["pair", "put", &uri("valve"), "shut"];
            assert_eq!(
                they_ask(&lab, 1, &config, &words).await,
                ["2.04 ", &answered]
            );
            let proven = ("the other".to_owned(), SecurityMode::Oscore);
            assert_eq!(*diary.lock().unwrap(), [proven.clone(), proven]);
            let counted = server.handle.counters().await.unwrap().endpoint;
            assert_eq!(counted.security.challenges, 1);
            server.stop().await;
        });
    }
}
