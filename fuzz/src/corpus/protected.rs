//! Samples for what has to do with OSCORE.

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::record::{Installed, OwnMember, PeersKept, Record};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::suite::Suite;

use super::Sample;

pub(super) const OPTIONS: &[(&str, &[u8])] = &[
    ("empty", b""),
    ("piv", b"\x01\x05"),
    ("piv-of-five", b"\x05\xff\xff\xff\xff\xff"),
    ("request", b"\x09\x14\x00"),
    ("request-empty-kid", b"\x09\x14"),
    (
        "request-with-context",
        b"\x19\x05\x08\x44\x61\x6c\x44\x61\x6c\x44\x61\x25",
    ),
    ("group-request", b"\x39\x05\x03\x44\x61\x6c\x25"),
    ("group-response", b"\x29\x07\x52"),
    ("context-empty", b"\x10\x00"),
    ("bad-zero", b"\x00"),
    ("bad-reserved-7", b"\x80"),
    ("bad-reserved-6", b"\x49\x05\x25"),
    ("bad-piv-of-six", b"\x06\x01\x02\x03\x04\x05\x06"),
    ("bad-piv-of-seven", b"\x07\x01\x02\x03\x04\x05\x06\x07"),
    ("bad-piv-cut", b"\x03\x01\x02"),
    ("bad-piv-leading-zero", b"\x02\x00\x05"),
    ("bad-context-cut", b"\x10\x02\x44"),
    ("bad-context-no-length", b"\x10"),
    ("bad-trailing", b"\x01\x05\x06"),
];

/// A kind of message, and changes to it: what, where (odd from the end), with which value.
pub(super) const OPEN: &[(&str, &[u8])] = &[
    ("group-request", b"\x00"),
    ("pairwise-request", b"\x01"),
    ("plain-request", b"\x02"),
    ("pairwise-response", b"\x03"),
    ("group-response", b"\x06"),
    ("group-response-to-one", b"\x07"),
    ("plain-response", b"\x08"),
    ("group-request-signature", b"\x00\x00\x01\x00"),
    ("group-request-tag", b"\x00\x00\x81\x00"),
    ("group-request-flag", b"\x00\x00\x0c\x05"),
    ("group-request-number", b"\x00\x01\x0e\x07"),
    ("pairwise-request-flag", b"\x01\x00\x0c\x05"),
    ("pairwise-request-kid", b"\x01\x00\x18\x00"),
    ("plain-request-tag", b"\x02\x00\x01\x00"),
    ("plain-request-cut", b"\x02\x04\x21\x00"),
    ("outer-token", b"\x00\x00\x08\x01"),
    ("outer-type", b"\x01\x00\x00\x04"),
    ("response-longer", b"\x03\x05\x00\xaa"),
    ("response-signature", b"\x06\x00\x01\x00"),
    ("response-removed", b"\x07\x03\x0c\x00"),
    ("any", b"\x09\x51\x02\x00\x01\xaa\x96\x39\x00\x03Da\x01\x40\xff0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"),
    ("any-response", b"\x0a\x51\x44\x00\x01\xaa\x90\xff01234567890123456789"),
];

/// Credentials that are genuine, and ones that are not.
pub(super) fn credentials() -> Vec<Sample> {
    let ed25519 = SoftwareKey::from_ed25519_seed(&[7; 32]);
    let x25519 = SoftwareKey::from_x25519(&[7; 32]).unwrap();
    let p256 = SoftwareKey::from_p256_scalar(&[7; 32]).unwrap();
    let ccs = |subject: &str, key: &SoftwareKey| {
        [&[1][..], &Credential::build_ccs(subject, &key.public())].concat()
    };
    let genuine = ccs("lamp", &ed25519);
    let mut tagged = vec![1, 0xd9, 0x02, 0x59];
    tagged.extend_from_slice(&genuine[1..]);
    let mut small_order = genuine.clone();
    let at = small_order.len() - 32;
    small_order[at..].fill(0);
    let x509 = |der: &[u8]| [&[2][..], der].concat();
    vec![
        ("ccs-ed25519", genuine.clone()),
        ("ccs-x25519", ccs("", &x25519)),
        ("ccs-p256", ccs("door", &p256)),
        ("ccs-tagged", tagged),
        (
            "x509-ed25519",
            x509(include_bytes!(
                "../../../crates/oscore/src/credential/tests/ed25519.der"
            )),
        ),
        (
            "x509-p256",
            x509(include_bytes!(
                "../../../crates/oscore/src/credential/tests/p256.der"
            )),
        ),
        ("bad-small-order", small_order),
        ("bad-cut", genuine[..genuine.len() - 1].to_vec()),
        ("bad-longer", [&genuine[..], &[0]].concat()),
        ("bad-nested", [&[1][..], &[0x81; 200]].concat()),
        ("bad-format", [&[0][..], &genuine[1..]].concat()),
    ]
}

/// Which format a sample of [`credentials`] is of, and whether it is one.
pub fn is_credential(sample: &[u8]) -> bool {
    let format = CredentialFormat::ALL[usize::from(sample[0])];
    Credential::import(format, &sample[1..]).is_ok()
}

/// State: a sealed file, changes to one, a record, a list of records.
pub(super) fn state() -> Vec<Sample> {
    let reserved = |upto| Record::Reserved {
        gid: b"Dal".to_vec(),
        sender_id: vec![5],
        upto,
    };
    let installed = Record::Installed(Box::new(Installed {
        name: "lights".into(),
        generation: 1,
        gid: b"Dal".to_vec(),
        master_secret: Secret::new(vec![1; 16]),
        master_salt: vec![2; 8],
        suite: Suite::default(),
        format: CredentialFormat::Ccs,
        manager: vec![0xa0],
        own: Some(OwnMember {
            sender_id: vec![5],
            credential: vec![0xa0],
            key: None,
        }),
        upto: 0,
        peers: PeersKept::Nobody,
        past: vec![],
        ever_deleted: false,
    }));
    let clean = Record::Clean {
        gid: b"Dal".to_vec(),
        sender_id: Some(vec![5]),
        next: 7,
        windows: vec![],
    };
    let one = |record: &Record| [&[2][..], &record.encode()].concat();
    let list = |records: &[&Record]| {
        let mut list = vec![3];
        for record in records {
            let bytes = record.encode();
            list.push(bytes.len() as u8);
            list.extend_from_slice(&bytes);
        }
        list
    };
    vec![
        ("file-zeros", vec![0; 120]),
        ("file-unchanged", vec![1]),
        ("file-bit-at-end", b"\x01\x00\x01\x00".to_vec()),
        ("file-bit-in-header", b"\x01\x00\x28\x03".to_vec()),
        ("file-cut", b"\x01\x04\x41\x00".to_vec()),
        ("file-longer", b"\x01\x05\x00\x17".to_vec()),
        ("record-installed", one(&installed)),
        ("record-reserved", one(&reserved(1024))),
        ("record-clean", one(&clean)),
        ("record-lost", one(&Record::Lost)),
        (
            "list-running",
            list(&[&installed, &reserved(1024), &Record::Running]),
        ),
        (
            "list-clean",
            list(&[&installed, &reserved(1024), &Record::Running, &clean]),
        ),
        (
            "list-mismatch",
            list(&[&installed, &Record::Running, &installed]),
        ),
        ("list-unreadable", b"\x03\x02\xff\xff".to_vec()),
    ]
}
