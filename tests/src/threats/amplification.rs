//! Many answers to one forged request, work for nothing, and what replies tell (threats 21, 22, 31 and 32).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use antiphon_proto::Task;
use antiphon_tests::stage::parse;

use super::*;
use crate::memory;

#[test]
fn threat_21_a_forged_multicast_request_draws_no_answers() {
    let mut scene = Scene::new(100, EndpointConfig::default());
    let group = scene.group();
    let genuine = scene.sealer.seal(&get(1, "r"));
    let probes = [
        ("wrong signature", spoiled(&genuine)),
        ("unknown kid", disguised(2, b"\x39\x05\x02\x47\x01\x7f")),
        ("unknown Gid", disguised(3, b"\x39\x05\x02\x47\x02\x01")),
        ("pairwise", disguised(4, b"\x19\x05\x02\x47\x01\x01")),
        ("reserved bit", disguised(5, b"\x80")),
        ("no option at all", get(6, "r")),
        ("no such resource", get(7, "nowhere")),
    ];
    for (what, probe) in probes {
        assert_eq!(scene.spoof(group, &probe), 0, "{what}");
    }
    assert_eq!(scene.delivered(), 0);
    // The genuine one, once; sent again by the attacker, under another Message ID, it draws nothing any more.
    let asker = scene.asker;
    scene.stage.say(asker, group, genuine.clone());
    scene.stage.run(Duration::from_secs(60));
    assert_eq!(scene.stage.heard(asker).len(), 100);
    let mut replayed = genuine;
    replayed[2] ^= 0x40;
    assert_eq!(scene.spoof(group, &replayed), 0);
    // The control: without security one datagram draws a hundred.
    assert_eq!(scene.spoof(group, &get(8, "open")), 100);
}

/// Counts the signatures that the worker of the one server verifies.
fn count_verifications(scene: &mut Scene) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    scene.stage.world.node(scene.servers[0]).toil = Some(Box::new(move |work| {
        if matches!(work.task, Task::Verify(_)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Duration::ZERO
    }));
    count
}

#[test]
fn threat_22_forged_first_requests_cost_no_challenge_and_bounded_work() {
    let flood = |failures_per_source: u32| {
        let mut config = EndpointConfig::default();
        config.security.failures_per_source = failures_per_source;
        let mut scene = Scene::new(1, config);
        let host = scene.servers[0];
        // The server does not know what it has received: every client is new to it.
        for (_, group) in scene.stage.world.endpoint(host).security_mut().groups_mut() {
            group.windows_unknown();
        }
        let verified = count_verifications(&mut scene);
        let genuine = scene.sealer.seal(&get(1, "r"));
        let (server, victim) = (scene.server(0), scene.address_of(3));
        let mut forged = spoiled(&genuine);
        for number in 0..300_u16 {
            forged[2..4].copy_from_slice(&number.to_be_bytes());
            scene.stage.forge(victim, server, forged.clone());
        }
        scene.stage.settle();
        let answers = scene.stage.heard(scene.victim);
        let challenges = answers.iter().filter(|answer| {
            let message = parse(&answer.bytes);
            message.option(OptionNumber::OSCORE).is_some()
        });
        assert_eq!(challenges.count(), 0);
        assert!(answers.len() <= 8, "errors have the budget of challenges");
        // The genuine one is challenged, not delivered.
        let asker = scene.asker;
        scene.stage.say(asker, server, genuine);
        scene.stage.run(Duration::from_secs(5));
        let heard = scene.stage.heard(asker);
        assert_eq!(heard.len(), 1);
        let inner = scene.sealer.open(&heard[0].bytes).unwrap();
        let inner = parse(&inner);
        assert_eq!(inner.code(), Code::UNAUTHORIZED);
        assert!(inner.option(OptionNumber::ECHO).is_some());
        assert_eq!(scene.delivered(), 0);
        verified.load(Ordering::Relaxed)
    };
    let budget = EndpointConfig::default().security.failures_per_source;
    assert!(flood(budget) <= budget as usize + 1);
    // The control: without a budget each forgery costs a verification.
    assert_eq!(flood(1_000_000), 300 + 1);
}

#[test]
fn threat_31_probes_by_unicast_get_silence() {
    let mut scene = Scene::new(1, EndpointConfig::default());
    let host = scene.servers[0];
    let server = scene.server(0);
    let genuine = scene.sealer.seal(&get(1, "r"));
    let mut said = vec![];
    // The control comes second: a server that answers errors tells which IDs there are.
    for (round, answers) in [(0, false), (10, true)] {
        scene.stage.world.endpoint(host).set_answer_errors(answers);
        let mut wrong = spoiled(&genuine);
        wrong[2] ^= round as u8;
        for probe in [
            wrong,
            disguised(round + 2, b"\x39\x05\x02\x47\x01\x7f"),
            disguised(round + 3, b"\x39\x05\x02\x47\x02\x01"),
            disguised(round + 4, b"\x39\x05\x02\x47\x01\x01"),
        ] {
            scene.stage.say(scene.asker, server, probe);
            scene.stage.run(Duration::from_secs(5));
            let heard = scene.stage.heard(scene.asker);
            said.push(heard.first().map(|answer| parse(&answer.bytes).code()));
        }
    }
    assert_eq!(said[..4], [None; 4]);
    let (bad, unknown) = (Some(Code::BAD_REQUEST), Some(Code::UNAUTHORIZED));
    assert_eq!(said[4..], [bad, unknown, unknown, bad]);
}

#[test]
fn threat_32_unknown_ids_take_no_memory_of_an_endpoint() {
    let mut scene = Scene::new(1, EndpointConfig::default());
    let (server, victim) = (scene.server(0), scene.address_of(3));
    let mut flood = |from: u32| {
        for round in from..from + 50 {
            let rounds = (0..40_u32).map(|number| (round * 40 + number).to_be_bytes());
            for id in rounds {
                let option = [b"\x39\x05\x02\x47\x01", &id[..]].concat();
                let probe = disguised(u16::from_be_bytes([id[2], id[3]]), &option);
                scene.stage.forge(victim, server, probe);
            }
            scene.stage.run(Duration::from_secs(1));
            let host = scene.servers[0];
            scene.stage.forget(&[host]);
            scene.stage.heard(scene.victim);
        }
    };
    flood(0);
    let before = memory::held();
    flood(50);
    let grown = memory::held() - before;
    assert!(grown < 16 * 1024, "{grown}");
    // The control: if every unknown ID became a peer, 200 of them would take more than that.
    let before = memory::held();
    let host = scene.servers[0];
    for (_, group) in scene.stage.world.endpoint(host).security_mut().groups_mut() {
        for id in 0..200_u16 {
            let id = antiphon_oscore::Kid::new(&[9, id as u8]).unwrap();
            group.add_peer(id, secure::credential(9)).unwrap();
        }
    }
    assert!(memory::held() - before > 16 * 1024);
}
