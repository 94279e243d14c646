//! Opening messages, in two steps with the slow work in between (draft sections 7.2, 7.4, 8.4 and 8.6; RFC 8613,
//! sections 8.2 and 8.4).
//!
//! `begin` finds the context, checks the Replay Window and says what has to be verified; `finish` takes the result,
//! decrypts, checks the window again and moves it, in one. Only `finish` makes an opened message, or `begin` where
//! nothing slow was needed. Whatever is refused has moved nothing.

mod admit;
mod job;
mod overheard;
mod request;
mod response;
mod servers;
mod verification;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use antiphon_wire::Message;

pub(crate) use job::With;
pub use job::{AgreeJob, Agreed, Checked, Job, JobResult, VerifyJob};
pub(crate) use servers::Servers;

use crate::context::CredentialHash;
use crate::contexts::{Candidate, ContextId, Contexts, GroupId, MAX_TRIES};
use crate::echo::EchoNote;
use crate::group::Group;
use crate::identity::{Gid, Kid, Member, Mode};
use crate::nonce::PartialIv;
use crate::option::OscoreOption;
use crate::refused::{Reason, Refused};
use crate::replay::Order;

/// What opening has come to.
#[derive(Debug)]
pub enum Step<T> {
    /// This work is to be done, anywhere and at any time; its result goes to `finish` together with the message.
    Work(Box<Opening>, Job),
    /// It is done.
    Done(T),
}

/// A message that waits for work to be done.
pub struct Opening {
    /// No other message of this endpoint has the same.
    ticket: u64,
    /// The protected message.
    message: Vec<u8>,
    multicast: bool,
    candidate: Candidate,
    tries: Tries,
    kid: Kid,
    /// Serial number of the Recipient Context that it was begun with.
    recipient: u64,
    /// For a response: to which request.
    asked: Option<u64>,
}

impl Opening {
    /// The protected message that waits.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Whether a secret is the one that the message waits for.
    fn check(&self, agreed: &Agreed) -> Result<(), Reason> {
        let with = agreed.with;
        let expected = ContextId::Group(with.group) == self.candidate.place
            && with.context == self.candidate.serial
            && with.kid == self.kid
            && with.recipient == self.recipient;
        match expected {
            true => Ok(()),
            false => Err(Reason::WrongResult),
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({})", self.ticket)
    }
}

/// How many contexts were tried for a message, and what the most telling refusal was.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    next: usize,
    count: usize,
    refused: Option<Refused>,
}

impl Tries {
    fn is_over(&self) -> bool {
        self.count >= MAX_TRIES
    }

    fn note(&mut self, place: ContextId, reason: Reason) {
        let weak = |refused: &Refused| {
            matches!(
                refused.reason,
                Reason::NoContext | Reason::NoCredential { .. } | Reason::ModeUnavailable(_)
            )
        };
        if self.refused.as_ref().is_none_or(weak) {
            self.refused = Some(Refused::in_context(place, reason));
        }
    }

    fn end(self) -> Refused {
        self.refused.unwrap_or(Reason::NoContext.into())
    }
}

/// A request that was verified.
#[derive(Debug)]
pub enum Opened {
    /// To be delivered.
    Request(OpenedRequest),
    /// Genuine, and not proven to be fresh: it is *not* delivered, and its content is gone. The answer, if there is one,
    /// is a protected 4.01 with an Echo value, see [`Contexts::challenge`](crate::Contexts::challenge).
    Challenge(Challenged),
}

/// A verified request.
#[derive(Debug)]
pub struct OpenedRequest {
    /// The plain CoAP message, with type, Message ID and token of the protected one.
    pub message: Vec<u8>,
    /// Who sent it.
    pub sender: Member,
    /// What is needed to answer it.
    pub received: Received,
    /// It was proven to be fresh just now, by an Echo value or by the age of the keys (draft section 9).
    pub fresh: bool,
    /// What the Echo value that came back had noted, if one proved it.
    pub echoed: Option<EchoNote>,
    /// How it was protected.
    pub mode: Mode,
}

/// A verified request whose freshness has to be proven.
#[derive(Debug)]
pub struct Challenged {
    /// Who sent it.
    pub sender: Member,
    /// What is needed to answer it.
    pub received: Received,
    /// How it was protected.
    pub mode: Mode,
}

/// A verified response.
#[derive(Debug)]
pub struct OpenedResponse {
    /// The plain CoAP message, with type, Message ID and token of the protected one. The value of an Observe option is
    /// made of the Partial IV (RFC 8613, section 4.1.3.5.2).
    pub message: Vec<u8>,
    /// Who sent it.
    pub sender: Member,
    /// Where it stands among the responses of its sender to this request.
    pub order: Order,
    /// How it was protected.
    pub mode: Mode,
}

/// The permission to use the nonce of a request once more, for the first response. There is one for each request that
/// passed a valid Replay Window, it cannot be copied, and it is given up with its first use (draft section 5.3.1).
#[derive(Debug)]
pub(crate) struct NoncePermission {
    /// The Sender Context for which it was given.
    pub(crate) sender: u64,
}

/// What a server keeps of a request, to protect the responses to it. It cannot be copied, because the nonce of the
/// request can be used once only.
///
/// ```compile_fail
/// fn twice(received: antiphon_oscore::Received) -> [antiphon_oscore::Received; 2] {
///     [received.clone(), received]
/// }
/// ```
#[derive(Debug)]
pub struct Received {
    pub(crate) place: ContextId,
    /// Serial number of the Security Context that opened it.
    pub(crate) context: u64,
    pub(crate) kid: Kid,
    pub(crate) piv: PartialIv,
    pub(crate) kid_context: Option<Gid>,
    pub(crate) client: CredentialHash,
    pub(crate) mode: Mode,
    pub(crate) permission: Option<NoncePermission>,
    /// Responses so far.
    pub(crate) responses: u32,
    /// The context of the last response, and when that response's Max-Age is over.
    pub(crate) last: Option<(u64, Duration)>,
    /// Until then responses name the Gid, to help the client over a rekeying.
    pub(crate) hint_until: Option<Duration>,
}

impl Received {
    /// In which group or pair.
    pub fn context(&self) -> ContextId {
        self.place
    }

    /// In which group, if in one.
    pub fn group(&self) -> Option<GroupId> {
        self.place.group()
    }

    /// The client's Sender ID in the request. It stays, whatever ID the client has since.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The Partial IV of the request.
    pub fn partial_iv(&self) -> PartialIv {
        self.piv
    }

    /// How the request was protected.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a response was protected already.
    pub fn is_answered(&self) -> bool {
        self.responses > 0
    }
}

/// What a client keeps of a request, to open the responses to it: as long as its token lives, and not longer.
pub struct Asked {
    pub(crate) ticket: u64,
    pub(crate) place: ContextId,
    /// Serial number of the Security Context that protected it.
    pub(crate) context: u64,
    pub(crate) kid: Kid,
    pub(crate) piv: PartialIv,
    pub(crate) kid_context: Option<Gid>,
    pub(crate) mode: Mode,
    /// For whom it is, if for one.
    pub(crate) intended: Option<Intended>,
    /// It has an Observe option.
    pub(crate) observe: bool,
    pub(crate) answered: bool,
    /// Responses under contexts with smaller serial numbers are forgotten.
    pub(crate) oldest: u64,
    pub(crate) servers: Servers,
    pub(crate) limit: usize,
}

/// The member that a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intended {
    /// Its present ID.
    pub(crate) kid: Kid,
    pub(crate) credential: CredentialHash,
}

impl Asked {
    /// In which group or pair.
    pub fn context(&self) -> ContextId {
        self.place
    }

    /// The own Sender ID in the request. It stays, whatever the own ID is since (draft section 7.1).
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The Partial IV of the request.
    pub fn partial_iv(&self) -> PartialIv {
        self.piv
    }

    /// The Gid in the request. It stays, whatever the Gid is since (draft section 7.1).
    pub fn kid_context(&self) -> Option<&Gid> {
        self.kid_context.as_ref()
    }

    /// How it was protected.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The ID of the one member that it is for.
    pub fn intended(&self) -> Option<Kid> {
        self.intended.map(|intended| intended.kid)
    }

    /// From how many servers there are verified responses.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Whether several responses may come: to a request for many, or for an observation (draft section 5.1).
    pub(crate) fn is_long(&self) -> bool {
        self.mode == Mode::Group || self.observe
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("kid", &self.kid)
            .field("piv", &self.piv.value())
            .field("mode", &self.mode)
            .field("servers", &self.servers.len())
            .finish_non_exhaustive()
    }
}

/// The OSCORE option of a message, read and as it stands.
fn option_of<'a>(message: &Message<'a>) -> Result<(OscoreOption<'a>, &'a [u8]), Reason> {
    let found = OscoreOption::with_value(message).ok().flatten();
    found.ok_or(Reason::Malformed)
}

impl Contexts {
    /// A shared secret was agreed on, for a message to be opened or to be protected: derives the pairwise keys and keeps
    /// them. When keys or peer changed meanwhile, nothing is kept, and the next attempt asks anew.
    ///
    /// # Errors
    /// [`Reason::KeyFailure`] if the private key could not be used; [`Reason::NotVerified`] if the secret is no good.
    pub fn agreed(&mut self, agreed: Agreed) -> Result<(), Reason> {
        let Agreed { with, secret } = agreed;
        let secret = secret.ok_or(Reason::KeyFailure)?;
        let group = self.group_mut(with.group).ok_or(Reason::NoContext)?;
        let Some(context) = group.context_mut(with.context) else {
            return Ok(());
        };
        let sender = context.sender.as_ref().map(|sender| sender.serial);
        let peer = context.recipients.get(with.kid).map(|peer| peer.serial);
        if sender != Some(with.sender) || peer != Some(with.recipient) {
            return Ok(());
        }
        let agreed = context.agree(with.kid, secret.secret());
        agreed.map_err(|_| Reason::NotVerified)
    }
}

impl Group {
    /// Forgets the order of responses under contexts that are gone (draft section 2.6.3.2).
    fn retire(&self, asked: &mut Asked, now: Duration) {
        let old = self.retained.as_ref().filter(|old| now < old.until);
        let oldest = old.map_or(self.current.serial, |old| old.context.serial);
        if asked.oldest != oldest {
            asked.oldest = oldest;
            for order in asked.servers.values_mut() {
                order.retire_before(oldest);
            }
        }
    }
}
