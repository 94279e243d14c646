//! `antiphon distribute`: what it says before it begins, what it refuses, how it ends.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::network::Place;
use super::program::{Folder, antiphon, code, command, err, free_port, lines, of_event, out};

fn image(folder: &Folder, name: &str, size: usize) -> String {
    let bytes: Vec<u8> = (0..size).map(|at| (at / 256 * 3 + at) as u8).collect();
    let path = folder.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn before_it_begins_it_says_how_long_it_takes() {
    let folder = Folder::new("distribute-dry");
    let image = image(&folder, "lamp.bin", 100_000);
    let dry = |more: &[&str]| {
        let args = [
            "distribute",
            &image,
            "coap://[ff05::fd]/fw",
            "-u",
            "--dry-run",
        ];
        antiphon(&[&args, more].concat())
    };
    let said = dry(&["--rate", "20k", "--version", "3", "-e", "10.0.0.7"]);
    assert_eq!(code(&said), 0, "{}", err(&said));
    assert_eq!(err(&said), "");
    let text = out(&said);
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("lamp.bin: 100,000 bytes, version 3, id "),
        "{text}"
    );
    // 98 blocks of 1,024 bytes, and 4 with their digests
    assert!(first.ends_with(": 102 blocks of 1024 bytes"), "{text}");
    assert!(
        text.contains("To 1 device by coap://[ff05::fd]/fw"),
        "{text}"
    );
    assert!(
        text.contains("Takes about 5 s at 20,000 bytes a second (--rate): 106 datagrams, 1"),
        "{text}"
    );

    let json = lines(&dry(&[
        "--rate",
        "20k",
        "--json",
        "--kind",
        "lamp",
        "--block-size",
        "64",
    ]));
    assert_eq!(json.len(), 1);
    assert_eq!(json[0]["event"], "plan");
    assert_eq!(json[0]["kind"], "lamp");
    assert_eq!(json[0]["name"], "lamp.bin");
    assert_eq!(json[0]["blocks"], 1_563 + 49);
    let seconds = json[0]["estimate"]["seconds"].as_f64().unwrap();
    let bytes = json[0]["estimate"]["bytes"].as_f64().unwrap();
    assert!((seconds - bytes / 20_000.0).abs() < 0.001, "{json:?}");

    // Without a rate it is the one of RFC 7252, and that is said.
    let slow = dry(&[]);
    assert_eq!(code(&slow), 0);
    assert!(
        out(&slow).contains("at 1 byte a second (default)"),
        "{}",
        out(&slow)
    );
    assert!(out(&slow).contains("Takes about 31 h"), "{}", out(&slow));
    assert!(
        err(&slow).contains("--rate says what it can carry"),
        "{}",
        err(&slow)
    );

    // A link has a rate and a size of blocks; what is stated goes before it.
    let wifi = dry(&["--link", "wifi"]);
    assert!(
        out(&wifi).contains("at 20,000 bytes a second (--link wifi)"),
        "{}",
        out(&wifi)
    );
    assert_eq!(err(&wifi), "");
    let plan = |more: &[&str]| {
        let json = lines(&dry(&[&["--json"], more].concat()));
        let of = |key: &str| json[0][key].clone();
        (of("rate"), of("block_size"), of("rate_from"), of("link"))
    };
    let expected = |rate: u32, block: u32, from: &str, link: &str| {
        (rate.into(), block.into(), from.into(), link.into())
    };
    assert_eq!(
        plan(&["--link", "6lowpan"]),
        expected(640, 64, "--link", "6lowpan")
    );
    let both = ["--link", "802.15.4", "--rate", "3k"];
    assert_eq!(plan(&both), expected(3_000, 256, "--rate", "802.15.4"));
    let size = ["--link", "6lowpan", "--block-size", "128"];
    assert_eq!(plan(&size), expected(640, 128, "--link", "6lowpan"));
    assert_eq!(
        plan(&["--for", "60d"]),
        expected(1, 1_024, "default", "unknown")
    );
    let longer = dry(&["--for", "61d"]);
    assert!(
        err(&longer).contains("longer than 60 days"),
        "{}",
        err(&longer)
    );
    let unheard = dry(&["--link", "smoke"]);
    assert_eq!(code(&unheard), 2);
    assert!(
        err(&unheard).contains("6lowpan, 802.15.4, wifi, ethernet"),
        "{}",
        err(&unheard)
    );
}

#[test]
fn the_file_of_a_group_says_what_its_network_is() {
    let place = super::secured::Place::new();
    let folder = Folder::new("distribute-link");
    let image = image(&folder, "lamp.bin", 1_000);
    let file = place.path("lights/switch.toml");
    let told = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        told.replacen("[group]\n", "[group]\nlink = \"6lowpan\"\n", 1),
    )
    .unwrap();
    let plan = |more: &[&str]| {
        let uri = "coap://[ff05::fd]/fw";
        let args = [
            "distribute",
            &image,
            uri,
            "--group",
            &file,
            "--dry-run",
            "--json",
        ];
        let json = lines(&antiphon(&[&args, more].concat()));
        let of = |key: &str| json[0][key].to_string();
        [of("rate"), of("block_size"), of("rate_from")]
    };
    assert_eq!(plan(&[]), ["640", "64", "\"group file\""]);
    assert_eq!(plan(&["--link", "wifi"]), ["20000", "1024", "\"--link\""]);
    assert_eq!(plan(&["--rate", "2k"]), ["2000", "64", "\"--rate\""]);
    // New keys change nothing about the network.
    let to = place.path("next");
    let made = antiphon(&["oscore", "rekey", &file, "--out", &to]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let next = std::fs::read_to_string(format!("{to}/lamp-1.toml")).unwrap();
    assert!(next.contains("\nlink = \"6lowpan\"\n"));
}

#[test]
fn what_cannot_be_distributed_is_refused() {
    let folder = Folder::new("distribute-refused");
    let image = image(&folder, "lamp.bin", 1_000);
    let empty = folder.write("empty.bin", "");
    let refuse = |args: &[&str], exit: i32, part: &str| {
        let said = antiphon(&[&["distribute"], args].concat());
        assert_eq!(code(&said), exit, "{args:?}: {}", err(&said));
        assert!(err(&said).contains(part), "{args:?}: {}", err(&said));
        assert_eq!(out(&said), "", "{args:?}");
    };
    let uri = "coap://[ff05::fd]/fw";
    refuse(&[&image, uri], 2, "anyone on the network could replace it");
    refuse(&[&folder.path("none"), uri, "-u"], 5, "No such file");
    refuse(
        &["/dev/null", uri, "-u"],
        2,
        "no file that can be read anywhere",
    );
    refuse(&[&empty, uri, "-u"], 2, "1 byte at least");
    refuse(&[&image, "coap://10.0.0.7/fw", "-u"], 2, "multicast");
    refuse(&[&image, "coap://[ff05::fd]/fw?x=1", "-u"], 2, "no query");
    refuse(
        &[&image, uri, "-u", "--block-size", "100"],
        2,
        "power of two",
    );
    refuse(&[&image, uri, "-u", "--rate", "0"], 2, "bytes a second");
    refuse(&[&image, uri, "-u", "--window", "0"], 2, "window");
    refuse(
        &[&image, uri, "-u", "-e", "10.0.0.7", "-e", "10.0.0.7:5683"],
        2,
        "named twice",
    );
    let manifest = folder.write("manifest", &"m".repeat(513));
    refuse(
        &[&image, uri, "-u", "--manifest", &manifest],
        2,
        "1 to 512 bytes",
    );
    refuse(&[&image, uri, "-u", "--sign", &image], 5, "chmod 600");
    let members = folder.write("members.txt", "lamp-1 id=7\n");
    refuse(&[&image, uri, "-u", "--members", &members], 2, "lamp-1");
}

#[test]
fn an_announcement_is_signed_with_a_key_of_its_own() {
    let folder = Folder::new("distribute-sign");
    let image = image(&folder, "lamp.bin", 1_000);
    let key = folder.path("images.key");
    let made = antiphon(&["oscore", "keygen", "--out", &key]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let args = [
        "distribute",
        &image,
        "coap://[ff05::fd]/fw",
        "-u",
        "--dry-run",
        "--sign",
        &key,
    ];
    let said = antiphon(&args);
    assert_eq!(code(&said), 0, "{}", err(&said));
    assert!(
        out(&said).lines().next().unwrap().ends_with(", signed"),
        "{}",
        out(&said)
    );
}

#[test]
fn a_signature_that_was_made_elsewhere_is_announced() {
    use ed25519_dalek::{Signer as _, SigningKey};
    let folder = Folder::new("distribute-signature");
    let image = image(&folder, "lamp.bin", 1_000);
    let (to_sign, signature) = (folder.path("to-sign"), folder.path("signature"));
    let distribute = |more: &[&str]| {
        let args = ["distribute", &image, "coap://[ff05::fd]/fw", "-u"];
        antiphon(&[&args, more].concat())
    };
    let said = distribute(&["--dry-run", "--version", "7", "--to-sign", &to_sign]);
    assert_eq!(code(&said), 0, "{}", err(&said));
    assert!(!out(&said).contains("signed"), "{}", out(&said));
    let part = std::fs::read(&to_sign).unwrap();
    // It is what a key here would sign: the announcement is the same, up to its signature.
    let announced =
        antiphon::distribution::Announcement::decode(&part).expect("an announcement, unsigned");
    assert_eq!((announced.size(), announced.version()), (1_000, 7));
    assert_eq!(
        (announced.name(), announced.signature()),
        ("lamp.bin", None)
    );
    let key = SigningKey::from_bytes(&[7; 32]);
    std::fs::write(&signature, key.sign(&part).to_bytes()).unwrap();
    let signed = [
        "--dry-run",
        "--version",
        "7",
        "--signature",
        &signature,
        "--json",
    ];
    let plan = lines(&distribute(&signed));
    assert_eq!(plan[0]["signed"], true);
    assert_eq!(plan[0]["id"], announced.id().to_string());

    std::fs::write(&signature, [0; 129]).unwrap();
    let long = distribute(&signed);
    assert_eq!(code(&long), 2, "{}", err(&long));
    assert!(err(&long).contains("1 to 128 bytes"), "{}", err(&long));
    for wrong in [
        &["--to-sign", &to_sign][..],
        &[
            "--dry-run",
            "--to-sign",
            &to_sign,
            "--signature",
            &signature,
        ],
        &["--dry-run", "--sign", &image, "--signature", &signature],
    ] {
        assert_eq!(code(&distribute(wrong)), 2, "{wrong:?}");
    }
}

#[test]
fn without_members_it_ends_when_nobody_asks_any_more() {
    let folder = Folder::new("distribute-quiet");
    let image = image(&folder, "lamp.bin", 5_000);
    let uri = format!("coap://239.77.66.55:{}/fw", free_port());
    let said = antiphon(&[
        "distribute",
        &image,
        &uri,
        "-u",
        "-i",
        "lo",
        "--bind",
        "127.0.0.1:0",
        "--rate",
        "1M",
        "--window",
        "1s",
        "--give-up",
        "1s",
        "--json",
    ]);
    assert_eq!(code(&said), 0, "{}", err(&said));
    let said = lines(&said);
    let events: Vec<_> = said
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "plan",
            "announced",
            "pass",
            "pass-ended",
            "repair",
            "outcome"
        ]
    );
    let outcome = of_event(&said, "outcome")[0];
    assert_eq!(outcome["passes"], 1);
    assert_eq!(outcome["all_activated"], false);
    assert_eq!(
        outcome["ended_by"],
        "no device has asked for anything for a while"
    );
}

#[test]
fn ctrl_c_stops_it_and_it_says_how_to_go_on() {
    let folder = Folder::new("distribute-stopped");
    let image = image(&folder, "lamp.bin", 50_000);
    let uri = format!("coap://239.77.66.56:{}/fw", free_port());
    let mut child = command()
        .args([
            "distribute",
            &image,
            &uri,
            "-u",
            "-i",
            "lo",
            "--bind",
            "127.0.0.1:0",
            "--rate",
            "1k",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(said.any(|line| line == "Announced."));
    let interrupted = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let last = said.last().unwrap();
    assert!(
        last.starts_with("stopped; the same command goes on where it was."),
        "{last}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn processes_are_killed_in_the_middle_and_every_device_has_the_exact_image() {
    let place = Place::new();
    let image = image(&place.folder, "lamp.bin", 150_000);
    let serve = |i: u8| {
        let images = format!(
            "[[images]]\npath = \"/fw\"\nfolder = \"receiving-{i}\"\naccess = \"unsecured\"\n"
        );
        place.serve(i, &images)
    };
    let mut devices: Vec<_> = (1..=3).map(serve).collect();
    let uri = place.group_uri("/fw");
    let expect: Vec<String> = (1..=3)
        .map(|i| format!("lamp-{i}={}", place.member(i)))
        .collect();
    let mut args = vec![
        "distribute",
        &image,
        &uri,
        "-u",
        "-i",
        "lo",
        "--bind",
        "127.0.0.1:0",
    ];
    args.extend(["--rate", "40k", "--window", "1s", "--for", "120s", "--json"]);
    args.extend(expect.iter().flat_map(|device| ["-e", device]));

    // The distributor is killed in the middle of the first pass, a device after it.
    let mut first = command()
        .args(&args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(first.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(said.any(|line| line.contains("\"event\":\"pass\"")));
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    first.kill().unwrap();
    assert_eq!(first.wait().unwrap().code(), None, "killed");
    drop(devices.remove(1)); // killed as well
    devices.push(serve(2));

    let second = antiphon(&args);
    assert_eq!(code(&second), 0, "{}{}", out(&second), err(&second));
    let said = lines(&second);
    let outcome = of_event(&said, "outcome")[0];
    assert_eq!(outcome["activated"], 3);
    let sent = std::fs::read(&image).unwrap();
    for i in 1..=3 {
        let kept = place.folder.path(&format!("receiving-{i}/image"));
        assert_eq!(std::fs::read(&kept).unwrap(), sent, "{kept}");
    }
}
