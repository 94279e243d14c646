//! Records as CBOR: `[number, fields]`, definite lengths, nothing after it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;
use zeroize::Zeroizing;

use super::{
    Installations, Installed, OwnMember, PAIR_VERSION, Paired, Past, PeersKept, Record,
    RecordMalformed, VERSION,
};
use crate::cbor;
use crate::credential::CredentialFormat;
use crate::replay::ReplayWindow;
use crate::secret::Secret;
use crate::suite::{Aead, Hkdf, Suite};

const INSTALLED: u64 = 0;
const PAIRED: u64 = 1;
const SENDER_ID: u64 = 2;
const RESERVED: u64 = 3;
const RUNNING: u64 = 4;
const PEER: u64 = 5;
const PEER_DELETED: u64 = 6;
const CLEAN: u64 = 7;
const LOST: u64 = 8;
const LEFT: u64 = 9;

/// The longest Gid or ID Context.
const MAX_GID: usize = 255;
/// The longest Sender ID: a nonce has room for no more.
const MAX_ID: usize = 7;

type Decoded<T> = Result<T, Wrong>;

enum Wrong {
    Cbor,
    Version,
}

impl From<minicbor::decode::Error> for Wrong {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Cbor
    }
}

pub(super) fn encode(record: &Record) -> Zeroizing<Vec<u8>> {
    // large enough at once: a vector that grows leaves copies behind that nobody overwrites
    let mut out = Zeroizing::new(Vec::with_capacity(capacity_for(record)));
    write(record, &mut out);
    out
}

fn write(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Installed(installed) => write_installed(installed, out),
        Record::Paired(pair) => write_paired(pair, out),
        Record::SenderId {
            gid,
            sender_id,
            upto,
        } => write_reservation(SENDER_ID, gid, sender_id, *upto, out),
        Record::Reserved {
            gid,
            sender_id,
            upto,
        } => write_reservation(RESERVED, gid, sender_id, *upto, out),
        Record::Running => head(out, RUNNING, 0),
        Record::Peer {
            gid,
            recipient_id,
            credential,
        } => {
            head(out, PEER, 3);
            cbor::bytes(out, gid);
            cbor::bytes(out, recipient_id);
            cbor::bytes(out, credential);
        }
        Record::PeerDeleted { gid, recipient_id } => {
            head(out, PEER_DELETED, 2);
            cbor::bytes(out, gid);
            cbor::bytes(out, recipient_id);
        }
        Record::Clean {
            gid,
            sender_id,
            next,
            windows,
        } => {
            head(out, CLEAN, 4);
            cbor::bytes(out, gid);
            cbor::bytes_or_null(out, sender_id.as_deref());
            cbor::unsigned(out, *next);
            cbor::array(out, windows.len() as u64);
            for (recipient_id, window) in windows {
                cbor::array(out, 2);
                cbor::bytes(out, recipient_id);
                window.encode(out);
            }
        }
        Record::Lost => head(out, LOST, 0),
        Record::Left(installations) => {
            head(out, LEFT, 2);
            match &installations.latest {
                None => cbor::null(out),
                Some((generation, gid)) => {
                    cbor::array(out, 2);
                    cbor::unsigned(out, *generation);
                    cbor::bytes(out, gid);
                }
            }
            write_past(&installations.past, out);
        }
    }
}

fn head(out: &mut Vec<u8>, number: u64, fields: u64) {
    cbor::array(out, 1 + fields);
    cbor::unsigned(out, number);
}

fn write_reservation(number: u64, gid: &[u8], sender_id: &[u8], upto: u64, out: &mut Vec<u8>) {
    head(out, number, 3);
    cbor::bytes(out, gid);
    cbor::bytes(out, sender_id);
    cbor::unsigned(out, upto);
}

fn write_installed(installed: &Installed, out: &mut Vec<u8>) {
    head(out, INSTALLED, 14);
    cbor::text(out, VERSION);
    cbor::text(out, &installed.name);
    cbor::unsigned(out, installed.generation);
    cbor::bytes(out, &installed.gid);
    cbor::bytes(out, installed.master_secret.as_bytes());
    cbor::bytes(out, &installed.master_salt);
    let suite = &installed.suite;
    cbor::array(out, 5);
    cbor::int(out, suite.hkdf().id());
    cbor::int_or_null(out, suite.aead().map(Aead::id));
    cbor::int_or_null(
        out,
        suite.group_encryption().map(|algorithm| algorithm.id()),
    );
    cbor::int_or_null(out, suite.signature().map(|algorithm| algorithm.id()));
    cbor::int_or_null(out, suite.key_agreement().map(|algorithm| algorithm.id()));
    cbor::int(out, installed.format.id());
    cbor::bytes(out, &installed.manager);
    match &installed.own {
        None => cbor::null(out),
        Some(own) => {
            cbor::array(out, 3);
            cbor::bytes(out, &own.sender_id);
            cbor::bytes(out, &own.credential);
            cbor::bytes_or_null(out, own.key.as_ref().map(Secret::as_bytes));
        }
    }
    cbor::unsigned(out, installed.upto);
    match &installed.peers {
        PeersKept::Nobody => cbor::null(out),
        PeersKept::AllBut(stale) => {
            cbor::array(out, stale.len() as u64);
            stale
                .iter()
                .for_each(|recipient_id| cbor::bytes(out, recipient_id));
        }
    }
    write_past(&installed.past, out);
    cbor::boolean(out, installed.ever_deleted);
}

fn write_paired(pair: &Paired, out: &mut Vec<u8>) {
    head(out, PAIRED, 10);
    cbor::text(out, PAIR_VERSION);
    cbor::text(out, &pair.name);
    cbor::bytes_or_null(out, pair.id_context.as_deref());
    cbor::bytes(out, pair.master_secret.as_bytes());
    cbor::bytes(out, &pair.master_salt);
    cbor::int(out, pair.hkdf.id());
    cbor::int(out, pair.aead.id());
    cbor::bytes(out, &pair.sender_id);
    cbor::bytes(out, &pair.recipient_id);
    cbor::unsigned(out, pair.upto);
}

fn write_past(all: &[Past], out: &mut Vec<u8>) {
    cbor::array(out, all.len() as u64);
    for past in all {
        cbor::array(out, 2);
        cbor::bytes(out, &past.gid);
        cbor::bytes(out, &past.sender_id);
    }
}

/// An upper bound of the length of a record.
pub(super) fn capacity_for(record: &Record) -> usize {
    const HEAD: usize = 9;
    let past = |all: &[Past]| all.len() * (3 * HEAD + MAX_GID + MAX_ID);
    32 * HEAD
        + match record {
            Record::Installed(installed) => {
                let own = installed.own.as_ref().map_or(0, |own| {
                    own.sender_id.len()
                        + own.credential.len()
                        + own.key.as_ref().map_or(0, Secret::len)
                });
                let stale = match &installed.peers {
                    PeersKept::Nobody => 0,
                    PeersKept::AllBut(stale) => stale.len() * (HEAD + MAX_ID),
                };
                let lengths = [
                    installed.name.len(),
                    installed.gid.len(),
                    installed.manager.len(),
                ];
                let secrets = installed.master_secret.len() + installed.master_salt.len();
                VERSION.len()
                    + lengths.iter().sum::<usize>()
                    + secrets
                    + own
                    + stale
                    + past(&installed.past)
            }
            Record::Paired(pair) => {
                let ids = pair.sender_id.len()
                    + pair.recipient_id.len()
                    + pair.id_context.as_ref().map_or(0, Vec::len);
                PAIR_VERSION.len()
                    + pair.name.len()
                    + pair.master_secret.len()
                    + pair.master_salt.len()
                    + ids
            }
            Record::Peer { credential, .. } => MAX_GID + MAX_ID + credential.len(),
            Record::Clean { windows, .. } => {
                MAX_GID + MAX_ID + windows.len() * (4 * HEAD + MAX_ID + 16)
            }
            Record::Left(installations) => MAX_GID + past(&installations.past),
            _ => MAX_GID + MAX_ID,
        }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Record, RecordMalformed> {
    let mut d = Decoder::new(bytes);
    let read = read(&mut d).map_err(|wrong| match wrong {
        Wrong::Cbor => RecordMalformed::Malformed,
        Wrong::Version => RecordMalformed::Version,
    })?;
    if d.position() == bytes.len() {
        Ok(read)
    } else {
        Err(RecordMalformed::Malformed)
    }
}

fn read(d: &mut Decoder<'_>) -> Decoded<Record> {
    let elements = array(d)?;
    let number = d.u64()?;
    Ok(match (number, elements) {
        (INSTALLED, 15) => Record::Installed(Box::new(read_installed(d)?)),
        (PAIRED, 11) => Record::Paired(Box::new(read_paired(d)?)),
        (SENDER_ID, 4) => Record::SenderId {
            gid: gid(d)?,
            sender_id: id(d)?,
            upto: d.u64()?,
        },
        (RESERVED, 4) => Record::Reserved {
            gid: gid(d)?,
            sender_id: id(d)?,
            upto: d.u64()?,
        },
        (RUNNING, 1) => Record::Running,
        (PEER, 4) => Record::Peer {
            gid: gid(d)?,
            recipient_id: id(d)?,
            credential: d.bytes()?.into(),
        },
        (PEER_DELETED, 3) => Record::PeerDeleted {
            gid: gid(d)?,
            recipient_id: id(d)?,
        },
        (CLEAN, 5) => Record::Clean {
            gid: gid(d)?,
            sender_id: or_null(d, id)?,
            next: d.u64()?,
            windows: list(d, |d| {
                expect(d, 2)?;
                Ok((id(d)?, ReplayWindow::decode(d)?))
            })?,
        },
        (LOST, 1) => Record::Lost,
        (LEFT, 3) => Record::Left(Installations {
            latest: or_null(d, |d| {
                expect(d, 2)?;
                Ok((d.u64()?, gid(d)?))
            })?,
            past: list(d, past)?,
        }),
        _ => return Err(Wrong::Cbor),
    })
}

fn read_installed(d: &mut Decoder<'_>) -> Decoded<Installed> {
    version(d, VERSION)?;
    Ok(Installed {
        name: text(d)?,
        generation: d.u64()?,
        gid: gid(d)?,
        master_secret: Secret::copy_of(d.bytes()?),
        master_salt: d.bytes()?.into(),
        suite: suite(d)?,
        format: CredentialFormat::from_id(d.i32()?).ok_or(Wrong::Cbor)?,
        manager: d.bytes()?.into(),
        own: or_null(d, |d| {
            expect(d, 3)?;
            Ok(OwnMember {
                sender_id: id(d)?,
                credential: d.bytes()?.into(),
                key: or_null(d, |d| Ok(Secret::copy_of(d.bytes()?)))?,
            })
        })?,
        upto: d.u64()?,
        peers: or_null(d, |d| list(d, id))?.map_or(PeersKept::Nobody, PeersKept::AllBut),
        past: list(d, past)?,
        ever_deleted: d.bool()?,
    })
}

fn read_paired(d: &mut Decoder<'_>) -> Decoded<Paired> {
    version(d, PAIR_VERSION)?;
    Ok(Paired {
        name: text(d)?,
        id_context: or_null(d, gid)?,
        master_secret: Secret::copy_of(d.bytes()?),
        master_salt: d.bytes()?.into(),
        hkdf: Hkdf::from_id(d.i32()?).ok_or(Wrong::Cbor)?,
        aead: Aead::from_id(d.i32()?).ok_or(Wrong::Cbor)?,
        sender_id: id(d)?,
        recipient_id: id(d)?,
        upto: d.u64()?,
    })
}

fn version(d: &mut Decoder<'_>, known: &str) -> Decoded<()> {
    if d.str()? == known {
        Ok(())
    } else {
        Err(Wrong::Version)
    }
}

fn suite(d: &mut Decoder<'_>) -> Decoded<Suite> {
    expect(d, 5)?;
    let hkdf = d.i32()?;
    let mut optional = || or_null(d, |d| Ok(d.i32()?));
    Suite::from_ids(hkdf, optional()?, optional()?, optional()?, optional()?)
        .map_err(|_| Wrong::Cbor)
}

fn past(d: &mut Decoder<'_>) -> Decoded<Past> {
    expect(d, 2)?;
    Ok(Past {
        gid: gid(d)?,
        sender_id: id(d)?,
    })
}

fn text(d: &mut Decoder<'_>) -> Decoded<String> {
    Ok(d.str()?.into())
}

fn gid(d: &mut Decoder<'_>) -> Decoded<Vec<u8>> {
    bounded(d, MAX_GID)
}

fn id(d: &mut Decoder<'_>) -> Decoded<Vec<u8>> {
    bounded(d, MAX_ID)
}

fn bounded(d: &mut Decoder<'_>, longest: usize) -> Decoded<Vec<u8>> {
    let bytes = d.bytes()?;
    if bytes.len() > longest {
        Err(Wrong::Cbor)
    } else {
        Ok(bytes.into())
    }
}

fn or_null<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Decoded<T>,
) -> Decoded<Option<T>> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    read(d).map(Some)
}

/// An array of any length. Grows with what is really there, not with what is announced.
fn list<'b, T>(
    d: &mut Decoder<'b>,
    mut read: impl FnMut(&mut Decoder<'b>) -> Decoded<T>,
) -> Decoded<Vec<T>> {
    let announced = array(d)?;
    let mut all = Vec::new();
    for _ in 0..announced {
        all.push(read(d)?);
    }
    Ok(all)
}

fn array(d: &mut Decoder<'_>) -> Decoded<u64> {
    d.array()?.ok_or(Wrong::Cbor)
}

fn expect(d: &mut Decoder<'_>, elements: u64) -> Decoded<()> {
    if array(d)? == elements {
        Ok(())
    } else {
        Err(Wrong::Cbor)
    }
}
