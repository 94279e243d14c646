//! Bodies of a group where much is lost, doubled and overtaken, and of a member that is restarted.

use antiphon_proto::{Completion, Repeat};
use antiphon_tests::sim::EndpointHost;

use super::*;

#[test]
fn at_a_loss_of_30_percent_each_way_bodies_are_whole_and_the_missing_are_named() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let impairment = Impairment::none()
            .loss(0.3)
            .delay(Duration::from_millis(5))
            .duplicate(0.1)
            .reorder(0.2, Duration::from_millis(300));
        let network = cast.stage.world.sim.network_mut();
        for host in &cast.servers {
            network.set_ingress(*host, impairment);
            network.set_egress(*host, impairment);
        }
        let (mut whole, mut lost) = (0, 0);
        for _ in 0..20 {
            let question = GroupRequest {
                repeat: Repeat::NewMessageId(2),
                completion: Completion::Unicast {
                    at_once: 4,
                    within: None,
                },
                ..cast.by_64()
            };
            let done = cast.stage.collect(cast.client, question);
            let bodies = bodies(&done);
            for one in &bodies {
                assert!(logs().contains(one), "{one:?}");
            }
            let outcome = done.outcome();
            let answered = outcome.answered().count();
            let mut from: Vec<_> = bodies.iter().map(|(n, _)| *n).collect();
            from.dedup();
            assert_eq!(from.len(), answered);
            let named = outcome.missing().count() + outcome.rejected().count();
            assert_eq!(answered + named, 3, "{ground:?}");
            (whole, lost) = (whole + answered, lost + named);
            cast.stage.run(Duration::from_secs(300));
        }
        // A Confirmable exchange fails with 0.51 to the power of 5, and there are two for each.
        assert!(whole >= 50, "{ground:?}: {whole} whole, {lost} named");
    }
}

#[test]
fn a_body_of_a_member_that_is_restarted_meanwhile_is_that_of_before_or_of_after() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let slow = Impairment::none().delay(Duration::from_secs(1));
        let host = cast.servers[0];
        cast.stage.world.sim.network_mut().set_ingress(host, slow);
        let question = cast.by_64();
        let id = cast.stage.ask(cast.client, question);
        // The second block is there, the third is being asked for.
        cast.stage.run(Duration::from_millis(2_500));
        assert_eq!(cast.asked_of(SERVERS[0].0), [Some((1, 64)), Some((2, 64))]);
        cast.stage.world.sim.crash(host);
        let after = [0x55; 150].to_vec();
        *cast.logs[0].lock().unwrap() = after.clone();
        cast.stage.run(Duration::from_secs(1));
        let (number, port) = SERVERS[0];
        let local = SocketAddr::new(ground.address(number), port);
        let node = EndpointHost::new(EndpointConfig::default(), 1_000, &[local]);
        cast.stage.world.sim.restart(host, node);
        let _ = cast.stage.world.sim.network_mut().bind(host, port);
        cast.stage.open(host);
        serve(&mut cast.stage, host, &cast.logs[0], 64);
        let done = cast.stage.collected(cast.client, id);
        let mut expected = logs();
        expected[0].1 = after;
        assert_eq!(bodies(&done), expected, "{ground:?}");
        let blocks = cast.asked_of(SERVERS[0].0);
        let began = blocks.iter().filter(|block| **block == Some((0, 64)));
        assert_eq!(began.count(), 1, "it was fetched anew: {blocks:?}");
    }
}
