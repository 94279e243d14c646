//! HKDF (RFC 5869).

use ::hkdf::HkdfExtract;
use sha2::{Sha256, Sha512};

use super::CryptoError;
use crate::suite::Hkdf;

/// HKDF: fills `out`. The input keying material is the parts of `ikm`, joined.
///
/// # Errors
/// [`CryptoError::Length`] when `out` is longer than 255 hashes.
pub fn hkdf(
    hash: Hkdf,
    salt: &[u8],
    ikm: &[&[u8]],
    info: &[u8],
    out: &mut [u8],
) -> Result<(), CryptoError> {
    macro_rules! derive {
        ($hash:ty) => {{
            let mut extract = HkdfExtract::<$hash>::new(Some(salt));
            for part in ikm {
                extract.input_ikm(part);
            }
            let (_, expand) = extract.finalize();
            expand.expand(info, out).map_err(|_| CryptoError::Length)
        }};
    }
    match hash {
        Hkdf::Sha256 => derive!(Sha256),
        Hkdf::Sha512 => derive!(Sha512),
    }
}
