//! Bodies of a group where much is lost, doubled and overtaken.

use antiphon_proto::{Completion, Repeat};

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
