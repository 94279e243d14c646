//! Outer blocks that do not fit together, or that somebody else has made.

use super::fetching::*;
use super::*;
use crate::block::BodyFailure;
use crate::message::Options;

/// How the request fails when the third block of its response is changed like this.
fn spoilt(change: impl Fn(&[u8]) -> Vec<u8>) -> Failure {
    let (mut world, mut cutter) = begun(trusting(), 2);
    let all = cutter.goes_on(&mut world, |num, answer| match num {
        2 => Some(change(&answer)),
        _ => Some(answer),
    });
    assert_eq!(all.len(), 2);
    assert_eq!((fetching(&world), not_assembled(&world)), (0, 1));
    assert_eq!(world.failure(), None, "nobody has proven anything");
    assert_eq!(world.nodes[CLIENT].counters().not_verified, 0);
    world.pass(Duration::from_secs(100));
    is_clear(&world);
    world.failure().unwrap()
}

#[test]
fn blocks_that_do_not_fit_together_are_not_opened() {
    let set = |option, value: &[u8]| {
        let value = value.to_vec();
        move |bytes: &[u8]| {
            rewritten(bytes, |options, _| {
                options.set(option, &value);
            })
        }
    };
    let changed = Failure::Body(BodyFailure::Changed);
    assert_eq!(spoilt(set(OptionNumber::ETAG, b"other")), changed);
    assert_eq!(spoilt(set(OptionNumber::OSCORE, &[1, 9])), changed);
    let inconsistent = Failure::Body(BodyFailure::Inconsistent);
    let block2 = |num, more, szx| {
        let value = block(num, more, szx).encode();
        set(OptionNumber::BLOCK2, value.as_bytes())
    };
    assert_eq!(spoilt(block2(3, true, 2)), inconsistent);
    assert_eq!(spoilt(block2(1, true, 2)), inconsistent);
    // Where it begins is right; the size was not asked for.
    let larger = block2(1, true, 3);
    let larger = |bytes: &[u8]| rewritten(&larger(bytes), |_, payload| payload.resize(128, 0));
    assert_eq!(spoilt(larger), inconsistent);
    let without =
        |bytes: &[u8]| rewritten(bytes, |options, _| options.remove(OptionNumber::BLOCK2));
    assert_eq!(spoilt(without), inconsistent);
    let short = |bytes: &[u8]| rewritten(bytes, |_, payload| payload.truncate(63));
    assert_eq!(spoilt(short), inconsistent);
    let forgotten = |bytes: &[u8]| {
        let message = Message::parse(bytes).unwrap();
        let (mid, token) = (message.message_id(), message.token());
        let code = Code::REQUEST_ENTITY_INCOMPLETE;
        written(message.kind(), code, mid, token, &Options::new(), b"")
    };
    let unprotected = Failure::OnlyUnprotected(Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(spoilt(forgotten), unprotected);
}

#[test]
fn what_was_exchanged_on_the_way_is_not_opened_and_a_good_answer_is_still_taken() {
    let (mut world, mut cutter) = begun(trusting(), 2);
    cutter.goes_on(&mut world, |num, answer| match num {
        2 => Some(rewritten(&answer, |_, payload| payload[5] ^= 1)),
        _ => Some(answer),
    });
    let counters = world.nodes[CLIENT].counters();
    assert_eq!((counters.not_verified, counters.not_assembled), (1, 0));
    assert_eq!((world.failure(), world.response()), (None, None));
    // It was only a part of the whole.
    let (mut short, mut early) = begun(trusting(), 2);
    let last = block(2, false, 2).encode();
    early.goes_on(&mut short, |num, answer| match num {
        2 => Some(rewritten(&answer, |options, _| {
            options.set(OptionNumber::BLOCK2, last.as_bytes());
        })),
        _ => Some(answer),
    });
    assert_eq!(short.nodes[CLIENT].counters().not_verified, 1);
    for (mut world, cutter) in [(world, cutter), (short, early)] {
        assert_eq!(fetching(&world), 0);
        let mut whole = cutter.whole.clone();
        crate::endpoint::protect::set_head(&mut whole, Type::Con, MessageId(0x5001));
        cutter.brings(&mut world, &whole);
        is_delivered(&world);
        is_clear(&world);
    }
}

/// A first block of somebody who has seen the request.
fn forged_first(cutter: &mut Cutter, request: &[u8], n: u8) -> Vec<u8> {
    let first = cutter.block(0, request);
    let mut first = rewritten(&first, |_, payload| {
        payload[..2].copy_from_slice(&[n, 0xff])
    });
    let mid = MessageId(0x6000 + u16::from(n));
    crate::endpoint::protect::set_head(&mut first, Type::Non, mid);
    first
}

#[test]
fn a_forged_first_block_takes_nothing_from_the_genuine_one() {
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    let forged = forged_first(&mut cutter, &request, 1);
    cutter.brings(&mut world, &forged);
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    assert_eq!(fetching(&world), 2);
    let all = cutter.goes_on(&mut world, |_, answer| Some(answer));
    assert_eq!(all.len(), 8);
    assert_eq!(world.nodes[CLIENT].counters().not_verified, 1);
    is_delivered(&world);
    is_clear(&world);
    // The genuine one comes first, and the forged one gets no further: it is given up with the request.
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    let forged = forged_first(&mut cutter, &request, 1);
    cutter.brings(&mut world, &forged);
    assert_eq!(fetching(&world), 2);
    let mut asked = 0;
    cutter.goes_on(&mut world, |_, answer| {
        asked += 1;
        (asked != 2).then_some(answer) // the second block of the forged one
    });
    // They take turns, so that it is waited for first.
    assert_eq!((asked, fetching(&world)), (2, 2));
    world.pass(Duration::from_secs(4));
    cutter.goes_on(&mut world, |_, answer| {
        asked += 1;
        Some(answer)
    });
    assert_eq!(asked, 8, "its last block is not asked for");
    is_delivered(&world);
    is_clear(&world);
}

#[test]
fn whoever_sends_first_blocks_one_request_for_more_is_outstanding() {
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    for n in 0..40 {
        let forged = forged_first(&mut cutter, &request, n);
        cutter.brings(&mut world, &forged);
        assert_eq!(world.from(CLIENT).len(), 1, "{n}");
    }
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    assert_eq!((fetching(&world), not_assembled(&world)), (4, 37));
    // Each has its turn when the one before it is answered.
    for _ in 0..8 {
        assert_eq!(world.from(CLIENT).len(), 1);
        let mut once = true;
        let all = cutter.goes_on(&mut world, |_, answer| {
            core::mem::take(&mut once).then_some(answer)
        });
        assert_eq!(all.len(), 2);
        world.pass(Duration::from_secs(4));
    }
    cutter.goes_on(&mut world, |_, answer| Some(answer));
    is_delivered(&world);
    is_clear(&world);
    assert_eq!(world.nodes[CLIENT].counters().not_verified, 3);
}

#[test]
fn nobody_gives_way_to_what_finds_no_room() {
    let mut config = trusting();
    config.transfers.bytes = 4 * 64;
    let (mut world, mut cutter) = asked(config, 2);
    let request = world.sent.remove(0).bytes;
    for n in 0..6 {
        let forged = forged_first(&mut cutter, &request, n);
        cutter.brings(&mut world, &forged);
        assert_eq!(fetching(&world), usize::from(n + 1).min(4));
    }
    let gave_way = not_assembled(&world);
    assert_eq!(gave_way, 2, "of the same size");
    cutter.szx = 3;
    let larger = forged_first(&mut cutter, &request, 7);
    cutter.brings(&mut world, &larger);
    assert_eq!((fetching(&world), not_assembled(&world)), (4, gave_way + 1));
}

#[test]
fn what_somebody_else_has_begun_holds_no_peer_back() {
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    let forged = forged_first(&mut cutter, &request, 1);
    cutter.brings(&mut world, &forged);
    assert_eq!(fetching(&world), 1);
    // The genuine response is whole.
    cutter.szx = 6;
    let whole = cutter.block(0, &request);
    cutter.brings(&mut world, &whole);
    is_delivered(&world);
    is_clear(&world);
    world.forget_sent();
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    assert_eq!(world.from(CLIENT).len(), 1, "at once");
}

#[test]
fn copies_of_a_first_block_begin_nothing_more() {
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    for mid in 0..6 {
        let mut first = cutter.block(0, &request);
        let mid = MessageId(0x6000 + mid);
        crate::endpoint::protect::set_head(&mut first, Type::Con, mid);
        cutter.brings(&mut world, &first);
        assert_eq!(fetching(&world), 1);
        let acknowledged = world.sent.iter().any(|datagram| {
            let message = datagram.message();
            message.kind() == Type::Ack && message.message_id() == mid
        });
        assert!(acknowledged, "who was heard is told");
    }
    let all = cutter.goes_on(&mut world, |_, answer| Some(answer));
    assert_eq!(all.len(), 4);
    is_delivered(&world);
}

#[test]
fn an_address_has_four_places_and_who_has_only_begun_gives_way() {
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    for n in 0..6_u8 {
        let forged = forged_first(&mut cutter, &request, n);
        cutter.brings(&mut world, &forged);
        assert_eq!(fetching(&world), usize::from(n + 1).min(4));
        assert_eq!(not_assembled(&world), u64::from(n.saturating_sub(3)));
    }
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    assert_eq!((fetching(&world), not_assembled(&world)), (4, 3));
    cutter.goes_on(&mut world, |_, answer| Some(answer));
    is_delivered(&world);
    is_clear(&world);

    // Those that have gone on stay, and one more is as lost as on the way.
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    for n in 0..4 {
        let forged = forged_first(&mut cutter, &request, n);
        cutter.brings(&mut world, &forged);
    }
    let all = cutter.goes_on(&mut world, |num, answer| (num == 1).then_some(answer));
    assert_eq!(all.len(), 4 + 1);
    for lost in 1..3 {
        let forged = forged_first(&mut cutter, &request, 9);
        cutter.brings(&mut world, &forged);
        assert_eq!((fetching(&world), not_assembled(&world)), (4, lost));
    }
    assert_eq!(world.nodes[CLIENT].endpoint.counters().duplicates, 0);
    world.pass(Duration::from_secs(200));
    is_clear(&world);
}

#[test]
fn sixteen_are_put_together_at_a_time_whoever_sends_them() {
    let mut world = cut_world(trusting());
    let question = GroupRequest {
        end: End::after(Duration::from_secs(1_000)),
        ..question(&world, "t")
    };
    world.ask_group(question);
    let mut cutter = Cutter::before(&mut world, LAMP, 0);
    let request = world.sent.remove(0).bytes;
    for n in 0..20_u8 {
        let forged = forged_first(&mut cutter, &request, n);
        world.inject(CLIENT, false, stranger(n / 4), &forged);
        assert_eq!(fetching(&world), usize::from(n + 1).min(16));
        assert_eq!(not_assembled(&world), u64::from(n.saturating_sub(15)));
        world.pass(Duration::from_millis(63)); // so many in a second
    }
    // The genuine answer finds a place as well, and is taken.
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    assert_eq!(fetching(&world), 16);
    cutter.goes_on(&mut world, |_, answer| Some(answer));
    assert_eq!(world.answers().len(), 1);
    assert_eq!(fetching(&world), 15);
    // The others are given up when nobody answers; of one address one after the other (NSTART), but no later than this.
    world.pass(Duration::from_secs(600));
    assert_eq!(fetching(&world), 0);
    assert_eq!(not_assembled(&world), 5 + 15);
}

#[test]
fn a_source_makes_this_endpoint_fetch_no_more_than_its_budget() {
    let mut config = trusting();
    config.security.failures_per_source = 2;
    let (mut world, mut cutter) = asked(config, 2);
    let request = world.sent.remove(0).bytes;
    for n in 0..3 {
        let forged = forged_first(&mut cutter, &request, n);
        cutter.brings(&mut world, &forged);
    }
    assert_eq!(fetching(&world), 2);
    assert_eq!(world.nodes[CLIENT].counters().over_budget, 1);
}

#[test]
fn what_answers_a_group_makes_this_endpoint_fetch_no_more_than_so_much_whoever_sends_it() {
    let question = |world: &World| GroupRequest {
        end: End::after(Duration::from_secs(1_000)),
        ..question(world, "large")
    };
    let mut world = cut_world(trusting());
    world.ask_group(question(&world));
    let mut cutter = Cutter::before(&mut world, LAMP, 2);
    let request = world.sent.remove(0).bytes;
    let over = |world: &World| world.nodes[CLIENT].counters().over_budget;
    for n in 0..40_u8 {
        let forged = forged_first(&mut cutter, &request, n);
        world.inject(CLIENT, false, stranger(n), &forged);
        assert_eq!(world.from(CLIENT).len(), usize::from(n + 1).min(16));
        assert_eq!(over(&world), u64::from(n.saturating_sub(15)));
    }
    // One more after a sixteenth of a second.
    world.pass(Duration::from_millis(63));
    for n in 40..43_u8 {
        let forged = forged_first(&mut cutter, &request, n);
        world.inject(CLIENT, false, stranger(n), &forged);
    }
    assert_eq!(over(&world), 24 + 2);

    // What was genuine does not count.
    let mut world = cut_world(trusting());
    world.ask_group(question(&world));
    let mut cutter = Cutter::before(&mut world, LAMP, 2);
    let request = world.sent.remove(0).bytes;
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    cutter.goes_on(&mut world, |_, answer| Some(answer));
    assert_eq!(
        (fetching(&world), world.nodes[CLIENT].counters().responses),
        (0, 1)
    );
    for n in 0..17_u8 {
        let forged = forged_first(&mut cutter, &request, n);
        world.inject(CLIENT, false, stranger(n), &forged);
    }
    assert_eq!((fetching(&world), over(&world)), (16, 1));
}

#[test]
fn a_small_block_in_answer_to_a_group_makes_nobody_send_much_more() {
    for (szx, host, is_taken) in [(0, 4, true), (0, 200, false), (2, 200, true)] {
        let mut world = cut_world(trusting());
        let mut question = question(&world, "large");
        let host = alloc::vec![b'h'; host];
        question.request.options.push(OptionNumber::URI_HOST, &host);
        world.ask_group(question);
        let request = world.sent.remove(0).bytes;
        let mut options = Options::new();
        options.push(OptionNumber::OSCORE, &[]);
        let value = block(0, true, szx).encode();
        options.push(OptionNumber::BLOCK2, value.as_bytes());
        let token = Message::parse(&request).unwrap().token();
        let (code, mid, payload) = (Code::CHANGED, MessageId(9), [7; 64]);
        let payload = &payload[..16 << szx];
        let first = written(Type::Non, code, mid, token, &options, payload);
        world.inject(CLIENT, false, stranger(1), &first);
        assert_eq!(fetching(&world), usize::from(is_taken));
        assert_eq!(not_assembled(&world), u64::from(!is_taken));
        let sent: usize = world.from(CLIENT).iter().map(|it| it.bytes.len()).sum();
        assert_eq!(sent > 0, is_taken);
        assert!(sent <= 3 * first.len(), "{sent}");
    }
}

#[test]
fn what_was_opened_in_the_end_does_not_count_as_failed() {
    for (is_genuine, over) in [(true, 0), (false, 1)] {
        let mut config = trusting();
        config.security.failures_per_source = 1;
        let (mut world, mut cutter) = begun(config, 2);
        cutter.goes_on(&mut world, |num, answer| match num {
            2 if !is_genuine => Some(rewritten(&answer, |_, payload| payload[5] ^= 1)),
            _ => Some(answer),
        });
        if !is_genuine {
            let mut whole = cutter.whole.clone();
            crate::endpoint::protect::set_head(&mut whole, Type::Con, MessageId(0x5001));
            cutter.brings(&mut world, &whole);
        }
        is_delivered(&world);
        world.forget_sent();
        world.ask(request_to(LAMP, "large", to_member(&world, LAMP)));
        let mut cutter = Cutter::before(&mut world, LAMP, 2);
        let request = world.sent.remove(0).bytes;
        let first = cutter.block(0, &request);
        cutter.brings(&mut world, &first);
        assert_eq!(fetching(&world), 1 - over);
        assert_eq!(world.nodes[CLIENT].counters().over_budget, over as u64);
    }
}

#[test]
fn blocks_count_among_the_bytes_of_all_transfers() {
    for (bytes, is_taken) in [(64, false), (2_000, true)] {
        let mut config = trusting();
        config.transfers.bytes = bytes;
        let (mut world, mut cutter) = begun(config, 2);
        cutter.goes_on(&mut world, |_, answer| Some(answer));
        assert_eq!(world.response().is_some(), is_taken);
        assert_eq!(not_assembled(&world), u64::from(!is_taken));
    }
    let mut config = trusting();
    config.transfers.bytes = 0;
    let (world, _) = begun(config, 2);
    assert_eq!((fetching(&world), not_assembled(&world)), (0, 1));
    assert!(world.from(CLIENT).is_empty());
}

#[test]
fn a_later_block_under_the_token_of_the_request_begins_nothing() {
    let (mut world, mut cutter) = asked(trusting(), 2);
    let request = world.sent.remove(0).bytes;
    for num in [1, cutter.blocks() - 1] {
        let mut later = cutter.block(num, &request);
        let mid = MessageId(0x6000 + num as u16);
        crate::endpoint::protect::set_head(&mut later, Type::Non, mid);
        cutter.brings(&mut world, &later);
    }
    assert_eq!((fetching(&world), not_assembled(&world)), (0, 0));
    assert_eq!(world.nodes[CLIENT].counters().not_verified, 2);
    assert_eq!(world.failure(), None);
}
