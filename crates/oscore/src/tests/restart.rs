//! Members that stop, crash and start again, with nothing but their records (draft section 2.6.1).

use alloc::boxed::Box;

use super::floor::*;
use super::install::NEW;
use crate::record::{Record, Restored};

/// What a member has written.
#[derive(Default)]
struct Disk(Vec<Vec<u8>>);

impl Disk {
    fn write(&mut self, record: Record) {
        self.0.push(record.encode().to_vec());
    }

    /// A member of the floor writes down its group before it uses it.
    fn of(one: &mut One) -> Disk {
        let mut disk = Disk::default();
        let key = one.key.to_bytes();
        let installed = one.group().record(Some(key), vec![]);
        disk.write(Record::Installed(Box::new(installed)));
        for peer in one.group().peer_records().collect::<Vec<_>>() {
            disk.write(peer);
        }
        disk.write(Record::Running);
        disk
    }

    /// The member starts again.
    fn start(&mut self, member: usize, settings: Settings) -> One {
        let restored = Restored::fold(&self.0);
        let group = Group::restore(&restored, settings).unwrap();
        self.write(Record::Running);
        let mut contexts = Contexts::new();
        let group = contexts.add_group(group);
        One {
            contexts,
            group,
            key: key(member),
            now: seconds(1000),
        }
    }
}

fn reserve(one: &mut One, disk: &mut Disk, upto: u64) {
    let (gid, id) = (one.group().gid().clone(), one.group().sender_id().unwrap());
    disk.write(Record::Reserved {
        gid: gid.as_bytes().to_vec(),
        sender_id: id.as_bytes().to_vec(),
        upto,
    });
    one.group().sequence_mut().unwrap().reserved(upto);
}

fn is_challenged(one: &mut One, bytes: &[u8]) -> bool {
    matches!(one.hear_any(bytes, false), Ok(Opened::Challenge(_)))
}

fn kid_of(bytes: &[u8]) -> (Vec<u8>, u64) {
    let raw = option(bytes);
    let fields = crate::option::OscoreOption::parse(&raw).unwrap();
    (
        fields.kid.unwrap().to_vec(),
        fields.partial_iv.unwrap().value(),
    )
}

#[test]
fn whoever_comes_back_after_his_window_was_forgotten_is_challenged_and_not_believed() {
    let plain = get(1, &[0xaa], "temp");
    let settings = Settings {
        dynamic: true,
        ..Settings::default()
    };
    let mut floor = Floor::with(3, Suite::default(), settings);
    let mut disk = Disk::of(&mut floor.members[1]);
    let (heard, _) = floor.ask(2, To::Group, &plain);
    floor.hear(1, &heard).unwrap();
    // He was met on the way: no record of him, but for his window.
    let recipient_id = kid(2).as_bytes().to_vec();
    disk.0.retain(|bytes| {
        !matches!(Record::decode(bytes), Ok(Record::Peer { recipient_id: id, .. }) if id == recipient_id)
    });
    disk.write(floor.members[1].group().clean_record());
    let mut one = disk.start(1, settings);
    assert!(one.group().peer(kid(2)).is_none() && one.group().peer(kid(0)).is_some());
    let back = one.group().add_peer_on_reception(kid(2), credential(2));
    back.unwrap();
    assert!(
        is_challenged(&mut one, &heard),
        "the old request is no news"
    );
}

// Covers: GO-2.6-01, GO-14.18-02
#[test]
fn after_a_clean_stop_everything_is_exact_and_after_a_crash_nothing_is_repeated() {
    let plain = get(1, &[0xaa], "temp");
    let settings = Settings::default();
    let mut floor = Floor::new(3, Suite::default());
    let sequence = floor.members[1].group().sequence_mut().unwrap();
    *sequence = Sequence::new(SequenceSettings::default());
    let mut disk = Disk::of(&mut floor.members[1]);
    reserve(&mut floor.members[1], &mut disk, 100);
    let (heard, _) = floor.ask(0, To::Group, &plain);
    floor.hear(1, &heard).unwrap();
    for number in 0..3 {
        let (bytes, _) = floor.ask(1, To::Group, &plain);
        assert_eq!(kid_of(&bytes), (kid(1).as_bytes().to_vec(), number));
    }
    // A clean stop.
    disk.write(floor.members[1].group().clean_record());
    floor.members[1] = disk.start(1, settings);
    let group = floor.members[1].group();
    assert_eq!((group.name(), group.generation()), ("lights", 1));
    assert_eq!((group.gid().as_bytes(), group.peer_count()), (GID, 2));
    assert!(!group.ever_deleted());
    assert_eq!(floor.hear(1, &heard).unwrap_err(), Reason::Replayed);
    let (next, mut asked) = floor.ask(0, To::Group, &plain);
    let mut opened = floor.hear(1, &next).unwrap();
    let (bytes, _) = floor.ask(1, To::Group, &plain);
    assert_eq!(kid_of(&bytes).1, 3);
    assert_eq!(floor.hear(2, &bytes).unwrap().message, plain);
    let answer = content(2, &[0xaa], b"1");
    let response = floor.answer(1, &mut opened.received, &answer, Some(Mode::Pairwise));
    assert!(floor.listen(0, &response, &mut asked).is_ok());
    // A crash: the clean stop is consumed, numbers go on at the bound, and each client is challenged once.
    floor.members[1] = disk.start(1, settings);
    assert!(is_challenged(&mut floor.members[1], &heard));
    assert!(is_challenged(&mut floor.members[1], &next));
    let one = &mut floor.members[1];
    assert_eq!(
        one.try_ask(To::Group, &plain).unwrap_err(),
        ProtectError::NotReserved
    );
    reserve(one, &mut disk, 200);
    let (bytes, _) = one.try_ask(To::Group, &plain).unwrap();
    assert_eq!(kid_of(&bytes).1, 100);
    assert_eq!(floor.hear(2, &bytes).unwrap().message, plain);
    // Who was heard before the crash and never written down is not new: also not after a clean stop.
    for clean in [false, true] {
        if clean {
            disk.write(floor.members[1].group().clean_record());
            floor.members[1] = disk.start(1, settings);
            assert!(
                !floor.members[1]
                    .group()
                    .peer(kid(0))
                    .unwrap()
                    .window()
                    .is_valid()
            );
        }
        let group = floor.members[1].group();
        group.add_peer(kid(5), credential(5)).unwrap();
        assert!(!group.peer(kid(5)).unwrap().window().is_valid());
    }
}

// Covers: GO-2.6-01
#[test]
fn new_keys_and_new_ids_are_there_after_a_crash() {
    let plain = get(1, &[0xaa], "temp");
    let settings = Settings::default();
    let mut floor = Floor::new(3, Suite::default());
    let mut disk = Disk::of(&mut floor.members[1]);
    // A new Sender ID, durable and then used.
    let group = floor.members[1].group();
    let prepared = group.prepare_sender_id(kid(7), 10).unwrap();
    let record = prepared.record(group);
    group.commit_sender_id(prepared).unwrap();
    disk.write(record);
    floor.members[1] = disk.start(1, settings);
    let group = floor.members[1].group();
    assert_eq!(group.sender_id(), Some(kid(7)));
    assert_eq!(group.sequence().unwrap().next(), 10);
    // Neither of its IDs is taken again under this Gid.
    for used in [1, 7] {
        let refused = group.prepare_sender_id(kid(used), 10).err();
        assert_eq!(refused, Some(InstallError::UsedSenderId));
    }
    // New keys without member 2, in one step with those who stay.
    let stale = Stale::Since {
        generation: 1,
        kids: vec![kid(2)],
    };
    let new = parameters(NEW, 2, Suite::default());
    let prepared = group.prepare_install(new, Some(kid(1)), stale, 20).unwrap();
    disk.write(Record::Installed(Box::new(prepared.record(group, None))));
    for peer in prepared.peer_records() {
        disk.write(peer);
    }
    // The power fails before they are installed, and again after a start.
    for next in [20, 20] {
        floor.members[1] = disk.start(1, settings);
        let group = floor.members[1].group();
        assert_eq!((group.gid().as_bytes(), group.generation()), (NEW, 2));
        assert_eq!(group.sender_id(), Some(kid(1)));
        assert_eq!(group.sequence().unwrap().next(), next);
        assert_eq!(group.peer_count(), 1);
        assert!(group.peer(kid(0)).is_some());
    }
    super::install::install(&mut floor.members[0], seconds(1001));
    reserve(&mut floor.members[1], &mut disk, 40);
    let (bytes, _) = floor.ask(1, To::Group, &plain);
    assert_eq!(floor.hear(0, &bytes).unwrap().message, plain);
    // Those keys are not installed again.
    let group = floor.members[1].group();
    let again = parameters(b"old", 2, Suite::default());
    let refused = group.prepare_install(again, None, Stale::All, 20).err();
    assert_eq!(refused, Some(InstallError::NotNewer));
}

#[test]
fn what_is_lost_or_left_is_so_after_a_start() {
    let mut floor = Floor::new(2, Suite::default());
    let settings = Settings::default();
    let mut disk = Disk::of(&mut floor.members[1]);
    disk.write(Record::PeerDeleted {
        gid: GID.to_vec(),
        recipient_id: kid(0).as_bytes().to_vec(),
    });
    let mut one = disk.start(1, settings);
    assert!(one.group().ever_deleted() && !one.group().is_lost());
    assert_eq!(one.group().peer_count(), 0);
    disk.write(Record::Lost);
    let mut one = disk.start(1, settings);
    assert!(one.group().is_lost());
    let plain = get(1, &[0xaa], "temp");
    assert_eq!(
        one.try_ask(To::Group, &plain).unwrap_err(),
        ProtectError::Lost
    );
    disk.write(Record::Left(Default::default()));
    let restored = Restored::fold(&disk.0);
    let refused = Group::restore(&restored, settings).err();
    assert_eq!(refused, Some(RestoreError::NoContext));
    let none = Group::restore(&Restored::default(), settings).err();
    assert_eq!(none, Some(RestoreError::NoContext));
    // A limit that became smaller than what is stored is said, not passed over.
    let disk = Disk::of(&mut floor.members[0]);
    let none = Settings {
        recipients: 0,
        ..settings
    };
    let refused = Group::restore(&Restored::fold(&disk.0), none).err();
    assert_eq!(refused, Some(RestoreError::Group(GroupError::Full)));
}
