use super::*;

#[test]
fn block_sizes_are_the_seven_powers_of_two() {
    let problem = |bytes| BlockSize::new(bytes).unwrap_err().problem;
    for (exponent, bytes) in [16, 32, 64, 128, 256, 512, 1_024].into_iter().enumerate() {
        let size = BlockSize::new(bytes).unwrap();
        assert_eq!(size.bytes(), bytes);
        assert_eq!(usize::from(size.exponent), exponent);
        assert_eq!(std::format!("{size}"), std::format!("{bytes}"));
    }
    assert_eq!(problem(8), "is below its lower limit");
    assert_eq!(problem(15), "is below its lower limit");
    assert_eq!(problem(17), "is no power of two");
    assert_eq!(problem(1_025), "is above its upper limit");
    assert_eq!(problem(2_048), "is above its upper limit");
    assert_eq!(BlockSize::at_most(15), None);
    for (limit, bytes) in [
        (16, 16),
        (31, 16),
        (32, 32),
        (64, 64),
        (1_023, 512),
        (1_024, 1_024),
        (9_999, 1_024),
    ] {
        assert_eq!(BlockSize::at_most(limit).unwrap().bytes(), bytes, "{limit}");
    }
    assert_eq!(BlockSize::LARGEST.smaller().unwrap().bytes(), 512);
    assert_eq!(BlockSize::SMALLEST.smaller(), None);
    assert_eq!(BlockSize::default(), BlockSize::LARGEST);
}

#[test]
fn a_block_begins_at_a_multiple_of_its_size_and_has_a_number() {
    let size = BlockSize::SMALLEST;
    let number = |start| size.block_at(start, false).map(BlockValue::num);
    assert_eq!(number(0), Some(0));
    assert_eq!(number(16), Some(1));
    assert_eq!(number(17), None);
    assert_eq!(
        number(16 * BlockValue::MAX_NUM as usize),
        Some(BlockValue::MAX_NUM)
    );
    assert_eq!(number(16 * (BlockValue::MAX_NUM as usize + 1)), None);
}

#[test]
fn the_stated_memory_follows_from_the_limits() {
    let limits = ServerBlocks {
        incomplete: 0,
        incomplete_bytes: 100,
        kept: 0,
        kept_bytes: 10,
        ..ServerBlocks::default()
    };
    assert_eq!(limits.memory_total(), 420);
    let limits = ServerBlocks {
        incomplete: 3,
        kept: 5,
        incomplete_bytes: 0,
        kept_bytes: 0,
        ..ServerBlocks::default()
    };
    assert_eq!(
        limits.memory_total(),
        6 * IncompleteBodies::PLACE + 10 * KeptBodies::PLACE
    );
}

#[test]
fn the_default_limits_of_a_server_are_those_that_are_documented() {
    let limits = ServerBlocks::default();
    assert_eq!(limits.size.bytes(), 1_024);
    assert_eq!(limits.body, 1_048_576);
    assert_eq!((limits.incomplete, limits.incomplete_per_address), (64, 8));
    assert_eq!(limits.incomplete_bytes, 4_194_304);
    assert_eq!(limits.incomplete_for, Duration::from_secs(247));
    assert_eq!((limits.kept, limits.kept_per_address), (64, 8));
    assert_eq!(limits.kept_bytes, 2_097_152);
    assert_eq!(limits.kept_for, Duration::from_secs(247));
}

#[test]
fn a_failure_says_why() {
    for (failure, text) in [
        (
            BodyFailure::TooLarge(70),
            "the body is larger than 70 bytes",
        ),
        (
            BodyFailure::Changed,
            "the representation changed during the transfer",
        ),
        (BodyFailure::Inconsistent, "the blocks do not fit together"),
        (
            BodyFailure::Lost(Code::NOT_FOUND),
            "the request was processed; the rest of its response is lost (4.04 Not Found)",
        ),
        (BodyFailure::TimedOut, "the transfer took too long"),
        (
            BodyFailure::Crowded,
            "too many bodies are being transferred",
        ),
    ] {
        assert_eq!(std::format!("{failure}"), text);
    }
}

#[cfg(feature = "client")]
#[test]
fn a_smaller_block_size_is_heeded_only_if_the_request_is_larger() {
    use crate::message::{Request, Response};
    use antiphon_wire::{Code, OptionNumber};

    let refused = |code, num: u32, szx| {
        let mut response = Response::new(code);
        let block = BlockValue::new(num, false, szx).unwrap().encode();
        response.options.set(OptionNumber::BLOCK1, block.as_bytes());
        response
    };
    let whole = |length: usize| {
        let mut request = Request::new(Code::PUT);
        request.payload = alloc::vec![1; length];
        request
    };
    let too_large = refused(Code::REQUEST_ENTITY_TOO_LARGE, 0, 2);
    let hint = |length| hinted_size(&too_large, &whole(length));
    assert_eq!(hint(63), None);
    assert_eq!(hint(64), None, "which is one block: it was refused whole");
    assert_eq!(hint(65), Some(BlockSize::SIXLOWPAN));
    assert_eq!(
        hinted_size(&refused(Code::BAD_REQUEST, 0, 2), &whole(65)),
        None
    );
    let mut in_blocks = whole(65);
    in_blocks.options.push(OptionNumber::BLOCK1, &[0x0a]);
    assert_eq!(hinted_size(&too_large, &in_blocks), None);
    let without = Response::new(Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(hinted_size(&without, &whole(65)), None);
}

#[cfg(feature = "client")]
#[test]
fn more_blocks_follow_only_a_first_one_that_says_so() {
    for (num, more, follow) in [(0, true, true), (0, false, false), (1, true, false)] {
        let mut options = crate::message::Options::new();
        let block = BlockValue::new(num, more, 2).unwrap().encode();
        options.push(antiphon_wire::OptionNumber::BLOCK2, block.as_bytes());
        assert_eq!(is_first_of_more(&options), follow, "{num} {more}");
    }
}

mod room {
    use alloc::vec::Vec;
    use core::time::Duration;

    use antiphon_wire::{BlockValue, Code, Message, MessageId, OptionNumber, Token, Type, Writer};

    use crate::block::{IncompleteBodies, KeptBodies, OperationKey, ServerBlocks, Taken};
    use crate::identity::{Identity, Sender};
    use crate::message::Response;
    use crate::rng::Rng;
    use crate::time::Instant;

    const NOBODY: Sender = Sender::Unauthenticated;

    fn member(n: u8) -> Sender {
        Sender::Proven(Identity(alloc::vec![n; 9]))
    }

    fn request(method: Code, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [0; 200];
        let mut writer =
            Writer::new(&mut bytes, Type::Con, method, MessageId(1), Token::EMPTY).unwrap();
        writer.option(OptionNumber::URI_PATH, b"r").unwrap();
        if !payload.is_empty() {
            writer.payload(payload).unwrap();
        }
        let len = writer.finish();
        bytes[..len].to_vec()
    }

    fn peer(n: u8, port: u16) -> core::net::SocketAddr {
        ([10, 0, 0, n], port).into()
    }

    struct Uploads(IncompleteBodies);

    impl Uploads {
        fn new(limits: ServerBlocks) -> Self {
            Self(IncompleteBodies::new(limits))
        }

        /// A block of 64 bytes; false if there is no room.
        fn block(&mut self, at: u64, from: core::net::SocketAddr, who: &Sender, num: u32) -> bool {
            let bytes = request(Code::PUT, &[7; 64]);
            let message = Message::parse(&bytes).unwrap();
            let block = BlockValue::new(num, true, 2).unwrap();
            let taken = self
                .0
                .take(Instant::from_millis(at), from, who, &message, block);
            match taken {
                Taken::Continue(_) => true,
                Taken::NoRoom(_) | Taken::Incomplete => false,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn uploads_of_those_who_prove_nothing_give_way_to_those_of_members() {
        let mut all = Uploads::new(ServerBlocks {
            incomplete: 4,
            ..ServerBlocks::default()
        });
        // Half of the places, once they have gone on.
        for n in 0..2 {
            assert!(all.block(u64::from(n), peer(n, 1), &NOBODY, 0));
            assert!(all.block(u64::from(n), peer(n, 1), &NOBODY, 1));
        }
        assert!(!all.block(2, peer(2, 1), &NOBODY, 0));
        for n in 10..14 {
            assert!(all.block(3, peer(n, 1), &member(n), 0), "{n}");
        }
        assert_eq!(all.0.len(), 4);
        assert!(
            !all.block(4, peer(0, 1), &NOBODY, 2),
            "the first has given way"
        );
        assert!(!all.block(4, peer(14, 1), &member(14), 0), "members do not");
        assert!(!all.block(4, peer(2, 1), &NOBODY, 0));
        for n in 10..14 {
            assert!(all.block(5, peer(n, 1), &member(n), 1), "{n}");
        }
    }

    #[test]
    fn uploads_in_the_name_of_a_member_take_nothing_of_its_share() {
        let mut all = Uploads::new(ServerBlocks {
            incomplete_per_address: 2,
            ..ServerBlocks::default()
        });
        for port in 1..3 {
            assert!(all.block(u64::from(port), peer(1, port), &NOBODY, 0));
        }
        assert!(!all.block(3, peer(1, 3), &NOBODY, 0));
        assert!(all.block(4, peer(1, 1), &member(1), 0));
        assert!(
            !all.block(4, peer(1, 1), &NOBODY, 1),
            "the oldest has given way"
        );
        assert!(all.block(4, peer(1, 2), &NOBODY, 1));
        assert!(all.block(4, peer(1, 2), &member(1), 0));
        assert!(!all.block(4, peer(1, 3), &member(1), 0));
    }

    #[test]
    fn bytes_are_kept_for_members_as_well() {
        // 64 bytes and 5 of the key for each, then 64 more for each block.
        let limits = ServerBlocks {
            incomplete_bytes: 4 * 69,
            ..ServerBlocks::default()
        };
        let mut all = Uploads::new(limits);
        for n in 0..3 {
            assert!(all.block(u64::from(n), peer(n, 1), &NOBODY, 0));
        }
        assert_eq!(all.0.len(), 3, "three quarters");
        assert!(all.block(3, peer(3, 1), &NOBODY, 0), "for the first");
        assert_eq!(all.0.len(), 3);
        assert!(all.block(4, peer(1, 1), &NOBODY, 1), "for the third");
        assert_eq!(all.0.len(), 2);
        // The key of a member takes 9 bytes more.
        assert!(all.block(5, peer(9, 1), &member(9), 0), "for the fourth");
        assert_eq!(all.0.len(), 2);
        assert!(all.block(5, peer(8, 1), &member(8), 0), "for the second");
        assert_eq!(all.0.len(), 2);
        assert!(!all.block(5, peer(1, 1), &NOBODY, 2));
    }

    /// What becomes of the first of several blocks of 64 bytes, and of a second and last one of so many.
    fn upload(limit: usize, size1: Option<&[u8]>, last: usize) -> (Taken, Taken) {
        let mut bodies = IncompleteBodies::new(ServerBlocks {
            body: limit,
            ..ServerBlocks::default()
        });
        let mut take = |num, more, payload: &[u8], size1: Option<&[u8]>| {
            let mut bytes = [0; 200];
            let (mid, token) = (MessageId(1), Token::EMPTY);
            let mut writer = Writer::new(&mut bytes, Type::Con, Code::PUT, mid, token).unwrap();
            if let Some(size) = size1 {
                writer.option(OptionNumber::SIZE1, size).unwrap();
            }
            writer.payload(payload).unwrap();
            let len = writer.finish();
            let message = Message::parse(&bytes[..len]).unwrap();
            let block = BlockValue::new(num, more, 2).unwrap();
            bodies.take(Instant::ZERO, peer(1, 1), &NOBODY, &message, block)
        };
        (
            take(0, true, &[7; 64], size1),
            take(1, false, &[8; 64][..last], None),
        )
    }

    #[test]
    fn a_body_may_be_as_large_as_is_allowed_and_is_refused_as_soon_as_it_must_be_larger() {
        let gone_on = || Taken::Continue(BlockValue::new(0, true, 2).unwrap());
        let whole = |last: usize| Taken::Complete {
            body: [alloc::vec![7; 64], alloc::vec![8; last]].concat(),
            if_none_match: false,
        };
        // At least one byte follows the first block.
        let (refused, unknown) = upload(64, None, 1);
        assert_eq!(refused, Taken::TooLarge(64));
        assert_eq!(unknown, Taken::Incomplete);
        assert_eq!(upload(65, None, 1), (gone_on(), whole(1)));
        assert_eq!(upload(65, None, 2), (gone_on(), Taken::TooLarge(65)));
        // What it says of its size counts as well.
        assert_eq!(upload(70, Some(&[70]), 6), (gone_on(), whole(6)));
        assert_eq!(upload(70, Some(&[71]), 6).0, Taken::TooLarge(70));
    }

    #[test]
    fn what_was_done_for_a_member_is_kept_before_what_can_be_made_again() {
        let limits = ServerBlocks {
            kept: 3,
            ..ServerBlocks::default()
        };
        let mut rng = Rng::from_seed([4; 32]);
        let mut kept = KeptBodies::new(limits, [(); 2].map(|()| rng.keyed_hash()));
        let mut at = 0;
        let mut keep = |kept: &mut KeptBodies, n: u8, who: &Sender, method: Code| {
            let bytes = request(method, b"");
            let message = Message::parse(&bytes).unwrap();
            let mut response = Response::new(Code::CONTENT);
            response.payload = alloc::vec![1; 100];
            at += 1;
            let key = OperationKey::of(peer(n, 1), who, &message);
            kept.keep(Instant::from_millis(at), key, None, &response)
        };
        let has = |kept: &mut KeptBodies, n: u8, who: &Sender, method: Code| {
            let bytes = request(method, b"");
            let message = Message::parse(&bytes).unwrap();
            let block = BlockValue::new(1, false, 2).unwrap();
            let mut response = Response::new(Code::CONTENT);
            let now = Instant::ZERO + Duration::from_millis(50);
            kept.write(now, peer(n, 1), who, &message, block, &mut response)
        };
        let (get, post) = (Code::GET, Code::POST);
        for n in 0..3 {
            assert!(keep(&mut kept, n, &NOBODY, get));
        }
        assert!(
            !keep(&mut kept, 3, &NOBODY, get),
            "worth the same, and made again"
        );
        assert!(keep(&mut kept, 4, &member(4), get));
        assert!(
            !has(&mut kept, 0, &NOBODY, get),
            "the oldest of the least worth"
        );
        assert!(keep(&mut kept, 5, &NOBODY, post));
        assert!(keep(&mut kept, 6, &member(6), post));
        assert!(
            keep(&mut kept, 7, &member(7), post),
            "in place of the member's GET"
        );
        assert!(!has(&mut kept, 4, &member(4), get));
        assert!(
            keep(&mut kept, 8, &member(8), post),
            "in place of nobody's POST"
        );
        assert!(!has(&mut kept, 5, &NOBODY, post));
        assert!(!keep(&mut kept, 9, &NOBODY, post), "members' POSTs stay");
        assert!(!keep(&mut kept, 9, &member(9), get));
        assert!(keep(&mut kept, 9, &member(9), post), "but for each other");
        assert!(!has(&mut kept, 6, &member(6), post));
        assert!(has(&mut kept, 8, &member(8), post));
        assert_eq!(kept.len(), 3);
    }

    /// What is kept of these peers' responses, each with 100 bytes, an option of 8 and 12 more, and a key of 5.
    struct Downloads(KeptBodies);

    impl Downloads {
        fn new(limits: ServerBlocks) -> Self {
            let mut rng = Rng::from_seed([4; 32]);
            Self(KeptBodies::new(limits, [(); 2].map(|()| rng.keyed_hash())))
        }

        fn of_bytes(kept_bytes: usize) -> Self {
            Self::new(ServerBlocks {
                kept_bytes,
                ..ServerBlocks::default()
            })
        }

        fn keep(
            &mut self,
            from: core::net::SocketAddr,
            who: &Sender,
            asked: (Code, &[u8]),
        ) -> bool {
            self.keep_at(0, from, who, asked)
        }

        fn keep_at(
            &mut self,
            at: u64,
            from: core::net::SocketAddr,
            who: &Sender,
            (method, payload): (Code, &[u8]),
        ) -> bool {
            let bytes = request(method, payload);
            let message = Message::parse(&bytes).unwrap();
            let mut response = Response::new(Code::CONTENT);
            response.options.push(OptionNumber::ETAG, &[7; 8]);
            response.payload = alloc::vec![1; 100];
            let key = OperationKey::of(from, who, &message);
            let asked = self.0.fingerprint(payload);
            self.0.keep(Instant::from_millis(at), key, asked, &response)
        }

        /// Is this block of 64 bytes written of what is kept?
        fn has(&mut self, from: core::net::SocketAddr, num: u32, asked: (Code, &[u8])) -> bool {
            let bytes = request(asked.0, asked.1);
            let message = Message::parse(&bytes).unwrap();
            let block = BlockValue::new(num, false, 2).unwrap();
            let mut response = Response::new(Code::EMPTY);
            let now = Instant::from_millis(50);
            self.0
                .write(now, from, &NOBODY, &message, block, &mut response)
        }
    }

    const GET: (Code, &[u8]) = (Code::GET, b"");
    const POST: (Code, &[u8]) = (Code::POST, b"");

    #[test]
    fn what_is_kept_counts_with_its_options_and_key() {
        for (who, bytes) in [(NOBODY, 125), (member(1), 134)] {
            // Half of it is for one address.
            let one = |limit| Downloads::of_bytes(limit).keep(peer(1, 1), &who, GET);
            assert!(one(2 * bytes) && !one(2 * bytes - 1), "{bytes}");
            // Two of one address, or the second instead of the first.
            for (limit, len) in [(4 * bytes, 2), (4 * bytes - 1, 1)] {
                let mut all = Downloads::of_bytes(limit);
                assert!(all.keep(peer(1, 1), &who, GET));
                assert!(all.keep(peer(1, 2), &who, GET));
                assert_eq!(all.0.len(), len, "{limit}");
            }
            // Three addresses.
            for (limit, third) in [(3 * bytes, true), (3 * bytes - 1, false)] {
                let mut all = Downloads::of_bytes(limit);
                assert!(all.keep(peer(1, 1), &who, GET));
                assert!(all.keep(peer(2, 1), &who, GET));
                assert_eq!(all.keep(peer(3, 1), &who, GET), third, "{limit}");
            }
        }
    }

    #[test]
    fn what_nobody_asks_for_any_more_leaves_its_room() {
        let mut all = Downloads::of_bytes(2 * 125);
        for n in 1..=2 {
            assert!(all.keep(peer(n, 1), &NOBODY, GET));
        }
        assert!(!all.keep_at(246_999, peer(3, 1), &NOBODY, GET));
        all.0.expire(Instant::from_millis(246_999));
        assert_eq!(all.0.len(), 2);
        // Both are over for long.
        all.0.expire(Instant::from_millis(300_000));
        assert_eq!((all.0.len(), all.0.next_timeout()), (0, None));
        for n in 3..=4 {
            assert!(all.keep_at(300_000, peer(n, 1), &NOBODY, GET));
        }
        assert!(!all.keep_at(300_000, peer(5, 1), &NOBODY, GET));
    }

    #[test]
    fn an_address_gives_way_to_itself_before_others_do() {
        let mut all = Downloads::new(ServerBlocks {
            kept: 2,
            ..ServerBlocks::default()
        });
        // That of the other is the older one, and worth the same.
        assert!(all.keep_at(1, peer(2, 1), &NOBODY, GET));
        assert!(all.keep_at(2, peer(1, 1), &NOBODY, GET));
        assert!(all.keep_at(3, peer(1, 2), &NOBODY, POST));
        assert!(all.has(peer(2, 1), 1, GET));
        assert!(!all.has(peer(1, 1), 1, GET));
        assert!(all.has(peer(1, 2), 1, POST));
    }

    #[test]
    fn block_0_is_a_new_request_unless_it_lacks_the_body_that_was_answered() {
        const BODY: &[u8] = b"q";
        for (kept, asks, block_0, block_1) in [
            (GET, GET, false, true),
            (POST, POST, false, true),
            // The body of a POST is processed once: its rest, and a smaller first block.
            ((Code::POST, BODY), POST, true, true),
            ((Code::POST, BODY), (Code::POST, BODY), false, true),
            ((Code::POST, BODY), (Code::POST, b"other"), false, false),
            // FETCH is made again.
            ((Code::FETCH, BODY), (Code::FETCH, b""), false, true),
            ((Code::FETCH, BODY), (Code::FETCH, BODY), false, true),
        ] {
            let mut all = Downloads::of_bytes(1_000);
            assert!(all.keep(peer(1, 1), &NOBODY, kept));
            assert_eq!(all.has(peer(1, 1), 0, asks), block_0, "{kept:?} {asks:?}");
            assert_eq!(all.has(peer(1, 1), 1, asks), block_1, "{kept:?} {asks:?}");
        }
    }
}
