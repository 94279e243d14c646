use antiphon_oscore::credential::CredentialFormat;
use antiphon_oscore::crypto::Curve;
use antiphon_oscore::suite::Suite;
use antiphon_wire::{Code, MessageId, Token, Type, Writer};

use super::failed::{Signature, signature};
use super::*;

fn key(seed: u8) -> SoftwareKey {
    SoftwareKey::generate(Curve::Ed25519, &[seed; 64]).unwrap()
}

fn credential(seed: u8) -> Credential {
    let bytes = Credential::build_ccs(&format!("member-{seed}"), &key(seed).public());
    Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
}

/// A group of members 1 and 2, as one of them has it.
fn file(me: u8, other: u8) -> GroupFile {
    GroupFile {
        name: "lights".into(),
        gid: vec![0x47, 0x11],
        generation: 1,
        master_secret: Secret::copy_of(&[0xab; 16]),
        master_salt: Secret::copy_of(&[0x9e]),
        suite: Suite::default(),
        format: CredentialFormat::Ccs,
        manager: Vec::new(),
        own: Some(preconfigured::Own {
            sender_id: vec![me],
            credential: credential(me),
            key: key(me),
            key_file: String::new(),
        }),
        members: vec![Listed {
            sender_id: vec![other],
            credential: credential(other),
        }],
        link: None,
    }
}

fn keys(file: GroupFile) -> Vec<Preconfigured> {
    vec![Preconfigured::Group(Box::new(file))]
}

fn get() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let token = Token::new(&[7]).unwrap();
    let writer = Writer::new(&mut bytes, Type::Non, Code::GET, MessageId(9), token).unwrap();
    let len = writer.finish();
    bytes.truncate(len);
    bytes
}

/// A request of member 1, for all or for member 2.
fn protected(to: To) -> Vec<u8> {
    let mine = file(1, 2);
    let mut contexts = Contexts::new();
    let id = contexts.add_group(group(&mine, false, Some(0)).unwrap());
    let message = get();
    let message = Message::parse(&message).unwrap();
    let key = &mine.own.as_ref().unwrap().key;
    loop {
        match contexts
            .protect_request(Duration::ZERO, id.into(), &message, to)
            .unwrap()
        {
            Protecting::Done(protected) => return protected.bytes,
            Protecting::Sign(signing) => return signing.sign(key).unwrap().bytes,
            Protecting::Agree(job) => contexts.agreed(job.run(key)).unwrap(),
        }
    }
}

fn changed(bytes: &[u8], from_the_end: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() - from_the_end;
    bytes[at] ^= 1;
    bytes
}

fn checked(keys: &[Preconfigured], bytes: &[u8]) -> Signature {
    let message = Message::parse(bytes).unwrap();
    signature(keys, &message, &option_of(&message).unwrap(), None)
}

fn opened(keys: &[Preconfigured], bytes: &[u8]) -> Result<Plain, String> {
    open(keys, &Message::parse(bytes).unwrap(), None)
}

#[test]
fn the_signature_is_checked_apart_from_the_tag() {
    let theirs = keys(file(2, 1));
    let bytes = protected(To::Group);
    assert_eq!(opened(&theirs, &bytes).unwrap().kid, "01");
    assert_eq!(checked(&theirs, &bytes), Signature::Good);
    // In the signature, and in the ciphertext that is signed.
    for at in [1, 70] {
        assert_eq!(checked(&theirs, &changed(&bytes, at)), Signature::Wrong);
    }
    // Another credential behind the Sender ID; another secret.
    let mut other = file(2, 1);
    other.members[0].credential = credential(3);
    assert_eq!(checked(&keys(other), &bytes), Signature::Wrong);
    let mut other = file(2, 1);
    other.master_secret = Secret::copy_of(&[0xac; 16]);
    assert_eq!(checked(&keys(other), &bytes), Signature::Wrong);
    // A message for one member has none.
    let paired = protected(To::Member(Kid::new(&[2]).unwrap()));
    assert_eq!(checked(&theirs, &paired), Signature::None);
}

#[test]
fn whoever_opens_a_message_learns_whether_signature_or_tag_failed() {
    let theirs = keys(file(2, 1));
    let text = |bytes: &[u8]| opened(&theirs, bytes).unwrap_err();
    let signed = text(&changed(&protected(To::Group), 1));
    assert!(signed.contains("the signature does not verify"), "{signed}");
    let paired = text(&changed(&protected(To::Member(Kid::new(&[2]).unwrap())), 1));
    assert!(paired.contains("the tag does not verify"), "{paired}");
    assert!(paired.contains("there is no signature"), "{paired}");
    let bytes = protected(To::Group);
    let message = Message::parse(&bytes).unwrap();
    let option = option_of(&message).unwrap();
    let said = |reason, found| failed::explained(reason, &theirs, &option, || found);
    let decryption = said(Reason::NotVerified, Signature::Good);
    assert!(
        decryption.starts_with("the signature verifies")
            && decryption.contains("cannot be decrypted"),
        "{decryption}"
    );
    for reason in [
        Reason::Replayed,
        Reason::WindowInvalid,
        Reason::Lost,
        Reason::Installing,
        Reason::Superseded,
        Reason::KidChanged,
        Reason::TooManyServers,
        Reason::WrongResult,
    ] {
        let text = said(reason, Signature::None);
        let name = format!("{reason:?}");
        assert!(!text.contains(&name) && text.contains(' '), "{text}");
    }
}

#[test]
fn the_sequence_number_that_comes_next_counts() {
    let mine = keys(file(1, 2));
    let message = get();
    let message = Message::parse(&message).unwrap();
    let measured = |next| measure(&mine[0], &message, true, None, next).unwrap();
    let first = measured(None);
    for (next, more) in [
        (0, 0),
        (255, 0),
        // 256 is skipped.
        (256, 1),
        (1_024, 1),
        (65_535, 1),
        (65_537, 2),
        (1 << 24, 3),
        (1 << 32, 4),
    ] {
        let sizes = measured(Some(next));
        assert_eq!(sizes.option, first.option + more, "{next}");
        assert_eq!(sizes.total, first.total + more, "{next}");
        assert_eq!(sizes.number, Some(next));
    }
    let exhausted = measure(&mine[0], &message, true, None, Some(1 << 40)).unwrap_err();
    assert!(
        exhausted.message.contains("all sequence numbers are used"),
        "{}",
        exhausted.message
    );
    assert_eq!(first.number, None);
}
