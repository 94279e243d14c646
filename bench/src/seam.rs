//! How long an unrelated message waits while the answers of a whole group are verified.
//!
//! One endpoint with real sockets asks a group; the answers of 1,000 members, each signed with a P-256 key of its own, are
//! made beforehand and then sent all at once. Somebody else sends confirmable requests to the same endpoint all the time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use antiphon::security_group::{Secret, SecurityGroup, Signed};
use antiphon::{NoSec, Server};
use antiphon_oscore::crypto::Curve;
use antiphon_oscore::suite::{Aead, GroupEncryption, Suite};
use antiphon_oscore::{ContextId, Contexts, Settings};
use antiphon_wire::Message;

use crate::group::{driver, free_group, group_socket, member};
use crate::oscore::floor::{self, One, kid};
use crate::serve::time;

const MEMBERS: u16 = 1_000;
const BOUND: Duration = Duration::from_millis(5);
/// How long it is quiet before the group is asked.
const QUIET: Duration = Duration::from_millis(500);
/// How long the answers are collected.
const COLLECT: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_micros(300);

/// When a confirmable request was sent, and how long its Acknowledgement took.
type Waited = (Instant, Duration);

fn suite() -> Suite {
    let ccm = Aead::AesCcm16_128_128;
    floor::suite(Curve::P256, GroupEncryption::Aead(ccm), ccm)
}

/// The members but the one that asks, which is number 0.
fn members() -> Vec<One> {
    let asker = floor::import(&floor::credential_of(Curve::P256, kid(0)));
    let member = |n| {
        let mut group = floor::group(suite(), Curve::P256, n, Settings::default());
        group
            .add_peer(kid(0), asker.clone())
            .expect("there is room");
        let mut contexts = Contexts::new();
        let place = ContextId::Group(contexts.add_group(group));
        One {
            contexts,
            place,
            key: floor::key(Curve::P256, n),
        }
    };
    (1..=MEMBERS).map(member).collect()
}

/// The same group, as the facade has it.
fn group() -> Result<SecurityGroup, String> {
    let own = floor::credential_of(Curve::P256, kid(0));
    let mut builder = SecurityGroup::builder("lights")
        .gid(floor::GID)
        .generation(1)
        .master_secret(Secret::copy_of(&floor::MASTER_SECRET))
        .master_salt(floor::MASTER_SALT)
        .suite(suite())
        .manager_credential(floor::manager(Curve::P256))
        .member(kid(0).as_bytes(), own, floor::key(Curve::P256, 0));
    for n in 1..=MEMBERS {
        builder = builder.peer(kid(n).as_bytes(), floor::credential_of(Curve::P256, kid(n)));
    }
    builder.volatile().map_err(|error| error.to_string())
}

/// Hears the question, makes all answers, and sends them at once. Says when.
fn answer_at_once(
    group: SocketAddr,
    mut members: Vec<One>,
    began: &mpsc::Sender<Instant>,
) -> std::io::Result<()> {
    let listens = group_socket(group)?;
    listens.set_nonblocking(false)?;
    let each: Vec<UdpSocket> = (1..=usize::from(MEMBERS))
        .map(|n| UdpSocket::bind(member(n, group.port())))
        .collect::<Result<_, _>>()?;
    let mut buffer = [0; 2048];
    let (len, from) = listens.recv_from(&mut buffer)?;
    let question = &buffer[..len];
    let message = Message::parse(question).map_err(|_| std::io::ErrorKind::InvalidData)?;
    let plain = floor::response_to(message.token());
    let answers: Vec<Vec<u8>> = members
        .iter_mut()
        .map(|member| {
            let mut opened = member.hear(question);
            member.answer(&plain, &mut opened)
        })
        .collect();
    // The machine comes to rest.
    std::thread::sleep(QUIET);
    let _ = began.send(Instant::now());
    for (socket, answer) in each.iter().zip(&answers) {
        socket.send_to(answer, from)?;
    }
    Ok(())
}

/// Asks for something else, one confirmable request after the other.
fn ask_always(server: SocketAddr, stop: &AtomicBool) -> std::io::Result<Vec<Waited>> {
    let socket = UdpSocket::bind("127.79.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut waited = Vec::new();
    let mut buffer = [0; 256];
    let mut id = 0_u16;
    while !stop.load(Ordering::Relaxed) {
        id = id.wrapping_add(1);
        let [high, low] = id.to_be_bytes();
        let sent = Instant::now();
        socket.send(&[0x42, 1, high, low, high, low, 0xb4, b't', b'i', b'm', b'e'])?;
        loop {
            let len = socket.recv(&mut buffer)?;
            // An Acknowledgement of this request.
            if matches!(buffer[..len], [first, _, a, b, ..] if first >> 4 == 6 && [a, b] == [high, low])
            {
                break;
            }
        }
        waited.push((sent, sent.elapsed()));
        std::thread::sleep(PAUSE);
    }
    Ok(waited)
}

/// The longest, the 99th percentile and the middle one, in milliseconds.
fn summary(waited: impl Iterator<Item = Duration>) -> (f64, f64, f64, usize) {
    let mut times: Vec<f64> = waited.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (times.len() as f64 * part) as usize;
        times.get(place.min(times.len().saturating_sub(1)))
    };
    let value = |part| at(part).copied().unwrap_or(f64::NAN);
    (value(1.0), value(0.99), value(0.5), times.len())
}

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let at = free_group(7)?;
    let own = member(0, at.port());
    let (members, secured) = (members(), group()?);
    let (began, begins) = mpsc::channel();
    let answering = std::thread::spawn(move || answer_at_once(at, members, &began));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (answered, last, asking) = runtime.block_on(async {
        let server = Server::builder()
            .driver(driver())
            .unicast(own)
            .interface("lo")
            .secure(&secured)
            .unsecured(NoSec::Accepted)
            .resource(time())
            .build()
            .await
            .map_err(|error| error.to_string())?
            .spawn();
        let asking = std::thread::spawn(move || ask_always(own, &stopped));
        tokio::time::sleep(QUIET).await;
        let client = server.client();
        let call = client
            .group(&format!("coap://{at}/time"))
            .map_err(|error| error.to_string())?
            .get()
            .secure(&secured)
            .collect_for(COLLECT);
        let mut answers = call.send().await.map_err(|error| error.to_string())?;
        let (mut answered, mut last) = (0, None);
        while let Some(answer) = answers.answer().await {
            if answer.signer().is_some() {
                answered += 1;
                last = Some(Instant::now());
            }
        }
        stop.store(true, Ordering::Relaxed);
        server.stop().await;
        Ok::<_, String>((answered, last, asking))
    })?;
    let waited = asking.join().map_err(|_| "the asker failed")?;
    let waited = waited.map_err(|error| format!("asking: {error}"))?;
    let sent = answering.join().map_err(|_| "the members failed")?;
    sent.map_err(|error| format!("answering: {error}"))?;
    let began = begins.recv().map_err(|error| error.to_string())?;
    let last = last.ok_or("no answer was verified")?;
    let during = |(at, took): &&Waited| *at + *took >= began && *at <= last;
    let before = |(at, _): &&Waited| *at + QUIET / 2 >= began && *at < began;
    let rows = [
        (
            "before",
            summary(waited.iter().filter(before).map(|it| it.1)),
        ),
        (
            "while they are verified",
            summary(waited.iter().filter(during).map(|it| it.1)),
        ),
    ];
    println!(
        "seam: {answered} of {MEMBERS} answers with P-256 signatures, sent at once, verified in {:.0} ms; another \
         host's confirmable requests to the same endpoint\n| | requests | Acknowledgement after ms, median | p99 | longest (bound {} ms) |\n\
         | --- | ---: | ---: | ---: | ---: |",
        (last - began).as_secs_f64() * 1e3,
        BOUND.as_millis()
    );
    for (name, (longest, p99, median, count)) in rows {
        println!("| {name} | {count} | {median:.2} | {p99:.2} | {longest:.2} |");
    }
    Ok(())
}
