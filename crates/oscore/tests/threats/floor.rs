//! Members of one security group, and how attacks are made on them.

pub(crate) use antiphon_oscore::nonce::PartialIv;
pub(crate) use antiphon_oscore::option::OscoreOption;
pub(crate) use antiphon_oscore::suite::{Aead, GroupEncryption};

#[path = "../../src/tests/members.rs"]
mod members;

pub(crate) use members::{message as message_with, *};

impl One {
    pub(crate) fn ask(&mut self, to: To, plain: &[u8]) -> (Vec<u8>, Asked) {
        self.try_ask(to, plain).unwrap()
    }

    /// Why a request is refused.
    pub(crate) fn refuses(&mut self, bytes: &[u8]) -> Reason {
        self.hear_any(bytes, false).unwrap_err().reason
    }

    /// Hears a request that has to be challenged.
    pub(crate) fn challenged(&mut self, bytes: &[u8]) -> Challenged {
        match self.hear_any(bytes, false).unwrap() {
            Opened::Request(_) => panic!("delivered"),
            Opened::Challenge(challenged) => challenged,
        }
    }

    /// The protected challenge, and the Echo value in it.
    pub(crate) fn challenge(&mut self, to: &mut Challenged) -> (Vec<u8>, Vec<u8>) {
        let header = (Type::Non, MessageId(9), Token::new(&[0xaa]).unwrap());
        let now = self.now;
        let random = || [7; 32];
        let plain = self
            .contexts
            .challenge(now, &to.received, random, [0; 4], header)
            .unwrap();
        let message = Message::parse(&plain).unwrap();
        let value = message.option(OptionNumber::ECHO).unwrap().to_vec();
        (self.answer(&mut to.received, &plain, None), value)
    }

    pub(crate) fn answer(
        &mut self,
        received: &mut Received,
        plain: &[u8],
        mode: Option<Mode>,
    ) -> Vec<u8> {
        self.try_answer(received, plain, mode).unwrap()
    }

    /// Installs other keys.
    pub(crate) fn install(&mut self, gid: &[u8], generation: u64) {
        let now = self.now;
        let group = self.group();
        let stale = Stale::Since {
            generation: group.generation(),
            kids: vec![],
        };
        let parameters = parameters(gid, generation, Suite::default());
        let prepared = group.prepare_install(parameters, None, stale, 1 << 20);
        group.commit_install(prepared.unwrap(), now).unwrap();
    }
}

/// Members that all know each other.
pub(crate) fn floor(count: usize) -> Vec<One> {
    floor_with(count, Suite::default(), Settings::default())
}

pub(crate) fn floor_with(count: usize, suite: Suite, settings: Settings) -> Vec<One> {
    (0..count)
        .map(|member| One::new(member, count, suite, settings, 0, None))
        .collect()
}

pub(crate) fn message(
    code: Code,
    message_id: u16,
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    message_with(Type::Non, code, message_id, &[0xaa], options, payload)
}

pub(crate) fn get(message_id: u16) -> Vec<u8> {
    message(
        Code::GET,
        message_id,
        &[(OptionNumber::URI_PATH, b"lock")],
        b"",
    )
}

/// A request that echoes.
pub(crate) fn echoing(message_id: u16, value: &[u8]) -> Vec<u8> {
    let options = [
        (OptionNumber::URI_PATH, &b"lock"[..]),
        (OptionNumber::ECHO, value),
    ];
    message(Code::GET, message_id, &options, b"")
}

pub(crate) fn content(message_id: u16, payload: &[u8]) -> Vec<u8> {
    message(Code::CONTENT, message_id, &[], payload)
}

/// The Partial IV of a message, if it has one.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    let raw = option(bytes);
    OscoreOption::parse(&raw)
        .unwrap()
        .partial_iv
        .map(PartialIv::value)
}

pub(crate) fn payload(bytes: &[u8]) -> Vec<u8> {
    Message::parse(bytes).unwrap().payload().to_vec()
}

/// The same message with another ciphertext.
pub(crate) fn with_payload(bytes: &[u8], payload: &[u8]) -> Vec<u8> {
    message(
        Code::POST,
        77,
        &[(OptionNumber::OSCORE, &option(bytes))],
        payload,
    )
}

/// The same message with its last bit changed: of the signature, or of the tag.
pub(crate) fn spoiled(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

pub(crate) fn xor(one: &[u8], two: &[u8]) -> Vec<u8> {
    one.iter().zip(two).map(|(one, two)| one ^ two).collect()
}
