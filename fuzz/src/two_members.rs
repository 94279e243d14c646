//! Two members and an attacker who holds the wire: whatever was ever sent is dropped, delivered, delivered again,
//! exchanged, cut apart and changed, while keys are replaced and windows are lost.
//!
//! What always holds: whoever opens something opens what its sender protected, for that end and for that request, and once; no
//! number is used twice under one key; what is refused moves nothing.

use std::collections::BTreeSet;

use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::{Asked, JobResult, Mode, Opened, Opening, Reason, Received, To};
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type};

use crate::members::{Begun, Member, inside, kid, message, state, two};

/// A message that was protected.
struct Sent {
    from: usize,
    bytes: Vec<u8>,
    plain: Vec<u8>,
    /// Which request it is, or answers.
    request: usize,
    asks: bool,
}

/// A request that somebody opened.
struct Heard {
    by: usize,
    received: Received,
    request: usize,
    challenged: bool,
}

/// A request whose work is done and not handed in.
struct Parked {
    by: usize,
    bytes: Vec<u8>,
    opening: Box<Opening>,
    result: JobResult,
}

struct Play {
    members: [Member; 2],
    sent: Vec<Sent>,
    asked: Vec<(usize, Asked)>,
    heard: Vec<Heard>,
    parked: Vec<Parked>,
    delivered: BTreeSet<(usize, usize)>,
    /// Gid, or none for the pair; who protected; who made the number; the number.
    numbers: BTreeSet<(Vec<u8>, usize, usize, u64)>,
    echo: Option<(usize, Vec<u8>)>,
    serial: u16,
}

/// What a run has done, to see that it does something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Requests and responses that were opened.
    pub opened: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Challenges.
    pub challenged: usize,
}

/// Three bytes for each step: what, and two numbers.
pub fn run(data: &[u8]) -> Done {
    let mut play = Play {
        members: two(),
        sent: vec![],
        asked: vec![],
        heard: vec![],
        parked: vec![],
        delivered: BTreeSet::new(),
        numbers: BTreeSet::new(),
        echo: None,
        serial: 0,
    };
    let mut done = Done::default();
    for step in data.chunks_exact(3).take(128) {
        let &[what, one, two] = step else { break };
        play.step(what, one.into(), two.into(), &mut done);
    }
    done
}

impl Play {
    fn step(&mut self, what: u8, one: usize, two: usize, done: &mut Done) {
        match what % 16 {
            0 => self.ask(two % 2, To::Group, None),
            1 => self.ask(two % 2, To::Member(kid(1 - two % 2)), None),
            2 => self.ask(two % 2, To::Peer, None),
            3 | 4 => self.answer(one, two),
            5..=8 if !self.sent.is_empty() => {
                let bytes = self.sent[one % self.sent.len()].bytes.clone();
                self.deliver(&bytes, two, done);
            }
            9 if !self.sent.is_empty() => {
                let mut bytes = self.sent[one % self.sent.len()].bytes.clone();
                let bit = two * 7 % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                self.deliver(&bytes, two, done);
            }
            10 if !self.sent.is_empty() => {
                // The option of one message, the ciphertext of another.
                let count = self.sent.len();
                let (head, body) = (&self.sent[one % count], &self.sent[two % count]);
                let (head, body) = (&head.bytes, &body.bytes);
                let option = option_of(head).to_vec();
                let body = Message::parse(body).unwrap().payload().to_vec();
                let code = Message::parse(head).unwrap().code();
                let bytes = message(code, 9, &[(OptionNumber::OSCORE, &option)], &body);
                self.deliver(&bytes, two, done);
            }
            11 if !self.sent.is_empty() => {
                let bytes = self.sent[one % self.sent.len()].bytes.clone();
                let by = two % 2;
                let begun = self.members[by].begin(&bytes);
                self.begun(by, bytes, begun, done);
            }
            12 if !self.parked.is_empty() => {
                let parked = self.parked.swap_remove(one % self.parked.len());
                let by = parked.by;
                let begun = self.members[by].finish(parked.opening, parked.result);
                self.begun(by, parked.bytes, begun, done);
            }
            13 if self.members[two % 2].group().generation() < 9 => self.members[two % 2].install(),
            14 => self.members[two % 2].group().windows_unknown(),
            15 => {
                if let Some((by, value)) = self.echo.take() {
                    self.ask(by, To::Member(kid(1 - by)), Some(&value));
                }
            }
            _ => {}
        }
    }

    fn begun(&mut self, by: usize, bytes: Vec<u8>, begun: Result<Begun, Reason>, done: &mut Done) {
        match begun {
            Ok(Begun::Waiting(opening, result)) => self.parked.push(Parked {
                by,
                bytes,
                opening,
                result,
            }),
            Ok(Begun::Done(opened)) => self.opened(by, &bytes, opened, done),
            Err(_) => done.refused += 1,
        }
    }

    fn ask(&mut self, from: usize, to: To, echo: Option<&[u8]>) {
        self.serial += 1;
        let mark = self.serial.to_be_bytes();
        let mut options = vec![(OptionNumber::URI_PATH, &mark[..])];
        if let Some(value) = echo {
            options.push((OptionNumber::ECHO, value));
        }
        let plain = message(Code::PUT, self.serial, &options, b"on");
        let (bytes, asked) = self.members[from].ask(to, &plain).unwrap();
        self.asked.push((from, asked));
        let request = self.asked.len() - 1;
        self.went(from, bytes, plain, request, true);
    }

    fn answer(&mut self, one: usize, two: usize) {
        if self.heard.is_empty() {
            return;
        }
        let at = one % self.heard.len();
        let heard = &mut self.heard[at];
        let (from, request) = (heard.by, heard.request);
        self.serial += 1;
        let member = &mut self.members[from];
        let plain = match heard.challenged {
            true => {
                let random = [self.serial as u8; 32];
                let header = (
                    Type::Non,
                    MessageId(self.serial),
                    Token::new(&[0xaa]).unwrap(),
                );
                let now = member.now;
                match member
                    .contexts
                    .challenge(now, &heard.received, || random, [0; 4], header)
                {
                    Some(plain) => plain,
                    None => return,
                }
            }
            false => message(Code::CONTENT, self.serial, &[], &self.serial.to_be_bytes()),
        };
        let mode = [None, Some(Mode::Group), Some(Mode::Pairwise)][two % 3];
        // A member that was left out of new keys cannot be answered; here all stay.
        let bytes = member.answer(&mut heard.received, &plain, mode).unwrap();
        if heard.challenged {
            assert!(
                OscoreOption::parse(&option_of(&bytes))
                    .unwrap()
                    .partial_iv
                    .is_some()
            );
        }
        self.went(from, bytes, plain, request, false);
    }

    /// A message is on the wire: its number is new.
    fn went(&mut self, from: usize, bytes: Vec<u8>, plain: Vec<u8>, request: usize, asks: bool) {
        let raw = option_of(&bytes);
        let option = OscoreOption::parse(&raw).unwrap();
        let (asker, asked) = &self.asked[request];
        let keys = match asked.context() {
            antiphon_oscore::ContextId::Pair(_) => vec![],
            _ => self.members[from].group().gid().as_bytes().to_vec(),
        };
        let (maker, number) = match option.partial_iv {
            Some(piv) => (from, piv.value()),
            None => (*asker, asked.partial_iv().value()),
        };
        assert!(
            self.numbers.insert((keys, from, maker, number)),
            "a number is used twice"
        );
        self.sent.push(Sent {
            from,
            bytes,
            plain,
            request,
            asks,
        });
    }

    /// To both ends of the wire, as a request and, where it is one, as a response to some request.
    fn deliver(&mut self, bytes: &[u8], two: usize, done: &mut Done) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        if message.code().is_request() {
            let by = two % 2;
            let before = state(&self.members[by]);
            match self.members[by].hear(bytes) {
                Ok(opened) => self.opened(by, bytes, opened, done),
                Err(reason) => {
                    done.refused += 1;
                    // What verified and makes no sense counts as received.
                    assert!(reason == Reason::Content || state(&self.members[by]) == before);
                }
            }
        } else if !self.asked.is_empty() {
            let request = two / 2 % self.asked.len();
            let (by, asked) = &mut self.asked[request];
            let by = *by;
            let before = (state(&self.members[by]), asked.servers());
            match self.members[by].listen(bytes, asked) {
                Ok(opened) => {
                    let from = usize::from(opened.sender.kid() == kid(1));
                    let at = self.find(from, false, &opened.message, bytes);
                    assert_eq!(self.sent[at].request, request, "of another request");
                    self.once(by, at);
                    done.opened += 1;
                    let plain = Message::parse(&opened.message).unwrap();
                    if let Some(value) = plain.option(OptionNumber::ECHO) {
                        self.echo = Some((by, value.to_vec()));
                    }
                }
                Err(reason) => {
                    done.refused += 1;
                    let after = (state(&self.members[by]), asked.servers());
                    assert!(reason == Reason::Content || after == before);
                }
            }
        }
    }

    fn opened(&mut self, by: usize, bytes: &[u8], opened: Opened, done: &mut Done) {
        let (sender, received, plain) = match opened {
            Opened::Request(it) => (it.sender, it.received, Some(it.message)),
            Opened::Challenge(it) => (it.sender, it.received, None),
        };
        let from = usize::from(sender.kid() == kid(1));
        assert_ne!(from, by, "opened by its sender");
        let at = match &plain {
            Some(plain) => self.find(from, true, plain, bytes),
            None => {
                let option = option_of(bytes);
                let same = |sent: &Sent| {
                    sent.from == from && sent.asks && option_of(&sent.bytes) == option
                };
                let found = self.sent.iter().position(same);
                found.expect("what was challenged was never sent")
            }
        };
        let request = self.sent[at].request;
        let asked = &self.asked[request].1;
        assert_eq!(asked.partial_iv(), received.partial_iv());
        match plain {
            Some(_) => {
                self.once(by, at);
                done.opened += 1;
            }
            None => done.challenged += 1,
        }
        self.heard.push(Heard {
            by,
            received,
            request,
            challenged: plain.is_none(),
        });
    }

    /// Which of the messages that were sent this is.
    fn find(&self, from: usize, asks: bool, plain: &[u8], bytes: &[u8]) -> usize {
        let same = |sent: &Sent| {
            sent.from == from
                && sent.asks == asks
                && inside(&sent.plain) == inside(plain)
                && is_option_of(sent, &option_of(bytes))
        };
        let found = self.sent.iter().position(same);
        found.expect("what was opened was never sent")
    }

    fn once(&mut self, by: usize, at: usize) {
        assert!(self.delivered.insert((by, at)), "delivered twice");
    }
}

/// Is this the OSCORE option that the message was sent with? In a response of a pair only the Partial IV counts: what else stands in its
/// option is not authenticated, and nothing is made of it (RFC 8613 section 8.4). In a group all of it is.
fn is_option_of(sent: &Sent, option: &[u8]) -> bool {
    let was = option_of(&sent.bytes);
    let flags = |option: &[u8]| option.first().copied().unwrap_or(0);
    let piv = |option: &[u8]| {
        let length = usize::from(flags(option) & 0x07);
        option.get(1..1 + length).unwrap_or_default().to_vec()
    };
    let names_nobody = flags(&was) & 0x38 == 0; // neither group mode, nor kid context, nor kid
    was == option || (!sent.asks && names_nobody && piv(&was) == piv(option))
}

fn option_of(bytes: &[u8]) -> Vec<u8> {
    let message = Message::parse(bytes).unwrap();
    message
        .option(OptionNumber::OSCORE)
        .unwrap_or_default()
        .to_vec()
}
