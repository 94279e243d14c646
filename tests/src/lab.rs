//! The lab itself: what the other tests rely on when they make hosts deaf, unplug them or look at their packets.

#[cfg(target_os = "linux")]
mod distributed;
mod folder;
mod observed;
mod ours;
#[cfg(target_os = "linux")]
mod unsteady;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use antiphon_tests::{Direction, Lab, Peer, Process};
use serde_json::Value;

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 1, 187));
const URI: &str = "coap://224.0.1.187/temp";
/// How long the programs may take for a step; it takes much less.
const PATIENCE: Duration = Duration::from_secs(60);

/// The events of this name that a program has printed so far, with `--json`.
fn events(process: &mut Process, name: &str) -> Vec<Value> {
    of_event(&process.lines_so_far(), name)
}

/// The lines of this event.
fn of_event(lines: &[String], name: &str) -> Vec<Value> {
    let values = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter(|value| value["event"] == name).collect()
}

/// Who answers a question to the group, asked from host 1.
fn heard(lab: &Lab) -> BTreeSet<String> {
    Peer::CoapRs
        .collect(lab, 1, URI, 1)
        .into_iter()
        .map(|answer| answer.from)
        .collect()
}

fn hosts(lab: &Lab, numbers: &[u8]) -> BTreeSet<String> {
    numbers.iter().map(|host| lab.ipv4(*host)).collect()
}

#[test]
fn a_host_that_loses_everything_is_silent_until_it_does_not() {
    let lab = Lab::up(3);
    let _servers = [2, 3].map(|host| Peer::CoapRs.serve(&lab, host, GROUP));
    assert_eq!(heard(&lab), hosts(&lab, &[2, 3]));
    for direction in [Direction::In, Direction::Out, Direction::Both] {
        lab.loss(2, 100, direction);
        assert_eq!(heard(&lab), hosts(&lab, &[3]), "{direction:?}");
    }
    lab.loss(2, 0, Direction::Both);
    assert_eq!(heard(&lab), hosts(&lab, &[2, 3]));
}

#[test]
fn an_unplugged_host_is_silent_until_it_is_plugged_in_and_a_removed_one_stays_silent() {
    let lab = Lab::up(3);
    let _servers = [2, 3].map(|host| Peer::CoapRs.serve(&lab, host, GROUP));
    lab.link(2, false);
    assert_eq!(heard(&lab), hosts(&lab, &[3]));
    lab.link(2, true);
    assert_eq!(heard(&lab), hosts(&lab, &[2, 3]));
    lab.remove(2);
    assert_eq!(heard(&lab), hosts(&lab, &[3]));
}

#[test]
fn two_labs_do_not_hear_each_other_and_leave_nothing_behind() {
    let (one, other) = (Lab::up(2), Lab::up(2));
    let _server = Peer::CoapRs.serve(&other, 2, GROUP);
    assert_eq!(heard(&one), hosts(&one, &[]));
    assert_eq!(heard(&other), hosts(&other, &[2]));
    let mut names = one.namespaces();
    names.sort();
    assert_eq!(names.len(), 3);
    assert!(
        names[0].ends_with("-1") && names[1].ends_with("-2") && names[2].ends_with("-switch"),
        "{names:?}"
    );
    let (first, second) = (names[0].clone(), format!("/run/netns/{}", names[1]));
    drop(one);
    assert!(
        !std::path::Path::new(&second).exists(),
        "{first} and its lab are gone"
    );
    assert_eq!(other.namespaces().len(), 3);
}

#[test]
fn a_capture_shows_joins_as_igmp_version_3_and_mld_version_2() {
    let lab = Lab::up(2);
    let mut igmp = lab.capture(1, "igmp");
    let mut mld = lab.capture(
        1,
        "ip6 and icmp6[icmp6type] == 143 or ip6[40] == 143 or ip6[48] == 143",
    );
    let _server = Peer::CoapRs.serve(&lab, 2, GROUP);
    igmp.wait_for_line("gaddr 224.0.1.187 to_ex", Duration::from_secs(5));
    mld.wait_for_line("gaddr ff05::fd to_ex", Duration::from_secs(5));
}
