//! What comes out of a collection: answers while it runs, and one outcome that names everyone.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Code, OptionNumber, Type};

use super::CollectionId;
use super::request::OverFrameBudget;
use crate::block::BodyProgress;
use crate::exchange::{Failure, SendError};
use crate::expect::{MemberIndex, Names, responder_address};
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::path::{Path, Route};
use crate::security::{NotProtected, Protection};
use crate::time::Instant;

/// What happens to a collection.
#[derive(Clone, Debug, PartialEq)]
pub enum CollectionEvent {
    /// The request is sent, but something about it is unfortunate.
    Warning(CollectionId, OverFrameBudget),
    /// A transmission has to wait. Told once for each wait; the remaining time is what is known then.
    Held(CollectionId, Held),
    /// A transmission failed on the way out; the next repeat tries again.
    SendFailed {
        /// Of which collection.
        collection: CollectionId,
        /// To which group.
        group: SocketAddr,
        /// Why.
        error: SendError,
    },
    /// An answer of several blocks has come further.
    Progress(AnswerProgress),
    /// An answer came in time.
    Answer(Answer),
    /// The collection is over; told exactly once.
    Ended(Outcome),
    /// An answer came after the end.
    LateAnswer(Answer),
    /// The time for late answers is over; the outcome now says who was late.
    LateEnded(Outcome),
}

/// How far an answer of several blocks has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerProgress {
    /// To which question.
    pub collection: CollectionId,
    /// Which expected member gives it; `None` if it comes from someone else.
    pub member: Option<MemberIndex>,
    /// The source of its blocks.
    pub from: SocketAddr,
    /// How far it has come.
    pub progress: BodyProgress,
}

/// Why a transmission waits, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub reason: HoldReason,
    /// For how much longer, as far as it can be known; the end of a question may come sooner.
    pub remaining: Duration,
}

/// Why a transmission waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// NSTART: as many questions to the group are outstanding as may be.
    Outstanding,
    /// PROBING_RATE: nobody in the group answered the last question.
    ProbingRate,
    /// The rate of the group for requests that want no answer.
    GroupRate,
    /// All Message IDs for groups were used within NON_LIFETIME.
    MessageIds,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outstanding => "another question to the group is outstanding (NSTART)",
            Self::ProbingRate => "nobody in the group answered the last question (PROBING_RATE)",
            Self::GroupRate => "the group's rate for requests without answers",
            Self::MessageIds => "all Message IDs are taken",
        })
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// To which question.
    pub collection: CollectionId,
    /// Which expected member gave it; `None` if it comes from someone else.
    pub member: Option<MemberIndex>,
    /// The way it came; `from.peer` is its source.
    pub from: Path,
    /// Who is proven to have sent it.
    pub sender: Sender,
    /// Its message type: usually Non-confirmable; Confirmable answers are acknowledged. `None` for the
    /// answer to a unicast request, whose exchange deals with it.
    pub kind: Option<Type>,
    /// The answer itself.
    pub response: Response,
    /// The how-manieth answer of this responder it is, from 1.
    pub sequence: u32,
    /// How long after the first transmission of the request it came.
    pub after: Duration,
    /// In reply to what it came.
    pub how: How,
}

impl Answer {
    /// Roughly the memory that it takes.
    pub(crate) fn footprint(&self) -> usize {
        let options = self
            .response
            .options
            .iter()
            .map(|(_, value)| value.len() + 12);
        size_of::<Self>() + self.response.payload.len() + options.sum::<usize>()
    }

    /// The server that gave it: the expected member, or the source address.
    pub fn server(&self) -> AnsweredBy {
        match self.member {
            Some(member) => AnsweredBy::Member(member),
            None => AnsweredBy::Address(responder_address(&self.from)),
        }
    }
}

/// Who gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnsweredBy {
    /// An expected member, whatever its source address.
    Member(MemberIndex),
    /// Someone else at this address.
    Address(SocketAddr),
}

/// In reply to what an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The first transmission to the group.
    Multicast,
    /// Some transmission up to the n-th repeat, which was the last one sent when it came.
    Repeat(u8),
    /// The unicast request of the completion.
    Unicast,
    /// Any of these, but after the end.
    Late,
    /// Nothing that was sent: the answer is one that was kept, and is still fresh.
    Cached {
        /// How long ago it came, or was confirmed.
        age: Duration,
    },
}

/// Which of several answers of one server count. The application decides, as it alone knows what they mean (GC-3.1-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerPolicy {
    /// Every one.
    All,
    /// The most recent one of each server.
    LatestPerServer,
}

impl AnswerPolicy {
    /// The answers that count, in the order of their arrival.
    pub fn select(self, answers: &[Answer]) -> Vec<&Answer> {
        match self {
            Self::All => answers.iter().collect(),
            Self::LatestPerServer => {
                let mut last = BTreeMap::new();
                for (n, answer) in answers.iter().enumerate() {
                    last.insert(answer.server(), n);
                }
                let is_last =
                    |(n, answer): &(usize, &Answer)| last.get(&answer.server()) == Some(n);
                answers
                    .iter()
                    .enumerate()
                    .filter(is_last)
                    .map(|(_, answer)| answer)
                    .collect()
            }
        }
    }
}

/// How a collection ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which.
    pub collection: CollectionId,
    /// Why it ended.
    pub ended_by: EndedBy,
    /// How long it took, from the first transmission; zero if nothing was sent.
    pub took: Duration,
    /// Datagrams sent to groups.
    pub transmissions: u32,
    /// Bytes of these datagrams.
    pub bytes: u64,
    /// Answers delivered, late ones included.
    pub answers: u32,
    /// Responders that were not expected.
    pub unexpected: Vec<Unexpected>,
    /// What was not delivered.
    pub dropped: Dropped,
    pub(crate) names: Names,
    pub(crate) reports: Vec<MemberReport>,
    pub(crate) kept: Vec<Answer>,
}

impl Outcome {
    /// Every expected member and how it did, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &MemberReport)> {
        self.reports.iter().zip(0..).map(|(report, index)| {
            let name = self.names.get(MemberIndex(index));
            (name, report)
        })
    }

    /// The expected members that answered in time, and how often.
    pub fn answered(&self) -> impl Iterator<Item = (&str, u32)> {
        self.members()
            .filter(|(_, report)| report.state == MemberState::Answered)
            .map(|(name, report)| (name, report.answers))
    }

    /// The expected members that count as having answered because an answer of theirs was kept and is still fresh.
    pub fn cached(&self) -> impl Iterator<Item = &str> {
        self.members()
            .filter(|(_, report)| report.cached)
            .map(|(name, _)| name)
    }

    /// The expected members of which nothing came, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&str, MissingReason)> {
        self.members()
            .filter_map(|(name, report)| match report.state {
                MemberState::Missing(reason) => Some((name, reason)),
                _ => None,
            })
    }

    /// The expected members that answered only after the end.
    pub fn late(&self) -> impl Iterator<Item = &str> {
        self.members()
            .filter(|(_, report)| report.state == MemberState::Late)
            .map(|(name, _)| name)
    }

    /// The expected members of which only unacceptable answers came, and what was wrong with the last one.
    pub fn rejected(&self) -> impl Iterator<Item = (&str, Rejection)> {
        self.members()
            .filter_map(|(name, report)| match report.state {
                MemberState::Rejected(rejection) => Some((name, rejection)),
                _ => None,
            })
    }

    /// Have all expected members answered in time?
    pub fn is_complete(&self) -> bool {
        self.reports
            .iter()
            .all(|report| report.state == MemberState::Answered)
    }

    /// How many distinct servers answered, expected or not.
    pub fn servers(&self) -> usize {
        let members = self.reports.iter().filter(|report| report.answers > 0);
        let others = self.unexpected.iter().filter(|other| other.answers > 0);
        members.count() + others.count()
    }

    /// The answers that count by this policy; none unless the request asked to keep them.
    pub fn kept_answers(&self, policy: AnswerPolicy) -> Vec<&Answer> {
        policy.select(&self.kept)
    }
}

/// Why a collection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The time was over.
    Deadline,
    /// As many members as were asked for have answered.
    Count,
    /// All expected members have answered.
    AllExpected,
    /// The application closed it.
    Closed,
    /// It wanted no answer and was sent.
    Sent,
    /// It could not be sent to any target.
    Failed(SendError),
    /// It could not be protected, so nothing was sent; or its security group was left meanwhile.
    NotProtected(NotProtected),
}

/// How one expected member did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberReport {
    /// Its answers that were delivered.
    pub answers: u32,
    /// How it did.
    pub state: MemberState,
    /// The first of its answers was taken from the cache, as nothing came from it.
    pub cached: bool,
}

/// How an expected member did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Nothing came from it.
    Missing(MissingReason),
    /// Only unacceptable answers came from it.
    Rejected(Rejection),
    /// It answered in time.
    Answered,
    /// It answered, but after the end.
    Late,
}

/// Why nothing came from a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingReason {
    /// It did not answer the group request.
    Silent,
    /// It did not answer the group request, and the unicast request failed.
    Unicast(Failure),
    /// It did not answer the group request, and none of its addresses can be reached by unicast.
    NoAddress,
}

impl fmt::Display for MissingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("silent"),
            Self::Unicast(failure) => write!(f, "silent; unicast: {failure}"),
            Self::NoAddress => f.write_str("silent; no address for a unicast request"),
        }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It has a critical option that is not recognised in a response, or is malformed (RFC 7252 section 5.4.1).
    CriticalOption(OptionNumber),
    /// Its code is of a reserved class.
    ReservedCode(Code),
    /// It is larger than the request allows.
    TooLarge(usize),
    /// It is the first of several blocks, and the others could not be fetched.
    Incomplete(Failure),
    /// It confirms a stored representation (2.03), and none with that entity tag is stored of this server.
    NotStored,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CriticalOption(number) => write!(f, "unrecognised critical option {}", number.0),
            Self::ReservedCode(code) => write!(f, "reserved code {code}"),
            Self::TooLarge(bytes) => write!(f, "{bytes} bytes are too many"),
            Self::Incomplete(failure) => write!(f, "incomplete: {failure}"),
            Self::NotStored => f.write_str("confirms what is not stored"),
        }
    }
}

/// A responder that was not expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// Its address; of one that is proven, the address of its first answer.
    pub address: SocketAddr,
    /// Who it is proven to be. Whoever is proven is one responder, whatever its addresses.
    pub sender: Sender,
    /// Its answers that were delivered.
    pub answers: u32,
    /// What was wrong with its last unacceptable answer.
    pub rejection: Option<Rejection>,
    /// The first of its answers was taken from the cache, as nothing came from it.
    pub cached: bool,
}

/// Answers that were not delivered or not kept, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Unacceptable.
    pub rejected: u32,
    /// More answers of one responder than its share.
    pub over_share: u32,
    /// Of unexpected responders for which there was no room.
    pub no_room: u32,
    /// Arrived by multicast, from a multicast source or as Acknowledgement.
    pub not_unicast: u32,
    /// The application did not fetch events in time.
    pub not_fetched: u32,
    /// Delivered, but not kept for the outcome.
    pub not_kept: u32,
    /// Without protection although the question was protected. Anyone can forge these; they count for nothing.
    pub unprotected: u32,
    /// The first of several blocks, of an answer whose other blocks were being fetched, or were there, already.
    pub same_body: u32,
}

/// What became of a response, and what its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To which question it belongs.
    pub collection: CollectionId,
    /// What became of it.
    pub verdict: Verdict,
    /// What its sender is told.
    pub reply: Reply,
}

/// What became of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered,
    /// It is delivered as a late answer.
    Late,
    /// It is the first of several blocks. It is delivered when the others are there.
    Begun,
    /// It is unacceptable.
    Rejected(Rejection),
    /// It is not wanted, came in a way in which no response comes, or found no room.
    Dropped,
}

/// What the sender of a response is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// Nothing, and it is not remembered: there was no room to look at it, so that it is as lost as on the way.
    Lost,
    /// An empty Acknowledgement: it was Confirmable.
    Acknowledge,
    /// A Reset: it was Confirmable, and it is not accepted.
    Reset,
}

/// A unicast request to a silent member, to be made as a Confirmable exchange. Its end is told by
/// [`Collections::completion_done`](super::Collections::completion_done).
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// For which question.
    pub collection: CollectionId,
    /// To which member.
    pub member: MemberIndex,
    /// The way to it.
    pub route: Route,
    /// What it is asked.
    pub request: Request,
    /// How it is protected.
    pub protection: Protection,
}

/// How a collection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is in its course.
    pub stage: Stage,
    /// Why its next transmission waits, and for how long.
    pub held: Option<Held>,
    /// Members that are expected.
    pub expected: usize,
    /// Of which have answered in time.
    pub expected_answered: usize,
    /// Distinct servers that have answered in time, expected or not.
    pub servers: usize,
    /// Answers delivered.
    pub answers: u32,
    /// Datagrams sent to groups.
    pub transmissions: u32,
    /// Members that are being asked in person.
    pub in_person: usize,
    /// The end by time, as soon as the last transmission is made.
    pub deadline: Option<Instant>,
}

/// Where a collection is in its course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing has been sent.
    Waiting,
    /// Some of its transmissions are made.
    Asking,
    /// All transmissions to groups are made; answers come in.
    Collecting,
    /// Silent members are asked in person.
    Completing,
    /// It has ended; late answers come in.
    Late,
}
