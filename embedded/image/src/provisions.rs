//! What the board is given before it starts, and what it keeps.

use alloc::boxed::Box;

use antiphon_embedded_line::{Failure, Report, SEED_LEN};
use antiphon_oscore::credential::Credential;
use antiphon_oscore::crypto::SoftwareKey;
use antiphon_oscore::record::{Established, Installed, OwnMember, Record, Restored};
use antiphon_oscore::replay::{ReplayWindow, WindowSize};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::{Gid, Group, Kid, Own, Parameters, Settings};

use crate::report;

/// What arrives before the start: the records of a store, one after the other, and randomness.
#[derive(Default)]
pub(crate) struct Provisions {
    state: Restored,
    seed: [u8; SEED_LEN],
}

/// A member that can start.
pub struct Provisioned {
    /// Its security group.
    pub group: Box<Group>,
    /// The key that it signs with.
    pub key: SoftwareKey,
    /// Randomness, new at every start.
    pub seed: [u8; SEED_LEN],
}

impl Provisions {
    pub(crate) fn seed(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.seed = body.try_into().map_err(|_| Failure::Command)?;
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn record(&mut self, body: &[u8]) -> Result<(), Failure> {
        let record = Record::decode(body).map_err(|_| Failure::Records)?;
        self.state.apply(record);
        Ok(())
    }

    /// The state as it was when the power went, with sequence numbers that are certainly unused. Each step is a function of
    /// its own that is not inlined: what one needs of the stack must not add to what another one needs.
    #[inline(never)]
    pub(crate) fn restore(self) -> Result<Box<Provisioned>, Failure> {
        let Some(Established::Group(it)) = &self.state.context else {
            return Err(Failure::Records);
        };
        let own = it.own.as_ref().ok_or(Failure::Records)?;
        let mut group = self.group(it, own)?;
        for (id, credential) in &self.state.peers {
            let window = self.state.window(id, WindowSize::default());
            add_peer(&mut group, it, id, credential, window)?;
        }
        provisioned(group, own, self.seed)
    }

    #[inline(never)]
    fn group(&self, it: &Installed, own: &OwnMember) -> Result<Box<Group>, Failure> {
        let me = Own {
            sender_id: Kid::new(&own.sender_id).ok_or(Failure::Records)?,
            credential: import(it, &own.credential)?,
            sequence: self.sequence(it, &own.sender_id)?,
        };
        let group = Group::new(&it.name, parameters(it)?, Some(me), settings(), None);
        group.map(Box::new).map_err(|_| Failure::Group)
    }

    /// The first block of sequence numbers, reserved before anything is sent.
    fn sequence(&self, group: &Installed, sender_id: &[u8]) -> Result<Sequence, Failure> {
        let sequence = self.state.sequence(settings().sequence);
        let mut sequence = sequence.ok_or(Failure::Records)?;
        save(&Record::Running);
        if let Some(upto) = sequence.wants() {
            save(&Record::Reserved {
                gid: group.gid.clone(),
                sender_id: sender_id.into(),
                upto,
            });
            sequence.reserved(upto);
        }
        Ok(sequence)
    }
}

#[inline(never)]
fn add_peer(
    group: &mut Group,
    it: &Installed,
    id: &[u8],
    credential: &[u8],
    window: ReplayWindow,
) -> Result<(), Failure> {
    let kid = Kid::new(id).ok_or(Failure::Records)?;
    let added = group.restore_peer(kid, import(it, credential)?, window);
    added.map_err(|_| Failure::Group)
}

#[inline(never)]
fn provisioned(
    group: Box<Group>,
    own: &OwnMember,
    seed: [u8; SEED_LEN],
) -> Result<Box<Provisioned>, Failure> {
    let key = own.key.as_ref().ok_or(Failure::Key)?.as_bytes();
    let key = SoftwareKey::from_ed25519_seed(key.try_into().map_err(|_| Failure::Key)?);
    Ok(Box::new(Provisioned { group, key, seed }))
}

/// Limits of a small device.
fn settings() -> Settings {
    Settings {
        recipients: 8,
        provisional: 1,
        ciphers: 2,
        servers: 1,
        sequence: SequenceSettings {
            block: 64,
            ..SequenceSettings::default()
        },
        ..Settings::default()
    }
}

#[inline(never)]
fn import(group: &Installed, credential: &[u8]) -> Result<Credential, Failure> {
    Credential::import(group.format, credential).map_err(|_| Failure::Key)
}

fn parameters(group: &Installed) -> Result<Parameters, Failure> {
    Ok(Parameters {
        gid: Gid::new(&group.gid).ok_or(Failure::Records)?,
        generation: group.generation,
        master_secret: group.master_secret.clone(),
        master_salt: Secret::copy_of(&group.master_salt),
        suite: group.suite,
        format: group.format,
        gm_credential: group.group_manager(),
    })
}

/// Stands for writing to flash: the host keeps the record, and gives it back at the next start.
#[inline(never)]
pub fn save(record: &Record) {
    report(Report::Record, &record.encode(), &[]);
}
