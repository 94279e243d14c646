//! Wires on which datagrams overtake each other and arrive twice: who asks a group, or observes it, notices nothing of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Client, Code, ContentFormat, NoSec};
use antiphon_tests::{Direction, Lab, Process, Wire, ours};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use super::{PATIENCE, of_event};
use crate::inside::inside;

const MEMBERS: [u8; 4] = [2, 3, 4, 5];
const URI: &str = "coap://224.0.1.187/level";
const WIRE: Wire = Wire {
    delay: 50,
    jitter: 40,
    overtake: 25,
    twice: 5,
};
const MEMBER: &str = r#"
[server]
listen = ["0.0.0.0:5683"]
interfaces = ["eth0"]
leisure = "20ms"
unsecured = true

[[resource]]
path = "/level"
value = "level 000000"
writable = true
observable = true
access = "unsecured"
on-group = "respond"
"#;

/// Host 1, and members behind such wires.
fn stage() -> (Lab, Vec<Process>) {
    let lab = Lab::up(5);
    for host in MEMBERS {
        lab.delay(host, WIRE);
    }
    let members = MEMBERS.map(|host| ours::serve(&lab, host, MEMBER));
    (lab, members.into())
}

/// The levels that reached host 1, by the address they came from, in the order in which they came.
struct Arrivals(Process);

impl Arrivals {
    fn listen(lab: &Lab) -> Self {
        let mut command = lab.command(1, "tcpdump");
        command.args(["-i", "eth0", "-n", "-A", "-l", "--immediate-mode"]);
        command.arg(format!(
            "udp and src port 5683 and dst host {}",
            lab.ipv4(1)
        ));
        let mut process = Process::start(command);
        process.wait_for_line("listening on", PATIENCE);
        Self(process)
    }

    fn so_far(&mut self) -> BTreeMap<String, Vec<u32>> {
        let mut arrivals: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut from = String::new();
        for line in self.0.lines_so_far() {
            if let Some((before, _)) = line.split_once(".5683 > ") {
                from = before.rsplit(' ').next().unwrap_or_default().to_owned();
            } else if let Some((_, text)) = line.split_once("level ") {
                let level = text.get(..6).and_then(|text| text.parse::<u32>().ok());
                arrivals.entry(from.clone()).or_default().extend(level);
            }
        }
        arrivals
    }
}

/// How many came later than a newer one, and how many came again.
fn disorder(levels: &[u32]) -> (usize, usize) {
    let (mut overtaken, mut again) = (0, 0);
    for (at, level) in levels.iter().enumerate() {
        let before = &levels[..at];
        if before.contains(level) {
            again += 1;
        } else if before.iter().any(|newer| newer > level) {
            overtaken += 1;
        }
    }
    (overtaken, again)
}

/// So many datagrams are sent at once: fewer than the smallest of the queues on the way holds, also while nobody empties it.
const AT_ONCE: u32 = 40;

/// Sends numbered datagrams from host 1 to host 2; returns what arrived until nothing came for a while, and when the first did.
fn sent_and_arrived(lab: &Lab) -> (Vec<u32>, Duration) {
    let receiver = inside(lab, 2, || async {
        std::net::UdpSocket::bind("0.0.0.0:9999").unwrap()
    });
    let sender = inside(lab, 1, || async {
        std::net::UdpSocket::bind("0.0.0.0:0").unwrap()
    });
    receiver
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let begun = Instant::now();
    for number in 0..AT_ONCE {
        sender
            .send_to(&number.to_be_bytes(), (lab.ipv4(2), 9999))
            .unwrap();
    }
    let (mut arrived, mut first) = (Vec::new(), Duration::ZERO);
    let mut datagram = [0; 4];
    while receiver.recv(&mut datagram).is_ok() {
        if arrived.is_empty() {
            first = begun.elapsed();
        }
        arrived.push(u32::from_be_bytes(datagram));
    }
    (arrived, first)
}

/// Keeps this thread on one processor: each has a queue of its own for what leaves, and a sender that moves overtakes itself.
fn stay_on_one_processor() {
    let here = Pid::from_raw(0);
    let allowed = sched_getaffinity(here).unwrap();
    let mut processors = 0..CpuSet::count();
    let one = processors.find(|one| allowed.is_set(*one).unwrap());
    let mut only = CpuSet::new();
    only.set(one.expect("it runs somewhere")).unwrap();
    sched_setaffinity(here, &only).unwrap();
}

#[test]
fn a_wire_takes_its_time_and_is_unsteady_only_as_long_as_it_is_told_to() {
    stay_on_one_processor();
    let lab = Lab::up(2);
    let all = AT_ONCE as usize;
    let in_order: Vec<u32> = (0..AT_ONCE).collect();
    let delay = Duration::from_millis(400);
    let steady = Wire {
        delay: 400,
        ..Wire::default()
    };
    lab.delay(2, steady);
    let (arrived, first) = sent_and_arrived(&lab);
    assert_eq!(arrived, in_order);
    assert!(first >= delay, "{first:?}");

    // Also of a host that has one already, and at the one that sends.
    lab.delay(2, Wire::default());
    lab.delay(1, WIRE);
    let (arrived, _) = sent_and_arrived(&lab);
    let (overtaken, again) = disorder(&arrived);
    assert_eq!(arrived.len(), all + again);
    assert!(overtaken > 10, "{overtaken}: {arrived:?}");
    lab.delay(
        1,
        Wire {
            twice: 100,
            ..Wire::default()
        },
    );
    let (arrived, _) = sent_and_arrived(&lab);
    assert_eq!(disorder(&arrived), (0, all));

    // What the wire lets through may be lost all the same.
    lab.delay(1, steady);
    lab.loss(1, 100, Direction::Out);
    assert_eq!(sent_and_arrived(&lab).0, Vec::<u32>::new());
    lab.loss(1, 0, Direction::Both);
    lab.delay(1, Wire::default());
    let (arrived, first) = sent_and_arrived(&lab);
    assert_eq!(arrived, in_order);
    assert!(first < delay, "{first:?}");
}

#[test]
fn a_group_is_asked_over_unsteady_wires_and_every_member_answers_once() {
    let (lab, _members) = stage();
    let mut arrivals = Arrivals::listen(&lab);
    let everybody = MEMBERS.iter().map(|host| lab.ipv4(*host)).collect();
    let begun = Instant::now();
    let mut rounds = 0;
    let mut answers = 0;
    loop {
        // Longer than both ways take, and the leisure: what comes twice comes within it.
        let words = [
            "get",
            URI,
            "-u",
            "-i",
            "eth0",
            "-t",
            "350ms",
            "--leisure",
            "20ms",
        ];
        let asked = ours::ask(&lab, 1, &words);
        assert!(asked.success, "{:?}", asked.lines);
        assert_eq!(asked.addresses(), everybody, "round {rounds}");
        assert_eq!(
            asked.answers().count(),
            MEMBERS.len(),
            "round {rounds}: {:?}",
            asked.lines
        );
        rounds += 1;
        answers += MEMBERS.len();
        let arrived: usize = arrivals.so_far().values().map(Vec::len).sum();
        if rounds >= 10 && arrived > answers {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{arrived} datagrams, none twice"
        );
    }
}

/// Writes one level after the other at a member, from its own host, until it is enough; returns the last one.
fn climb(lab: &Lab, host: u8, enough: &AtomicBool) -> u32 {
    inside(lab, host, || async {
        let client = Client::builder().interface("lo").build().await.unwrap();
        let mut level = 0;
        while !enough.load(Ordering::Relaxed) {
            level += 1;
            let call = client.one("coap://127.0.0.1/level").unwrap();
            let call = call.put(ContentFormat::TEXT, format!("level {level:06}"));
            let reply = call.unsecured(NoSec::Accepted).send().await.unwrap();
            assert_eq!(reply.response.code, Code::CHANGED);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        level
    })
}

#[test]
fn a_group_is_observed_over_unsteady_wires_and_the_newest_value_of_each_member_is_the_last_one_shown()
 {
    let (lab, _members) = stage();
    let mut arrivals = Arrivals::listen(&lab);
    let program = ours::program();
    let words = [
        &program,
        "observe",
        URI,
        "-u",
        "-i",
        "eth0",
        "--leisure",
        "20ms",
        "--rtt",
        "200ms",
        "--json",
    ];
    let mut observer = lab.start(1, &words);
    observer.wait_until("four members", PATIENCE, || {
        arrivals.so_far().len() == MEMBERS.len()
    });

    let enough = AtomicBool::new(false);
    let begun = Instant::now();
    let last = thread::scope(|scope| {
        let climbing = MEMBERS.map(|host| {
            scope.spawn({
                let (lab, enough) = (&lab, &enough);
                move || climb(lab, host, enough)
            })
        });
        loop {
            thread::sleep(Duration::from_millis(200));
            let seen = arrivals.so_far();
            let all = seen.values().map(|levels| disorder(levels));
            let (overtaken, again) = all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let climbed = seen.values().all(|levels| levels.len() >= 40);
            println!(
                "{:?}: {overtaken} overtaken, {again} again",
                begun.elapsed()
            );
            if begun.elapsed() > PATIENCE || (overtaken >= 3 && again >= 3 && climbed) {
                break;
            }
        }
        enough.store(true, Ordering::Relaxed);
        climbing.map(|one| one.join().unwrap())
    });
    assert!(begun.elapsed() < PATIENCE, "{:?}", arrivals.so_far());
    let final_levels: BTreeMap<String, u32> = MEMBERS
        .iter()
        .map(|host| lab.ipv4(*host))
        .zip(last)
        .collect();
    let end = Instant::now() + PATIENCE;
    while arrivals
        .so_far()
        .iter()
        .any(|(from, levels)| levels.iter().max() != final_levels.get(from))
    {
        assert!(
            Instant::now() < end,
            "{final_levels:?} {:?}",
            arrivals.so_far()
        );
        thread::sleep(Duration::from_millis(20));
    }
    // What is still under way comes now.
    thread::sleep(Duration::from_millis(300));
    let (success, lines) = observer.interrupt(PATIENCE);
    assert!(success, "{lines:#?}");

    // Of each member: the order of the notification, and the level. Two notifications may say the same, one is not shown twice.
    let mut shown: BTreeMap<String, Vec<(u64, u32)>> = BTreeMap::new();
    for line in of_event(&lines, "notification") {
        let address = line["address"].as_str().expect("an address");
        let level = line["payload"].as_str();
        let level = level.and_then(|text| text.strip_prefix("level ")?.parse().ok());
        let order = line["order"].as_u64().expect("a number");
        let of_it = shown.entry(address.trim_end_matches(":5683").to_owned());
        of_it.or_default().push((order, level.expect("a level")));
    }
    assert_eq!(shown.len(), MEMBERS.len(), "{shown:?}");
    for (member, all) in &shown {
        assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{member}: {all:?}");
        assert!(
            all.is_sorted_by_key(|(_, level)| level),
            "{member}: {all:?}"
        );
        let last = all.last().map(|(_, level)| level);
        assert_eq!(last, final_levels.get(member), "{member}: {all:?}");
    }
    let outcome = of_event(&lines, "outcome").pop().expect("an outcome");
    let members = outcome["members"].as_array().expect("a list");
    let stale: u64 = members
        .iter()
        .filter_map(|member: &Value| member["stale"].as_u64())
        .sum();
    assert!(
        stale >= 3,
        "those that were overtaken were noticed: {outcome:#}"
    );
}
