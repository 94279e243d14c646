//! Twenty hosts on a link that loses datagrams, round after round with new seeds: how many are missing, and who.
//!
//! `ANTIPHON_ROUNDS` says how many rounds (50), `ANTIPHON_SEED` with which seed they begin (a new one each time).

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use antiphon_netsim::{Impairment, Rng};
use antiphon_proto::{
    Completion, Expectation, GroupPolicy, How, Leisure, Member, Repeat, Resource,
};
use antiphon_tests::stage::{Collected, Diary, Ground, Stage, get, number_of, parse};
use antiphon_wire::Code;

const HOSTS: std::ops::RangeInclusive<u16> = 11..=30;
const LOSS: f64 = 0.2;
const REPEATS: u8 = 4;

fn rounds() -> u64 {
    match std::env::var("ANTIPHON_ROUNDS") {
        Ok(text) => text.parse().expect("ANTIPHON_ROUNDS is a number"),
        Err(_) => 50,
    }
}

fn first_seed() -> u64 {
    match std::env::var("ANTIPHON_SEED") {
        Ok(text) => text.parse().expect("ANTIPHON_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0) >> 16,
    }
}

/// One round: everybody is asked, with repeats and completion. `loss` says what each host loses, each way.
fn round(ground: Ground, seed: u64, mut loss: impl FnMut(u16) -> f64) -> Collected {
    let mut stage = Stage::new(ground, seed);
    let client = stage.client();
    let group = ground.group(20, 5683);
    let mut hosts = Vec::new();
    for n in HOSTS {
        let host = stage.member(n);
        let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(1)));
        let status = Diary::new().handler(Code::CONTENT, &format!("{n}"));
        let resource = Resource::at("/status").get(status);
        stage.offer(host, resource.group_policy(policy));
        stage.join(host, group);
        hosts.push(host);
    }
    stage.settle();
    for (host, n) in hosts.iter().zip(HOSTS) {
        let impairment = Impairment::none().loss(loss(n));
        let network = stage.world.sim.network_mut();
        network.set_egress(*host, impairment);
        network.set_ingress(*host, impairment);
    }
    let mut question = stage.question(get("/status"), group);
    question.expect = Expectation::nobody();
    for n in HOSTS {
        let member = Member::named(format!("host {n}"));
        question.expect.add(member.at(ground.address(n)));
    }
    question.leisure = Duration::from_secs(1);
    question.rtt = Duration::from_millis(100);
    question.end.deadline = Duration::from_secs(2);
    question.repeat = Repeat::times(REPEATS);
    question.completion = Completion::Unicast {
        at_once: 8,
        within: None,
    };
    let done = stage.collect(client, question);

    // What the simulator knows: whose answer came in at all.
    let received = &stage.world.node(client).received;
    let heard: BTreeSet<u16> = received
        .iter()
        .filter(|(_, _, bytes)| parse(bytes).code() == Code::CONTENT)
        .map(|(_, path, _)| number_of(path.peer.ip()))
        .collect();
    let missing: Vec<_> = done.outcome().missing().map(|(name, _)| name).collect();
    let unheard: Vec<_> = HOSTS
        .filter(|n| !heard.contains(n))
        .map(|n| format!("host {n}"))
        .collect();
    assert_eq!(missing, unheard, "seed {seed}, {ground:?}: who is missing");
    let answered: Vec<_> = done.outcome().answered().map(|(name, _)| name).collect();
    assert_eq!(answered.len() + missing.len(), HOSTS.len(), "seed {seed}");
    assert_eq!(done.outcome().is_complete(), missing.is_empty());
    // Nobody answers who was never reached.
    for (host, n) in hosts.into_iter().zip(HOSTS) {
        let reached = !stage.world.node(host).received.is_empty();
        assert!(reached || !heard.contains(&n), "seed {seed}: host {n}");
    }
    // Nobody is asked in person who had answered.
    for answer in done.answers.iter().filter(|a| a.how == How::Unicast) {
        assert_eq!(answer.sequence, 1, "seed {seed}, {ground:?}");
    }
    done
}

/// The largest number that a Poisson variable of this mean exceeds with a probability of at most 1e-9.
fn at_most(mean: f64) -> usize {
    let mut term = (-mean).exp();
    let mut below = term;
    let mut n = 0;
    while 1.0 - below > 1e-9 && n < 100_000 {
        n += 1;
        term *= mean / n as f64;
        below += term;
    }
    n
}

#[test]
fn at_a_loss_of_a_fifth_each_way_the_missing_are_as_few_as_arithmetic_says() {
    // One try succeeds if neither way loses: 0.64. Five multicasts, then five transmissions in person.
    let fails = 1.0 - (1.0 - LOSS) * (1.0 - LOSS);
    let silent = f64::powi(fails, i32::from(REPEATS) + 1);
    let missing = silent * f64::powi(fails, 5);
    assert!((silent - 0.006_05).abs() < 0.000_01 && missing < 3.7e-5);

    let (rounds, first) = (rounds(), first_seed());
    let mut asked_in_person = 0;
    let mut lost = 0;
    for n in 0..rounds {
        for ground in Ground::ALL {
            let done = round(ground, first + n, |_| LOSS);
            lost += done.outcome().missing().count();
            let in_person = done.answers.iter().filter(|a| a.how == How::Unicast);
            asked_in_person += in_person.count();
        }
    }
    asked_in_person += lost;
    let members = rounds as f64 * 4.0 * 20.0;
    println!("{lost} of {members} missing, {asked_in_person} asked in person; seeds from {first}");
    let limit = at_most(members * missing);
    assert!(
        lost <= limit,
        "{lost} of {members} are missing, seeds from {first}"
    );
    // And so many were silent to all five multicasts, within six standard deviations.
    let expected = members * silent;
    let off = (asked_in_person as f64 - expected).abs();
    assert!(
        off <= 6.0 * expected.sqrt() + 1.0,
        "{asked_in_person} asked in person, {expected} expected, seeds from {first}"
    );
}

#[test]
fn at_any_loss_everybody_who_is_missing_is_named() {
    let (rounds, first) = (rounds(), first_seed());
    let mut lost = 0;
    for n in 0..rounds.div_ceil(2) {
        let seed = first + n;
        for ground in Ground::ALL {
            let mut rng = Rng::new(seed);
            // From nothing to everything; every fourth host is all but cut off.
            let done = round(ground, seed, |n| match n % 4 {
                0 => 0.9,
                1 => 1.0 - 0.1 * rng.between(0, 2) as f64,
                _ => 0.1 * rng.between(0, 7) as f64,
            });
            lost += done.outcome().missing().count();
        }
    }
    assert!(lost > 0, "seeds from {first}");
}

#[test]
fn the_arithmetic_itself() {
    assert_eq!(at_most(0.0), 0);
    assert!((3..=8).contains(&at_most(0.15)));
    assert!((12..=22).contains(&at_most(3.0)));
}
