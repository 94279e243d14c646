//! OSCORE options, messages to members, credentials and stored state: each of any bytes, and of genuine ones that were
//! changed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use antiphon::store::{Area, Batch, Contents, Disk, Options, SealKey, Store};
use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{EcY, PublicKey};
use antiphon_oscore::option::{MAX_OPTION_LEN, OscoreOption};
use antiphon_oscore::record::{Record, Restored};
use antiphon_oscore::replay::WindowSize;
use antiphon_oscore::sequence::SequenceSettings;
use antiphon_oscore::{Mode, Opened, To};
use antiphon_wire::{Code, OptionNumber};

use crate::members::{self, inside, kid, message, state};

/// The value of an OSCORE option: it is refused, or it is written again byte for byte.
pub fn oscore_option(data: &[u8]) {
    let Ok(option) = OscoreOption::parse(data) else {
        return;
    };
    assert!(data.len() <= MAX_OPTION_LEN);
    assert_eq!(option.encoded_len(), data.len());
    let mut written = vec![];
    option.write(&mut written).unwrap();
    assert_eq!(written, data);
    if let Some(piv) = option.partial_iv {
        assert!(piv.value() < 1 << 40);
        assert_eq!(data.get(1..=piv.as_bytes().len()), Some(piv.as_bytes()));
    }
    for group in [false, true] {
        let complete = option.partial_iv.is_some()
            && option.kid.is_some()
            && (option.kid_context.is_some() || !group);
        assert_eq!(option.check_request(group).is_ok(), complete);
    }
}

/// Changes bytes as `how` says: each two bytes a change.
fn change(genuine: &[u8], how: &[u8]) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    for step in how.chunks_exact(3).take(16) {
        let &[what, at, value] = step else {
            return bytes;
        };
        // From either end, so that a byte reaches everything of importance in longer ones.
        let len = bytes.len().max(1);
        let near = usize::from(at >> 1) % len;
        let at = if at & 1 == 0 { near } else { len - 1 - near };
        match what % 6 {
            _ if bytes.is_empty() => return bytes,
            0 => bytes[at] ^= 1 << (value % 8),
            1 => bytes[at] = value,
            2 => bytes.insert(at, value),
            3 => {
                bytes.remove(at);
            }
            4 => bytes.truncate(at),
            _ => bytes.extend_from_slice(&[value; 3]),
        }
    }
    bytes
}

/// The first byte says what: a request or a response, in group mode, pairwise mode or a plain context; the rest how the
/// genuine message is changed, or, for the last, any bytes at all. Nothing is opened that was not protected, what is
/// refused moves nothing, and the genuine message is still good after it.
pub fn oscore_open(data: &[u8]) {
    let Some((&what, how)) = data.split_first() else {
        return;
    };
    let [mut client, mut server] = members::two();
    let asks = [(OptionNumber::URI_PATH, &b"lock"[..])];
    let question = message(Code::PUT, 1, &asks, b"open");
    let to = [To::Group, To::Member(kid(1)), To::Peer][usize::from(what % 3)];
    let (request, mut asked) = client.ask(to, &question).unwrap();
    let kind = what / 3 % 4;
    let forged = match kind {
        0 => change(&request, how),
        3 => how.to_vec(),
        _ => vec![],
    };
    if kind == 0 || kind == 3 {
        let before = state(&server);
        match server.hear(&forged) {
            Ok(Opened::Request(opened)) => {
                assert_eq!(inside(&opened.message), inside(&question));
                assert_eq!(opened.sender.kid(), kid(0));
                assert_eq!(opened.received.partial_iv(), asked.partial_iv());
                assert!(server.hear(&request).is_err());
                return;
            }
            Ok(Opened::Challenge(_)) => panic!("challenged with a valid window"),
            Err(_) => assert_eq!(state(&server), before),
        }
    }
    let Ok(Opened::Request(mut heard)) = server.hear(&request) else {
        panic!("the genuine request is refused");
    };
    let answer = message(
        Code::CHANGED,
        2,
        &[(OptionNumber::MAX_AGE, &[9])],
        b"opened",
    );
    let mode = [Mode::Group, Mode::Pairwise][usize::from(kind == 1)];
    let response = server
        .answer(&mut heard.received, &answer, Some(mode))
        .unwrap();
    let forged = if kind == 3 {
        forged
    } else {
        change(&response, how)
    };
    let before = (state(&client), asked.servers());
    match client.listen(&forged, &mut asked) {
        Ok(opened) => {
            assert_eq!(inside(&opened.message), inside(&answer));
            assert_eq!(opened.sender.kid(), kid(1));
            assert!(client.listen(&response, &mut asked).is_err());
        }
        Err(_) => {
            assert_eq!((state(&client), asked.servers()), before);
            assert!(client.listen(&response, &mut asked).is_ok());
        }
    }
}

/// A byte of format, then a credential: it is refused, or its bytes are a part of what came, its key is valid, and what
/// is kept of it is read as the same again.
pub fn credentials(data: &[u8]) {
    let Some((&format, bytes)) = data.split_first() else {
        return;
    };
    let format = CredentialFormat::ALL[usize::from(format % 3)];
    let Ok(credential) = Credential::import(format, bytes) else {
        return;
    };
    let kept = credential.bytes();
    assert!(!kept.is_empty() && bytes.windows(kept.len()).any(|part| part == kept));
    let again = Credential::import(format, kept).unwrap();
    assert!(again == credential);
    let key = credential.public_key();
    let (x, y) = key.coordinates();
    let same = match &y {
        None => PublicKey::okp(key.curve(), &x),
        Some(y) => PublicKey::ec2(key.curve(), &x, EcY::Bytes(y)),
    };
    assert!(same.as_ref() == Ok(key));
    let subject = credential.subject().unwrap_or_default();
    let built = Credential::build_ccs(subject, key);
    if built.len() <= Credential::MAX_LEN {
        let built = Credential::import(CredentialFormat::Ccs, &built).unwrap();
        assert!(built.public_key() == key);
        assert_eq!(built.subject().unwrap_or_default(), subject);
    }
}

/// The first byte says what follows: a state file, how a genuine one is changed, a record, or several of them, each with
/// a byte of length. What is damaged gives no record that was not written.
pub fn state_files(data: &[u8]) {
    let Some((&what, rest)) = data.split_first() else {
        return;
    };
    match what % 4 {
        0 => assert!(Contents::read(rest, &key()).is_err()),
        1 => {
            let (genuine, written) = genuine();
            let Ok(contents) = Contents::read(&change(genuine, rest), &key()) else {
                return;
            };
            for (name, records) in &contents.records {
                let written = written.get(name).map_or(&[][..], Vec::as_slice);
                let begins = written.iter().zip(records).all(|(a, b)| a[..] == b[..]);
                assert!(begins && records.len() <= written.len(), "{name}");
            }
        }
        2 => {
            if let Ok(record) = Record::decode(rest) {
                let encoded = record.encode();
                assert!(Record::decode(&encoded).as_ref() == Ok(&record));
            }
        }
        _ => {
            let mut records = vec![];
            let mut rest = rest;
            while let Some((&length, more)) = rest.split_first() {
                let (record, more) = more.split_at(more.len().min(length.into()));
                records.push(record.to_vec().into());
                rest = more;
            }
            let all = Restored::fold(&records);
            if let Some(sequence) = all.sequence(SequenceSettings::default()) {
                assert_eq!(sequence.is_lost(), all.loss.is_some());
            }
            let condensed = Restored::condense(records);
            assert_eq!(meaning(&Restored::fold(condensed)), meaning(&all));
        }
    }
}

/// What somebody who starts with this state can do.
fn meaning(state: &Restored) -> String {
    let sequence = state.sequence(SequenceSettings::default());
    let ids = state.peers.keys().map(Vec::as_slice).chain([&[0xaa][..]]);
    let windows = ids.map(|id| state.window(id, WindowSize::default()));
    let windows: Vec<_> = windows.collect();
    let lost = state.loss.is_some();
    let rest = (&state.peers, &state.installations, state.sender_id());
    format!(
        "{lost} {sequence:?} {windows:?} {rest:?} {}",
        state.is_clean()
    )
}

fn key() -> SealKey {
    SealKey::new([0x5e; 32])
}

/// A store in memory, as it lies on the medium, and the records that were written to it.
fn genuine() -> &'static (Vec<u8>, BTreeMap<String, Vec<Vec<u8>>>) {
    static GENUINE: OnceLock<(Vec<u8>, BTreeMap<String, Vec<Vec<u8>>>)> = OnceLock::new();
    GENUINE.get_or_init(|| {
        let memory = Memory::default();
        let mut salt = 0;
        let options = Options::default()
            .without_witness()
            .boot_id(None)
            .entropy(move |bytes| {
                salt += 1;
                bytes.fill(salt);
                Ok(())
            });
        let opened = Store::open(memory.clone(), key(), options).unwrap();
        let mut written: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for number in 0..6_u8 {
            let mut batch = Batch::new();
            for name in ["group/lights", "group/doors"] {
                let record = vec![number; usize::from(number) * 7];
                batch = batch.add(name, &record).unwrap();
                written.entry(name.into()).or_default().push(record);
            }
            opened.store.commit(batch).unwrap();
        }
        drop(opened);
        let log = memory.0.lock().unwrap().get(&Area::Log).cloned().unwrap();
        (log, written)
    })
}

/// A medium in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<Area, Vec<u8>>>>);

impl Disk for Memory {
    fn name(&self) -> String {
        "memory".into()
    }

    fn lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, area: Area) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(&area).cloned())
    }

    fn create(&mut self, area: Area) -> io::Result<()> {
        self.0.lock().unwrap().insert(area, vec![]);
        Ok(())
    }

    fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()> {
        let mut areas = self.0.lock().unwrap();
        areas.entry(area).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, area: Area, length: u64) -> io::Result<()> {
        let mut areas = self.0.lock().unwrap();
        areas.entry(area).or_default().truncate(length as usize);
        Ok(())
    }

    fn sync(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: Area, to: Area) -> io::Result<()> {
        let mut areas = self.0.lock().unwrap();
        if let Some(bytes) = areas.remove(&from) {
            areas.insert(to, bytes);
        }
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn birth(&mut self, _: Area) -> io::Result<Option<u64>> {
        Ok(None)
    }
}
