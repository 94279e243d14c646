//! Which step of opening a message failed, in words.
//!
//! On the wire a wrong countersignature and a wrong tag are never told apart. Whoever has the message and the keys on a desk may know.

use antiphon_oscore::derive::Material;
use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::{Gid, GroupManagerCredential, Kid, Reason, RequestSeen, SignatureChecker};
use antiphon_wire::Message;

use super::mode_name;
use crate::hex;
use crate::preconfigured::{GroupFile, Preconfigured};

/// What a signature checker says of a message that did not verify as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// It has none: it is not in group mode.
    None,
    Good,
    Wrong,
}

/// Checks the countersignature alone. For a response `request` is what it answers.
pub(super) fn signature(
    keys: &[Preconfigured],
    message: &Message<'_>,
    option: &OscoreOption<'_>,
    request: Option<&Message<'_>>,
) -> Signature {
    if !option.group_flag {
        return Signature::None;
    }
    let request = match request.map(RequestSeen::of) {
        Some(Err(_)) => return Signature::Wrong,
        Some(Ok(seen)) => Some(seen),
        None => None,
    };
    let groups = keys.iter().filter_map(|one| match one {
        Preconfigured::Group(file) => Some(file),
        Preconfigured::Pair(_) => None,
    });
    for file in groups {
        let Some(mut checker) = checker(file) else {
            continue;
        };
        // Whoever does not say who it is may be any member.
        let senders = match option.kid {
            Some(_) => vec![None],
            None => members(file).map(|(kid, _)| Some(kid)).collect(),
        };
        for sender in senders {
            let Ok((checking, job)) = checker.begin(message, request.as_ref(), sender) else {
                continue;
            };
            if checker.finish(checking, job.run()).is_ok() {
                return Signature::Good;
            }
        }
    }
    Signature::Wrong
}

/// What a Group Manager would give to a checker, derived from the keys of a member.
fn checker(file: &GroupFile) -> Option<SignatureChecker> {
    let material = Material {
        hkdf: file.suite.hkdf(),
        master_secret: &file.master_secret,
        master_salt: file.master_salt.as_bytes(),
        id_context: Some(&file.gid),
    };
    let key = material.signature_encryption_key(&file.suite).ok()?;
    let manager = GroupManagerCredential::configured_by_hand(file.manager.clone());
    let gid = Gid::new(&file.gid)?;
    let mut checker = SignatureChecker::new(&file.name, gid, file.suite, key, &manager).ok()?;
    for (kid, credential) in members(file) {
        checker.add_member(kid, credential.clone());
    }
    Some(checker)
}

fn members(
    file: &GroupFile,
) -> impl Iterator<Item = (Kid, &antiphon_oscore::credential::Credential)> {
    let own = file.own.iter().map(|own| (&own.sender_id, &own.credential));
    let others = file.members.iter().map(|m| (&m.sender_id, &m.credential));
    own.chain(others)
        .filter_map(|(id, credential)| Some((Kid::new(id)?, credential)))
}

/// Which step failed, and what that may mean.
pub(super) fn explained(
    reason: Reason,
    keys: &[Preconfigured],
    option: &OscoreOption<'_>,
    signature: impl FnOnce() -> Signature,
) -> String {
    match reason {
        Reason::Malformed => "a field that it must have is missing from the OSCORE option, or the payload is too short for what the \
             algorithms append: was it captured whole?",
        Reason::NoContext => return no_keys(keys, option),
        Reason::NoCredential { .. } => "the group is known, and the credential of the sender is not",
        Reason::NotVerified => return not_verified(option, signature()).into(),
        Reason::ModeUnavailable(mode) => {
            return format!("{} is not used in this group", mode_name(mode));
        }
        Reason::OwnKid | Reason::OtherMember => {
            "it was sent by this member, or is for another one: in pairwise mode a message is opened with the file of its receiver"
        }
        Reason::Content => "it verifies, and what it holds is no CoAP message that may come here",
        Reason::KeyFailure => "the private key does not agree with the sender's key",
        Reason::Replayed => "its sequence number was received before",
        Reason::WindowInvalid => "it is not known what was received of its sender before, so whether it is new cannot be told",
        Reason::Lost => "it is not known which messages were sent and received with these keys: new ones are needed",
        Reason::KidChanged => "its sender has answered this request under another Sender ID before",
        Reason::TooManyServers => "more servers have answered this request than are kept count of",
        Reason::Installing | Reason::Superseded | Reason::WrongResult => {
            "the keys were replaced while it was being opened"
        }
    }
    .into()
}

/// The keys were found, and the first thing to be verified does not.
fn not_verified(option: &OscoreOption<'_>, signature: Signature) -> &'static str {
    match signature {
        Signature::Good => {
            "the signature verifies, so that it comes from its sender as it is; and the tag does not, so that it cannot be decrypted: \
             its sender has derived another key for the encryption, or has encrypted something else than it signed"
        }
        Signature::Wrong => {
            "the keys were found, and the signature does not verify: it was changed on its way, or the sender's credential, Master \
             Secret, salt, algorithms or Group Manager's credential are not the same at both ends"
        }
        // Plain OSCORE has no Group Manager, and no kid context needs to be there.
        Signature::None if option.kid_context.is_none() => {
            "the keys were found, and the tag does not verify: it was changed on its way, or Master Secret, salt, ID Context or \
             algorithms are not the same at both ends"
        }
        Signature::None => {
            "the keys were found, and the tag does not verify (in this mode there is no signature): it was changed on its way, or \
             Master Secret, salt, algorithms, Group Manager's credential or one of the two members' credentials are not the same at both ends"
        }
    }
}

fn no_keys(keys: &[Preconfigured], option: &OscoreOption<'_>) -> String {
    let kid = option.kid.map(hex::plain).unwrap_or_default();
    let ids: Vec<String> = keys
        .iter()
        .map(|one| match one {
            Preconfigured::Group(file) => format!("Gid {}", hex::plain(&file.gid)),
            Preconfigured::Pair(file) => format!("peer {}", hex::plain(&file.recipient_id)),
        })
        .collect();
    let known = keys.iter().any(|one| {
        matches!((one, option.kid_context), (Preconfigured::Group(file), Some(gid)) if file.gid == gid)
    });
    match option.kid_context {
        Some(_) if known => {
            format!("the group is known, and no member in it has the Sender ID {kid}")
        }
        Some(gid) => format!(
            "no keys for it: it is for Gid {}, and the file has {}",
            hex::plain(gid),
            ids.join(", ")
        ),
        None => format!(
            "no keys for it (Sender ID {kid}): the file has {}",
            ids.join(", ")
        ),
    }
}
