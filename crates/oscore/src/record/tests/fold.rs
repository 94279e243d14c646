use super::*;

#[test]
fn without_records_there_is_nothing() {
    let state = fold(&[]);
    assert_eq!(state, Restored::default());
    assert_eq!(
        (&state.context, state.loss, state.sender_id()),
        (&None, None, None)
    );
    assert!(state.sequence(SequenceSettings::default()).is_none());
    assert!(!window(&state, PEER).is_valid());
}

#[test]
fn an_installation_is_restored() {
    let state = fold(&[install(1, OWN, 64), peer(1, PEER), peer(1, &[])]);
    let Some(Established::Group(group)) = &state.context else {
        panic!()
    };
    assert_eq!(**group, installed(1, OWN, 64));
    assert_eq!(
        (state.loss, state.sender_id(), state.ever_deleted),
        (None, Some(OWN), false)
    );
    assert_eq!(peers(&state), [&[][..], PEER]);
    assert_eq!(state.peers[PEER], [0xA2]);
    assert_eq!(
        sequence(&state).next(),
        64,
        "the first reservation may have been used"
    );
    assert_eq!(window(&state, PEER), received(&[]));
}

#[test]
fn after_a_crash_numbers_continue_at_the_bound_and_windows_are_unknown() {
    let state = fold(&[
        install(1, OWN, 64),
        Record::Running,
        reserved(1, OWN, 100),
        reserved(1, OWN, 90),
    ]);
    let mut sequence = sequence(&state);
    assert_eq!((sequence.next(), sequence.reserved_upto()), (100, 100));
    assert_eq!(sequence.take(), Err(SequenceError::NotReserved));
    assert!(!window(&state, PEER).is_valid());
    assert!(!state.is_clean());
    assert_eq!(state.loss, None);
}

#[test]
fn a_clean_shutdown_is_restored_exactly() {
    let windows: [(&[u8], _); 2] = [
        (PEER, received(&[40, 9])),
        (&[3], ReplayWindow::invalid(WindowSize::default())),
    ];
    let state = fold(&[
        install(1, OWN, 64),
        peer(1, PEER),
        peer(1, &[3]),
        Record::Running,
        clean(1, OWN, 7, &windows),
    ]);
    assert!(state.is_clean());
    let mut sequence = sequence(&state);
    assert_eq!((sequence.next(), sequence.reserved_upto()), (7, 64));
    assert_eq!(sequence.take(), Ok(piv(7)));
    assert_eq!(window(&state, PEER), received(&[40, 9]));
    assert!(!window(&state, &[3]).is_valid());
    assert_eq!(
        window(&state, &[4]),
        received(&[]),
        "nothing was received from this one"
    );
    assert_eq!(
        state
            .window(PEER, WindowSize::new(64).unwrap())
            .size()
            .numbers(),
        64
    );
    // the number after a bound that is to be skipped
    let state = fold(&[
        install(1, OWN, 256),
        Record::Running,
        clean(1, OWN, 257, &[]),
    ]);
    assert_eq!((state.loss, super::sequence(&state).next()), (None, 257));
}

#[test]
fn a_window_of_somebody_who_is_no_member_any_more_is_not_forgotten_with_him() {
    let stranger: &[u8] = &[9];
    let before = [install(1, OWN, 64), peer(1, PEER), Record::Running];
    let windows: [(&[u8], _); 2] = [(PEER, received(&[3])), (stranger, received(&[40]))];
    let records = [&before[..], &[clean(1, OWN, 7, &windows)]].concat();
    let state = fold(&records);
    assert!(state.ever_deleted && state.is_clean());
    assert_eq!(window(&state, PEER), received(&[3]));
    assert!(!window(&state, &[4]).is_valid(), "it could be anyone");
    // It holds beyond the next clean shutdown, which does not name him any more, and when the records are written anew.
    let again = [Record::Running, clean(1, OWN, 8, &windows[..1])];
    let records = [&records[..], &again].concat();
    assert!(fold(&records).ever_deleted);
    let encoded = records.iter().map(Record::encode).collect();
    assert!(Restored::fold(Restored::condense(encoded)).ever_deleted);
    // Whose window is known of all is no stranger; nor is the other one of a pair.
    let state = fold(&[&before[..], &[clean(1, OWN, 7, &windows[..1])]].concat());
    assert!(!state.ever_deleted);
    let records = [paired(64), Record::Running];
    let Record::Paired(pair) = &records[0] else {
        panic!()
    };
    let clean = Record::Clean {
        gid: pair.id_context.clone().unwrap_or_default(),
        sender_id: Some(pair.sender_id.clone()),
        next: 7,
        windows: vec![(pair.recipient_id.clone(), received(&[40]))],
    };
    let state = fold(&[&records[..], &[clean]].concat());
    assert_eq!((state.loss, state.ever_deleted), (None, false));
}

#[test]
fn whatever_is_used_after_a_clean_shutdown_consumes_it() {
    let windows: [(&[u8], _); 1] = [(PEER, received(&[40]))];
    let before = [
        install(1, OWN, 64),
        peer(1, PEER),
        Record::Running,
        clean(1, OWN, 7, &windows),
    ];
    for after in [
        Record::Running,
        reserved(1, OWN, 64),
        sender_id(1, &[9], 64),
        install(1, &[9], 64),
    ] {
        let state = fold(&[&before[..], core::slice::from_ref(&after)].concat());
        assert_eq!((state.is_clean(), state.loss), (false, None), "{after:?}");
        assert_eq!(sequence(&state).next(), 64, "{after:?}");
        assert!(!window(&state, PEER).is_valid(), "{after:?}");
        assert!(!window(&state, &[8]).is_valid(), "{after:?}");
    }
    // new keys, and nobody ran
    let state = fold(&[&before[..], &[install(2, OWN, 32)]].concat());
    assert_eq!(
        (window(&state, PEER), sequence(&state).next()),
        (received(&[]), 32)
    );
}

#[test]
fn members_that_come_or_go_after_a_clean_shutdown_leave_what_it_wrote_of_the_others() {
    let windows: [(&[u8], _); 2] = [(PEER, received(&[40])), (&[9], received(&[3]))];
    let before = [
        install(1, OWN, 64),
        peer(1, PEER),
        peer(1, &[9]),
        Record::Running,
        clean(1, OWN, 7, &windows),
    ];
    let with = |after: &[Record]| {
        let records = [&before[..], after].concat();
        let state = fold(&records);
        let condensed = Restored::condense(records.iter().map(Record::encode).collect());
        assert_eq!(
            Restored::fold(&condensed).window(&[9], WindowSize::default()),
            window(&state, &[9])
        );
        assert_eq!((state.is_clean(), state.loss), (true, None));
        assert_eq!(sequence(&state).next(), 7);
        assert_eq!(window(&state, PEER), received(&[40]));
        state
    };
    let come = with(&[peer(1, &[8])]);
    assert_eq!(window(&come, &[8]), received(&[]), "nothing came from it");
    assert_eq!(window(&come, &[9]), received(&[3]));
    let gone = with(&[deleted(1, &[9])]);
    assert_eq!(peers(&gone), [PEER]);
    for back in [
        &[deleted(1, &[9]), peer(1, &[9])][..],
        &[deleted(1, &[9]), peer(1, &[8])],
    ] {
        let back = with(back);
        assert!(!window(&back, &[9]).is_valid() && !window(&back, &[8]).is_valid());
    }
}

#[test]
fn members_that_came_or_went_under_the_keys_before_are_no_loss() {
    let start = |own: Option<&[u8]>, generation| match own {
        Some(own) => install(generation, own, 64),
        None => silent(generation),
    };
    for own in [Some(OWN), None] {
        let begun = [start(own, 1), peer(1, PEER), Record::Running];
        let replaced = [start(own, 2), peer(2, PEER)];
        for late in [deleted(1, PEER), peer(1, &[9])] {
            // It was on its way to the store while the keys were replaced; or the file was written anew in between.
            let records = [&begun[..], &replaced, core::slice::from_ref(&late)].concat();
            let new = Restored::condense(records[..5].iter().map(Record::encode).collect());
            let anew = new.into_iter().chain([late.encode()]);
            for state in [fold(&records), Restored::fold(anew)] {
                assert_eq!(
                    (state.loss, state.ever_deleted),
                    (None, false),
                    "{own:?} {late:?}"
                );
                assert_eq!(peers(&state), [PEER], "{own:?} {late:?}");
            }
            let before = [&begun[..], core::slice::from_ref(&late), &replaced].concat();
            let state = fold(&before);
            assert_eq!(
                (state.loss, state.ever_deleted),
                (None, false),
                "{own:?} {late:?}"
            );
            assert_eq!(peers(&state), [PEER], "{own:?} {late:?}");
        }
    }
    // What never was is one.
    for never in [deleted(3, PEER), peer(3, PEER)] {
        let records = [install(1, OWN, 64), install(2, OWN, 64), never];
        assert_eq!(fold(&records).loss, Some(Loss::Mismatch));
    }
}

#[test]
fn who_comes_back_under_the_same_keys_does_not_know_what_was_received() {
    let left = Record::Left(Installations::default());
    let back: [(Record, Record); 3] = [
        (install(1, OWN, 64), install(1, &[7], 64)),
        (install(1, OWN, 64), silent(1)),
        (silent(1), silent(1)),
    ];
    for (first, again) in back {
        let gone = [first, peer(1, PEER), Record::Running, left.clone()];
        let records = [&gone[..], &[again, peer(1, PEER)]].concat();
        let new = Restored::condense(records[..4].iter().map(Record::encode).collect());
        let anew = new
            .into_iter()
            .chain(records[4..].iter().map(Record::encode));
        for state in [fold(&records), Restored::fold(anew)] {
            assert_eq!((state.loss, state.ever_deleted), (None, true));
            assert!(!window(&state, PEER).is_valid() && !window(&state, &[8]).is_valid());
        }
        // Under new keys there is nothing to know.
        let state = fold(&[&gone[..], &[install(2, OWN, 64), peer(2, PEER)]].concat());
        assert_eq!(
            (window(&state, PEER), state.ever_deleted),
            (received(&[]), false)
        );
    }
}

#[test]
fn a_new_context_of_a_running_endpoint_has_unknown_windows_after_a_crash() {
    let state = fold(&[install(1, OWN, 64), Record::Running, install(2, OWN, 32)]);
    assert_eq!((state.loss, sequence(&state).next()), (None, 32));
    assert!(!window(&state, PEER).is_valid());
}

#[test]
fn stale_members_go_with_the_old_context() {
    let members = [
        install(1, OWN, 64),
        peer(1, &[1]),
        peer(1, &[2]),
        peer(1, &[3]),
    ];
    let rekeyed = |peers| {
        Record::Installed(Box::new(Installed {
            peers,
            ..installed(2, OWN, 64)
        }))
    };
    let with = |record| fold(&[&members[..], &[record]].concat());
    let state = with(rekeyed(PeersKept::AllBut(vec![vec![2], vec![9]])));
    assert_eq!(peers(&state), [&[1][..], &[3]]);
    let state = with(rekeyed(PeersKept::AllBut(Vec::new())));
    assert_eq!(peers(&state), [&[1][..], &[2], &[3]]);
    let state = with(rekeyed(PeersKept::Nobody));
    assert!(peers(&state).is_empty());
}

// Covers: GO-2.6.1.2-01
#[test]
fn once_a_recipient_context_was_deleted_later_ones_are_invalid() {
    let windows: [(&[u8], _); 1] = [(PEER, received(&[40]))];
    let before = [
        install(1, OWN, 64),
        peer(1, PEER),
        peer(1, &[9]),
        Record::Running,
        deleted(1, &[9]),
    ];
    let state = fold(&[&before[..], &[peer(1, &[8]), clean(1, OWN, 7, &windows)]].concat());
    assert!(state.ever_deleted);
    assert_eq!(peers(&state), [&[8][..], PEER]);
    assert_eq!(
        window(&state, PEER),
        received(&[40]),
        "this one was there all the time"
    );
    assert!(!window(&state, &[8]).is_valid(), "another peer");
    assert!(!window(&state, &[9]).is_valid(), "the same peer");
    // a new Security Context starts anew, the same under a new Sender ID does not
    let again = |record| fold(&[&before[..], &[clean(1, OWN, 7, &windows), record]].concat());
    let state = again(install(2, OWN, 64));
    assert_eq!(
        (state.ever_deleted, window(&state, &[8])),
        (false, received(&[]))
    );
    assert!(again(install(1, &[7], 64)).ever_deleted);
    assert!(again(sender_id(1, &[7], 64)).ever_deleted);
    // never run, so nothing was received, but the rule has no exception for it
    let state = fold(&[install(1, OWN, 64), deleted(1, &[9])]);
    assert!(!window(&state, PEER).is_valid());
}

#[test]
fn a_new_sender_id_starts_at_its_first_reservation() {
    let state = fold(&[
        install(1, OWN, 64),
        Record::Running,
        reserved(1, OWN, 5000),
        sender_id(1, &[7], 33),
    ]);
    assert_eq!(
        (state.sender_id(), sequence(&state).next(), state.loss),
        (Some(&[7][..]), 33, None)
    );
    let Some(Established::Group(group)) = &state.context else {
        panic!()
    };
    assert_eq!(
        group.own.as_ref().unwrap().key,
        Some(Secret::copy_of(&SECRET)),
        "with the same private key"
    );
    // a reservation of the old one that was on its way changes nothing
    let late = fold(&[
        install(1, OWN, 64),
        sender_id(1, &[7], 33),
        reserved(1, OWN, 9000),
    ]);
    assert_eq!((late.loss, sequence(&late).next()), (None, 33));
    let late = fold(&[
        install(1, OWN, 64),
        install(2, OWN, 33),
        reserved(1, OWN, 9000),
    ]);
    assert_eq!((late.loss, sequence(&late).next()), (None, 33));
}

#[test]
fn no_sender_id_twice_under_one_gid() {
    let used = Some(Loss::Refused(InstallRefused::SenderIdUsed));
    for twice in [
        [install(1, OWN, 64), sender_id(1, OWN, 64)],
        [install(1, OWN, 64), install(1, OWN, 64)],
    ] {
        let state = fold(&twice);
        assert_eq!(state.loss, used);
        assert_eq!(sequence(&state).take(), Err(SequenceError::Lost));
    }
    let there_and_back = [
        install(1, OWN, 64),
        sender_id(1, &[7], 64),
        sender_id(1, OWN, 64),
    ];
    assert_eq!(fold(&there_and_back).loss, used);
    let left = [
        install(1, OWN, 64),
        Record::Left(Installations::default()),
        install(1, OWN, 64),
    ];
    assert_eq!(fold(&left).loss, used);
    let rejoined = [
        install(1, OWN, 64),
        Record::Left(Installations::default()),
        install(1, &[7], 64),
    ];
    assert_eq!(fold(&rejoined).loss, None);
    assert_eq!(
        fold(&[install(1, OWN, 64), install(2, OWN, 64)]).loss,
        None,
        "a new Gid has new keys"
    );
}

#[test]
fn generations_only_grow() {
    let refused = |records: &[Record]| fold(records).loss;
    let rollback = Some(Loss::Refused(InstallRefused::Rollback));
    let contradiction = Some(Loss::Refused(InstallRefused::Contradiction));
    assert_eq!(
        refused(&[install(2, OWN, 64), install(1, OWN, 64)]),
        rollback
    );
    assert_eq!(
        refused(&[install(2, OWN, 64), install(1, &[7], 64)]),
        rollback
    );
    let left = Record::Left(Installations::default());
    assert_eq!(
        refused(&[install(2, OWN, 64), left, install(1, &[7], 64)]),
        rollback
    );
    let with = |new: Installed| refused(&[install(2, OWN, 64), Record::Installed(Box::new(new))]);
    assert_eq!(
        with(Installed {
            gid: gid(3),
            ..installed(2, &[7], 64)
        }),
        contradiction,
        "another Gid"
    );
    assert_eq!(
        with(Installed {
            gid: gid(2),
            ..installed(3, &[7], 64)
        }),
        contradiction,
        "the same Gid"
    );
    let other = Secret::copy_of(b"another");
    assert_eq!(
        with(Installed {
            master_secret: other,
            ..installed(2, &[7], 64)
        }),
        contradiction
    );
    assert_eq!(
        with(Installed {
            master_salt: vec![9],
            ..installed(2, &[7], 64)
        }),
        contradiction
    );
    let suite = Suite::from_ids(5, Some(10), Some(10), Some(-8), Some(-27)).unwrap();
    assert_eq!(
        with(Installed {
            suite,
            ..installed(2, &[7], 64)
        }),
        contradiction
    );
    assert_eq!(
        with(installed(2, &[7], 64)),
        None,
        "a new Sender ID under the same keys"
    );
    assert_eq!(with(installed(u64::MAX, OWN, 64)), None);
}

#[test]
fn what_does_not_fit_together_is_lost() {
    let start = [install(1, OWN, 64), peer(1, PEER), Record::Running];
    for wrong in [
        reserved(2, OWN, 128),
        reserved(1, &[7], 128),
        reserved(1, OWN, (1 << 40) + 1),
        sender_id(2, &[7], 64),
        peer(2, PEER),
        deleted(2, PEER),
        clean(2, OWN, 7, &[]),
        clean(1, &[7], 7, &[]),
        clean(1, OWN, 66, &[]),
        Record::Clean {
            gid: gid(1),
            sender_id: None,
            next: 0,
            windows: Vec::new(),
        },
        paired(64),
        Record::Lost,
    ] {
        let state = fold(&[&start[..], core::slice::from_ref(&wrong)].concat());
        assert!(state.loss.is_some(), "{wrong:?}");
        assert_eq!(
            sequence(&state).take(),
            Err(SequenceError::Lost),
            "{wrong:?}"
        );
        assert!(!window(&state, PEER).is_valid(), "{wrong:?}");
        // and stays so, whatever an endpoint writes that goes on as before
        let after = [
            Record::Running,
            reserved(1, OWN, 1024),
            clean(1, OWN, 7, &[]),
        ];
        let state = fold(&[&start[..], core::slice::from_ref(&wrong), &after[..]].concat());
        assert_eq!(
            sequence(&state).take(),
            Err(SequenceError::Lost),
            "{wrong:?}"
        );
        assert!(!window(&state, PEER).is_valid(), "{wrong:?}");
    }
    for alone in [
        Record::Running,
        reserved(1, OWN, 1),
        peer(1, PEER),
        deleted(1, PEER),
        clean(1, OWN, 0, &[]),
    ] {
        assert_eq!(fold(&[alone]).loss, Some(Loss::Mismatch));
    }
    assert_eq!(fold(&[sender_id(1, OWN, 1)]).loss, Some(Loss::Mismatch));
    assert_eq!(
        fold(&[install(1, OWN, 64), reserved(1, OWN, 1 << 40)]).loss,
        None
    );
}

// Covers: GO-2.6.1.1-02
#[test]
fn only_an_installation_ends_a_loss() {
    let lost = [install(1, OWN, 64), Record::Running, Record::Lost];
    let after = |record: Record| fold(&[&lost[..], &[record]].concat());
    assert_eq!(after(Record::Running).loss, Some(Loss::Recorded));
    assert_eq!(after(reserved(1, OWN, 128)).loss, Some(Loss::Recorded));
    assert_eq!(after(clean(1, OWN, 7, &[])).loss, Some(Loss::Recorded));
    let renewed = after(install(2, OWN, 32));
    assert_eq!((renewed.loss, sequence(&renewed).next()), (None, 32));
    let renewed = after(sender_id(1, &[7], 32));
    assert_eq!((renewed.loss, sequence(&renewed).next()), (None, 32));
    assert!(
        !window(&renewed, PEER).is_valid(),
        "the same keys open the same old requests"
    );
}

#[test]
fn an_unreadable_record_is_never_repaired_by_later_ones() {
    let broken = [
        install(1, OWN, 64).encode(),
        Zeroizing::new(vec![0xFF]),
        install(2, OWN, 64).encode(),
    ];
    let state = Restored::fold(&broken);
    assert_eq!(state.loss, Some(Loss::Unreadable));
    assert_eq!(sequence(&state).take(), Err(SequenceError::Lost));
    assert_eq!(
        state.sender_id(),
        Some(OWN),
        "what was read before is there to join again"
    );
    assert_eq!(Restored::condense(broken.to_vec()), broken);
    let mut other_version = install(1, OWN, 64).encode();
    other_version[10] = b'7';
    assert_eq!(Restored::fold([other_version]).loss, Some(Loss::Unreadable));
}

#[test]
fn a_silent_server_sends_nothing() {
    let state = fold(&[silent(1), peer(1, PEER)]);
    assert!(state.sequence(SequenceSettings::default()).is_none());
    assert_eq!((state.sender_id(), state.loss), (None, None));
    assert!(window(&state, PEER).is_valid());
    assert_eq!(
        fold(&[silent(1), reserved(1, OWN, 1)]).loss,
        Some(Loss::Mismatch)
    );
    assert_eq!(
        fold(&[silent(1), sender_id(1, OWN, 1)]).loss,
        Some(Loss::Mismatch)
    );
    let windows = vec![(PEER.to_vec(), received(&[4]))];
    let stop = Record::Clean {
        gid: gid(1),
        sender_id: None,
        next: 0,
        windows,
    };
    assert_eq!(
        window(&fold(&[silent(1), Record::Running, stop]), PEER),
        received(&[4])
    );
    // installing the same once more gives no fresh windows
    assert!(!window(&fold(&[silent(1), Record::Running, silent(1)]), PEER).is_valid());
    assert_eq!(fold(&[silent(1), Record::Running, silent(1)]).loss, None);
}

#[test]
fn who_left_has_no_keys() {
    let state = fold(&[
        install(3, OWN, 64),
        Record::Running,
        Record::Left(Installations::default()),
    ]);
    assert_eq!(
        (&state.context, state.loss, state.sender_id()),
        (&None, None, None)
    );
    assert!(state.peers.is_empty() && state.sequence(SequenceSettings::default()).is_none());
    assert_eq!(state.installations.latest, Some((3, gid(3))));
    assert!(state.installations.had(&gid(3), OWN));
    let given = Installations {
        latest: Some((9, gid(9))),
        past: Vec::new(),
    };
    assert_eq!(fold(&[Record::Left(given.clone())]).installations, given);
    assert_eq!(
        fold(&[Record::Left(given), install(8, OWN, 64)]).loss,
        Some(Loss::Refused(InstallRefused::Rollback))
    );
}

#[test]
fn a_pair_is_established_once() {
    let reserve = |gid: &[u8], upto| Record::Reserved {
        gid: gid.into(),
        sender_id: OWN.into(),
        upto,
    };
    let state = fold(&[paired(64), Record::Running, reserve(&[], 80)]);
    assert!(matches!(&state.context, Some(Established::Pair(pair)) if pair.name == "desk"));
    assert_eq!(
        (state.sender_id(), sequence(&state).next(), state.loss),
        (Some(OWN), 80, None)
    );
    assert!(!window(&state, PEER).is_valid());
    assert_eq!(window(&fold(&[paired(64)]), PEER), received(&[]));
    let windows = vec![(PEER.to_vec(), received(&[4]))];
    let stop = Record::Clean {
        gid: Vec::new(),
        sender_id: Some(OWN.into()),
        next: 9,
        windows,
    };
    let state = fold(&[paired(64), Record::Running, stop]);
    assert_eq!(
        (window(&state, PEER), sequence(&state).next()),
        (received(&[4]), 9)
    );
    assert_eq!(
        fold(&[paired(64), reserve(&[1], 80)]).loss,
        Some(Loss::Mismatch)
    );
    let twice = Some(Loss::Refused(InstallRefused::Contradiction));
    assert_eq!(fold(&[paired(64), paired(64)]).loss, twice);
    assert_eq!(
        fold(&[
            paired(64),
            Record::Left(Installations::default()),
            paired(64)
        ])
        .loss,
        twice
    );
    for group in [
        install(1, OWN, 64),
        sender_id(1, &[7], 64),
        peer(1, PEER),
        deleted(1, PEER),
    ] {
        assert!(fold(&[paired(64), group]).loss.is_some());
    }
}

#[test]
fn used_sender_ids_are_remembered_for_this_gid_and_the_one_before() {
    let mut all = Installations::default();
    all.note(1, b"a", Some(b"1"));
    all.note(1, b"a", Some(b"2"));
    all.note(1, b"a", Some(b"2"));
    assert_eq!(all.past.len(), 2);
    all.note(2, b"b", Some(b"1"));
    assert!(
        all.had(b"a", b"1") && all.had(b"a", b"2") && all.had(b"b", b"1") && !all.had(b"b", b"2")
    );
    all.note(3, b"c", None);
    assert!(!all.had(b"a", b"1") && all.had(b"b", b"1") && !all.had(b"c", b"1"));
    assert_eq!(all.latest, Some((3, b"c".to_vec())));
}

#[test]
fn sender_ids_under_one_gid_are_bounded() {
    let mut all = Installations::default();
    for id in 0..Installations::SENDER_IDS {
        let id = (id as u16).to_be_bytes();
        assert_eq!(all.check(1, b"a", Some(&id)), Ok(()));
        all.note(1, b"a", Some(&id));
    }
    assert_eq!(
        all.check(1, b"a", Some(b"new")),
        Err(InstallRefused::TooManySenderIds)
    );
    assert_eq!(all.check(1, b"a", None), Ok(()));
    assert_eq!(all.check(2, b"b", Some(b"new")), Ok(()));
}

#[test]
fn refusals_have_words() {
    let all = [
        InstallRefused::Rollback,
        InstallRefused::Contradiction,
        InstallRefused::SenderIdUsed,
        InstallRefused::TooManySenderIds,
    ];
    assert!(all.iter().all(|refused| format!("{refused}").len() > 10));
}

#[test]
fn condensed_records_mean_the_same() {
    let windows: [(&[u8], _); 1] = [(PEER, received(&[40]))];
    let group = [
        install(1, &[1], 64),
        install(2, OWN, 64),
        peer(2, PEER),
        peer(2, &[8]),
        deleted(2, &[8]),
    ];
    let with = |after: &[Record]| [&group[..], after].concat();
    let reserved_for_pair = Record::Reserved {
        gid: Vec::new(),
        sender_id: OWN.into(),
        upto: 80,
    };
    for records in [
        Vec::new(),
        vec![install(1, OWN, 64)],
        vec![silent(1), Record::Running],
        with(&[]),
        with(&[Record::Running, reserved(2, OWN, 5000)]),
        with(&[
            Record::Running,
            sender_id(2, &[7], 9),
            sender_id(2, &[6], 11),
            reserved(2, &[6], 300),
        ]),
        with(&[Record::Running, clean(2, OWN, 7, &windows)]),
        with(&[Record::Lost]),
        with(&[Record::Left(Installations::default())]),
        // another Gid, the same Sender ID
        vec![install(1, OWN, 64), install(2, OWN, 64)],
        vec![paired(64), Record::Running],
        vec![paired(64), Record::Running, reserved_for_pair.clone()],
        vec![Record::Lost],
    ] {
        let state = fold(&records);
        let condensed = Restored::condense(records.iter().map(Record::encode).collect());
        let mut again = Restored::fold(&condensed);
        // the first reservation and the members are facts of the state, not of the installation
        match (&state.context, &mut again.context) {
            (Some(Established::Group(before)), Some(Established::Group(after))) => {
                after.upto = before.upto;
            }
            (Some(Established::Pair(before)), Some(Established::Pair(after))) => {
                after.upto = before.upto;
            }
            _ => {}
        }
        assert_eq!(again, state, "{records:?}");
        assert!(condensed.len() <= records.len().min(4));
        assert_eq!(Restored::condense(condensed.clone()), condensed);
    }
}
