//! One image to a whole group while hosts lose a tenth of everything each way, and the distributor and devices are killed: `antiphon
//! distribute` and `antiphon serve` as an operator has them.

use std::fs;
use std::time::{Duration, Instant};

use antiphon_tests::{Direction, Lab, Process, ours};
use serde_json::Value;

use super::folder::Folder;
use super::{PATIENCE, events, of_event};

/// At each device, each way, in percent.
const LOSS: u8 = 10;
/// Host 1 distributes; device `n` is at host `n + 1`. The last one joins late.
const DEVICES: u8 = 7;
const LATE: u8 = 7;
/// They are killed in the middle.
const KILLED: [u8; 2] = [2, 5];
const IMAGE: usize = 12_000;
const VERSION: &str = "14";
/// Of 256 bytes, and those of the digests: 12 of 32 bytes.
const BLOCKS: u32 = 47 + 2;
/// The whole may take so long. It takes half a minute; what it takes more is a question that was lost five times.
const LONGEST: Duration = Duration::from_secs(200);

fn name(device: u8) -> String {
    format!("lamp-{device}")
}

/// The distributor and the devices, with their keys and folders.
struct Place {
    folder: Folder,
    lab: Lab,
}

impl Place {
    fn new() -> Self {
        let folder = Folder::new();
        let names: Vec<String> = (1..=DEVICES).map(name).collect();
        let mut members = vec!["updater"];
        members.extend(names.iter().map(String::as_str));
        folder.new_group(&members);
        let lab = Lab::up(DEVICES + 1);
        let write = |name: &str, content: &[u8]| {
            fs::write(folder.path(name), content).expect("the folder can be written");
        };
        let image: Vec<u8> = (0..IMAGE).map(|at| (at / 256 * 3 + at) as u8).collect();
        write("lamp.bin", &image);
        let members = (1..=DEVICES).map(|n| format!("{} {}\n", name(n), lab.ipv4(n + 1)));
        write("floor.txt", members.collect::<String>().as_bytes());
        Self { folder, lab }
    }

    /// Starts device `n`, for the first time or again.
    fn device(&self, n: u8) -> Process {
        let config = format!(
            r#"
[server]
group = "{keys}"
listen = ["0.0.0.0:5683"]
discoverable = "groups"

[[group]]
name = "floor"
address = "224.0.1.187"
interfaces = ["eth0"]
secured-by = ["lights"]

[[images]]
path = "/fw"
folder = "{folder}"
kind = "lamp"
activate = ["sh", "-c", 'cp "$0" {installed} && echo "$ANTIPHON_IMAGE_VERSION" >> {activated}']
"#,
            keys = self.folder.path(&format!("lights/{}.toml", name(n))),
            folder = self.folder.path(&format!("receiving-{n}")),
            installed = self.folder.path(&format!("installed-{n}")),
            activated = self.folder.path(&format!("activated-{n}")),
        );
        ours::serve(&self.lab, n + 1, &config)
    }

    /// The command that is given again after each interruption.
    fn distribute(&self, more: &[&str]) -> Process {
        let (program, image) = (ours::program(), self.folder.path("lamp.bin"));
        let (keys, members) = (
            self.folder.path("lights/updater.toml"),
            self.folder.path("floor.txt"),
        );
        let mut words = vec![&program, "distribute", &image, "coap://224.0.1.187/fw"];
        words.extend(["--group", &keys, "--members", &members, "-i", "eth0"]);
        words.extend(["--kind", "lamp", "--version", VERSION]);
        words.extend(["--block-size", "256", "--rate", "12k", "--passes", "3"]);
        words.extend(["--window", "1s", "--give-up", "100s"]);
        words.extend(more);
        self.lab.start(1, &words)
    }

    fn lose(&self, percent: u8) {
        for host in 2..=DEVICES + 1 {
            self.lab.loss(host, percent, Direction::Both);
        }
    }
}

/// The devices that run. What they printed is shown when the test fails.
struct Devices(Vec<Process>);

impl Drop for Devices {
    fn drop(&mut self) {
        for device in self.0.iter_mut().filter(|_| std::thread::panicking()) {
            println!("{:#?}", device.lines_so_far());
        }
    }
}

/// How many blocks a device has said it has, in the last step of this kind.
fn blocks(device: &mut Process, change: &str) -> u32 {
    let steps = events(device, "image").into_iter();
    let mut texts = steps.filter(|step| step["change"] == change);
    let text = texts
        .next_back()
        .map_or(Value::Null, |step| step["text"].clone());
    let numbers = text.as_str().unwrap_or_default().split(' ');
    numbers
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or(0)
}

/// Waits until a device has more blocks than this.
fn gets_beyond(device: &mut Process, have: u32) {
    let end = Instant::now() + PATIENCE;
    while blocks(device, "progress") <= have {
        assert!(Instant::now() < end, "{have}: {:#?}", device.lines_so_far());
        std::thread::sleep(Duration::from_millis(10));
    }
}

// Covers: GC-A.3-01, GC-A.3-03
#[test]
fn killed_in_the_middle_and_with_loss_every_device_activates_the_exact_image() {
    let place = Place::new();
    let mut running = Devices((1..LATE).map(|n| place.device(n)).collect());
    let devices = &mut running.0;
    place.lose(LOSS);

    // The distributor is killed when every device has a quarter.
    let first = place.distribute(&["--json"]);
    for device in &mut *devices {
        gets_beyond(device, BLOCKS / 4);
    }
    let said = first.kill(PATIENCE);
    assert_eq!(
        of_event(&said, "pass-ended"),
        Vec::<Value>::new(),
        "in the middle"
    );
    assert_eq!(of_event(&said, "pass")[0]["blocks"], BLOCKS);

    // One device joins. The same command goes on. Two devices are killed and started again.
    devices.push(place.device(LATE));
    let mut second = place.distribute(&["--json"]);
    second.wait_for_line("\"pass\"", PATIENCE);
    for n in KILLED {
        let mut device = devices.remove(usize::from(n) - 1);
        let had = blocks(&mut device, "progress");
        gets_beyond(&mut device, had);
        device.kill(PATIENCE);
        devices.insert(usize::from(n) - 1, place.device(n));
    }
    let (code, said) = second.exit(LONGEST);
    let outcome = of_event(&said, "outcome").pop().expect("an outcome");
    assert_eq!(code, Some(0), "{outcome:#}");
    let seven = (&7.into(), &true.into(), &"every device is done".into());
    let reached = (
        &outcome["activated"],
        &outcome["all_activated"],
        &outcome["ended_by"],
    );
    assert_eq!(reached, seven, "{outcome:#}");
    for device in outcome["devices"].as_array().expect("a list") {
        let state = (&device["state"], &device["code"], &device["have"]);
        assert_eq!(
            state,
            (&"activated".into(), &"2.04 Changed".into(), &BLOCKS.into()),
            "{device}"
        );
    }
    assert!(outcome["repairs"].as_u64() > Some(0), "{outcome:#}");

    for (n, device) in (1..).zip(devices) {
        let steps = events(device, "image");
        let activated = steps.iter().filter(|step| step["change"] == "activated");
        assert_eq!(activated.count(), 1, "device {n}: {steps:#?}");
        let accepted = steps.iter().filter(|step| step["change"] == "accepted");
        assert_eq!(accepted.count(), 1, "device {n} goes on: {steps:#?}");
        if KILLED.contains(&n) {
            assert!(
                blocks(device, "restored") >= BLOCKS / 4,
                "device {n}: {steps:#?}"
            );
        }
        let read = |name: &str| fs::read(place.folder.path(name)).expect("it is there");
        assert!(
            read(&format!("installed-{n}")) == read("lamp.bin"),
            "device {n}"
        );
        let version = format!("{VERSION}\n").into_bytes();
        assert_eq!(read(&format!("activated-{n}")), version, "once: device {n}");
    }

    // Who has it is not sent it again, and who is not there is named.
    place.lose(0);
    let (code, said) = place.distribute(&[]).exit(PATIENCE);
    let end = "Done: 7 of 7 devices have activated it; every device is done. ";
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with(end)), "{said:#?}");
    assert!(
        said.iter()
            .any(|line| line.ends_with(" in 0 passes, 0 blocks repaired.")),
        "{said:#?}"
    );
    let (code, said) = place
        .distribute(&["-e", "lamp-8=10.77.0.9", "--for", "9s"])
        .exit(PATIENCE);
    assert_eq!(code, Some(3), "{said:#?}");
    let end = "7 of 8 devices have activated it; the time is over. ";
    assert!(said.iter().any(|line| line.starts_with(end)), "{said:#?}");
    assert!(
        said.iter()
            .any(|line| line.starts_with("lamp-8 (10.77.0.9:5683): ")),
        "{said:#?}"
    );
}
