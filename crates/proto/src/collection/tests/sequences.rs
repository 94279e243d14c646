//! Operations in any order: nothing panics, bounds hold, every question ends once.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::collection::question::Phase;
use crate::pacing::Wanted;

const COLLECTIONS: usize = 12;
const EVENTS: usize = 40;
const NSTART: usize = 2;

/// A client, and what has been seen of it.
struct Trial {
    client: Client,
    started: Vec<CollectionId>,
    tokens: HashMap<CollectionId, Token>,
    asked: HashSet<(CollectionId, MemberIndex)>,
    in_flight: Vec<CompletionRequest>,
    seen: usize,
    ended: HashSet<CollectionId>,
    late_ended: HashSet<CollectionId>,
    ids: HashMap<MessageId, (Token, usize)>,
    sent: usize,
}

impl Trial {
    fn new() -> Self {
        let client = Client::with(|config| {
            config.collections = COLLECTIONS;
            config.events = EVENTS;
            config.waiting_per_group = 4;
            config.groups = 3;
            config.targets = 3;
            config.token_len = 1;
            config.server_delay = Some(secs(1));
            config
                .transmission
                .set_nstart(NSTART)
                .unwrap()
                .set_probing_rate(20)
                .unwrap();
        });
        Self {
            client,
            started: Vec::new(),
            tokens: HashMap::new(),
            asked: HashSet::new(),
            in_flight: Vec::new(),
            seen: 0,
            ended: HashSet::new(),
            late_ended: HashSet::new(),
            ids: HashMap::new(),
            sent: 0,
        }
    }

    fn pick(&self, n: u16) -> Option<CollectionId> {
        let count = self.started.len().min(16);
        let back = usize::from(n).checked_rem(count)?;
        self.started.get(self.started.len() - 1 - back).copied()
    }

    fn start(&mut self, a: u16, b: u16, c: u16) {
        let targets = [1, 2, 3, 4]
            .into_iter()
            .filter(|n| a >> n & 1 == 1)
            .map(target)
            .collect();
        let repeats = (b % 4) as u8;
        let request = GroupRequest {
            targets,
            repeat: match b >> 2 & 3 {
                0 => Repeat::None,
                1 => Repeat::SameMessage(repeats),
                _ => Repeat::NewMessageId(repeats),
            },
            completion: match b >> 4 & 1 {
                0 => Completion::None,
                _ => Completion::Unicast {
                    at_once: usize::from(b >> 5 & 3),
                    within: (b >> 7 & 1 == 1).then_some(secs(9)),
                },
            },
            silent: c & 7 == 0,
            late: (c >> 3 & 1 == 1).then_some(secs(u64::from(c >> 4 & 15))),
            end: End {
                deadline: secs(u64::from(b >> 8 & 15)),
                count: (c >> 8 & 1 == 1).then_some(usize::from(c >> 9 & 3)),
                when_all_expected: c >> 11 & 1 == 1,
            },
            limits: AnswerLimits {
                per_responder: 3,
                unexpected: 4,
                unexpected_per_address: 2,
                response_bytes: 100,
                kept_bytes: 1_000,
            },
            keep_answers: c >> 12 & 1 == 1,
            leisure: secs(2),
            ..get_from(a >> 5 & 3)
        };
        let started = self
            .client
            .collections
            .start(self.client.now, &mut self.client.rng, request);
        if let Ok(id) = started {
            assert!(!self.started.contains(&id));
            self.started.push(id);
            let token = self.client.collections.questions.get(&id);
            if let Some(question) = token {
                self.tokens.insert(id, question.token);
            }
        }
    }

    fn respond(&mut self, a: u16, b: u16, c: u16) {
        let token = match self.pick(a).and_then(|id| self.tokens.get(&id)) {
            Some(token) => *token,
            None => Token::EMPTY,
        };
        let kind = [Type::Con, Type::Non, Type::Non, Type::Ack][usize::from(b & 3)];
        let code = [Code::CONTENT, Code::NOT_FOUND, Code::GET, Code::CHANGED];
        let options: &[(OptionNumber, &[u8])] = match b >> 4 & 7 {
            0 => &[(OptionNumber(65_001), b"")],
            _ => &[],
        };
        let text = if b >> 7 & 7 == 0 {
            "x".repeat(200)
        } else {
            "x".into()
        };
        let bytes = response(token, kind, code[usize::from(b >> 2 & 3)], options, &text);
        let mut path = self.client.path(host(c % 8));
        if c >> 4 & 15 == 0 {
            path.local = group(1);
        }
        if c >> 8 & 15 == 0 {
            path.socket = SocketId(2);
        }
        if c >> 12 & 3 == 0 {
            path.peer.set_port(c);
        }
        let message = Message::parse(&bytes).unwrap();
        let now = self.client.now;
        let delivery = self
            .client
            .collections
            .handle_response(now, &path, &message);
        if let Some(delivery) = delivery {
            assert_eq!(self.tokens.get(&delivery.collection), Some(&token));
            assert!(delivery.reply == Reply::Nothing || kind == Type::Con);
        }
    }

    fn complete(&mut self, a: u16, b: u16) {
        while let Some(request) = self.client.collections.poll_completion(self.client.now) {
            assert!(
                self.asked.insert((request.collection, request.member)),
                "asked twice: {request:?}"
            );
            assert!(!request.route.is_multicast());
            self.in_flight.push(request);
        }
        while let Some((collection, asking)) = self.client.collections.poll_cancel() {
            let Asking::Member(member) = asking else {
                panic!("{asking:?}")
            };
            assert!(self.asked.contains(&(collection, member)));
            if b & 1 == 0 {
                self.in_flight
                    .retain(|r| (r.collection, r.member) != (collection, member));
            }
        }
        let Some(index) = usize::from(a).checked_rem(self.in_flight.len()) else {
            return;
        };
        let done = self.in_flight.swap_remove(index);
        let path = self.client.path(done.route.destination);
        let result = match b >> 1 & 1 {
            0 => Ok((&path, Response::new(Code::CONTENT))),
            _ => Err(Failure::TimedOut),
        };
        self.client.collections.completion_done(
            self.client.now,
            done.collection,
            done.member,
            result,
        );
    }

    fn operate(&mut self, [what, a, b, c]: [u16; 4]) {
        let now = self.client.now;
        match what % 16 {
            0..=3 => self.start(a, b, c),
            4..=7 => self.respond(a, b, c),
            8 | 9 => self.complete(a, b),
            10 => {
                if let Some(id) = self.pick(a) {
                    self.client.collections.close(now, id);
                }
            }
            11 => {
                let route = self.client.sent.last().map(|sent| sent.route);
                if let Some(route) = route {
                    self.client
                        .collections
                        .handle_send_error(now, &route, SendError::NoBuffer);
                }
            }
            12 => {
                let nstart = usize::from(a & 1) + 1;
                let pacing = GroupPacing::new(nstart, u32::from(b % 500) + 1).unwrap();
                let pacing = (c & 3 != 0).then_some(pacing);
                let group = group((c >> 2 & 3) as u8);
                let _full = self.client.collections.set_pacing(now, group, None, pacing);
            }
            13 => self.client.collections.handle_timeout(now),
            _ => {
                self.client.drain();
                let until = now.since(Instant::ZERO) + millis(u64::from(a % 8_000));
                self.client.run_until(until);
            }
        }
    }

    /// What must hold at any time.
    fn check(&mut self) {
        let collections = &self.client.collections;
        assert!(collections.questions.len() <= COLLECTIONS);
        // A question with late answers has two outcomes.
        assert!(collections.outcomes <= 2 * COLLECTIONS);
        assert!(collections.events.len() <= EVENTS + collections.outcomes);
        assert_eq!(collections.by_token.len(), collections.questions.len());
        let mut outstanding: HashMap<GroupKey, usize> = HashMap::new();
        for (id, question) in &collections.questions {
            assert_eq!(collections.by_token.get(&question.token), Some(id));
            assert_eq!(
                collections.queue.contains(id),
                question.phase == Phase::Queued
            );
            if let Some(at) = question.wake {
                assert!(collections.timers.contains(&(at, *id)));
            }
            if question.phase == Phase::Open && question.wanted == Wanted::Answers {
                for target in &question.targets {
                    *outstanding.entry(target.key).or_default() += 1;
                }
            }
        }
        let waking = collections.questions.values().filter(|q| q.wake.is_some());
        assert_eq!(collections.timers.len(), waking.count());
        for n in 0..5 {
            let key = target(n).key();
            let count = outstanding.get(&key).copied().unwrap_or(0);
            assert_eq!(collections.pacing.outstanding(&key), count);
            assert!(count <= NSTART);
        }
        self.check_events();
        self.check_sent();
    }

    fn check_events(&mut self) {
        for (_, event) in self.client.events.iter().skip(self.seen) {
            match event {
                CollectionEvent::Answer(answer) => {
                    assert!(!self.ended.contains(&answer.collection));
                    assert!((1..=3).contains(&answer.sequence));
                }
                CollectionEvent::LateAnswer(answer) => {
                    assert!(self.ended.contains(&answer.collection));
                    assert!(!self.late_ended.contains(&answer.collection));
                }
                CollectionEvent::Ended(outcome) => {
                    assert!(self.ended.insert(outcome.collection), "ended twice");
                    assert!(outcome.unexpected.len() <= 4);
                }
                CollectionEvent::LateEnded(outcome) => {
                    assert!(self.ended.contains(&outcome.collection));
                    assert!(self.late_ended.insert(outcome.collection));
                }
                CollectionEvent::Held(_, held) => {
                    // How long others take is an estimate.
                    let estimated = held.reason == HoldReason::Outstanding;
                    assert!(estimated || !held.remaining.is_zero());
                }
                CollectionEvent::SendFailed { .. }
                | CollectionEvent::Warning(..)
                | CollectionEvent::Progress(..) => {}
            }
        }
        self.seen = self.client.events.len();
    }

    fn check_sent(&mut self) {
        for sent in self.client.sent.iter().skip(self.sent) {
            let message = sent.message();
            assert_eq!(message.kind(), Type::Non);
            assert!(sent.route.is_multicast());
            let (token, len) = self
                .ids
                .entry(message.message_id())
                .or_insert((message.token(), sent.bytes.len()));
            assert_eq!((*token, *len), (message.token(), sent.bytes.len()));
        }
        self.sent = self.client.sent.len();
    }

    /// Closes everything: nothing is left behind.
    fn end(mut self) {
        for id in self.started.clone() {
            self.client.drain();
            self.client.collections.close(self.client.now, id);
            self.client.collections.close(self.client.now, id);
        }
        self.client.drain();
        self.check();
        let collections = &self.client.collections;
        assert!(collections.is_empty());
        assert!(collections.timers.is_empty());
        assert!(collections.ready.is_empty());
        assert!(collections.queue.is_empty());
        assert!(collections.in_person.is_empty());
        assert_eq!(collections.outcomes, 0);
        let started: HashSet<_> = self.started.iter().copied().collect();
        assert_eq!(self.ended, started);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_keeps_the_rules(
        operations in proptest::collection::vec(any::<[u16; 4]>(), 1..250)
    ) {
        let mut trial = Trial::new();
        for operation in operations {
            trial.operate(operation);
            trial.check();
        }
        trial.end();
    }

    #[test]
    fn any_response_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..60), token in any::<bool>()) {
        let mut client = Client::new();
        let id = client.start(get_from(2));
        let mut bytes = bytes;
        if token && bytes.len() > 12 {
            bytes[0] = bytes[0] & 0x30 | 0x48;
            bytes[1] = bytes[1] & 0x1f | 0x40;
            bytes[4..12].copy_from_slice(client.token(id).as_bytes());
        }
        if let Ok(message) = Message::parse(&bytes) {
            let path = client.path(host(1));
            let delivery = client.collections.handle_response(client.now, &path, &message);
            let ours = message.token() == client.token(id) && !message.code().is_request();
            prop_assert_eq!(delivery.is_some(), ours && !message.code().is_empty());
        }
        client.run_until(secs(20));
        client.outcome(id);
    }
}
