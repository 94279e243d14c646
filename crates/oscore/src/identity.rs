//! Names on the wire, and who is proven to have sent a message.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

/// A Sender ID or Recipient ID, as in 'kid': 0 to 7 bytes, never text, never an identity by itself
/// (draft-ietf-core-oscore-groupcomm-28, sections 2.2 and 2.6.3). An empty one is present, not absent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid {
    /// Unused bytes are zero, so that derived comparison is right.
    bytes: [u8; Kid::MAX_LEN],
    len: u8,
}

impl Kid {
    /// The longest ID that any nonce has room for: 13 - 6 bytes.
    pub const MAX_LEN: usize = 7;

    /// An ID of these bytes; `None` above seven.
    pub fn new(id: &[u8]) -> Option<Kid> {
        let mut bytes = [0; Kid::MAX_LEN];
        let to = bytes.get_mut(..id.len())?;
        to.iter_mut().zip(id).for_each(|(to, from)| *to = *from);
        Some(Kid {
            bytes,
            len: id.len() as u8, // at most seven, or `get_mut` had failed
        })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// One number for each ID: its length and its bytes.
    pub(crate) fn packed(self) -> u64 {
        let [a, b, c, d, e, f, g] = self.bytes;
        u64::from_be_bytes([self.len, a, b, c, d, e, f, g])
    }

    /// The ID of that number.
    pub(crate) fn unpacked(number: u64) -> Kid {
        let [len, bytes @ ..] = number.to_be_bytes();
        Kid { bytes, len }
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.as_bytes(), f)
    }
}

/// A Group Identifier, the ID Context of a group (draft section 2.1.3): 0 to 255 opaque bytes.
#[derive(Clone)]
pub struct Gid(Short);

/// Bytes that need no memory of their own when they are few.
#[derive(Clone)]
enum Short {
    Inline { len: u8, bytes: [u8; 22] },
    Boxed(Box<[u8]>),
}

impl Gid {
    /// The longest 'kid context' that the OSCORE option can hold.
    pub const MAX_LEN: usize = 255;

    /// A Group Identifier of these bytes; `None` above 255.
    pub fn new(gid: &[u8]) -> Option<Gid> {
        if gid.len() > Gid::MAX_LEN {
            return None;
        }
        let mut bytes = [0; 22];
        Some(Gid(match bytes.get_mut(..gid.len()) {
            Some(to) => {
                to.copy_from_slice(gid);
                Short::Inline {
                    len: gid.len() as u8,
                    bytes,
                }
            }
            None => Short::Boxed(gid.into()),
        }))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Short::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Short::Boxed(bytes) => bytes,
        }
    }
}

impl PartialEq for Gid {
    fn eq(&self, other: &Gid) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Gid {}

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.as_bytes(), f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Who is proven to have sent a message: the credential it was verified with, within one group.
///
/// Two are equal if group and credential are; the 'kid' may change during a membership and go to somebody
/// else after it, so that it counts for nothing (draft section 2.6.3). For a plain OSCORE context the
/// "group" is the name of the context and the "credential" its Recipient ID.
#[derive(Clone)]
pub struct Member {
    /// Length of the name in two bytes, name, credential: no two members have the same.
    identity: Box<[u8]>,
    kid: Kid,
}

impl Member {
    pub(crate) fn new(group: &str, credential: &[u8], kid: Kid) -> Member {
        let name = group.as_bytes().get(..MAX_NAME).unwrap_or(group.as_bytes());
        let mut identity = Vec::with_capacity(2 + name.len() + credential.len());
        identity.extend_from_slice(&(name.len() as u16).to_be_bytes()); // at most `MAX_NAME`
        identity.extend_from_slice(name);
        identity.extend_from_slice(credential);
        Member {
            identity: identity.into_boxed_slice(),
            kid,
        }
    }

    /// The invariant name of the group.
    pub fn group(&self) -> &str {
        let name = self.identity.get(2..2 + self.name_len());
        core::str::from_utf8(name.unwrap_or_default()).unwrap_or_default()
    }

    /// The authentication credential, in the bytes in which it was distributed.
    pub fn credential(&self) -> &[u8] {
        self.identity.get(2 + self.name_len()..).unwrap_or_default()
    }

    /// The Sender ID that the member used in this message.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// Group and credential in one row of bytes, to be used as a key.
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    fn name_len(&self) -> usize {
        match *self.identity {
            [high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        }
    }
}

/// The longest name of a group, in bytes.
pub(crate) const MAX_NAME: usize = 255;

impl PartialEq for Member {
    fn eq(&self, other: &Member) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Member {}

impl PartialOrd for Member {
    fn partial_cmp(&self, other: &Member) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Member {
    fn cmp(&self, other: &Member) -> Ordering {
        self.identity.cmp(&other.identity)
    }
}

impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.group(), self.kid)
    }
}

/// The mode of Group OSCORE that protects one message, or plain OSCORE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Signed: draft section 7.
    Group,
    /// With keys of two members: draft section 8.
    Pairwise,
    /// RFC 8613.
    Plain,
}
