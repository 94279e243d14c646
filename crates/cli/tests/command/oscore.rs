//! `antiphon oscore`: keys, groups, state files.

use std::path::Path;

use super::program::{Folder, antiphon, code, err, out};

/// What the command prints as JSON; it must succeed.
fn json(args: &[&str]) -> serde_json::Value {
    let output = antiphon(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
    serde_json::from_str(&out(&output)).unwrap()
}

const MEMBERS: [&str; 3] = ["switch", "lamp-1", "lamp-2"];

#[cfg(unix)]
fn mode(path: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_is_made_for_its_owner_alone_and_never_shown() {
    let folder = Folder::new("oscore-keygen");
    let curves = [
        ("ed25519", 64),
        ("x25519", 64),
        ("p256", 64),
        #[cfg(feature = "p384")]
        ("p384", 96),
        #[cfg(feature = "p521")]
        ("p521", 132),
    ];
    for (curve, digits) in curves {
        let file = folder.path(curve);
        let made = antiphon(&[
            "oscore",
            "keygen",
            "--curve",
            curve,
            "--out",
            &file,
            "--subject",
            "lamp-1",
        ]);
        assert_eq!(code(&made), 0, "{}", err(&made));
        let text = std::fs::read_to_string(&file).unwrap();
        let secret = text
            .lines()
            .find_map(|line| line.strip_prefix("private-key = "))
            .unwrap();
        let secret = secret.trim_matches('"');
        assert_eq!(secret.len(), digits);
        assert!(!out(&made).contains(secret) && !err(&made).contains(secret));
        assert!(out(&made).contains("a CCS of \"lamp-1\""), "{}", out(&made));
        #[cfg(unix)]
        assert_eq!(mode(&file), 0o600);
        let again = antiphon(&["oscore", "keygen", "--out", &file]);
        assert_eq!(code(&again), 2, "{}", out(&again));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    let first = json(&["oscore", "keygen", "--json", "--out", &folder.path("a")]);
    let second = json(&["oscore", "keygen", "--json", "--out", &folder.path("b")]);
    assert_ne!(first["credential"], second["credential"]);
    assert_eq!(
        (&first["curve"], &first["subject"]),
        (&"Ed25519".into(), &"".into())
    );
    // {8: {1: key}}: a CCS that names nobody
    assert!(
        first["credential"]
            .as_str()
            .unwrap()
            .starts_with("a108a101a4"),
        "{first}"
    );
}

/// The curves that a build leaves out are no choice of its `--curve`; those that it has make groups that can be used.
#[test]
fn curves_are_a_choice_where_they_are_built() {
    let folder = Folder::new("oscore-curves");
    for (curve, is_built) in [
        ("p256", true),
        ("p384", cfg!(feature = "p384")),
        ("p521", cfg!(feature = "p521")),
    ] {
        let files = folder.path(curve);
        let made = antiphon(&[
            "oscore",
            "new-group",
            "lights",
            "--member",
            "switch",
            "--member",
            "lamp",
            "--curve",
            curve,
            "--out",
            &files,
        ]);
        assert_eq!(code(&made) == 0, is_built, "{curve}: {}", err(&made));
        if is_built {
            let checked = antiphon(&[
                "oscore",
                "context",
                &format!("{files}/lamp.toml"),
                "--check",
            ]);
            assert_eq!(code(&checked), 0, "{curve}: {}", err(&checked));
        } else {
            assert_eq!(code(&made), 2);
        }
    }
}

#[test]
fn a_whole_group_is_made_and_put_into_state_files() {
    let folder = Folder::new("oscore-group");
    let files = folder.new_group("lights", &MEMBERS, &[]);
    for name in ["switch", "lamp-1", "lamp-2"] {
        let (toml, key) = (
            format!("{files}/{name}.toml"),
            format!("{files}/{name}.key"),
        );
        #[cfg(unix)]
        assert_eq!(
            (mode(&files), mode(&toml), mode(&key)),
            (0o700, 0o600, 0o600)
        );
        let checked = antiphon(&["oscore", "context", &toml, "--check"]);
        assert_eq!(code(&checked), 0, "{}", err(&checked));
        assert!(Path::new(&key).exists());
    }
    let twice = antiphon(&[
        "oscore",
        "new-group",
        "lights",
        "--member",
        "a",
        "--out",
        &files,
    ]);
    assert_eq!(code(&twice), 2);
    let odd = antiphon(&[
        "oscore",
        "new-group",
        "x",
        "--member",
        "../a",
        "--out",
        &folder.path("odd"),
    ]);
    assert_eq!(code(&odd), 2);
    assert!(!Path::new(&folder.path("odd")).exists());

    let state = folder.path("lamp-1.state");
    let toml = format!("{files}/lamp-1.toml");
    let context = |toml: &str| json(&["oscore", "context", toml, "--state", &state, "--json"]);
    assert_eq!(context(&toml)["change"], "new");
    assert_eq!(context(&toml)["change"], "nothing");

    let shown = antiphon(&["oscore", "inspect", &state]);
    let text = out(&shown);
    for part in [
        "group lights",
        "generation   0",
        "lamp-1, Sender ID 01, private key in this file",
        "0 is next, none reserved",
        "switch  00",
        "lamp-2  02",
        "Ed25519",
        "from 0",
        "closed in good order",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let secrets = std::fs::read_to_string(&toml).unwrap()
        + &std::fs::read_to_string(format!("{files}/lamp-1.key")).unwrap();
    let inspected = json(&["oscore", "inspect", &state, "--json"]);
    for line in secrets
        .lines()
        .filter(|line| line.starts_with("master") || line.starts_with("private"))
    {
        let secret = line.split('"').nth(1).unwrap();
        assert!(
            secret.len() >= 16 && !text.contains(secret) && !inspected.to_string().contains(secret)
        );
    }
    let group = &inspected["groups"][0];
    assert_eq!(
        (&group["name"], &group["me"]["subject"], &group["lost"]),
        (&"lights".into(), &"lamp-1".into(), &serde_json::Value::Null)
    );
    assert_eq!(group["members"][1]["subject"], "lamp-2");
    assert_eq!(
        group["sequence"],
        serde_json::json!({"next": 0, "reserved": 0, "exact": false, "lost": false})
    );
    let verified = antiphon(&["oscore", "verify", &state]);
    assert_eq!(
        (code(&verified), out(&verified).contains("in order")),
        (0, true),
        "{}",
        out(&verified)
    );
}

#[test]
fn what_would_begin_sequence_numbers_again_is_refused() {
    let folder = Folder::new("oscore-again");
    let files = folder.new_group("lights", &MEMBERS, &["--gid", "47110000"]);
    let state = folder.path("state");
    let toml = format!("{files}/lamp-1.toml");
    let context = |toml: &str| antiphon(&["oscore", "context", toml, "--state", &state, "--json"]);
    assert_eq!(code(&context(&toml)), 0);
    let original = std::fs::read_to_string(&toml).unwrap();
    let change = |from: &str, to: &str| {
        assert!(original.contains(from), "{from}");
        std::fs::write(&toml, original.replacen(from, to, 1)).unwrap();
        let output = context(&toml);
        std::fs::write(&toml, &original).unwrap();
        output
    };
    for (from, to, part) in [
        (
            "generation = 0",
            "generation = 1",
            "a higher generation and another Gid",
        ),
        (
            "gid = \"47110000\"",
            "gid = \"47110001\"",
            "a higher generation and another Gid",
        ),
        (
            "master-salt = \"",
            "master-salt = \"00",
            "sequence numbers would begin again",
        ),
    ] {
        let refused = change(from, to);
        assert_eq!(code(&refused), 2, "{to}: {}", out(&refused));
        assert!(err(&refused).contains(part), "{to}: {}", err(&refused));
    }
    // A Sender ID that was never used begins at 0; the one before is used up.
    let moved = change("sender-id = \"01\"", "sender-id = \"0a\"");
    assert!(out(&moved).contains("\"new-sender-id\""), "{}", err(&moved));
    let back = context(&toml);
    assert_eq!(code(&back), 2);
    assert!(
        err(&back).contains("was used with this Gid"),
        "{}",
        err(&back)
    );

    // New keys replace the old ones, which do not come back.
    let newer = folder.new_group("newer", &MEMBERS, &["--generation", "1"]);
    let newer = context(&format!("{newer}/lamp-1.toml"));
    assert!(out(&newer).contains("\"new-keys\""), "{}", err(&newer));
    let older = context(&toml);
    assert_eq!(code(&older), 2);
    assert!(err(&older).contains("newer keys"), "{}", err(&older));
}

#[test]
fn members_come_and_go() {
    let folder = Folder::new("oscore-members");
    let files = folder.new_group("lights", &MEMBERS, &[]);
    let state = folder.path("state");
    let toml = format!("{files}/lamp-1.toml");
    let original = std::fs::read_to_string(&toml).unwrap();
    let (before, last) = original.rsplit_once("[[member]]").unwrap();
    std::fs::write(&toml, before).unwrap();
    let context = || json(&["oscore", "context", &toml, "--state", &state, "--json"]);
    assert_eq!(context()["change"], "new");
    std::fs::write(&toml, &original).unwrap();
    let more = context();
    assert_eq!(
        (&more["change"], &more["added"], &more["removed"]),
        (
            &"members".into(),
            &serde_json::json!(["lamp-2"]),
            &serde_json::json!([])
        )
    );
    assert!(last.contains("lamp-2"));
    std::fs::write(&toml, before).unwrap();
    assert_eq!(context()["removed"], serde_json::json!(["lamp-2"]));
    let inspected = json(&["oscore", "inspect", &state, "--json"]);
    assert_eq!(
        inspected["groups"][0]["members"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_state_file_that_is_not_in_order_is_told() {
    let folder = Folder::new("oscore-tampered");
    let files = folder.new_group("lights", &MEMBERS, &[]);
    let state = folder.path("state");
    let toml = format!("{files}/lamp-1.toml");
    let context = || antiphon(&["oscore", "context", &toml, "--state", &state]);
    let verify = || antiphon(&["oscore", "verify", &state]);
    assert_eq!(code(&context()), 0);
    assert_eq!(code(&verify()), 0);
    let good = std::fs::read(&state).unwrap();

    // One bit.
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&state, &damaged).unwrap();
    let told = verify();
    assert_eq!(code(&told), 1, "{}{}", out(&told), err(&told));
    assert_eq!(code(&context()), 5);
    std::fs::write(&state, &good).unwrap();
    assert_eq!(code(&verify()), 0);

    // An older one: the witness knows more.
    assert_eq!(code(&context()), 0);
    std::fs::write(&state, &good).unwrap();
    let told = verify();
    assert_eq!(code(&told), 1, "{}{}", out(&told), err(&told));
    assert!(
        out(&told).contains("older than what was last in use"),
        "{}",
        out(&told)
    );
    let told = antiphon(&["oscore", "verify", &state, "--json"]);
    assert_eq!(code(&told), 1);
    let report: serde_json::Value = serde_json::from_str(&out(&told)).unwrap();
    assert_eq!(report["ok"], false);
    let shown = antiphon(&["oscore", "inspect", &state]);
    assert_eq!(
        code(&shown),
        0,
        "it can still be looked at: {}",
        err(&shown)
    );
    let refused = context();
    assert_eq!(code(&refused), 5);
    assert!(
        err(&refused).contains("Make new keys for all members"),
        "{}",
        err(&refused)
    );

    // Another key; no file.
    std::fs::write(folder.path("state.key"), [7; 32]).unwrap();
    let told = verify();
    assert_eq!(code(&told), 1, "{}{}", out(&told), err(&told));
    assert!(
        err(&told).contains("cannot be opened with this key"),
        "{}",
        err(&told)
    );
    let nothing = antiphon(&["oscore", "verify", &folder.path("nothing")]);
    assert_eq!(code(&nothing), 5);
    assert!(!Path::new(&folder.path("nothing.lock")).exists());
}
