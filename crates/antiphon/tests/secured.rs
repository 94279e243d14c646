//! Security groups on real sockets over the loopback interface: who is answered, who is proven to have answered, and what a crash costs.
//!
//! Every group request is challenged once by each member that has not yet seen the client at its address (an Echo value inside of the
//! protection), so that the answers of a first request come by unicast.

#[path = "secured/images.rs"]
mod images;
#[path = "secured/keys.rs"]
mod keys;

use core::net::SocketAddr;
use core::time::Duration;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use antiphon::oscore::crypto::PrivateKey as _;
use antiphon::security_group::{
    Credential, Secret, SecurityGroupBuilder, SoftwareKey, expected, open_state,
};
use antiphon::{
    AskError, Attributes, Client, Code, Completion, ContentFormat, Discoverable, EndedBy,
    EndpointConfig, Failure, GroupPolicy, How, Leisure, Membership, MissingReason, Naming, NoSec,
    OneError, OscoreContext, Repeat, Resource, Running, SecurityError, SecurityGroup,
    SecurityGroupName, Server, ServerBuilder, Signed, Transmission,
};

const LEISURE: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing has to come to count as silence.
const SILENCE: Duration = Duration::from_millis(600);

/// A port that nobody else has, a group and member addresses of its own, and a folder.
struct Place {
    port: u16,
    folder: PathBuf,
    _keeper: UdpSocket,
}

impl Place {
    fn new() -> Self {
        let keeper = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = keeper.local_addr().unwrap().port();
        let folder =
            std::env::temp_dir().join(format!("antiphon-secured-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            port,
            folder,
            _keeper: keeper,
        }
    }

    fn group(&self) -> SocketAddr {
        let [high, low] = self.port.to_be_bytes();
        ([239, high, low, 1], self.port).into()
    }

    fn address(&self, n: u8) -> SocketAddr {
        let [high, low] = self.port.to_be_bytes();
        ([127, high | 1, low, n.max(1)], self.port).into()
    }

    fn uri(&self) -> String {
        format!("coap://{}/status", self.group())
    }

    fn uri_of(&self, n: u8) -> String {
        format!("coap://{}/status", self.address(n))
    }

    fn file(&self, n: u8) -> PathBuf {
        self.folder.join(format!("state-{n}"))
    }

    async fn client(&self) -> Client {
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut transmission = Transmission::default();
        transmission.set_probing_rate(1_000_000).unwrap();
        let client = Client::builder().interface("lo").bind(bind);
        client.transmission(transmission).build().await.unwrap()
    }

    /// The n-th member, with a status for the group.
    fn server(&self, n: u8, group: &SecurityGroup) -> ServerBuilder {
        let text = format!("member {n}");
        Server::builder()
            .endpoint(quick())
            .unicast(self.address(n))
            .interface("lo")
            .join(Membership::new(self.group()).secure(group))
            .resource(
                Resource::at("/status")
                    .group_policy(GroupPolicy::respond())
                    .get(move |_, response| {
                        response.set_payload(ContentFormat::TEXT, text.as_bytes());
                    }),
            )
    }

    async fn run(&self, n: u8, group: &SecurityGroup) -> Running {
        self.server(n, group).build().await.unwrap().spawn()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn quick() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.server.leisure = Some(Leisure::Fixed(LEISURE));
    config.server.discoverable = Discoverable::Groups;
    config
}

/// The client is member 0.
const CLIENT: u8 = 0;

fn key(n: u8) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[n + 1; 32])
}

fn credential(n: u8) -> Vec<u8> {
    let name = match n {
        CLIENT => "asker".to_owned(),
        n => format!("lamp-{n}"),
    };
    Credential::build_ccs(&name, &key(n).public())
}

/// The group as member `me` of 0 to `last` sees it.
fn lights(me: u8, last: u8) -> SecurityGroupBuilder {
    let mut group = SecurityGroup::builder("lights")
        .gid(*b"\x0a\x0b\x0c")
        .master_secret(Secret::copy_of(&[7; 16]))
        .master_salt(*b"salt")
        .member([me], credential(me), key(me));
    for n in (0..=last).filter(|n| *n != me) {
        group = group.peer([n], credential(n));
    }
    group
}

fn stored(file: &Path) -> SecurityGroup {
    let mut state = open_state(file).unwrap();
    SecurityGroup::open(&mut state, "lights").unwrap()
}

fn text(payload: &[u8]) -> &str {
    core::str::from_utf8(payload).unwrap()
}

#[tokio::test]
async fn every_member_answers_and_is_named_by_what_is_proven() {
    let place = Place::new();
    let mut servers = Vec::new();
    for n in 1..=3 {
        let group = lights(n, 3).volatile().unwrap();
        servers.push(place.run(n, &group).await);
    }
    let group = lights(CLIENT, 3).volatile().unwrap();
    let client = place.client().await;
    for round in 1..=2 {
        let call = client.group(&place.uri()).unwrap().get().secure(&group);
        let call = call.expect(group.expect_all()).leisure(LEISURE);
        let mut answers = call.collect_for(PATIENCE).send().await.unwrap();
        let mut heard = Vec::new();
        while let Some(answer) = answers.answer().await {
            let signer = answer.signer().expect("proven");
            assert_eq!(signer.group(), "lights");
            let member = group.identify(&answer.sender).expect("a member");
            assert_eq!(signer.subject(), Some(&*member.name()));
            assert_eq!(signer.credential(), member.credential().bytes());
            assert_eq!(signer.to_string(), format!("{} of lights", member.name()));
            let [n] = *member.kid().as_bytes() else {
                panic!("one byte")
            };
            assert_eq!(answer.from.peer, place.address(n));
            let how = match round {
                1 => How::Unicast, // after an Echo value came back
                _ => How::Multicast,
            };
            assert_eq!(answer.how, how, "round {round}");
            heard.push((n, text(&answer.response.payload).to_owned()));
        }
        heard.sort();
        let all: Vec<_> = (1..=3).map(|n| (n, format!("member {n}"))).collect();
        assert_eq!(heard, all);
        let outcome = answers.finish().await.unwrap();
        assert_eq!(outcome.ended_by, EndedBy::AllExpected);
        let names: Vec<_> = outcome
            .answered()
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(names, ["lamp-1", "lamp-2", "lamp-3"]);
    }
}

#[tokio::test]
async fn who_is_not_in_the_group_is_not_heard_and_does_not_answer() {
    let place = Place::new();
    let group = lights(1, 2).volatile().unwrap();
    let server = place.run(1, &group).await;
    // The same names, other keys.
    let stranger = SecurityGroup::builder("lights")
        .gid(*b"\x0a\x0b\x0c")
        .master_secret(Secret::copy_of(&[8; 16]))
        .member([CLIENT], credential(CLIENT), key(CLIENT))
        .peer([1], credential(1))
        .volatile()
        .unwrap();
    let client = place.client().await;
    let call = client.group(&place.uri()).unwrap().get().secure(&stranger);
    let answers = call
        .expect(stranger.expect_all())
        .leisure(LEISURE)
        .collect_for(SILENCE)
        .send()
        .await
        .unwrap();
    let outcome = answers.finish().await.unwrap();
    let missing: Vec<_> = outcome.missing().collect();
    assert_eq!(missing, [("lamp-1", MissingReason::Silent)]);
    let counted = server.handle.counters().await.unwrap();
    assert_eq!(counted.endpoint.sent, 0, "nothing at all was said to it");
    assert_eq!(counted.endpoint.security.requests, 0);
}

#[tokio::test]
async fn without_security_nothing_is_served() {
    let place = Place::new();
    let group = lights(1, 1).volatile().unwrap();
    let server = place.run(1, &group).await;
    let client = place.client().await;
    let call = client.group(&place.uri()).unwrap().get();
    let answers = call
        .unsecured(NoSec::Accepted)
        .collect_for(SILENCE)
        .send()
        .await
        .unwrap();
    assert_eq!(answers.finish().await.unwrap().answers, 0);
    let counted = server.handle.counters().await.unwrap();
    assert_eq!(counted.endpoint.sent, 0, "silence through a group");
    let call = client.one(&place.uri_of(1)).unwrap();
    let reply = call.get().unsecured(NoSec::Accepted).send().await.unwrap();
    assert_eq!(reply.response.code, Code::UNAUTHORIZED);
    assert_eq!(reply.signer(), None);
}

#[tokio::test]
async fn one_member_is_asked_for_itself_alone() {
    let place = Place::new();
    let group = lights(1, 2).volatile().unwrap();
    let _server = place.run(1, &group).await;
    let group = lights(CLIENT, 2).volatile().unwrap();
    let client = place.client().await;
    let lamp = group.member("lamp-1").unwrap();
    let call = client.one(&place.uri_of(1)).unwrap().get();
    let reply = call.secure(&lamp).send().await.unwrap();
    assert_eq!(text(&reply.response.payload), "member 1");
    assert_eq!(group.identify(&reply.sender).unwrap().name(), "lamp-1");
    // In group mode, when it is not known who that is.
    let call = client.one(&place.uri_of(1)).unwrap().get();
    let reply = call.secure(&group).send().await.unwrap();
    assert_eq!(reply.signer().unwrap().subject(), Some("lamp-1"));
    // The other one's key does not open it, and nobody else's answer counts.
    let other = group.member("lamp-2").unwrap();
    let call = client.one(&place.uri_of(1)).unwrap().get();
    let failed = call.secure(&other).timeout(SILENCE).send().await;
    assert!(
        matches!(failed, Err(OneError::Failed(Failure::TimedOut))),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_member_that_is_deaf_to_the_group_is_asked_in_person_under_protection() {
    let place = Place::new();
    let heard = lights(1, 2).volatile().unwrap();
    let _one = place.run(1, &heard).await;
    // The other has the keys and listens to its own address alone.
    let deaf = lights(2, 2).volatile().unwrap();
    let resource = Resource::at("/status").get(|_, response| {
        response.set_payload(ContentFormat::TEXT, b"member 2");
    });
    let deaf = Server::builder()
        .endpoint(quick())
        .unicast(place.address(2))
        .interface("lo")
        .secure(&deaf)
        .resource(resource);
    let _two = deaf.build().await.unwrap().spawn();
    let group = lights(CLIENT, 2).volatile().unwrap();
    let members = (1..=2u8).map(|n| {
        let member = group.member_by_kid(&[n]).unwrap();
        member.expected().at(place.address(n))
    });
    let client = place.client().await;
    let call = client.group(&place.uri()).unwrap().get().secure(&group);
    let mut answers = call
        .expect(expected(members))
        .leisure(LEISURE)
        .rtt(Duration::from_millis(50))
        .repeat(Repeat::NewMessageId(1))
        .complete(Completion::Unicast {
            at_once: 4,
            within: None,
        })
        .collect_for(PATIENCE)
        .send()
        .await
        .unwrap();
    let mut names = Vec::new();
    while let Some(answer) = answers.answer().await {
        names.push((
            answer.signer().unwrap().subject().unwrap().to_owned(),
            answer.how,
        ));
    }
    names.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        names,
        [
            ("lamp-1".to_owned(), How::Unicast),
            ("lamp-2".to_owned(), How::Unicast)
        ]
    );
    assert!(answers.finish().await.unwrap().is_complete());
}

/// A message under the Gid of the group and the Sender ID of the client that nobody protected.
fn junk(number: u8) -> Vec<u8> {
    let mut bytes = vec![0x50, 0x02, 0x77, number]; // NON POST
    // The OSCORE option: Partial IV, 'kid context' and 'kid' with Group Flag.
    bytes.extend_from_slice(&[0x97, 0x39, number.max(1), 3, 0x0a, 0x0b, 0x0c, CLIENT, 0xff]);
    bytes.extend_from_slice(&[number; 120]);
    bytes
}

#[tokio::test]
async fn whoever_manages_a_group_hears_what_it_wants() {
    use antiphon::security_group::{GroupNews, UpkeepSettings, Wanted};
    let place = Place::new();
    let settings = antiphon::oscore::Settings {
        upkeep: UpkeepSettings {
            recheck_after: core::num::NonZeroU32::new(3),
            keys_after: core::num::NonZeroU32::new(5),
            ..UpkeepSettings::default()
        },
        ..Default::default()
    };
    let group = lights(1, 1).settings(settings).volatile().unwrap();
    let (mut news, mut second) = (group.news(), group.news());
    let server = place.run(1, &group).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..20 {
        stranger.send_to(&junk(number), place.address(1)).unwrap();
    }
    let credential = Wanted::Credential(antiphon::oscore::Kid::new(&[CLIENT]).unwrap());
    for expected in [credential, Wanted::CurrentKeys] {
        let next = tokio::time::timeout(PATIENCE, news.next()).await.unwrap();
        assert_eq!(next, Some(GroupNews::Wanted(expected)));
        assert_eq!(second.next().await, next, "each who listens hears all");
    }
    // And no more, however much comes.
    let more = tokio::time::timeout(SILENCE, news.next()).await;
    assert!(more.is_err(), "{more:?}");
    let counted = server.handle.counters().await.unwrap().endpoint.security;
    assert_eq!(counted.not_verified, 20);
    server.stop().await;
    drop(group);
    let last = tokio::time::timeout(PATIENCE, news.next()).await.unwrap();
    assert_eq!(last, None, "nobody has the group any more");
}

/// A runtime of its own for a server, so that it can be killed.
struct Host(Option<tokio::runtime::Runtime>);

impl Host {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self(Some(runtime.unwrap()))
    }

    async fn run(&self, builder: ServerBuilder) -> Running {
        let runtime = self.0.as_ref().unwrap();
        let built = runtime.spawn(async { builder.build().await.unwrap().spawn() });
        built.await.unwrap()
    }

    /// Everything in it ends where it stands.
    fn crash(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Opens a store that a server has left, which takes a moment when it crashed.
async fn reopened(file: &Path) -> SecurityGroup {
    for _ in 0..200 {
        if let Ok(mut state) = open_state(file) {
            return SecurityGroup::open(&mut state, "lights").unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the store is still owned");
}

async fn ask(client: &Client, place: &Place, group: &SecurityGroup) -> Vec<(String, How)> {
    let call = client.group(&place.uri()).unwrap().get().secure(group);
    let call = call.expect(group.expect_all()).leisure(LEISURE);
    let mut answers = call.collect_for(PATIENCE).send().await.unwrap();
    let mut names = Vec::new();
    while let Some(answer) = answers.answer().await {
        names.push((
            answer.signer().unwrap().subject().unwrap().to_owned(),
            answer.how,
        ));
    }
    assert!(answers.finish().await.unwrap().is_complete());
    names
}

#[tokio::test]
async fn a_member_that_crashed_challenges_and_answers_and_one_that_stopped_just_goes_on() {
    let place = Place::new();
    let mut state = open_state(&place.file(1)).unwrap();
    let group = lights(1, 1).create(&mut state).unwrap();
    drop(state);
    let mut host = Host::new();
    let server = host.run(place.server(1, &group)).await;
    let asker = lights(CLIENT, 1).volatile().unwrap();
    let client = place.client().await;
    let by_unicast = [("lamp-1".to_owned(), How::Unicast)];
    assert_eq!(
        ask(&client, &place, &asker).await,
        by_unicast,
        "first contact"
    );
    let answered_directly = [("lamp-1".to_owned(), How::Multicast)];
    assert_eq!(ask(&client, &place, &asker).await, answered_directly);

    // A crash: what was received is not known any more.
    host.crash();
    drop((server, group));
    let group = reopened(&place.file(1)).await;
    let mut host = Host::new();
    let server = host.run(place.server(1, &group)).await;
    assert_eq!(ask(&client, &place, &asker).await, by_unicast, "challenged");
    let counted = server.handle.counters().await.unwrap().endpoint.security;
    assert_eq!(counted.challenges, 1);
    assert_eq!(ask(&client, &place, &asker).await, answered_directly);

    // A clean stop: the window is known, also to whoever replays. Only the address is to be shown again.
    server.stop().await;
    drop(group);
    host.crash();
    let group = reopened(&place.file(1)).await;
    let server = place.run(1, &group).await;
    assert_eq!(ask(&client, &place, &asker).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn sequence_numbers_go_on_where_a_clean_stop_left_them_and_above_the_block_after_a_crash() {
    use antiphon::oscore::record::Restored;
    let place = Place::new();
    let file = place.file(CLIENT);
    let mut state = open_state(&file).unwrap();
    let group = lights(CLIENT, 1).create(&mut state).unwrap();
    drop(state);
    let next = |file: &Path| {
        let state = open_state(file).unwrap();
        let restored = Restored::fold(&state.records["group/lights"]);
        let sequence = restored.sequence(Default::default()).unwrap();
        (restored.is_clean(), sequence.next())
    };
    let send = async |client: &Client, group: &SecurityGroup| {
        let call = client.notify(&place.uri()).unwrap().secure(group);
        let call = call.method(Code::POST);
        call.send().await.unwrap().finish().await.unwrap();
    };
    let client = place.client().await;
    for _ in 0..3 {
        send(&client, &group).await;
    }
    client.close().await;
    drop(group);
    assert_eq!(next(&file), (true, 3), "exactly the next one");

    let group = stored(&file);
    let mut host = Host::new();
    let runtime = host.0.as_ref().unwrap();
    let (port, uri, used) = (place.port, place.uri(), group.clone());
    runtime
        .spawn(async move {
            let _ = port;
            let bind = "127.0.0.1:0".parse().unwrap();
            let client = Client::builder().interface("lo").bind(bind);
            let client = client.build().await.unwrap();
            let call = client.notify(&uri).unwrap().secure(&used);
            let call = call.method(Code::POST);
            call.send().await.unwrap().finish().await.unwrap();
            core::mem::forget(client); // it does not end in good order
        })
        .await
        .unwrap();
    host.crash();
    drop(group);
    reopened(&file).await; // waits until nobody has it
    let (clean, number) = next(&file);
    assert!(!clean);
    assert!(number >= 1024, "above the reserved block: {number}");
}

#[tokio::test]
async fn security_is_stated_once_and_a_group_has_one_owner() {
    let place = Place::new();
    let group = lights(CLIENT, 1).volatile().unwrap();
    let client = place.client().await;
    let call = client.group(&place.uri()).unwrap().get();
    let both = call.secure(&group).unsecured(NoSec::Accepted).send().await;
    assert!(matches!(both, Err(AskError::SecurityTwice)));
    let neither = client.group(&place.uri()).unwrap().get().send().await;
    assert!(matches!(neither, Err(AskError::SecurityNotStated)));
    let call = client.one(&place.uri_of(1)).unwrap().get();
    let both = call.unsecured(NoSec::Accepted).secure(&group).send().await;
    assert!(matches!(both, Err(OneError::SecurityTwice)));

    client
        .notify(&place.uri())
        .unwrap()
        .secure(&group)
        .send()
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    let other = place.client().await;
    let send = async |client: &Client| {
        let call = client.notify(&place.uri()).unwrap().secure(&group);
        call.send().await.map(drop)
    };
    let refused = send(&other).await;
    assert!(
        matches!(&refused, Err(AskError::Security(SecurityError::InUse { name })) if name == "lights"),
        "{refused:?}"
    );
    client.close().await;
    send(&other).await.expect("it is free again");
}

#[tokio::test]
async fn two_share_an_oscore_context() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    let place = Place::new();
    let pair = |me: u8, other: u8| {
        OscoreContext::builder("the two")
            .master_secret(Secret::copy_of(&[3; 16]))
            .sender_id([me])
            .recipient_id([other])
            .volatile()
            .unwrap()
    };
    let resource = Resource::at("/status").put(|incoming, response| {
        let signer = incoming.arrival.signer().expect("proven");
        assert_eq!((signer.group(), signer.credential()), ("the two", &[1][..]));
        HANDLED.fetch_add(1, Ordering::SeqCst);
        response.reset(Code::CHANGED);
    });
    let server = Server::builder()
        .endpoint(quick())
        .unicast(place.address(1))
        .interface("lo")
        .secure(&pair(2, 1))
        .resource(resource);
    let _server = server.build().await.unwrap().spawn();
    let client = place.client().await;
    let mine = pair(1, 2);
    for _ in 0..2 {
        let call = client.one(&place.uri_of(1)).unwrap();
        let call = call.put(ContentFormat::TEXT, b"on").secure(&mine);
        let reply = call.send().await.unwrap();
        assert_eq!(reply.response.code, Code::CHANGED);
        assert_eq!(reply.signer().unwrap().credential(), [2]);
    }
    assert_eq!(HANDLED.load(Ordering::SeqCst), 2);
}

/// The same floor under other algorithms, for those who have no Ed25519.
fn lights_p256(me: u8, last: u8) -> SecurityGroupBuilder {
    use antiphon::security_group::suite::{
        Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
    };
    let key = |n: u8| SoftwareKey::from_p256_scalar(&[n + 1; 32]).unwrap();
    let credential =
        |n: u8| Credential::build_ccs(&format!("member {n} on P-256"), &key(n).public());
    let suite = Suite::new(
        Hkdf::Sha256,
        Some(Aead::A128Gcm),
        Some(GroupEncryption::Aead(Aead::A128Gcm)),
        Some(SignatureAlgorithm::Es256),
        Some(KeyAgreement::EcdhSsHkdf256),
    );
    let mut group = SecurityGroup::builder("lights-p256")
        .gid(*b"\x1a\x1b")
        .master_secret(Secret::copy_of(&[9; 16]))
        .suite(suite.unwrap())
        .member([me], credential(me), key(me));
    for n in (0..=last).filter(|n| *n != me) {
        group = group.peer([n], credential(n));
    }
    group
}

// Covers: GC-2.1.4-03
#[tokio::test]
async fn one_of_two_security_groups_of_an_application_group_is_enough_to_hear_everybody() {
    let place = Place::new();
    let mut servers = Vec::new();
    for n in 1..=3u8 {
        let (one, other) = (
            lights(n, 3).volatile().unwrap(),
            lights_p256(n, 3).volatile().unwrap(),
        );
        let both = ["lights", "lights-p256"].map(|name| SecurityGroupName::new(name).unwrap());
        let server = Server::builder()
            .endpoint(quick())
            .unicast(place.address(n))
            .interface("lo")
            .application("floor", Naming::path(), Attributes::new())
            .application_security("floor", both.to_vec())
            .join(
                Membership::new(place.group())
                    .application("floor")
                    .secure(&one)
                    .secure(&other),
            )
            .resource(
                Resource::at("status")
                    .in_group("floor")
                    .group_policy(GroupPolicy::respond())
                    .get(move |_, response| response.set_payload(ContentFormat::TEXT, &[n])),
            );
        servers.push(server.build().await.unwrap().spawn());
    }
    let uri = format!("coap://{}/gp/floor/status", place.group());
    // Each client knows one suite alone, and is in the group of that suite alone.
    for group in [lights_p256(CLIENT, 3), lights(CLIENT, 3)] {
        let group = group.volatile().unwrap();
        let client = place.client().await;
        let call = client.group(&uri).unwrap().get().secure(&group);
        let call = call.expect(group.expect_all()).leisure(LEISURE);
        let mut answers = call.collect_for(PATIENCE).send().await.unwrap();
        let mut heard = Vec::new();
        while let Some(answer) = answers.answer().await {
            assert_eq!(answer.signer().unwrap().group(), group.name());
            heard.push(answer.response.payload[0]);
        }
        heard.sort_unstable();
        assert_eq!(heard, [1, 2, 3], "{}", group.name());
        assert!(answers.finish().await.unwrap().is_complete());
        client.close().await;
    }
    // The same with a third one, which the application group does not use: nobody answers.
    let third = lights_p256(CLIENT, 3).gid(*b"\x1a\x1c").volatile().unwrap();
    let client = place.client().await;
    let call = client.group(&uri).unwrap().get().secure(&third);
    let answers = call.collect_for(SILENCE).send().await.unwrap();
    assert_eq!(answers.finish().await.unwrap().answers, 0);
}

#[tokio::test]
async fn a_member_is_found_by_its_sender_id_and_asked_where_it_is() {
    let place = Place::new();
    let mut servers = Vec::new();
    for n in 1..=3 {
        let group = lights(n, 3).volatile().unwrap();
        let server = place.server(n, &group).address_discovery();
        servers.push(server.mark_protected().build().await.unwrap().spawn());
    }
    let group = lights(CLIENT, 3).volatile().unwrap();
    let client = place.client().await;
    let uri = format!("coap://{}/member-address?kid=02", place.group());
    let call = client.group(&uri).unwrap().get().secure(&group);
    let mut answers = call
        .leisure(LEISURE)
        .collect_for(SILENCE)
        .send()
        .await
        .unwrap();
    let answer = answers.answer().await.unwrap();
    assert_eq!(answer.signer().unwrap().subject(), Some("lamp-2"));
    let link = format!("<coap://{}>;kid=02", place.address(2));
    assert_eq!(text(&answer.response.payload), link);
    assert_eq!(answers.finish().await.unwrap().answers, 1);
    for (n, server) in (1..).zip(&servers) {
        let counted = server.handle.counters().await.unwrap();
        assert_eq!(counted.endpoint.sent > 0, n == 2, "{n}");
    }
    // With the address it can be asked for itself alone; and discovery says that it has to be so.
    let uri = format!("coap://{}/.well-known/core", place.address(2));
    let lamp = group.member("lamp-2").unwrap();
    let call = client.one(&uri).unwrap().get().secure(&lamp);
    let reply = call.send().await.unwrap();
    assert_eq!(
        text(&reply.response.payload),
        "</status>;gosc;osc,</member-address>;rt=antiphon.member-address;ct=40;gosc;osc"
    );
}
