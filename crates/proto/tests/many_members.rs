//! Ten thousand expected members: memory of the client, and linear time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant as Clock};

use antiphon_proto::{
    CollectionConfig, CollectionEvent, CollectionId, Collections, EndedBy, Expectation,
    GroupRequest, GroupTarget, Instant, Member, MessageIds, NoSec, Outcome, Path, Request, Rng,
    Security, SocketId, Transmission, Verdict,
};
use antiphon_wire::{Code, Message, Token, Type, Writer};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts the bytes that the current thread holds.
struct Counting;

fn count(bytes: isize) {
    // Without thread-local storage (at the end of a thread) nothing is measured any more.
    let _gone = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SOCKET: SocketId = SocketId(1);

fn v4(n: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + n), 5683).into()
}

fn link_local(n: u32) -> SocketAddr {
    let [a, b, c, d] = n.to_be_bytes().map(u16::from);
    (Ipv6Addr::new(0xfe80, 0, 0, 0, a, b, c, d), 5683).into()
}

/// Members with a name and two addresses each.
fn expectation(members: u32) -> Expectation {
    let mut expectation = Expectation::nobody();
    for n in 0..members {
        expectation.add(
            Member::named(format!("floor-3/light-{n}"))
                .at(v4(n))
                .at(link_local(n).ip()),
        );
    }
    expectation
}

/// Asks for everyone, answers for everyone from one address or the other, and gives the outcome.
fn collect(members: u32) -> Outcome {
    let mut rng = Rng::from_seed([6; 32]);
    let mut ids = MessageIds::new(&Transmission::default(), 16, &mut rng);
    let mut collections = Collections::new(CollectionConfig::default(), &mut rng);
    let target = GroupTarget {
        group: "239.1.1.1:5683".parse().unwrap(),
        socket: SOCKET,
        interface: 2,
    };
    let id = collections
        .start(
            Instant::ZERO,
            &mut rng,
            GroupRequest {
                expect: expectation(members),
                ..GroupRequest::new(
                    Request::new(Code::GET).path("status"),
                    target,
                    Security::Unsecured(NoSec::Accepted),
                )
            },
        )
        .unwrap();
    let mut datagram = Vec::new();
    let sent = collections.poll_transmit(Instant::ZERO, &mut ids, &mut datagram);
    assert!(sent.is_some());
    let token = Message::parse(&datagram).unwrap().token();
    for n in 0..members {
        let peer = if n % 2 == 0 { v4(n) } else { link_local(n) };
        answer(&mut collections, id, token, peer, n);
    }
    match collections.poll_event() {
        Some(CollectionEvent::Ended(outcome)) => outcome,
        other => panic!("no outcome but {other:?}"),
    }
}

fn answer(collections: &mut Collections, id: CollectionId, token: Token, peer: SocketAddr, n: u32) {
    let mut bytes = [0; 32];
    let message_id = antiphon_wire::MessageId((n % 65_536) as u16);
    let mut writer = Writer::new(&mut bytes, Type::Non, Code::CONTENT, message_id, token).unwrap();
    writer.payload(b"on").unwrap();
    let len = writer.finish();
    let path = Path {
        socket: SOCKET,
        local: "10.255.0.1:40000".parse().unwrap(),
        interface: 2,
        peer,
    };
    let message = Message::parse(&bytes[..len]).unwrap();
    let delivery = collections
        .handle_response(Instant::ZERO, &path, &message)
        .unwrap();
    assert_eq!(
        (delivery.collection, delivery.verdict),
        (id, Verdict::Delivered)
    );
    match collections.poll_event() {
        Some(CollectionEvent::Answer(answer)) => {
            assert_eq!(answer.member.unwrap().0, n);
            assert_eq!(answer.sequence, 1);
        }
        other => panic!("no answer but {other:?}"),
    }
}

#[test]
fn ten_thousand_members_are_collected_completely_in_400_bytes_each() {
    const MEMBERS: u32 = 10_000;
    // What is there without members does not count for them.
    collect(1);
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let outcome = collect(MEMBERS);
    let peak = PEAK.with(Cell::get) - before;
    let after = HELD.with(Cell::get) - before;
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert!(outcome.is_complete());
    assert_eq!(outcome.servers(), MEMBERS as usize);
    assert_eq!(outcome.answers, MEMBERS);
    assert!(outcome.unexpected.is_empty());
    let last = outcome.members().last().unwrap();
    assert_eq!((last.0, last.1.answers), ("floor-3/light-9999", 1));
    let each = peak / MEMBERS as isize;
    assert!(each <= 400, "{each} bytes for each expected member");
    // The outcome holds names and reports only.
    assert!(after / (MEMBERS as isize) <= 100, "{after} bytes remain");
    drop(outcome);
    assert_eq!(HELD.with(Cell::get), before, "everything is given back");
    println!("{each} bytes for each expected member");
}

#[test]
fn the_time_grows_no_faster_than_the_number_of_members() {
    let least = |members| {
        let run = || {
            let began = Clock::now();
            assert!(collect(members).is_complete());
            began.elapsed()
        };
        (0..3).map(|_| run()).min().unwrap_or(Duration::MAX)
    };
    let (small, large) = (least(4_000), least(32_000));
    // Eight times as many: a quadratic step anywhere would make it up to 64 times as long.
    assert!(large < small * 24, "{small:?} and {large:?}");
}
