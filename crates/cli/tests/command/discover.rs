//! `antiphon discover` on the real groups and the real port, in a network namespace where nobody else hears it.

use serde_json::Value;

use super::program::{
    Folder, Member, antiphon, code, err, in_a_namespace, is_inside, lines, of_event, out,
};

fn member(folder: &Folder, name: &str, listen: &str, rt: &str, discoverable: &str) -> Member {
    let config = format!(
        "[server]\nlisten = [\"{listen}\"]\ninterfaces = [\"lo\"]\nunsecured = true\ndiscoverable = \"{discoverable}\"\nleisure = \"100ms\"\n\
         [[resource]]\npath = \"/{name}\"\nrt = [\"{rt}\"]\nvalue = \"x\"\naccess = \"public\"\n"
    );
    Member::serve(folder, &format!("{name}.toml"), &config)
}

/// Targets that were found, with the device and the scope, and the exit code.
fn discover(args: &[&str]) -> (Vec<(String, String)>, i32, String) {
    let usual = ["discover", "-i", "lo", "-t", "500ms", "--json"];
    let output = antiphon(&[&usual, args].concat());
    let mut found = Vec::new();
    for device in of_event(&lines(&output), "device") {
        for link in device["links"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            found.push((text(&device["address"]), text(&link["target"])));
        }
    }
    found.sort();
    (found, code(&output), err(&output))
}

#[test]
fn devices_are_found_in_each_scope() {
    if !is_inside() {
        return in_a_namespace(
            "discover::devices_are_found_in_each_scope",
            &["ip -6 route add local ff00::/8 dev lo"],
        );
    }
    let folder = Folder::new("discover");
    let _members = [
        member(&folder, "lamp", "127.0.0.2:5683", "light", "all"),
        member(&folder, "door", "[::1]:5683", "lock", "all"),
        member(&folder, "hidden", "127.0.0.3:5683", "light", "off"),
    ];
    let lamp = ("127.0.0.2:5683".to_owned(), "/lamp".to_owned());
    let door = ("[::1]:5683".to_owned(), "/door".to_owned());
    let both = vec![lamp.clone(), door.clone()];
    for (args, expected) in [
        (&[][..], &both[..]),
        (&["--scope", "ipv4"], &both[..1]),
        (&["--scope", "link,site"], &both[1..]),
        (&["--scope", "site"], &both[1..]),
        (&["--rt", "light"], &both[..1]),
        (&["--rt", "l*"], &both),
        (&["--href", "/door"], &both[1..]),
    ] {
        let (found, code, err) = discover(args);
        assert_eq!((&found[..], code), (expected, 0), "{args:?}: {err}");
    }
    let (found, code, _) = discover(&["--rt", "window"]);
    assert_eq!((found.len(), code), (0, 4));

    let text = out(&antiphon(&[
        "discover", "-i", "lo", "-t", "500ms", "--scope", "ipv4",
    ]));
    assert!(text.starts_with("127.0.0.2:5683  after "), "{text}");
    assert!(
        text.contains("\n  </lamp>  rt=light, ct=0\n1 device, 1 link in "),
        "{text}"
    );
}
