//! A network of its own for one test.
//!
//! The test starts itself again under `unshare` (util-linux), which needs no privileges where user namespaces are
//! allowed, and builds its interfaces with `ip` (iproute2). Without these it fails.

use core::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};

use antiphon::interfaces;

use crate::place::PATIENCE;

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "ANTIPHON_TEST_NAMESPACE";

/// Runs `body` in a network namespace with nothing but `lo`, which is up. `test` is the name of the calling test in `networks`.
pub(crate) fn alone(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_none() {
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(format!("networks::{test}"))
            .env(INSIDE, "1")
            .output()
            .expect("unshare (util-linux) can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "in the namespace:\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let only = interfaces::list().unwrap();
    assert!(
        matches!(only.as_slice(), [lo] if lo.loopback && !lo.up),
        "not a fresh namespace: {only:?}"
    );
    ip("link set lo up");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(body);
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .expect("ip (iproute2) can be started");
    assert!(output.status.success(), "ip {words}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{path}"), value)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A wire with two ends `{name}0` and `{name}1` in this namespace: 10.0.{net}.1 and .2, fe80::{net}1 and ::{net}2.
pub(crate) fn wire(name: &str, net: u8) {
    ip(&format!("link add {name}0 type veth peer name {name}1"));
    for end in [0, 1] {
        let host = end + 1;
        ip(&format!("link set {name}{end} addrgenmode none"));
        ip(&format!("link set {name}{end} up"));
        ip(&format!("addr add 10.0.{net}.{host}/24 dev {name}{end}"));
        ip(&format!(
            "addr add fe80::{net}{host}/64 dev {name}{end} nodad"
        ));
        // What comes in from an address of this very host is not a forgery here.
        sysctl(&format!("ipv4/conf/{name}{end}/accept_local"), "1");
        sysctl(&format!("ipv4/conf/{name}{end}/rp_filter"), "0");
    }
    for end in [0, 1] {
        carrier(&format!("{name}{end}"));
    }
}

/// Waits until the kernel has noticed that an interface's wire is whole.
pub(crate) fn carrier(name: &str) {
    let start = Instant::now();
    while !ip(&format!("link show {name}")).contains("state UP") {
        assert!(start.elapsed() < PATIENCE, "{name} stays down");
        std::thread::sleep(Duration::from_millis(5));
    }
}
