//! Observations where much is lost, doubled and overtaken, and of members that are restarted.

use std::net::SocketAddr;

use antiphon_tests::sim::EndpointHost;

use super::*;

impl Cast {
    /// What each member says and hears, each way.
    fn impair(&mut self, impairment: Impairment) {
        let network = self.stage.world.sim.network_mut();
        for (host, _) in &self.servers {
            network.set_ingress(*host, impairment);
            network.set_egress(*host, impairment);
        }
    }

    /// A server has lost power, and everything it knew.
    fn restart(&mut self, server: usize, off_for: u64) {
        let host = self.servers[server].0;
        self.stage.world.sim.crash(host);
        self.run(off_for);
        let ip = self.stage.ground.address(MEMBERS[server]);
        let locals = [5683, PORT].map(|port| SocketAddr::new(ip, port));
        let node = EndpointHost::new(EndpointConfig::default(), 1_000, &locals);
        self.stage.world.sim.restart(host, node);
        for port in [5683, PORT] {
            let _ = self.stage.world.sim.network_mut().bind(host, port);
        }
        self.stage.open(host);
        self.servers[server].1 = serve(&mut self.stage, host, &self.temperature);
        self.stage.settle();
    }
}

/// The change that a text tells.
fn change_in(said: &str) -> u32 {
    said.trim_end_matches(" C").parse().unwrap()
}

#[test]
fn at_a_loss_of_30_percent_each_way_nothing_old_is_heard_and_the_last_state_by_all() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        cast.impair(
            Impairment::none()
                .loss(0.3)
                .delay(Duration::from_millis(5))
                .duplicate(0.1)
                .reorder(0.2, Duration::from_millis(300)),
        );
        *cast.temperature.lock().unwrap() = "0 C".into();
        cast.observe(cast.request(get("/temperature")));
        cast.run(60);
        let mut last = [0; 3];
        let mut heard_in_time = 0;
        for change in 1..=60 {
            cast.change(&format!("{change} C"));
            cast.run(20);
            for (member, _, _, said) in cast.heard() {
                let said = change_in(&said);
                let known = &mut last[member as usize];
                assert!(
                    said >= *known,
                    "{ground:?}: {member} said {said} after {known}"
                );
                *known = said;
                heard_in_time += usize::from(said == change);
            }
        }
        // Of Non-confirmable ones seven of ten arrive, of Confirmable ones nearly all.
        assert!((100..=180).contains(&heard_in_time), "{heard_in_time}");
        // Who has missed the last one falls silent, and is asked in person.
        cast.run(600);
        for (member, _, _, said) in cast.heard() {
            last[member as usize] = change_in(&said);
        }
        assert_eq!(last, [60; 3], "{ground:?}");
        assert_eq!(cast.observers(), [1, 1, 1]);
    }
}

#[test]
fn a_member_that_is_restarted_is_observed_again() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        cast.observe(cast.request(get("/temperature")));
        cast.run(400);
        assert_eq!(cast.observers(), [1, 1, 1]);
        cast.heard();
        cast.restart(1, 10);
        assert_eq!(cast.observers(), [1, 0, 1], "it knows nobody any more");
        cast.change("5.0 C");
        cast.run(600);
        assert_eq!(cast.observers(), [1, 1, 1]);
        let heard = cast.heard();
        for member in 0..3 {
            let mut of_it = heard.iter().filter(|(m, ..)| *m == member);
            assert!(
                of_it.any(|(.., said)| said == "5.0 C"),
                "{member}: {heard:?}"
            );
        }
        // And is heard again at once.
        cast.change("6.0 C");
        cast.run(20);
        let heard = cast.heard();
        let members: Vec<_> = heard.iter().map(|(member, ..)| *member).collect();
        assert_eq!(members, [0, 1, 2], "{heard:?}");
        assert!(heard.iter().all(|(.., said)| said == "6.0 C"));
    }
}
