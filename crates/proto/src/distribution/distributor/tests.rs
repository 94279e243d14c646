//! The distributor against scripted devices.

mod cancelling;
mod counts;
mod course;
mod devices;
mod members;
mod plans;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::collections::BTreeMap;

use antiphon_wire::{Code, ContentFormat, OptionNumber};

use super::*;
use crate::distribution::{
    Announcement, BlockSet, Command, DeviceState, DeviceStatus, MissingBlocks, status_request,
};
use crate::exchange::Failure;
use crate::message::{Request, Response};

const PATH: &str = "fw";

/// An image of so many blocks of 16 bytes, the last one short; without digest list.
fn announcement(blocks: u32) -> Announcement {
    Announcement::new(blocks * 16 - 5, 16, [9; 32]).unwrap()
}

fn config(blocks: u32, members: &[u8]) -> DistributorConfig {
    DistributorConfig {
        members: members.iter().map(|n| device(*n)).collect(),
        rate: 1_000,
        ..DistributorConfig::new(announcement(blocks), PATH)
    }
}

fn device(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 5683))
}

/// What went to the group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Announcement,
    Block(u32),
    End { pass: u16, window: u16 },
    Cancelled,
}

/// A distributor, and devices that answer as a table says.
struct Play {
    distributor: Distributor,
    now: Instant,
    said: Vec<(Instant, Said)>,
    requests: Vec<Request>,
    asked: Vec<(Instant, SocketAddr)>,
    /// Who was told alone that it is cancelled.
    told: Vec<SocketAddr>,
    events: Vec<DistributorEvent>,
    /// What devices say; those that are not there do not answer.
    says: BTreeMap<SocketAddr, DeviceStatus>,
    /// In so many datagrams each request to the group leaves.
    copies: u32,
    /// Whether datagrams leave.
    sends: bool,
    bytes: u64,
}

impl Play {
    fn new(config: DistributorConfig) -> Self {
        Self {
            distributor: Distributor::new(config).unwrap(),
            now: Instant::from_millis(1_000),
            said: Vec::new(),
            requests: Vec::new(),
            asked: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            says: BTreeMap::new(),
            copies: 1,
            sends: true,
            bytes: 0,
        }
    }

    fn says(mut self, n: u8, status: DeviceStatus) -> Self {
        self.tells(n, status);
        self
    }

    fn tells(&mut self, n: u8, status: DeviceStatus) {
        self.says.insert(device(n), status);
    }

    /// Everything that is due now.
    fn drain(&mut self) {
        loop {
            let mut idle = true;
            while let Some(send) = self.distributor.poll_send(self.now) {
                idle = false;
                if !self.sends {
                    self.distributor.sent(self.now, None);
                    continue;
                }
                let mut request = send.request;
                if let Some(fills) = send.fills {
                    request.payload = vec![0xb1; fills.length];
                }
                let length = config::coap_length(&request);
                self.bytes += length + 48;
                let said = match Command::of_request(PATH, &request) {
                    Command::Notice(Ok(Notice::Announced(_))) => Said::Announcement,
                    Command::Notice(Ok(Notice::EndOfPass { pass, window, .. })) => {
                        Said::End { pass, window }
                    }
                    Command::Notice(Ok(Notice::Cancelled(_))) => Said::Cancelled,
                    Command::Block { block, .. } => Said::Block(block),
                    other => panic!("{other:?}"),
                };
                self.said.push((self.now, said));
                self.requests.push(request);
                let length = usize::try_from(length).unwrap() * self.copies as usize;
                self.distributor
                    .sent_copies(self.now, self.copies, Some(length));
            }
            while let Some(ask) = self.distributor.poll_ask(self.now) {
                idle = false;
                if ask.request != status_request(PATH) {
                    self.told(&ask);
                    continue;
                }
                self.asked.push((self.now, ask.to));
                let result = self.says.get(&ask.to).map(answer);
                let result = result.as_ref().ok_or(Failure::TimedOut);
                self.distributor.asked(self.now, ask.ask, result);
            }
            while let Some(event) = self.distributor.poll_event() {
                self.events.push(event);
            }
            if idle {
                return;
            }
        }
    }

    /// One device was told that it is cancelled: who says something otherwise confirms that.
    fn told(&mut self, ask: &Ask) {
        let id = self.distributor.id();
        let notice = Command::Notice(Ok(Notice::Cancelled(id)));
        assert_eq!(Command::of_request(PATH, &ask.request), notice);
        assert_eq!(ask.request.options.get(OptionNumber::NO_RESPONSE), None);
        self.told.push(ask.to);
        let forgotten = Response::new(Code::CHANGED);
        let result = match self.says.contains_key(&ask.to) {
            true => Ok(&forgotten),
            false => Err(Failure::TimedOut),
        };
        self.distributor.asked(self.now, ask.ask, result);
    }

    /// Until this much time has passed, or it is over.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.drain();
            let next = self.distributor.next_timeout();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            assert!(next > self.now, "everything that is due was done: {next:?}");
            self.now = next;
            self.distributor.handle_timeout(self.now);
        }
    }

    /// Until something else than blocks happens after this event.
    fn run_until(&mut self, event: DistributorEvent) {
        let mut rounds = 0;
        while !self.events.contains(&event) {
            self.run(Duration::from_millis(100));
            rounds += 1;
            assert!(rounds < 100_000, "{event:?} never comes: {:?}", self.events);
        }
    }

    fn said(&self) -> Vec<Said> {
        self.said.iter().map(|(_, said)| said.clone()).collect()
    }

    fn blocks(&self) -> Vec<u32> {
        let block = |said: &Said| match said {
            Said::Block(block) => Some(*block),
            _ => None,
        };
        self.said
            .iter()
            .filter_map(|(_, said)| block(said))
            .collect()
    }

    fn at_of(&self, what: &Said) -> Vec<Duration> {
        let of = |(at, said): &(Instant, Said)| {
            (said == what).then_some(at.since(Instant::from_millis(1_000)))
        };
        self.said.iter().filter_map(of).collect()
    }

    fn get(&mut self, from: u8, path: &str, query: &str) -> Served {
        let request = Request::new(Code::GET).path(path).query(query);
        self.distributor
            .handle_request(self.now, device(from), &request)
    }

    fn repair(&mut self, from: u8, block: u32) -> Served {
        let path = alloc::format!("{PATH}/{}", self.distributor.id());
        self.get(from, &path, &alloc::format!("b={block}"))
    }
}

fn answer(status: &DeviceStatus) -> Response {
    Response::new(Code::CONTENT).with_payload(ContentFormat::CBOR, &status.encode())
}

/// A device that receives `announcement(total)` and lacks these blocks.
fn receiving(total: u32, lacks: &[u32]) -> DeviceStatus {
    let mut have = BlockSet::full(total);
    for block in lacks {
        have.remove(*block);
    }
    DeviceStatus {
        id: Some(announcement(total).id()),
        state: DeviceState::Receiving,
        code: None,
        have: have.len(),
        total,
        missing: Some(MissingBlocks::of(&have)),
    }
}

fn state(total: u32, state: DeviceState, code: Option<Code>) -> DeviceStatus {
    DeviceStatus {
        id: Some(announcement(total).id()),
        state,
        code,
        have: total,
        total,
        missing: None,
    }
}

fn activated(total: u32) -> DeviceStatus {
    state(total, DeviceState::Activated, Some(Code::CHANGED))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
