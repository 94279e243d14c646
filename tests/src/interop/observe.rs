//! Observations with each of the other implementations, in both directions. What they do otherwise is asserted as well.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon::{
    Client, ContentFormat, EndpointConfig, Expectation, Member, MemberEnd, News, NoSec,
    Notification, Observation, ObservationEnd, ObservedState, Observing, Resource, ResourceHandle,
    Running, Server,
};
use antiphon_tests::{Lab, Peer, Process};

use crate::inside::{PATIENCE, inside, printed, put, until};

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 1, 187));

/// A server of ours with a lamp that is observed.
struct Lamp {
    state: Arc<Mutex<&'static str>>,
    handle: ResourceHandle,
    _server: Running,
}

impl Lamp {
    async fn lit() -> Self {
        let state = Arc::new(Mutex::new("off"));
        let said = state.clone();
        let light = Resource::at("/light")
            .get(move |_, response| {
                response.set_payload(ContentFormat::TEXT, said.lock().unwrap().as_bytes());
            })
            .access(antiphon::Access::Public)
            .observable();
        let mut config = EndpointConfig::default();
        config.server.observe.confirm_every = 2;
        let server = Server::builder()
            .endpoint(config)
            .unicast("0.0.0.0:5683".parse().unwrap())
            .interface("eth0")
            .unsecured(NoSec::Accepted)
            .resource(light)
            .build()
            .await
            .unwrap();
        let handle = server.resource("/light").unwrap();
        let server = server.spawn();
        Self {
            state,
            handle,
            _server: server,
        }
    }

    fn turn(&self, to: &'static str) {
        *self.state.lock().unwrap() = to;
        self.handle.notify().unwrap();
    }

    async fn has_observers(&self, wanted: usize) {
        let handle = &self.handle;
        let observed = || async { handle.observers().await.unwrap() == wanted };
        until(&format!("{wanted} observers"), observed).await;
    }
}

/// A peer's client has delivered these, and no others.
async fn delivered(peer: Peer, client: &mut Process, wanted: &[&str]) {
    printed(client, |lines| {
        peer.notifications(lines).len() >= wanted.len()
    })
    .await;
    let lines = client.lines_so_far();
    assert_eq!(peer.notifications(&lines), wanted, "{}", peer.name());
}

/// A peer's client observes our server over two changes, and leaves.
fn they_observe(peer: Peer) {
    let lab = Lab::up(2);
    let uri = format!("coap://{}/light", lab.ipv4(2));
    inside(&lab, 2, || async {
        let lamp = Lamp::lit().await;
        let mut client = peer.observe(&lab, 1, &uri, 3);
        delivered(peer, &mut client, &["off"]).await;
        lamp.has_observers(1).await;
        for (text, all) in [("on", &["off", "on"][..]), ("dim", &["off", "on", "dim"])] {
            lamp.turn(text);
            delivered(peer, &mut client, all).await;
        }
        if peer == Peer::Aiocoap {
            // It says nothing when it ends, nor when notifications go on that are not Confirmable; the first Confirmable one it resets.
            printed(&mut client, |lines| lines.iter().any(|line| line == "over")).await;
            let gone = || async {
                lamp.turn("bright");
                lamp.handle.observers().await.unwrap() == 0
            };
            until("a Confirmable notification", gone).await;
        }
        lamp.has_observers(0).await;
    });
}

#[test]
fn libcoap_observes_ours() {
    they_observe(Peer::Libcoap);
}

#[test]
fn aiocoap_observes_ours() {
    they_observe(Peer::Aiocoap);
}

#[test]
fn node_coap_observes_ours() {
    they_observe(Peer::NodeCoap);
}

#[test]
fn coap_rs_observes_ours() {
    they_observe(Peer::CoapRs);
}

/// Everything that reaches host 1 from others, with its text.
fn capture(lab: &Lab) -> Process {
    let mut command = lab.command(1, "tcpdump");
    let filter = format!("udp and dst host {}", lab.ipv4(1));
    command.args(["-i", "eth0", "-n", "-A", "-l", "--immediate-mode", &filter]);
    let mut process = Process::start(command);
    process.wait_for_line("listening on", PATIENCE);
    process
}

/// The next notification that is the newest, as text.
async fn next(observation: &mut Observation) -> (News, String) {
    let next = tokio::time::timeout(PATIENCE, observation.notification());
    let notification: Notification = next.await.expect("in time").expect("it goes on");
    let text = String::from_utf8(notification.response.payload).unwrap();
    (notification.news, text)
}

/// Ours observes a peer's server over two changes, and leaves. Returns how many changes it is still told of.
fn we_observe(peer: Peer) -> usize {
    let lab = Lab::up(3);
    let _server = peer.serve(&lab, 2, GROUP);
    let uri = format!("coap://{}/{}", lab.ipv4(2), peer.observable());
    let mut capture = capture(&lab);
    inside(&lab, 1, || async {
        put(&lab, 3, &uri, "off").await;
        let client = Client::builder().interface("eth0").build().await.unwrap();
        let call = client.one(&uri).unwrap().get().unsecured(NoSec::Accepted);
        let mut observation = call.observe(Observing::new()).await.unwrap();
        assert_eq!(next(&mut observation).await, (News::First, "off".into()));
        for text in ["on", "dim"] {
            put(&lab, 3, &uri, text).await;
            assert_eq!(next(&mut observation).await, (News::Update, text.into()));
        }
        observation.end();
        let outcome = observation.finish().await.unwrap();
        assert_eq!(outcome.ended_by, ObservationEnd::Deregistered);
        let state = outcome.members[0].state;
        assert_eq!(state, ObservedState::Ended(MemberEnd::Deregistered));
        assert_eq!((outcome.notifications, outcome.members.len()), (3, 1));
        let mut told = 0;
        loop {
            let text = format!("late-{told}");
            put(&lab, 3, &uri, &text).await;
            // What is told is told at the time of the change.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let lines = capture.lines_so_far();
            if !lines.iter().any(|line| line.contains(&text)) {
                return told;
            }
            told += 1;
        }
    })
}

#[test]
fn ours_observes_libcoap() {
    assert_eq!(we_observe(Peer::Libcoap), 0);
}

#[test]
fn ours_observes_aiocoap() {
    assert_eq!(we_observe(Peer::Aiocoap), 0);
}

#[test]
fn ours_observes_node_coap() {
    // It takes a deregistration for a GET: told again three times, and reset when it still goes on.
    assert_eq!(we_observe(Peer::NodeCoap), 4);
}

#[test]
fn ours_observes_coap_rs() {
    assert_eq!(we_observe(Peer::CoapRs), 0);
}

/// So many notifications: whose, what is new, and what they say, in the order of the members.
async fn heard(observation: &mut Observation, wanted: usize) -> Vec<(u32, News, String)> {
    let mut heard = Vec::new();
    while heard.len() < wanted {
        let next = tokio::time::timeout(PATIENCE, observation.notification());
        let notification: Notification = next.await.expect("in time").expect("it goes on");
        let text = String::from_utf8(notification.response.payload).unwrap();
        heard.push((notification.member.0, notification.news, text));
    }
    heard.sort_unstable_by_key(|(member, ..)| *member);
    heard
}

/// Host 1 observes what hosts 2 to 5 have in one group; each of them is another implementation.
#[test]
fn ours_observes_all_four_in_one_group() {
    let lab = Lab::up(6);
    let _servers: Vec<_> = (2..)
        .zip(Peer::ALL)
        .map(|(host, peer)| peer.serve(&lab, host, GROUP))
        .collect();
    let uri = |host: u8| format!("coap://{}/light", lab.ipv4(host));
    let node_coap = Peer::ALL.iter().position(|peer| *peer == Peer::NodeCoap);
    let node_coap = u32::try_from(node_coap.unwrap()).unwrap();
    inside(&lab, 1, || async {
        let mut expected = Expectation::nobody();
        for (host, peer) in (2..).zip(Peer::ALL) {
            put(&lab, 6, &uri(host), "off").await;
            let address: SocketAddr = format!("{}:5683", lab.ipv4(host)).parse().unwrap();
            expected.add(Member::named(peer.name()).at(address));
        }
        let client = Client::builder().interface("eth0").build().await.unwrap();
        let call = client.group(&format!("coap://{GROUP}/light")).unwrap();
        let call = call.get().unsecured(NoSec::Accepted).expect(expected);
        let call = call.rtt(Duration::from_millis(500));
        let mut observation = call.observe(Observing::new().once()).await.unwrap();
        let said = |members: &[u32], news, text: &str| -> Vec<_> {
            let said = members
                .iter()
                .map(|member| (*member, news, text.to_owned()));
            said.collect()
        };
        let first = heard(&mut observation, 4).await;
        assert_eq!(first, said(&[0, 1, 2, 3], News::First, "off"));
        // node-coap: what follows its first answer to a Non-confirmable request is typed as an Acknowledgement, of no message.
        let others: Vec<_> = (0..4).filter(|member| *member != node_coap).collect();
        for text in ["on", "dim"] {
            for host in 2..=5 {
                put(&lab, 6, &uri(host), text).await;
            }
            let updates = heard(&mut observation, 3).await;
            assert_eq!(updates, said(&others, News::Update, text));
        }
        observation.end();
        let outcome = observation.finish().await.unwrap();
        assert_eq!(outcome.ended_by, ObservationEnd::Deregistered);
        assert_eq!(outcome.members.len(), 4);
        for (member, report) in (0..).zip(&outcome.members) {
            let state = ObservedState::Ended(MemberEnd::Deregistered);
            assert_eq!(report.state, state, "{member}");
            let told = if member == node_coap { 1 } else { 3 };
            assert_eq!(report.notifications, told, "{member}");
        }
    });
}
