//! Group OSCORE and OSCORE against the signature or the cipher alone: the same function of the same library, on as many
//! bytes, with the same additional data.

pub(crate) mod floor;
mod repeat;

use std::hint::black_box;
use std::time::Instant;

use antiphon_oscore::aad::{Aad, GroupAad, OscoreAad};
use antiphon_oscore::crypto::{AeadKey, Curve, PrivateKey, verify};
use antiphon_oscore::derive::{KeystreamOf, keystream};
use antiphon_oscore::nonce::PartialIv;
use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::secret::Secret;
use antiphon_oscore::suite::{Aead, GroupEncryption, Hkdf, SignatureAlgorithm, Suite};
use antiphon_oscore::{Contexts, Proof, Protecting, Settings, SignJob, To};
use antiphon_wire::Message;

use crate::measure::median;
use crate::members::held_by;
use floor::{NOW, One, kid};

pub(crate) use repeat::repeat;

/// One thing to be timed: does it some times after preparing for it, and says how many nanoseconds one took.
type Turn<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Where on the stack something runs can make a tenth of a difference, in one run for the bare one and in the next for
/// ours: so every round runs at another place.
#[inline(never)]
fn at_depth(depth: usize, turn: &mut Turn<'_>) -> f64 {
    let pad = black_box([0_u8; 200]);
    let took = match depth {
        0 => turn(),
        _ => at_depth(depth - 1, turn),
    };
    black_box(&pad);
    took
}

/// Times all in turn, `ROUNDS` times: the median of each.
fn interleaved(turns: &mut [Turn<'_>]) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(ROUNDS); turns.len()];
    for round in 0..=ROUNDS {
        for (turn, times) in turns.iter_mut().zip(&mut times) {
            let took = at_depth(round % DEPTHS, turn);
            // The first one fetches code and tables.
            if round > 0 {
                times.push(took);
            }
        }
    }
    times.into_iter().map(median).collect()
}

/// Prepares all of `count`, then times them together. The first few are not timed: they fetch again what the preparation
/// has pushed out of the caches.
fn timed<T, R>(count: usize, mut prepare: impl FnMut() -> T, mut run: impl FnMut(T) -> R) -> f64 {
    let first = count.min(UNTIMED);
    let mut prepared: Vec<T> = (0..count + first).map(|_| prepare()).collect();
    let rest = prepared.split_off(first);
    for one in prepared {
        black_box(run(black_box(one)));
    }
    let start = Instant::now();
    for one in rest {
        black_box(run(black_box(one)));
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

/// Times something that can be done only once after its preparation.
fn once<R>(run: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    black_box(run());
    start.elapsed().as_nanos() as f64
}

/// How often one turn signs or verifies, and how often it does something shorter.
const SIGNED: usize = 16;
const SEALED: usize = 128;
const UNTIMED: usize = 4;
const ROUNDS: usize = 51;
const DEPTHS: usize = 17;

/// Prints the tables.
pub(crate) fn run() -> Result<(), String> {
    println!(
        "A PUT of {} bytes, its answer of {}; medians of {ROUNDS} interleaved rounds.",
        floor::request().len(),
        floor::response().len()
    );
    group_mode();
    pairwise_mode();
    plain();
    first_contact();
    memory();
    Ok(())
}

fn protect_requests<'a>([mut client, _]: [One; 2], count: usize, to: To) -> Turn<'a> {
    let plain = floor::request();
    Box::new(move || timed(count, || (), |()| client.ask(&plain, to)))
}

fn protect_responses<'a>([mut client, mut server]: [One; 2], count: usize, to: To) -> Turn<'a> {
    let (request, response) = (floor::request(), floor::response());
    Box::new(move || {
        // Each belongs to a request of its own.
        let mut opened: Vec<_> = (0..count + UNTIMED)
            .map(|_| server.hear(&client.ask(&request, to).0))
            .collect();
        let mut requests = opened.iter_mut();
        timed(
            count,
            || requests.next(),
            |opened| opened.map(|opened| server.answer(&response, opened)),
        )
    })
}

fn open_requests<'a>([mut client, mut server]: [One; 2], count: usize, to: To) -> Turn<'a> {
    let request = floor::request();
    Box::new(move || {
        timed(
            count,
            || client.ask(&request, to).0,
            |bytes| server.hear(&bytes),
        )
    })
}

fn open_responses<'a>([mut client, mut server]: [One; 2], count: usize, to: To) -> Turn<'a> {
    let (request, response) = (floor::request(), floor::response());
    Box::new(move || {
        let mut exchanges: Vec<_> = (0..count + UNTIMED)
            .map(|_| {
                let (bytes, asked) = client.ask(&request, to);
                let mut opened = server.hear(&bytes);
                (server.answer(&response, &mut opened), asked)
            })
            .collect();
        let mut each = exchanges.iter_mut();
        timed(
            count,
            || each.next(),
            |exchange| exchange.map(|(bytes, asked)| client.listen(bytes, asked)),
        )
    })
}

fn group_mode() {
    println!(
        "\ngroup mode: speed relative to the signature alone, on a text of the same length (bound 0.90)\n\
         | signature, encryption | sign, us | protect request | protect response | verify, us | open request | open response | keystream, us |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let aead = GroupEncryption::Aead;
    for (curve, encryption) in [
        (Curve::Ed25519, aead(Aead::AesCcm16_64_128)),
        (Curve::Ed25519, aead(Aead::AesCcm16_128_128)),
        (Curve::Ed25519, aead(Aead::A128Gcm)),
        (Curve::Ed25519, aead(Aead::ChaCha20Poly1305)),
        (Curve::Ed25519, GroupEncryption::A128Ctr),
        (Curve::P256, aead(Aead::AesCcm16_128_128)),
    ] {
        let suite = floor::suite(curve, encryption, Aead::AesCcm16_128_128);
        group_mode_of(curve, suite, encryption.name());
    }
}

fn group_mode_of(curve: Curve, suite: Suite, encryption: &str) {
    let algorithm = suite.signature().unwrap_or(SignatureAlgorithm::EdDsa);
    let members = || floor::members(suite, curve);
    let [mut client, mut server] = members();
    let (request, response) = (floor::request(), floor::response());
    let message = Message::parse(&request).expect("well formed");
    let made = client
        .contexts
        .protect_request(NOW, client.place, &message, To::Group);
    let asked = signing(made.ok());
    let mut opened = server.hear(&client.ask(&request, To::Group).0);
    let message = Message::parse(&response).expect("well formed");
    let received = &mut opened.received;
    let made = server
        .contexts
        .protect_response(NOW, &message, received, None);
    let answered = signing(made.ok());

    let secret = Secret::copy_of(&[0x33; 16]);
    let key = &client.key;
    let public = &key.public();
    fn bare_sign<'a>(job: &'a SignJob, key: &'a dyn PrivateKey) -> Turn<'a> {
        Box::new(move || timed(SIGNED, || (), |()| black_box(job).run(key)))
    }
    // How long it takes depends on the signature: as with the messages, each is another one.
    let mut made = 0_u64;
    let bare_verify = |job: &SignJob| -> Turn<'_> {
        // As long as that, with the heads of two byte strings and a number.
        let length = job.to_be_signed().bytes().len();
        let text = vec![0x5a; length.saturating_sub(11)];
        let another = move || {
            made += 1;
            let proof = Proof::of_manager(&text, &made.to_be_bytes());
            let signature = proof.make(&suite, key, public).expect("it signs");
            (proof.as_bytes().to_vec(), signature)
        };
        let mut another = another;
        Box::new(move || {
            timed(SIGNED, &mut another, |(text, signature)| {
                verify(public, algorithm, &text, &signature)
            })
        })
    };
    let times = interleaved(&mut [
        bare_sign(&asked, key),
        protect_requests(members(), SIGNED, To::Group),
        bare_sign(&answered, key),
        protect_responses(members(), SIGNED, To::Group),
        bare_verify(&asked),
        open_requests(members(), SIGNED, To::Group),
        bare_verify(&answered),
        open_responses(members(), SIGNED, To::Group),
        Box::new(|| timed(SEALED, || (), |()| keystream_alone(&secret, algorithm))),
    ]);
    let speed = |bare: usize| times[bare] / times[bare + 1];
    println!(
        "| {}, {encryption} | {:.1} | {:.2} | {:.2} | {:.1} | {:.2} | {:.2} | {:.2} |",
        algorithm.name(),
        times[0] / 1e3,
        speed(0),
        speed(2),
        times[4] / 1e3,
        speed(4),
        speed(6),
        times[8] / 1e3,
    );
}

/// What a countersignature is encrypted with, which each message in group mode needs besides.
fn keystream_alone(key: &Secret, algorithm: SignatureAlgorithm) -> bool {
    let message = KeystreamOf {
        partial_iv: PartialIv::new(floor::FIRST_NUMBER).unwrap_or_default(),
        id: &[1],
        gid: floor::GID,
        request: true,
    };
    keystream(Hkdf::Sha256, black_box(key), algorithm, &message).is_ok()
}

fn signing(made: Option<Protecting>) -> SignJob {
    match made {
        Some(Protecting::Sign(signing)) => signing.job(),
        _ => panic!("a message in group mode is signed"),
    }
}

/// What the cipher alone has to do for one message.
struct Bare {
    key: AeadKey,
    nonce: Vec<u8>,
    aad: Vec<u8>,
    plaintext: Vec<u8>,
}

impl Bare {
    fn new(aead: Aead, mut aad: Aad, plain: &[u8]) -> Bare {
        let message = Message::parse(plain).expect("well formed");
        let mut plaintext = vec![message.code().to_u8()];
        plaintext.extend_from_slice(message.options_and_payload());
        Bare {
            key: AeadKey::new(aead, &vec![0x11; aead.key_len()]).expect("as long as it has to be"),
            nonce: vec![0x22; aead.nonce_len()],
            aad: aad.enc_structure().to_vec(),
            plaintext,
        }
    }

    fn seal<'a>(&'a self) -> Turn<'a> {
        let room = || {
            let mut buffer = Vec::with_capacity(self.plaintext.len() + 16);
            buffer.extend_from_slice(&self.plaintext);
            buffer
        };
        Box::new(move || {
            timed(SEALED, room, |mut buffer| {
                let done = self.key.seal(&self.nonce, &self.aad, &mut buffer);
                (done, buffer)
            })
        })
    }

    fn open<'a>(&'a self) -> Turn<'a> {
        let mut sealed = self.plaintext.clone();
        self.key
            .seal(&self.nonce, &self.aad, &mut sealed)
            .expect("as long as it has to be");
        Box::new(move || {
            timed(
                SEALED,
                || sealed.clone(),
                |mut buffer| {
                    let done = self.key.open(&self.nonce, &self.aad, &mut buffer);
                    (done, buffer)
                },
            )
        })
    }
}

const HEADER: &str = "| AEAD | seal, ns | protect request | protect response | open, ns | open request | open response |\n\
     | --- | ---: | ---: | ---: | ---: | ---: | ---: |";

fn pairwise_mode() {
    println!(
        "\npairwise mode, keys there: time relative to the AEAD alone, with the same additional data (bound 1.8)\n{HEADER}"
    );
    for aead in Aead::ALL {
        let suite = floor::suite(Curve::Ed25519, GroupEncryption::Aead(*aead), *aead);
        let members = || floor::members(suite, Curve::Ed25519);
        let bare = |request: bool| {
            let (one, other) = (kid(1), kid(2));
            let piv = PartialIv::new(floor::FIRST_NUMBER).expect("small");
            let option = OscoreOption {
                partial_iv: request.then_some(piv),
                kid_context: request.then_some(floor::GID),
                kid: request.then_some(one.as_bytes()),
                group_flag: false,
            };
            let mut value = Vec::new();
            option.write(&mut value).expect("short");
            let sender = if request { one } else { other };
            let manager = floor::manager(Curve::Ed25519);
            let parts = GroupAad {
                suite: &suite,
                request_kid: one.as_bytes(),
                request_piv: piv,
                class_i_options: &[],
                request_kid_context: floor::GID,
                oscore_option: &value,
                sender_credential: &floor::credential_of(Curve::Ed25519, sender),
                group_manager_credential: manager.as_bytes(),
            };
            let plain = if request {
                floor::request()
            } else {
                floor::response()
            };
            Bare::new(*aead, Aad::group(&parts, Vec::new()), &plain)
        };
        sealed(
            aead.name(),
            bare(true),
            bare(false),
            members,
            To::Member(kid(2)),
        );
    }
}

fn plain() {
    println!(
        "\nOSCORE (RFC 8613): time relative to the AEAD alone, with the same additional data (no bound)\n{HEADER}"
    );
    for aead in [
        Aead::AesCcm16_64_128,
        Aead::AesCcm16_128_128,
        Aead::A128Gcm,
        Aead::ChaCha20Poly1305,
    ] {
        let parts = OscoreAad {
            aead,
            request_kid: &[1],
            request_piv: PartialIv::new(floor::FIRST_NUMBER).expect("small"),
            class_i_options: &[],
        };
        let bare = |plain: &[u8]| Bare::new(aead, Aad::oscore(&parts, Vec::new()), plain);
        let (ask, answer) = (bare(&floor::request()), bare(&floor::response()));
        sealed(aead.name(), ask, answer, || floor::pair(aead), To::Peer);
    }
}

fn sealed(name: &str, ask: Bare, answer: Bare, ends: impl Fn() -> [One; 2], to: To) {
    let times = interleaved(&mut [
        ask.seal(),
        protect_requests(ends(), SEALED, to),
        answer.seal(),
        protect_responses(ends(), SEALED, to),
        ask.open(),
        open_requests(ends(), SEALED, to),
        answer.open(),
        open_responses(ends(), SEALED, to),
    ]);
    let more = |bare: usize| times[bare + 1] / times[bare];
    println!(
        "| {name} | {:.0} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} |",
        times[0],
        more(0),
        more(2),
        times[4],
        more(4),
        more(6),
    );
}

/// A peer that was never talked to: its keys are agreed on and derived, then the first request is protected or opened.
fn first_contact() {
    println!(
        "\nfirst contact in pairwise mode: agreement, derivation of both keys, first message\n\
         | curve | agreement alone, us | protect request | open request | read a credential, add the peer, us |\n\
         | --- | ---: | ---: | ---: | ---: |"
    );
    for curve in [Curve::Ed25519, Curve::P256] {
        let ccm = Aead::AesCcm16_128_128;
        let suite = floor::suite(curve, GroupEncryption::Aead(ccm), ccm);
        let key = floor::key(curve, 1);
        let credential = floor::credential_of(curve, kid(2));
        let (bytes, plain) = (credential.clone(), floor::request());
        let [mut client, _] = floor::members(suite, curve);
        let [mut asking, mut server] = floor::members(suite, curve);
        asking.meet_again(kid(2), floor::import(&credential));
        let job = asking.agreement(&plain, kid(2));
        let times = interleaved(&mut [
            Box::new(|| once(|| key.agree(&black_box(&job).agreement()))),
            Box::new(|| {
                client.meet_again(kid(2), floor::import(&credential));
                once(|| client.ask(&plain, To::Member(kid(2))))
            }),
            Box::new(|| {
                let client = floor::credential_of(curve, kid(1));
                server.meet_again(kid(1), floor::import(&client));
                let (bytes, _) = asking.ask(&plain, To::Member(kid(2)));
                once(|| server.hear(&bytes))
            }),
            Box::new(|| {
                let mut group = floor::group(suite, curve, 1, Settings::default());
                let known = once(|| group.add_peer(kid(2), floor::import(black_box(&bytes))));
                black_box(group);
                known
            }),
        ]);
        println!(
            "| {} | {:.1} | {:.2} times that | {:.2} times that | {:.1} |",
            curve.name(),
            times[0] / 1e3,
            times[1] / times[0],
            times[2] / times[0],
            times[3] / 1e3
        );
    }
}

const PEERS: u16 = 10_000;
const BOUND: usize = 8 << 20;

/// What many Recipient Contexts take.
fn memory() {
    println!(
        "\n{PEERS} Recipient Contexts (bound 8 MiB)\n\
         | curve | bytes, KiB | of each | with pairwise keys, KiB | of each |\n\
         | --- | ---: | ---: | ---: | ---: |"
    );
    for curve in [Curve::Ed25519, Curve::P256] {
        let ccm = Aead::AesCcm16_128_128;
        let suite = floor::suite(curve, GroupEncryption::Aead(ccm), ccm);
        let settings = Settings {
            recipients: PEERS.into(),
            ..Settings::default()
        };
        let mut contexts = Contexts::new();
        let place = contexts
            .add_group(floor::group(suite, curve, 0, settings))
            .into();
        let mut one = One {
            contexts,
            place,
            key: floor::key(curve, 0),
        };
        let known: Vec<_> = (1..=PEERS)
            .map(|member| (kid(member), floor::credential_of(curve, kid(member))))
            .collect();
        let bare = held_by(|| {
            for (kid, bytes) in &known {
                one.add(*kid, floor::import(bytes));
            }
        });
        let plain = floor::request();
        let keys = held_by(|| {
            for (kid, _) in &known {
                drop(one.ask(&plain, To::Member(*kid)));
            }
        });
        let each = |bytes: usize| bytes / usize::from(PEERS);
        let both = bare + keys;
        println!(
            "| {} | {} | {} | {} | {} |{}",
            curve.name(),
            bare >> 10,
            each(bare),
            both >> 10,
            each(both),
            if both > BOUND { " **not met**" } else { "" }
        );
    }
}
