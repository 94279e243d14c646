//! Members: by whom an answer was given, and for whom a request is.

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::{Gid, Kid};
use antiphon_proto::{Answer, Arrival, Expectation, Identity, Member, Sender};

use super::SecurityGroup;
use crate::client::Reply;
use crate::worker::Asked;

/// A member of a security group: its credential says who it is, its Sender ID is what it is called at the moment.
#[derive(Clone)]
pub struct GroupMember {
    pub(super) group: SecurityGroup,
    pub(super) kid: Kid,
    pub(super) credential: Credential,
}

impl GroupMember {
    /// For people: the subject of the credential, else the Sender ID in hexadecimal.
    #[must_use]
    pub fn name(&self) -> String {
        match self.credential.subject() {
            Some(subject) if !subject.is_empty() => subject.to_owned(),
            _ => self.kid.to_string(),
        }
    }

    /// The Sender ID. It names nobody by itself: it may go to another member later.
    #[must_use]
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The authentication credential.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The security group.
    #[must_use]
    pub fn group(&self) -> &SecurityGroup {
        &self.group
    }

    /// What is proven by a message of this member: group and credential.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::member(self.group.name(), self.credential.bytes())
    }

    /// Expects this member, recognised by its proven identity and by nothing else.
    /// [`at`](Member::at) adds the address under which it can be asked in person.
    #[must_use]
    pub fn expected(&self) -> Member {
        Member::named(self.name()).identity(self.identity())
    }
}

impl core::fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.group.name(), self.name())
    }
}

/// These members are expected.
pub fn expected(members: impl IntoIterator<Item = Member>) -> Expectation {
    let mut expectation = Expectation::nobody();
    for member in members {
        expectation.add(member);
    }
    expectation
}

/// Who is proven to have sent a message: the security group and the credential with which it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    identity: Identity,
    subject: Option<String>,
}

impl Signer {
    /// Whoever that is; `None` if nothing is proven.
    #[must_use]
    pub fn of(sender: &Sender) -> Option<Self> {
        let Sender::Proven(identity) = sender else {
            return None;
        };
        let credential = identity.credential()?;
        let read = |format| Credential::import(format, credential).ok();
        let subject = CredentialFormat::ALL
            .into_iter()
            .find_map(read)
            .and_then(|credential| credential.subject().map(str::to_owned));
        Some(Self {
            identity: identity.clone(),
            subject,
        })
    }

    /// The invariant name of the security group, or of the OSCORE context.
    #[must_use]
    pub fn group(&self) -> &str {
        self.identity.group().unwrap_or_default()
    }

    /// The authentication credential; of an OSCORE context, the peer's ID.
    #[must_use]
    pub fn credential(&self) -> &[u8] {
        self.identity.credential().unwrap_or_default()
    }

    /// Whom the credential names.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Group and credential, as in [`Sender::Proven`].
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// The subject, or the credential in hexadecimal when it names nobody; and the group.
impl core::fmt::Display for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.subject() {
            Some(subject) if !subject.is_empty() => write!(f, "{subject}")?,
            _ => self
                .credential()
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02x}"))?,
        }
        write!(f, " of {}", self.group())
    }
}

/// A message of which it may be proven who sent it.
pub trait Signed {
    /// Who is proven to have sent it; `None` when it came without protection.
    fn signer(&self) -> Option<Signer>;
}

impl Signed for Answer {
    fn signer(&self) -> Option<Signer> {
        Signer::of(&self.sender)
    }
}

impl Signed for antiphon_proto::Notification {
    fn signer(&self) -> Option<Signer> {
        Signer::of(&self.sender)
    }
}

impl Signed for Reply {
    fn signer(&self) -> Option<Signer> {
        Signer::of(&self.sender)
    }
}

impl Signed for Arrival {
    fn signer(&self) -> Option<Signer> {
        Signer::of(&self.sender)
    }
}

impl Signed for Asked {
    fn signer(&self) -> Option<Signer> {
        self.arrival.signer()
    }
}

/// Reads a Sender ID.
pub(super) fn kid_of(name: &str, id: &[u8]) -> Result<Kid, super::SecurityError> {
    Kid::new(id).ok_or_else(|| super::SecurityError::TooLong {
        name: name.to_owned(),
        what: "Sender ID",
        id: hex(id),
    })
}

/// Reads a Group Identifier or ID Context.
pub(super) fn gid_of(name: &str, id: &[u8]) -> Result<Gid, super::SecurityError> {
    Gid::new(id).ok_or_else(|| super::SecurityError::TooLong {
        name: name.to_owned(),
        what: "Group Identifier or ID Context",
        id: hex(id),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
