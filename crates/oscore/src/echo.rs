//! Echo values (draft section 9, RFC 9175): made with a secret and known again by it, and not kept.
//!
//! A value is what RFC 9175, Appendix A, item 2, calls an integrity-protected timestamp. It states its number, when it was made and a note,
//! and is sealed for one Recipient Context with the secret of one Security Context. So a server remembers two
//! numbers for each client, however many challenges it sends: old requests that somebody sends again can neither fill
//! anything nor put the value out of use that the client is about to send back.

use core::time::Duration;

use subtle::ConstantTimeEq;

use crate::crypto::hkdf;
use crate::identity::Kid;
use crate::secret::Secret;
use crate::suite::Hkdf;

/// What a server notes in an Echo value and finds in it again, like a hash of the address that it was sent to. Whoever is
/// sent the value can read it; nobody can change it.
pub type EchoNote = [u8; 4];

/// The length of an Echo value: 23 bytes, of which 8 are the seal.
pub const ECHO_LEN: usize = STATED + SEAL;

/// The bounds of Echo values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoSettings {
    /// How long a value is good, by default 60 seconds.
    pub lifetime: Duration,
}

impl Default for EchoSettings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(60),
        }
    }
}

/// Number, time in milliseconds, note.
const STATED: usize = NUMBER + TIME + NOTE;
const NUMBER: usize = 5;
const TIME: usize = 6;
const NOTE: usize = size_of::<EchoNote>();
const SEAL: usize = 8;

/// Makes the Echo values of one Security Context, and knows them again; it ends with the context. With the Gid of that
/// context and the kid of the client a value belongs to the pair (gid, kid) of the text.
#[derive(Debug)]
pub(crate) struct Echoes {
    /// Drawn for the first challenge.
    secret: Option<Secret>,
    /// The number of the next value.
    next: u64,
    settings: EchoSettings,
}

/// For whom a value is: the Recipient Context of a client. One that is made anew for the same kid is another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) kid: Kid,
    pub(crate) serial: u64,
}

/// What is remembered of one client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Challenges {
    /// Values with numbers below this one are used up.
    used_up: u64,
    /// From then on none is good.
    end: Duration,
}

impl Challenges {
    /// Whether a value for this client waits to come back.
    pub(crate) fn are_waiting(&self, now: Duration) -> bool {
        now < self.end
    }
}

impl Echoes {
    /// Nobody challenged yet.
    pub(crate) const fn new(settings: EchoSettings) -> Self {
        Self {
            secret: None,
            next: 0,
            settings,
        }
    }

    /// Values made so far are good no more.
    pub(crate) fn forget(&mut self) {
        self.secret = None;
    }

    /// Whether no value can come back.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.secret.is_none()
    }

    /// Makes a value for this client. `None` if there are no numbers left, or the time has none.
    pub(crate) fn challenge(
        &mut self,
        client: Client,
        challenges: &mut Challenges,
        now: Duration,
        random: impl FnOnce() -> [u8; 32],
        note: EchoNote,
    ) -> Option<[u8; ECHO_LEN]> {
        let number: [u8; NUMBER] = tail(self.next)?;
        let made = u64::try_from(now.as_millis()).ok()?;
        let time: [u8; TIME] = tail(made)?;
        let mut value = [0; ECHO_LEN];
        let parts = number.iter().chain(&time).chain(&note);
        value
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = *from);
        let secret = self
            .secret
            .get_or_insert_with(|| Secret::copy_of(&random()));
        let (stated, end) = value.split_last_chunk_mut::<SEAL>()?;
        *end = seal(secret, client, stated)?;
        self.next += 1;
        challenges.end = Duration::from_millis(made).saturating_add(self.settings.lifetime);
        Some(value)
    }

    /// The note of a value that was made for this client, is still good and was not used up. What was right is used up,
    /// together with all else that waited for the client; a wrong value changes nothing. Seals are compared in constant time.
    pub(crate) fn verify(
        &self,
        client: Client,
        challenges: &mut Challenges,
        value: &[u8],
        now: Duration,
    ) -> Option<EchoNote> {
        let (stated, sealed) = value.split_at_checked(STATED)?;
        let right = seal(self.secret.as_ref()?, client, stated)?;
        if !bool::from(right.as_slice().ct_eq(sealed)) {
            return None;
        }
        let (number, rest) = stated.split_at_checked(NUMBER)?;
        let (time, note) = rest.split_at_checked(TIME)?;
        let end = Duration::from_millis(read(time)).saturating_add(self.settings.lifetime);
        if read(number) < challenges.used_up || now >= end {
            return None;
        }
        *challenges = Challenges {
            used_up: self.next,
            end: Duration::ZERO,
        };
        note.try_into().ok()
    }
}

/// The first bytes of a key that nobody else can derive: for this client and what the value states.
fn seal(secret: &Secret, client: Client, stated: &[u8]) -> Option<[u8; SEAL]> {
    let kid = client.kid.packed().to_be_bytes();
    let serial = client.serial.to_be_bytes();
    let info = [&kid, &serial, stated].concat();
    let mut seal = [0; SEAL];
    hkdf(Hkdf::Sha256, &[], &[secret.as_bytes()], &info, &mut seal).ok()?;
    Some(seal)
}

/// A number in so many bytes; `None` if it does not fit.
fn tail<const N: usize>(number: u64) -> Option<[u8; N]> {
    let bytes = number.to_be_bytes();
    let (head, tail) = bytes.split_last_chunk::<N>()?;
    head.iter().all(|byte| *byte == 0).then_some(*tail)
}

fn read(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| (number << 8) + u64::from(*byte))
}

#[cfg(test)]
mod tests;
