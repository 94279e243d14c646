//! State files: what is configured goes into them once, and sequence numbers go on from there.

use std::collections::BTreeMap;
use std::path::Path;

use antiphon::store::{Batch, Contents, FileDisk, Opened, Options, SealKey, Store, StoreError};
use antiphon_oscore::record::{Established, InstallRefused, Loss, Paired, Record, Restored};
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::{
    Gid, Group, GroupError, GroupManagerCredential, Kid, Own, Parameters, Settings,
};

use crate::failure::Failure;
use crate::preconfigured::{GroupFile, Listed, PairFile, Preconfigured, name_of};
use crate::{hex, secret_file, terminal};

/// What putting a description into a state file changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new there: sequence numbers begin at 0.
    New,
    /// New keys of a group that was there: sequence numbers begin at 0.
    NewKeys,
    /// The same keys under a Sender ID that was never used: sequence numbers begin at 0.
    NewSenderId,
    /// Other members, by name; nothing else.
    Members {
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// It was there already, and goes on.
    Nothing,
}

/// Opens a state file, or makes an empty one with its key beside it.
pub(crate) fn open(path: &Path) -> Result<Opened, Failure> {
    let key = SealKey::load_or_create(&secret_file::beside(path, ".key"))
        .map_err(|error| Failure::local(error.to_string()))?;
    let options = Options::default().condense(|name, records| {
        match name.starts_with("group/") || name.starts_with("pair/") {
            true => Restored::condense(records),
            false => records,
        }
    });
    Store::open(FileDisk::new(path), key, options).map_err(|error| unusable(&error))
}

/// What a state file holds, to look at: also while it is in use, and without asking whether it is the last one.
pub(crate) fn contents(path: &Path) -> Result<Contents, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| Failure::local(format!("{shown}: {error}")))?;
    let key = SealKey::load(&secret_file::beside(path, ".key"))
        .map_err(|error| Failure::local(error.to_string()))?;
    Contents::read(&bytes, &key).map_err(|error| Failure::local(format!("{shown}: {error}")))
}

/// Why a state file cannot be used, and what helps.
pub(crate) fn unusable(error: &StoreError) -> Failure {
    let mut text = error.to_string();
    if matches!(
        error,
        StoreError::NotTheLast { .. } | StoreError::Missing { .. } | StoreError::Corrupt { .. }
    ) {
        text.push_str(
            "\nIt is not known which sequence numbers were used, and using one twice breaks the encryption. Make new keys for \
             all members (a higher generation, another Gid), and put them into a new state file.",
        );
    }
    Failure::local(terminal::block(&text))
}

/// Puts what is described into an open state file. Refuses what would begin sequence numbers again.
pub(crate) fn install(state: &mut Opened, described: &Preconfigured) -> Result<Change, Failure> {
    match described {
        Preconfigured::Group(group) => install_group(state, group),
        Preconfigured::Pair(pair) => install_pair(state, pair),
    }
}

fn install_group(state: &mut Opened, file: &GroupFile) -> Result<Change, Failure> {
    let list = format!("group/{}", file.name);
    let before = Restored::fold(state.records.get(&list).map_or(&[][..], Vec::as_slice));
    if before.loss == Some(Loss::Unreadable) {
        return Err(lost(&file.name, "a record of it cannot be read"));
    }
    let old = match &before.context {
        Some(Established::Group(old)) => Some(old),
        _ => None,
    };
    if old.is_some_and(|old| is_same(old, file)) {
        if let Some(loss) = before.loss {
            return Err(lost(&file.name, &crate::oscore::loss_text(loss)));
        }
        return members(state, &list, &before, file);
    }
    let change = match old {
        None => Change::New,
        Some(old) if old.generation == file.generation => Change::NewSenderId,
        Some(_) => Change::NewKeys,
    };
    let group = assemble(file)?;
    let key = file.own.as_ref().map(|own| own.key.to_bytes());
    let installed = group.record(key, Vec::new());
    let records: Vec<Record> = core::iter::once(Record::Installed(Box::new(installed)))
        .chain(group.peer_records())
        .collect();
    let mut after = before;
    for record in records.iter().cloned() {
        after.apply(record);
        // The first refusal is the reason; what follows it only belongs to nothing.
        if after.loss.is_some() {
            break;
        }
    }
    match after.loss {
        None => {}
        Some(Loss::Refused(refused)) => return Err(again(file, refused)),
        Some(other) => return Err(lost(&file.name, &crate::oscore::loss_text(other))),
    }
    commit(state, &list, &records)?;
    Ok(change)
}

/// Everything but the members is the same.
fn is_same(old: &antiphon_oscore::record::Installed, new: &GroupFile) -> bool {
    let own = match (&old.own, &new.own) {
        (None, None) => true,
        (Some(old), Some(new)) => {
            old.sender_id == new.sender_id && old.credential == new.credential.bytes()
        }
        _ => false,
    };
    own && old.generation == new.generation
        && old.gid == new.gid
        && old.master_secret == new.master_secret
        && old.master_salt == new.master_salt.as_bytes()
        && old.suite == new.suite
        && old.format == new.format
        && old.manager == new.manager
}

/// The group as the protocol has it: the last checks are its own.
fn assemble(file: &GroupFile) -> Result<Group, Failure> {
    let shown = terminal::line(&file.name);
    let wrong = |of: &[u8], error: GroupError| {
        Failure::usage(format!(
            "{shown}: member {}: {}",
            hex::plain(of),
            group_error(error)
        ))
    };
    let too_long = || Failure::usage(format!("{shown}: an identifier is too long"));
    let parameters = Parameters {
        gid: Gid::new(&file.gid).ok_or_else(too_long)?,
        generation: file.generation,
        master_secret: file.master_secret.clone(),
        master_salt: file.master_salt.clone(),
        suite: file.suite,
        format: file.format,
        gm_credential: GroupManagerCredential::configured_by_hand(file.manager.clone()),
    };
    let own = match &file.own {
        None => None,
        Some(own) => Some(Own {
            sender_id: Kid::new(&own.sender_id).ok_or_else(too_long)?,
            credential: own.credential.clone(),
            sequence: Sequence::new(SequenceSettings::default()),
        }),
    };
    let me = file
        .own
        .as_ref()
        .map_or(&[][..], |own| own.sender_id.as_slice());
    let mut group = Group::new(&file.name, parameters, own, Settings::default(), None)
        .map_err(|error| wrong(me, error))?;
    for member in &file.members {
        let kid = Kid::new(&member.sender_id).ok_or_else(too_long)?;
        group
            .add_peer(kid, member.credential.clone())
            .map_err(|error| wrong(&member.sender_id, error))?;
    }
    Ok(group)
}

fn group_error(error: GroupError) -> &'static str {
    match error {
        GroupError::Name => "the name of the group has 1 to 255 bytes",
        GroupError::IdTooLong => "the Sender ID is too long for the algorithms of the group",
        GroupError::IdTaken => "the Sender ID is taken",
        GroupError::Full => "the group has too many members",
        GroupError::Credential => "its key is not of the kind that the algorithms need",
        GroupError::Format => "its credential is not in the format of the group",
        GroupError::NoMode => "the group has none of the modes that this endpoint is to use",
        GroupError::EchoNeedsPairwise => {
            "proof of freshness from each client needs the pairwise mode, which this endpoint is not to use"
        }
        GroupError::Derivation => "no key can be derived",
    }
}

/// Members that the file has and the state has not, and the other way round.
fn members(
    state: &mut Opened,
    list: &str,
    before: &Restored,
    file: &GroupFile,
) -> Result<Change, Failure> {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    let wanted: BTreeMap<&[u8], &Listed> = file
        .members
        .iter()
        .map(|member| (member.sender_id.as_slice(), member))
        .collect();
    for (id, credential) in &before.peers {
        let stays = wanted
            .get(id.as_slice())
            .is_some_and(|member| member.credential.bytes() == credential);
        if !stays {
            removed.push(hex::plain(id));
            records.push(Record::PeerDeleted {
                gid: file.gid.clone(),
                recipient_id: id.clone(),
            });
        }
    }
    for (id, member) in &wanted {
        let there = before
            .peers
            .get(*id)
            .is_some_and(|there| there == member.credential.bytes());
        if !there {
            added.push(name_of(id, member.credential.subject()));
            records.push(Record::Peer {
                gid: file.gid.clone(),
                recipient_id: id.to_vec(),
                credential: member.credential.bytes().to_vec(),
            });
        }
    }
    if records.is_empty() {
        return Ok(Change::Nothing);
    }
    // Whoever is added must fit, too.
    assemble(file)?;
    commit(state, list, &records)?;
    Ok(Change::Members { added, removed })
}

fn install_pair(state: &mut Opened, file: &PairFile) -> Result<Change, Failure> {
    let list = format!("pair/{}", file.name);
    let before = Restored::fold(state.records.get(&list).map_or(&[][..], Vec::as_slice));
    let paired = Paired {
        name: file.name.clone(),
        id_context: file.id_context.clone(),
        master_secret: file.master_secret.clone(),
        master_salt: file.master_salt.as_bytes().to_vec(),
        hkdf: file.hkdf,
        aead: file.aead,
        sender_id: file.sender_id.clone(),
        recipient_id: file.recipient_id.clone(),
        upto: 0,
    };
    match &before.context {
        Some(Established::Pair(old))
            if Paired {
                upto: 0,
                ..Paired::clone(old)
            } == paired =>
        {
            return match before.loss {
                None => Ok(Change::Nothing),
                Some(loss) => Err(lost(&file.name, &crate::oscore::loss_text(loss))),
            };
        }
        None if before.loss.is_none() && before.installations.latest.is_none() => {}
        _ => {
            return Err(Failure::usage(format!(
                "{}: there is another context of this name in the state file; a new context needs a new name, and keys that were never used",
                terminal::line(&file.name)
            )));
        }
    }
    commit(state, &list, &[Record::Paired(Box::new(paired))])?;
    Ok(Change::New)
}

fn commit(state: &mut Opened, list: &str, records: &[Record]) -> Result<(), Failure> {
    let failed = |error: StoreError| unusable(&error);
    let encoded: Vec<_> = records.iter().map(Record::encode).collect();
    let mut batch = Batch::new();
    for record in &encoded {
        batch = batch.add(list, record).map_err(failed)?;
    }
    state.store.commit(batch).map_err(failed)?;
    state
        .records
        .entry(list.to_owned())
        .or_default()
        .extend(encoded);
    Ok(())
}

fn lost(name: &str, why: &str) -> Failure {
    Failure::local(format!(
        "{}: its sequence numbers are lost ({why}): nothing may be sent with these keys.\nMake new ones for all members: a higher generation, another Gid.",
        terminal::line(name)
    ))
}

/// Sequence numbers would begin again.
fn again(file: &GroupFile, refused: InstallRefused) -> Failure {
    let what = match refused {
        InstallRefused::Rollback => {
            "the state file has newer keys of this group; those in this file were replaced"
        }
        InstallRefused::Contradiction => {
            "the state file has other keys of this group: new ones need a higher generation and another Gid"
        }
        InstallRefused::SenderIdUsed => {
            "this Sender ID was used with this Gid, and the rest of the file is not as it was: sequence numbers would begin again. \
             Take a Sender ID that was never used, or new keys with a higher generation and another Gid"
        }
        InstallRefused::TooManySenderIds => {
            "this endpoint had too many Sender IDs under this Gid: new keys are needed"
        }
    };
    Failure::usage(format!("{}: {what}", terminal::line(&file.name)))
}
