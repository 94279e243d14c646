//! A closed loop of requests over several sockets, and what came back.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

/// Confirmable or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Non,
    Con,
}

/// How many requests are outstanding, over how many sockets.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) outstanding: usize,
    pub(crate) sockets: usize,
}

/// What one run saw.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) answers: u64,
    pub(crate) seconds: f64,
    pub(crate) lost: u64,
    /// Not a 2.05, or an answer to another question. An echo is neither.
    pub(crate) bad: u64,
    latencies: Vec<u32>,
}

impl Seen {
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    /// The latency in microseconds that this share of the answers did not exceed.
    pub(crate) fn percentile(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().saturating_sub(1);
        f64::from(self.latencies.get(at.min(last)).copied().unwrap_or(0)) / 1_000.0
    }
}

struct Slot {
    sent: Instant,
    number: u32,
}

struct Port {
    socket: UdpSocket,
    slots: Vec<Slot>,
    next: u32,
}

/// A request that is lost is asked anew after this long.
const PATIENCE: Duration = Duration::from_millis(200);

/// Asks for `for_long`, or until `at_most` answers are in.
pub(crate) fn run(
    to: SocketAddr,
    kind: Kind,
    shape: Shape,
    for_long: Duration,
    at_most: u64,
) -> Seen {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let each = shape.outstanding / shape.sockets;
    let mut ports: Vec<Port> = (0..shape.sockets)
        .map(|n| {
            let socket = UdpSocket::bind(any).expect("loopback has free ports");
            socket.connect(to).expect("loopback has a route");
            socket
                .set_nonblocking(true)
                .expect("a socket can be non-blocking");
            Port {
                socket,
                slots: Vec::new(),
                next: (n as u32) << 24,
            }
        })
        .collect();
    let mut seen = Seen::default();
    let start = Instant::now();
    for port in &mut ports {
        for _ in 0..each {
            port.slots.push(Slot {
                sent: start,
                number: 0,
            });
            port.ask(kind, port.slots.len() - 1);
        }
    }
    let mut buffer = [0; 2048];
    let mut turns = 0_u32;
    loop {
        for port in &mut ports {
            while let Ok(len) = port.socket.recv(&mut buffer) {
                if port.answered(&buffer[..len], &mut seen, kind) && seen.answers >= at_most {
                    seen.seconds = start.elapsed().as_secs_f64();
                    return seen;
                }
            }
        }
        turns += 1;
        if turns.is_multiple_of(256) {
            let now = Instant::now();
            if now - start >= for_long {
                seen.seconds = (now - start).as_secs_f64();
                return seen;
            }
            for port in &mut ports {
                seen.lost += port.ask_again(now, kind);
            }
        }
    }
}

impl Port {
    fn ask(&mut self, kind: Kind, slot: usize) {
        self.next = self.next.wrapping_add(1);
        let number = self.next;
        let mut bytes = [0; 64];
        let len = request(&mut bytes, kind, number, slot as u8);
        self.slots[slot] = Slot {
            sent: Instant::now(),
            number,
        };
        loop {
            match self.socket.send(&bytes[..len]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return, // a refused port counts as lost later
            }
        }
    }

    fn answered(&mut self, bytes: &[u8], seen: &mut Seen, kind: Kind) -> bool {
        let Ok(message) = Message::parse(bytes) else {
            seen.bad += 1;
            return false;
        };
        let token = message.token();
        let &[slot, a, b, c, d] = token.as_bytes() else {
            seen.bad += 1;
            return false;
        };
        let number = u32::from_be_bytes([a, b, c, d]);
        let slot = usize::from(slot);
        if self.slots.get(slot).is_none_or(|s| s.number != number) {
            seen.bad += 1;
            return false;
        }
        if !matches!(message.code(), Code::CONTENT | Code::GET) {
            seen.bad += 1;
        }
        seen.answers += 1;
        if seen.answers.is_multiple_of(8) {
            let waited = self.slots[slot].sent.elapsed().as_nanos();
            seen.latencies
                .push(u32::try_from(waited).unwrap_or(u32::MAX));
        }
        self.ask(kind, slot);
        true
    }

    fn ask_again(&mut self, now: Instant, kind: Kind) -> u64 {
        let mut lost = 0;
        for slot in 0..self.slots.len() {
            if now.saturating_duration_since(self.slots[slot].sent) > PATIENCE {
                lost += 1;
                self.ask(kind, slot);
            }
        }
        lost
    }
}

fn request(bytes: &mut [u8], kind: Kind, number: u32, slot: u8) -> usize {
    let [a, b, c, d] = number.to_be_bytes();
    let kind = match kind {
        Kind::Non => Type::Non,
        Kind::Con => Type::Con,
    };
    let write = |bytes| {
        let token = Token::new(&[slot, a, b, c, d])?;
        let mut writer =
            Writer::new(bytes, kind, Code::GET, MessageId(number as u16), token).ok()?;
        writer.option(OptionNumber::URI_PATH, b"time").ok()?;
        Some(writer.finish())
    };
    write(bytes).expect("64 bytes are enough")
}
