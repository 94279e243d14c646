//! The simulator's disk as the medium of a store.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_netsim as netsim;
use netsim::DiskError;

use crate::store::{Area, Disk};

/// What stays when the program ends: the disk, and when its power goes. Clones are the same machine.
#[derive(Clone)]
pub(crate) struct SimDisk {
    machine: Arc<Mutex<Machine>>,
    /// Of which run of the program this is; what an earlier run left open can do nothing any more.
    run: u64,
    /// A medium that cannot cut back, as flash.
    pub(crate) flash: bool,
}

#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) disk: netsim::Disk,
    /// So many operations until the power goes.
    pub(crate) until_crash: Option<u64>,
    pub(crate) operations: u64,
    run: u64,
    owned: bool,
    made: u64,
    /// Whether the medium knows when files were made. Not when its power goes, here: names come and go with it.
    pub(crate) knows_births: bool,
    births: BTreeMap<&'static str, u64>,
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> SimDisk {
        SimDisk {
            machine: Arc::new(Mutex::new(Machine {
                disk: netsim::Disk::new(seed),
                until_crash: None,
                operations: 0,
                run: 0,
                owned: false,
                made: 0,
                knows_births: false,
                births: BTreeMap::new(),
            })),
            run: 0,
            flash: false,
        }
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another machine in the same state.
    pub(crate) fn fork(&self) -> SimDisk {
        let machine = self.machine().clone();
        SimDisk {
            machine: Arc::new(Mutex::new(machine)),
            ..*self
        }
    }

    /// The power goes, and comes back: of what was not synced, the seed decides what is there.
    pub(crate) fn crash(&mut self, seed: u64) {
        self.machine().disk.crash(seed);
        self.restart();
    }

    /// The process ends, the machine stays.
    pub(crate) fn restart(&mut self) {
        let mut machine = self.machine();
        machine.run += 1;
        machine.owned = false;
        machine.until_crash = None;
        let run = machine.run;
        drop(machine);
        self.run = run;
    }

    /// Changes a file behind the back of the store; durably.
    pub(crate) fn put(&self, area: Area, bytes: &[u8]) {
        let mut machine = self.machine();
        let name = name(area);
        if machine.disk.exists(name) {
            machine.disk.truncate(name, 0).unwrap();
        } else {
            machine.disk.create(name).unwrap();
        }
        machine.disk.write(name, 0, bytes).unwrap();
        machine.disk.sync(name).unwrap();
        machine.disk.sync_directory().unwrap();
    }

    pub(crate) fn get(&self, area: Area) -> Vec<u8> {
        self.machine().disk.read(name(area)).unwrap()
    }

    pub(crate) fn remove(&self, area: Area) {
        let mut machine = self.machine();
        machine.disk.remove(name(area)).unwrap();
        machine.disk.sync_directory().unwrap();
    }

    /// The file counts as made just now, as a copy would.
    pub(crate) fn made_anew(&self, area: Area) {
        let mut machine = self.machine();
        machine.made += 1;
        let made = machine.made;
        machine.births.insert(name(area), made);
    }

    fn operate<T>(
        &mut self,
        operation: impl FnOnce(&mut Machine) -> Result<T, DiskError>,
    ) -> io::Result<T> {
        let mut machine = self.machine();
        if machine.run != self.run {
            return Err(io::Error::other("the process has ended"));
        }
        machine.operations += 1;
        match &mut machine.until_crash {
            Some(0) => return Err(io::Error::other("the power has gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        operation(&mut machine).map_err(|error| match error {
            DiskError::Full => io::Error::new(io::ErrorKind::StorageFull, error),
            DiskError::NotFound => io::Error::new(io::ErrorKind::NotFound, error),
            other => io::Error::other(other),
        })
    }
}

fn name(area: Area) -> &'static str {
    match area {
        Area::Log => "state",
        Area::NextLog => "state.new",
        Area::Witness => "state.witness",
        Area::NextWitness => "state.witness.new",
    }
}

impl Disk for SimDisk {
    fn name(&self) -> String {
        "state".to_owned()
    }

    fn lock(&mut self) -> io::Result<()> {
        let mut machine = self.machine();
        if machine.owned {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "7"));
        }
        machine.owned = true;
        Ok(())
    }

    fn lock_to_look(&mut self) -> io::Result<()> {
        match self.machine().owned {
            true => Err(io::Error::new(io::ErrorKind::WouldBlock, "7")),
            false => Ok(()),
        }
    }

    fn read(&mut self, area: Area) -> io::Result<Option<Vec<u8>>> {
        self.operate(|machine| match machine.disk.read(name(area)) {
            Err(DiskError::NotFound) => Ok(None),
            other => other.map(Some),
        })
    }

    fn create(&mut self, area: Area) -> io::Result<()> {
        self.operate(|machine| {
            let name = name(area);
            if machine.disk.exists(name) {
                machine.disk.remove(name)?;
            }
            machine.disk.create(name)?;
            machine.made += 1;
            let made = machine.made;
            machine.births.insert(name, made);
            Ok(())
        })
    }

    fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()> {
        self.operate(|machine| machine.disk.append(name(area), bytes))
    }

    fn truncate(&mut self, area: Area, length: u64) -> io::Result<()> {
        if self.flash {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.operate(|machine| machine.disk.truncate(name(area), length as usize))
    }

    fn sync(&mut self, area: Area) -> io::Result<()> {
        self.operate(|machine| machine.disk.sync(name(area)))
    }

    fn rename(&mut self, from: Area, to: Area) -> io::Result<()> {
        self.operate(|machine| {
            machine.disk.rename(name(from), name(to))?;
            if let Some(birth) = machine.births.remove(name(from)) {
                machine.births.insert(name(to), birth);
            }
            Ok(())
        })
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.operate(|machine| machine.disk.sync_directory())
    }

    fn birth(&mut self, area: Area) -> io::Result<Option<u64>> {
        let machine = self.machine();
        Ok(machine
            .births
            .get(name(area))
            .copied()
            .filter(|_| machine.knows_births))
    }
}
