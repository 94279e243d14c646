use std::collections::BTreeMap;
use std::format;
use std::vec;

use super::*;
use crate::nonce::PartialIv;
use crate::replay::WindowSize;
use crate::sequence::{Sequence, SequenceError, SequenceSettings};

mod codec;
mod crashes;
mod fold;

const SECRET: [u8; 16] = [0xA5; 16];
const OWN: &[u8] = &[0x25];
const PEER: &[u8] = &[0x52];

fn gid(generation: u64) -> Vec<u8> {
    vec![0xDD, generation as u8]
}

fn installed(generation: u64, sender_id: &[u8], upto: u64) -> Installed {
    Installed {
        name: "lights".into(),
        generation,
        gid: gid(generation),
        master_secret: Secret::copy_of(&[SECRET.as_slice(), &[generation as u8]].concat()),
        master_salt: vec![1, 2, 3],
        suite: Suite::default(),
        format: CredentialFormat::Ccs,
        manager: vec![0xA0],
        own: Some(OwnMember {
            sender_id: sender_id.into(),
            credential: vec![0xA1],
            key: Some(Secret::copy_of(&SECRET)),
        }),
        upto,
        peers: PeersKept::Nobody,
        past: Vec::new(),
        ever_deleted: false,
    }
}

fn install(generation: u64, sender_id: &[u8], upto: u64) -> Record {
    Record::Installed(Box::new(installed(generation, sender_id, upto)))
}

fn silent(generation: u64) -> Record {
    Record::Installed(Box::new(Installed {
        own: None,
        upto: 0,
        ..installed(generation, OWN, 0)
    }))
}

fn paired(upto: u64) -> Record {
    Record::Paired(Box::new(Paired {
        name: "desk".into(),
        id_context: None,
        master_secret: Secret::copy_of(&SECRET),
        master_salt: Vec::new(),
        hkdf: Hkdf::Sha256,
        aead: Aead::AesCcm16_64_128,
        sender_id: OWN.into(),
        recipient_id: PEER.into(),
        upto,
    }))
}

fn reserved(generation: u64, sender_id: &[u8], upto: u64) -> Record {
    Record::Reserved {
        gid: gid(generation),
        sender_id: sender_id.into(),
        upto,
    }
}

fn sender_id(generation: u64, sender_id: &[u8], upto: u64) -> Record {
    Record::SenderId {
        gid: gid(generation),
        sender_id: sender_id.into(),
        upto,
    }
}

fn peer(generation: u64, recipient_id: &[u8]) -> Record {
    Record::Peer {
        gid: gid(generation),
        recipient_id: recipient_id.into(),
        credential: vec![0xA2],
    }
}

fn deleted(generation: u64, recipient_id: &[u8]) -> Record {
    Record::PeerDeleted {
        gid: gid(generation),
        recipient_id: recipient_id.into(),
    }
}

fn clean(
    generation: u64,
    sender_id: &[u8],
    next: u64,
    windows: &[(&[u8], ReplayWindow)],
) -> Record {
    let windows = windows
        .iter()
        .map(|(id, window)| (id.to_vec(), window.clone()))
        .collect();
    Record::Clean {
        gid: gid(generation),
        sender_id: Some(sender_id.into()),
        next,
        windows,
    }
}

fn received(numbers: &[u64]) -> ReplayWindow {
    let mut window = ReplayWindow::valid(WindowSize::default());
    numbers
        .iter()
        .for_each(|number| window.commit(piv(*number)).unwrap());
    window
}

fn piv(number: u64) -> PartialIv {
    PartialIv::new(number).unwrap()
}

fn fold(records: &[Record]) -> Restored {
    Restored::fold(records.iter().map(|record| record.encode()))
}

fn sequence(state: &Restored) -> Sequence {
    state
        .sequence(SequenceSettings {
            block: 16,
            ..SequenceSettings::default()
        })
        .unwrap()
}

fn window(state: &Restored, recipient_id: &[u8]) -> ReplayWindow {
    state.window(recipient_id, WindowSize::default())
}

fn peers(state: &Restored) -> Vec<&[u8]> {
    state.peers.keys().map(Vec::as_slice).collect()
}

/// One of each kind, with all that it can hold.
fn samples() -> Vec<Record> {
    let past = vec![
        Past {
            gid: gid(1),
            sender_id: Vec::new(),
        },
        Past {
            gid: gid(2),
            sender_id: vec![7; 7],
        },
    ];
    let full = Installed {
        peers: PeersKept::AllBut(vec![vec![], vec![1], vec![2; 7]]),
        past: past.clone(),
        ever_deleted: true,
        gid: vec![0xEE; 255],
        ..installed(u64::MAX, &[9; 7], 1 << 40)
    };
    let own = |key| OwnMember {
        sender_id: Vec::new(),
        credential: vec![0; 300],
        key,
    };
    let pairwise = Suite::from_ids(7, Some(24), None, None, Some(-28)).unwrap();
    let group = Suite::from_ids(5, None, Some(-65534), Some(-7), None).unwrap();
    let windows = [
        (vec![], received(&[40, 41])),
        (vec![3], ReplayWindow::invalid(WindowSize::default())),
    ];
    let pair = |id_context| {
        let Record::Paired(pair) = paired(9) else {
            unreachable!()
        };
        Record::Paired(Box::new(Paired {
            id_context,
            ..*pair
        }))
    };
    vec![
        install(0, OWN, 0),
        silent(3),
        Record::Installed(Box::new(full.clone())),
        Record::Installed(Box::new(Installed {
            suite: pairwise,
            own: Some(own(None)),
            ..full.clone()
        })),
        Record::Installed(Box::new(Installed {
            suite: group,
            name: "x".repeat(300),
            manager: vec![1; 5000],
            ..full
        })),
        paired(1024),
        pair(Some(Vec::new())),
        pair(Some(vec![5; 255])),
        sender_id(1, &[], 64),
        reserved(1, &[8; 7], 1 << 40),
        Record::Running,
        peer(1, &[]),
        Record::Peer {
            gid: vec![2; 255],
            recipient_id: vec![3; 7],
            credential: vec![4; 8192],
        },
        deleted(1, PEER),
        clean(1, OWN, 77, &[]),
        Record::Clean {
            gid: vec![2; 255],
            sender_id: None,
            next: 0,
            windows: windows.into(),
        },
        Record::Lost,
        Record::Left(Installations::default()),
        Record::Left(Installations {
            latest: Some((5, vec![6; 255])),
            past,
        }),
    ]
}
