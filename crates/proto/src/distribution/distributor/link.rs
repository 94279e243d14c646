//! What is known of the network between a distributor and its devices.

/// A kind of link, as far as a distribution has to know: what may be sent to a group on it, and in how large pieces.
///
/// To name one is a statement about the network, for all of it that a distribution passes and with everything else that uses it:
/// it overrides PROBING_RATE knowingly (groupcomm-bis section 3.6, RFC 7252 section 4.7), as a rate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LinkProfile {
    /// Nothing is known: 1 byte a second, PROBING_RATE of RFC 7252, and blocks of 1,024 bytes.
    #[default]
    Unknown,
    /// Lights over 6LoWPAN, which are to be switched meanwhile: 640 bytes a second, and blocks of 64 bytes, which fit two frames.
    Lowpan,
    /// IEEE 802.15.4 that carries little else: 5,000 bytes a second, and blocks of 256 bytes.
    Ieee802154,
    /// Wi-Fi that sends multicast at its lowest rate: 20,000 bytes a second, and blocks of 1,024 bytes.
    Wifi,
    /// Ethernet: 100,000 bytes a second, and blocks of 1,024 bytes.
    Ethernet,
}

impl LinkProfile {
    /// All of them, the slowest first.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Lowpan,
        Self::Ieee802154,
        Self::Wifi,
        Self::Ethernet,
    ];

    /// Its name in files and commands: `unknown`, `6lowpan`, `802.15.4`, `wifi` or `ethernet`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Lowpan => "6lowpan",
            Self::Ieee802154 => "802.15.4",
            Self::Wifi => "wifi",
            Self::Ethernet => "ethernet",
        }
    }

    /// The profile of this name, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|link| link.name() == name)
    }

    /// Bytes a second to a group, all headers counted.
    pub const fn rate(self) -> u32 {
        match self {
            Self::Unknown => 1,
            Self::Lowpan => 640,
            Self::Ieee802154 => 5_000,
            Self::Wifi => 20_000,
            Self::Ethernet => 100_000,
        }
    }

    /// Bytes of a block.
    pub const fn block_size(self) -> u16 {
        match self {
            Self::Lowpan => 64,
            Self::Ieee802154 => 256,
            Self::Unknown | Self::Wifi | Self::Ethernet => 1_024,
        }
    }
}
