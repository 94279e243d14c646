//! Messages in group mode made by hand from the published parts, so that a test can leave one out or do it the old way.

use antiphon_oscore::crypto::GroupKey;
use antiphon_oscore::derive::{KeystreamOf, Material, keystream};
use antiphon_oscore::nonce::nonce;
use antiphon_oscore::suite::{Hkdf, SignatureAlgorithm};
use minicbor::Encoder;

use crate::floor::*;

/// What no key of ours does: a signature over bytes of the caller's choice.
fn sign_by_hand(member: usize, bytes: &[u8]) -> Vec<u8> {
    use ed25519_dalek::Signer as _;
    let seed: [u8; 32] = key(member).to_bytes().as_bytes().try_into().unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    key.sign(bytes).to_bytes().to_vec()
}

/// Which text a part follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Draft {
    Eleven,
    TwentyEight,
}

/// How a message is made. The default is what the members of a floor take.
pub(crate) struct Recipe {
    pub(crate) suite: Suite,
    /// Whose algorithms are in the authenticated data.
    pub(crate) claimed: Suite,
    pub(crate) aad: Draft,
    pub(crate) signature: Draft,
    /// The tag is wrong, and the signature covers it.
    pub(crate) wrong_tag: bool,
}

impl Recipe {
    pub(crate) fn new(suite: Suite) -> Recipe {
        Recipe {
            suite,
            claimed: suite,
            aad: Draft::TwentyEight,
            signature: Draft::TwentyEight,
            wrong_tag: false,
        }
    }

    fn material<'a>(&self, secret: &'a Secret, salt: &'a [u8]) -> Material<'a> {
        Material {
            hkdf: Hkdf::Sha256,
            master_secret: secret,
            master_salt: salt,
            id_context: Some(GID),
        }
    }

    /// `external_aad` of a request.
    fn external_aad(&self, sender: usize, piv: PartialIv, option: &[u8]) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        let ids = [
            self.claimed.aead().map(Aead::id),
            self.claimed.group_encryption().map(GroupEncryption::id),
            self.claimed.signature().map(SignatureAlgorithm::id),
            self.claimed.key_agreement().map(|it| it.id()),
        ];
        match self.aad {
            Draft::TwentyEight => {
                out.array(9).unwrap().u8(1).unwrap().array(4).unwrap();
                for id in ids {
                    match id {
                        Some(id) => out.i32(id).unwrap(),
                        None => out.null().unwrap(),
                    };
                }
            }
            // [alg_aead, alg_countersign, [[key type], [key type, curve]]]
            Draft::Eleven => {
                out.array(7).unwrap().u8(1).unwrap().array(3).unwrap();
                out.i32(ids[0].unwrap())
                    .unwrap()
                    .i32(ids[2].unwrap())
                    .unwrap();
                out.array(2).unwrap().array(1).unwrap().u8(1).unwrap();
                out.array(2).unwrap().u8(1).unwrap().u8(6).unwrap();
            }
        }
        let kid = kid(sender);
        out.bytes(kid.as_bytes()).unwrap();
        out.bytes(piv.as_bytes()).unwrap().bytes(&[]).unwrap();
        out.bytes(GID).unwrap().bytes(option).unwrap();
        if self.aad == Draft::TwentyEight {
            out.bytes(credential(sender).bytes()).unwrap();
            out.bytes(b"manager").unwrap();
        }
        out.into_writer()
    }

    /// A GET request for `lock` by a member, under this number.
    pub(crate) fn request(&self, sender: usize, piv: u64) -> Vec<u8> {
        let (secret, salt) = (Secret::copy_of(&MASTER_SECRET), [0x7e; 8]);
        let material = self.material(&secret, &salt);
        let (id, piv) = (kid(sender), PartialIv::new(piv).unwrap());
        let option = OscoreOption {
            partial_iv: Some(piv),
            kid_context: Some(GID),
            kid: Some(id.as_bytes()),
            group_flag: true,
        };
        let mut raw = vec![];
        option.write(&mut raw).unwrap();
        let external = self.external_aad(sender, piv, &raw);
        let mut encrypt0 = Encoder::new(Vec::new());
        encrypt0.array(3).unwrap().str("Encrypt0").unwrap();
        encrypt0.bytes(&[]).unwrap().bytes(&external).unwrap();
        let algorithm = self.suite.group_encryption().unwrap();
        let iv = material.common_iv(&self.suite).unwrap();
        let nonce = nonce(algorithm.nonce_len(), id.as_bytes(), piv, iv.as_bytes()).unwrap();
        let sender_key = material.sender_key(&self.suite, id.as_bytes()).unwrap();
        let mut body = b"\x01\xb4lock".to_vec();
        GroupKey::new(algorithm, sender_key.as_bytes())
            .unwrap()
            .seal(nonce.as_bytes(), encrypt0.writer(), &mut body)
            .unwrap();
        *body.last_mut().unwrap() ^= u8::from(self.wrong_tag);
        let mut signed = Encoder::new(Vec::new());
        signed.array(5).unwrap().str("CounterSignature0").unwrap();
        signed.bytes(&[]).unwrap().bytes(&[]).unwrap();
        signed.bytes(&external).unwrap().bytes(&body).unwrap();
        let mut signature = sign_by_hand(sender, signed.writer());
        if self.signature == Draft::TwentyEight {
            let stream = countersignature_keystream(&self.suite, piv, id, true);
            signature = xor(&signature, &stream);
        }
        body.extend_from_slice(&signature);
        message(Code::POST, 5, &[(OptionNumber::OSCORE, &raw)], &body)
    }
}

/// What the countersignature of a message is encrypted with, 64 bytes.
pub(crate) fn countersignature_keystream(
    suite: &Suite,
    piv: PartialIv,
    generator: Kid,
    request: bool,
) -> Vec<u8> {
    let secret = Secret::copy_of(&MASTER_SECRET);
    let material = Material {
        hkdf: Hkdf::Sha256,
        master_secret: &secret,
        master_salt: &[0x7e; 8],
        id_context: Some(GID),
    };
    let key = material.signature_encryption_key(suite).unwrap();
    let of = KeystreamOf {
        partial_iv: piv,
        id: generator.as_bytes(),
        gid: GID,
        request,
    };
    let stream = keystream(Hkdf::Sha256, &key, SignatureAlgorithm::EdDsa, &of).unwrap();
    let mut bytes = vec![0; 64];
    stream.apply(&mut bytes).unwrap();
    bytes
}
