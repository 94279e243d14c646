//! What is known of one member, and when it is asked.

use std::string::ToString;

use super::member::Member;
use super::plan::{Lacks, Plan, Sample};
use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_millis(1_000 * seconds)
}

/// A member that has said this of an image of 40 blocks.
fn that_says(status: DeviceStatus) -> Member {
    let mut member = Member::new(device(1));
    assert!(member.tell(at(1), announcement(40).id(), 40, status));
    member
}

fn idle() -> Member {
    let mut member = Member::new(device(1));
    let id = announcement(40).id();
    assert!(!member.tell(at(1), id, 40, DeviceStatus::default()));
    member
}

fn busy() -> Member {
    that_says(DeviceStatus {
        id: Some(announcement(9).id()),
        state: DeviceState::Receiving,
        total: 9,
        ..DeviceStatus::default()
    })
}

#[test]
fn a_member_that_has_answered_and_knows_nothing_waits_for_an_announcement() {
    assert!(idle().waits_for_announcement());
    assert!(!Member::new(device(1)).waits_for_announcement());
    assert!(!busy().waits_for_announcement());
    assert!(!that_says(receiving(40, &[1])).waits_for_announcement());
    let mut other = idle();
    assert!(other.answered(at(2), Code::NOT_FOUND));
    assert!(!other.answered(at(3), Code::NOT_FOUND), "no news");
    assert!(!other.waits_for_announcement(), "it knows no distributions");
    let mut gone = idle();
    assert!(gone.failed(Failure::TimedOut));
    assert!(!gone.failed(Failure::TimedOut), "no news");
    assert!(!gone.waits_for_announcement(), "it does not answer");
}

#[test]
fn a_member_is_unknown_that_has_neither_answered_nor_failed_to() {
    for (counted, failed, unknown) in [
        (false, false, true),
        (false, true, false),
        (true, false, false),
        (true, true, false),
    ] {
        let mut member = Member::new(device(1));
        member.counted = counted;
        if failed {
            member.failed(Failure::TimedOut);
        }
        assert_eq!(member.is_unknown(), unknown, "{counted} {failed}");
        assert_eq!(member.has_failed(), failed);
        assert!(!member.is_heard());
    }
}

#[test]
fn what_a_member_lacks_is_what_it_said() {
    assert_eq!(Member::new(device(1)).lacks(), Lacks::Nothing);
    assert_eq!(busy().lacks(), Lacks::Nothing);
    assert_eq!(idle().lacks(), Lacks::Everything);
    let mut other = idle();
    other.answered(at(2), Code::NOT_FOUND);
    assert_eq!(other.lacks(), Lacks::Nothing);
    let nothing_yet = receiving(40, &Vec::from_iter(0..40));
    assert_eq!(that_says(nothing_yet.clone()).lacks(), Lacks::Everything);
    let in_words = DeviceStatus {
        missing: None,
        ..nothing_yet
    };
    assert_eq!(that_says(in_words).lacks(), Lacks::Everything);
    let status = receiving(40, &[3, 4]);
    let missing = status.missing.clone().unwrap();
    let member = that_says(status);
    let some = Lacks::Some {
        count: 2,
        missing: &missing,
    };
    assert_eq!(member.lacks(), some);
    assert!(!member.lacks_everything() && idle().lacks_everything());
    assert_eq!(that_says(activated(40)).lacks(), Lacks::Nothing);
}

#[test]
fn so_many_blocks_that_a_member_asked_for_are_news() {
    let mut member = Member::new(device(1));
    for block in 0..1_024 {
        member.asks_for(at(u64::from(block)), block);
        assert_eq!(member.news, at(block.into()));
    }
    member.given_up = true;
    member.asks_for(at(5_000), 1_024);
    assert_eq!(member.news, at(1_023), "no more are remembered");
    assert!(member.given_up);
    assert!(member.is_heard());
    // until it says that it has more
    let id = announcement(2_000).id();
    member.tell(at(5_001), id, 2_000, receiving(2_000, &[7]));
    assert!(!member.given_up);
    member.asks_for(at(5_002), 7);
    assert_eq!(member.news, at(5_002));
}

#[test]
fn what_is_reported_of_a_member_is_what_is_known() {
    let mut member = that_says(receiving(40, &[3, 4]));
    assert!(!member.serve());
    assert!(member.serve(), "everything that it lacked");
    member.failed(Failure::TimedOut);
    member.given_up = true;
    let report = DeviceReport {
        address: device(1),
        state: Some(DeviceState::Receiving),
        code: None,
        have: 38,
        total: 40,
        busy_with: None,
        heard: Some(at(1)),
        failure: Some(Failure::TimedOut),
        repairs: 2,
        given_up: true,
    };
    assert_eq!(member.report(40), report);
    assert!(!member.is_open() && !member.is_final());
    let id = announcement(40).id();
    assert!(member.tell(at(9), id, 40, activated(40)));
    let report = DeviceReport {
        state: Some(DeviceState::Activated),
        code: Some(Code::CHANGED),
        have: 40,
        heard: Some(at(9)),
        failure: None,
        given_up: false,
        ..report
    };
    assert_eq!(member.report(40), report);
    assert!(!member.is_open() && member.is_final() && member.is_activated());
    assert!(!member.tell(at(10), id, 40, activated(40)), "no news");
}

#[test]
fn a_member_is_asked_again_after_twice_as_long_until_there_are_news() {
    let mut member = that_says(receiving(40, &[3]));
    let mut next = |changed| member.next_ask(changed).as_secs();
    assert_eq!([true, false, false].map(&mut next), [15, 30, 60]);
    assert_eq!([false, false, false].map(&mut next), [120, 240, 240]);
    assert_eq!(next(true), 15);
    member.failed(Failure::TimedOut);
    assert_eq!(member.next_ask(true).as_secs(), 30, "that it is gone");
    for settling in [
        DeviceState::Verifying,
        DeviceState::Verified,
        DeviceState::Activating,
    ] {
        let mut member = that_says(state(40, settling, None));
        assert_eq!(member.next_ask(true).as_secs(), 2);
        assert_eq!(member.next_ask(false).as_secs(), 4);
    }
}

#[test]
fn members_that_are_done_are_not_asked_again() {
    for passes in [1, 4] {
        let mut play = Play::new(DistributorConfig {
            passes,
            ..config(400, &[1, 2])
        });
        let all = Vec::from_iter(0..400);
        play.tells(1, receiving(400, &all));
        play.tells(2, receiving(400, &all));
        play.run_until(DistributorEvent::PassBegun {
            pass: 1,
            blocks: 400,
        });
        let asked = |play: &Play, n| play.asked.iter().filter(|it| it.1 == device(n)).count();
        play.tells(1, activated(400));
        while play.distributor.member(0).unwrap().state != Some(DeviceState::Activated) {
            play.run(seconds(1));
        }
        assert_eq!(play.distributor.phase(), DistributionPhase::Passing);
        let (done, open) = (asked(&play, 1), asked(&play, 2));
        play.run(seconds(300));
        assert_eq!(asked(&play, 1), done, "{passes}");
        assert!(asked(&play, 2) > open, "{passes}");
    }
}

#[test]
fn a_member_that_is_done_in_the_repair_phase_is_not_asked_again() {
    let mut play = Play::new(DistributorConfig {
        passes: 1,
        ..config(5, &[1, 2])
    });
    play.tells(1, receiving(5, &[0, 1, 2, 3, 4]));
    play.tells(2, receiving(5, &[0, 1, 2, 3, 4]));
    play.run_until(DistributorEvent::RepairBegun {
        window: seconds(10),
    });
    play.asked.clear();
    play.tells(1, activated(5));
    let (ended, _) = play.said[play.said.len() - 1];
    play.run(seconds(200));
    let spread = [
        (ended + seconds(15), device(1)),
        (ended + seconds(20), device(2)),
    ];
    assert_eq!(play.asked[..2], spread, "over the window, after it");
    let asked = |n| play.asked.iter().filter(|it| it.1 == device(n)).count();
    assert_eq!(asked(1), 1);
    assert!(asked(2) > 1);
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
}

#[test]
fn a_member_whose_answer_is_waited_for_is_not_asked_again() {
    let mut play = Play::new(DistributorConfig {
        passes: 1,
        ..config(10, &[1, 2])
    });
    let announcing = |play: &Play| play.distributor.phase() == DistributionPhase::Announcing;
    while announcing(&play) {
        if play.distributor.poll_send(play.now).is_some() {
            play.distributor.sent(play.now, Some(100));
        }
        play.now = play.now + Duration::from_millis(10);
    }
    let first = play.distributor.poll_ask(play.now).unwrap();
    let second = play.distributor.poll_ask(play.now).unwrap();
    assert_eq!((first.member, second.member), (0, 1));
    assert_ne!(first.ask, second.ask);
    let fresh = answer(&receiving(10, &Vec::from_iter(0..10)));
    play.distributor.asked(play.now, first.ask, Ok(&fresh));
    assert_eq!(play.distributor.phase(), DistributionPhase::Passing);
    // nothing is heard of the second, through the pass and the time for repairs
    for _ in 0..6_000 {
        play.now = play.now + Duration::from_millis(10);
        play.distributor.handle_timeout(play.now);
        if play.distributor.poll_send(play.now).is_some() {
            play.distributor.sent(play.now, Some(100));
        }
        while let Some(ask) = play.distributor.poll_ask(play.now) {
            assert_eq!(ask.member, 0);
            play.distributor.asked(play.now, ask.ask, Ok(&fresh));
        }
    }
    assert_eq!(play.distributor.phase(), DistributionPhase::Repairing);
}

#[test]
fn a_count_ends_on_time() {
    let mut play = Play::new(DistributorConfig {
        count_for: seconds(7),
        ..config(40, &[1, 2])
    });
    while play.distributor.phase() == DistributionPhase::Announcing {
        if play.distributor.poll_send(play.now).is_some() {
            play.distributor.sent(play.now, Some(100));
        }
        play.now = play.now + Duration::from_millis(10);
    }
    let counting = play.now - Duration::from_millis(10);
    let ask = play.distributor.poll_ask(play.now).unwrap();
    assert!(play.distributor.poll_ask(play.now).is_some());
    let status = answer(&receiving(40, &[7]));
    play.distributor.asked(play.now, ask.ask, Ok(&status));
    while play.distributor.phase() == DistributionPhase::Counting {
        let next = play.distributor.next_timeout().unwrap();
        assert!(next > play.now, "{next:?}");
        play.now = next;
        play.distributor.handle_timeout(next);
    }
    assert_eq!(play.now, counting + seconds(7));
}

#[test]
fn of_a_member_that_is_done_nothing_follows_for_those_that_were_not_heard() {
    let mut play = Play::new(config(40, &[1, 2])).says(1, activated(40));
    play.run_until(DistributorEvent::PassBegun {
        pass: 1,
        blocks: 40,
    });
}

#[test]
fn the_group_is_told_the_end_though_everyone_is_done() {
    let mut play = Play::new(config(40, &[1, 2]))
        .says(1, activated(40))
        .says(2, activated(40));
    play.run_until(DistributorEvent::Ended(DistributionEnd::AllFinal));
    let end = Said::End {
        pass: 0,
        window: 10,
    };
    assert_eq!(play.said()[3..], [end.clone(), end.clone(), end]);
}

#[test]
fn the_next_block_of_a_pass_is_still_to_come() {
    let mut play = Play::new(config(1_000, &[]));
    play.run_until(DistributorEvent::PassBegun {
        pass: 1,
        blocks: 1_000,
    });
    while play.distributor.progress().pass_sent < 100 {
        play.run(Duration::from_millis(1));
    }
    assert_eq!(play.distributor.progress().pass_sent, 100);
    assert!(matches!(play.repair(1, 99), Served::Block(_)));
    assert!(matches!(play.repair(1, 100), Served::Response(_)));
}

#[test]
fn that_it_is_announced_is_told_once_when_the_first_announcement_has_left() {
    let mut play = Play::new(config(40, &[]));
    assert!(play.distributor.poll_send(play.now).is_some());
    assert_eq!(play.distributor.poll_event(), None, "not before");
    play.distributor.sent(play.now, Some(100));
    let announced = Some(DistributorEvent::Announced);
    assert_eq!(play.distributor.poll_event(), announced);
    play.run_until(DistributorEvent::PassEnded { pass: 1 });
    assert!(!play.events.contains(&DistributorEvent::Announced));
}

#[test]
fn how_far_it_is_is_told_in_full() {
    let mut play = Play::new(config(3, &[1])).says(1, receiving(3, &[0, 1, 2]));
    assert_eq!(play.distributor.progress(), DistributionProgress::default());
    play.run_until(DistributorEvent::PassBegun { pass: 1, blocks: 3 });
    let passing = play.distributor.progress();
    assert_eq!(
        (passing.phase, passing.pass),
        (DistributionPhase::Passing, 1)
    );
    assert_eq!((passing.pass_blocks, passing.asks), (3, 1));
    play.tells(1, activated(3));
    play.run_until(DistributorEvent::Ended(DistributionEnd::AllFinal));
    let progress = DistributionProgress {
        phase: DistributionPhase::Over(DistributionEnd::AllFinal),
        pass: 1,
        pass_blocks: 3,
        pass_sent: 3,
        group_datagrams: play.said.len() as u64,
        block_datagrams: 3,
        group_bytes: play.bytes,
        not_sent: 0,
        asks: play.asked.len() as u64,
        cancelled: 0,
        repairs: 0,
        repairs_later: 0,
        repairs_refused: 0,
    };
    assert_eq!(play.distributor.progress(), progress);
    assert!(play.asked.len() >= 2);
}

#[test]
fn a_block_that_costs_as_much_as_it_saves_is_not_sent() {
    // 23 blocks of 25: 0.92 of each, and 0.92 x 1.088 is 1 in thousandths
    let missing = |blocks: &[u32]| receiving(100, blocks).missing.unwrap();
    let (many, one) = (missing(&Vec::from_iter(0..25)), missing(&[50]));
    let worth = |count| {
        let lacks = |count, missing| Lacks::Some { count, missing };
        let lacking = [lacks(count, &many), lacks(1, &one), lacks(1, &one)];
        let sample = Sample { counted: 3, of: 3 };
        Plan::worth(100, lacking.into_iter(), sample, true, 3).map(|plan| plan.blocks())
    };
    assert_eq!((worth(23), worth(24)), (Some(1), Some(26)));
}

#[test]
fn nothing_is_planned_beyond_the_last_block() {
    let plan = Plan::all(1_999); // in cells of two
    assert!(plan.contains(1_998) && !plan.contains(1_999));
    assert_eq!(
        (plan.next_from(1_998), plan.next_from(1_999)),
        (Some(1_998), None)
    );
    assert_eq!(plan.blocks(), 1_999);
    assert_eq!((plan.between(1_997, 1_999), plan.between(0, 1)), (2, 1));
}

#[test]
fn why_it_ended_is_said() {
    for (end, text) in [
        (DistributionEnd::AllFinal, "every device is done"),
        (
            DistributionEnd::GivenUp,
            "the devices that are not done did not get further for too long",
        ),
        (
            DistributionEnd::Quiet,
            "no device has asked for anything for a while",
        ),
        (DistributionEnd::Deadline, "the time is over"),
        (DistributionEnd::Cancelled, "cancelled"),
    ] {
        assert_eq!(end.to_string(), text);
    }
}
