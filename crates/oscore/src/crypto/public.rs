//! Public keys, checked when they are read, and the one rule by which signatures are verified.

use alloc::vec::Vec;
use core::fmt;

use curve25519_dalek::montgomery::MontgomeryPoint;
#[cfg(feature = "p256")]
use p256::ecdsa::signature::Verifier;

use crate::suite::SignatureAlgorithm;

/// The curve of a key, which decides what the key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// Signs with ES256, agrees; with the feature `p256`.
    P256,
    /// Signs with ES384, agrees; with the feature `p384`.
    P384,
    /// Signs with ES512, agrees; with the feature `p521`.
    P521,
    /// Agrees, cannot sign.
    X25519,
    /// Signs with EdDSA, agrees as X25519.
    Ed25519,
}

impl Curve {
    /// The number in the COSE registry of elliptic curves.
    pub const fn id(self) -> i32 {
        match self {
            Curve::P256 => 1,
            Curve::P384 => 2,
            Curve::P521 => 3,
            Curve::X25519 => 4,
            Curve::Ed25519 => 6,
        }
    }

    /// The one with this number; `None` also for X448 and Ed448, which are left out.
    pub const fn from_id(id: i32) -> Option<Curve> {
        match id {
            1 => Some(Curve::P256),
            2 => Some(Curve::P384),
            3 => Some(Curve::P521),
            4 => Some(Curve::X25519),
            6 => Some(Curve::Ed25519),
            _ => None,
        }
    }

    /// The name in the COSE registry of elliptic curves.
    pub const fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
            Curve::X25519 => "X25519",
            Curve::Ed25519 => "Ed25519",
        }
    }

    /// The one with this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Curve> {
        let all = [
            Curve::P256,
            Curve::P384,
            Curve::P521,
            Curve::X25519,
            Curve::Ed25519,
        ];
        all.into_iter()
            .find(|curve| curve.name().eq_ignore_ascii_case(name))
    }

    /// The Signature Algorithm of keys on this curve.
    pub const fn signature(self) -> Option<SignatureAlgorithm> {
        match self {
            Curve::P256 => Some(SignatureAlgorithm::Es256),
            Curve::P384 => Some(SignatureAlgorithm::Es384),
            Curve::P521 => Some(SignatureAlgorithm::Es512),
            Curve::X25519 => None,
            Curve::Ed25519 => Some(SignatureAlgorithm::EdDsa),
        }
    }

    /// Length of a coordinate, of a private key and of a shared secret in bytes.
    pub const fn field_len(self) -> usize {
        match self {
            Curve::P256 | Curve::X25519 | Curve::Ed25519 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    /// Whether this build can compute on the curve.
    pub const fn supported(self) -> bool {
        match self {
            Curve::X25519 | Curve::Ed25519 => true,
            Curve::P256 => cfg!(feature = "p256"),
            Curve::P384 => cfg!(feature = "p384"),
            Curve::P521 => cfg!(feature = "p521"),
        }
    }
}

/// Why a public key is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefused {
    /// The curve has keys of another kind, or this build leaves it out.
    Unsupported,
    /// A coordinate is not as long as the field has it.
    Length,
    /// No point of the curve has these coordinates.
    NotOnCurve,
    /// The coordinate is not below the field's prime, or the sign of zero is set: the same point in another encoding.
    NotCanonical,
    /// The point has order 1, 2, 4 or 8: signatures under it prove nothing, and secrets agreed with it are known to all.
    /// Among them y = 1 and y = -1.
    SmallOrder,
    /// The point is a sum with a point of small order: one signature may be valid for one verifier and not for another.
    MixedOrder,
}

impl fmt::Display for KeyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyRefused::Unsupported => "keys on this curve are not supported",
            KeyRefused::Length => "a coordinate of the public key has the wrong length",
            KeyRefused::NotOnCurve => "the public key is not a point of its curve",
            KeyRefused::NotCanonical => "the public key is not encoded as it has to be",
            KeyRefused::SmallOrder => "the public key is a point of small order",
            KeyRefused::MixedOrder => "the public key is not in the subgroup of prime order",
        })
    }
}

impl core::error::Error for KeyRefused {}

/// The y coordinate of a key with two coordinates, as COSE has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcY<'a> {
    /// The coordinate.
    Bytes(&'a [u8]),
    /// Only its sign: of the two that x allows, the odd one if set.
    Sign(bool),
}

/// A public key that passed all checks, parsed once for many uses.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Point);

#[derive(Clone, PartialEq, Eq)]
enum Point {
    Ed25519(ed25519_dalek::VerifyingKey),
    X25519([u8; 32]),
    #[cfg(feature = "p256")]
    P256(p256::PublicKey),
    #[cfg(feature = "p384")]
    P384(p384::PublicKey),
    #[cfg(feature = "p521")]
    P521(p521::PublicKey),
}

/// Reads a point of an NIST curve, checked to be on the curve and not infinity.
#[cfg(feature = "p256")]
macro_rules! ec2 {
    ($curve:ident, $field:literal, $x:expr, $y:expr) => {{
        const FIELD: usize = $field;
        let mut encoded = [0; 1 + 2 * FIELD];
        let (format, len) = match $y {
            EcY::Bytes(y) if y.len() != FIELD => return Err(KeyRefused::Length),
            EcY::Bytes(_) => (4, 1 + 2 * FIELD),
            EcY::Sign(odd) => (2 + u8::from(odd), 1 + FIELD),
        };
        if $x.len() != FIELD {
            return Err(KeyRefused::Length);
        }
        let y: &[u8] = if let EcY::Bytes(y) = $y { y } else { &[] };
        let bytes = core::iter::once(&format).chain($x).chain(y);
        for (place, byte) in encoded.iter_mut().zip(bytes) {
            *place = *byte;
        }
        let encoded = encoded.get(..len).ok_or(KeyRefused::Length)?;
        $curve::PublicKey::from_sec1_bytes(encoded).map_err(|_| KeyRefused::NotOnCurve)?
    }};
}

/// The coordinates of a point of an NIST curve.
#[cfg(feature = "p256")]
macro_rules! coordinates {
    ($curve:ident, $key:expr) => {{
        use $curve::elliptic_curve::sec1::ToSec1Point;
        let point = $key.to_sec1_point(false);
        (
            point.x().map(|x| x.to_vec()).unwrap_or_default(),
            point.y().map(|y| y.to_vec()),
        )
    }};
}

impl PublicKey {
    /// A key with one coordinate (COSE key type OKP): on Ed25519 or X25519.
    ///
    /// # Errors
    /// [`KeyRefused`]. On Ed25519: every encoding but the canonical one, and every point outside of the subgroup of prime
    /// order, among them y = 1 and y = -1. On X25519: points of small order; other encodings of a coordinate are taken, as
    /// RFC 7748, section 5 wants it.
    pub fn okp(curve: Curve, x: &[u8]) -> Result<PublicKey, KeyRefused> {
        if !matches!(curve, Curve::Ed25519 | Curve::X25519) {
            return Err(KeyRefused::Unsupported);
        }
        let x: &[u8; 32] = x.try_into().map_err(|_| KeyRefused::Length)?;
        let point = match curve {
            Curve::Ed25519 => Point::Ed25519(ed25519(x)?),
            _ => Point::X25519(x25519(x)?),
        };
        Ok(PublicKey(point))
    }

    /// A key with two coordinates (COSE key type EC2): on P-256, P-384 and P-521, with their features.
    ///
    /// # Errors
    /// [`KeyRefused`]. Coordinates have the field's length, with leading zeros.
    #[cfg_attr(not(feature = "p256"), allow(unused_variables))]
    pub fn ec2(curve: Curve, x: &[u8], y: EcY<'_>) -> Result<PublicKey, KeyRefused> {
        let point: Result<Point, KeyRefused> = match curve {
            #[cfg(feature = "p256")]
            Curve::P256 => Ok(Point::P256(ec2!(p256, 32, x, y))),
            #[cfg(feature = "p384")]
            Curve::P384 => Ok(Point::P384(ec2!(p384, 48, x, y))),
            #[cfg(feature = "p521")]
            Curve::P521 => Ok(Point::P521(ec2!(p521, 66, x, y))),
            _ => Err(KeyRefused::Unsupported),
        };
        point.map(PublicKey)
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        match &self.0 {
            Point::Ed25519(_) => Curve::Ed25519,
            Point::X25519(_) => Curve::X25519,
            #[cfg(feature = "p256")]
            Point::P256(_) => Curve::P256,
            #[cfg(feature = "p384")]
            Point::P384(_) => Curve::P384,
            #[cfg(feature = "p521")]
            Point::P521(_) => Curve::P521,
        }
    }

    /// The coordinates as COSE has them: x, and y for keys that have two.
    pub fn coordinates(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match &self.0 {
            Point::Ed25519(key) => (key.as_bytes().to_vec(), None),
            Point::X25519(u) => (u.to_vec(), None),
            #[cfg(feature = "p256")]
            Point::P256(key) => coordinates!(p256, key),
            #[cfg(feature = "p384")]
            Point::P384(key) => coordinates!(p384, key),
            #[cfg(feature = "p521")]
            Point::P521(key) => coordinates!(p521, key),
        }
    }

    pub(super) fn from_ed25519(key: ed25519_dalek::VerifyingKey) -> PublicKey {
        PublicKey(Point::Ed25519(key))
    }

    #[cfg(feature = "p256")]
    pub(super) fn from_p256(key: p256::PublicKey) -> PublicKey {
        PublicKey(Point::P256(key))
    }

    #[cfg(feature = "p384")]
    pub(super) fn from_p384(key: p384::PublicKey) -> PublicKey {
        PublicKey(Point::P384(key))
    }

    #[cfg(feature = "p521")]
    pub(super) fn from_p521(key: p521::PublicKey) -> PublicKey {
        PublicKey(Point::P521(key))
    }

    #[cfg(feature = "p256")]
    pub(super) fn as_p256(&self) -> Option<&p256::PublicKey> {
        if let Point::P256(key) = &self.0 {
            Some(key)
        } else {
            None
        }
    }

    #[cfg(feature = "p384")]
    pub(super) fn as_p384(&self) -> Option<&p384::PublicKey> {
        if let Point::P384(key) = &self.0 {
            Some(key)
        } else {
            None
        }
    }

    #[cfg(feature = "p521")]
    pub(super) fn as_p521(&self) -> Option<&p521::PublicKey> {
        if let Point::P521(key) = &self.0 {
            Some(key)
        } else {
            None
        }
    }

    /// The key of an Ed25519 key for X25519: u = (1 + y) / (1 - y), which exists because y = 1 was refused (draft, section
    /// 2.5.2.1).
    pub(super) fn ed25519_u(&self) -> Option<[u8; 32]> {
        if let Point::Ed25519(key) = &self.0 {
            Some(key.to_montgomery().to_bytes())
        } else {
            None
        }
    }

    pub(super) fn x25519_u(&self) -> Option<[u8; 32]> {
        if let Point::X25519(u) = &self.0 {
            Some(*u)
        } else {
            None
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (x, _) = self.coordinates();
        write!(f, "PublicKey({} ", self.curve().name())?;
        x.iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}

fn ed25519(encoded: &[u8; 32]) -> Result<ed25519_dalek::VerifyingKey, KeyRefused> {
    let key =
        ed25519_dalek::VerifyingKey::from_bytes(encoded).map_err(|_| KeyRefused::NotOnCurve)?;
    let point = key.to_edwards();
    if point.is_small_order() {
        return Err(KeyRefused::SmallOrder);
    }
    // the library reads coordinates modulo p, and keeps the bytes that it has read
    if point.compress().as_bytes() != encoded {
        return Err(KeyRefused::NotCanonical);
    }
    if !point.is_torsion_free() {
        return Err(KeyRefused::MixedOrder);
    }
    Ok(key)
}

fn x25519(u: &[u8; 32]) -> Result<[u8; 32], KeyRefused> {
    // every private key is a multiple of the cofactor: with a point of small order each of them agrees on zero
    let agreed = MontgomeryPoint(*u).mul_clamped([0x55; 32]);
    if agreed.to_bytes() == [0; 32] {
        Err(KeyRefused::SmallOrder)
    } else {
        Ok(*u)
    }
}

/// The signature does not belong to this key and message. There is nothing else to say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureRefused;

impl fmt::Display for SignatureRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature is not valid")
    }
}

impl core::error::Error for SignatureRefused {}

/// Verifies a signature: the one rule, for all messages and all places. It never depends on what else is verified at the
/// same time, so all members of a group decide alike.
///
/// EdDSA is pure Ed25519 with small-order R refused, S below the group order, and no cofactor in the equation. ECDSA
/// signatures are r and s, each as long as the field, neither zero, both below the group order.
///
/// # Errors
/// [`SignatureRefused`], also when the key is not one of this algorithm.
pub fn verify(
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureRefused> {
    #[cfg(feature = "p256")]
    macro_rules! ecdsa {
        ($curve:ident, $key:expr) => {{
            let signature =
                $curve::ecdsa::Signature::from_slice(signature).map_err(|_| SignatureRefused)?;
            $curve::ecdsa::VerifyingKey::from($key)
                .verify(message, &signature)
                .map_err(|_| SignatureRefused)
        }};
    }
    match (&key.0, algorithm) {
        (Point::Ed25519(key), SignatureAlgorithm::EdDsa) => {
            let signature =
                ed25519_dalek::Signature::from_slice(signature).map_err(|_| SignatureRefused)?;
            key.verify_strict(message, &signature)
                .map_err(|_| SignatureRefused)
        }
        #[cfg(feature = "p256")]
        (Point::P256(key), SignatureAlgorithm::Es256) => ecdsa!(p256, key),
        #[cfg(feature = "p384")]
        (Point::P384(key), SignatureAlgorithm::Es384) => ecdsa!(p384, key),
        #[cfg(feature = "p521")]
        (Point::P521(key), SignatureAlgorithm::Es512) => ecdsa!(p521, key),
        _ => Err(SignatureRefused),
    }
}
