//! A plain OSCORE Security Context, shared by two (RFC 8613, section 3), with recovery of sequence number and Replay
//! Window after a restart (Appendix B.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::aad::{Aad, OscoreAad};
use crate::contexts::Scratch;
use crate::crypto::{AeadKey, CryptoError};
use crate::derive::{CommonIv, Material};
use crate::echo::{Challenges, EchoSettings, Echoes};
use crate::identity::{Gid, Kid, MAX_NAME, Member};
use crate::nonce::{Nonce, PartialIv, nonce};
use crate::refused::Reason;
use crate::replay::{OrderPolicy, ReplayWindow, WindowSize};
use crate::secret::Secret;
use crate::sequence::Sequence;
use crate::suite::{Aead, Hkdf};

/// What a pair is derived from (RFC 8613, section 3.2).
#[derive(Clone, Debug)]
pub struct PairParameters {
    /// The Master Secret.
    pub master_secret: Secret,
    /// The Master Salt; empty if there is none.
    pub master_salt: Secret,
    /// The ID Context, if there is one. Absent and empty are different.
    pub id_context: Option<Gid>,
    /// The own Sender ID.
    pub sender_id: Kid,
    /// The peer's ID.
    pub recipient_id: Kid,
    /// The HKDF Algorithm.
    pub hkdf: Hkdf,
    /// The AEAD Algorithm.
    pub aead: Aead,
}

/// What the application decides about a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairSettings {
    /// Size of the Replay Window. Default 32.
    pub window: WindowSize,
    /// Echo values.
    pub echo: EchoSettings,
    /// Older notifications. Default: refused.
    pub order: OrderPolicy,
    /// Whether requests carry the ID Context. Default `false`.
    pub send_id_context: bool,
    /// Whether the first response goes without Partial IV where it may. Default `true`.
    pub reuse_request_nonce: bool,
}

impl Default for PairSettings {
    fn default() -> PairSettings {
        PairSettings {
            window: WindowSize::default(),
            echo: EchoSettings::default(),
            order: OrderPolicy::default(),
            send_id_context: false,
            reuse_request_nonce: true,
        }
    }
}

/// A pair that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairError {
    /// The name is empty or longer than 255 bytes.
    Name,
    /// An ID longer than the nonce allows.
    IdTooLong,
    /// Both IDs are the same: both ends would use the same key.
    SameIds,
    /// A key could not be derived.
    Derivation,
}

impl From<CryptoError> for PairError {
    fn from(_: CryptoError) -> PairError {
        PairError::Derivation
    }
}

/// A plain OSCORE Security Context.
pub struct Pair {
    pub(crate) name: String,
    pub(crate) settings: PairSettings,
    pub(crate) aead: Aead,
    pub(crate) sender_id: Kid,
    pub(crate) recipient_id: Kid,
    pub(crate) id_context: Option<Gid>,
    common_iv: CommonIv,
    pub(crate) sender_key: AeadKey,
    pub(crate) recipient_key: AeadKey,
    pub(crate) sequence: Sequence,
    pub(crate) window: ReplayWindow,
    pub(crate) echo: Echoes,
    pub(crate) challenges: Challenges,
    pub(crate) fresh: bool,
}

impl Pair {
    /// A pair with a valid Replay Window: for keys that were never used before, or [`restore`](Self::restore_window)
    /// what was stored.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn new(
        name: &str,
        parameters: &PairParameters,
        sequence: Sequence,
        settings: PairSettings,
    ) -> Result<Pair, PairError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(PairError::Name);
        }
        if parameters.sender_id == parameters.recipient_id {
            return Err(PairError::SameIds);
        }
        let aead = parameters.aead;
        let longest = aead.nonce_len().saturating_sub(6);
        for id in [parameters.sender_id, parameters.recipient_id] {
            if id.as_bytes().len() > longest {
                return Err(PairError::IdTooLong);
            }
        }
        let material = Material {
            hkdf: parameters.hkdf,
            master_secret: &parameters.master_secret,
            master_salt: parameters.master_salt.as_bytes(),
            id_context: parameters.id_context.as_ref().map(Gid::as_bytes),
        };
        let key = |id: Kid| -> Result<AeadKey, CryptoError> {
            let key = material.oscore_key(aead, id.as_bytes())?;
            AeadKey::new(aead, key.as_bytes())
        };
        Ok(Pair {
            name: name.into(),
            aead,
            sender_id: parameters.sender_id,
            recipient_id: parameters.recipient_id,
            id_context: parameters.id_context.clone(),
            common_iv: material.oscore_common_iv(aead)?,
            sender_key: key(parameters.sender_id)?,
            recipient_key: key(parameters.recipient_id)?,
            sequence,
            window: ReplayWindow::valid(settings.window),
            echo: Echoes::new(settings.echo),
            challenges: Challenges::default(),
            fresh: false,
            settings,
        })
    }

    /// The name of the context at this endpoint.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The own Sender ID.
    pub fn sender_id(&self) -> Kid {
        self.sender_id
    }

    /// The peer's ID.
    pub fn recipient_id(&self) -> Kid {
        self.recipient_id
    }

    /// The ID Context.
    pub fn id_context(&self) -> Option<&Gid> {
        self.id_context.as_ref()
    }

    /// The Replay Window.
    pub fn window(&self) -> &ReplayWindow {
        &self.window
    }

    /// The own Sender Sequence Numbers.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// The own Sender Sequence Numbers, to say what is durable.
    pub fn sequence_mut(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    /// Sets the window that was stored at a clean shutdown, or an invalid one when it is not known what was received:
    /// the next request is then challenged (RFC 8613, Appendix B.1.2).
    pub fn restore_window(&mut self, window: ReplayWindow) {
        self.window = window;
        self.echo.forget();
    }

    /// Whether it is not known which sequence numbers were used.
    pub fn is_lost(&self) -> bool {
        self.sequence.is_lost()
    }

    /// The peer, as the sender of what this pair opens.
    pub fn member(&self) -> Member {
        Member::new(&self.name, self.recipient_id.as_bytes(), self.recipient_id)
    }

    /// Whether a request with these fields may belong to this pair. Without 'kid context' the ID alone decides.
    pub(crate) fn expects(&self, kid: Kid, kid_context: Option<&[u8]>) -> bool {
        let context = self.id_context.as_ref().map(Gid::as_bytes);
        kid == self.recipient_id && kid_context.is_none_or(|named| context == Some(named))
    }

    /// The serial number of the one Security Context that each pair has, for good.
    pub(crate) const SERIAL: u64 = 0;

    pub(crate) fn nonce(&self, id: Kid, piv: PartialIv) -> Result<Nonce, CryptoError> {
        let common_iv = self.common_iv.as_bytes();
        nonce(self.aead.nonce_len(), id.as_bytes(), piv, common_iv).ok_or(CryptoError::Length)
    }
}

impl Pair {
    /// Decrypts and verifies a message of the peer; the plaintext is then in `scratch.body`.
    pub(crate) fn decrypt(
        &self,
        generator: Kid,
        piv: PartialIv,
        parts: &OscoreAad<'_>,
        payload: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        if payload.len() <= self.aead.tag_len() {
            return Err(Reason::Malformed);
        }
        let nonce = self.nonce(generator, piv);
        let nonce = nonce.map_err(|_| Reason::NotVerified)?;
        let aad = Aad::oscore(parts, core::mem::take(&mut scratch.aad));
        let key = &self.recipient_key;
        scratch.decrypt(payload, aad, |aad, body| {
            key.open(nonce.as_bytes(), aad, body)
        })
    }

    /// Encrypts `body`.
    pub(crate) fn encrypt(
        &self,
        generator: Kid,
        piv: PartialIv,
        parts: &OscoreAad<'_>,
        aad_buffer: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let nonce = self.nonce(generator, piv)?;
        let mut aad = Aad::oscore(parts, core::mem::take(aad_buffer));
        let sealed = self
            .sender_key
            .seal(nonce.as_bytes(), aad.enc_structure(), body);
        *aad_buffer = aad.into_buffer();
        sealed
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("name", &self.name)
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .finish_non_exhaustive()
    }
}
