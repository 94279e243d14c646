//! What is on its way, and what the attacker makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use antiphon_oscore::option::OscoreOption;
use antiphon_proto::{Path, Route};
use antiphon_wire::{BlockValue, Code, Message, MessageId, OptionNumber, Token, Type, Writer};

use super::hosts::{OF_GROUP, UNICAST, address, group};
use super::{FLYING, HOSTS, Play};

/// A datagram that was sent.
#[derive(Clone)]
pub(super) struct Datagram {
    pub(super) from: usize,
    pub(super) route: Route,
    pub(super) bytes: Vec<u8>,
}

/// The value of an OSCORE option and a ciphertext.
type Protected = (Vec<u8>, Vec<u8>);
/// A host, who asked it, and the token.
type Asked = (usize, SocketAddr, Token);

#[derive(Default)]
pub(super) struct Wire {
    /// What can still arrive.
    pub(super) flying: Vec<Datagram>,
    /// Everything that a host has protected and sent.
    seen: BTreeSet<(usize, Protected)>,
    /// Host, Gid and number of each request.
    numbers: BTreeSet<(usize, Vec<u8>, Vec<u8>, u64)>,
    /// How many messages of a host have this number, under whatever keys.
    times: BTreeMap<(usize, u64), usize>,
    /// Requests that have come, and responses with their nonces that have left.
    came: BTreeMap<Asked, BTreeSet<Protected>>,
    left: BTreeMap<Asked, usize>,
}

impl Wire {
    /// A datagram is on its way. `contexts` Sender Contexts its sender has had so far.
    pub(super) fn went(&mut self, sent: Datagram, contexts: usize) {
        let message = Message::parse(&sent.bytes).expect("what is sent is a message");
        let route = &sent.route;
        assert!(route.source.is_none_or(|source| !source.is_multicast()));
        assert_eq!(route.socket, UNICAST, "never from a group's socket");
        if route.is_multicast() {
            assert_eq!(message.kind(), Type::Non);
            assert!(message.code().is_request());
        }
        if let Some(protected) = protected(&message) {
            self.count(&sent, &message, protected, contexts);
        } else {
            // Without protection nothing is asked, and of answers nothing but errors leave.
            let class = message.code().class();
            assert!(message.code().is_empty() || class >= 4, "{message:?}");
        }
        if self.flying.len() >= FLYING {
            self.flying.remove(0);
        }
        self.flying.push(sent);
    }

    /// No number is used twice.
    fn count(
        &mut self,
        sent: &Datagram,
        message: &Message<'_>,
        protected: Protected,
        contexts: usize,
    ) {
        let blocks = [OptionNumber::BLOCK1, OptionNumber::BLOCK2];
        if blocks
            .iter()
            .any(|number| message.option(*number).is_some())
        {
            return; // a part of one that was protected whole
        }
        if !self.seen.insert((sent.from, protected.clone())) {
            return; // the same again
        }
        let option = OscoreOption::parse(&protected.0).expect("what is sent is well-formed");
        let Some(piv) = option.partial_iv else {
            let asked = (sent.from, sent.route.destination, message.token());
            let left = self.left.entry(asked).or_default();
            *left += 1;
            let came = self.came.get(&asked).map_or(0, BTreeSet::len);
            assert!(*left <= came, "the nonce of a request is used twice");
            return;
        };
        let number = piv.value();
        if let (Some(gid), Some(kid)) = (option.kid_context, option.kid) {
            let key = (sent.from, gid.to_vec(), kid.to_vec(), number);
            assert!(self.numbers.insert(key), "a number is used twice");
        }
        let times = self.times.entry((sent.from, number)).or_default();
        *times += 1;
        assert!(*times <= contexts, "a number is used twice");
    }

    fn comes(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        if let Some(protected) = protected(&message)
            && message.code().is_request()
        {
            let asked = (to, from, message.token());
            self.came.entry(asked).or_default().insert(protected);
        }
    }
}

fn protected(message: &Message<'_>) -> Option<Protected> {
    let option = message.option(OptionNumber::OSCORE)?;
    Some((option.to_vec(), message.payload().to_vec()))
}

impl Play<'_> {
    /// Somewhere among the newest, or any.
    fn some(&mut self) -> Option<usize> {
        let count = self.wire.flying.len();
        let back = self.input.below(count);
        (count > 0).then(|| count - 1 - back)
    }

    /// A datagram arrives; perhaps it does so again later, or comes to others than it was sent to.
    pub(super) fn deliver(&mut self) {
        let Some(at) = self.some() else { return };
        let how = self.input.byte();
        let datagram = match how < 200 {
            true => self.wire.flying.remove(at),
            false => self.wire.flying[at].clone(),
        };
        let elsewhere = (how % 16 == 15).then(|| self.input.below(HOSTS));
        self.arrive(&datagram, &datagram.bytes, elsewhere);
    }

    pub(super) fn lose(&mut self) {
        if let Some(at) = self.some() {
            self.wire.flying.remove(at);
        }
    }

    /// One of its bits is another.
    pub(super) fn mutated(&mut self) {
        let Some(at) = self.some() else { return };
        let datagram = self.wire.flying[at].clone();
        let mut bytes = datagram.bytes.clone();
        let bit = (usize::from(self.input.byte()) << 8 | usize::from(self.input.byte()))
            % (bytes.len() * 8).max(1);
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        self.arrive(&datagram, &bytes, None);
    }

    /// The head of one, an option that was made up or is another's, and the ciphertext of yet another.
    pub(super) fn made_up(&mut self) {
        let (Some(head), Some(body)) = (self.some(), self.some()) else {
            return;
        };
        let (head, body) = (
            self.wire.flying[head].clone(),
            self.wire.flying[body].clone(),
        );
        let (message, other) = (parse(&head.bytes), parse(&body.bytes));
        let len = self.input.below(12);
        let own = self.input.take(len).to_vec();
        let option = match self.input.below(3) {
            0 => own,
            1 => message.option(OptionNumber::OSCORE).unwrap_or(&[]).to_vec(),
            _ => other.option(OptionNumber::OSCORE).unwrap_or(&[]).to_vec(),
        };
        let payload = match self.input.below(3) {
            0 => {
                let len = self.input.below(90);
                self.input.take(len).to_vec()
            }
            _ => other.payload().to_vec(),
        };
        let code = self.input.pick(&[
            message.code(),
            message.code(),
            Code::POST,
            Code::FETCH,
            Code::CHANGED,
            Code::CONTENT,
        ]);
        let kind = self
            .input
            .pick(&[message.kind(), Type::Con, Type::Non, Type::Ack]);
        let mid = MessageId(message.message_id().0 ^ u16::from(self.input.byte()));
        let observe = self.input.byte();
        let mut bytes = vec![0; 64 + option.len() + payload.len()];
        let mut writer = Writer::new(&mut bytes, kind, code, mid, message.token()).unwrap();
        if observe < 40 {
            let _ = writer.uint_option(OptionNumber::OBSERVE, u32::from(observe % 3));
        }
        let _ = writer.option(OptionNumber::OSCORE, &option);
        if (40..60).contains(&observe)
            && let Some(block) = BlockValue::decode(&[observe & 0x1e])
        {
            let _ = writer.option(OptionNumber::BLOCK2, block.encode().as_bytes());
        }
        let _ = writer.payload(&payload);
        let len = writer.finish();
        bytes.truncate(len);
        self.arrive(&head, &bytes, None);
    }

    /// These bytes come the way of this datagram, or to another host.
    pub(super) fn arrive(&mut self, sent: &Datagram, bytes: &[u8], elsewhere: Option<usize>) {
        let multicast = sent.route.is_multicast();
        for host in 0..HOSTS {
            let meant = match elsewhere {
                Some(other) => host == other,
                None if multicast => host != sent.from,
                None => sent.route.destination == address(host),
            };
            if !meant {
                continue;
            }
            let path = Path {
                socket: if multicast { OF_GROUP } else { UNICAST },
                local: if multicast { group() } else { address(host) },
                interface: 1,
                peer: address(sent.from),
            };
            self.wire.comes(host, path.peer, bytes);
            let now = self.now;
            self.hosts[host].endpoint.handle_datagram(now, path, bytes);
            self.drain(host);
        }
    }
}

fn parse(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap()
}
