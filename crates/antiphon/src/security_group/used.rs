//! Which keys have been used: keys are the same under whatever name they come, so what one list of a store has used never
//! begins in another.

use antiphon_oscore::record::{Loss, Record, Restored};
use antiphon_oscore::secret::Secret;

use super::SecurityError;
use super::state::is_ours;
use crate::store::{Continuity, Opened, Records, Store};

/// The list that says that a store was once opened although it was not the last one.
const BROKEN: &str = "broken";

/// What the records of one list have used.
#[derive(Default)]
struct Used {
    /// Master Secrets by Gid or ID Context, as far as they are still there.
    secrets: Vec<(Vec<u8>, Secret)>,
    /// Gid or ID Context, and own Sender ID.
    senders: Vec<(Vec<u8>, Vec<u8>)>,
    /// The Gid of a group that was left: of a silent server nothing else is there.
    left: Vec<Vec<u8>>,
    /// A record cannot be read.
    unreadable: bool,
}

impl Used {
    fn of(records: &[impl AsRef<[u8]>]) -> Self {
        let mut used = Self::default();
        for bytes in records {
            match Record::decode(bytes.as_ref()) {
                Ok(record) => used.note(&record),
                Err(_) => used.unreadable = true,
            }
        }
        used
    }

    fn note(&mut self, record: &Record) {
        let past = match record {
            Record::Installed(keys) => {
                self.secrets
                    .push((keys.gid.clone(), keys.master_secret.clone()));
                if let Some(own) = &keys.own {
                    self.sender(&keys.gid, &own.sender_id);
                }
                &keys.past
            }
            Record::Paired(keys) => {
                let gid = keys.id_context.clone().unwrap_or_default();
                self.secrets.push((gid.clone(), keys.master_secret.clone()));
                return self.sender(&gid, &keys.sender_id);
            }
            Record::SenderId { gid, sender_id, .. } | Record::Reserved { gid, sender_id, .. } => {
                return self.sender(gid, sender_id);
            }
            Record::Left(installations) => {
                let latest = installations.latest.as_ref();
                self.left.extend(latest.map(|(_, gid)| gid.clone()));
                &installations.past
            }
            _ => return,
        };
        for past in past {
            self.sender(&past.gid, &past.sender_id);
        }
    }

    fn sender(&mut self, gid: &[u8], sender_id: &[u8]) {
        self.senders.push((gid.to_vec(), sender_id.to_vec()));
    }

    fn secrets_of<'a>(&'a self, gid: &'a [u8]) -> impl Iterator<Item = &'a Secret> {
        let of = self.secrets.iter().filter(move |(of, _)| of == gid);
        of.map(|(_, secret)| secret)
    }

    /// Whether these keys were used. Where the Master Secret is gone, as of a group that was left, it may have been any.
    /// The Master Salt and the algorithms are not looked at: who changes only these must not be right by a hair.
    fn has(&self, gid: &[u8], sender_id: &[u8], secrets: &[&Secret]) -> bool {
        let is_it = |(of, id): &(Vec<u8>, Vec<u8>)| of == gid && id == sender_id;
        self.senders.iter().any(is_it) && self.may_have(gid, secrets)
    }

    /// Whether these keys were used under any Sender ID or none.
    fn has_any(&self, gid: &[u8], secrets: &[&Secret]) -> bool {
        let mut senders = self.senders.iter().map(|(of, _)| of);
        let mut secret = self.secrets.iter().map(|(of, _)| of);
        let known = senders.any(|of| of == gid) || secret.any(|of| of == gid);
        (known || self.left.iter().any(|of| of == gid)) && self.may_have(gid, secrets)
    }

    fn may_have(&self, gid: &[u8], secrets: &[&Secret]) -> bool {
        let mut known = self.secrets_of(gid).peekable();
        // Secrets are compared in constant time.
        known.peek().is_none() || known.any(|one| secrets.contains(&one))
    }
}

/// Whether something was received before with keys that begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// As far as the store knows nothing.
    Nothing,
    /// Under another name: what, is not known here.
    Perhaps,
}

/// Refuses records with which sequence numbers would begin that another list of the store has used, and says whether one has used
/// the keys in another way.
pub(super) fn refuse_again(
    store: &Store,
    list: &str,
    new: &[Record],
) -> Result<Heard, SecurityError> {
    let begins = |record: &Record| {
        matches!(
            record,
            Record::Installed(_) | Record::Paired(_) | Record::SenderId { .. }
        )
    };
    if !new.iter().any(begins) {
        return Ok(Heard::Nothing);
    }
    let records = store.records()?;
    let mut own = Used::of(records.get(list).map_or(&[][..], Vec::as_slice));
    own.senders.clear(); // those of the list itself were looked at before
    let new_ones = || new.iter().filter(|record| begins(record));
    new_ones().for_each(|record| own.note(record));
    let mut heard = Heard::Nothing;
    let others = records.iter().filter(|(name, _)| *name != list);
    for (name, records) in others.filter(|(name, _)| is_ours(name)) {
        let used = Used::of(records);
        if used.unreadable {
            return Err(SecurityError::Lost {
                name: plain(name),
                why: Some(Loss::Unreadable),
            });
        }
        for (gid, sender_id) in &own.senders {
            let secrets: Vec<&Secret> = own.secrets_of(gid).collect();
            if used.has(gid, sender_id, &secrets) {
                return Err(SecurityError::UsedElsewhere {
                    name: plain(list),
                    other: plain(name),
                });
            }
        }
        for record in new_ones() {
            let installed = Used::of(&[record.encode()]);
            if installed
                .secrets
                .iter()
                .any(|(gid, secret)| used.has_any(gid, &[secret]))
            {
                heard = Heard::Perhaps;
            }
        }
    }
    Ok(heard)
}

/// The name without its kind.
fn plain(list: &str) -> String {
    let name = list.split_once('/').map_or(list, |(_, name)| name);
    name.to_owned()
}

/// Whether it is known what was used in a store. It is not in one that is older than, or a copy of, what was last in use;
/// and it will not be when it is opened again, so that is written down.
fn is_known(state: &mut Opened) -> Result<bool, SecurityError> {
    if state.records.contains_key(BROKEN) {
        return Ok(false);
    }
    if !matches!(state.continuity, Continuity::Broken(_)) {
        return Ok(true);
    }
    let lost = Record::Lost.encode();
    let mut batch = crate::store::Batch::new().add(BROKEN, &lost)?;
    for name in ours(&state.records) {
        batch = batch.add(name, &lost)?;
    }
    state.store.commit(batch)?;
    state.records.insert(BROKEN.to_owned(), vec![lost]);
    Ok(false)
}

fn ours(records: &Records) -> impl Iterator<Item = &String> {
    records.keys().filter(|name| is_ours(name))
}

/// What a store remembers of a context, if it can be gone on with.
pub(super) fn remembered(
    state: &mut Opened,
    name: &str,
    list: &str,
) -> Result<Restored, SecurityError> {
    let name = || name.to_owned();
    let is_known = is_known(state)?;
    let records = state.records.get(list).filter(|all| !all.is_empty());
    let Some(records) = records else {
        return Err(SecurityError::Unknown { name: name() });
    };
    let restored = Restored::fold(records);
    if restored.loss.is_some() || !is_known {
        return Err(SecurityError::Lost {
            name: name(),
            why: restored.loss,
        });
    }
    Ok(restored)
}

/// Refuses to begin sequence numbers in a store of which it is not known what was used.
pub(super) fn refuse_broken(state: &mut Opened, name: &str) -> Result<(), SecurityError> {
    match is_known(state)? {
        true => Ok(()),
        false => Err(SecurityError::Broken {
            name: name.to_owned(),
        }),
    }
}
