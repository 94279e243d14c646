//! What a start makes of the records.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{InstallRefused, Installations, Installed, Paired, PeersKept, Record};
use crate::replay::{ReplayWindow, WindowSize};
use crate::sequence::{MAX_NUMBER, Sequence, SequenceSettings};

/// The state of a group or pair after a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The context installed last, with the own Sender ID of today; `None` when there is none, or it was left.
    pub context: Option<Established>,
    /// The members of the group by Sender ID, with their credentials.
    pub peers: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Why the varying part is lost; `None` when the context can be used.
    pub loss: Option<Loss>,
    /// A Recipient Context was deleted from this Security Context, or may have been lost with a crash.
    pub ever_deleted: bool,
    /// What must not be installed again.
    pub installations: Installations,
    /// Sequence numbers below this may have been used.
    upto: u64,
    varying: Varying,
}

/// The keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Established {
    /// A Security Context of a group.
    Group(Box<Installed>),
    /// A plain OSCORE context.
    Pair(Box<Paired>),
}

/// Why the varying part of a context is lost (draft section 2.6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A record cannot be read, so what was installed and used is not known. No later record repairs this list.
    Unreadable,
    /// A record that does not belong to the context before it.
    Mismatch,
    /// An installation that must not be, for this reason.
    Refused(InstallRefused),
    /// The endpoint itself wrote down that it lost it.
    Recorded,
}

/// What is known of the varying part beyond the reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Varying {
    /// Nothing was received since the installation.
    #[default]
    Untouched,
    /// Anything may have been received.
    Unknown,
    /// As a clean shutdown left it.
    Exact {
        next: u64,
        windows: BTreeMap<Vec<u8>, ReplayWindow>,
    },
}

impl Restored {
    /// Reads all records of one group or pair, in the order in which they were written.
    pub fn fold<B: AsRef<[u8]>>(records: impl IntoIterator<Item = B>) -> Self {
        let mut state = Self::default();
        for bytes in records {
            match Record::decode(bytes.as_ref()) {
                Ok(record) => state.apply(record),
                Err(_) => state.lose(Loss::Unreadable),
            }
        }
        state
    }

    /// Fewer records of the same meaning: what a store may put in the place of all of them.
    ///
    /// Records of which one cannot be read are returned as they are.
    pub fn condense(records: Vec<Zeroizing<Vec<u8>>>) -> Vec<Zeroizing<Vec<u8>>> {
        let state = Self::fold(&records);
        if state.loss == Some(Loss::Unreadable) {
            return records;
        }
        state.to_records().iter().map(Record::encode).collect()
    }

    /// The sequence numbers of the own Sender Context: exact after a clean shutdown, else from the reserved bound on.
    /// Gives none when the context is lost. `None` when nothing can be sent at all: no context, or a silent server.
    ///
    /// [`Record::Running`] must be durable before the first number is taken.
    pub fn sequence(&self, settings: SequenceSettings) -> Option<Sequence> {
        self.sender_id()?;
        if self.loss.is_some() {
            return Some(Sequence::lost());
        }
        Some(match self.varying {
            Varying::Exact { next, .. } => Sequence::exact(next, self.upto, settings),
            _ => Sequence::resume_at(self.upto, settings),
        })
    }

    /// The Replay Window for this member. Invalid when it is not known what was received: after a crash, when the context is
    /// lost, and for a member that is new since a Recipient Context was deleted.
    ///
    /// [`Record::Running`] must be durable before the first number is committed.
    pub fn window(&self, recipient_id: &[u8], size: WindowSize) -> ReplayWindow {
        let known = match &self.varying {
            _ if self.loss.is_some() || self.context.is_none() => {
                return ReplayWindow::invalid(size);
            }
            Varying::Unknown => return ReplayWindow::invalid(size),
            Varying::Untouched => None,
            Varying::Exact { windows, .. } => windows.get(recipient_id),
        };
        match known {
            Some(window) => window.resized(size),
            None if self.ever_deleted => ReplayWindow::invalid(size),
            None => ReplayWindow::valid(size),
        }
    }

    /// Whether it is known what was received: nothing yet, or as a clean shutdown wrote it down.
    pub fn knows_windows(&self) -> bool {
        self.loss.is_none() && self.varying != Varying::Unknown
    }

    /// Whether the last shutdown was clean and its record is still to be used: by writing [`Record::Running`] it is consumed.
    pub fn is_clean(&self) -> bool {
        matches!(self.varying, Varying::Exact { .. })
    }

    /// The own Sender ID; `None` without context and for a silent server.
    pub fn sender_id(&self) -> Option<&[u8]> {
        match self.context.as_ref()? {
            Established::Group(group) => group.own.as_ref().map(|own| own.sender_id.as_slice()),
            Established::Pair(pair) => Some(&pair.sender_id),
        }
    }

    /// Takes one more record into account.
    pub fn apply(&mut self, record: Record) {
        if self.loss == Some(Loss::Unreadable) {
            return;
        }
        let taken = match record {
            Record::Installed(installed) => self.install(installed),
            Record::Paired(pair) => self.pair(pair),
            Record::SenderId {
                gid,
                sender_id,
                upto,
            } => self.new_sender_id(&gid, sender_id, upto),
            Record::Reserved {
                gid,
                sender_id,
                upto,
            } => self.reserve(&gid, &sender_id, upto),
            Record::Running => self.run(),
            Record::Peer {
                gid,
                recipient_id,
                credential,
            } => self.add_peer(&gid, recipient_id, credential),
            Record::PeerDeleted { gid, recipient_id } => self.delete_peer(&gid, &recipient_id),
            Record::Clean {
                gid,
                sender_id,
                next,
                windows,
            } => self.stop(&gid, sender_id.as_deref(), next, windows),
            Record::Lost => Err(Loss::Recorded),
            Record::Left(installations) => self.leave(installations),
        };
        if let Err(loss) = taken {
            self.lose(loss);
        }
    }

    fn lose(&mut self, loss: Loss) {
        self.loss = Some(loss);
        self.varying = Varying::Unknown;
    }

    fn install(&mut self, mut new: Box<Installed>) -> Result<(), Loss> {
        let sender_id = new.own.as_ref().map(|own| own.sender_id.as_slice());
        self.installations
            .check(new.generation, &new.gid, sender_id)
            .map_err(Loss::Refused)?;
        let same_keys = match &self.context {
            None => false,
            Some(Established::Pair(_)) => return Err(Loss::Mismatch),
            Some(Established::Group(old)) => old.generation == new.generation,
        };
        if same_keys && !self.has_common_context(&new) {
            return Err(Loss::Refused(InstallRefused::Contradiction));
        }
        // Keys that were left: what was received with them went with them, and can be sent again.
        let comes_back = self.context.is_none() && self.installations.has_installed(&new.gid);
        self.installations.past.append(&mut new.past);
        self.installations.note(new.generation, &new.gid, sender_id);
        match core::mem::replace(&mut new.peers, PeersKept::Nobody) {
            PeersKept::Nobody => self.peers.clear(),
            PeersKept::AllBut(stale) => self
                .peers
                .retain(|recipient_id, _| !stale.contains(recipient_id)),
        }
        let deleted_before = core::mem::take(&mut new.ever_deleted);
        self.ever_deleted = deleted_before || comes_back || (same_keys && self.ever_deleted);
        // an endpoint that runs has windows in memory; the same keys under a new Sender ID open the same old requests
        let untouched = match self.varying {
            Varying::Untouched => !comes_back,
            Varying::Exact { .. } => !same_keys,
            Varying::Unknown => false,
        };
        self.varying = if untouched {
            Varying::Untouched
        } else {
            Varying::Unknown
        };
        self.upto = new.upto;
        self.loss = None;
        self.context = Some(Established::Group(new));
        Ok(())
    }

    fn has_common_context(&self, new: &Installed) -> bool {
        matches!(&self.context, Some(Established::Group(old))
            if old.master_secret == new.master_secret && old.master_salt == new.master_salt && old.suite == new.suite)
    }

    /// A pair is established once: its keys would start again at sequence number 0.
    fn pair(&mut self, new: Box<Paired>) -> Result<(), Loss> {
        let id_context = new.id_context.as_deref().unwrap_or_default();
        if self.context.is_some() || self.installations.latest.is_some() {
            return Err(Loss::Refused(InstallRefused::Contradiction));
        }
        self.installations.note(0, id_context, Some(&new.sender_id));
        self.upto = new.upto;
        self.context = Some(Established::Pair(new));
        Ok(())
    }

    fn new_sender_id(&mut self, gid: &[u8], sender_id: Vec<u8>, upto: u64) -> Result<(), Loss> {
        let Some(Established::Group(group)) = &mut self.context else {
            return Err(Loss::Mismatch);
        };
        let Some(own) = group.own.as_mut().filter(|_| group.gid == gid) else {
            return Err(Loss::Mismatch);
        };
        self.installations
            .check(group.generation, gid, Some(&sender_id))
            .map_err(Loss::Refused)?;
        self.installations
            .note(group.generation, gid, Some(&sender_id));
        own.sender_id = sender_id;
        self.upto = upto;
        self.loss = None;
        self.consume_clean();
        Ok(())
    }

    fn reserve(&mut self, gid: &[u8], sender_id: &[u8], upto: u64) -> Result<(), Loss> {
        if self.is_current(gid) && self.sender_id() == Some(sender_id) {
            if upto > MAX_NUMBER + 1 {
                return Err(Loss::Mismatch);
            }
            self.upto = self.upto.max(upto);
            self.consume_clean();
            return Ok(());
        }
        // for a Sender Context of the past, which was on its way while the new one was installed
        if self.context.is_some() && self.installations.had(gid, sender_id) {
            Ok(())
        } else {
            Err(Loss::Mismatch)
        }
    }

    fn run(&mut self) -> Result<(), Loss> {
        if self.context.is_none() {
            return Err(Loss::Mismatch);
        }
        // a start after a crash: members may have been heard whose records were not written any more
        self.ever_deleted |= self.varying == Varying::Unknown;
        self.varying = Varying::Unknown;
        Ok(())
    }

    fn add_peer(
        &mut self,
        gid: &[u8],
        recipient_id: Vec<u8>,
        credential: Vec<u8>,
    ) -> Result<(), Loss> {
        if self.is_of_current(gid)? {
            self.peers.insert(recipient_id, credential);
        }
        Ok(())
    }

    fn delete_peer(&mut self, gid: &[u8], recipient_id: &[u8]) -> Result<(), Loss> {
        if self.is_of_current(gid)? {
            self.peers.remove(recipient_id);
            self.ever_deleted = true;
            if let Varying::Exact { windows, .. } = &mut self.varying {
                windows.remove(recipient_id);
            }
        }
        Ok(())
    }

    fn stop(
        &mut self,
        gid: &[u8],
        sender_id: Option<&[u8]>,
        next: u64,
        windows: Vec<(Vec<u8>, ReplayWindow)>,
    ) -> Result<(), Loss> {
        // the next number may lie behind the bound when that one is skipped
        if !self.is_current(gid)
            || self.sender_id() != sender_id
            || next > self.upto.saturating_add(1)
        {
            return Err(Loss::Mismatch);
        }
        if self.loss.is_none() {
            // one by one: collecting would sort first, which takes 4 KiB of stack
            let mut known = BTreeMap::new();
            known.extend(windows);
            // Of whoever is not among the members the window goes with this record, and he may come back.
            self.ever_deleted |= matches!(self.context, Some(Established::Group(_)))
                && known.keys().any(|id| !self.peers.contains_key(id));
            self.varying = Varying::Exact {
                next,
                windows: known,
            };
        }
        Ok(())
    }

    fn leave(&mut self, installations: Installations) -> Result<(), Loss> {
        let remembered = core::mem::take(&mut self.installations);
        let installations = if remembered.latest.is_some() {
            remembered
        } else {
            installations
        };
        *self = Self {
            installations,
            ..Self::default()
        };
        Ok(())
    }

    /// Whether a member is one under the keys of today. Under the keys before nothing changes any more: the record was on its way while
    /// they were replaced. Of a silent server they are not remembered.
    fn is_of_current(&self, gid: &[u8]) -> Result<bool, Loss> {
        match &self.context {
            Some(Established::Group(group)) if group.gid == gid => Ok(true),
            Some(Established::Group(group))
                if group.own.is_none() || self.installations.had_any(gid) =>
            {
                Ok(false)
            }
            _ => Err(Loss::Mismatch),
        }
    }

    fn is_current(&self, gid: &[u8]) -> bool {
        self.context.is_some() && self.gid() == gid
    }

    /// The exact state of a clean shutdown counts only while nothing is used after it.
    fn consume_clean(&mut self) {
        if self.is_clean() {
            self.varying = Varying::Unknown;
        }
    }

    fn to_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        match &self.context {
            None if self.installations.latest.is_some() => {
                records.push(Record::Left(self.installations.clone()))
            }
            None => {}
            Some(Established::Pair(pair)) => {
                let pair = Paired {
                    upto: self.upto,
                    ..Paired::clone(pair)
                };
                records.push(Record::Paired(Box::new(pair)));
            }
            Some(Established::Group(group)) => self.group_records(group, &mut records),
        }
        let gid: Vec<u8> = self.gid().into();
        match &self.varying {
            _ if self.loss.is_some() => records.push(Record::Lost),
            Varying::Untouched => {}
            Varying::Unknown => records.push(Record::Running),
            Varying::Exact { next, windows } => records.push(Record::Clean {
                gid,
                sender_id: self.sender_id().map(Into::into),
                next: *next,
                windows: windows.clone().into_iter().collect(),
            }),
        }
        records
    }

    fn group_records(&self, group: &Installed, records: &mut Vec<Record>) {
        let current = self.sender_id();
        let past = self.installations.past.iter();
        let past = past
            .filter(|past| past.gid != group.gid || Some(past.sender_id.as_slice()) != current)
            .cloned();
        records.push(Record::Installed(Box::new(Installed {
            upto: self.upto,
            past: past.collect(),
            ever_deleted: self.ever_deleted,
            ..Installed::clone(group)
        })));
        for (recipient_id, credential) in &self.peers {
            let (gid, recipient_id, credential) =
                (group.gid.clone(), recipient_id.clone(), credential.clone());
            records.push(Record::Peer {
                gid,
                recipient_id,
                credential,
            });
        }
    }

    /// The Gid, or the ID Context of a pair.
    fn gid(&self) -> &[u8] {
        match &self.context {
            Some(Established::Group(group)) => &group.gid,
            Some(Established::Pair(pair)) => pair.id_context.as_deref().unwrap_or_default(),
            None => &[],
        }
    }
}
