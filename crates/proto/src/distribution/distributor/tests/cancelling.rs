//! A distribution that is cancelled.

use super::*;

#[test]
fn it_can_be_cancelled() {
    let mut play = Play::new(config(300, &[1])).says(1, receiving(300, &[1]));
    play.run(seconds(8));
    play.distributor.cancel(play.now);
    play.run_until(DistributorEvent::Ended(DistributionEnd::Cancelled));
    assert_eq!(play.told, [device(1)]);
    let said = play.said();
    assert_eq!(
        said[said.len() - 3..],
        [Said::Cancelled, Said::Cancelled, Said::Cancelled]
    );
    assert_ne!(said[said.len() - 4], Said::Cancelled);
    let asked = play.asked.len();
    play.run(seconds(100));
    assert_eq!((play.asked.len(), play.said().len()), (asked, said.len()));
    play.distributor.cancel(play.now);
    let end = DistributionPhase::Over(DistributionEnd::Cancelled);
    assert_eq!(play.distributor.phase(), end);
}

#[test]
fn devices_that_are_known_are_told_alone_first_those_that_were_heard_of() {
    let mut play = Play::new(config(300, &[1, 2, 3, 4, 5]))
        .says(2, receiving(300, &[1]))
        .says(3, activated(300))
        .says(4, state(300, DeviceState::Failed, Some(Code::BAD_REQUEST)));
    play.run(seconds(8));
    let asks = play.distributor.progress().asks;
    play.distributor.cancel(play.now);
    play.run_until(DistributorEvent::Ended(DistributionEnd::Cancelled));
    assert_eq!(
        play.told,
        [2, 4, 1, 5].map(device),
        "whoever has it keeps it"
    );
    let progress = play.distributor.progress();
    assert_eq!((progress.cancelled, progress.asks), (2, asks));
}

#[test]
fn a_device_that_has_forgotten_already_confirms_it_and_one_that_refuses_does_not() {
    for (code, confirmed) in [
        (Code::CHANGED, 1),
        (Code::NOT_FOUND, 1),
        (Code::CONFLICT, 0),
        (Code::FORBIDDEN, 0),
    ] {
        let mut play = Play::new(config(300, &[1]));
        play.drain();
        play.distributor.cancel(play.now);
        let ask = play.distributor.poll_ask(play.now).unwrap();
        let response = Response::new(code);
        play.distributor.asked(play.now, ask.ask, Ok(&response));
        assert_eq!(play.distributor.progress().cancelled, confirmed, "{code:?}");
    }
}

#[test]
fn a_few_are_told_at_once_and_are_waited_for_for_100_seconds() {
    let mut play = Play::new(DistributorConfig {
        asks_at_once: 2,
        ..config(300, &[1, 2, 3])
    });
    play.drain();
    let begun = play.now;
    play.distributor.cancel(begun);
    play.distributor.cancel(begun + seconds(1)); // once is enough
    let first = play.distributor.poll_ask(begun).unwrap();
    let second = play.distributor.poll_ask(begun).unwrap();
    assert_eq!((first.to, second.to), (device(1), device(2)));
    assert_eq!(play.distributor.poll_ask(begun), None, "two at once");
    // the group is told three times meanwhile, and no more
    let mut said = 0;
    for second in 0..20 {
        let now = begun + seconds(second);
        while play.distributor.poll_send(now).is_some() {
            said += 1;
            play.distributor.sent(now, Some(50));
        }
    }
    assert_eq!(said, 3);
    assert_eq!(play.distributor.next_timeout(), Some(begun + seconds(100)));
    let at = begun + seconds(93);
    play.distributor
        .asked(at, first.ask, Err(Failure::TimedOut));
    let third = play.distributor.poll_ask(at).unwrap();
    assert_eq!(third.to, device(3));
    play.distributor
        .handle_timeout(begun + Duration::from_millis(99_999));
    assert_eq!(play.distributor.phase(), DistributionPhase::Cancelling);
    play.distributor.handle_timeout(begun + seconds(100));
    let end = DistributionPhase::Over(DistributionEnd::Cancelled);
    assert_eq!(play.distributor.phase(), end);
    assert_eq!(play.distributor.next_timeout(), None);
    assert_eq!(play.distributor.poll_ask(begun + seconds(100)), None);
}

#[test]
fn the_group_is_told_three_times_at_a_low_rate_too() {
    // one member that is never heard of: it is waited for for 100 s, the group is told long after that
    for members in [&[1][..], &[]] {
        let mut play = Play::new(DistributorConfig {
            rate: 1,
            ..config(300, members)
        });
        play.run(seconds(3_600));
        play.distributor.cancel(play.now);
        play.run_until(DistributorEvent::Ended(DistributionEnd::Cancelled));
        let cancelled = play.at_of(&Said::Cancelled);
        assert_eq!(cancelled.len(), 3, "{members:?}");
        let gaps = cancelled.windows(2).map(|two| two[1] - two[0]);
        assert!(gaps.min() > Some(seconds(60)), "at the rate: {cancelled:?}");
    }
}

#[test]
fn a_group_that_cannot_be_told_is_not_told_for_ever() {
    let mut play = Play::new(config(300, &[]));
    play.run(seconds(8));
    play.sends = false;
    let begun = play.now;
    play.distributor.cancel(begun);
    play.run_until(DistributorEvent::Ended(DistributionEnd::Cancelled));
    let took = play.now.since(begun);
    assert!(took >= seconds(100) && took < seconds(110), "{took:?}");
    assert!(play.distributor.progress().not_sent > 50);
}

#[test]
fn who_asks_for_a_block_of_what_is_cancelled_is_told_that_there_is_none() {
    let mut play = Play::new(config(3, &[1])).says(1, receiving(3, &[1]));
    let begun = DistributorEvent::RepairBegun {
        window: play.distributor.config().window,
    };
    play.run_until(begun);
    assert!(matches!(play.repair(1, 1), Served::Block(_)));
    play.distributor.cancel(play.now);
    let refused = |served| matches!(served, Served::Response(it) if it.code == Code::NOT_FOUND);
    assert!(refused(play.repair(1, 1)), "while the devices are told");
    play.run_until(DistributorEvent::Ended(DistributionEnd::Cancelled));
    assert!(refused(play.repair(1, 1)), "and afterwards");
    assert_eq!(play.distributor.progress().repairs, 1);
}

#[test]
fn who_is_still_to_be_told_alone_is_waited_for() {
    let mut play = Play::new(DistributorConfig {
        rate: 1_000_000,
        ..config(300, &[1])
    });
    play.drain();
    let begun = play.now + seconds(1);
    play.distributor.cancel(begun);
    for second in 0..3 {
        let now = begun + seconds(second);
        let early = now - Duration::from_micros(1);
        assert_eq!(play.distributor.poll_send(early), None, "a second apart");
        assert!(play.distributor.poll_send(now).is_some());
        play.distributor.sent(now, Some(50));
    }
    assert_eq!(play.distributor.phase(), DistributionPhase::Cancelling);
    assert_eq!(play.distributor.next_timeout(), Some(Instant::ZERO));
    let now = begun + seconds(3);
    let ask = play.distributor.poll_ask(now).unwrap();
    assert_eq!(play.distributor.phase(), DistributionPhase::Cancelling);
    let confirmed = Response::new(Code::CHANGED);
    play.distributor.asked(now, ask.ask, Ok(&confirmed));
    let end = DistributionPhase::Over(DistributionEnd::Cancelled);
    assert_eq!(play.distributor.phase(), end);
}
