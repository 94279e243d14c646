//! The same keys under another name, in a store that is not the last one, and in a file that has gone.

use antiphon_oscore::Kid;

use super::*;
use crate::store::{Mismatch, Options, StoreError};

fn named(name: &str, id: u8) -> SecurityGroupBuilder {
    SecurityGroup::builder(name)
        .gid(*b"gid")
        .master_secret(Secret::copy_of(&[7; 16]))
        .member([id], credential(0), key(0))
}

fn pair(name: &str) -> OscoreContextBuilder {
    OscoreContext::builder(name)
        .master_secret(Secret::copy_of(&[7; 16]))
        .id_context(*b"gid")
        .sender_id([0])
        .recipient_id([1])
}

fn elsewhere<T: core::fmt::Debug>(made: Result<T, SecurityError>) -> String {
    match made {
        Err(SecurityError::UsedElsewhere { other, .. }) => other,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_keys_do_not_begin_again_under_another_name() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = named("lights", 0).create(&mut state).unwrap();
    let mut open = Some(group);
    // While it is open, and after a start.
    for _ in 0..2 {
        let before = state.store.length().unwrap();
        assert_eq!(elsewhere(named("doors", 0).create(&mut state)), "lights");
        assert_eq!(elsewhere(named("doors", 0).provide(&mut state)), "lights");
        let salted = named("doors", 0).master_salt(*b"salt");
        assert_eq!(elsewhere(salted.create(&mut state)), "lights");
        assert_eq!(elsewhere(pair("lights").create(&mut state)), "lights");
        assert_eq!(elsewhere(pair("two").provide(&mut state)), "lights");
        let now = state.store.length().unwrap();
        assert_eq!(now, before, "nothing is written");
        drop((open.take(), state));
        state = folder.open();
    }
    // What has other keys may begin: another secret, another Gid, another Sender ID, none at all.
    let secret = Secret::copy_of(&[8; 16]);
    assert!(
        named("b", 0)
            .master_secret(secret)
            .create(&mut state)
            .is_ok()
    );
    assert!(named("c", 0).gid(*b"other").create(&mut state).is_ok());
    assert!(named("d", 1).create(&mut state).is_ok());
    let silent = SecurityGroup::builder("e").gid(*b"gid");
    let silent = silent.master_secret(Secret::copy_of(&[7; 16]));
    assert!(silent.create(&mut state).is_ok());
    assert!(pair("f").sender_id([5]).create(&mut state).is_ok());
    assert_eq!(elsewhere(named("g", 5).create(&mut state)), "f");
    let said = named("g", 5).create(&mut state).unwrap_err().to_string();
    assert!(
        said.starts_with("g: the store has this Gid and Sender ID under the name f"),
        "{said}"
    );
}

#[test]
fn a_sender_id_of_earlier_counts_as_well() {
    let folder = Folder::new();
    let mut state = folder.open();
    drop(named("lights", 0).create(&mut state).unwrap());
    drop(state);
    let mut state = folder.open();
    let (group, update) = named("lights", 1).provide(&mut state).unwrap();
    assert_eq!(update, Update::NewSenderId);
    for id in [0, 1] {
        assert_eq!(elsewhere(named("doors", id).create(&mut state)), "lights");
    }
    drop(group);
    state.store.compact().unwrap();
    for id in [0, 1] {
        assert_eq!(elsewhere(named("doors", id).create(&mut state)), "lights");
    }
    assert!(named("doors", 2).create(&mut state).is_ok());
}

#[tokio::test]
async fn keys_that_are_installed_later_are_looked_at_as_well() {
    let folder = Folder::new();
    let mut state = folder.open();
    let doors = SecurityGroup::builder("doors")
        .gid(*b"new")
        .generation(1)
        .master_secret(Secret::copy_of(&[9; 16]))
        .member([0], credential(0), key(0));
    let _doors = doors.create(&mut state).unwrap();
    let lights = lights().create(&mut state).unwrap();
    let new = |id| {
        SecurityGroup::builder("lights")
            .gid(*b"new")
            .generation(1)
            .master_secret(Secret::copy_of(&[9; 16]))
            .sender_id(id)
    };
    assert_eq!(elsewhere(lights.install(new([0])).await), "doors");
    assert_eq!((lights.gid(), lights.generation()), (b"gid".to_vec(), 0));
    // While an endpoint has it, too.
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, lights.held()).await;
    desk.close(&mut contexts).await;
    assert_eq!(elsewhere(lights.install(new([0])).await), "doors");
    assert_eq!(lights.install(new([1])).await.unwrap(), Update::NewKeys);
    // And a Sender ID alone.
    assert_eq!(elsewhere(lights.install(new([0])).await), "doors");
    assert_eq!(lights.me().unwrap().kid().as_bytes(), [1]);
}

#[tokio::test]
async fn what_was_left_is_not_begun_again_under_another_name() {
    let folder = Folder::new();
    let mut state = folder.open();
    let group = named("lights", 0).create(&mut state).unwrap();
    group.leave().await.unwrap();
    // Its secret is gone: it could be any.
    let other = named("doors", 0).master_secret(Secret::copy_of(&[8; 16]));
    assert_eq!(elsewhere(other.create(&mut state)), "lights");
    assert_eq!(elsewhere(named("doors", 0).create(&mut state)), "lights");
    assert!(named("doors", 1).create(&mut state).is_ok());
}

#[test]
fn nothing_begins_beside_records_that_cannot_be_read() {
    let folder = Folder::new();
    let mut state = folder.open();
    state.store.append("group/old", b"no record").unwrap();
    state.store.append("other/kind", b"no record").unwrap();
    let refused = named("lights", 0).create(&mut state).unwrap_err();
    assert!(
        matches!(&refused, SecurityError::Lost { name, why: Some(Loss::Unreadable) } if name == "old"),
        "{refused:?}"
    );
}

#[test]
fn nothing_begins_in_a_store_that_is_not_the_last_one() {
    let mut disk = crate::store::tests::sim_disk::SimDisk::new(1);
    let seal = || crate::store::tests::key();
    let open = |disk: &crate::store::tests::sim_disk::SimDisk, options: Options| {
        Store::open(disk.clone(), seal(), options)
    };
    let mut state = open(&disk, options()).unwrap();
    drop(named("lights", 0).create(&mut state).unwrap());
    drop(pair("two").sender_id([9]).create(&mut state).unwrap());
    disk.restart();
    let old = disk.get(Area::Log);
    let mut state = open(&disk, options()).unwrap();
    let newer = || named("lights", 0).gid(*b"new").generation(1);
    drop(newer().create(&mut state).unwrap());
    disk.restart();
    disk.put(Area::Log, &old);
    let refused = open(&disk, options()).unwrap_err();
    assert!(matches!(
        refused,
        StoreError::NotTheLast {
            mismatch: Mismatch::Older { .. },
            ..
        }
    ));
    disk.restart();
    // Whoever insists, and whoever comes after him: the older file does not know that the newer keys were used.
    for first in [true, false] {
        let options = match first {
            true => options().despite_loss(),
            false => options(),
        };
        let mut state = open(&disk, options).unwrap();
        let broken = |made: Result<SecurityGroup, SecurityError>| {
            assert!(
                matches!(made, Err(SecurityError::Broken { .. })),
                "{made:?}"
            );
        };
        broken(newer().create(&mut state));
        broken(newer().provide(&mut state).map(|(group, _)| group));
        broken(named("doors", 3).create(&mut state));
        let new = pair("three").sender_id([8]).provide(&mut state);
        assert!(matches!(new, Err(SecurityError::Broken { .. })));
        let lost = SecurityGroup::open(&mut state, "lights");
        assert!(matches!(lost, Err(SecurityError::Lost { .. })), "{lost:?}");
        let same = named("lights", 0).provide(&mut state);
        assert!(matches!(same, Err(SecurityError::Lost { .. })), "{same:?}");
        let lost = OscoreContext::open(&mut state, "two", Default::default());
        assert!(matches!(lost, Err(SecurityError::Lost { .. })), "{lost:?}");
        drop(state);
        disk.restart();
    }
    // In a new store they may begin.
    let disk = crate::store::tests::sim_disk::SimDisk::new(2);
    let mut state = open(&disk, options()).unwrap();
    assert!(
        newer()
            .gid(*b"newest")
            .generation(2)
            .create(&mut state)
            .is_ok()
    );
}

#[tokio::test]
async fn members_that_were_met_stay_when_the_description_comes_again() {
    let folder = Folder::new();
    let described = || {
        lights().credentials(|kid: Kid| {
            let n = *kid.as_bytes().first()?;
            Credential::import(CredentialFormat::Ccs, &credential(n)).ok()
        })
    };
    let mut state = folder.open();
    let (group, update) = described().provide(&mut state).unwrap();
    assert_eq!(update, Update::New);
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    let id = contexts.group_named("lights").unwrap();
    let met = Credential::import(CredentialFormat::Ccs, &credential(7)).unwrap();
    let used = contexts.group_mut(id).unwrap();
    used.add_peer(Kid::new(&[7]).unwrap(), met).unwrap(); // as once its first message has verified
    desk.close(&mut contexts).await;
    drop((group, state));

    // Nothing has changed, and what the clean end wrote still counts.
    let mut state = folder.open();
    let (group, update) = described().provide(&mut state).unwrap();
    assert_eq!(update, Update::Nothing);
    assert_eq!(group.members().count(), 3);
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    let used = contexts.groups().next().unwrap().1;
    assert!(!used.ever_deleted() && used.peers().all(|peer| peer.window().is_valid()));
    desk.close(&mut contexts).await;
    drop((group, state));

    // A described member whose credential is another one is replaced; without a source the description is all.
    let mut state = folder.open();
    let other = described().peer([7], credential(8)).provide(&mut state);
    let expected = Update::Members {
        added: vec!["member-8".into()],
        removed: vec!["member-7".into()],
    };
    assert_eq!(other.unwrap().1, expected);
    drop(state);
    let mut state = folder.open();
    let (group, update) = lights().provide(&mut state).unwrap();
    let expected = Update::Members {
        added: Vec::new(),
        removed: vec!["member-8".into()],
    };
    assert_eq!((update, group.members().count()), (expected, 2));
}

#[tokio::test]
async fn whoever_cannot_challenge_needs_new_keys_after_a_crash() {
    use antiphon_oscore::Modes;
    let silent = || bare().peer([1], credential(1));
    let modes = |modes| antiphon_oscore::Settings {
        modes,
        ..Default::default()
    };
    let whole = || lights().settings(modes(Modes::Both));
    let half = || lights().settings(modes(Modes::Group));
    let builders: [(&dyn Fn() -> SecurityGroupBuilder, bool); 3] =
        [(&silent, true), (&whole, false), (&half, true)];
    for (builder, needs) in builders {
        let folder = Folder::new();
        let mut state = folder.open();
        for clean in [true, false] {
            let (group, _) = builder().provide(&mut state).unwrap();
            assert!(!group.needs_new_keys());
            let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
            use_it(&mut desk, &mut contexts, group.held()).await;
            if clean {
                desk.close(&mut contexts).await;
            }
            drop((desk, contexts, group, state));
            state = folder.open();
        }
        let (group, _) = builder().provide(&mut state).unwrap();
        assert_eq!(group.needs_new_keys(), needs);
    }
}

#[test]
fn a_key_without_a_file_is_a_file_that_has_gone() {
    let folder = Folder::new();
    let path = folder.0.join("state");
    let with = |ending: &str| folder.0.join(format!("state{ending}"));
    // A crash while it is made: there is a key, and it has not got its name.
    SealKey::load_or_create(&with(".key.new")).unwrap();
    let key = std::fs::read(with(".key.new")).unwrap();
    let mut state = open_state(&path).unwrap();
    assert_eq!(std::fs::read(with(".key")).unwrap(), key);
    assert!(!with(".key.new").exists());
    drop(named("lights", 0).create(&mut state).unwrap());
    drop(state);
    // A crash before the old name was gone.
    std::fs::copy(with(".key"), with(".key.new")).unwrap();
    drop(open_state(&path).unwrap());
    assert!(!with(".key.new").exists());
    for file in ["", ".witness"] {
        std::fs::remove_file(with(file)).unwrap();
        let gone = open_state(&path);
        let told = matches!(
            gone,
            Err(StateError::Store(
                StoreError::Missing { .. } | StoreError::NotTheLast { .. }
            ))
        );
        assert!(told, "{gone:?}");
    }
    assert!(!path.exists(), "none is made");
}
