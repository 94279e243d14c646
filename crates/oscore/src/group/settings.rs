//! What the application decides about a group.

use core::time::Duration;

use super::UpkeepSettings;
use crate::echo::EchoSettings;
use crate::identity::Mode;
use crate::replay::{OrderPolicy, WindowSize};
use crate::sequence::SequenceSettings;

/// What the application decides about a group. The defaults are the safe ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Peers at most. Default 1024 (draft section 2.2).
    pub recipients: usize,
    /// Of those, how many at most whose first message has not verified yet. Default 16.
    pub provisional: usize,
    /// Whether a message of an unknown peer asks for its credential, or is just dropped. Default: dropped (draft
    /// section 7.2).
    pub dynamic: bool,
    /// Size of the Replay Windows. Default 32.
    pub window: WindowSize,
    /// For how many peers at most ciphers are kept ready. Default 32.
    pub ciphers: usize,
    /// How long the replaced Security Context still opens *responses* after a rekeying. Default: not at all, which is
    /// what the draft advises (section 14.5.1).
    pub retention: Duration,
    /// Whether during that time *requests* are opened with it too. Default `false`.
    pub retained_requests: bool,
    /// How long a message that was begun before a rekeying may be finished after it. Default 10 s.
    pub finish_within: Duration,
    /// Which requests need proof of freshness. Default [`Freshness::Windows`].
    pub freshness: Freshness,
    /// A request that echoes while nothing is stored counts as fresh if its Security Context was installed less than
    /// this ago (draft section 9). Default zero: never.
    pub fresh_within: Duration,
    /// Echo values: how many, how long.
    pub echo: EchoSettings,
    /// Older responses and changed IDs within a long exchange. Default: refused (draft sections 5.3.1 and 7.4).
    pub order: OrderPolicy,
    /// Servers at most whose responses to one request are told apart. Default 1024.
    pub servers: usize,
    /// Whether the first response to a request in pairwise mode goes without Partial IV where it may. Default `true`.
    pub reuse_request_nonce: bool,
    /// Whether a response to a request in pairwise mode always names its sender. Some peers need that, none may
    /// (draft section 8.5). Default `false`: only after a new Sender ID.
    pub kid_in_pairwise_responses: bool,
    /// How long a rekeying of this group takes at most: for so long responses to older requests name the new Gid.
    /// Default `None`, not known: until the Max-Age of the last response before it is over (draft section 7.3).
    pub rekey_duration: Option<Duration>,
    /// Which modes this endpoint supports, of those that the group has. Default: both (draft section 2).
    pub modes: Modes,
    /// Whether each own countersignature is verified before it is sent: a fault while it is made can give the private
    /// key away. Costs a verification for each message in group mode. Default `false`.
    pub check_own_signatures: bool,
    /// Sender Sequence Numbers after an installation.
    pub sequence: SequenceSettings,
    /// What whoever manages the group is told of, and what is deleted by itself.
    pub upkeep: UpkeepSettings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            recipients: 1024,
            provisional: 16,
            dynamic: false,
            window: WindowSize::default(),
            ciphers: 32,
            retention: Duration::ZERO,
            retained_requests: false,
            finish_within: Duration::from_secs(10),
            freshness: Freshness::Windows,
            fresh_within: Duration::ZERO,
            echo: EchoSettings::default(),
            order: OrderPolicy::default(),
            servers: 1024,
            reuse_request_nonce: true,
            kid_in_pairwise_responses: false,
            rekey_duration: None,
            modes: Modes::Both,
            check_own_signatures: false,
            sequence: SequenceSettings::default(),
            upkeep: UpkeepSettings::default(),
        }
    }
}

/// Which modes an endpoint supports (draft section 2). Those that the group does not have it does not have either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modes {
    /// Both.
    #[default]
    Both,
    /// The group mode. In a group that also has the pairwise mode such an endpoint sends no Echo challenge, since those
    /// have to be answered in pairwise mode (draft section 9): what would need one is discarded.
    Group,
    /// The pairwise mode.
    Pairwise,
}

impl Modes {
    pub(crate) const fn allow(self, mode: Mode) -> bool {
        match mode {
            Mode::Group => !matches!(self, Modes::Pairwise),
            Mode::Pairwise => !matches!(self, Modes::Group),
            Mode::Plain => false,
        }
    }
}

/// Which requests are delivered only after an Echo exchange (draft sections 5.2 and 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Those whose Replay Window is invalid. Otherwise the window alone decides.
    #[default]
    Windows,
    /// Besides, those of each client under each Security Context until one of them has echoed.
    FirstContact,
}
