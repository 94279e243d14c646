mod changes;
mod crashes;
mod heard;
mod used;

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::io;
use std::path::PathBuf;

use antiphon_oscore::crypto::PrivateKey as _;
use antiphon_oscore::record::{InstallRefused, Loss, Record, Restored};
use antiphon_oscore::{Contexts, GroupError};
use antiphon_proto::{Identity, Task, WorkFailure, WorkId, WorkResult};

use super::held::{Claimed, Material};
use super::*;
use crate::store::{Area, Disk, FileDisk, SealKey, Store};
use crate::worker::desk::Desk;

/// A folder for one test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("antiphon-groups-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> Opened {
        open_state(&self.0.join("state")).unwrap()
    }

    /// The records of a list, as the next start would find them.
    fn records(&self, list: &str) -> Vec<Record> {
        let state = self.open();
        let read = |bytes: &zeroize::Zeroizing<Vec<u8>>| Record::decode(bytes).unwrap();
        state.records[list].iter().map(read).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key(n: u8) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[n + 1; 32])
}

fn credential(n: u8) -> Vec<u8> {
    Credential::build_ccs(&format!("member-{n}"), &key(n).public())
}

fn bare() -> SecurityGroupBuilder {
    SecurityGroup::builder("lights")
        .gid(*b"gid")
        .master_secret(Secret::copy_of(&[7; 16]))
}

fn lights() -> SecurityGroupBuilder {
    bare()
        .member([0], credential(0), key(0))
        .peer([2], credential(2))
        .peer([1], credential(1))
}

#[test]
fn the_parts_of_a_group_are_checked_one_by_one() {
    let said = |builder: SecurityGroupBuilder| builder.volatile().unwrap_err().to_string();
    let secret = || Secret::copy_of(&[7; 16]);
    let builder = |name: &str| SecurityGroup::builder(name);
    assert_eq!(
        said(builder("a").master_secret(secret())),
        "a: the Group Identifier is missing"
    );
    assert_eq!(
        said(builder("a").gid([1])),
        "a: the Master Secret is missing"
    );
    let empty = builder("a").gid([1]).master_secret(Secret::new(Vec::new()));
    assert_eq!(said(empty), "a: the Master Secret is missing");
    for name in ["", "nosec", &"n".repeat(241)] {
        let group = builder(name).gid([1]).master_secret(secret());
        assert!(
            matches!(group.volatile(), Err(SecurityError::Name)),
            "{name}"
        );
    }
    let longest = builder(&"n".repeat(240)).gid([1]).master_secret(secret());
    assert!(longest.volatile().is_ok());
    let other = bare().member([0], credential(0), key(1)).volatile();
    assert!(matches!(other, Err(SecurityError::OtherKey { .. })));
    assert_eq!(
        said(bare().peer([0x0a, 0xff], b"no CBOR".as_slice())),
        "lights: the credential of 0aff: the credential is not of the group's format"
    );
    assert_eq!(
        said(bare().peer([0; 8], credential(1))),
        "lights: Sender ID 0000000000000000 is too long"
    );
    let twice = lights().peer([0], credential(3)).volatile();
    assert!(matches!(
        twice,
        Err(SecurityError::Member { of, reason: GroupError::OwnId, .. }) if of == "00"
    ));
    let long = bare().gid([0; 256]).volatile();
    assert!(matches!(long, Err(SecurityError::TooLong { .. })));
}

#[test]
fn members_are_found_by_name_by_id_and_by_what_is_proven() {
    let group = lights().volatile().unwrap();
    let names: Vec<_> = group.members().map(|member| member.name()).collect();
    assert_eq!(names, ["member-1", "member-2"]);
    assert_eq!(group.me().unwrap().name(), "member-0");
    assert_eq!(group.expect_all().len(), 2);
    let two = group.member("member-2").unwrap();
    assert_eq!(two.kid().as_bytes(), [2]);
    assert_eq!(group.member("02").unwrap().name(), "member-2");
    assert_eq!(group.member_by_kid(&[1]).unwrap().name(), "member-1");
    assert!(group.member("member-0").is_none() && group.member("03").is_none());
    assert!(group.member_by_kid(&[]).is_none());
    let namesake = Credential::build_ccs("member-1", &key(9).public());
    let two_of_a_name = lights().peer([9], namesake).volatile().unwrap();
    assert!(two_of_a_name.member("member-1").is_none(), "which one?");

    let proven = |group: &str, n| Sender::Proven(Identity::member(group, &credential(n)));
    let name = |sender: &Sender| group.identify(sender).map(|member| member.name());
    assert_eq!(name(&proven("lights", 2)).as_deref(), Some("member-2"));
    assert_eq!(name(&proven("lights", 0)).as_deref(), Some("member-0"));
    assert_eq!(name(&proven("others", 2)), None, "of another group");
    assert_eq!(name(&proven("lights", 3)), None);
    assert_eq!(name(&Sender::Unauthenticated), None);
    let signer = Signer::of(&proven("lights", 3)).unwrap();
    assert_eq!(signer.to_string(), "member-3 of lights");
    let unnamed = Sender::Proven(Identity::member("two", &[0xab]));
    assert_eq!(Signer::of(&unnamed).unwrap().to_string(), "ab of two");
}

#[test]
fn no_secret_is_shown() {
    let group = lights().volatile().unwrap();
    let shown = format!("{:?} {group:?} {:?}", lights(), group.me());
    for secret in ["[7, 7", "0707", "[1, 1", "0101"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(format!("{:?}", OwnKey::from(key(0))), "OwnKey(..)");
}

#[test]
fn a_group_is_created_once_and_opened_by_one() {
    let folder = Folder::new();
    let mut state = folder.open();
    assert!(matches!(
        SecurityGroup::open(&mut state, "lights"),
        Err(SecurityError::Unknown { .. })
    ));
    let created = lights().create(&mut state).unwrap();
    for again in [
        lights().create(&mut state),
        SecurityGroup::open(&mut state, "lights"),
    ] {
        assert!(
            matches!(again, Err(SecurityError::Unknown { .. })),
            "open already"
        );
    }
    drop((created, state));

    let mut state = folder.open();
    assert_eq!(stored_groups(&state).collect::<Vec<_>>(), ["lights"]);
    let again = lights().create(&mut state);
    assert!(
        matches!(
            again,
            Err(SecurityError::Refused {
                reason: InstallRefused::SenderIdUsed,
                ..
            })
        ),
        "its numbers would start again: {again:?}"
    );
    let opened = SecurityGroup::open(&mut state, "lights").unwrap();
    assert_eq!(stored_groups(&state).count(), 0);
    assert_eq!((opened.gid(), opened.generation()), (b"gid".to_vec(), 0));
    assert_eq!(opened.me().unwrap().name(), "member-0");
    assert_eq!(opened.members().count(), 2);
    drop((opened, state));

    let mut state = folder.open();
    let newer = lights().gid(*b"new").generation(1).create(&mut state);
    assert_eq!(newer.unwrap().gid(), b"new");
}

#[test]
fn what_cannot_be_read_is_lost_and_is_said_so() {
    let folder = Folder::new();
    let mut state = folder.open();
    lights().create(&mut state).unwrap();
    state.store.append("group/lights", b"no record").unwrap();
    drop(state);
    let mut state = folder.open();
    let lost = SecurityGroup::open(&mut state, "lights").unwrap_err();
    assert!(matches!(
        lost,
        SecurityError::Lost {
            why: Some(Loss::Unreadable),
            ..
        }
    ));
    assert!(lost.to_string().contains("provide new keying material"));
    let anew = lights().gid(*b"new").generation(1).create(&mut state);
    assert!(
        matches!(anew, Err(SecurityError::Lost { .. })),
        "nor is it repaired"
    );
}

#[test]
fn a_key_that_lives_elsewhere_is_not_stored_and_is_asked_for() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = bare().member([0], credential(0), OwnKey::elsewhere(key(0)));
    drop(group.create(&mut state).unwrap());
    drop(state);
    let mut state = folder.open();
    let open = |state: &mut Opened, key| {
        let with = OpenWith {
            key,
            ..OpenWith::default()
        };
        SecurityGroup::open_with(state, "lights", with)
    };
    let none = open(&mut state, None);
    assert!(matches!(none, Err(SecurityError::NoKey { .. })));
    let other = open(&mut state, Some(OwnKey::elsewhere(key(1))));
    assert!(matches!(other, Err(SecurityError::OtherKey { .. })));
    assert!(open(&mut state, Some(OwnKey::elsewhere(key(0)))).is_ok());
}

/// Lets an endpoint have it.
async fn use_it(desk: &mut Desk, contexts: &mut Contexts, held: &Arc<Held>) {
    match held.claim(desk.endpoint()).await.unwrap() {
        Claimed::Ready(place) => assert!(desk.install(contexts, held, place).is_some()),
        Claimed::Has(_) => panic!("nobody has it yet"),
    }
}

#[tokio::test]
async fn before_it_is_used_the_store_knows_and_a_block_is_reserved() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = lights().create(&mut state).unwrap();
    drop(state);
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    let id = contexts.group_named("lights").unwrap();
    let sequence = contexts.group(id).unwrap().sequence().unwrap();
    assert_eq!((sequence.next(), sequence.reserved_upto()), (0, 1024));
    assert!(matches!(
        group.held().claim(desk.endpoint()).await,
        Ok(Claimed::Has(has)) if has == id.into()
    ));
    assert!(matches!(
        group.held().claim(desk.endpoint() + 1).await,
        Err(SecurityError::InUse { .. })
    ));
    // As after a crash.
    drop((desk, contexts, group));
    let records = folder.records("group/lights");
    assert!(matches!(
        &records[3..],
        [Record::Running, Record::Reserved { upto: 1024, sender_id, gid }] if sender_id == &[0] && gid == b"gid"
    ));
    let mut state = folder.open();
    let group = SecurityGroup::open(&mut state, "lights").unwrap();
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    let group = contexts.groups().next().unwrap().1;
    let next = group.sequence().unwrap().next();
    assert!((1024..=1025).contains(&next), "{next}");
    assert!(group.peers().all(|peer| !peer.window().is_valid()));
    assert!(
        group.ever_deleted(),
        "nor is it known what came from others"
    );
}

#[tokio::test]
async fn a_clean_end_writes_the_exact_state_last_and_the_next_use_takes_it_back() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = lights().create(&mut state).unwrap();
    drop(state);
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    let id = contexts.group_named("lights").unwrap();
    for _ in 0..5 {
        let group = contexts.group_mut(id).unwrap();
        group.sequence_mut().unwrap().take().unwrap();
    }
    desk.close(&mut contexts).await;
    assert!(contexts.group(id).is_none());
    drop(group);
    let restored = Restored::fold(folder.records("group/lights").iter().map(Record::encode));
    assert!(restored.is_clean());
    assert_eq!(restored.sequence(Default::default()).unwrap().next(), 5);

    let mut state = folder.open();
    let group = SecurityGroup::open(&mut state, "lights").unwrap();
    drop(state);
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    let used = contexts.groups().next().unwrap().1;
    assert_eq!(used.sequence().unwrap().next(), 5);
    assert!(used.peers().all(|peer| peer.window().is_valid()));
    assert!(!used.ever_deleted());
    // The same group goes to another endpoint when this one ends.
    desk.close(&mut contexts).await;
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    drop((desk, contexts, group));
    let restored = Restored::fold(folder.records("group/lights").iter().map(Record::encode));
    assert!(!restored.is_clean(), "it was taken back before use");
}

#[tokio::test]
async fn a_pair_goes_on_as_a_group_does() {
    let folder = Folder::new();
    let pair = || {
        OscoreContext::builder("two")
            .master_secret(Secret::copy_of(&[3; 16]))
            .sender_id([])
            .recipient_id([1])
    };
    let mut state = folder.open();
    let created = pair().create(&mut state).unwrap();
    assert!(matches!(
        pair().create(&mut state),
        Err(SecurityError::OtherContext { .. })
    ));
    drop(state);
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, created.held()).await;
    let id = contexts.pairs().next().unwrap().0;
    contexts
        .pair_mut(id)
        .unwrap()
        .sequence_mut()
        .take()
        .unwrap();
    desk.close(&mut contexts).await;
    drop(created);
    let mut state = folder.open();
    assert_eq!(stored_contexts(&state).collect::<Vec<_>>(), ["two"]);
    let opened = OscoreContext::open(&mut state, "two", Default::default()).unwrap();
    let again = OscoreContext::open(&mut state, "two", Default::default());
    assert!(matches!(again, Err(SecurityError::Unknown { .. })));
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, opened.held()).await;
    let used = contexts.pairs().next().unwrap().1;
    assert_eq!(
        (used.sequence().next(), used.window().is_valid()),
        (1, true)
    );
    let same = pair().recipient_id([]).volatile().unwrap_err();
    assert_eq!(same.to_string(), "two: both ends have the same ID");
}

/// A disk whose appends fail as often as is said.
struct Failing {
    disk: FileDisk,
    failures: Arc<AtomicUsize>,
}

impl Disk for Failing {
    fn name(&self) -> String {
        self.disk.name()
    }
    fn lock(&mut self) -> io::Result<()> {
        self.disk.lock()
    }
    fn read(&mut self, area: Area) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(area)
    }
    fn create(&mut self, area: Area) -> io::Result<()> {
        self.disk.create(area)
    }
    fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()> {
        let left = &self.failures;
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match fails {
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(_) => self.disk.append(area, bytes),
        }
    }
    fn truncate(&mut self, area: Area, length: u64) -> io::Result<()> {
        self.disk.truncate(area, length)
    }
    fn sync(&mut self, area: Area) -> io::Result<()> {
        self.disk.sync(area)
    }
    fn rename(&mut self, from: Area, to: Area) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn sync_directory(&mut self) -> io::Result<()> {
        self.disk.sync_directory()
    }
    fn birth(&mut self, area: Area) -> io::Result<Option<u64>> {
        self.disk.birth(area)
    }
}

async fn result(desk: &mut Desk) -> (WorkId, WorkResult) {
    core::future::poll_fn(|cx| match desk.poll(cx) {
        true => core::task::Poll::Ready(()),
        false => core::task::Poll::Pending,
    })
    .await;
    desk.finished().unwrap()
}

#[tokio::test]
async fn a_store_that_fails_is_tried_again_and_is_given_up_for_the_moment() {
    let folder = Folder::new();
    let failures = Arc::new(AtomicUsize::new(0));
    let disk = Failing {
        disk: FileDisk::new(folder.0.join("state")),
        failures: Arc::clone(&failures),
    };
    let options = options().without_witness();
    let mut state = Store::open(disk, SealKey::new([1; 32]), options).unwrap();
    let group = lights().create(&mut state).unwrap();

    // While it fails the group is not used.
    failures.store(1, Ordering::SeqCst);
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    let refused = group.held().claim(desk.endpoint()).await;
    assert!(matches!(refused, Err(SecurityError::Store(_))));
    use_it(&mut desk, &mut contexts, group.held()).await;
    let id = contexts.group_named("lights").unwrap();
    let reserve = |upto| Task::Store {
        context: id.into(),
        record: Record::Reserved {
            gid: b"gid".to_vec(),
            sender_id: vec![0],
            upto,
        },
    };
    failures.store(2, Ordering::SeqCst);
    assert!(desk.take(WorkId(1), reserve(2048)).is_none());
    assert!(!desk.is_idle());
    assert!(matches!(
        result(&mut desk).await,
        (WorkId(1), WorkResult::Done)
    ));
    assert_eq!(desk.tally().store_failures, 0);
    failures.store(4, Ordering::SeqCst);
    assert!(desk.take(WorkId(2), reserve(3072)).is_none());
    let failed = result(&mut desk).await;
    assert!(matches!(
        failed,
        (WorkId(2), WorkResult::Failed(WorkFailure::System(_)))
    ));
    assert_eq!(failures.load(Ordering::SeqCst), 0, "tried four times");
    assert_eq!((desk.tally().store_failures, desk.is_idle()), (1, true));
    assert!(desk.take(WorkId(3), reserve(3072)).is_none());
    assert!(matches!(
        result(&mut desk).await,
        (WorkId(3), WorkResult::Done)
    ));
}

#[tokio::test]
async fn a_claim_that_is_given_up_leaves_the_group_free() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = lights().create(&mut state).unwrap();
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    for _ in 0..20 {
        let claim = group.held().claim(desk.endpoint());
        let _ = tokio::time::timeout(core::time::Duration::ZERO, claim).await;
    }
    use_it(&mut desk, &mut contexts, group.held()).await;
    let used = contexts.groups().next().unwrap().1;
    assert!(used.sequence().unwrap().reserved_upto() > 0);
    let id = contexts.group_named("lights").unwrap();
    let material = contexts.remove_group(id);
    group
        .held()
        .give_back(Material::from(material.unwrap()))
        .await;
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
}
