//! One message after the other, for an instruction counter: nothing is random, so that the count is the same every time.

use std::hint::black_box;

use antiphon_oscore::To;
use antiphon_oscore::crypto::Curve;
use antiphon_oscore::replay::{ReplayWindow, WindowSize};
use antiphon_oscore::suite::{Aead, GroupEncryption, Suite};

use super::floor::{self, kid};

fn suite() -> Suite {
    let ccm = Aead::AesCcm16_128_128;
    floor::suite(Curve::Ed25519, GroupEncryption::Aead(ccm), ccm)
}

/// Does one thing `count` times; false if there is no such thing. A message opens once only, so that where messages are
/// opened in a group they are also protected. Signatures are left out: what comes on top would be lost in them.
pub(crate) fn repeat(what: &str, count: u64) -> bool {
    let request = floor::request();
    let opens = match what {
        "pairwise-protect" => false,
        "pairwise-both" => true,
        "oscore-open" => {
            let [mut client, mut server] = floor::pair(Aead::AesCcm16_128_128);
            let (bytes, _) = client.ask(&request, To::Peer);
            for _ in 0..count {
                let id = server.pair();
                if let Some(pair) = server.contexts.pair_mut(id) {
                    pair.restore_window(ReplayWindow::valid(WindowSize::default()));
                }
                black_box(server.hear(black_box(&bytes)));
            }
            return true;
        }
        _ => return false,
    };
    let [mut client, mut server] = floor::members(suite(), Curve::Ed25519);
    for _ in 0..count {
        let (bytes, asked) = client.ask(black_box(&request), To::Member(kid(2)));
        black_box(asked);
        if opens {
            black_box(server.hear(black_box(&bytes)));
        }
    }
    true
}
