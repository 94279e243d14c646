//! New keys, other members and leaving: what is used, what is stored, and who hears of it.

use antiphon_oscore::InstallError;
use antiphon_oscore::record::Established;
use antiphon_oscore::suite::Suite;
use antiphon_proto::{ContextId, EndpointConfig};
use tokio::task::JoinHandle;

use super::*;
use crate::driver::{Driver, DriverConfig, Link};
use crate::{BuildError, Server};

/// An endpoint without sockets.
pub(super) fn endpoint() -> (JoinHandle<()>, Link) {
    let (driver, link) = Driver::new(EndpointConfig::default(), DriverConfig::default(), [3; 32]);
    (tokio::spawn(driver.run_linked()), link)
}

pub(super) async fn close(task: JoinHandle<()>, link: Link) {
    link.call(|driver, now| driver.stop(now)).await.unwrap();
    drop(link);
    task.await.unwrap();
}

pub(super) async fn claim(link: &Link, group: &SecurityGroup) -> ContextId {
    link.claim::<AskError>(group.held()).await.unwrap()
}

use crate::error::AskError;

/// The next keys, for these peers.
fn newer(generation: u64, peers: &[u8]) -> SecurityGroupBuilder {
    let group = SecurityGroup::builder("lights")
        .generation(generation)
        .gid(vec![b'g', generation as u8])
        .master_secret(Secret::copy_of(&[generation as u8; 16]));
    peers
        .iter()
        .fold(group, |group, n| group.peer([*n], credential(*n)))
}

fn names(group: &SecurityGroup) -> Vec<String> {
    group.members().map(|member| member.name()).collect()
}

#[tokio::test]
async fn new_keys_are_used_and_stored_and_the_old_ones_are_gone() {
    for used in [true, false] {
        let folder = Folder::new();
        let mut state = folder.open();
        let group = lights().create(&mut state).unwrap();
        drop(state);
        let (task, link) = endpoint();
        if used {
            claim(&link, &group).await;
        }
        let update = group.install(newer(4, &[1, 3]).sender_id([9])).await;
        assert_eq!(update.unwrap(), Update::NewKeys);
        assert_eq!((group.generation(), group.gid()), (4, b"g\x04".to_vec()));
        assert_eq!(
            names(&group),
            ["member-1", "member-3"],
            "the others go first"
        );
        assert_eq!(group.me().unwrap().kid().as_bytes(), [9]);
        let id = claim(&link, &group).await;
        let numbers = link.call(move |driver, _| {
            let group = driver.group_mut(id).unwrap();
            let peers: Vec<_> = group.peers().map(|peer| peer.window().is_valid()).collect();
            let sequence = group.sequence().unwrap();
            (
                group.generation(),
                sequence.next(),
                sequence.reserved_upto(),
                peers,
            )
        });
        assert_eq!(numbers.await.unwrap(), (4, 0, 1024, vec![true, true]));
        close(task, link).await;
        drop(group);
        let records = folder.records("group/lights");
        let installed = |record: &Record| match record {
            Record::Installed(installed) => Some(installed.generation),
            _ => None,
        };
        let keys: Vec<_> = records.iter().filter_map(installed).collect();
        assert_eq!(keys, [4], "those of before are gone from the file");
        let mut state = folder.open();
        let group = SecurityGroup::open(&mut state, "lights").unwrap();
        assert_eq!((group.generation(), names(&group).len()), (4, 2));
        assert_eq!(
            group.me().unwrap().kid().as_bytes(),
            [9],
            "with its private key"
        );
    }
}

#[tokio::test]
async fn what_must_not_be_installed_is_refused_and_nothing_changes() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = lights().create(&mut state).unwrap();
    drop(state);
    let (task, link) = endpoint();
    let id = claim(&link, &group).await;
    let refused = |reason| move |error: &SecurityError| matches!(error, SecurityError::Refused { reason: is, .. } if *is == reason);
    type Is = Box<dyn Fn(&SecurityError) -> bool>;
    let bad: [(SecurityGroupBuilder, Is); 9] = [
        (
            newer(1, &[1]).gid(*b"gid"),
            Box::new(refused(InstallRefused::Contradiction)),
        ),
        (
            newer(0, &[1]),
            Box::new(refused(InstallRefused::Contradiction)),
        ),
        (
            newer(1, &[0]),
            Box::new(|e| {
                matches!(
                    e,
                    SecurityError::Member {
                        reason: GroupError::OwnId,
                        ..
                    }
                )
            }),
        ),
        (
            newer(1, &[1]).stale(1, [[2]]),
            Box::new(|e| {
                matches!(
                    e,
                    SecurityError::NotInstalled {
                        reason: InstallError::StaleUnknown,
                        ..
                    }
                )
            }),
        ),
        (
            newer(1, &[1]).sender_id([0; 9]),
            Box::new(|e| matches!(e, SecurityError::TooLong { .. })),
        ),
        (
            newer(1, &[1]).member([0], credential(3), key(3)),
            Box::new(|e| matches!(e, SecurityError::OtherCredential { .. })),
        ),
        (
            SecurityGroup::builder("others").gid([1]),
            Box::new(|e| matches!(e, SecurityError::OtherGroup { .. })),
        ),
        (
            newer(1, &[1])
                .suite(Suite::default())
                .sender_id([0])
                .gid([])
                .generation(0),
            Box::new(refused(InstallRefused::Contradiction)),
        ),
        (
            SecurityGroup::builder("lights").gid([1]).generation(2),
            Box::new(|e| matches!(e, SecurityError::Missing { .. })),
        ),
    ];
    for (n, (description, is)) in bad.into_iter().enumerate() {
        let error = group.install(description).await.unwrap_err();
        assert!(is(&error), "{n}: {error}");
        let usable = link.call(move |driver, _| {
            let sequence = driver.group_mut(id).unwrap().sequence_mut().unwrap();
            sequence.take().is_ok()
        });
        assert!(usable.await.unwrap(), "{n}");
    }
    assert_eq!((group.gid(), group.generation()), (b"gid".to_vec(), 0));
    group.install(newer(1, &[1])).await.unwrap();
    // A Gid that comes back under the Sender ID of then.
    let back = group.install(newer(2, &[1]).gid(*b"gid")).await;
    assert!(refused(InstallRefused::SenderIdUsed)(&back.unwrap_err()));
    let older = group.install(newer(0, &[1])).await.unwrap_err();
    assert!(refused(InstallRefused::Rollback)(&older), "{older}");
    close(task, link).await;
    drop(group);
    let restored = Restored::fold(folder.records("group/lights").iter().map(Record::encode));
    assert_eq!(restored.loss, None);
    assert!(matches!(restored.context, Some(Established::Group(group)) if group.generation == 1));
}

#[tokio::test]
async fn the_same_description_changes_members_and_sender_id_only() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = lights().create(&mut state).unwrap();
    drop(state);
    let (task, link) = endpoint();
    claim(&link, &group).await;
    assert_eq!(group.install(lights()).await.unwrap(), Update::Nothing);
    let update = group.install(lights().peer([3], credential(3))).await;
    let added = vec!["member-3".to_owned()];
    let removed = Vec::new();
    assert_eq!(update.unwrap(), Update::Members { added, removed });
    assert_eq!(names(&group).len(), 3);
    let other = bare()
        .member([7], credential(0), key(0))
        .peer([1], credential(1));
    assert_eq!(group.install(other).await.unwrap(), Update::NewSenderId);
    assert_eq!(group.me().unwrap().kid().as_bytes(), [7]);
    assert_eq!(names(&group), ["member-1"]);
    let again = group.install(lights()).await;
    assert!(
        matches!(
            again,
            Err(SecurityError::Refused {
                reason: InstallRefused::SenderIdUsed,
                ..
            })
        ),
        "its numbers would begin again: {again:?}"
    );
    // Those that are stale since a generation go, the others stay.
    group.add(&[2], &credential(2)).await.unwrap();
    let taken = group.add(&[2], &credential(2)).await;
    assert!(matches!(
        taken,
        Err(SecurityError::Member {
            reason: GroupError::IdTaken,
            ..
        })
    ));
    group.install(newer(1, &[]).stale(0, [[1]])).await.unwrap();
    assert_eq!(names(&group), ["member-2"]);
    close(task, link).await;
    drop(group);
    let mut state = folder.open();
    let group = SecurityGroup::open(&mut state, "lights").unwrap();
    assert_eq!(names(&group), ["member-2"]);
    assert_eq!(group.me().unwrap().kid().as_bytes(), [7]);
}

#[tokio::test]
async fn a_member_that_was_removed_begins_with_an_unknown_window_when_it_comes_again() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = lights().create(&mut state).unwrap();
    drop(state);
    let (task, link) = endpoint();
    let id = claim(&link, &group).await;
    group.remove(&[1]).await.unwrap();
    assert_eq!(names(&group), ["member-2"]);
    let gone = group.remove(&[1]).await;
    assert!(matches!(gone, Err(SecurityError::NoMember { of, .. }) if of == "01"));
    let gone = link.call(move |driver, _| driver.group_mut(id).unwrap().peer_count());
    assert_eq!(gone.await.unwrap(), 1);
    group.add(&[1], &credential(1)).await.unwrap();
    let window = link.call(move |driver, _| {
        let group = driver.group_mut(id).unwrap();
        let one = antiphon_oscore::Kid::new(&[1]).unwrap();
        group.peer(one).unwrap().window().is_valid()
    });
    assert!(!window.await.unwrap());
    close(task, link).await;
    drop(group);
    let deleted = |record: &Record| matches!(record, Record::PeerDeleted { recipient_id, .. } if recipient_id == &[1]);
    assert!(folder.records("group/lights").iter().any(deleted));
}

#[tokio::test]
async fn whoever_has_left_has_no_keys_in_memory_nor_in_the_file() {
    for used in [true, false] {
        let folder = Folder::new();
        let mut state = folder.open();
        let group = lights().create(&mut state).unwrap();
        drop(state);
        let (task, link) = endpoint();
        if used {
            claim(&link, &group).await;
        }
        group.leave().await.unwrap();
        group.leave().await.unwrap(); // once more changes nothing
        assert!(group.held().key().is_none());
        let held = link.call(|driver, _| driver.endpoint.security().groups().count());
        assert_eq!(held.await.unwrap(), 0);
        for refused in [
            group.install(newer(1, &[1])).await.unwrap_err(),
            group.add(&[3], &credential(3)).await.unwrap_err(),
            group.remove(&[1]).await.unwrap_err(),
        ] {
            assert!(matches!(refused, SecurityError::Left { .. }), "{refused}");
        }
        let claimed = link.claim::<AskError>(group.held()).await;
        assert!(matches!(
            claimed,
            Err(AskError::Security(SecurityError::Left { .. }))
        ));
        close(task, link).await;
        drop(group);
        let records = folder.records("group/lights");
        assert!(matches!(&*records, [Record::Left(_)]), "{records:?}");
        let mut state = folder.open();
        let none = SecurityGroup::open(&mut state, "lights");
        assert!(matches!(none, Err(SecurityError::Unknown { .. })));
        let again = lights().create(&mut state);
        assert!(
            matches!(
                again,
                Err(SecurityError::Refused {
                    reason: InstallRefused::SenderIdUsed,
                    ..
                })
            ),
            "the same keys never begin again"
        );
        let rejoined = newer(1, &[1]).member([0], credential(0), key(0));
        assert_eq!(rejoined.create(&mut state).unwrap().generation(), 1);
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_does_not_happen_and_can_be_tried_again() {
    let folder = Folder::new();
    let failures = Arc::new(AtomicUsize::new(0));
    let disk = Failing {
        disk: FileDisk::new(folder.0.join("state")),
        failures: Arc::clone(&failures),
    };
    let options = options().without_witness();
    let mut state = Store::open(disk, SealKey::new([1; 32]), options).unwrap();
    let group = lights().create(&mut state).unwrap();
    let (task, link) = endpoint();
    let id = claim(&link, &group).await;
    failures.store(1, Ordering::SeqCst);
    let failed = group.install(newer(1, &[1])).await;
    assert!(matches!(failed, Err(SecurityError::Store(_))), "{failed:?}");
    assert_eq!((group.generation(), names(&group).len()), (0, 2));
    let goes_on = link.call(move |driver, _| {
        let group = driver.group_mut(id).unwrap();
        (
            group.generation(),
            group.sequence_mut().unwrap().take().is_ok(),
        )
    });
    assert_eq!(goes_on.await.unwrap(), (0, true));
    failures.store(1, Ordering::SeqCst);
    assert!(group.remove(&[1]).await.is_err());
    assert_eq!(names(&group).len(), 2);
    group.install(newer(1, &[1])).await.unwrap();
    assert_eq!(group.generation(), 1);
    failures.store(1, Ordering::SeqCst);
    let failed = group.leave().await;
    assert!(matches!(failed, Err(SecurityError::Store(_))), "{failed:?}");
    let list = |state: &Opened| state.store.compact();
    list(&state).unwrap();
    group.leave().await.unwrap();
    close(task, link).await;
    drop((group, state));
    let disk = FileDisk::new(folder.0.join("state"));
    let options = super::options().without_witness();
    let state = Store::open(disk, SealKey::new([1; 32]), options).unwrap();
    let records = &state.records["group/lights"];
    assert_eq!(records.len(), 1);
    assert!(matches!(Record::decode(&records[0]), Ok(Record::Left(_))));
}

#[tokio::test]
async fn a_group_without_a_store_changes_as_well() {
    let group = lights().volatile().unwrap();
    let (task, link) = endpoint();
    claim(&link, &group).await;
    group.install(newer(1, &[1])).await.unwrap();
    group.remove(&[1]).await.unwrap();
    close(task, link).await;
    group.install(newer(2, &[1, 2])).await.unwrap();
    assert_eq!((group.generation(), names(&group).len()), (2, 2));
    group.leave().await.unwrap();
    assert!(group.held().key().is_none());
}

#[tokio::test]
async fn what_is_asked_of_a_group_whose_endpoint_ends_meanwhile_is_done_all_the_same() {
    for _ in 0..20 {
        let folder = Folder::new();
        let mut state = folder.open();
        let group = lights().create(&mut state).unwrap();
        drop(state);
        let (task, link) = endpoint();
        claim(&link, &group).await;
        let changing = group.clone();
        let change = tokio::spawn(async move { changing.install(newer(1, &[1])).await });
        close(task, link).await;
        assert_eq!(change.await.unwrap().unwrap(), Update::NewKeys);
        assert_eq!(group.generation(), 1);
        drop(group);
        let restored = Restored::fold(folder.records("group/lights").iter().map(Record::encode));
        assert_eq!(restored.loss, None);
        assert!(matches!(restored.context, Some(Established::Group(is)) if is.generation == 1));
    }
}

#[tokio::test]
async fn a_group_is_free_again_when_its_server_was_not_built_or_never_ran() {
    let (one, two) = (lights().volatile().unwrap(), {
        let other = SecurityGroup::builder("others").gid([9]);
        let other = other.master_secret(Secret::copy_of(&[7; 16]));
        other.volatile().unwrap()
    });
    let (task, link) = endpoint();
    claim(&link, &two).await;
    let server = || {
        let any = "127.0.0.1:0".parse().unwrap();
        Server::builder()
            .unicast(any)
            .discoverable(antiphon_proto::Discoverable::Off)
    };
    let built = server()
        .secure(&one)
        .secure(&one)
        .secure(&two)
        .build()
        .await;
    assert!(matches!(
        built.err(),
        Some(BuildError::Security(SecurityError::InUse { .. }))
    ));
    let built = server().secure(&one).secure(&one).build().await.unwrap();
    let (other, elsewhere) = endpoint();
    let claimed = elsewhere.claim::<AskError>(one.held()).await;
    assert!(claimed.is_err(), "the server has it");
    drop(built);
    claim(&elsewhere, &one).await;
    other.abort(); // a runtime that is shut down
    let _ = other.await;
    claim(&link, &one).await;
    close(task, link).await;
}

#[tokio::test]
async fn members_that_were_met_on_the_way_are_known_after_a_clean_end_with_their_windows() {
    let folder = Folder::new();
    let mut state = folder.open();
    drop(lights().create(&mut state).unwrap());
    drop(state);
    let open = || {
        let mut state = folder.open();
        let with = OpenWith::default().credentials(|_| None);
        SecurityGroup::open_with(&mut state, "lights", with).unwrap()
    };
    let group = open();
    assert!(group.held().credentials().is_some());
    let (task, link) = endpoint();
    let id = claim(&link, &group).await;
    // As the endpoint does it for a message that verifies.
    let met = link.call(move |driver, _| {
        let group = driver.group_mut(id).unwrap();
        let credential = Credential::import(CredentialFormat::Ccs, &credential(5)).unwrap();
        let kid = antiphon_oscore::Kid::new(&[5]).unwrap();
        group.add_peer(kid, credential).unwrap();
        group.settings().dynamic
    });
    assert!(met.await.unwrap());
    close(task, link).await;
    drop(group);
    let group = open();
    assert_eq!(names(&group), ["member-1", "member-2", "member-5"]);
    let (task, link) = endpoint();
    let id = claim(&link, &group).await;
    let valid = link.call(move |driver, _| {
        let group = driver.group_mut(id).unwrap();
        group.peers().all(|peer| peer.window().is_valid())
    });
    assert!(valid.await.unwrap());
    close(task, link).await;
}

#[test]
fn a_description_that_comes_again_goes_on() {
    let folder = Folder::new();
    let provide = |group: SecurityGroupBuilder| {
        let mut state = folder.open();
        group.provide(&mut state).map(|(_, update)| update)
    };
    assert_eq!(provide(lights()).unwrap(), Update::New);
    assert_eq!(provide(lights()).unwrap(), Update::Nothing);
    let other = bare()
        .member([0], credential(0), key(0))
        .peer([1], credential(1))
        .peer([3], credential(3));
    let (added, removed) = (vec!["member-3".to_owned()], vec!["member-2".to_owned()]);
    assert_eq!(provide(other).unwrap(), Update::Members { added, removed });
    let renamed = || bare().member([7], credential(0), key(0));
    assert_eq!(provide(renamed()).unwrap(), Update::NewSenderId);
    let back = provide(lights());
    assert!(
        matches!(
            back,
            Err(SecurityError::Refused {
                reason: InstallRefused::SenderIdUsed,
                ..
            })
        ),
        "the first refusal is the reason: {back:?}"
    );
    let new = || newer(1, &[1]).member([0], credential(0), key(0));
    assert_eq!(provide(new()).unwrap(), Update::NewKeys);
    let old = provide(renamed()).unwrap_err();
    assert!(
        matches!(
            old,
            SecurityError::Refused {
                reason: InstallRefused::Rollback,
                ..
            }
        ),
        "{old}"
    );
    let unfit = new().peer([0; 7], credential(1)).peer([1], credential(2));
    assert!(provide(unfit).is_err());
    assert_eq!(provide(new()).unwrap(), Update::Nothing);

    let two = |secret: u8| {
        OscoreContext::builder("two")
            .master_secret(Secret::copy_of(&[secret; 16]))
            .sender_id([])
            .recipient_id([1])
    };
    let provide = |pair: OscoreContextBuilder| {
        let mut state = folder.open();
        pair.provide(&mut state).map(|(_, update)| update)
    };
    assert_eq!(provide(two(1)).unwrap(), Update::New);
    assert_eq!(provide(two(1)).unwrap(), Update::Nothing);
    assert!(matches!(
        provide(two(2)),
        Err(SecurityError::OtherContext { .. })
    ));
}
