use std::time::Duration;

use antiphon_proto::{
    MemberEnd, ObservationEnd, ObservationId, ObservationOutcome, Path, Response, Sender, SocketId,
};
use antiphon_wire::Code;

use super::*;

const ID: ObservationId = ObservationId(1);

fn says(member: u32, count: u32, payload: &[u8]) -> ObservationEvent {
    let mut response = Response::new(Code::CONTENT);
    response.payload = payload.to_vec();
    let any = ([127, 0, 0, 1], 5683).into();
    ObservationEvent::Notification(Notification {
        observation: ID,
        member: ObservedIndex(member),
        news: News::Update,
        from: Path {
            socket: SocketId(0),
            local: any,
            interface: 1,
            peer: any,
        },
        sender: Sender::Unauthenticated,
        response,
        number: Some(count),
        count,
        after: Duration::ZERO,
    })
}

fn stale(member: u32) -> ObservationEvent {
    ObservationEvent::Stale {
        observation: ID,
        member: ObservedIndex(member),
        number: None,
    }
}

fn silent(member: u32) -> ObservationEvent {
    ObservationEvent::Silent {
        observation: ID,
        member: ObservedIndex(member),
    }
}

fn ended(member: u32) -> ObservationEvent {
    ObservationEvent::MemberEnded {
        observation: ID,
        member: ObservedIndex(member),
        why: MemberEnd::NotObserved,
    }
}

fn new(news: News, event: ObservationEvent) -> ObservationEvent {
    match event {
        ObservationEvent::Notification(n) => {
            ObservationEvent::Notification(Notification { news, ..n })
        }
        other => other,
    }
}

fn room(events: usize, of_member: u32) -> Room {
    Room {
        events,
        of_member,
        bytes: Room::BYTES,
    }
}

/// All that waits: notifications as (member, count).
async fn all(slot: Slot, mut mailbox: Mailbox) -> Vec<(u32, u32)> {
    drop(slot);
    let mut found = Vec::new();
    while let Some(event) = mailbox.take().await {
        if let ObservationEvent::Notification(n) = event {
            found.push((n.member.0, n.count));
        }
    }
    found
}

#[tokio::test]
async fn what_is_put_in_comes_out_in_its_order() {
    let (slot, mut mailbox) = mailbox(room(8, 4));
    let events = [says(1, 1, b"a"), silent(1), says(2, 1, b"b"), stale(2)];
    for event in events.clone() {
        assert_eq!(slot.put(event), 0);
    }
    for event in events {
        assert_eq!(mailbox.take().await, Some(event));
    }
    // Whoever waits is woken, also by the end.
    let reader = tokio::spawn(async move { (mailbox.take().await, mailbox.take().await) });
    tokio::task::yield_now().await;
    slot.put(silent(7));
    drop(slot);
    assert_eq!(reader.await.unwrap(), (Some(silent(7)), None));
}

#[tokio::test]
async fn of_a_member_that_says_much_the_first_wait_and_the_newest() {
    let (slot, mailbox) = mailbox(room(100, 3));
    let dropped: u64 = (1..=50).map(|n| slot.put(says(1, n, b"x"))).sum();
    assert_eq!(slot.put(says(2, 1, b"x")), 0);
    assert_eq!(dropped, 47);
    assert_eq!(all(slot, mailbox).await, [(1, 1), (1, 2), (1, 50), (2, 1)]);
}

#[tokio::test]
async fn a_full_mailbox_takes_room_from_whoever_has_most() {
    let (slot, mailbox) = mailbox(room(6, 16));
    for n in 1..=5 {
        assert_eq!(slot.put(says(1, n, b"x")), 0);
    }
    assert_eq!(slot.put(says(2, 1, b"x")), 0);
    assert_eq!(slot.put(says(3, 1, b"open")), 1, "an alarm comes through");
    assert_eq!(slot.put(silent(9)), 1, "and so does what is told of others");
    let kept = all(slot, mailbox).await;
    assert_eq!(kept, [(1, 3), (1, 4), (1, 5), (2, 1), (3, 1)]);
}

#[tokio::test]
async fn bytes_are_bounded_and_the_newest_of_each_remains() {
    let big = [0; 1_000];
    let bytes = 4 * 1_000 + 8 * size_of::<Notification>();
    let (slot, mailbox) = mailbox(Room {
        bytes,
        ..room(100, 16)
    });
    let mut dropped = 0;
    for n in 1..=10 {
        dropped += slot.put(says(1, n, &big));
        dropped += slot.put(says(2, n, b"small"));
    }
    let held = slot.0.waiting().bytes;
    assert!(held <= bytes && held > bytes / 2, "{held} of {bytes}");
    let kept = all(slot, mailbox).await;
    assert_eq!(20 - kept.len() as u64, dropped);
    assert!(
        kept.contains(&(1, 10)) && kept.contains(&(2, 10)),
        "{kept:?}"
    );
}

#[tokio::test]
async fn of_many_stale_ones_of_a_member_one_is_told() {
    let (slot, mut mailbox) = mailbox(room(4, 4));
    assert_eq!((slot.put(stale(1)), slot.put(stale(2))), (0, 0));
    assert_eq!((slot.put(stale(1)), slot.put(stale(2))), (1, 1));
    assert_eq!(mailbox.take().await, Some(stale(1)));
    assert_eq!(slot.put(stale(1)), 0, "the last one was heard");
    assert_eq!(slot.put(stale(2)), 1);
    assert_eq!(mailbox.take().await, Some(stale(2)));
    assert_eq!(mailbox.take().await, Some(stale(1)));
}

#[tokio::test]
async fn the_outcome_comes_however_full_it_is() {
    let (slot, mut mailbox) = mailbox(room(2, 2));
    for n in 1..=3 {
        slot.put(says(n, 1, b"x"));
    }
    slot.put(ended(1));
    let outcome = ObservationOutcome {
        observation: ID,
        ended_by: ObservationEnd::Deregistered,
        took: Duration::ZERO,
        registrations: 1,
        notifications: 3,
        transmissions: 1,
        bytes: 1,
        members: Vec::new(),
        dropped: Default::default(),
    };
    assert_eq!(slot.put(ObservationEvent::Ended(outcome)), 0);
    drop(slot);
    let mut seen = Vec::new();
    while let Some(event) = mailbox.take().await {
        seen.push(event);
    }
    assert_eq!(seen.len(), 3);
    assert!(matches!(seen[2], ObservationEvent::Ended(_)));
}

/// Everything that waits: member, count and news of a notification, or a member and nothing.
async fn shown(mailbox: &mut Mailbox) -> Vec<(u32, Option<(u32, News)>)> {
    let mut seen = Vec::new();
    while !mailbox.0.waiting().events.is_empty() {
        seen.push(match mailbox.take().await {
            Some(ObservationEvent::Notification(n)) => (n.member.0, Some((n.count, n.news))),
            Some(ObservationEvent::MemberEnded { member, .. }) => (member.0, None),
            other => panic!("{other:?}"),
        });
    }
    seen
}

#[tokio::test]
async fn what_is_new_about_one_that_gives_way_is_told_with_the_next_of_its_member() {
    // Replaced by its member's newest.
    let (slot, mut waiting) = mailbox(room(10, 1));
    slot.put(new(News::Joined, says(1, 1, b"x")));
    slot.put(new(News::First, says(2, 1, b"x")));
    assert_eq!(slot.put(says(1, 2, b"x")), 1);
    assert_eq!(slot.put(says(1, 3, b"x")), 1);
    let kept = [(2, Some((1, News::First))), (1, Some((3, News::Joined)))];
    assert_eq!(shown(&mut waiting).await, kept);
    slot.put(says(1, 4, b"x"));
    let update = [(1, Some((4, News::Update)))];
    assert_eq!(shown(&mut waiting).await, update, "told once");

    // Crowded out: the next that waits has it.
    let (slot, mut waiting) = mailbox(room(3, 16));
    slot.put(new(News::First, says(1, 1, b"x")));
    slot.put(says(1, 2, b"x"));
    slot.put(says(1, 3, b"x"));
    assert_eq!(slot.put(new(News::First, says(2, 1, b"x"))), 1);
    let kept = [
        (1, Some((2, News::First))),
        (1, Some((3, News::Update))),
        (2, Some((1, News::First))),
    ];
    assert_eq!(shown(&mut waiting).await, kept);

    // Nothing of it waits any more: the next that comes has it. A return says less than that it was never heard of.
    let (slot, mut waiting) = mailbox(room(1, 16));
    slot.put(new(News::First, says(1, 1, b"x")));
    assert_eq!(slot.put(new(News::First, says(2, 1, b"x"))), 1);
    assert_eq!(slot.put(new(News::Returned, says(1, 2, b"x"))), 1);
    assert_eq!(shown(&mut waiting).await, [(1, Some((2, News::First)))]);
    slot.put(says(2, 2, b"x"));
    assert_eq!(shown(&mut waiting).await, [(2, Some((2, News::First)))]);
}

#[tokio::test]
async fn that_a_member_has_ended_gives_way_to_no_value() {
    let (slot, mut waiting) = mailbox(room(3, 16));
    slot.put(ended(1));
    slot.put(new(News::First, says(2, 1, b"x")));
    slot.put(ended(3));
    assert_eq!(slot.put(says(4, 1, b"x")), 1);
    assert_eq!(slot.put(ended(5)), 1);
    // Only ends are left: what else comes has no room, and what is new about it waits.
    assert_eq!(slot.put(new(News::Joined, says(2, 2, b"x"))), 1);
    assert_eq!((slot.put(silent(9)), slot.put(stale(9))), (1, 1));
    assert_eq!(shown(&mut waiting).await, [(1, None), (3, None), (5, None)]);
    slot.put(says(2, 3, b"x"));
    assert_eq!(slot.put(stale(9)), 0, "none of it waits");
    waiting.take().await;
    waiting.take().await;
    slot.put(says(2, 4, b"x"));
    let update = [(2, Some((4, News::Update)))];
    assert_eq!(shown(&mut waiting).await, update);
    // Among ends, an older one of the same member goes first, then the oldest.
    for member in [1, 2, 3] {
        assert_eq!(slot.put(ended(member)), 0);
    }
    assert_eq!((slot.put(ended(2)), slot.put(ended(4))), (1, 1));
    assert_eq!(shown(&mut waiting).await, [(3, None), (2, None), (4, None)]);
}

#[tokio::test]
async fn bytes_are_taken_from_values_and_not_from_ends() {
    let big = vec![0; 3 * size_of::<Notification>()];
    let (slot, mut waiting) = mailbox(Room {
        bytes: 2 * size_of::<Notification>(),
        ..room(10, 16)
    });
    slot.put(ended(1));
    slot.put(says(2, 1, b""));
    assert_eq!(slot.put(says(3, 1, &big)), 1, "at least one, however large");
    let update = |count| Some((count, News::Update));
    assert_eq!(shown(&mut waiting).await, [(1, None), (3, update(1))]);
}
