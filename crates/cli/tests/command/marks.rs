//! A description and the state that counts its sequence numbers belong together, whatever they are called.

use std::fs;
use std::path::Path;

use super::program::{Folder, Member, antiphon, code, err, free_port, out};

const MEMBERS: [&str; 2] = ["switch", "lamp-1"];

/// Asks nobody, with these keys: what it says on stderr.
fn ask(keys: &str) -> (i32, String) {
    let uri = format!("coap://127.0.0.1:{}/", free_port());
    let asked = antiphon(&["get", &uri, "--group", keys]);
    (code(&asked), err(&asked))
}

#[test]
fn a_description_that_was_renamed_or_copied_does_not_begin_again() {
    let folder = Folder::new("marks-renamed");
    let files = folder.new_group("lights", &MEMBERS, &[]);
    let (toml, copy) = (format!("{files}/lamp-1.toml"), format!("{files}/copy.toml"));
    let (_, said) = ask(&toml);
    assert!(said.contains("counts the sequence numbers"), "{said}");
    let (_, said) = ask(&toml);
    assert!(!said.contains("sequence numbers"), "it goes on: {said}");
    let marks = fs::read_to_string(format!("{files}/antiphon.states")).unwrap();
    assert_eq!(
        marks
            .lines()
            .filter(|line| line.ends_with(" lamp-1.state"))
            .count(),
        1,
        "{marks}"
    );
    let description = fs::read_to_string(&toml).unwrap();
    let secret = description
        .lines()
        .find(|line| line.starts_with("master-secret"));
    let secret = secret.unwrap().split('"').nth(1).unwrap();
    assert!(secret.len() == 32 && !marks.contains(secret));

    fs::copy(&toml, &copy).unwrap();
    for renamed in [false, true] {
        if renamed {
            fs::remove_file(&toml).unwrap();
        }
        let (ended, said) = ask(&copy);
        assert_eq!(ended, 5, "{said}");
        let told = said.contains(&format!("{files}/lamp-1.state counts the sequence numbers"));
        assert!(told, "{said}");
        assert!(
            !Path::new(&format!("{files}/copy.state")).exists(),
            "none is made"
        );
        let state = folder.path("elsewhere.state");
        let put = antiphon(&["oscore", "context", &copy, "--state", &state]);
        assert_eq!(code(&put), 5, "{}", out(&put));
        assert!(
            err(&put).contains("counts the sequence numbers"),
            "{}",
            err(&put)
        );
    }
    // The private key knows it as well, for a description in another folder.
    let other = folder.write(
        "other.toml",
        &fs::read_to_string(&copy).unwrap().replace(
            "key-file = \"lamp-1.key\"",
            "key-file = \"lights/lamp-1.key\"",
        ),
    );
    fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (ended, said) = ask(&other);
    assert!(
        ended == 5 && said.contains("counts the sequence numbers"),
        "{said}"
    );
    // What it says helps.
    let (ended, said) = ask(&format!("{files}/lamp-1.state"));
    assert!(ended != 5 && !said.contains("sequence numbers"), "{said}");
    fs::rename(&copy, &toml).unwrap();
    let (ended, said) = ask(&toml);
    assert!(ended != 5 && !said.contains("sequence numbers"), "{said}");
}

#[test]
fn a_state_that_has_gone_is_not_begun_again() {
    let folder = Folder::new("marks-gone");
    let files = folder.new_group("lights", &MEMBERS, &[]);
    let toml = format!("{files}/switch.toml");
    ask(&toml);
    // File by file, down to the last that could know.
    for ending in ["", ".witness", ".key", ".lock"] {
        fs::remove_file(format!("{files}/switch.state{ending}")).unwrap();
        let (ended, said) = ask(&toml);
        assert_eq!(ended, 5, "{ending}: {said}");
        let told = said.contains("has gone") && said.contains("make new keys for all members");
        assert!(told, "{ending}: {said}");
        assert!(!Path::new(&format!("{files}/switch.state")).exists());
    }
    // Another one in its place.
    let state = format!("{files}/switch.state");
    let pair = folder.write(
        "pair.toml",
        "[oscore]\nname = \"plug\"\nmaster-secret = \"0102030405060708090a0b0c0d0e0f10\"\nsender-id = \"00\"\nrecipient-id = \"01\"\n",
    );
    fs::set_permissions(&pair, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let put = antiphon(&["oscore", "context", &pair, "--state", &state]);
    assert_eq!(code(&put), 0, "{}", err(&put));
    let (ended, said) = ask(&toml);
    assert!(ended == 5 && said.contains("has gone"), "{said}");
    // A pair has no private key: its folder knows.
    let copy = folder.path("copy.toml");
    fs::copy(&pair, &copy).unwrap();
    let (ended, said) = ask(&copy);
    assert!(ended == 5 && said.contains("switch.state counts"), "{said}");

    // New keys begin, where the old ones were.
    let new = folder.path("lights-1");
    let rekeyed = antiphon(&["oscore", "rekey", &toml, "--out", &new]);
    assert_eq!(code(&rekeyed), 0, "{}", err(&rekeyed));
    fs::rename(format!("{new}/switch.toml"), &toml).unwrap();
    let (ended, said) = ask(&toml);
    assert!(
        ended != 5 && said.contains("counts the sequence numbers"),
        "{said}"
    );
}

/// The description of a silent server in a new group.
fn silent_server(folder: &Folder) -> String {
    let files = folder.new_group("lights", &MEMBERS, &[]);
    let description = fs::read_to_string(format!("{files}/lamp-1.toml")).unwrap();
    let (before, rest) = description.split_once("\n[me]\n").unwrap();
    let (_, members) = rest.split_once("\n[[member]]\n").unwrap();
    let toml = folder.write("silent.toml", &format!("{before}\n[[member]]\n{members}"));
    fs::set_permissions(&toml, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    toml
}

#[test]
fn a_silent_server_does_not_forget_what_it_received_by_another_name_or_without_its_state() {
    let folder = Folder::new("marks-silent-again");
    let toml = silent_server(&folder);
    let (state, copy) = (folder.path("silent.state"), folder.path("copy.toml"));
    let put = |toml: &str, state: &str| antiphon(&["oscore", "context", toml, "--state", state]);
    for _ in 0..2 {
        let first = put(&toml, &state);
        assert_eq!(code(&first), 0, "{}", err(&first));
    }
    fs::copy(&toml, &copy).unwrap();
    let renamed = put(&copy, &folder.path("copy.state"));
    assert_eq!(code(&renamed), 5);
    let said = err(&renamed);
    assert!(
        said.contains("silent.state knows what was received"),
        "{said}"
    );
    assert!(!Path::new(&folder.path("copy.state")).exists());
    for ending in ["", ".witness", ".key", ".lock"] {
        let _ = fs::remove_file(format!("{state}{ending}"));
    }
    let anew = put(&toml, &state);
    assert_eq!(code(&anew), 5);
    let said = err(&anew);
    let told = said.contains("knew what was received with these keys has gone");
    assert!(
        told && said.contains("make new keys for all members"),
        "{said}"
    );
    assert!(!Path::new(&state).exists());
}

#[test]
fn a_silent_server_that_was_killed_says_that_it_needs_new_keys() {
    let folder = Folder::new("marks-silent");
    silent_server(&folder);
    let state = folder.path("silent.state");
    let serve = || {
        let config = format!(
            "[server]\ngroup = \"silent.toml\"\nlisten = [\"127.0.0.1:{}\"]\n[[resource]]\npath = \"/light\"\nvalue = \"off\"\n",
            free_port()
        );
        Member::serve(&folder, "serve.toml", &config)
    };
    let verify = || antiphon(&["oscore", "verify", &state]);
    serve().stop();
    let verified = verify();
    assert_eq!(code(&verified), 0, "{}", err(&verified));
    assert!(!out(&verified).contains("new keys"), "{}", out(&verified));
    drop(serve()); // killed
    let verified = verify();
    assert_eq!(code(&verified), 0, "{}", err(&verified));
    assert!(
        out(&verified).contains("nothing is accepted until the group has new keys"),
        "{}",
        out(&verified)
    );
    let verified = antiphon(&["oscore", "verify", &state, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out(&verified)).unwrap();
    assert_eq!(
        (
            report["ok"].as_bool(),
            report["warnings"].as_array().unwrap().len()
        ),
        (Some(true), 1)
    );
}
