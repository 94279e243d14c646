//! A floor of members that share one group, for the tests.

pub(super) use super::members::*;

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Sequence numbers of which plenty are reserved.
pub(super) fn sequence() -> Sequence {
    sequence_from(0)
}

pub(super) fn own(member: usize) -> Own {
    Own {
        sender_id: kid(member),
        credential: credential(member),
        sequence: sequence(),
    }
}

/// Members that all know each other.
pub(super) struct Floor {
    pub(super) members: Vec<One>,
}

impl Floor {
    pub(super) fn new(count: usize, suite: Suite) -> Floor {
        Floor::with(count, suite, Settings::default())
    }

    pub(super) fn with(count: usize, suite: Suite, settings: Settings) -> Floor {
        let start = Some(seconds(100));
        let member = |index| One::new(index, count, suite, settings, 0, start);
        Floor {
            members: (0..count).map(member).collect(),
        }
    }

    pub(super) fn ask(&mut self, member: usize, to: To, plain: &[u8]) -> (Vec<u8>, Asked) {
        self.members[member].try_ask(to, plain).unwrap()
    }

    pub(super) fn hear(&mut self, member: usize, bytes: &[u8]) -> Result<OpenedRequest, Reason> {
        self.members[member].hear(bytes)
    }

    pub(super) fn answer(
        &mut self,
        member: usize,
        received: &mut Received,
        plain: &[u8],
        mode: Option<Mode>,
    ) -> Vec<u8> {
        self.members[member]
            .try_answer(received, plain, mode)
            .unwrap()
    }

    pub(super) fn listen(
        &mut self,
        member: usize,
        bytes: &[u8],
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Reason> {
        self.members[member].listen(bytes, asked)
    }
}

pub(super) fn get(message_id: u16, token: &[u8], path: &str) -> Vec<u8> {
    let options = [(OptionNumber::URI_PATH, path.as_bytes())];
    message(Type::Non, Code::GET, message_id, token, &options, b"")
}

pub(super) fn content(message_id: u16, token: &[u8], payload: &[u8]) -> Vec<u8> {
    message(Type::Non, Code::CONTENT, message_id, token, &[], payload)
}
