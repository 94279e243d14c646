//! What is refused before anything is sent.

use super::*;
use crate::expect::DuplicateMember;

/// Refused with this error; nothing was sent, nothing is kept, nothing is told.
fn refused(client: &mut Client, request: GroupRequest) -> CollectError {
    let error = client.try_start(request).unwrap_err();
    assert!(client.sent.is_empty());
    assert!(client.events.is_empty());
    assert!(client.collections.is_empty());
    assert_eq!(client.collections.next_timeout(), None);
    assert!(!std::format!("{error}").is_empty());
    error
}

fn to(group: &str) -> GroupRequest {
    GroupRequest {
        targets: vec![GroupTarget {
            group: group.parse().unwrap(),
            ..target(1)
        }],
        ..get()
    }
}

fn unsecured(reason: NoSec, request: GroupRequest) -> GroupRequest {
    GroupRequest {
        security: Security::Unsecured(reason),
        ..request
    }
}

// Covers: GC-2.1.1-06
#[test]
fn only_multicast_addresses_are_groups() {
    for address in [
        "[2001:db8::1]:5683",
        "[fe80::1]:5683",
        "192.0.2.1:5683",
        "255.255.255.255:5683",
        "[::ffff:192.0.2.1]:5683",
        "[::]:5683",
    ] {
        assert_eq!(
            refused(&mut Client::new(), to(address)),
            CollectError::NotAGroup(address.parse().unwrap())
        );
    }
    let mut client = Client::new();
    client.start(to("[::ffff:239.1.1.1]:5683"));
    assert_eq!(client.sent.len(), 1);
}

// Covers: GC-3.7-05
#[test]
fn no_request_with_block1_or_q_block_is_ever_sent_to_a_group() {
    for option in [
        OptionNumber::BLOCK1,
        OptionNumber::Q_BLOCK1,
        OptionNumber::Q_BLOCK2,
    ] {
        let mut request = get();
        request.request.options.set(option, &[0x0e]);
        assert_eq!(
            refused(&mut Client::new(), request),
            CollectError::Blockwise(option)
        );
    }
    let mut block2 = get();
    block2.request.options.set(OptionNumber::BLOCK2, &[6]);
    let mut client = Client::new();
    client.start(block2);
    assert_eq!(
        client.sent.len(),
        1,
        "Block2 asks for a block of the answers"
    );
}

#[test]
fn a_question_does_not_observe() {
    for value in [&[][..], &[1]] {
        let mut request = get();
        request.request.options.set(OptionNumber::OBSERVE, value);
        assert_eq!(refused(&mut Client::new(), request), CollectError::Observe);
    }
}

// Covers: GC-3.3-05
#[test]
fn port_5684_and_port_0_are_never_sent_to() {
    for group in ["239.1.2.3:5684", "[ff02::fd]:5684"] {
        assert_eq!(
            refused(&mut Client::new(), to(group)),
            CollectError::SecurePort
        );
    }
    assert_eq!(
        refused(&mut Client::new(), to("239.1.2.3:0")),
        CollectError::NoPort
    );
    Client::new().start(to("239.1.2.3:5685"));
}

#[test]
fn unprotected_requests_stay_within_the_site() {
    for global in [
        "[ff0e::fd]:5683",
        "[ff3e::1]:5683",
        "[ff0f::1]:5683",
        "224.0.1.188:5683",
        "224.0.2.1:5683",
        "232.1.1.1:5683",
        "238.255.255.255:5683",
    ] {
        let address = global.parse().unwrap();
        assert_eq!(
            refused(&mut Client::new(), to(global)),
            CollectError::GlobalScope(address)
        );
        let core = accepted(Request::new(Code::GET).path(".well-known/core"));
        let discovery = GroupRequest {
            targets: to(global).targets,
            ..unsecured(NoSec::Discovery, core)
        };
        assert_eq!(
            refused(&mut Client::new(), discovery),
            CollectError::GlobalScope(address)
        );
        let mut client = Client::new();
        client.start(unsecured(NoSec::Global, to(global)));
        assert_eq!(client.sent.len(), 1);
    }
    for near in [
        "[ff01::fd]:5683",
        "[ff02::fd]:5683",
        "[ff03::fd]:5683",
        "[ff05::fd]:5683",
        "[ff08::fd]:5683",
        "[ff0d::fd]:5683",
        "224.0.0.5:5683",
        "224.0.1.187:5683",
        "239.255.1.1:5683",
    ] {
        let mut client = Client::new();
        client.start(to(near));
        assert_eq!(client.sent.len(), 1, "{near}");
    }
    let kept = |config: &mut CollectionConfig| config.ipv4_global = Ipv4Global::KeptInSite;
    Client::with(kept).start(to("224.0.1.188:5683"));
    assert!(matches!(
        refused(&mut Client::with(kept), to("[ff0e::fd]:5683")),
        CollectError::GlobalScope(_)
    ));
    assert!(matches!(
        refused(
            &mut Client::new(),
            unsecured(NoSec::Global, to("[ff00::1]:5683"))
        ),
        CollectError::ReservedScope(_)
    ));
}

#[test]
fn unsecured_for_discovery_means_discovery() {
    let ask = |method, path: &str| {
        unsecured(
            NoSec::Discovery,
            accepted(Request::new(method).path(path).query("rt=light")),
        )
    };
    for (method, path) in [
        (Code::GET, "status"),
        (Code::GET, ".well-known"),
        (Code::GET, ".well-known/core/more"),
        (Code::GET, "core/.well-known"),
        (Code::GET, ""),
        (Code::POST, ".well-known/core"),
        (Code::PUT, ".well-known/core"),
    ] {
        assert_eq!(
            refused(&mut Client::new(), ask(method, path)),
            CollectError::NotDiscovery
        );
    }
    for method in [Code::GET, Code::FETCH] {
        Client::new().start(ask(method, ".well-known/core"));
    }
}

#[test]
fn only_methods_are_asked() {
    for code in [Code::EMPTY, Code::CONTENT, Code::NOT_FOUND] {
        assert_eq!(
            refused(&mut Client::new(), accepted(Request::new(code))),
            CollectError::NotAMethod
        );
    }
}

#[test]
fn what_has_an_effect_each_time_is_not_sent_again_unless_it_is_idempotent() {
    let unicast = Completion::Unicast {
        at_once: 1,
        within: None,
    };
    let unknown = Code::new(0, 8).unwrap();
    for method in [Code::POST, Code::PATCH, Code::IPATCH, unknown] {
        let ask = || accepted(Request::new(method).path("x"));
        assert_eq!(
            refused(
                &mut Client::new(),
                GroupRequest {
                    repeat: Repeat::NewMessageId(1),
                    ..ask()
                }
            ),
            CollectError::NotIdempotent(Again::NewMessageId)
        );
        assert_eq!(
            refused(
                &mut Client::new(),
                GroupRequest {
                    completion: unicast,
                    ..ask()
                }
            ),
            CollectError::NotIdempotent(Again::Unicast)
        );
        // No repeat, the same message, or a stated idempotence.
        for (repeat, completion, idempotent) in [
            (Repeat::NewMessageId(0), Completion::None, false),
            (Repeat::SameMessage(3), Completion::None, false),
            (Repeat::NewMessageId(3), unicast, true),
        ] {
            Client::new().start(GroupRequest {
                repeat,
                completion,
                idempotent,
                ..ask()
            });
        }
    }
    for method in [Code::GET, Code::FETCH, Code::PUT, Code::DELETE] {
        Client::new().start(GroupRequest {
            repeat: Repeat::times(3),
            completion: unicast,
            ..accepted(Request::new(method).path("x"))
        });
    }
    assert_eq!(
        refused(
            &mut Client::new(),
            GroupRequest {
                completion: Completion::Unicast {
                    at_once: 0,
                    within: None
                },
                ..get()
            }
        ),
        CollectError::NoCompletionAtOnce
    );
}

#[test]
fn targets_are_there_distinct_and_not_too_many() {
    let none = GroupRequest {
        targets: vec![],
        ..get()
    };
    assert_eq!(refused(&mut Client::new(), none), CollectError::NoTarget);
    let mut twice = get();
    twice.targets.push(target(2));
    twice.targets.push(GroupTarget {
        socket: SocketId(9),
        ..target(1)
    });
    assert_eq!(
        refused(&mut Client::new(), twice),
        CollectError::DuplicateTarget(group(1))
    );
    let many = |n: u8| GroupRequest {
        targets: (1..=n).map(target).collect(),
        ..get()
    };
    let mut client = Client::with(|config| config.targets = 3);
    assert_eq!(refused(&mut client, many(4)), CollectError::TooManyTargets);
    client.start(many(3));
    assert_eq!(client.sent.len(), 3);
}

#[test]
fn members_that_cannot_be_told_apart_are_refused() {
    let mut expect = members(3);
    expect.add(Member::named("again").at(host(2).ip()));
    let error = refused(&mut Client::new(), GroupRequest { expect, ..get() });
    assert_eq!(
        error,
        CollectError::DuplicateMember(DuplicateMember {
            first: MemberIndex(1),
            second: MemberIndex(3)
        })
    );
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    let long = vec![0; 65_805];
    let option = accepted(Request::new(Code::GET).option(OptionNumber(65_002), &long));
    assert!(matches!(
        refused(&mut Client::new(), option),
        CollectError::Encode(_)
    ));
    let sized = |bytes: usize| {
        // Header, token and payload marker take 13 bytes, an empty Content-Format 1.
        let payload = vec![0; bytes - 14];
        accepted(Request::new(Code::PUT).payload(ContentFormat::TEXT, payload))
    };
    assert_eq!(
        refused(&mut Client::new(), sized(65_508)),
        CollectError::TooLarge(65_508)
    );
    let mut client = Client::new();
    client.start(sized(65_507));
    assert_eq!(client.sent[0].bytes.len(), 65_507);
}

/// A PUT of this size in all.
fn sized(bytes: usize) -> GroupRequest {
    let payload = vec![b'x'; bytes - 14];
    accepted(Request::new(Code::PUT).payload(ContentFormat::TEXT, payload))
}

// Covers: GC-3.8.3-01, GC-6.5-01
#[test]
fn a_request_that_would_be_fragmented_on_6lowpan_is_warned_about_or_refused() {
    assert_eq!(SIXLOWPAN_BUDGET, 58);
    let over = OverFrameBudget {
        bytes: 59,
        budget: 58,
    };
    let mut client = Client::with(|config| config.link = LinkProfile::SIXLOWPAN);
    let id = client.start(sized(59));
    assert_eq!(
        client.events,
        [(Instant::ZERO, CollectionEvent::Warning(id, over))]
    );
    assert_eq!(client.sent[0].bytes.len(), 59, "sent all the same");
    let mut client = Client::with(|config| config.link = LinkProfile::SIXLOWPAN);
    client.start(sized(58));
    assert!(client.events.is_empty());

    let strict = |config: &mut CollectionConfig| {
        config.link = LinkProfile::SixLowpan {
            budget: SIXLOWPAN_BUDGET,
            larger: Larger::Refuse,
        };
    };
    assert_eq!(
        refused(&mut Client::with(strict), sized(59)),
        CollectError::OverFrameBudget(over)
    );
    Client::with(strict).start(sized(58));
    // No profile, no budget.
    let mut client = Client::new();
    client.start(sized(1_000));
    assert!(client.events.is_empty());
}

#[test]
fn tokens_have_four_to_eight_bytes() {
    let mut config = CollectionConfig::default();
    assert_eq!(config.token_len(), 8);
    for len in [0, 3, 9] {
        let error = config.set_token_len(len).unwrap_err();
        assert_eq!(error.parameter, "token length");
        assert_eq!(config.token_len(), 8);
    }
    assert_ne!(
        config.set_token_len(3).unwrap_err().problem,
        config.set_token_len(9).unwrap_err().problem
    );
    for len in 4..=8 {
        let mut client = Client::with(|config| {
            config.set_token_len(len).unwrap();
        });
        client.start(get());
        assert_eq!(client.sent[0].message().token().len(), len);
    }
}

#[test]
fn errors_say_what_to_do() {
    let text = |error: CollectError| std::format!("{error}");
    assert_eq!(
        text(CollectError::NotIdempotent(Again::Unicast)),
        "the request may have an effect each time it is processed, so it is not completed by \
         unicast unless it is stated to be idempotent"
    );
    assert_eq!(
        text(CollectError::NotIdempotent(Again::NewMessageId)),
        "the request may have an effect each time it is processed, so it is not repeated with a \
         new Message ID unless it is stated to be idempotent"
    );
    assert_eq!(
        text(CollectError::OverFrameBudget(OverFrameBudget {
            bytes: 70,
            budget: 58
        })),
        "the request has 70 bytes, of which only 58 fit into one link-layer frame"
    );
    assert_eq!(
        text(CollectError::SecurePort),
        "port 5684 is never used for group communication"
    );
    let reasons = [
        HoldReason::Outstanding,
        HoldReason::ProbingRate,
        HoldReason::GroupRate,
        HoldReason::MessageIds,
    ];
    let texts: std::collections::HashSet<_> = reasons
        .iter()
        .map(|reason| std::format!("{reason}"))
        .collect();
    assert_eq!(texts.len(), 4);
    assert_eq!(
        std::format!("{}", MissingReason::Unicast(Failure::Reset)),
        "silent; unicast: rejected by the peer with a Reset"
    );
    assert_eq!(std::format!("{}", MissingReason::Silent), "silent");
    assert_eq!(
        std::format!("{}", Rejection::CriticalOption(OptionNumber(65_001))),
        "unrecognised critical option 65001"
    );
}
