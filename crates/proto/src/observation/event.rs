//! What the application hears of an observation.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::Code;

use super::ObservationId;
use crate::collection::{EndedBy, Held, OverFrameBudget, Rejection};
use crate::exchange::{Failure, SendError};
use crate::identity::Sender;
use crate::message::Response;
use crate::path::Path;

/// Names one member of an observation: first the expected ones in their order, then others as they come. When there is no
/// place for one more, it gets that of another unexpected one that has ended or fallen silent; its first notification says
/// [`News::Joined`] or [`News::First`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObservedIndex(pub u32);

/// News of an observation.
#[derive(Clone, Debug, PartialEq)]
pub enum ObservationEvent {
    /// A registration has left: the how-manieth.
    Registered {
        /// Of which observation.
        observation: ObservationId,
        /// 1 for the first.
        registration: u32,
    },
    /// A later registration failed. The observation goes on, and it is tried again: after round trip and leisure, then after
    /// twice as long each time, up to `every`.
    NotRegistered {
        /// Of which observation.
        observation: ObservationId,
        /// Why.
        why: EndedBy,
    },
    /// The request is sent, but something about it is unfortunate.
    Warning(ObservationId, OverFrameBudget),
    /// A request to the group has to wait.
    Held(ObservationId, Held),
    /// A request to the group failed on the way out.
    SendFailed {
        /// Of which observation.
        observation: ObservationId,
        /// To which group.
        group: SocketAddr,
        /// Why.
        error: SendError,
    },
    /// A member has told its state.
    Notification(Notification),
    /// A notification came that is not newer than what is known; it is dropped (RFC 7641 section 3.4).
    Stale {
        /// Of which observation.
        observation: ObservationId,
        /// Of which member.
        member: ObservedIndex,
        /// Its sequence number.
        number: Option<u32>,
    },
    /// A notification came in blocks, and those after the first could not be fetched. The next notification tells the state
    /// as it is then.
    Incomplete {
        /// Of which observation.
        observation: ObservationId,
        /// Of which member.
        member: ObservedIndex,
        /// Why.
        failure: Failure,
    },
    /// Nothing has come from a member although the Max-Age of its last notification is over.
    Silent {
        /// Of which observation.
        observation: ObservationId,
        /// Which member.
        member: ObservedIndex,
    },
    /// A member that was asked in person did not answer.
    Unreached {
        /// Of which observation.
        observation: ObservationId,
        /// Which member.
        member: ObservedIndex,
        /// Why.
        failure: Failure,
    },
    /// A member does not notify any more, or never did.
    MemberEnded {
        /// Of which observation.
        observation: ObservationId,
        /// Which member.
        member: ObservedIndex,
        /// Why.
        why: MemberEnd,
    },
    /// The observation is over; told exactly once.
    Ended(ObservationOutcome),
}

/// What a member says of its resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Of which observation.
    pub observation: ObservationId,
    /// Which member.
    pub member: ObservedIndex,
    /// What is new about it.
    pub news: News,
    /// The way it came.
    pub from: Path,
    /// Who is proven to have sent it.
    pub sender: Sender,
    /// What it says. An error is the last word of this member.
    pub response: Response,
    /// The value of its Observe option; under protection made of the Partial IV. `None`: it observes nothing (any more).
    pub number: Option<u32>,
    /// The how-manieth of this member, from 1.
    pub count: u32,
    /// Time since the first registration left.
    pub after: Duration,
}

impl Notification {
    /// Roughly the memory that it takes.
    pub(crate) fn footprint(&self) -> usize {
        let options = self.response.options.iter();
        let options = options.map(|(_, value)| value.len() + 12);
        size_of::<Self>() + self.response.payload.len() + options.sum::<usize>()
    }
}

/// What is new about a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The first of this member, in answer to the first registration.
    First,
    /// The first of a member that a later registration, or nothing but its own first notification, brought in.
    Joined,
    /// The member was silent or had ended, and is back.
    Returned,
    /// Its state, as it is now.
    Update,
}

impl News {
    /// What is new about a notification when an earlier one of the same member, with this news, was never told: whoever was
    /// not heard of before appears with it.
    #[must_use]
    pub fn or_untold(self, earlier: Self) -> Self {
        match (self, earlier) {
            (Self::First | Self::Joined, _) => self,
            (_, Self::First | Self::Joined | Self::Returned) => earlier,
            (_, Self::Update) => self,
        }
    }
}

/// Why a member does not notify (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEnd {
    /// It answered without an Observe option: it does not offer this resource to observers, or not to one more.
    NotObserved,
    /// It answered with an error.
    Error(Code),
    /// This endpoint has deregistered there.
    Deregistered,
}

impl fmt::Display for MemberEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotObserved => f.write_str("it does not notify"),
            Self::Error(code) => write!(f, "it answered {code}"),
            Self::Deregistered => f.write_str("deregistered"),
        }
    }
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedState {
    /// Expected, and nothing has come from it.
    Awaited,
    /// What it said last is fresh.
    Fresh,
    /// Its Max-Age is over.
    Silent,
    /// What came from it could not be accepted, and was reset. It is asked again in person, after a minute at first and then
    /// ever more rarely.
    Rejected(Rejection),
    /// It does not notify.
    Ended(MemberEnd),
}

/// What came of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedReport {
    /// How it stands.
    pub state: ObservedState,
    /// Its name, if it was expected.
    pub name: Option<String>,
    /// Where it spoke from last.
    pub address: Option<SocketAddr>,
    /// Who it is proven to be.
    pub sender: Sender,
    /// Notifications that were delivered.
    pub notifications: u32,
    /// Notifications that were not newer than what was known.
    pub stale: u32,
    /// How often its Max-Age ran out.
    pub silences: u32,
    /// Notifications that found no room to wait for the application.
    pub dropped: u32,
    /// Why it could not be asked in person when that was tried last.
    pub failure: Option<Failure>,
}

/// Why an observation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservationEnd {
    /// The application ended it, and its members were asked to forget it.
    Deregistered,
    /// The application ended it before anything was sent.
    NeverSent,
    /// The one server that was observed does not notify (any more).
    ByServer(MemberEnd),
    /// The first registration failed.
    NotRegistered(EndedBy),
    /// The one server that was observed could not be asked.
    Failed(Failure),
    /// Its security group was left.
    GroupLeft,
}

/// What came of an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservationOutcome {
    /// Which.
    pub observation: ObservationId,
    /// Why it is over.
    pub ended_by: ObservationEnd,
    /// From the first registration to the end.
    pub took: Duration,
    /// Registrations that left.
    pub registrations: u32,
    /// Notifications that were delivered.
    pub notifications: u64,
    /// Datagrams sent to groups.
    pub transmissions: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Its members, as [`ObservedIndex`] numbers them.
    pub members: Vec<ObservedReport>,
    /// What was not delivered.
    pub dropped: ObservationDropped,
}

/// What was not delivered of what came under the token of an observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObservationDropped {
    /// Not newer than what was known.
    pub stale: u32,
    /// Unacceptable: too large, or with a critical option that is not understood.
    pub rejected: u32,
    /// Without protection, where protection was asked for.
    pub unprotected: u32,
    /// Of members for which there was no place.
    pub no_room: u32,
    /// Not fetched by the application in time.
    pub not_fetched: u32,
    /// Overtaken by a newer one while the blocks after the first were fetched.
    pub superseded: u32,
    /// In blocks of which those after the first could not be fetched.
    pub incomplete: u32,
}

/// How an observation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservationStatus {
    /// Registrations that left.
    pub registrations: u32,
    /// When the next one is due.
    pub next: Option<Duration>,
    /// Members that are fresh.
    pub fresh: usize,
    /// All members that are known or expected.
    pub members: usize,
    /// It has been ended and is being deregistered.
    pub ending: bool,
}
