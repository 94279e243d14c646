use std::time::Duration;

use antiphon_proto::{
    MemberEnd, News, ObservationEnd, ObservationId, ObservationOutcome, Path, Response, Sender,
    SocketId,
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

fn room(events: usize, of_member: u32) -> Room {
    Room {
        events,
        of_member,
        ..Room::default()
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
    slot.put(ObservationEvent::MemberEnded {
        observation: ID,
        member: ObservedIndex(1),
        why: MemberEnd::NotObserved,
    });
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
