//! A server and a client of a security group, each in a process of its own, killed (SIGKILL) at any moment and started again from what they
//! have on disk. All that they say to each other goes through a tracker: no nonce protects two contents under one key. And after each start
//! questions are answered again.
//!
//! `ANTIPHON_KILLS` says how often (50 by default).

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::oscore::Settings;
use antiphon::oscore::crypto::PrivateKey as _;
use antiphon::proto::AnswerMode;
use antiphon::security_group::{Credential, Secret, SecurityGroupBuilder, SoftwareKey, open_state};
use antiphon::{
    Client, ContentFormat, Discoverable, EndpointConfig, Resource, SecurityGroup, Server,
    Transmission,
};
use antiphon_netsim::Rng;

use super::tracker::{Side, Tracker};

/// In a process that is going to be killed: which member it is, its folder, and an address.
const MEMBER: &str = "ANTIPHON_TEST_MEMBER";
const FOLDER: &str = "ANTIPHON_TEST_MEMBER_FOLDER";
const ADDRESS: &str = "ANTIPHON_TEST_MEMBER_ADDRESS";
/// Its sequence numbers are kept in memory only: what the tracker has to catch.
const FORGETFUL: &str = "ANTIPHON_TEST_MEMBER_FORGETS";

/// Nothing takes longer unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

// ---- in the processes ---------------------------------------------------------------------------

fn key(n: u8) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[n + 1; 32])
}

fn credential(n: u8) -> Vec<u8> {
    Credential::build_ccs(&format!("member-{n}"), &key(n).public())
}

/// Few numbers are reserved at a time, so that there is always a reservation under way.
fn described(me: u8) -> SecurityGroupBuilder {
    let mut settings = Settings::default();
    settings.sequence.block = 4;
    SecurityGroup::builder("lights")
        .gid(*b"gid")
        .master_secret(Secret::copy_of(&[7; 16]))
        .member([me], credential(me), key(me))
        .peer([1 - me], credential(1 - me))
        .settings(settings)
}

fn group(me: u8, folder: &Path) -> SecurityGroup {
    if std::env::var_os(FORGETFUL).is_some() {
        return described(me).volatile().expect("a group");
    }
    let mut state = open_state(&folder.join("state")).expect("a state that can be used");
    let provided = described(me).provide(&mut state);
    provided.expect("a group that goes on").0
}

/// Nobody waits long for what was killed.
fn hasty() -> Transmission {
    let mut transmission = Transmission::default();
    transmission
        .set_ack_timeout(Duration::from_millis(30))
        .and_then(|it| it.set_probing_rate(100_000_000))
        .expect("a time");
    transmission
}

fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig {
        transmission: hasty(),
        ..EndpointConfig::default()
    };
    config.collections.transmission = hasty();
    config.server.discoverable = Discoverable::Off;
    config.security.answers = AnswerMode::AsRequested;
    config
}

async fn serve(folder: &Path, address: SocketAddr) {
    let group = group(1, folder);
    let status = Resource::at("/status").get(|_, response| {
        response.set_payload(ContentFormat::TEXT, b"still here");
    });
    let server = Server::builder()
        .endpoint(endpoint())
        .unicast(address)
        .secure(&group)
        .resource(status);
    let server = server.build().await.expect("a server");
    println!("serving");
    server.run(core::future::pending()).await;
}

async fn ask(folder: &Path, address: SocketAddr) {
    let group = group(0, folder);
    let client = Client::builder()
        .endpoint(endpoint())
        .bind("127.0.0.1:0".parse().expect("an address"));
    let client = client.build().await.expect("a client");
    let server = group.member("member-1").expect("the other member");
    let uri = format!("coap://{address}/status");
    for number in 0_u64.. {
        let call = client.one(&uri).expect("a URI").get();
        let call = match number % 2 {
            0 => call.secure(&server), // pairwise mode
            _ => call.secure(&group),  // group mode
        };
        match call.timeout(Duration::from_millis(700)).send().await {
            Ok(reply) if reply.response.payload == b"still here" => println!("answered"),
            Ok(reply) => println!("odd {:?}", reply.response),
            Err(error) => println!("failed {error}"),
        }
    }
}

fn member() -> Option<()> {
    let who = std::env::var(MEMBER).ok()?;
    let folder = PathBuf::from(std::env::var_os(FOLDER)?);
    let address = std::env::var(ADDRESS).ok()?.parse().ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        match &*who {
            "server" => serve(&folder, address).await,
            _ => ask(&folder, address).await,
        }
    });
    Some(())
}

// ---- around them -----------------------------------------------------------------------------------

/// Stands between the two, and hears everything.
struct Wire {
    tracker: Mutex<Tracker>,
    heard: Condvar,
    over: AtomicBool,
}

impl Wire {
    /// Carries datagrams between whoever asks `near` and the server; returns where to ask.
    fn between(server: SocketAddr) -> (Arc<Self>, SocketAddr) {
        let wire = Arc::new(Self {
            tracker: Mutex::default(),
            heard: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let near = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let far = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = near.local_addr().expect("an address");
        let client = Arc::new(Mutex::new(None));
        for socket in [&near, &far] {
            let timeout = Some(Duration::from_millis(100));
            socket.set_read_timeout(timeout).expect("a timeout");
        }
        let clone = |socket: &UdpSocket| socket.try_clone().expect("a socket");
        let (out, back) = (clone(&far), clone(&near));
        let (this, asking) = (Arc::clone(&wire), Arc::clone(&client));
        thread::spawn(move || {
            this.carry(&near, Side::Client, |bytes, from| {
                *asking.lock().expect("no panic") = Some(from);
                let _ = out.send_to(bytes, server); // nobody may be there
            });
        });
        let this = Arc::clone(&wire);
        thread::spawn(move || {
            this.carry(&far, Side::Server, |bytes, _| {
                if let Some(client) = *client.lock().expect("no panic") {
                    let _ = back.send_to(bytes, client);
                }
            });
        });
        (wire, address)
    }

    fn carry(&self, from: &UdpSocket, side: Side, to: impl Fn(&[u8], SocketAddr)) {
        let mut buffer = [0; 2048];
        while !self.over.load(Ordering::Relaxed) {
            // Errors are reports that the killed one is not there.
            let Ok((length, sender)) = from.recv_from(&mut buffer) else {
                continue;
            };
            let bytes = &buffer[..length];
            self.tracker.lock().expect("no panic").sent(side, bytes);
            self.heard.notify_all();
            to(bytes, sender);
        }
    }

    /// Waits until so many more protected messages were sent.
    fn wait_for(&self, more: u64) {
        let tracker = self.tracker.lock().expect("no panic");
        let enough = tracker.seen + more;
        let waited = self
            .heard
            .wait_timeout_while(tracker, PATIENCE, |tracker| tracker.seen < enough);
        let (_tracker, waited) = waited.expect("no panic");
        assert!(!waited.timed_out(), "nothing is sent any more");
    }
}

/// A process, and what it says.
struct Member {
    child: Child,
    lines: Receiver<String>,
}

impl Member {
    fn start(who: &str, folder: &Path, address: SocketAddr, forgetful: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command
            .args(["--exact", "--nocapture"])
            .arg("withstand::kills::endpoints::no_nonce_is_used_twice_whoever_is_killed")
            .env(MEMBER, who)
            .env(FOLDER, folder.join(who))
            .env(ADDRESS, address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if forgetful {
            command.env(FORGETFUL, "1");
        }
        let mut child = command.spawn().expect("this program can be started");
        let output = child.stdout.take().expect("it was asked for");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that says this.
    fn wait_for(&self, said: &str) {
        let end = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line == said => return,
                Ok(line) => before.push(line),
                Err(error) => panic!("not {said}: {error}, {before:#?}"),
            }
        }
    }

    /// Forgets what was said until now.
    fn listen(&self) {
        while self.lines.try_recv().is_ok() {}
    }

    fn kill(&mut self) {
        let ended = self.child.try_wait().expect("a child can be asked");
        assert!(
            ended.is_none(),
            "ended by itself: {ended:?} {:?}",
            self.lines.iter().collect::<Vec<_>>()
        );
        self.child.kill().expect("a running child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

/// It ends with the test, however that ends.
impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What has become of two members.
struct Fate {
    twice: Vec<String>,
    nonces: usize,
    without_partial_iv: u64,
}

/// Two members, killed again and again.
fn live(seed: u64, kills: u64, forgetful: bool) -> Fate {
    let mut rng = Rng::new(seed);
    let name = format!(
        "antiphon-endpoints-{}-{seed}-{forgetful}",
        std::process::id()
    );
    let folder = super::scratch().join(name);
    for who in ["server", "client"] {
        std::fs::create_dir_all(folder.join(who)).expect("a folder");
    }
    let at = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let at = at.expect("an address");
    let (wire, near) = Wire::between(at);
    let start = |who: &str| match who {
        "server" => Member::start(who, &folder, at, forgetful),
        _ => Member::start(who, &folder, near, forgetful),
    };
    let (mut server, mut client) = (start("server"), start("client"));
    client.wait_for("answered");
    for _ in 0..kills {
        // At any moment: after some messages, and a little later.
        wire.wait_for(rng.below(9));
        for _ in 0..rng.below(300_000) {
            core::hint::spin_loop();
        }
        let who = match forgetful {
            false => rng.below(9), // both, the server, the client
            true => 1,             // what a client forgets its server knows
        };
        if who < 5 {
            server.kill();
            server = start("server");
            server.wait_for("serving");
        }
        if who == 0 || who >= 5 {
            client.kill();
            client = start("client");
        }
        client.listen();
        client.wait_for("answered");
    }
    server.kill();
    client.kill();
    wire.over.store(true, Ordering::Relaxed);
    std::fs::remove_dir_all(&folder).expect("the folder can go");
    let tracker = wire.tracker.lock().expect("no panic");
    Fate {
        twice: tracker.twice.clone(),
        nonces: tracker.nonces(),
        without_partial_iv: tracker.without_partial_iv,
    }
}

#[test]
fn no_nonce_is_used_twice_whoever_is_killed() {
    if member().is_some() {
        return;
    }
    let kills = super::kills();
    // Several pairs, because most of the time somebody waits for a disk.
    let pairs = kills.div_ceil(25).min(4);
    let fates: Vec<Fate> = thread::scope(|scope| {
        let pairs: Vec<_> = (0..pairs)
            .map(|pair| scope.spawn(move || live(pair, kills.div_ceil(pairs), false)))
            .collect();
        let ended = pairs
            .into_iter()
            .map(|pair| pair.join().expect("all is well"));
        ended.collect()
    });
    for fate in &fates {
        assert_eq!(fate.twice, [] as [String; 0]);
    }
    let nonces: usize = fates.iter().map(|fate| fate.nonces).sum();
    assert!(nonces as u64 > 4 * kills, "{nonces} nonces");
    assert!(
        fates.iter().all(|fate| fate.without_partial_iv > 0),
        "of all kinds"
    );
}

#[test]
fn control_members_that_forget_their_numbers_are_caught() {
    let fate = live(99, 6, true);
    assert!(!fate.twice.is_empty(), "{} nonces", fate.nonces);
}
