//! What an endpoint has heard once it does not hear again, by whatever way it comes back to the same keys.

use core::time::Duration;

use antiphon_oscore::sequence::{MAX_NUMBER, Sequence, SequenceSettings};
use antiphon_oscore::{
    Group, GroupId, GroupManagerCredential, Kid, Opened as Heard, Own, Parameters, Protecting,
    Step, To,
};
use antiphon_wire::{Code, Message, MessageId, Token, Type, Writer};

use super::changes::{claim, close, endpoint};
use super::*;

const NOW: Duration = Duration::from_secs(1000);

/// Member 1, which asks: what it sends to the group can be sent again by anybody.
pub(super) struct Asking {
    contexts: Contexts,
    group: GroupId,
}

fn kid(n: u8) -> Kid {
    Kid::new(&[n]).unwrap()
}

impl Asking {
    fn new() -> Self {
        Self::under(b"gid", 0)
    }

    pub(super) fn under(gid: &[u8], generation: u64) -> Self {
        let parameters = Parameters {
            gid: antiphon_oscore::Gid::new(gid).unwrap(),
            generation,
            master_secret: Secret::copy_of(&[7; 16]),
            master_salt: Secret::new(Vec::new()),
            suite: Default::default(),
            format: CredentialFormat::Ccs,
            gm_credential: GroupManagerCredential::no_manager(),
        };
        let import = |n| Credential::import(CredentialFormat::Ccs, &credential(n)).unwrap();
        let own = Own {
            sender_id: kid(1),
            credential: import(1),
            sequence: Sequence::exact(5, MAX_NUMBER, SequenceSettings::default()),
        };
        let mut group =
            Group::new("lights", parameters, Some(own), Default::default(), None).unwrap();
        group.add_peer(kid(0), import(0)).unwrap();
        let mut contexts = Contexts::new();
        let group = contexts.add_group(group);
        Self { contexts, group }
    }

    pub(super) fn ask(&mut self) -> Vec<u8> {
        let mut plain = [0; 64];
        let token = Token::new(&[1]).unwrap();
        let writer = Writer::new(&mut plain, Type::Non, Code::PUT, MessageId(1), token);
        let mut writer = writer.unwrap();
        writer.payload(b"on").unwrap();
        let length = writer.finish();
        let message = Message::parse(&plain[..length]).unwrap();
        let id = self.group.into();
        match self.contexts.protect_request(NOW, id, &message, To::Group) {
            Ok(Protecting::Sign(signing)) => signing.sign(&key(1)).unwrap().bytes,
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Challenged,
    Refused,
}

/// What becomes of a request that reaches these contexts.
pub(super) fn hear(contexts: &mut Contexts, bytes: &[u8]) -> Outcome {
    let message = Message::parse(bytes).unwrap();
    let mut step = contexts.begin_request(NOW, &message, false);
    loop {
        match step {
            Ok(Step::Done(Heard::Request(_))) => return Outcome::Delivered,
            Ok(Step::Done(Heard::Challenge(_))) => return Outcome::Challenged,
            Ok(Step::Work(opening, job)) => {
                let result = job.run(&key(0));
                step = contexts.finish_request(NOW, opening, result);
            }
            Err(_) => return Outcome::Refused,
        }
    }
}

/// How the use of a group ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    InGoodOrder,
    Crash,
}

/// Uses a group until then: what becomes of each of these requests.
async fn use_until(end: End, group: SecurityGroup, requests: &[&[u8]]) -> Vec<Outcome> {
    let (mut desk, mut contexts) = (Desk::new(), Contexts::new());
    use_it(&mut desk, &mut contexts, group.held()).await;
    let outcomes = requests
        .iter()
        .map(|bytes| hear(&mut contexts, bytes))
        .collect();
    if end == End::InGoodOrder {
        desk.close(&mut contexts).await;
    }
    outcomes
}

/// The group under this name, for a member with this Sender ID or for a silent server.
fn named(name: &str, own: Option<u8>) -> SecurityGroupBuilder {
    let group = SecurityGroup::builder(name)
        .gid(*b"gid")
        .master_secret(Secret::copy_of(&[7; 16]))
        .peer([1], credential(1));
    match own {
        Some(id) => group.member([id], credential(0), key(0)),
        None => group,
    }
}

fn member(id: u8) -> SecurityGroupBuilder {
    named("lights", Some(id))
}

fn silent() -> SecurityGroupBuilder {
    named("lights", None)
}

/// What becomes of a request that may be an old one: a silent server cannot ask whether it is.
fn doubted(own: Option<u8>) -> Outcome {
    match own {
        Some(_) => Outcome::Challenged,
        None => Outcome::Refused,
    }
}

fn provided(folder: &Folder, group: SecurityGroupBuilder) -> SecurityGroup {
    group.provide(&mut folder.open()).unwrap().0
}

#[tokio::test]
async fn a_request_is_heard_once_and_a_crash_asks_for_proof() {
    let folder = Folder::new();
    let (one, two) = {
        let mut it = Asking::new();
        (it.ask(), it.ask())
    };
    let heard = use_until(
        End::InGoodOrder,
        provided(&folder, member(0)),
        &[&one, &one],
    )
    .await;
    assert_eq!(heard, [Outcome::Delivered, Outcome::Refused]);
    let heard = use_until(End::Crash, provided(&folder, member(0)), &[&one, &two]).await;
    assert_eq!(heard, [Outcome::Refused, Outcome::Delivered]);
    let heard = use_until(End::Crash, provided(&folder, member(0)), &[&two]).await;
    assert_eq!(heard, [Outcome::Challenged]);
}

#[tokio::test]
async fn under_another_sender_id_what_was_heard_is_not_heard_again() {
    for end in [End::InGoodOrder, End::Crash] {
        let folder = Folder::new();
        let one = Asking::new().ask();
        let heard = use_until(end, provided(&folder, member(0)), &[&one]).await;
        assert_eq!(heard, [Outcome::Delivered]);
        // In the run that brings the Sender ID, and in the next one.
        for _ in 0..2 {
            let heard = use_until(end, provided(&folder, member(7)), &[&one]).await;
            assert_eq!(heard, [Outcome::Challenged], "{end:?}");
        }
    }
}

#[tokio::test]
async fn a_member_that_becomes_a_silent_server_hears_nothing_again() {
    for end in [End::InGoodOrder, End::Crash] {
        let folder = Folder::new();
        let (one, two) = {
            let mut it = Asking::new();
            (it.ask(), it.ask())
        };
        let heard = use_until(end, provided(&folder, member(0)), &[&one]).await;
        assert_eq!(heard, [Outcome::Delivered]);
        let group = provided(&folder, silent());
        assert!(group.needs_new_keys(), "and says so");
        let heard = use_until(end, group, &[&one, &two]).await;
        assert_eq!(heard, [Outcome::Refused, Outcome::Refused], "{end:?}");
    }
}

#[tokio::test]
async fn who_comes_back_under_the_same_keys_hears_nothing_again() {
    for (before, after) in [
        (Some(0), Some(7)),
        (Some(0), None),
        (None, None),
        (None, Some(7)),
    ] {
        let folder = Folder::new();
        let one = Asking::new().ask();
        let group = provided(&folder, named("lights", before));
        let heard = use_until(End::InGoodOrder, group, &[&one]).await;
        assert_eq!(heard, [Outcome::Delivered]);
        let group = provided(&folder, named("lights", before));
        group.leave().await.unwrap();
        drop(group);
        let group = provided(&folder, named("lights", after));
        let heard = use_until(End::InGoodOrder, group, &[&one]).await;
        assert_eq!(heard, [doubted(after)], "{before:?} {after:?}");
    }
}

#[tokio::test]
async fn keys_that_were_used_under_another_name_open_nothing_again() {
    let silent_or_not = [
        (Some(0), Some(7)),
        (Some(0), None),
        (None, None),
        (None, Some(7)),
    ];
    for (left, (before, after)) in [false, true]
        .into_iter()
        .flat_map(|left| silent_or_not.map(|of| (left, of)))
    {
        let folder = Folder::new();
        let one = Asking::new().ask();
        let group = provided(&folder, named("lights", before));
        let heard = use_until(End::InGoodOrder, group, &[&one]).await;
        assert_eq!(heard, [Outcome::Delivered]);
        if left {
            let group = provided(&folder, named("lights", before));
            group.leave().await.unwrap();
        }
        // In the run that brings the name, and in the next one, which may not be sure of it.
        let group = provided(&folder, named("doors", after));
        assert_eq!(group.needs_new_keys(), after.is_none(), "and says so");
        let heard = use_until(End::Crash, group, &[&one]).await;
        assert_eq!(heard, [doubted(after)], "{before:?} {after:?} {left}");
        let group = provided(&folder, named("doors", after));
        let heard = use_until(End::Crash, group, &[&one]).await;
        assert_eq!(heard, [doubted(after)], "{before:?} {after:?} {left}");
    }
    // Other keys are others under whatever name.
    let folder = Folder::new();
    drop(provided(&folder, silent()));
    for other in [
        silent().gid(*b"other"),
        silent().master_secret(Secret::copy_of(&[8; 16])),
    ] {
        let folder = Folder::new();
        drop(provided(&folder, named("doors", None)));
        assert!(!provided(&folder, other).needs_new_keys());
    }
}

#[tokio::test]
async fn new_keys_that_were_used_under_another_name_open_nothing_again() {
    let new = |group: SecurityGroupBuilder| group.gid(*b"new").generation(1);
    for used in [false, true] {
        let folder = Folder::new();
        let one = Asking::under(b"new", 1).ask();
        let group = provided(&folder, new(named("doors", Some(7))));
        let heard = use_until(End::InGoodOrder, group, &[&one]).await;
        assert_eq!(heard, [Outcome::Delivered]);
        let group = provided(&folder, member(0));
        let keys = SecurityGroup::builder("lights").gid(*b"new").generation(1);
        let keys = keys
            .master_secret(Secret::copy_of(&[7; 16]))
            .peer([1], credential(1));
        if used {
            let (task, link) = endpoint();
            let id = claim(&link, &group).await;
            group.install(keys).await.unwrap();
            let valid = link.call(move |driver, _| {
                let group = driver.group_mut(id).unwrap();
                group.peers().any(|peer| peer.window().is_valid())
            });
            assert!(!valid.await.unwrap());
            close(task, link).await;
        } else {
            group.install(keys).await.unwrap();
        }
        let heard = use_until(End::InGoodOrder, group, &[&one]).await;
        assert_eq!(heard, [Outcome::Challenged], "{used}");
    }
}

#[tokio::test]
async fn new_keys_after_a_crash_are_fresh_however_often_they_are_described() {
    let folder = Folder::new();
    let (one, two) = {
        let mut it = Asking::new();
        (it.ask(), it.ask())
    };
    let heard = use_until(End::Crash, provided(&folder, silent()), &[&one]).await;
    assert_eq!(heard, [Outcome::Delivered]);
    let deaf = provided(&folder, silent());
    assert!(deaf.needs_new_keys());
    drop(deaf);
    let new = || silent().gid(*b"new").generation(1);
    // Described, and the start does not come to its end: nothing was heard with them yet.
    for _ in 0..3 {
        assert!(!provided(&folder, new()).needs_new_keys());
    }
    let three = Asking::under(b"new", 1).ask();
    let heard = use_until(End::Crash, provided(&folder, new()), &[&one, &two, &three]).await;
    assert_eq!(
        heard,
        [Outcome::Refused, Outcome::Refused, Outcome::Delivered]
    );
    let heard = use_until(End::Crash, provided(&folder, new()), &[&three]).await;
    assert_eq!(heard, [Outcome::Refused]);
}

#[tokio::test]
async fn new_keys_that_nobody_used_yet_are_fresh_after_the_next_start() {
    let folder = Folder::new();
    let one = Asking::new().ask();
    drop(use_until(End::Crash, provided(&folder, silent()), &[&one]).await);
    let group = provided(&folder, silent());
    let keys = SecurityGroup::builder("lights").gid(*b"new").generation(1);
    let keys = keys
        .master_secret(Secret::copy_of(&[7; 16]))
        .peer([1], credential(1));
    group.install(keys).await.unwrap();
    drop(group);
    let group = provided(&folder, silent().gid(*b"new").generation(1));
    assert!(!group.needs_new_keys());
    let new = Asking::under(b"new", 1).ask();
    assert_eq!(
        use_until(End::Crash, group, &[&new]).await,
        [Outcome::Delivered]
    );
}

#[tokio::test]
async fn members_come_and_go_between_two_runs_and_the_others_go_on() {
    for builder in [silent as fn() -> SecurityGroupBuilder, || member(0)] {
        let folder = Folder::new();
        let mut asking = Asking::new();
        let (one, two, three) = (asking.ask(), asking.ask(), asking.ask());
        let heard = use_until(End::InGoodOrder, provided(&folder, builder()), &[&one]).await;
        assert_eq!(heard, [Outcome::Delivered]);
        // One more, by description.
        let group = provided(&folder, builder().peer([3], credential(3)));
        assert!(!group.needs_new_keys());
        let heard = use_until(End::InGoodOrder, group, &[&one, &two]).await;
        assert_eq!(heard, [Outcome::Refused, Outcome::Delivered]);
        // That one goes, and another one comes, while nobody uses the group.
        let group = SecurityGroup::open(&mut folder.open(), "lights").unwrap();
        group.remove(&[3]).await.unwrap();
        group.add(&[4], &credential(4)).await.unwrap();
        drop(group);
        let group = SecurityGroup::open(&mut folder.open(), "lights").unwrap();
        let heard = use_until(End::Crash, group, &[&one, &two, &three]).await;
        assert_eq!(
            heard,
            [Outcome::Refused, Outcome::Refused, Outcome::Delivered]
        );
    }
}
