use std::process::Command;

use super::*;

/// A network in which one datagram has arrived and one was lost.
fn busy(seed: u64) -> Network {
    let (mut net, _, hosts) = lan(seed, 2, Segment::default());
    say(&mut net, hosts[0], "10.0.0.2:5683", &[0xab; 20]);
    settle(&mut net);
    say(&mut net, hosts[0], "10.0.0.9:5683", b"");
    let out = Outgoing::from_port(1, at("10.0.0.2:5683"), b"");
    net.send(hosts[0], out).unwrap_err();
    net.inject(SegmentId(0), at("10.9.9.9:9"), at("10.0.0.8:8"), [1]);
    net.note(Some(hosts[1]), "lamp on");
    net
}

#[test]
fn the_report_names_the_seed_and_tells_what_happened() {
    let expected = "\
netsim: seed 77; the last 8 of 8 events:
      0.000000  host 0    sent      #1 10.0.0.1:5683 > 10.0.0.2:5683, 20 bytes: ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ..
      0.001000  host 1    delivered #1 10.0.0.1:5683 > 10.0.0.2:5683, 20 bytes: ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ..
      0.001000  host 0    sent      #2 10.0.0.1:5683 > 10.0.0.9:5683, 0 bytes:
      0.001000  -         dropped (NoSuchAddress) #2 10.0.0.1:5683 > 10.0.0.9:5683, 0 bytes:
      0.001000  host 0    refused (the source port is not bound) #0 0.0.0.0:1 > 10.0.0.2:5683, 0 bytes:
      0.001000  -         injected  #3 10.9.9.9:9 > 10.0.0.8:8, 1 bytes: 01
      0.001000  -         dropped (NoSuchAddress) #3 10.9.9.9:9 > 10.0.0.8:8, 1 bytes: 01
      0.001000  host 1    lamp on
";
    assert_eq!(busy(77).report(), expected);
}

#[test]
fn the_trace_is_bounded_in_events_and_in_bytes() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.set_trace(Trace::new(10, 100));
    for n in 0..30u8 {
        say(&mut net, hosts[0], "10.0.0.2:5683", &[n]);
    }
    assert_eq!(net.trace().entries().len(), 10);
    assert_eq!(net.trace().recorded(), 30);
    assert_eq!(net.trace().entries().next().unwrap().bytes[0], 20);
    say(&mut net, hosts[0], "10.0.0.2:5683", &[0; 95]);
    let lengths: Vec<_> = net.trace().entries().map(|e| e.bytes.len()).collect();
    assert_eq!(lengths, [1, 1, 1, 1, 1, 95]);
    say(&mut net, hosts[0], "10.0.0.2:5683", &[0; 101]);
    assert_eq!(net.trace().entries().len(), 0);
    assert!(
        net.report()
            .starts_with("netsim: seed 1; the last 0 of 32 events:")
    );

    net.set_trace(Trace::default());
    for n in 0..300 {
        net.note(None, format!("line {n}"));
    }
    let report = net.report();
    assert_eq!(report.lines().count(), 201);
    assert!(report.lines().nth(1).unwrap().ends_with("line 100"));
}

#[test]
fn the_digest_depends_on_every_part_of_an_event() {
    let digest = |change: &dyn Fn(&mut Network, &[HostId])| {
        let (mut net, _, hosts) = lan(1, 2, Segment::default());
        change(&mut net, &hosts);
        settle(&mut net);
        net.trace().digest()
    };
    let all = [
        digest(&|net, hosts| say(net, hosts[0], "10.0.0.2:5683", b"a")),
        digest(&|net, hosts| say(net, hosts[0], "10.0.0.2:5683", b"b")),
        digest(&|net, hosts| say(net, hosts[0], "[fe80::2]:5683", b"a")),
        digest(&|net, hosts| say(net, hosts[1], "10.0.0.1:5683", b"a")),
        digest(&|net, hosts| {
            net.advance_to(Time::from_micros(1));
            say(net, hosts[0], "10.0.0.2:5683", b"a");
        }),
        digest(&|net, hosts| {
            let out = Outgoing::from_port(5683, at("10.0.0.2:5683"), b"a").hop_limit(63);
            net.send(hosts[0], out).unwrap();
        }),
        digest(&|net, hosts| {
            say(net, hosts[0], "10.0.0.2:5683", b"a");
            net.set_receive_buffer(hosts[1], 0);
        }),
        digest(&|net, hosts| {
            say(net, hosts[0], "10.0.0.2:5683", b"a");
            net.unbind(hosts[1], 5683).unwrap();
        }),
        digest(&|net, _| net.note(None, "a")),
        digest(&|net, _| net.note(None, "b")),
    ];
    let distinct: alloc::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn a_failing_test_prints_seed_and_trace_and_saves_datagrams_on_request() {
    const CHILD: &str = "NETSIM_TEST_FAILS_ON_PURPOSE";
    if std::env::var_os(CHILD).is_some() {
        let _net = busy(4_711);
        panic!("on purpose");
    }
    let this =
        "tests::failing::a_failing_test_prints_seed_and_trace_and_saves_datagrams_on_request";
    let folder = std::env::temp_dir().join(format!("netsim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let run = |pcap: &std::path::Path| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture"])
            .env(CHILD, "1")
            .env("NETSIM_PCAP", pcap)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = run(&folder);
    let file = folder.join("netsim-4711.pcap");
    let saved = std::fs::read(&file);
    let nowhere = run(&folder.join("missing"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        text.contains("netsim: seed 4711; the last 8 of 8 events:"),
        "{text}"
    );
    assert!(text.contains("lamp on"), "{text}");
    assert!(text.contains(&format!("netsim: datagrams in {}", file.display())));
    // The file header, and three packets with 28 bytes of headers and 16 of their record.
    assert_eq!(saved.unwrap().len(), 24 + 3 * (28 + 16) + 20 + 1);
    assert!(nowhere.contains("netsim: no capture in"), "{nowhere}");
}
