//! Everything that two members of a security group send, looked at from between them: no nonce may protect two contents under one key.

use std::collections::HashMap;

use antiphon_oscore::option::OscoreOption;
use antiphon_wire::{Message, Token};

/// Which member has sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Client,
    Server,
}

/// Who protects, and what the nonce is made of: who has chosen the Partial IV, under which Gid. All modes of a member share
/// its Partial IVs, so that the key need not be known: where these are the same, it may be the same.
type Nonce = (Side, Vec<u8>, Vec<u8>, u64);

/// Who has sent a request under a Partial IV, by its token: a response without one is protected with that of the request.
type Asked = (Vec<u8>, Vec<u8>, u64);

#[derive(Default)]
pub(super) struct Tracker {
    used: HashMap<Nonce, Vec<u8>>,
    asked: HashMap<Token, Asked>,
    /// Nonces that protected something else before.
    pub(super) twice: Vec<String>,
    /// Protected messages that were seen, repetitions among them.
    pub(super) seen: u64,
    /// Of those, responses under the Partial IV of their request.
    pub(super) without_partial_iv: u64,
}

impl Tracker {
    /// A datagram was sent.
    pub(super) fn sent(&mut self, side: Side, datagram: &[u8]) {
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        let Ok(Some(option)) = OscoreOption::of(&message) else {
            return;
        };
        self.seen += 1;
        let bytes = |field: Option<&[u8]>| field.unwrap_or_default().to_vec();
        let (gid, kid, number) = match (message.code().is_request(), option.partial_iv) {
            (true, Some(number)) => {
                let asked = (bytes(option.kid_context), bytes(option.kid), number.value());
                self.asked.insert(message.token(), asked.clone());
                asked
            }
            // Each side has one Sender ID here.
            (false, Some(number)) => match self.asked.get(&message.token()) {
                Some((gid, _, _)) => (gid.clone(), b"own".to_vec(), number.value()),
                None => return,
            },
            (_, None) => {
                self.without_partial_iv += 1;
                match self.asked.get(&message.token()) {
                    Some(asked) => asked.clone(),
                    None => return,
                }
            }
        };
        // Type and Message ID stand before the token, and are not protected.
        let content = message.payload().to_vec();
        let nonce = (side, gid, kid, number);
        match self.used.get(&nonce) {
            Some(before) if *before != content => self.twice.push(format!("{nonce:?}")),
            Some(_) => {}
            None => {
                self.used.insert(nonce, content);
            }
        }
    }

    /// How many nonces were used.
    pub(super) fn nonces(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::{Code, MessageId, OptionNumber, Type, Writer};

    use super::*;

    fn message(code: Code, mid: u16, token: u8, option: &[u8], content: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 64];
        let token = Token::new(&[token]).unwrap();
        let mut writer = Writer::new(&mut buffer, Type::Con, code, MessageId(mid), token).unwrap();
        writer.option(OptionNumber::OSCORE, option).unwrap();
        writer.payload(content).unwrap();
        let len = writer.finish();
        buffer[..len].to_vec()
    }

    #[test]
    fn what_protects_two_contents_is_noticed_and_a_repetition_is_none() {
        let mut tracker = Tracker::default();
        let request =
            |mid, piv, content: &[u8]| message(Code::POST, mid, 1, &[0x19, piv, 1, 7, 0], content);
        tracker.sent(Side::Client, &request(1, 5, b"one"));
        tracker.sent(Side::Client, &request(2, 5, b"one"));
        tracker.sent(Side::Server, &message(Code::CHANGED, 1, 1, &[], b"answer"));
        tracker.sent(Side::Server, &message(Code::CHANGED, 1, 1, &[], b"answer"));
        tracker.sent(Side::Server, &message(Code::CHANGED, 1, 1, &[1, 5], b"own"));
        tracker.sent(Side::Client, b"nonsense");
        assert_eq!(
            (tracker.twice.len(), tracker.nonces(), tracker.seen),
            (0, 3, 5)
        );
        tracker.sent(Side::Client, &request(3, 5, b"two"));
        assert_eq!(tracker.twice.len(), 1);
        tracker.sent(Side::Server, &message(Code::CHANGED, 1, 1, &[], b"other"));
        tracker.sent(
            Side::Server,
            &message(Code::CHANGED, 1, 1, &[1, 5], b"other"),
        );
        assert_eq!((tracker.twice.len(), tracker.without_partial_iv), (3, 3));
    }
}
