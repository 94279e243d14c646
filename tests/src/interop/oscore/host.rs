//! Our endpoints and aiocoap's programs inside hosts of a lab.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::proto::Methods;
use antiphon::{
    Client, ContentFormat, EndpointConfig, GroupPolicy, Incoming, Leisure, Membership,
    Reachability, Resource, Running, Secured, SecurityGroup, SecurityMode, Server, Signed as _,
    Transmission,
};
use antiphon_tests::{Lab, Process, root};

use crate::inside::PATIENCE;

/// The group of all hosts.
pub(super) const ALL: &str = "224.0.1.187";

fn aiocoap(lab: &Lab, host: u8, words: &[&str]) -> Process {
    let python = root().join(".peers/venv/bin/python");
    assert!(python.exists(), "run `cargo xtask peers` first");
    let program = root().join("tests/peers/aiocoap/secured.py");
    let (python, program) = (python.to_string_lossy(), program.to_string_lossy());
    lab.start(host, &[&[&*python, &*program], words].concat())
}

/// Starts aiocoap's server; returns when it serves.
pub(super) fn their_server(lab: &Lab, host: u8, config: &str) -> Process {
    let mut server = aiocoap(lab, host, &["serve", config, "eth0"]);
    server.wait_for_line("ready", PATIENCE);
    server
}

/// aiocoap's server was asked for something in this context, this often. What it says takes its time.
pub(super) fn was_asked(server: &mut Process, what: &str, context: &str, times: usize) {
    let line = format!("asked {what} in {context}");
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let lines = server.lines_so_far();
        let asked = lines.iter().filter(|said| **said == line).count();
        if asked == times {
            return;
        }
        let wait = asked < times && Instant::now() < end;
        assert!(wait, "not {times} times `{line}`: {lines:#?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asks with aiocoap's client: mode, method, URI, payload; returns what it says. Each time it is another process, which
/// goes on above all sequence numbers of the ones before.
pub(super) async fn they_ask(lab: &Lab, host: u8, config: &str, words: &[&str]) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = NEXT.fetch_add(100, Ordering::Relaxed).to_string();
    let client = aiocoap(lab, host, &[&["ask", config, &from], words].concat());
    let ended = tokio::task::spawn_blocking(|| client.finish(PATIENCE));
    ended.await.unwrap().1
}

/// A client of ours. What a peer refuses counts as no response: it does not wait for PROBING_RATE after that.
pub(super) async fn our_client() -> Client {
    let mut transmission = Transmission::default();
    transmission.set_probing_rate(1_000_000).unwrap();
    let client = Client::builder().interface("eth0");
    client.transmission(transmission).build().await.unwrap()
}

/// Who asked our server, and how that was protected.
pub(super) type Diary = Arc<Mutex<Vec<(String, SecurityMode)>>>;

fn note(diary: &Diary, request: &Incoming<'_>) {
    let signer = request
        .arrival
        .signer()
        .expect("only what is proven gets here");
    let name = signer.subject().unwrap_or("the other").to_owned();
    diary.lock().unwrap().push((name, request.arrival.mode));
}

/// A server of ours with `/temp`, `/light`, and `/valve`, which wants to know that a PUT is fresh. With a group it is its member.
pub(super) async fn our_server(
    with: impl Into<Secured>,
    group: Option<&SecurityGroup>,
    reachability: Option<Reachability>,
) -> (Running, Diary) {
    let diary = Diary::default();
    let mut config = EndpointConfig::default();
    config.server.leisure = Some(Leisure::Fixed(Duration::from_millis(100)));
    if let Some(reachability) = reachability {
        config.server.proven_reachability = reachability;
    }
    let seen = diary.clone();
    let temp = Resource::at("/temp")
        .group_policy(GroupPolicy::respond())
        .get(move |request, response| {
            note(&seen, request);
            response.set_payload(ContentFormat::TEXT, b"21.5 C");
        });
    let state = Arc::new(Mutex::new(b"off".to_vec()));
    let (read, written, seen, valve) = (state.clone(), state, diary.clone(), diary.clone());
    let light = Resource::at("/light")
        .get(move |_, response| {
            response.set_payload(ContentFormat::TEXT, &read.lock().unwrap());
        })
        .put(move |request, response| {
            note(&seen, request);
            *written.lock().unwrap() = request.payload().to_vec();
            response.reset(antiphon::Code::CHANGED);
        });
    let valve = Resource::at("/valve")
        .fresh(Methods::PUT)
        .put(move |request, response| {
            note(&valve, request);
            response.reset(antiphon::Code::CHANGED);
        });
    let server = Server::builder()
        .endpoint(config)
        .unicast("0.0.0.0:5683".parse().unwrap())
        .interface("eth0")
        .secure(with)
        .resource(temp)
        .resource(light)
        .resource(valve);
    let server = match group {
        Some(group) => {
            let place = format!("{ALL}:5683").parse().unwrap();
            server.join(Membership::new(place).secure(group))
        }
        None => server,
    };
    (server.build().await.unwrap().spawn(), diary)
}
