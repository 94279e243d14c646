//! The half of a device, against a distributor that the test plays.

mod contention;
mod exact;
mod failing;
mod hostile;
mod receiving;
mod repair;
mod restart;
mod silence;

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::vec;
use std::vec::Vec;

use antiphon_wire::Code;
use sha2::{Digest as _, Sha256};

use super::super::*;
use crate::{Identity, Instant, Response, Sender, WorkId};

/// Contents and record in memory; survives a restart of the device, as a disk does.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<MemoryState>>);

#[derive(Default)]
pub(super) struct MemoryState {
    pub(super) content: Vec<u8>,
    pub(super) record: Option<Vec<u8>>,
    pub(super) capacity: Option<u64>,
    pub(super) failing: bool,
    /// There is no room for a record.
    pub(super) full_notes: bool,
    pub(super) writes: usize,
    pub(super) notes: usize,
    pub(super) prepared: usize,
}

impl Memory {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, MemoryState> {
        self.0.lock().unwrap()
    }

    fn working(&self) -> Result<std::sync::MutexGuard<'_, MemoryState>, StorageError> {
        let state = self.state();
        match state.failing {
            true => Err(StorageError::Failed),
            false => Ok(state),
        }
    }
}

impl Storage for Memory {
    fn kept(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.working()?.record.clone())
    }

    fn prepare(&mut self, content_size: u64) -> Result<(), StorageError> {
        let mut state = self.working()?;
        if state
            .capacity
            .is_some_and(|capacity| content_size > capacity)
        {
            return Err(StorageError::Full);
        }
        state.record = None;
        state.prepared += 1;
        state.content = vec![0xee; content_size as usize];
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let mut state = self.working()?;
        state.writes += 1;
        let start = offset as usize;
        state.content[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let start = offset as usize;
        into.copy_from_slice(&self.working()?.content[start..start + into.len()]);
        Ok(())
    }

    fn note(&mut self, record: &[u8]) -> Result<(), StorageError> {
        let mut state = self.working()?;
        if state.full_notes {
            return Err(StorageError::Full);
        }
        state.notes += 1;
        state.record = Some(record.to_vec());
        Ok(())
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        let mut state = self.working()?;
        state.record = None;
        state.content.clear();
        Ok(())
    }
}

/// The application: what it was asked, and what is in use.
#[derive(Default)]
pub(super) struct Application {
    pub(super) asked: Vec<(ImageId, Sender)>,
    pub(super) refuses: Option<Refusal>,
    pub(super) fails: Option<&'static str>,
    pub(super) in_use: Vec<u8>,
    pub(super) activations: usize,
}

impl Installation for Application {
    fn accept(&mut self, it: &Announcement, from: &Sender) -> Result<(), Refusal> {
        self.asked.push((it.id(), from.clone()));
        self.refuses.map_or(Ok(()), Err)
    }

    fn activate(
        &mut self,
        it: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError> {
        self.activations += 1;
        if let Some(why) = self.fails {
            return Err(ActivationError::new(why));
        }
        assert_eq!(image.size(), u64::from(it.size()));
        let mut bytes = vec![0; image.size() as usize];
        image.read_at(0, &mut bytes).unwrap();
        let mut last = [0];
        image.read_at(image.size() - 1, &mut last).unwrap();
        assert_eq!(last.last(), bytes.last());
        assert!(image.read_at(1, &mut bytes).is_err(), "beyond its end");
        assert!(image.read_at(u64::MAX, &mut bytes).is_err());
        self.in_use = bytes;
        Ok(())
    }
}

/// An image cut into blocks.
pub(super) struct Content {
    pub(super) announcement: Announcement,
    pub(super) bytes: Vec<u8>,
    pub(super) image: Vec<u8>,
}

impl Content {
    /// An image of so many bytes, in blocks of 64, with a digest for each `span` blocks.
    pub(super) fn new(size: u32, span: Option<u32>) -> Self {
        let image: Vec<u8> = (0..size).map(|n| (n * 7 + n / 251) as u8).collect();
        Self::of(image, span)
    }

    pub(super) fn of(image: Vec<u8>, span: Option<u32>) -> Self {
        let digest = Sha256::digest(&image).into();
        let mut it = Announcement::new(image.len() as u32, 64, digest).unwrap();
        let mut bytes = Vec::new();
        if let Some(span) = span {
            for part in image.chunks(64 * span as usize) {
                bytes.extend(Sha256::digest(part));
            }
            it = it.with_list(span, Sha256::digest(&bytes).into()).unwrap();
        }
        bytes.extend(&image);
        Self {
            announcement: it.with_name("test").unwrap(),
            bytes,
            image,
        }
    }

    pub(super) fn id(&self) -> ImageId {
        self.announcement.id()
    }

    pub(super) fn block(&self, block: u32) -> &[u8] {
        let start = self.announcement.block_offset(block).unwrap() as usize;
        &self.bytes[start..start + self.announcement.block_length(block).unwrap()]
    }

    pub(super) fn blocks(&self) -> u32 {
        self.announcement.blocks()
    }
}

pub(super) fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 5683))
}

pub(super) fn member(name: &[u8]) -> Sender {
    Sender::Proven(Identity::member("fw", name))
}

/// A device, its storage and application, and the time.
pub(super) struct Rig {
    pub(super) device: Device,
    pub(super) config: DeviceConfig,
    pub(super) memory: Memory,
    pub(super) application: Application,
    pub(super) now: Instant,
    pub(super) events: Vec<DeviceEvent>,
    /// The distributor.
    pub(super) sender: Sender,
    pub(super) peer: SocketAddr,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(DeviceConfig::default())
    }

    pub(super) fn with(config: DeviceConfig) -> Self {
        let mut rig = Self::unstarted(config);
        rig.work();
        rig
    }

    /// Nothing was read yet.
    pub(super) fn unstarted(config: DeviceConfig) -> Self {
        Self {
            device: Device::new(config.clone(), [1; 32]).unwrap(),
            config,
            memory: Memory::default(),
            application: Application::default(),
            now: Instant::from_millis(1_000),
            events: Vec::new(),
            sender: member(b"distributor"),
            peer: peer(1),
        }
    }

    /// The power is cut and comes back: storage and application stay as they are.
    pub(super) fn restart(&mut self) {
        self.boot();
        self.work();
    }

    /// The same, and nothing was read yet.
    pub(super) fn boot(&mut self) {
        self.device = Device::new(self.config.clone(), [2; 32]).unwrap();
    }

    /// The worker performs whatever there is.
    pub(super) fn work(&mut self) {
        while self.work_once() {}
    }

    pub(super) fn work_once(&mut self) -> bool {
        let Some((work, task)) = self.device.poll_work() else {
            self.gather();
            return false;
        };
        assert!(self.device.poll_work().is_none(), "one at a time");
        self.perform(work, task);
        self.gather();
        true
    }

    /// The worker performs this, and no event is taken.
    pub(super) fn perform(&mut self, work: WorkId, task: Task) {
        let result = task.perform(&mut self.memory, &mut self.application);
        self.device.work_done(self.now, work, result);
    }

    /// The worker works until the device is in this state: what is to be done then.
    pub(super) fn work_until(&mut self, state: DeviceState) -> (WorkId, Task) {
        loop {
            let (work, task) = self.device.poll_work().unwrap();
            if self.state().0 == state {
                return (work, task);
            }
            self.perform(work, task);
        }
    }

    fn gather(&mut self) {
        while let Some(event) = self.device.poll_event() {
            self.events.push(event);
        }
    }

    pub(super) fn tell(&mut self, group: bool, command: &Command<'_>) -> Option<Response> {
        let heard = Heard {
            peer: self.peer,
            interface: 3,
            group,
            sender: &self.sender.clone(),
        };
        self.device.handle(self.now, &heard, command)
    }

    /// To the group: nobody answers.
    pub(super) fn group(&mut self, command: &Command<'_>) {
        assert_eq!(self.tell(true, command), None);
    }

    /// To this device alone: the code of its answer.
    pub(super) fn unicast(&mut self, command: &Command<'_>) -> Code {
        self.tell(false, command).unwrap().code
    }

    pub(super) fn announce(&mut self, content: &Content) {
        self.group(&announce(content));
        self.work();
    }

    pub(super) fn send(&mut self, content: &Content, blocks: impl IntoIterator<Item = u32>) {
        for block in blocks {
            self.group(&block_of(content, block));
            self.work();
        }
    }

    /// All of an image arrives; the worker still has the last block.
    pub(super) fn receive(&mut self, content: &Content) {
        let last = content.blocks() - 1;
        self.announce(content);
        self.send(content, 0..last);
        self.group(&block_of(content, last));
    }

    pub(super) fn end(&mut self, content: &Content, window: u16) {
        self.group(&end(content, window));
        self.work();
    }

    /// Time passes, and whatever is due happens.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.device.handle_timeout(self.now);
        self.work();
    }

    /// The distributor answers every request for repair until none comes any more; how many there were.
    pub(super) fn repair_all(&mut self, content: &Content) -> u32 {
        let mut asked = 0;
        while let Some(repair) = self.next_repair() {
            assert_eq!((repair.id, repair.to), (content.id(), self.peer));
            asked += 1;
            let response = block_response(content, repair.block);
            self.answer(repair, Some(&response));
        }
        asked
    }

    /// The next request for repair, within a day.
    pub(super) fn next_repair(&mut self) -> Option<Repair> {
        let last = self.now + Duration::from_secs(86_400);
        loop {
            if let Some(repair) = self.device.poll_repair(self.now) {
                return Some(repair);
            }
            let next = self.device.next_timeout().filter(|next| *next <= last)?;
            self.now = self.now.max(next);
            self.device.handle_timeout(self.now);
            self.work();
        }
    }

    pub(super) fn answer(&mut self, repair: Repair, response: Option<&Response>) {
        let sender = self.sender.clone();
        let answer = response.map(|response| (response, &sender));
        self.device.repaired(self.now, repair.repair, answer);
        self.work();
    }

    pub(super) fn state(&self) -> (DeviceState, Option<Code>) {
        let status = self.device.status();
        (status.state, status.code)
    }

    pub(super) fn is_activated(&self, content: &Content) -> bool {
        let activated = (DeviceState::Activated, Some(Code::CHANGED));
        self.state() == activated
            && self.device.status().id == Some(content.id())
            && self.application.in_use == content.image
    }
}

pub(super) fn announce(content: &Content) -> Command<'static> {
    Command::Notice(Ok(Notice::Announced(content.announcement.clone())))
}

pub(super) fn end(content: &Content, window: u16) -> Command<'static> {
    Command::Notice(Ok(Notice::EndOfPass {
        id: content.id(),
        pass: 0,
        window,
    }))
}

pub(super) fn cancel(content: &Content) -> Command<'static> {
    Command::Notice(Ok(Notice::Cancelled(content.id())))
}

pub(super) fn block_of(content: &Content, block: u32) -> Command<'_> {
    Command::Block {
        id: content.id(),
        block,
        bytes: content.block(block),
    }
}

pub(super) fn block_response(content: &Content, block: u32) -> Response {
    let mut response = Response::new(Code::CONTENT);
    response.payload = content.block(block).to_vec();
    response
}
