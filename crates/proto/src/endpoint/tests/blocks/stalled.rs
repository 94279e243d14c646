//! Members that send a first block and then nothing: they hold up nobody who waits.

use super::groups::{members, question};
use super::*;
use crate::collection::GroupRequest;

/// With ACK_TIMEOUT and the round trip of a question, after this long somebody else has the turn.
const TURN: Duration = Duration::from_secs(3);
const MILLI: Duration = Duration::from_millis(1);

/// Hosts of which each has a body of four blocks of 64 bytes.
fn net(hosts: usize, at_once: usize) -> Net {
    let net = Net::with(hosts, |_, config| config.transfers.at_once = at_once);
    for host in &net.hosts {
        *host.body.lock().unwrap() = body(200);
    }
    net
}

fn ask(net: &mut Net, expected: core::ops::RangeInclusive<usize>) {
    let request = get().option(OptionNumber::BLOCK2, &[0x02]);
    net.ask_group(GroupRequest {
        expect: members(expected),
        ..question(request)
    });
    net.pass(2 * net.delay); // the first blocks are there
}

impl Net {
    /// The numbers of the blocks that one host was asked for, each exchange once.
    fn blocks_of(&self, host: usize) -> Vec<u32> {
        let mut tokens = std::collections::BTreeSet::new();
        let of_host = |d: &&&Flying| d.route.destination == address(host);
        let requests = self.requests();
        let exchanges = requests
            .iter()
            .filter(of_host)
            .filter(|d| tokens.insert(d.message().token()));
        exchanges
            .map(|d| d.block(OptionNumber::BLOCK2).unwrap().0)
            .collect()
    }

    fn fetched_now(&self) -> usize {
        self.hosts[CLIENT].endpoint.load().transfers
    }
}

#[test]
fn three_hundred_members_are_fetched_from_beside_sixteen_that_stall() {
    let mut net = net(317, 16);
    net.stalls = 1..=16; // they are the first in the line
    ask(&mut net, 1..=316);
    assert_eq!(net.fetched_now(), 16);
    net.pass(TURN - MILLI);
    assert_eq!(net.answers().len(), 0);
    net.pass(MILLI);
    // Sixteen at a time, three blocks each: 19 times 30 ms.
    net.pass(Duration::from_millis(19 * 30) - MILLI);
    assert!((280..300).contains(&net.answers().len()));
    net.pass(MILLI);
    assert_eq!(net.answers().len(), 300);
    assert!(net.answers().iter().all(|(_, length)| *length == 200));
    // Nobody waits any more: they have as long as a Confirmable message may take.
    net.pass(secs(200));
    let outcome = net.outcome();
    assert_eq!(outcome.answered().count(), 300);
    let rejected: Vec<_> = outcome.rejected().collect();
    assert_eq!(rejected.len(), 16);
    for (_, why) in rejected {
        assert_eq!(why, Rejection::Incomplete(Failure::TimedOut));
    }
    assert!(net.hosts[CLIENT].endpoint.client.transfers.is_clear());
    assert!(net.hosts[CLIENT].endpoint.client.completing.is_empty());
}

#[test]
fn whoever_gave_way_goes_on_where_it_was() {
    let mut net = net(4, 1);
    ask(&mut net, 1..=3);
    net.pass(2 * net.delay); // one block more
    net.stalls = 1..=1;
    net.pass(TURN - MILLI);
    assert_eq!((net.answers().len(), net.blocks_of(2).len()), (0, 0));
    net.pass(MILLI);
    assert_eq!(net.blocks_of(2), [1]);
    let (mut others, waiting) = (Vec::new(), net.waiting());
    assert!(waiting >= 128, "what is there of it is counted: {waiting}");
    net.pass(Duration::from_millis(30));
    others.push(net.answers()[0].0);
    net.stalls = 0..=0;
    net.pass(secs(1));
    others.push(net.answers()[1].0);
    assert_eq!(others, [address(2), address(3)], "the others before");
    assert_eq!(net.answers()[2], (address(1), 200));
    assert_eq!(
        net.blocks_of(1),
        [1, 2, 2, 3],
        "nothing is asked for twice but that"
    );
    assert_eq!(net.waiting(), 0);
}

impl Net {
    fn waiting(&self) -> usize {
        self.hosts[CLIENT]
            .endpoint
            .client
            .collections
            .waiting_bytes()
    }
}

#[test]
fn each_turn_without_a_block_is_twice_as_long_as_the_last() {
    let mut net = net(3, 1);
    net.stalls = 1..=2;
    ask(&mut net, 1..=2);
    let turns = |net: &Net| [1, 2].map(|n| net.blocks_of(n).len());
    assert_eq!(turns(&net), [1, 0]);
    for (wait, expected) in [(3, [1, 1]), (3, [2, 1]), (6, [2, 2])] {
        let before = turns(&net);
        net.pass(secs(wait) - MILLI);
        assert_eq!(turns(&net), before);
        net.pass(MILLI);
        assert_eq!(turns(&net), expected);
        assert_eq!(net.fetched_now(), 1);
    }
    // With nobody else in the line there are no turns.
    let mut alone = self::net(2, 1);
    alone.stalls = 1..=1;
    ask(&mut alone, 1..=1);
    alone.pass(secs(40));
    assert_eq!(alone.blocks_of(1).len(), 1);
}

#[test]
fn the_time_for_a_whole_body_goes_on_while_it_waits() {
    let mut net = Net::with(3, |_, config| {
        config.transfers.at_once = 1;
        config.transfers.patience = secs(4);
    });
    net.stalls = 1..=1;
    ask(&mut net, 1..=2);
    net.pass(secs(4) - MILLI);
    assert_eq!((net.answers().len(), net.blocks_of(1).len()), (1, 2));
    assert_eq!(net.fetched_now(), 1);
    net.pass(MILLI);
    assert_eq!(net.fetched_now(), 0);
    net.pass(secs(5));
    let rejected: Vec<_> = net.outcome().rejected().collect();
    let why = Failure::Body(BodyFailure::TimedOut);
    assert_eq!(rejected, [("m1", Rejection::Incomplete(why))]);
}

#[test]
fn a_question_that_is_closed_leaves_nothing_in_the_line() {
    let mut net = net(4, 1);
    net.stalls = 1..=3;
    let request = get().option(OptionNumber::BLOCK2, &[0x02]);
    let now = net.now;
    let id = net.hosts[CLIENT].endpoint.collect(now, question(request));
    net.pass(2 * TURN);
    assert!(net.waiting() > 0);
    let now = net.now;
    net.hosts[CLIENT].endpoint.close(now, id.unwrap());
    net.pass(MILLI);
    assert_eq!(net.waiting(), 0);
    assert!(net.hosts[CLIENT].endpoint.client.transfers.is_clear());
    assert_eq!(net.hosts[CLIENT].endpoint.load().exchanges, 0);
}

#[test]
fn strangers_have_half_of_the_places_and_expected_members_go_first() {
    // Hosts 1 to 6 are strangers, and the first in the line.
    let mut net = net(9, 4);
    net.stalls = 1..=8;
    ask(&mut net, 7..=8);
    assert_eq!(net.fetched_now(), 4);
    let begun: Vec<_> = (1..=8).filter(|n| !net.blocks_of(*n).is_empty()).collect();
    assert_eq!(begun, [1, 2, 7, 8]);
}

/// Lesson 9: three responders that a gateway shows under one address.
#[test]
fn the_bodies_of_three_responders_behind_one_address_are_each_whole() {
    let mut net = net(4, 16);
    net.behind_one_address = true;
    for n in 1..=3 {
        *net.hosts[n].body.lock().unwrap() = body(100 * n);
    }
    let request = get().option(OptionNumber::BLOCK2, &[0x02]);
    net.ask_group(question(request));
    let mut most = 0;
    for _ in 0..200 {
        net.pass(MILLI);
        most = most.max(net.fetched_now());
    }
    assert_eq!(most, 1, "one address has one place");
    let mut answers = net.answers();
    answers.sort_by_key(|(_, length)| *length);
    let expected = [1, 2, 3].map(|n| (net.seen_as(n), 100 * n));
    assert_eq!(answers, expected);
    net.pass(secs(10));
    let mut addresses: Vec<_> = net.outcome().unexpected.iter().map(|u| u.address).collect();
    addresses.sort();
    assert_eq!(addresses, [1, 2, 3].map(|n| net.seen_as(n)));
}
