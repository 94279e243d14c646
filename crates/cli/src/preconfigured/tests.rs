use antiphon_oscore::crypto::Curve;

use super::*;

/// A folder with a private key in `me.key`, removed when it goes out of scope.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("antiphon-pre-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        secret_file::write_key(&path.join("me.key"), &key(1)).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key(seed: u8) -> SoftwareKey {
    SoftwareKey::generate(Curve::Ed25519, &[seed; 64]).unwrap()
}

fn credential(name: &str, seed: u8) -> String {
    hex::plain(&Credential::build_ccs(name, &key(seed).public()))
}

/// A group of three; each line can be replaced.
fn text(replace: &[(&str, &str)]) -> String {
    let mut text = format!(
        "[group]\nname = \"lights\"\ngid = \"4711\"\ngeneration = 3\nmaster-secret = \"{}\"\nmaster-salt = \"9e7c\"\n\
         \n[me]\nsender-id = \"01\"\ncredential = \"{}\"\nkey-file = \"me.key\"\n\
         \n[[member]]\nsender-id = \"02\"\ncredential = \"{}\"\nsubject = \"lamp-2\"\n\
         \n[[member]]\nsender-id = \"03\"\ncredential = \"{}\"\n",
        "ab".repeat(16),
        credential("lamp-1", 1),
        credential("lamp-2", 2),
        credential("", 3),
    );
    for (from, to) in replace {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text
}

fn group(text: &str, folder: &Folder) -> Result<GroupFile, FileError> {
    match parse(text, &folder.0)?.0 {
        Preconfigured::Group(group) => Ok(*group),
        Preconfigured::Pair(_) => panic!("a pair"),
    }
}

#[test]
fn a_group_is_read() {
    let folder = Folder::new("read");
    let group = group(&text(&[]), &folder).unwrap();
    assert_eq!((group.name.as_str(), group.generation), ("lights", 3));
    assert_eq!(
        (group.gid.as_slice(), group.master_salt.as_bytes()),
        (&[0x47, 0x11][..], &[0x9e, 0x7c][..])
    );
    assert_eq!(group.master_secret.as_bytes(), [0xab; 16]);
    assert_eq!(
        (group.suite, group.format),
        (Suite::default(), CredentialFormat::Ccs)
    );
    assert!(group.manager.is_empty());
    let own = group.own.as_ref().unwrap();
    assert_eq!(
        (own.sender_id.as_slice(), own.credential.subject()),
        (&[1][..], Some("lamp-1"))
    );
    assert!(own.key.public() == key(1).public());
    let names: Vec<String> = group
        .members
        .iter()
        .map(|m| name_of(&m.sender_id, m.credential.subject()))
        .collect();
    assert_eq!(names, ["lamp-2", "03"]);
    assert_eq!(
        group.advice(),
        ["the credential of 03 names nobody: it is called by its Sender ID"]
    );
}

#[test]
fn algorithms_are_named_numbered_or_left_out() {
    let folder = Folder::new("suite");
    let suite = |lines: &str| {
        let lines = format!("[group.algorithms]\n{lines}\n[me]");
        group(&text(&[("[me]", &lines)]), &folder).map(|group| group.suite)
    };
    let ids = |suite: Suite| {
        (
            suite.hkdf().id(),
            suite.aead().map(Aead::id),
            suite.group_encryption().map(GroupEncryption::id),
            suite.signature().map(SignatureAlgorithm::id),
            suite.key_agreement().map(KeyAgreement::id),
        )
    };
    let of = |lines: &str| ids(suite(lines).unwrap());
    assert_eq!(of(""), (5, Some(30), Some(30), Some(-8), Some(-27)));
    assert_eq!(
        of("aead = \"ChaCha20/Poly1305\""),
        (5, Some(24), Some(24), Some(-8), Some(-27))
    );
    assert_eq!(
        of("aead = 10\ngroup-encryption = \"A128CTR\""),
        (5, Some(10), Some(-65534), Some(-8), Some(-27))
    );
    assert_eq!(
        of("hkdf = \"SHA-512\""),
        (7, Some(30), Some(30), Some(-8), Some(-28))
    );
    assert_eq!(
        of("key-agreement = \"none\""),
        (5, None, Some(30), Some(-8), None)
    );
    assert_eq!(of("aead = \"none\""), (5, None, Some(30), Some(-8), None));
    for (lines, part) in [
        ("group-encryption = -65531", "AES-CBC must not be used"),
        ("group-encryption = \"A128CBC\"", "AES-CBC must not be used"),
        ("aead = \"ROT13\"", "\"ROT13\" is no AEAD algorithm"),
        ("aead = 99999999999", "99999999999 is no AEAD algorithm"),
        ("signature = true", "a name or a number"),
        ("hkdf = \"none\"", "always an HKDF"),
        ("key-agreement = -28", "another hash function"),
        (
            "signature = \"none\"\nkey-agreement = \"none\"",
            "neither group mode nor pairwise mode",
        ),
        ("speed = \"high\"", "unknown field `speed`"),
    ] {
        let error = suite(lines).unwrap_err().to_string();
        assert!(error.contains(part), "{lines}: {error}");
    }
    // A group without group mode wants keys that agree only.
    let error = suite("signature = \"none\"").unwrap_err();
    assert!(error.what.ends_with("it is on Ed25519"), "{error}");
}

#[test]
fn mistakes_name_their_line() {
    let folder = Folder::new("lines");
    let other = credential("lamp-9", 9);
    let (mine, second) = (credential("lamp-1", 1), credential("lamp-2", 2));
    for (replace, line, part) in [
        (
            ("name = \"lights\"", "nam = \"lights\""),
            2,
            "unknown field `nam`",
        ),
        (("name = \"lights\"", "name = \"\""), 2, "1 to 240 bytes"),
        (("gid = \"4711\"", "gid = \"471\""), 3, "half a byte"),
        (("generation = 3", "generation = -1"), 4, ""),
        (("\"9e7c\"", "\"@salt\""), 6, "salt"),
        (
            ("sender-id = \"01\"", "sender-id = \"0102030405060708\""),
            9,
            "at most 7 bytes",
        ),
        (
            ("sender-id = \"01\"", "sender-id = \"02\""),
            13,
            "the Sender ID 02 is taken by line 8",
        ),
        (
            (second.as_str(), mine.as_str()),
            13,
            "the credential is that of line 8",
        ),
        (
            (mine.as_str(), other.as_str()),
            11,
            "does not belong to the public key",
        ),
        (
            (mine.as_str(), "a0"),
            10,
            "the credential holds no public key",
        ),
        (("\"me.key\"", "\"you.key\""), 11, "you.key"),
        (
            ("subject = \"lamp-2\"", "subject = \"lamp-3\""),
            16,
            "the credential is that of \"lamp-2\"",
        ),
        (("[[member]]", "[[members]]"), 13, "unknown field `members`"),
        (("[group]", "[oscore]\n[group]"), 1, ""),
    ] {
        let error = group(&text(&[replace]), &folder)
            .err()
            .unwrap_or_else(|| panic!("{replace:?}"));
        assert_eq!(error.line, line, "{replace:?}: {error}");
        assert!(error.what.contains(part), "{replace:?}: {error}");
    }
    assert_eq!(
        group("", &folder).err().unwrap().to_string(),
        "1: there is neither a [group] nor an [oscore] context"
    );
}

#[test]
fn no_complaint_shows_a_secret() {
    let folder = Folder::new("secret");
    let secret = "ab".repeat(16);
    let quoted = format!("\"{secret}\"");
    for wrong in [
        "\"abababababababababababababababaQ\"".to_owned(),
        "\"abababababababababababababababa\"".to_owned(),
        "[\"abababababababababababababababab\"]".to_owned(),
        "0xabababababababa".to_owned(),
        "\"\"".to_owned(),
    ] {
        let error = group(&text(&[(&quoted, &wrong)]), &folder).err().unwrap();
        assert_eq!(error.line, 5, "{error}");
        assert!(!error.what.contains("abab"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("mode");
    let open_to = |file: &std::path::Path, mode: u32| {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let path = folder.0.join("lights.toml");
    secret_file::create(&path, text(&[]).as_bytes()).unwrap();
    assert!(read(&path).is_ok());
    open_to(&path, 0o640);
    let error = read(&path).err().unwrap();
    assert!(error.message.contains("its mode is 640"), "{error}");

    // The secret may be elsewhere; then what is left is public.
    let secret = folder.0.join("secret");
    secret_file::create(&secret, format!("{}\n", "ab".repeat(16)).as_bytes()).unwrap();
    std::fs::write(
        &path,
        text(&[
            (&"ab".repeat(16), "@secret"),
            ("master-salt = \"9e7c\"\n", ""),
        ]),
    )
    .unwrap();
    assert!(read(&path).is_ok());
    open_to(&secret, 0o604);
    assert!(read(&path).err().unwrap().message.contains("5: "));
    open_to(&secret, 0o600);
    open_to(&folder.0.join("me.key"), 0o660);
    let error = read(&path).err().unwrap();
    assert!(error.message.contains("me.key holds a secret"), "{error}");
    assert!(
        secret_file::create(&path, b"x")
            .unwrap_err()
            .message
            .contains("never overwritten")
    );
}

#[test]
fn an_oscore_context_is_read() {
    let pair = |lines: &str| match parse(lines, Path::new(""))?.0 {
        Preconfigured::Pair(pair) => Ok(*pair),
        Preconfigured::Group(_) => panic!("a group"),
    };
    let text = "[oscore]\nname = \"plug\"\nmaster-secret = \"0102\"\nid-context = \"37\"\nsender-id = \"\"\nrecipient-id = \"01\"\n";
    let read: PairFile = pair(text).unwrap();
    assert_eq!(
        (read.name.as_str(), read.id_context.as_deref()),
        ("plug", Some(&[0x37][..]))
    );
    assert_eq!(
        (read.sender_id.as_slice(), read.recipient_id.as_slice()),
        (&[][..], &[1][..])
    );
    assert_eq!(
        (read.hkdf, read.aead),
        (Hkdf::Sha256, Aead::AesCcm16_64_128)
    );
    for (from, to, line, part) in [
        ("\"01\"", "\"\"", 6, "both ends have the same ID"),
        ("\"01\"", "\"01020304050607ff\"", 6, "at most 7 bytes"),
        ("\"37\"", "\"3\"", 4, "half a byte"),
    ] {
        let error: FileError = pair(&text.replace(from, to)).err().unwrap();
        assert_eq!(error.line, line, "{error}");
        assert!(error.what.contains(part), "{error}");
    }
    let error = pair(&format!(
        "{text}[[member]]\nsender-id = \"02\"\ncredential = \"a0\"\n"
    ))
    .err()
    .unwrap();
    assert!(error.what.contains("belong to a [group]"), "{error}");
}

#[test]
fn a_group_says_over_which_kind_of_link_it_is() {
    let folder = Folder::new("link");
    let with = |link: &str| {
        let line = format!("generation = 3\nlink = {link}");
        group(&text(&[("generation = 3", &line)]), &folder)
    };
    assert_eq!(with("\"6lowpan\"").unwrap().link, Some(LinkProfile::Lowpan));
    assert_eq!(group(&text(&[]), &folder).unwrap().link, None);
    let error = with("\"smoke\"").err().unwrap();
    assert_eq!(error.line, 5);
    assert!(
        error
            .what
            .contains("unknown, 6lowpan, 802.15.4, wifi, ethernet"),
        "{}",
        error.what
    );
}
