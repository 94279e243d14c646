//! The course of a distribution: announcement, passes, end notices, pace.

use super::*;

// Covers: GC-A.3-04
#[test]
fn the_announcement_precedes_all_blocks_and_says_what_comes() {
    let mut play = Play::new(config(3, &[]));
    play.run_until(DistributorEvent::PassEnded { pass: 1 });
    play.run(seconds(1));
    assert_eq!(
        play.said()[..7],
        [
            Said::Announcement,
            Said::Announcement,
            Said::Announcement,
            Said::Block(0),
            Said::Block(1),
            Said::Block(2),
            Said::End {
                pass: 1,
                window: 10
            },
        ]
    );
    let first = &play.requests[0];
    let read = Notice::decode(&first.payload).unwrap();
    let Notice::Announced(read) = read else {
        panic!("{read:?}");
    };
    assert_eq!(read.id(), play.distributor.id());
    assert_eq!((read.size(), read.block_size()), (43, 16));
    assert_eq!(read.digest(), &[9; 32]);
    assert_eq!(first.method, Code::POST);
    assert_eq!(play.events[0], DistributorEvent::Announced);
}

// Covers: GC-A.3-05
#[test]
fn a_manifest_is_carried_as_part_of_the_announcement() {
    let manifest = b"\xd8\x6b\xa2\x02\x58\x01\x00\x03\x40";
    let announced = announcement(1).with_manifest(manifest).unwrap();
    let mut play = Play::new(DistributorConfig::new(announced, PATH));
    play.drain();
    let Ok(Notice::Announced(read)) = Notice::decode(&play.requests[0].payload) else {
        panic!("no announcement");
    };
    assert_eq!(read.manifest(), Some(manifest.as_slice()));
}

// Covers: GC-A.3-06
#[test]
fn blocks_are_numbered_puts_without_block1_that_nobody_answers() {
    let mut play = Play::new(config(11, &[]));
    play.run_until(DistributorEvent::PassEnded { pass: 1 });
    assert_eq!(play.blocks(), Vec::from_iter(0..11));
    for request in &play.requests {
        let options = &request.options;
        assert_eq!(options.get(OptionNumber::BLOCK1), None);
        assert_eq!(options.get(OptionNumber::BLOCK2), None);
        assert_eq!(
            options.get(OptionNumber::NO_RESPONSE),
            Some([26].as_slice())
        );
    }
    let last = &play.requests[13];
    let id = alloc::format!("{}", play.distributor.id());
    let path: Vec<_> = last.options.all(OptionNumber::URI_PATH).collect();
    assert_eq!(path, [b"fw".as_slice(), id.as_bytes()]);
    assert_eq!(
        last.options.get(OptionNumber::URI_QUERY),
        Some(b"b=10".as_slice())
    );
    assert_eq!((last.method, last.payload.len()), (Code::PUT, 11));
    assert_eq!(last.options.get(OptionNumber::CONTENT_FORMAT), None);
}

#[test]
fn what_goes_to_the_group_keeps_to_the_rate_without_bursts() {
    let mut play = Play::new(DistributorConfig {
        announce_gap: Duration::ZERO,
        ..config(40, &[])
    });
    play.run_until(DistributorEvent::PassEnded { pass: 1 });
    let mut free = play.said[0].0 - Duration::from_millis(10);
    for ((at, said), request) in play.said.iter().zip(&play.requests) {
        assert!(*at >= free, "{said:?} is too early");
        assert!(
            at.since(free) <= Duration::from_millis(10),
            "{said:?} is late"
        );
        // at 1,000 bytes a second, a byte takes a millisecond; the first is taken to be 10 ms late
        free = free.max(*at - Duration::from_millis(10))
            + Duration::from_millis(config::coap_length(request) + 48);
    }
    assert_eq!(play.distributor.progress().group_bytes, play.bytes);
    assert_eq!(play.distributor.progress().block_datagrams, 40);
}

#[test]
fn the_length_of_a_request_is_that_of_its_encoding() {
    use antiphon_wire::{MessageId, Token, Type, Writer};
    let announced = announcement(1).with_manifest(&[7; 400]).unwrap();
    let id = announced.id();
    for request in [
        notice_request(
            "fw/a-path-of-more-than-thirteen",
            &Notice::Announced(announced),
        ),
        notice_request("", &Notice::Cancelled(id)),
        block_request(PATH, id, 1_000_000, vec![1; 1_024]),
        Request::new(Code::GET).option(OptionNumber(2_000), &[1; 300]),
        Request::new(Code::GET)
            .option(OptionNumber(12), &[1; 12])
            .option(OptionNumber(25), &[2; 13]),
        Request::new(Code::GET)
            .option(OptionNumber(268), &[1; 268])
            .option(OptionNumber(537), &[2; 269]),
    ] {
        let mut buffer = [0; 2_048];
        let token = Token::new(&[1; 8]).unwrap();
        let mut writer =
            Writer::new(&mut buffer, Type::Non, request.method, MessageId(1), token).unwrap();
        request.options.write(&mut writer).unwrap();
        writer.payload(&request.payload).unwrap();
        assert_eq!(config::coap_length(&request), writer.finish() as u64);
    }
}

#[test]
fn the_estimate_is_what_one_pass_takes() {
    let config = DistributorConfig {
        announce_gap: Duration::ZERO,
        announce_every: Duration::from_secs(3_600),
        ..config(1_203, &[])
    };
    let estimate = config.estimate(1);
    let mut play = Play::new(config);
    play.run_until(DistributorEvent::PassEnded { pass: 1 });
    while !matches!(play.said.last(), Some((_, Said::End { .. }))) {
        play.run(Duration::from_millis(10));
    }
    assert_eq!(estimate.datagrams, 3 + 1_203 + 1);
    assert_eq!(estimate.bytes, play.bytes);
    assert_eq!(estimate.duration, Duration::from_millis(play.bytes));
    assert_eq!(estimate.datagrams, play.said.len() as u64);
}

#[test]
fn the_estimate_knows_of_announcements_on_the_way_and_of_protection() {
    let plain = DistributorConfig {
        rate: 100_000,
        ..config(100_000, &[])
    };
    let protected = DistributorConfig {
        protection: 100,
        ..plain.clone()
    };
    let (plain, protected) = (plain.estimate(1), protected.estimate(1));
    // about 11 MB take 110 s at this rate: three announcements on the way
    assert!((100..120).contains(&plain.duration.as_secs()), "{plain:?}");
    assert_eq!(plain.datagrams, 100_000 + 3 + 3 + 1);
    assert_eq!(protected.datagrams, 100_000 + 3 + 6 + 1, "{protected:?}");
    assert_eq!(
        protected.bytes,
        plain.bytes + 100 * plain.datagrams + 3 * (announcement_on_air() + 100)
    );
}

#[test]
fn the_estimate_knows_that_copies_share_the_rate() {
    let config = DistributorConfig {
        announce_gap: Duration::ZERO,
        announce_every: Duration::from_secs(3_600),
        ..config(1_203, &[])
    };
    let often = DistributorConfig {
        announce_every: Duration::from_secs(30),
        ..config.clone()
    };
    let estimate = config.estimate(2);
    assert_eq!(config.estimate(0), config.estimate(1));
    let mut play = Play::new(config);
    play.copies = 2;
    play.run_until(DistributorEvent::PassEnded { pass: 1 });
    while !matches!(play.said.last(), Some((_, Said::End { .. }))) {
        play.run(Duration::from_millis(10));
    }
    assert_eq!(estimate.duration, Duration::from_millis(2 * play.bytes));
    let progress = play.distributor.progress();
    assert_eq!(estimate.bytes, progress.group_bytes);
    assert_eq!(estimate.datagrams, progress.group_datagrams);
    // the blocks take twice as long, so that it is announced more often on the way
    let (one, two) = (often.estimate(1), often.estimate(2));
    assert!(two.datagrams > 2 * one.datagrams, "{one:?} {two:?}");
}

#[test]
fn the_estimate_knows_that_announcements_take_a_hundredth_of_the_rate() {
    let often = DistributorConfig {
        announce_every: Duration::ZERO,
        ..config(100_000, &[])
    };
    let never = DistributorConfig {
        announce_every: seconds(1_000_000),
        ..often.clone()
    };
    let end = Notice::EndOfPass {
        id: often.announcement.id(),
        pass: 1,
        window: 10,
    };
    let end = config::coap_length(&notice_request(PATH, &end)) + 48;
    let blocks = never.estimate(1).bytes - 3 * announcement_on_air() - end;
    let later = blocks / (100 * announcement_on_air());
    let estimate = often.estimate(1);
    assert_eq!(estimate.datagrams, 100_000 + 3 + later + 1);
    assert_eq!(often.estimate(2).datagrams, 2 * estimate.datagrams);
}

/// What an announcement of 100,000 blocks takes on the air.
fn announcement_on_air() -> u64 {
    let notice = Notice::Announced(announcement(100_000));
    config::coap_length(&notice_request(PATH, &notice)) + 48
}

#[test]
fn announcements_go_on_and_take_a_hundredth_of_the_rate_at_most() {
    let mut slow = Play::new(config(600, &[]));
    slow.run(seconds(60));
    let at = slow.at_of(&Said::Announcement);
    let bytes = config::coap_length(&slow.requests[0]) + 48;
    let next = at[2] + Duration::from_millis(100 * bytes);
    assert!(next > seconds(12) && at.len() >= 4, "{at:?}");
    let mut fast = Play::new(DistributorConfig {
        rate: 10_000,
        ..config(6_000, &[])
    });
    fast.run(seconds(70));
    let at = fast.at_of(&Said::Announcement);
    assert_eq!(at[..3], [0, 2, 4].map(seconds));
    assert!(
        at[3] >= seconds(34) && at[3] < Duration::from_millis(34_050),
        "{at:?}"
    );
    assert!(
        at[4] >= seconds(64) && at[4] < Duration::from_millis(64_100),
        "{at:?}"
    );
}

#[test]
fn with_one_pass_the_end_opens_the_window_for_repairs() {
    let mut play = Play::new(DistributorConfig {
        passes: 1,
        window: seconds(7),
        ..config(4, &[1])
    })
    .says(1, receiving(4, &[0, 1, 2, 3]));
    play.run_until(DistributorEvent::RepairBegun { window: seconds(7) });
    let end = Said::End { pass: 1, window: 7 };
    assert_eq!(play.said()[7..], [end.clone(), end.clone(), end.clone()]);
    let at = play.at_of(&end);
    assert_eq!(at[1] - at[0], seconds(1));
    assert_eq!(at[2] - at[1], seconds(1));
}

#[test]
fn with_several_passes_the_first_ends_with_window_0_and_counting() {
    let mut play = Play::new(config(4, &[1, 2]))
        .says(1, receiving(4, &[0, 1, 2, 3]))
        .says(2, receiving(4, &[0, 1, 2, 3]));
    play.run_until(DistributorEvent::PassBegun { pass: 1, blocks: 4 });
    play.tells(1, receiving(4, &[1, 2]));
    play.tells(2, receiving(4, &[2]));
    play.run_until(DistributorEvent::PassEnded { pass: 2 });
    play.tells(1, receiving(4, &[2]));
    play.tells(2, activated(4));
    play.run_until(DistributorEvent::RepairBegun {
        window: seconds(10),
    });
    let last = Said::End {
        pass: 2,
        window: 10,
    };
    assert_eq!(
        play.said()[7..],
        [
            Said::End { pass: 1, window: 0 },
            Said::Block(1),
            Said::Block(2),
            Said::End { pass: 2, window: 0 },
            last.clone(),
            last.clone(),
            last,
        ]
    );
}

#[test]
fn there_are_no_more_passes_than_may_be() {
    let lacking = receiving(4, &[0, 1, 2, 3]);
    let mut play = Play::new(DistributorConfig {
        passes: 3,
        ..config(4, &[1, 2, 3])
    });
    for n in [1, 2, 3] {
        play.tells(n, lacking.clone());
    }
    play.run_until(DistributorEvent::RepairBegun {
        window: seconds(10),
    });
    assert_eq!(play.blocks().len(), 12);
    let ends: Vec<_> = play
        .said()
        .into_iter()
        .filter(|s| matches!(s, Said::End { .. }))
        .collect();
    let end = |pass, window| Said::End { pass, window };
    assert_eq!(
        ends,
        [end(1, 0), end(2, 0), end(3, 10), end(3, 10), end(3, 10)]
    );
}

#[test]
fn a_restarted_distributor_sends_what_is_lacking_and_no_more() {
    // The same image, the same identifier: devices have most of it.
    let mut play = Play::new(config(40, &[1, 2, 3]))
        .says(1, receiving(40, &[3, 4, 30]))
        .says(2, receiving(40, &[3, 4, 30, 31]));
    play.run_until(DistributorEvent::RepairBegun {
        window: seconds(10),
    });
    // device 3 is not there: that is waited for, and not forever
    assert_eq!(play.blocks()[..4], [3, 4, 30, 31]);
    let begun = DistributorEvent::PassBegun { pass: 1, blocks: 4 };
    assert!(play.events.contains(&begun), "{:?}", play.events);
}

#[test]
fn a_restart_with_nothing_left_to_send_goes_to_the_end_at_once() {
    let mut play = Play::new(config(40, &[1, 2]))
        .says(1, activated(40))
        .says(2, activated(40));
    play.run_until(DistributorEvent::Ended(DistributionEnd::AllFinal));
    assert_eq!(play.blocks(), [0; 0]);
    assert!(play.distributor.all_activated());
    assert_eq!(play.distributor.next_timeout(), None);
    assert_eq!(play.distributor.poll_send(play.now), None);
}

#[test]
fn counting_waits_for_slow_devices_and_not_for_ever() {
    let mut play = Play::new(DistributorConfig {
        count_for: seconds(20),
        ..config(40, &[1, 2])
    });
    play.run(seconds(5));
    assert_eq!(
        play.distributor.phase(),
        DistributionPhase::Passing,
        "nobody answers at once"
    );
    // one of two answers, and the question to the other stays open
    let mut play = Play::new(DistributorConfig {
        count_for: seconds(20),
        asks_at_once: 1,
        ..config(40, &[1, 2])
    });
    while play.distributor.phase() == DistributionPhase::Announcing {
        if play.distributor.poll_send(play.now).is_some() {
            play.distributor.sent(play.now, Some(100));
        }
        play.now = play.now + Duration::from_millis(10);
    }
    let counting = play.now;
    let ask = play.distributor.poll_ask(play.now).unwrap();
    assert_eq!(play.distributor.poll_ask(play.now), None, "one at once");
    let status = answer(&receiving(40, &[7]));
    play.distributor.asked(play.now, ask.ask, Ok(&status));
    let ask = play.distributor.poll_ask(play.now).unwrap();
    assert_eq!(ask.member, 1);
    let ends = play.distributor.next_timeout();
    assert!(ends.is_some_and(|at| at <= counting + seconds(20)));
    play.distributor
        .handle_timeout(counting + Duration::from_millis(19_980));
    assert_eq!(play.distributor.phase(), DistributionPhase::Counting);
    play.distributor.handle_timeout(counting + seconds(20));
    assert_eq!(play.distributor.phase(), DistributionPhase::Passing);
    play.distributor
        .asked(play.now, ask.ask, Err(Failure::TimedOut));
    assert_eq!(
        play.distributor.member(1).unwrap().failure,
        Some(Failure::TimedOut)
    );
}

#[test]
fn a_link_has_a_rate_and_a_size_of_blocks() {
    let known: Vec<_> = LinkProfile::ALL
        .into_iter()
        .map(|link| (link.name(), link.rate(), link.block_size()))
        .collect();
    assert_eq!(
        known,
        [
            ("unknown", 1, 1_024),
            ("6lowpan", 640, 64),
            ("802.15.4", 5_000, 256),
            ("wifi", 20_000, 1_024),
            ("ethernet", 100_000, 1_024),
        ]
    );
    for link in LinkProfile::ALL {
        assert_eq!(LinkProfile::from_name(link.name()), Some(link));
        assert!(Announcement::new(1, link.block_size(), [0; 32]).is_ok());
    }
    assert_eq!(LinkProfile::from_name("carrier pigeon"), None);
    assert_eq!(LinkProfile::default(), LinkProfile::Unknown);
}

#[test]
fn lateness_of_timers_is_made_up_for() {
    let mut pace = pace::Pace::new(1_000);
    let at = |millis: u64| Instant::from_millis(10_000 + millis);
    pace.sent(at(0), 100);
    assert_eq!(pace.free(), at(90), "as if it was 10 ms late");
    pace.sent(at(95), 100);
    assert_eq!(pace.free(), at(190), "5 ms late");
    pace.sent(at(200), 100);
    assert_eq!(pace.free(), at(290), "10 ms late");
    pace.sent(at(301), 100);
    assert_eq!(pace.free(), at(391), "11 ms late: 10 are made up for");
    pace.pause(at(301), Duration::from_millis(50));
    assert_eq!(pace.free(), at(391));
    pace.pause(at(301), Duration::from_secs(1));
    assert_eq!(pace.free(), at(1_301));
}

#[test]
fn what_cannot_be_sent_is_tried_again_after_a_second() {
    let mut play = Play::new(config(3, &[]));
    play.sends = false;
    play.run(Duration::from_millis(4_500));
    assert_eq!(play.distributor.progress().not_sent, 5);
    assert_eq!(play.said(), []);
    play.sends = true;
    play.run_until(DistributorEvent::PassEnded { pass: 1 });
    assert_eq!(play.blocks(), [0, 1, 2]);
    assert_eq!(play.at_of(&Said::Announcement)[0], seconds(5));
}

#[test]
fn every_copy_of_a_request_counts() {
    let mut play = Play::new(DistributorConfig {
        announcements: 1,
        ..config(10, &[])
    });
    assert!(play.distributor.poll_send(play.now).is_some());
    play.distributor.sent_copies(play.now, 3, Some(300));
    let progress = play.distributor.progress();
    assert_eq!((progress.group_datagrams, progress.group_bytes), (3, 444));
    // 444 bytes at 1,000 a second; the first is taken to be 10 ms late
    let free = play.now + Duration::from_millis(434);
    let early = free - Duration::from_micros(1);
    assert_eq!(play.distributor.poll_send(early), None);
    assert!(play.distributor.poll_send(free).is_some());
    play.distributor.sent_copies(free, 2, Some(200));
    let progress = play.distributor.progress();
    assert_eq!((progress.group_datagrams, progress.block_datagrams), (5, 2));
    let Served::Response(later) = play.repair(1, 9) else {
        panic!("it is still to come");
    };
    // nine blocks of 89 + 1 + 16 bytes, twice, and a second more
    let seconds = later.options.get(OptionNumber::MAX_AGE);
    assert_eq!(seconds, Some([2].as_slice()));
}

#[test]
fn one_request_is_under_way_at_a_time() {
    let mut play = Play::new(config(3, &[]));
    assert!(play.distributor.poll_send(play.now).is_some());
    let later = play.now + seconds(100);
    assert_eq!(
        play.distributor.poll_send(later),
        None,
        "until it is reported"
    );
    assert!(play.distributor.next_timeout() > Some(Instant::ZERO));
    play.distributor.sent(later, Some(100));
    assert_eq!(
        play.distributor.poll_send(later),
        None,
        "148 bytes are paid off first"
    );
    let free = later + Duration::from_millis(148);
    assert_eq!(play.distributor.poll_send(free), None, "and the gap of 2 s");
    assert!(play.distributor.poll_send(later + seconds(2)).is_some());
}

#[test]
fn it_ends_at_the_deadline_whatever_has_been_reached() {
    let mut play = Play::new(DistributorConfig {
        deadline: Some(seconds(9)),
        ..config(3_000, &[1])
    });
    play.run(seconds(9) - Duration::from_micros(1));
    assert_eq!(play.distributor.phase(), DistributionPhase::Passing);
    play.run(Duration::from_micros(1));
    assert_eq!(
        play.events.last(),
        Some(&DistributorEvent::Ended(DistributionEnd::Deadline))
    );
    assert!(!play.distributor.all_activated());
}

#[test]
fn parameters_have_limits() {
    let good = config(3, &[]);
    assert!(Distributor::new(good.clone()).is_ok());
    type Change = fn(&mut DistributorConfig);
    let bad: [(&str, Change); 8] = [
        ("rate", |c| c.rate = 0),
        ("rate", |c| c.rate = 1_000_000_001),
        ("passes", |c| c.passes = 0),
        ("passes", |c| c.passes = 1_001),
        ("window", |c| c.window = Duration::from_millis(999)),
        ("window", |c| c.window = seconds(65_536)),
        ("announcements", |c| c.announcements = 0),
        ("asks_at_once", |c| c.asks_at_once = 0),
    ];
    for (parameter, change) in bad {
        let mut config = good.clone();
        change(&mut config);
        let error = Distributor::new(config).unwrap_err();
        assert_eq!(error.parameter, parameter);
    }
    let edges: [Change; 5] = [
        |c| c.rate = 1_000_000_000,
        |c| c.rate = 1,
        |c| c.passes = 1_000,
        |c| c.window = seconds(1),
        |c| c.window = seconds(65_535),
    ];
    for change in edges {
        let mut config = good.clone();
        change(&mut config);
        assert!(Distributor::new(config).is_ok());
    }
}
