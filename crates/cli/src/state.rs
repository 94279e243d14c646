//! State files: what is configured goes into them once, and sequence numbers go on from there.

use std::path::Path;

use antiphon::security_group::{
    OscoreContextBuilder, SecurityGroupBuilder, SoftwareKey, StateError, Update, open_state,
};
use antiphon::store::{Contents, Opened, SealKey, StoreError};
use antiphon::{OscoreContext, SecurityError, SecurityGroup};
use antiphon_oscore::GroupManagerCredential;
use antiphon_oscore::record::InstallRefused;

use crate::failure::Failure;
use crate::marks::Marks;
use crate::preconfigured::{GroupFile, PairFile, Preconfigured};
use crate::secured::With;
use crate::{secret_file, terminal};

/// Opens a state file, or makes an empty one with its key beside it.
pub(crate) fn open(path: &Path) -> Result<Opened, Failure> {
    open_state(path).map_err(|error| match &error {
        StateError::Store(error) => unusable(error),
        other => Failure::local(other.to_string()),
    })
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

/// Puts what a file describes into its state, which is made if it is not there, and opens it. Refuses what would begin sequence
/// numbers again: in this state, or because they are counted in another.
pub(crate) fn described(
    description: &Path,
    described: &Preconfigured,
    path: &Path,
) -> Result<(Opened, With, Update), Failure> {
    let marks = Marks::of(description, described)?;
    if !path.exists() {
        marks.refuse_another(path, None)?;
    }
    let mut state = open(path)?;
    let id = state.store.id();
    let provided = marks
        .refuse_another(path, Some(id))
        .and_then(|()| provide(&mut state, described))
        .and_then(|provided| marks.note(path, id).map(|()| provided));
    match provided {
        Ok((with, update)) => Ok((state, with, update)),
        Err(failure) => {
            let _ = state.store.close(); // nothing of it was used
            Err(failure)
        }
    }
}

/// Puts what is described into an open state file, and opens it. Refuses what would begin sequence numbers again.
fn provide(state: &mut Opened, described: &Preconfigured) -> Result<(With, Update), Failure> {
    match described {
        Preconfigured::Group(file) => {
            let group = builder_of(file)?;
            let provided = group.provide(state);
            let (group, update) = provided.map_err(|error| refused(&error))?;
            Ok((With::Group(group), update))
        }
        Preconfigured::Pair(file) => {
            let provided = pair_of(file).provide(state);
            let (pair, update) = provided.map_err(|error| refused(&error))?;
            Ok((With::Pair(pair), update))
        }
    }
}

/// A group as the library takes it.
pub(crate) fn builder_of(file: &GroupFile) -> Result<SecurityGroupBuilder, Failure> {
    let mut group = SecurityGroup::builder(&file.name)
        .gid(file.gid.clone())
        .generation(file.generation)
        .master_secret(file.master_secret.clone())
        .master_salt(file.master_salt.as_bytes())
        .suite(file.suite)
        .format(file.format)
        .manager_credential(GroupManagerCredential::configured_by_hand(
            file.manager.clone(),
        ));
    if let Some(own) = &file.own {
        let key = SoftwareKey::from_bytes(own.key.curve(), own.key.to_bytes().as_bytes())
            .map_err(|error| Failure::local(error.to_string()))?;
        let credential = own.credential.bytes();
        group = group.member(own.sender_id.clone(), credential, key);
    }
    for member in &file.members {
        group = group.peer(member.sender_id.clone(), member.credential.bytes());
    }
    Ok(group)
}

fn pair_of(file: &PairFile) -> OscoreContextBuilder {
    let pair = OscoreContext::builder(&file.name)
        .master_secret(file.master_secret.clone())
        .master_salt(file.master_salt.as_bytes())
        .sender_id(file.sender_id.clone())
        .recipient_id(file.recipient_id.clone())
        .algorithms(file.hkdf, file.aead);
    match &file.id_context {
        None => pair,
        Some(id) => pair.id_context(id.clone()),
    }
}

/// Why a group or context cannot be used: whose fault it is decides the exit code.
pub(crate) fn refused(error: &SecurityError) -> Failure {
    match error {
        SecurityError::Refused { name, reason } => again(name, *reason),
        SecurityError::Store(error) => unusable(error),
        SecurityError::Member { .. }
        | SecurityError::Credential { .. }
        | SecurityError::OtherCredential { .. }
        | SecurityError::OtherGroup { .. }
        | SecurityError::OtherContext { .. }
        | SecurityError::UsedElsewhere { .. }
        | SecurityError::OtherKey { .. }
        | SecurityError::TooLong { .. }
        | SecurityError::Missing { .. }
        | SecurityError::NotInstalled { .. } => Failure::usage(terminal::block(&error.to_string())),
        _ => Failure::local(terminal::block(&error.to_string())),
    }
}

/// Sequence numbers would begin again.
fn again(name: &str, refused: InstallRefused) -> Failure {
    let what = match refused {
        InstallRefused::Rollback => {
            "there are newer keys of this group; those in this file were replaced"
        }
        InstallRefused::Contradiction => {
            "there are other keys of this group: new ones need a higher generation and another Gid"
        }
        InstallRefused::SenderIdUsed => {
            "this Sender ID was used with this Gid, and the rest of the file is not as it was: sequence numbers would begin again. \
             Take a Sender ID that was never used, or new keys with a higher generation and another Gid"
        }
        InstallRefused::TooManySenderIds => {
            "this endpoint had too many Sender IDs under this Gid: new keys are needed"
        }
    };
    Failure::usage(format!("{}: {what}", terminal::line(name)))
}
