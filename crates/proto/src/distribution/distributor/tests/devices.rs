//! Repairs, questions to devices, and what is known of them.

use super::*;

/// A play that has come to the repair phase, with these devices.
fn repairing(blocks: u32, members: &[u8]) -> Play {
    let mut play = Play::new(DistributorConfig {
        passes: 1,
        ..config(blocks, members)
    });
    for n in members {
        play.tells(*n, receiving(blocks, &Vec::from_iter(0..blocks)));
    }
    play.run_until(DistributorEvent::RepairBegun {
        window: seconds(10),
    });
    play.asked.clear();
    play
}

#[test]
fn a_device_gets_the_block_it_asks_for() {
    let mut play = repairing(5, &[1]);
    let block = |number, offset, length| {
        Served::Block(Fills {
            number,
            offset,
            length,
        })
    };
    assert_eq!(play.repair(1, 0), block(0, 0, 16));
    assert_eq!(
        play.repair(9, 4),
        block(4, 64, 11),
        "also one that is no member"
    );
    let progress = play.distributor.progress();
    assert_eq!((progress.repairs, progress.repairs_refused), (2, 0));
    assert_eq!(play.distributor.member(0).unwrap().repairs, 1);
    assert_eq!(play.distributor.member(0).unwrap().heard, Some(play.now));
}

#[test]
fn what_there_is_not_is_refused() {
    let mut play = repairing(5, &[1]);
    let id = alloc::format!("fw/{}", play.distributor.id());
    let code = |served: Served| match served {
        Served::Response(response) => response.code,
        Served::Block(fills) => panic!("{fills:?}"),
    };
    assert_eq!(
        code(play.repair(1, 5)),
        Code::NOT_FOUND,
        "one beyond the last"
    );
    assert_eq!(code(play.repair(1, u32::MAX)), Code::NOT_FOUND);
    assert_eq!(
        code(play.get(1, "fw/0000000000000000", "b=0")),
        Code::NOT_FOUND
    );
    assert_eq!(code(play.get(1, &id, "b=")), Code::BAD_REQUEST);
    assert_eq!(code(play.get(1, "fw", "")), Code::NOT_FOUND);
    let put = block_request(PATH, play.distributor.id(), 0, vec![0; 16]);
    let served = play.distributor.handle_request(play.now, device(1), &put);
    assert_eq!(code(served), Code::METHOD_NOT_ALLOWED);
    assert_eq!(play.distributor.progress().repairs_refused, 6);
    assert_eq!(play.distributor.progress().repairs, 0);
}

#[test]
fn a_block_that_comes_to_everyone_in_a_moment_is_not_sent_to_one() {
    let mut play =
        Play::new(config(1_000, &[1])).says(1, receiving(1_000, &Vec::from_iter(0..1_000)));
    play.run_until(DistributorEvent::PassBegun {
        pass: 1,
        blocks: 1_000,
    });
    while play.distributor.progress().pass_sent < 100 {
        play.run(Duration::from_millis(1));
    }
    assert!(
        matches!(play.repair(1, 99), Served::Block(_)),
        "it was sent already"
    );
    let Served::Response(later) = play.repair(1, 199) else {
        panic!("it is still to come");
    };
    assert_eq!(later.code, Code::SERVICE_UNAVAILABLE);
    // 900 blocks of 16 bytes and 91 of headers, at 1,000 bytes a second
    let seconds = 97; // 900 * 107 / 1,000, and one more
    assert_eq!(
        later.options.get(OptionNumber::MAX_AGE),
        Some([seconds].as_slice())
    );
    assert_eq!(play.distributor.progress().repairs_later, 1);
}

#[test]
fn devices_are_asked_until_all_are_done() {
    let mut play = repairing(5, &[1, 2]);
    play.tells(1, activated(5));
    play.tells(2, state(5, DeviceState::Failed, Some(Code::NOT_ACCEPTABLE)));
    play.run_until(DistributorEvent::Ended(DistributionEnd::AllFinal));
    assert_eq!(play.asked.len(), 2, "each once");
    let report: Vec<_> = play.distributor.report().collect();
    assert_eq!(report[0].state, Some(DeviceState::Activated));
    assert_eq!((report[0].have, report[0].total), (5, 5));
    assert_eq!(report[1].code, Some(Code::NOT_ACCEPTABLE));
    assert_eq!(report[1].address, device(2));
    assert!(!play.distributor.all_activated());
    let members: Vec<_> = play
        .events
        .iter()
        .filter(|e| matches!(e, DistributorEvent::Member(_)))
        .collect();
    assert_eq!(
        members[members.len() - 2..],
        [&DistributorEvent::Member(0), &DistributorEvent::Member(1)]
    );
}

#[test]
fn a_device_that_was_sent_all_it_lacked_is_asked_soon() {
    let mut play = repairing(5, &[1]);
    play.tells(1, receiving(5, &[2, 3]));
    play.run(seconds(21));
    assert_eq!(play.asked.len(), 1, "after the window");
    play.repair(1, 2);
    play.run(seconds(3));
    assert_eq!(play.asked.len(), 1, "it still lacks one");
    play.repair(1, 3);
    let served = play.now;
    play.tells(1, activated(5));
    play.run(seconds(3));
    assert_eq!(play.asked.last(), Some(&(served + seconds(2), device(1))));
    assert_eq!(
        play.events.last(),
        Some(&DistributorEvent::Ended(DistributionEnd::AllFinal))
    );
}

#[test]
fn that_one_device_is_asked_soon_changes_nothing_for_the_others() {
    let at_of = |play: &Play, n| {
        let asked = play.asked.iter().filter(|(_, to)| *to == device(n));
        asked.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    let mut alone = repairing(5, &[1, 2]);
    let mut play = repairing(5, &[1, 2]);
    for play in [&mut alone, &mut play] {
        play.tells(1, receiving(5, &[2]));
        play.tells(2, receiving(5, &[2]));
        play.run(seconds(21));
    }
    assert!(matches!(play.repair(1, 2), Served::Block(_)));
    let served = play.now;
    alone.run(seconds(60));
    play.run(seconds(60));
    assert_eq!(at_of(&play, 2), at_of(&alone, 2));
    assert!(at_of(&play, 2).len() > 1);
    assert_eq!(at_of(&play, 1)[1], served + seconds(2));
}

#[test]
fn a_device_that_is_done_during_a_pass_is_not_asked_again_in_it() {
    let lacking = Vec::from_iter(0..4_000);
    let mut play = Play::new(config(4_000, &[1, 2]))
        .says(1, receiving(4_000, &lacking))
        .says(2, receiving(4_000, &lacking));
    play.run_until(DistributorEvent::PassBegun {
        pass: 1,
        blocks: 4_000,
    });
    play.tells(1, activated(4_000));
    play.asked.clear();
    play.run(seconds(300));
    assert_eq!(play.distributor.phase(), DistributionPhase::Passing);
    let of = |n| play.asked.iter().filter(|(_, to)| *to == device(n)).count();
    assert_eq!(of(1), 1);
    assert!(of(2) > 1);
}

#[test]
fn a_count_goes_on_at_once_as_long_as_somebody_is_still_to_be_asked() {
    let mut distributor = Distributor::new(DistributorConfig {
        protection: 100, // nobody is asked during a pass
        ..config(5, &[1, 2])
    })
    .unwrap();
    let mut now = Instant::from_millis(1_000);
    for _ in 0..1_000 {
        while distributor.poll_send(now).is_some() {
            distributor.sent(now, Some(50));
        }
        if distributor.phase() == DistributionPhase::Counting {
            break;
        }
        now = now.max(distributor.next_timeout().unwrap());
        distributor.handle_timeout(now);
    }
    assert_eq!(distributor.phase(), DistributionPhase::Counting);
    for member in 0..2 {
        assert_eq!(distributor.next_timeout(), Some(Instant::ZERO));
        assert_eq!(distributor.poll_ask(now).unwrap().member, member);
    }
    assert!(distributor.next_timeout() > Some(now), "all were asked");
    assert!(distributor.poll_ask(now).is_none());
}

#[test]
fn a_device_that_does_not_get_further_is_asked_less_and_less_often() {
    let mut play = repairing(5, &[1]);
    play.tells(1, receiving(5, &[2, 3]));
    play.run(seconds(700));
    let at: Vec<_> = play.asked.iter().map(|(at, _)| *at).collect();
    let gaps: Vec<_> = at
        .windows(2)
        .map(|two| two[1].since(two[0]).as_secs())
        .collect();
    assert_eq!(gaps, [15, 30, 60, 120, 240], "doubled, four times at most");
}

#[test]
fn a_device_that_verifies_or_activates_is_asked_sooner() {
    let mut play = repairing(5, &[1]);
    play.tells(1, state(5, DeviceState::Activating, None));
    play.run(seconds(60));
    let at: Vec<_> = play.asked.iter().map(|(at, _)| *at).collect();
    let gaps: Vec<_> = at
        .windows(2)
        .map(|two| two[1].since(two[0]).as_secs())
        .collect();
    assert_eq!(gaps, [2, 4, 8, 16]);
}

#[test]
fn a_device_of_which_nothing_is_heard_is_given_up() {
    let mut play = repairing(5, &[1, 2]);
    let begun = play.now;
    play.says.remove(&device(2));
    play.tells(1, activated(5));
    play.run(seconds(590));
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
    assert!(!play.distributor.member(1).unwrap().given_up);
    play.run_until(DistributorEvent::Ended(DistributionEnd::GivenUp));
    assert!(
        play.now.since(begun) < seconds(607),
        "{:?}",
        play.now.since(begun)
    );
    let report = play.distributor.member(1).unwrap();
    assert!(report.given_up);
    assert_eq!(report.failure, Some(Failure::TimedOut));
    assert!(!play.distributor.member(0).unwrap().given_up);
}

#[test]
fn a_device_that_asks_for_other_blocks_is_not_given_up() {
    let mut play = repairing(50, &[1]);
    play.says.clear();
    for block in 0..20 {
        play.run(seconds(60));
        play.repair(1, block);
    }
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
    let last = play.now;
    // but one that goes on to ask for these is
    play.run(seconds(300));
    play.repair(1, 19);
    play.run(seconds(290));
    play.repair(1, 0);
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
    play.run_until(DistributorEvent::Ended(DistributionEnd::GivenUp));
    let after = play.now.since(last);
    assert!(after < seconds(607), "{after:?}");
    assert!(play.distributor.member(0).unwrap().given_up);
}

#[test]
fn a_device_that_answers_and_does_not_get_further_is_given_up() {
    let mut play = repairing(5, &[1]);
    let begun = play.now;
    play.tells(1, receiving(5, &[2, 3]));
    play.run(seconds(400));
    // one block more, and everything from the beginning
    play.tells(1, receiving(5, &[3]));
    play.run(seconds(400));
    play.tells(1, state(5, DeviceState::Verifying, None));
    play.run(seconds(200));
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
    play.run_until(DistributorEvent::Ended(DistributionEnd::GivenUp));
    let (asked, _) = play.asked[play.asked.len() - 1];
    assert!(
        play.now.since(asked) < seconds(300),
        "it was asked until then"
    );
    let after = play.now.since(begun);
    assert!(
        after > seconds(1_400) && after < seconds(1_700),
        "{after:?}"
    );
    let report = play.distributor.member(0).unwrap();
    assert!(report.given_up && report.failure.is_none());
}

#[test]
fn a_device_that_was_given_up_and_gets_further_is_waited_for_again() {
    let mut play = repairing(5, &[1, 2]);
    play.says.clear();
    play.run(seconds(300));
    play.repair(2, 0);
    play.run(seconds(320));
    let given_up = |play: &Play, at| play.distributor.member(at).unwrap().given_up;
    assert!(given_up(&play, 0) && !given_up(&play, 1));
    let asked = play.asked.len();
    play.tells(1, receiving(5, &[3]));
    play.repair(1, 3);
    assert!(!given_up(&play, 0));
    play.run(seconds(3));
    assert_eq!(
        play.asked[asked..]
            .iter()
            .filter(|(_, to)| *to == device(1))
            .count(),
        1
    );
    play.run(seconds(500));
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
}

#[test]
fn without_members_it_ends_when_nobody_has_asked_for_a_while() {
    let mut play = repairing(5, &[]);
    play.run(seconds(500));
    play.repair(7, 1);
    play.run(seconds(590));
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
    play.run_until(DistributorEvent::Ended(DistributionEnd::Quiet));
    assert_eq!(play.asked.len(), 0);
    assert!(!play.distributor.all_activated(), "nobody knows");
}

#[test]
fn late_joiners_hear_the_announcement_and_the_end_in_the_repair_phase() {
    let mut play = repairing(5, &[]);
    play.said.clear();
    play.run(seconds(120));
    let end = Said::End {
        pass: 1,
        window: 10,
    };
    let said = play.said();
    assert!(said.len() >= 6 && said.len().is_multiple_of(2), "{said:?}");
    for two in said.chunks(2) {
        assert_eq!(two, [Said::Announcement, end.clone()]);
    }
    let at = play.at_of(&Said::Announcement);
    assert!(
        at[1] - at[0] >= seconds(30) && at[1] - at[0] < seconds(31),
        "{at:?}"
    );
}

#[test]
fn the_longer_repairs_take_the_less_often_the_image_is_announced() {
    let mut play = Play::new(DistributorConfig {
        passes: 1,
        give_up: seconds(20_000),
        rate: 100_000,
        ..config(5, &[])
    });
    play.run_until(DistributorEvent::RepairBegun {
        window: seconds(10),
    });
    play.said.clear();
    play.run(seconds(10_000));
    let at = play.at_of(&Said::Announcement);
    let gaps: Vec<_> = at
        .windows(2)
        .map(|two| (two[1] - two[0]).as_secs())
        .collect();
    assert_eq!(gaps[..9], [30; 9]);
    assert!(gaps.is_sorted() && gaps.len() < 70, "{gaps:?}");
    assert_eq!(gaps.last(), Some(&300));
}

#[test]
fn during_a_pass_questions_take_a_fiftieth_of_the_rate() {
    let mut play = Play::new(DistributorConfig {
        rate: 10_000,
        ..config(20_000, &[1, 2, 3])
    });
    let all = Vec::from_iter(0..20_000);
    for n in [1, 2, 3] {
        play.tells(n, receiving(20_000, &all));
    }
    play.run_until(DistributorEvent::PassBegun {
        pass: 1,
        blocks: 20_000,
    });
    play.asked.clear();
    let begun = play.now;
    play.run(seconds(60));
    let at: Vec<_> = play.asked.iter().map(|(at, _)| at.since(begun)).collect();
    // 420 bytes x 50 / 10,000 bytes a second: one in 2.1 s
    assert!((27..=29).contains(&at.len()), "{}", at.len());
    assert!(
        at.windows(2)
            .all(|two| two[1] - two[0] > Duration::from_millis(1_900))
    );
}

#[test]
fn a_device_that_is_occupied_with_another_image_lacks_nothing_of_this_one() {
    let other = DeviceStatus {
        id: Some(announcement(9).id()),
        state: DeviceState::Receiving,
        total: 9,
        ..DeviceStatus::default()
    };
    let mut play = Play::new(config(40, &[1, 2]))
        .says(1, other.clone())
        .says(2, receiving(40, &[5]));
    play.run_until(DistributorEvent::PassBegun { pass: 1, blocks: 1 });
    let report = play.distributor.member(0).unwrap();
    assert_eq!(report.busy_with, other.id);
    assert_eq!((report.state, report.have, report.total), (None, 0, 40));
    // afterwards it has time
    play.tells(
        1,
        DeviceStatus {
            state: DeviceState::Failed,
            ..other
        },
    );
    play.run_until(DistributorEvent::RepairBegun {
        window: seconds(10),
    });
    play.run(seconds(60));
    assert_eq!(play.distributor.member(0).unwrap().busy_with, None);
}

#[test]
fn an_idle_device_lacks_everything() {
    let mut play = Play::new(config(40, &[1, 2]))
        .says(1, DeviceStatus::default())
        .says(2, receiving(40, &[5]));
    play.run_until(DistributorEvent::PassBegun {
        pass: 1,
        blocks: 40,
    });
}

#[test]
fn for_a_device_that_has_not_heard_of_the_image_it_is_announced_again() {
    let mut play = Play::new(DistributorConfig {
        rate: 10_000,
        ..config(4_000, &[1, 2])
    })
    .says(1, DeviceStatus::default())
    .says(2, receiving(4_000, &[]));
    play.run_until(DistributorEvent::PassBegun {
        pass: 1,
        blocks: 4_000,
    });
    play.tells(1, receiving(4_000, &[7]));
    play.run(seconds(20));
    let at = play.at_of(&Said::Announcement);
    // after 0, 2 and 4 s as always, then for device 1, and then no more than in any case
    assert_eq!(at.len(), 4, "{at:?}");
    assert!(
        at[3] >= seconds(6) && at[3] < Duration::from_millis(6_100),
        "{at:?}"
    );
}

#[test]
fn a_pass_that_outruns_the_replay_windows_of_the_devices_asks_nobody() {
    // 16 blocks of 16 bytes in 45 s are 5.7 bytes a second
    for (rate, protection, copies, asks) in [
        (5, 100, 1, true),
        (6, 100, 1, false),
        (6, 0, 1, true),
        (11, 100, 2, true),
        (12, 100, 2, false),
    ] {
        let mut play = Play::new(DistributorConfig {
            rate,
            protection,
            announcements: 1,
            ..config(20_000, &[1])
        });
        play.copies = copies;
        let all = Vec::from_iter(0..20_000);
        play.tells(1, receiving(20_000, &all));
        play.run_until(DistributorEvent::PassBegun {
            pass: 1,
            blocks: 20_000,
        });
        play.asked.clear();
        play.run(seconds(10_000));
        assert!(play.said.iter().any(|(_, said)| *said == Said::Block(50)));
        assert_eq!(!play.asked.is_empty(), asks, "{rate} {protection} {copies}");
    }
}

#[test]
fn during_a_pass_announcements_take_a_hundredth_of_the_rate_whoever_has_not_heard_of_it() {
    let mut play = Play::new(DistributorConfig {
        announcement: announcement(4_000).with_manifest(&[7; 400]).unwrap(),
        ..config(4_000, &[1])
    })
    .says(1, DeviceStatus::default());
    play.run(seconds(400));
    assert_eq!(play.distributor.phase(), DistributionPhase::Passing);
    assert!(play.asked.len() > 15, "every 21 s it says so again");
    // 100 times its bytes, at 1,000 a second
    let share = 100 * (config::coap_length(&play.requests[0]) + 48);
    let at = play.at_of(&Said::Announcement);
    let gap = |two: &[Duration]| (two[1] - two[0]).as_millis();
    let gaps: Vec<_> = at.windows(2).map(gap).collect();
    // three as always; one that was due before the pass; then as often as may be
    assert_eq!(gaps[..2], [2_000; 2]);
    assert!((2_000..2_200).contains(&gaps[2]), "{gaps:?}");
    let as_often = u128::from(share)..u128::from(share) + 200;
    assert!(gaps.len() >= 8, "{gaps:?}");
    assert!(
        gaps[3..].iter().all(|gap| as_often.contains(gap)),
        "{share}: {gaps:?}"
    );
}

#[test]
fn a_device_that_knows_no_distributions_says_so() {
    let mut play = Play::new(config(4, &[1]));
    while play.distributor.phase() == DistributionPhase::Announcing {
        if play.distributor.poll_send(play.now).is_some() {
            play.distributor.sent(play.now, Some(100));
        }
        play.now = play.now + Duration::from_millis(10);
    }
    let ask = play.distributor.poll_ask(play.now).unwrap();
    let refused = Response::new(Code::NOT_FOUND);
    play.distributor.asked(play.now, ask.ask, Ok(&refused));
    let report = play.distributor.member(0).unwrap();
    assert_eq!((report.state, report.code), (None, Some(Code::NOT_FOUND)));
    assert_eq!(report.failure, None);
    assert_eq!(
        play.distributor.poll_event(),
        Some(DistributorEvent::Member(0))
    );
    // An answer that nobody waits for is of no consequence.
    play.distributor
        .asked(play.now, ask.ask, Err(Failure::TimedOut));
    assert_eq!(play.distributor.member(0).unwrap().failure, None);
}

#[test]
fn a_status_that_makes_no_sense_is_an_answer_and_no_more() {
    let mut play = repairing(5, &[1]);
    play.run(seconds(20));
    let before = play.distributor.member(0).unwrap();
    play.now = play.now + seconds(100);
    let ask = play.distributor.poll_ask(play.now).unwrap();
    let nonsense = Response::new(Code::CONTENT).with_payload(ContentFormat::CBOR, b"\xff");
    play.distributor.asked(play.now, ask.ask, Ok(&nonsense));
    let report = play.distributor.member(0).unwrap();
    assert_eq!((report.state, report.have), (before.state, before.have));
    assert_eq!(report.code, Some(Code::CONTENT));
}

#[test]
fn a_member_that_is_named_twice_counts_once() {
    let mut play = Play::new(config(5, &[1, 2, 1]))
        .says(1, activated(5))
        .says(2, activated(5));
    play.run_until(DistributorEvent::Ended(DistributionEnd::AllFinal));
    assert_eq!(play.distributor.report().count(), 2);
    assert_eq!(play.asked.len(), 2);
}

#[test]
fn no_more_devices_are_asked_at_once_than_may_be() {
    let mut play = Play::new(DistributorConfig {
        asks_at_once: 3,
        ..config(5, &[1, 2, 3, 4, 5])
    });
    while play.distributor.phase() == DistributionPhase::Announcing {
        if play.distributor.poll_send(play.now).is_some() {
            play.distributor.sent(play.now, Some(100));
        }
        play.now = play.now + Duration::from_millis(10);
    }
    let asks: Vec<_> = core::iter::from_fn(|| play.distributor.poll_ask(play.now)).collect();
    assert_eq!(
        asks.iter().map(|ask| ask.to).collect::<Vec<_>>(),
        [1, 2, 3].map(device)
    );
    assert_eq!(
        asks.iter().map(|ask| ask.member).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    play.distributor
        .asked(play.now, asks[1].ask, Err(Failure::TimedOut));
    assert_eq!(
        play.distributor.poll_ask(play.now).map(|ask| ask.to),
        Some(device(4))
    );
    assert_eq!(play.distributor.poll_ask(play.now), None);
}

#[test]
fn the_digests_of_an_image_are_those_of_its_spans() {
    use sha2::{Digest as _, Sha256};
    let image: Vec<u8> = (0..2_500_u32).map(|n| (n % 251) as u8).collect();
    let mut survey = ImageSurvey::with_span(64, 3).unwrap();
    for piece in image.chunks(77) {
        survey.update(piece);
    }
    let (announcement, list) = survey.finish().unwrap();
    let spans: Vec<u8> = image
        .chunks(192)
        .flat_map(|span| Sha256::digest(span).to_vec())
        .collect();
    assert_eq!(list, spans);
    assert_eq!(list.len() as u64, announcement.list_size());
    assert_eq!(
        announcement.list_digest(),
        Some(&<[u8; 32]>::from(Sha256::digest(&spans)))
    );
    assert_eq!(
        announcement.digest(),
        &<[u8; 32]>::from(Sha256::digest(&image))
    );
    assert_eq!(
        (announcement.size(), announcement.block_size()),
        (2_500, 64)
    );
    // a whole number of spans has no empty one at the end
    let mut whole = ImageSurvey::new(256).unwrap();
    whole.update(&image[..2_048]);
    let (announcement, list) = whole.finish().unwrap();
    assert_eq!((announcement.span(), list.len()), (Some(4), 64));
    // and without list
    let mut plain = ImageSurvey::with_span(1_024, 0).unwrap();
    plain.update(&image);
    let (announcement, list) = plain.finish().unwrap();
    assert_eq!((announcement.span(), list.len()), (None, 0));
    assert_eq!(
        announcement.digest(),
        &<[u8; 32]>::from(Sha256::digest(&image))
    );
    assert!(ImageSurvey::new(100).is_err());
    assert!(ImageSurvey::new(16).unwrap().finish().is_err(), "no byte");
}
