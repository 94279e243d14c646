//! A device on a disk whose power fails at every operation: of what was not synced, the seed decides what is there.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use antiphon_netsim::{self as netsim, DiskError};
use antiphon_proto::distribution::{
    ActivationError, Announcement, Command, Device, DeviceConfig, DeviceState, DeviceStatus, Heard,
    Installation, Notice, Refusal,
};
use antiphon_proto::{Instant, Sender};
use antiphon_wire::Code;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::BuildError;
use crate::distribution::ImageDevice;

/// A machine with one disk.
struct Machine {
    disk: netsim::Disk,
    /// So many operations until the power goes.
    until_cut: Option<u64>,
    operations: u64,
}

#[derive(Clone)]
struct SimFolder(Arc<Mutex<Machine>>);

impl SimFolder {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Machine {
            disk: netsim::Disk::new(seed),
            until_cut: None,
            operations: 0,
        })))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap()
    }

    fn operate<T>(
        &self,
        operation: impl FnOnce(&mut netsim::Disk) -> Result<T, DiskError>,
    ) -> io::Result<T> {
        let mut machine = self.machine();
        match &mut machine.until_cut {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        machine.operations += 1;
        operation(&mut machine.disk).map_err(|error| match error {
            DiskError::Full => io::Error::new(io::ErrorKind::StorageFull, error),
            DiskError::NotFound => io::Error::new(io::ErrorKind::NotFound, error),
            other => io::Error::other(other),
        })
    }
}

impl Folder for SimFolder {
    fn name(&self) -> String {
        "simulated".to_owned()
    }

    fn read(&mut self, part: Part) -> io::Result<Option<Vec<u8>>> {
        self.operate(|disk| match disk.read(part.name()) {
            Err(DiskError::NotFound) => Ok(None),
            other => other.map(Some),
        })
    }

    fn read_at(&mut self, part: Part, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = self.operate(|disk| disk.read(part.name()))?;
        let found = bytes.get(start..start + into.len());
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn create(&mut self, part: Part) -> io::Result<()> {
        self.operate(|disk| {
            if disk.exists(part.name()) {
                disk.remove(part.name())?;
            }
            disk.create(part.name())
        })
    }

    fn write_at(&mut self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        self.operate(|disk| disk.write(part.name(), start, bytes))
    }

    fn sync(&mut self, part: Part) -> io::Result<()> {
        self.operate(|disk| disk.sync(part.name()))
    }

    fn rename(&mut self, from: Part, to: Part) -> io::Result<()> {
        self.operate(|disk| disk.rename(from.name(), to.name()))
    }

    fn remove(&mut self, part: Part) -> io::Result<()> {
        self.operate(|disk| match disk.remove(part.name()) {
            Err(DiskError::NotFound) => Ok(()),
            other => other,
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.operate(netsim::Disk::sync_directory)
    }
}

/// What is in use; it takes an image in two steps, between which the power may fail.
#[derive(Clone, Default)]
struct InUse(Arc<Mutex<Vec<Vec<u8>>>>);

impl Installation for InUse {
    fn accept(&mut self, _: &Announcement, _: &Sender) -> Result<(), Refusal> {
        Ok(())
    }

    fn activate(
        &mut self,
        _: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError> {
        let mut bytes = vec![0; image.size() as usize];
        let read = image.read_at(0, &mut bytes);
        read.map_err(|error| ActivationError::new(&error.to_string()))?;
        self.0.lock().unwrap().push(bytes);
        Ok(())
    }
}

struct Content {
    announcement: Announcement,
    bytes: Vec<u8>,
    image: Vec<u8>,
}

impl Content {
    fn new(size: u32, salt: u8) -> Self {
        let image: Vec<u8> = (0..size)
            .map(|n| (n.wrapping_mul(31) >> 3) as u8 ^ salt)
            .collect();
        let list: Vec<u8> = image
            .chunks(4 * 64)
            .flat_map(|span| Sha256::digest(span).to_vec())
            .collect();
        let announcement = Announcement::new(size, 64, Sha256::digest(&image).into())
            .and_then(|it| it.with_list(4, Sha256::digest(&list).into()))
            .unwrap();
        let bytes = [&list[..], &image].concat();
        Self {
            announcement,
            bytes,
            image,
        }
    }

    fn block(&self, block: u32) -> &[u8] {
        let start = self.announcement.block_offset(block).unwrap() as usize;
        &self.bytes[start..start + self.announcement.block_length(block).unwrap()]
    }
}

/// A run of the program on a machine.
struct Run {
    device: Device,
    storage: FileStorage,
    in_use: InUse,
    now: Instant,
}

impl Run {
    fn new(folder: &SimFolder, in_use: &InUse) -> Self {
        let config = DeviceConfig {
            proven_only: false,
            note_blocks: 5,
            ..DeviceConfig::default()
        };
        let mut run = Self {
            device: Device::new(config, [3; 32]).unwrap(),
            storage: FileStorage::over(folder.clone()),
            in_use: in_use.clone(),
            now: Instant::from_millis(5_000),
        };
        run.work();
        run
    }

    fn work(&mut self) {
        while let Some((work, task)) = self.device.poll_work() {
            let result = task.perform(&mut self.storage, &mut self.in_use);
            self.device.work_done(self.now, work, result);
        }
    }

    fn hear(&mut self, command: &Command<'_>) {
        let heard = Heard {
            peer: "192.0.2.1:5683".parse().unwrap(),
            interface: 1,
            group: true,
            sender: &Sender::Unauthenticated,
        };
        assert_eq!(self.device.handle(self.now, &heard, command), None);
        self.work();
    }

    /// The whole image, out of order, and then again what got lost.
    fn receive(&mut self, content: &Content) {
        let announced = Notice::Announced(content.announcement.clone());
        self.now = self.now + Duration::from_secs(2);
        self.hear(&Command::Notice(Ok(announced)));
        let blocks = content.announcement.blocks();
        for number in 0..blocks {
            let block = (number * 7) % blocks;
            let bytes = content.block(block);
            let id = content.announcement.id();
            self.hear(&Command::Block { id, block, bytes });
        }
    }

    fn status(&self) -> DeviceStatus {
        self.device.status()
    }
}

/// Every block that the device believes to have is on the disk.
fn check_noted(run: &mut Run, content: &Content) {
    let status = run.status();
    let Some(missing) = status.missing else {
        return;
    };
    assert_eq!(missing.granularity(), 1);
    for block in 0..status.total {
        if missing.contains(block) {
            continue;
        }
        let mut bytes = vec![0; content.block(block).len()];
        let offset = content.announcement.block_offset(block).unwrap();
        run.storage.read(offset, &mut bytes).unwrap();
        assert_eq!(bytes, content.block(block), "block {block} was noted");
    }
}

fn check_in_use(in_use: &InUse, contents: &[&Content]) {
    for image in in_use.0.lock().unwrap().iter() {
        let known = contents.iter().any(|content| content.image == *image);
        assert!(known, "only what was verified is activated");
    }
}

#[test]
fn whenever_the_power_fails_the_image_is_received_whole_and_exactly() {
    // 29 is prime to 7; 2 blocks of digests and 14, 12 of the image: the older image is there already
    let (old, new) = (Content::new(64 * 6 + 1, 1), Content::new(64 * 13 + 5, 2));
    assert!(new.announcement.blocks() % 7 != 0 && old.announcement.blocks() % 7 != 0);
    let activated = DeviceState::Activated;
    let full = {
        let (folder, in_use) = (SimFolder::new(1), InUse::default());
        let mut run = Run::new(&folder, &in_use);
        run.receive(&old);
        assert_eq!(run.status().state, activated);
        let before = folder.machine().operations;
        run.receive(&new);
        assert_eq!(run.status().state, activated);
        before..folder.machine().operations
    };
    assert!(full.end - full.start > 50);
    for cut in full.clone() {
        for seed in 0..8 {
            let (mut folder, in_use) = (SimFolder::new(seed), InUse::default());
            let mut run = Run::new(&folder, &in_use);
            run.receive(&old);
            folder.machine().until_cut = Some(cut - full.start);
            run.receive(&new);
            folder = cut_power(&folder, seed);
            let mut run = Run::new(&folder, &in_use);
            let status = run.status();
            match status.id {
                Some(id) if id == new.announcement.id() => check_noted(&mut run, &new),
                Some(id) => {
                    assert_eq!(id, old.announcement.id());
                    assert_eq!(status.state, activated, "the old one, whole");
                }
                None => assert_eq!(status.state, DeviceState::Idle),
            }
            check_in_use(&in_use, &[&old, &new]);
            run.receive(&new);
            let known = (run.status().state, run.status().code);
            assert_eq!(known, (activated, Some(Code::CHANGED)), "{cut} {seed}");
            let last = in_use.0.lock().unwrap().last().cloned();
            assert_eq!(last.as_ref(), Some(&new.image));
            check_in_use(&in_use, &[&old, &new]);
            drop(run);
            let run = Run::new(&folder, &in_use);
            assert_eq!(run.status().state, activated, "and it stays");
        }
    }
}

/// The power goes and comes back.
fn cut_power(folder: &SimFolder, seed: u64) -> SimFolder {
    let mut machine = folder.machine();
    machine.disk.crash(seed);
    machine.until_cut = None;
    drop(machine);
    folder.clone()
}

#[test]
fn a_second_power_cut_right_after_the_first_does_no_harm() {
    let content = Content::new(64 * 13 + 5, 2);
    for first in (0..120).step_by(7) {
        for second in 0..25 {
            let seed = first * 100 + second;
            let (folder, in_use) = (SimFolder::new(seed), InUse::default());
            for until_cut in [first, second] {
                let mut run = Run::new(&folder, &in_use);
                folder.machine().until_cut = Some(until_cut);
                run.receive(&content);
                cut_power(&folder, seed);
            }
            let mut run = Run::new(&folder, &in_use);
            check_noted(&mut run, &content);
            run.receive(&content);
            assert_eq!(
                run.status().state,
                DeviceState::Activated,
                "{first} {second}"
            );
            check_in_use(&in_use, &[&content]);
        }
    }
}

#[test]
fn a_disk_that_is_full_is_noticed_before_anything_is_received() {
    let content = Content::new(10_000, 3);
    let (folder, in_use) = (SimFolder::new(1), InUse::default());
    folder.machine().disk.set_capacity(9_999);
    let mut run = Run::new(&folder, &in_use);
    run.receive(&content);
    let full = Some(Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(
        (run.status().state, run.status().code),
        (DeviceState::Failed, full)
    );
    assert_eq!(
        folder.machine().disk.len("content"),
        Err(DiskError::NotFound),
        "room for others"
    );
    let mut run = Run::new(&folder, &in_use);
    assert_eq!(run.status().code, full, "also after a restart");
    folder.machine().disk.set_capacity(usize::MAX);
    run.now = run.now + Duration::from_secs(3600);
    run.receive(&content);
    assert_eq!(run.status().state, DeviceState::Activated);
}

#[test]
fn a_sync_that_fails_is_never_taken_for_done() {
    let content = Content::new(64 * 13 + 5, 2);
    for failing in 0..12 {
        let (folder, in_use) = (SimFolder::new(failing), InUse::default());
        let mut run = Run::new(&folder, &in_use);
        let blocks = content.announcement.blocks();
        run.hear(&Command::Notice(Ok(Notice::Announced(
            content.announcement.clone(),
        ))));
        for block in 0..blocks {
            if u64::from(block) == failing {
                folder.machine().disk.fail_next(netsim::Operation::Sync, 1);
            }
            let (id, bytes) = (content.announcement.id(), content.block(block));
            run.hear(&Command::Block { id, block, bytes });
        }
        let failed = run.status().state == DeviceState::Failed;
        assert!(
            failed,
            "{failing}: what is not durable is not said to be there"
        );
        cut_power(&folder, failing);
        let run = Run::new(&folder, &in_use);
        assert_ne!(run.status().state, DeviceState::Activated);
        assert!(in_use.0.lock().unwrap().is_empty());
    }
}

/// A folder of its own, removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("antiphon-storage-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_of_files_behaves_as_the_simulated_one() {
    let temporary = Temporary::new();
    let content = Content::new(100_000, 4);
    let in_use = InUse::default();
    let open = || FileStorage::open(temporary.0.join("images")).unwrap();
    let run = |storage| {
        let mut run = Run::new(&SimFolder::new(0), &in_use);
        run.device = Device::new(
            DeviceConfig {
                proven_only: false,
                ..DeviceConfig::default()
            },
            [4; 32],
        )
        .unwrap();
        run.storage = storage;
        run.work();
        run
    };
    let mut first = run(open());
    let busy = FileStorage::open(temporary.0.join("images"));
    assert_eq!(
        busy.unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "one device alone"
    );
    let announced = Notice::Announced(content.announcement.clone());
    first.hear(&Command::Notice(Ok(announced)));
    for block in 0..1_000 {
        let (id, bytes) = (content.announcement.id(), content.block(block));
        first.hear(&Command::Block { id, block, bytes });
    }
    drop(first);
    let mut second = run(open());
    assert_eq!(second.status().have, 1_000 / 64 * 64, "as it was noted");
    second.receive(&content);
    assert_eq!(second.status().state, DeviceState::Activated);
    assert_eq!(in_use.0.lock().unwrap().last(), Some(&content.image));
    let names: BTreeMap<_, _> = fs::read_dir(temporary.0.join("images"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().len(),
            )
        })
        .collect();
    let expected = ["content", "lock", "record"];
    assert!(names.keys().eq(expected), "{names:?}");
    assert_eq!(names["content"], content.bytes.len() as u64);
    second.storage.discard().unwrap();
    second.storage.discard().unwrap();
    assert_eq!(second.storage.kept(), Ok(None));
    assert_eq!(second.storage.read(0, &mut [0]), Err(StorageError::Failed));
    assert_eq!(second.storage.write(0, &[0]), Err(StorageError::Failed));
}

#[test]
fn a_device_with_values_outside_of_their_limits_is_not_opened() {
    let open = |config| {
        let storage = FileStorage::over(SimFolder::new(1));
        let device = ImageDevice::new("/fw", storage, InUse::default());
        device.config(config).open().err()
    };
    assert!(open(DeviceConfig::default()).is_none());
    let wrong = open(DeviceConfig {
        waiting: 0,
        ..DeviceConfig::default()
    });
    let text = wrong.as_ref().map(ToString::to_string);
    assert!(matches!(wrong, Some(BuildError::Parameter(it)) if it.parameter == "waiting"));
    assert_eq!(text.as_deref(), Some("waiting is outside of its limits"));
}

#[test]
fn the_largest_record_is_read_whole_and_nothing_larger() {
    let temporary = Temporary::new();
    let folder = temporary.0.join("images");
    let mut storage = FileStorage::open(&folder).unwrap();
    let record = fs::File::create(folder.join("record")).unwrap();
    // a bit for each of 3 * 2^28 blocks, and 1,044 bytes
    let largest = (3 << 25) + 1_044;
    assert_eq!(Device::MAX_RECORD, largest);
    for (length, read) in [(largest, largest), (largest + 1, largest)] {
        record.set_len(length).unwrap();
        let kept = storage.kept().unwrap().unwrap();
        assert_eq!(kept.len() as u64, read);
    }
}

#[test]
fn an_image_is_copied_to_a_file_of_its_own() {
    struct Bytes(Vec<u8>);
    impl ReadAt for Bytes {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
            let start = offset as usize;
            let found = self.0.get(start..start + into.len());
            into.copy_from_slice(found.ok_or(StorageError::Failed)?);
            Ok(())
        }
    }
    let temporary = Temporary::new();
    fs::create_dir_all(&temporary.0).unwrap();
    let to = temporary.0.join("image");
    for size in [1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let image: Vec<u8> = (0..size).map(|n| (n / 3) as u8).collect();
        copy_image(&mut Bytes(image.clone()), &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), image);
        assert_eq!(
            fs::read_dir(&temporary.0).unwrap().count(),
            1,
            "nothing beside it"
        );
    }
    let nowhere = temporary.0.join("no/such/folder");
    assert!(copy_image(&mut Bytes(vec![1]), &nowhere).is_err());
}
