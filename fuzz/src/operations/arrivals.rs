//! What arrives: requests, answers, empty messages; valid, nearly valid, or again.

use super::*;

impl Play<'_> {
    pub(super) fn arrive(&mut self, bytes: &[u8]) {
        let (socket, local) = match self.input.below(8) {
            0 | 1 => (1, group(0)),
            2 => (2, group(1)),
            3 => (1, group(7)), // never joined
            _ => (0, own()),
        };
        let mut from = peer(self.input.below(16));
        if self.input.byte() == 0 {
            from = self
                .input
                .pick(&[group(0), own(), ([0, 0, 0, 0], 1).into()]);
        }
        let path = Path {
            socket: SocketId(socket),
            local,
            interface: 1,
            peer: from,
        };
        self.arrive_on(path, bytes.to_vec());
    }

    pub(super) fn arrive_on(&mut self, path: Path, bytes: Vec<u8>) {
        self.endpoint.handle_datagram(self.now, path, &bytes);
        self.drain(path.is_multicast());
        if self.heard.len() >= REMEMBERED {
            self.heard.remove(0);
        }
        self.heard.push((path, bytes));
    }

    /// What was heard before, perhaps from somebody else.
    pub(super) fn once_more(&mut self) {
        if self.heard.is_empty() {
            return;
        }
        let back = self.input.below(self.heard.len().min(6));
        let (mut path, bytes) = self.heard[self.heard.len() - 1 - back].clone();
        if self.input.byte() < 30 {
            path.peer = peer(self.input.below(16));
        }
        self.arrive_on(path, bytes);
    }

    fn kind(&mut self) -> Type {
        self.input
            .pick(&[Type::Con, Type::Non, Type::Non, Type::Ack, Type::Rst])
    }

    pub(super) fn some_request(&mut self) -> Vec<u8> {
        let kind = self.kind();
        let code = Code::from_u8(1 + self.input.byte() % 8);
        let mid = u16::from(self.input.byte() % 24);
        let len = self.input.below(9);
        let token = self.input.take(len).to_vec();
        let path = self.input.pick(&PATHS);
        let mut options = vec![(OptionNumber::URI_PATH, path.as_bytes().to_vec())];
        for _ in 0..self.input.below(4) {
            let number = OptionNumber(match self.input.below(10) {
                0 => 4,   // ETag
                1 => 9,   // OSCORE
                2 => 15,  // Uri-Query
                3 => 17,  // Accept
                4 => 23,  // Block2
                5 => 27,  // Block1
                6 => 258, // No-Response
                7 => 65_001,
                8 => 3, // Uri-Host
                _ => u16::from(self.input.byte()),
            });
            let len = self.input.below(10);
            options.push((number, self.input.take(len).to_vec()));
        }
        options.sort_by_key(|(number, _)| number.0);
        let options: Vec<_> = options.iter().map(|(n, v)| (*n, &v[..])).collect();
        let len = self.input.below(40);
        let payload = self.input.take(len);
        Datagram {
            kind,
            code,
            mid,
            token: &token,
            options: &options,
            payload,
        }
        .bytes()
    }

    /// A response to something that was sent, more or less.
    pub(super) fn answer_something(&mut self) {
        let is_request = |sent: &&(Route, Vec<u8>)| parse(&sent.1).code().is_request();
        let asked: Vec<_> = self.sent.iter().rev().filter(is_request).take(8).collect();
        let Some(&(route, bytes)) = asked
            .get(self.input.below(asked.len()))
            .map(|(route, bytes)| (route, bytes))
            .as_ref()
        else {
            return;
        };
        let (route, asked) = (*route, parse(bytes));
        let (token, asked_id, asked_kind) = (asked.token(), asked.message_id(), asked.kind());
        let kind = match self.input.below(8) {
            0 => self.kind(),
            1 => Type::Con,
            _ if asked_kind == Type::Con => Type::Ack,
            _ => Type::Non,
        };
        let mid = match kind {
            Type::Ack | Type::Rst => asked_id,
            _ => MessageId(u16::from(self.input.byte() % 64)),
        };
        let code = self.input.pick(&[
            Code::CONTENT,
            Code::CONTENT,
            Code::CHANGED,
            Code::NOT_FOUND,
            Code::INTERNAL_SERVER_ERROR,
            Code::from_u8(0xe1),
        ]);
        let critical = [(OptionNumber(65_001), &b"x"[..])];
        let options = if self.input.byte() < 30 {
            &critical[..]
        } else {
            &[]
        };
        let len = self.input.below(20);
        let payload = self.input.take(len);
        let answer = Datagram {
            kind,
            code,
            mid: mid.0,
            token: token.as_bytes(),
            options,
            payload,
        };
        let bytes = answer.bytes();
        let to_us = !route.is_multicast() && self.input.byte() < 230;
        let path = Path {
            socket: SocketId(0),
            local: if self.input.byte() < 10 {
                group(0)
            } else {
                own()
            },
            interface: 1,
            peer: match to_us {
                true => route.destination,
                false => peer(self.input.below(16)),
            },
        };
        self.arrive_on(path, bytes);
    }

    pub(super) fn empty_message(&mut self) {
        let first = 0x40 | self.input.byte() << 4 & 0x30;
        let at = self.input.below(self.sent.len());
        let mid = match self.sent.get(at) {
            Some((_, bytes)) => [bytes[2], bytes[3]],
            None => [0, self.input.byte()],
        };
        self.arrive(&[first, 0, mid[0], mid[1]]);
    }

    /// Somebody registers as an observer, or deregisters.
    pub(super) fn observe(&mut self) {
        let kind = self.input.pick(&[Type::Con, Type::Non]);
        let code = self.input.pick(&[Code::GET, Code::GET, Code::FETCH]);
        let path = self.input.pick(&["r", "slow", "silent", "silent"]);
        let observe: &[u8] = self.input.pick(&[&[], &[], &[], &[1], &[2]]);
        let token = [self.input.byte() % 3];
        let mid = u16::from(self.input.byte());
        let len = self.input.below(40);
        let payload = self.input.take(if code == Code::FETCH { len } else { 0 });
        let options = [
            (OptionNumber::OBSERVE, observe),
            (OptionNumber::URI_PATH, path.as_bytes()),
        ];
        let request = Datagram {
            kind,
            code,
            mid,
            token: &token,
            options: &options,
            payload,
        };
        self.arrive(&request.bytes());
    }

    /// Whoever was sent something acknowledges it, or rejects it.
    pub(super) fn settle_something(&mut self) {
        let back = self.input.below(self.sent.len().min(8));
        let Some((route, bytes)) = self.sent.iter().rev().nth(back) else {
            return;
        };
        let (peer, mid) = (route.destination, [bytes[2], bytes[3]]);
        let first = if self.input.byte() < 200 { 0x60 } else { 0x70 };
        if peer.ip().is_multicast() {
            return;
        }
        let path = Path {
            socket: SocketId(0),
            local: own(),
            interface: 1,
            peer,
        };
        self.arrive_on(path, vec![first, 0, mid[0], mid[1]]);
    }

    pub(super) fn mutated(&mut self) {
        let at = self.input.below(self.sent.len());
        let Some((_, bytes)) = self.sent.get(at) else {
            return;
        };
        let mut bytes = bytes.clone();
        for _ in 0..=self.input.below(3) {
            let at = self.input.below(bytes.len());
            bytes[at] ^= self.input.byte();
        }
        if self.input.flag() {
            bytes.truncate(self.input.below(bytes.len() + 1));
        }
        self.arrive(&bytes);
    }
}

/// What a datagram is made from.
struct Datagram<'a> {
    kind: Type,
    code: Code,
    mid: u16,
    token: &'a [u8],
    /// In ascending order.
    options: &'a [(OptionNumber, &'a [u8])],
    payload: &'a [u8],
}

impl Datagram<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut buffer = vec![0; 1_024];
        let token = Token::new(self.token).unwrap_or(Token::EMPTY);
        let mut writer = Writer::new(
            &mut buffer,
            self.kind,
            self.code,
            MessageId(self.mid),
            token,
        )
        .unwrap();
        for (number, value) in self.options {
            writer.option(*number, value).unwrap();
        }
        writer.payload(self.payload).unwrap();
        let len = writer.finish();
        buffer.truncate(len);
        buffer
    }
}
