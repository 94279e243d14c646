//! Any bytes as messages of a distribution, and any sequence of operations on a device that takes images, with two distributors, a
//! stranger, lost and changed blocks, restarts and a storage that fails: what always holds must hold.
//!
//! - a message is refused, or it is written as it was read;
//! - what is activated is one of the images that were announced, exactly, and accepted before;
//! - the status is one that can be, and a device has no more blocks than there are;
//! - the device hands out one task at a time, and does not ask to be called for what is over.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_proto::distribution::{
    ActivationError, Announcement, Command, Device, DeviceConfig, DeviceEvent, DeviceState,
    DeviceStatus, Heard, ImageId, Installation, Notice, ReadAt, Refusal, Repair, Storage,
    StorageError, Task, TaskResult,
};
use antiphon_proto::{Identity, Instant, Request, Response, Sender, WorkId};
use antiphon_wire::{Code, OptionNumber};

/// What a sequence of operations reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Announcements that were accepted.
    pub accepted: u64,
    /// Blocks that were stored.
    pub stored: u64,
    /// Requests for repair.
    pub asked: u64,
    /// Images that were activated.
    pub activated: u64,
}

/// Reads the bytes as every message of a distribution, and runs the operations that they stand for.
///
/// # Panics
/// If something that always holds does not.
pub fn run(data: &[u8]) -> Reached {
    messages(data);
    let mut play = Play::new(data);
    while !play.input.is_empty() {
        play.operation();
        play.check();
    }
    play.reached
}

fn messages(data: &[u8]) {
    if let Ok(notice) = Notice::decode(data) {
        assert_eq!(notice.encode(), data);
    }
    if let Ok(announcement) = Announcement::decode(data) {
        assert_eq!(announcement.encode(), data);
        let last = announcement.blocks() - 1;
        let end = announcement.block_offset(last).unwrap()
            + announcement.block_length(last).unwrap() as u64;
        assert_eq!(end, announcement.content_size());
    }
    if let Ok(status) = DeviceStatus::decode(data) {
        assert_eq!(status.encode(), data);
    }
    let mut request = Request::new(Code::from_u8(data.first().copied().unwrap_or(1)));
    for segment in data.split(|byte| *byte == b'/') {
        request.options.push(OptionNumber::URI_PATH, segment);
    }
    let _ = Command::of_request("fw", &request);
}

/// Contents and record; it fails when it is told to.
#[derive(Default)]
struct Memory {
    content: Vec<u8>,
    record: Option<Vec<u8>>,
    failing: bool,
}

impl Memory {
    fn working(&mut self) -> Result<&mut Self, StorageError> {
        match self.failing {
            true => Err(StorageError::Failed),
            false => Ok(self),
        }
    }
}

impl Storage for Memory {
    fn kept(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.working()?.record.clone())
    }

    fn prepare(&mut self, content_size: u64) -> Result<(), StorageError> {
        assert!(content_size <= LARGEST, "no more than the limit");
        let it = self.working()?;
        it.record = None;
        it.content = vec![0; content_size as usize];
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let start = offset as usize;
        self.working()?.content[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let start = offset as usize;
        into.copy_from_slice(&self.working()?.content[start..start + into.len()]);
        Ok(())
    }

    fn note(&mut self, record: &[u8]) -> Result<(), StorageError> {
        self.working()?.record = Some(record.to_vec());
        Ok(())
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        let it = self.working()?;
        (it.record, it.content) = (None, Vec::new());
        Ok(())
    }
}

/// The largest content that the device takes.
const LARGEST: u64 = 4_096;

/// An image with its digests.
struct Image {
    announcement: Announcement,
    id: ImageId,
    content: Vec<u8>,
    image: Vec<u8>,
}

impl Image {
    /// The last one is larger than the device takes.
    fn all() -> Vec<Self> {
        [(90, 16, None), (200, 32, Some(2)), (5_000, 1024, None)]
            .into_iter()
            .map(|(size, block, span)| Self::new(size, block, span))
            .collect()
    }

    fn new(size: u32, block_size: u16, span: Option<u32>) -> Self {
        let image: Vec<u8> = (0..size).map(|n| (n * 5) as u8).collect();
        let mut list = Vec::new();
        let mut it = Announcement::new(size, block_size, sha256(&image)).unwrap();
        if let Some(span) = span {
            for part in image.chunks(usize::from(block_size) * span as usize) {
                list.extend(sha256(part));
            }
            it = it.with_list(span, sha256(&list)).unwrap();
        }
        list.extend(&image);
        Self {
            id: it.id(),
            announcement: it,
            content: list,
            image,
        }
    }

    fn block(&self, block: u32) -> &[u8] {
        let start = self.announcement.block_offset(block).unwrap() as usize;
        &self.content[start..start + self.announcement.block_length(block).unwrap()]
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).into()
}

/// The application: it refuses when it is told to, and says what is in use.
#[derive(Default)]
struct Application {
    accepted: Vec<ImageId>,
    in_use: Option<(ImageId, Vec<u8>)>,
    refuses: bool,
    fails: bool,
}

impl Installation for Application {
    fn accept(&mut self, it: &Announcement, _: &Sender) -> Result<(), Refusal> {
        if self.refuses {
            return Err(Refusal::Other);
        }
        self.accepted.push(it.id());
        Ok(())
    }

    fn activate(
        &mut self,
        it: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError> {
        assert!(self.accepted.contains(&it.id()), "it was accepted");
        let mut bytes = vec![0; image.size() as usize];
        let read = image.read_at(0, &mut bytes);
        read.map_err(|error| ActivationError::new(&error.to_string()))?;
        if self.fails {
            return Err(ActivationError::new("as told"));
        }
        self.in_use = Some((it.id(), bytes));
        Ok(())
    }
}

struct Play<'a> {
    input: &'a [u8],
    now: Instant,
    images: Vec<Image>,
    senders: [Sender; 3],
    device: Device,
    memory: Memory,
    application: Application,
    working: Option<(WorkId, Task)>,
    /// Work failed or was lost since the device was started.
    in_vain: bool,
    asking: Vec<Repair>,
    reached: Reached,
}

fn config() -> DeviceConfig {
    DeviceConfig {
        max_content: LARGEST,
        max_blocks: 256,
        waiting: 4,
        note_blocks: 3,
        max_corrupted: 5,
        ..DeviceConfig::default()
    }
}

impl<'a> Play<'a> {
    fn new(input: &'a [u8]) -> Self {
        let member = |name: &[u8]| Sender::Proven(Identity::member("fw", name));
        Self {
            input,
            now: Instant::from_millis(1),
            images: Image::all(),
            senders: [member(b"a"), member(b"b"), Sender::Unauthenticated],
            device: Device::new(config(), [1; 32]).expect("within its limits"),
            memory: Memory::default(),
            application: Application::default(),
            working: None,
            in_vain: false,
            asking: Vec::new(),
            reached: Reached::default(),
        }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.input.split_first() else {
            return 0;
        };
        self.input = rest;
        *first
    }

    fn operation(&mut self) {
        match self.byte() % 16 {
            0 | 1 => {
                let it = self.image();
                let announcement = self.images[it].announcement.clone();
                self.tell(&Command::Notice(Ok(Notice::Announced(announcement))));
            }
            2 => {
                let (id, pass) = (self.image_id(), 0);
                let window = u16::from(self.byte() % 3);
                let end = Notice::EndOfPass { id, pass, window };
                self.tell(&Command::Notice(Ok(end)));
            }
            3 if self.byte() < 32 => {
                let id = self.image_id();
                self.tell(&Command::Notice(Ok(Notice::Cancelled(id))));
            }
            3..=6 => self.blocks(),
            7 => self.give_repair(),
            8 => self.ask(),
            9 => {
                let time = Duration::from_millis(u64::from(self.byte()) * 997);
                self.now = self.now + time;
                self.device.handle_timeout(self.now);
            }
            10 => self.upset(),
            _ => self.work(),
        }
    }

    /// The first image more often than others, so that something comes to its end.
    fn image(&mut self) -> usize {
        match self.byte() {
            0..=159 => 0,
            160..=239 => 1,
            _ => 2,
        }
    }

    fn image_id(&mut self) -> ImageId {
        let it = self.image();
        self.images[it].id
    }

    /// A request of one of the senders, mostly of the first, by multicast or unicast.
    fn tell(&mut self, command: &Command<'_>) {
        let who = self.byte();
        let index = match who {
            0..=223 => 0,
            224..=239 => 1,
            _ => 2,
        };
        let peer = SocketAddr::from(([192, 0, 2, index as u8 + 1], 5683));
        let group = who % 2 == 0;
        let heard = Heard {
            peer,
            interface: 1,
            group,
            sender: &self.senders[index],
        };
        let response = self.device.handle(self.now, &heard, command);
        let told = matches!(command, Command::Status);
        assert!(response.is_none() || !group || told, "silence to the group");
        assert!(response.is_some() || group, "an answer to one");
    }

    /// Some blocks in a row, one of them perhaps changed.
    fn blocks(&mut self) {
        let it = self.image();
        let (first, how) = (u32::from(self.byte()), self.byte());
        let total = self.images[it].announcement.blocks();
        for block in (0..=u32::from(how % 4)).map(|more| (first + more) % (total + 1)) {
            let mut bytes = match block < total {
                true => self.images[it].block(block).to_vec(),
                false => vec![0; 16],
            };
            if how >= 250 {
                bytes[0] ^= how;
            }
            if how == 249 {
                bytes.pop();
            }
            let id = self.images[it].id;
            let bytes = &bytes;
            self.tell(&Command::Block { id, block, bytes });
        }
    }

    fn ask(&mut self) {
        if let Some(repair) = self.device.poll_repair(self.now) {
            self.reached.asked += 1;
            assert_eq!(self.device.poll_repair(self.now), None, "one outstanding");
            self.asking.push(repair);
        }
    }

    /// An answer to a request for repair, in any order.
    fn give_repair(&mut self) {
        let how = self.byte();
        if self.asking.is_empty() {
            return self.ask();
        }
        let repair = self
            .asking
            .swap_remove(usize::from(how) % self.asking.len());
        let image = self.images.iter().find(|it| it.id == repair.id).unwrap();
        let mut response = Response::new(Code::CONTENT);
        response.payload = image.block(repair.block).to_vec();
        match how {
            0..=15 => response.payload[0] ^= 1,
            16..=31 => response.payload.clear(),
            32..=47 => response.reset(Code::SERVICE_UNAVAILABLE),
            48..=63 => response.reset(Code::NOT_FOUND),
            _ => {}
        }
        let sender = &self.senders[usize::from(how / 4 % 64 == 63)];
        let answer = (how % 8 != 7).then_some((&response, sender));
        self.device.repaired(self.now, repair.repair, answer);
    }

    fn work(&mut self) {
        match self.working.take() {
            Some((id, task)) => {
                self.in_vain |= self.memory.failing;
                let result = task.perform(&mut self.memory, &mut self.application);
                self.device.work_done(self.now, id, result);
            }
            None => {
                self.working = self.device.poll_work();
                if self.working.is_some() {
                    assert!(self.device.poll_work().is_none(), "one at a time");
                }
            }
        }
    }

    /// What seldom happens: a restart, a storage or an application that fails, work that is lost.
    fn upset(&mut self) {
        match self.byte() {
            0..=31 => {
                self.device = Device::new(config(), [self.now.as_micros() as u8; 32])
                    .expect("within its limits");
                (self.working, self.in_vain) = (None, false);
                self.asking.clear();
            }
            32..=47 => self.memory.failing = true,
            48..=55 => self.application.refuses = true,
            56..=63 => self.application.fails = true,
            64..=71 => {
                if let Some((id, _)) = self.working.take() {
                    self.in_vain = true;
                    self.device.work_done(self.now, id, TaskResult::lost());
                }
            }
            _ => {
                self.memory.failing = false;
                (self.application.refuses, self.application.fails) = (false, false);
            }
        }
    }

    fn check(&mut self) {
        let status = self.device.status();
        assert_eq!(DeviceStatus::decode(&status.encode()).as_ref(), Ok(&status));
        while let Some(event) = self.device.poll_event() {
            match event {
                DeviceEvent::Accepted { .. } => self.reached.accepted += 1,
                DeviceEvent::Activated(_) => self.reached.activated += 1,
                _ => {}
            }
        }
        self.reached.stored = self.reached.stored.max(self.device.counters().stored);
        if let Some((id, bytes)) = &self.application.in_use {
            let image = self.images.iter().find(|it| it.id == *id).unwrap();
            assert!(image.image == *bytes, "exactly the image");
        }
        if status.state == DeviceState::Activated {
            let in_use = self.application.in_use.as_ref().map(|(id, _)| *id);
            assert_eq!(status.id, in_use);
        }
        let due = self.device.next_timeout();
        if status.state == DeviceState::Activated && self.in_vain {
            // That it is in use is noted again, if that was what failed.
            let soon = self.now + config().note_after;
            assert!(due.is_none_or(|due| due <= soon), "{due:?}");
        } else if status.state.is_final() || status.state == DeviceState::Idle {
            assert_eq!(due, None, "nothing is due");
        }
    }
}
