//! Several threads at one store.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;

/// A disk whose syncs wait for a word, so that others can queue up behind one.
struct SlowDisk {
    inner: SimDisk,
    begun: Sender<()>,
    word: Receiver<()>,
    panics: bool,
}

impl Disk for SlowDisk {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn lock(&mut self) -> io::Result<()> {
        self.inner.lock()
    }
    fn read(&mut self, area: Area) -> io::Result<Option<Vec<u8>>> {
        self.inner.read(area)
    }
    fn create(&mut self, area: Area) -> io::Result<()> {
        self.inner.create(area)
    }
    fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()> {
        self.inner.append(area, bytes)
    }
    fn truncate(&mut self, area: Area, length: u64) -> io::Result<()> {
        self.inner.truncate(area, length)
    }
    fn sync(&mut self, area: Area) -> io::Result<()> {
        if area == Area::Log {
            let _ = self.begun.send(());
            self.word.recv().map_err(io::Error::other)?;
            assert!(!self.panics, "as was asked");
        }
        self.inner.sync(area)
    }
    fn rename(&mut self, from: Area, to: Area) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn sync_directory(&mut self) -> io::Result<()> {
        self.inner.sync_directory()
    }
    fn birth(&mut self, area: Area) -> io::Result<Option<u64>> {
        self.inner.birth(area)
    }
}

fn slow(panics: bool) -> (SimDisk, Store, Receiver<()>, Sender<()>) {
    let inner = SimDisk::new(1);
    let (begun, has_begun) = channel();
    let (say, word) = channel();
    let disk = SlowDisk {
        inner: inner.clone(),
        begun,
        word,
        panics,
    };
    let options = Options::default().entropy(seeded(1));
    let store = Store::open(disk, key(), options).unwrap().store;
    (inner, store, has_begun, say)
}

/// Waits until so many batches stand behind the one at work.
fn queued(store: &Store, count: usize) {
    while store.waiting() < count {
        thread::yield_now();
    }
}

#[test]
fn appends_that_come_while_the_disk_works_share_the_next_sync() {
    let (mut disk, store, has_begun, say) = slow(false);
    let before = store.wear().unwrap().syncs;
    thread::scope(|scope| {
        let first = scope.spawn(|| store.append("first", b"1"));
        has_begun.recv().unwrap();
        let store = &store;
        let others: Vec<_> = (0..20_u8)
            .map(|number| scope.spawn(move || store.append("others", &[number])))
            .collect();
        queued(store, 20);
        assert!(!first.is_finished());
        say.send(()).unwrap();
        first.join().unwrap().unwrap();
        has_begun.recv().unwrap();
        say.send(()).unwrap();
        for other in others {
            other.join().unwrap().unwrap();
        }
    });
    assert_eq!(store.wear().unwrap().syncs - before, 2);
    disk.crash(1);
    let read = Contents::read(&disk.get(Area::Log), &key()).unwrap();
    let mut others = of(&read.records, "others").concat();
    others.sort_unstable();
    assert!(others.into_iter().eq(0..20));
}

#[test]
fn when_a_shared_sync_fails_all_who_shared_it_are_told() {
    let (disk, store, has_begun, say) = slow(false);
    thread::scope(|scope| {
        let first = scope.spawn(|| store.append("first", b"1"));
        has_begun.recv().unwrap();
        let store = &store;
        let others: Vec<_> = (0..5)
            .map(|_| scope.spawn(move || store.append("others", b"x")))
            .collect();
        queued(store, 5);
        say.send(()).unwrap();
        first.join().unwrap().unwrap();
        has_begun.recv().unwrap();
        disk.machine()
            .disk
            .fail_next(antiphon_netsim::Operation::Sync, 1);
        say.send(()).unwrap();
        for other in others {
            let told = other.join().unwrap();
            assert!(matches!(told, Err(StoreError::Io { .. })), "{told:?}");
        }
    });
}

#[test]
fn a_disk_that_panics_leaves_nobody_waiting() {
    let (_disk, store, has_begun, say) = slow(true);
    thread::scope(|scope| {
        let first = scope.spawn(|| store.append("first", b"1"));
        has_begun.recv().unwrap();
        let store = &store;
        let others: Vec<_> = (0..3)
            .map(|_| scope.spawn(move || store.append("others", b"x")))
            .collect();
        queued(store, 3);
        say.send(()).unwrap();
        assert!(first.join().is_err());
        for other in others {
            let told = other.join().unwrap();
            assert!(matches!(told, Err(StoreError::Closed { .. })), "{told:?}");
        }
    });
    assert!(matches!(
        store.append("a", b"b"),
        Err(StoreError::Closed { .. })
    ));
}

#[test]
fn many_threads_at_once_lose_nothing() {
    let disk = SimDisk::new(1);
    let options = Options::default().compact_at(2_000);
    let store = Store::open(disk.clone(), key(), options).unwrap().store;
    let start = Arc::new(Barrier::new(8));
    thread::scope(|scope| {
        for name in 0..8 {
            let (store, start) = (store.clone(), start.clone());
            scope.spawn(move || {
                start.wait();
                for number in 0..50_u8 {
                    store.append(&name.to_string(), &[number]).unwrap();
                }
            });
        }
    });
    let wear = store.wear().unwrap();
    assert!(wear.compactions > 0, "{wear:?}");
    let read = Contents::read(&disk.get(Area::Log), &key()).unwrap();
    for name in 0..8 {
        let records = of(&read.records, &name.to_string()).concat();
        assert!(records.into_iter().eq(0..50), "{name}");
    }
}
