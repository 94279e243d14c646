//! A member that only serves: asked with nothing but security contexts, so that it is tested without the half that asks too.

use core::net::SocketAddr;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use antiphon_oscore::{
    Asked, Contexts, Gid, Group, GroupId, GroupManagerCredential, Kid, Mode, OpenedResponse, Own,
    Parameters, Protecting, Settings, Step, To,
};

use super::*;
use crate::membership::SecurityGroupName;
use crate::resource::ResourceId;
use crate::security::at;
use crate::server::Reachability;

const LAMP: u8 = 1;
const SWITCH: u8 = 2;

fn key(member: u8) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[member; 32])
}

fn credential(member: u8) -> Credential {
    let bytes = Credential::build_ccs(&alloc::format!("member {member}"), &key(member).public());
    Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
}

fn kid(member: u8) -> Kid {
    Kid::new(&[member]).unwrap()
}

/// The security group, as one of the two members has it.
fn group(me: u8, other: u8) -> Group {
    let aead = Aead::AesCcm16_64_128;
    let parameters = Parameters {
        gid: Gid::new(b"lit").unwrap(),
        generation: 1,
        master_secret: Secret::copy_of(&[9; 16]),
        master_salt: Secret::copy_of(&[]),
        suite: Suite::new(
            Hkdf::Sha256,
            Some(aead),
            Some(GroupEncryption::Aead(aead)),
            Some(SignatureAlgorithm::EdDsa),
            Some(KeyAgreement::EcdhSsHkdf256),
        )
        .unwrap(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    };
    let own = Own {
        sender_id: kid(me),
        credential: credential(me),
        sequence: Sequence::exact(0, 1_000, SequenceSettings::default()),
    };
    let mut group = Group::new("lit", parameters, Some(own), Settings::default(), None).unwrap();
    group.add_peer(kid(other), credential(other)).unwrap();
    group
}

/// Who asks.
struct Switch {
    contexts: Contexts,
    group: GroupId,
    mid: u16,
}

fn switch() -> Switch {
    let mut contexts = Contexts::new();
    let group = contexts.add_group(group(SWITCH, LAMP));
    Switch {
        contexts,
        group,
        mid: 0,
    }
}

impl Switch {
    /// A protected request.
    fn ask(
        &mut self,
        now: Instant,
        kind: Type,
        to: To,
        options: &[(OptionNumber, &[u8])],
    ) -> (Vec<u8>, Asked) {
        self.mid += 1;
        let plain = message(kind, Code::GET, self.mid, options);
        let message = Message::parse(&plain).unwrap();
        let protected = loop {
            let context = self.group.into();
            match self
                .contexts
                .protect_request(at(now), context, &message, to)
            {
                Ok(Protecting::Done(protected)) => break protected,
                Ok(Protecting::Sign(signing)) => break signing.sign(&key(SWITCH)).unwrap(),
                Ok(Protecting::Agree(job)) => {
                    self.contexts.agreed(job.run(&key(SWITCH))).unwrap();
                }
                Err(error) => panic!("{error:?}"),
            }
        };
        (protected.bytes, protected.asked.unwrap())
    }

    /// Opens a response, which only the lamp can have made.
    fn open(&mut self, now: Instant, bytes: &[u8], asked: &mut Asked) -> OpenedResponse {
        let message = Message::parse(bytes).unwrap();
        let mut step = self.contexts.begin_response(at(now), &message, asked);
        loop {
            match step.unwrap() {
                Step::Done(opened) => {
                    assert_eq!(opened.sender.kid(), kid(LAMP));
                    return opened;
                }
                Step::Work(opening, job) => {
                    let result = job.run(&key(SWITCH));
                    step = self
                        .contexts
                        .finish_response(at(now), opening, result, asked);
                }
            }
        }
    }
}

/// What an opened response says: its code, the value of an Observe or Echo option, its payload.
fn said(opened: &OpenedResponse, number: OptionNumber) -> (Code, Option<Vec<u8>>, Vec<u8>) {
    let message = Message::parse(&opened.message).unwrap();
    let value = message.option(number).map(<[u8]>::to_vec);
    (message.code(), value, message.payload().to_vec())
}

/// Who serves.
struct Lamp {
    endpoint: Endpoint,
    now: Instant,
    watched: ResourceId,
}

fn lamp(mut config: EndpointConfig) -> Lamp {
    config.server.observe.confirm_every = 2;
    let mut endpoint = Endpoint::new(config, [4; 32]);
    for (socket, local) in [(UNICAST, ME), (OF_GROUP, GROUP)] {
        let info = SocketInfo {
            local: local.into(),
            respond_from: None,
        };
        endpoint.add_socket(socket, info);
    }
    let server = endpoint.server_mut();
    let at_once = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    let on = |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::TEXT, b"on");
    };
    let lamp = Resource::at("t").get(on).group_policy(at_once.clone());
    server.add(lamp).unwrap();
    let slow = Resource::at("slow").deferred(Methods::GET);
    server.add(slow.group_policy(at_once)).unwrap();
    let watched = server.add(Resource::at("o").get(on).observable()).unwrap();
    let name = SecurityGroupName::new("lit").unwrap();
    let spec = CoapGroupSpec::new(GROUP.into()).on(1).secured(name);
    server.memberships_mut().create(spec).unwrap();
    endpoint.add_group(group(LAMP, SWITCH));
    let mut lamp = Lamp {
        endpoint,
        now: Instant::from_millis(1_000),
        watched,
    };
    assert!(lamp.go_on().is_empty());
    lamp
}

fn trusting() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.server.proven_reachability = Reachability::Assumed;
    config
}

impl Lamp {
    fn hear(&mut self, multicast: bool, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.endpoint
            .handle_datagram(self.now, path(multicast), bytes);
        self.go_on()
    }

    /// Does its work, and says what it sends.
    fn go_on(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut out = Vec::new();
        loop {
            if let Some(work) = self.endpoint.poll_work(self.now) {
                let result = match work.task {
                    Task::Verify(job) => WorkResult::Checked(job.run()),
                    Task::Agree(job) => WorkResult::Agreed(job.run(&key(LAMP))),
                    Task::Sign(job) => job.run(&key(LAMP)),
                    _ => WorkResult::Done,
                };
                self.endpoint.work_done(self.now, work.id, result);
            } else if let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out) {
                assert_eq!(transmit.route.destination, SocketAddr::from(PEER));
                sent.push(out.clone());
            } else {
                return sent;
            }
        }
    }

    fn pass(&mut self, duration: Duration) -> Vec<Vec<u8>> {
        self.now = self.now + duration;
        self.endpoint.handle_timeout(self.now);
        self.go_on()
    }
}

const T: (OptionNumber, &[u8]) = (OptionNumber::URI_PATH, b"t");
const SLOW: (OptionNumber, &[u8]) = (OptionNumber::URI_PATH, b"slow");
const WATCHED: (OptionNumber, &[u8]) = (OptionNumber::URI_PATH, b"o");
const OBSERVE: (OptionNumber, &[u8]) = (OptionNumber::OBSERVE, b"");

#[test]
fn it_answers_a_group_and_in_person_in_both_modes_and_each_request_once() {
    let (mut lamp, mut switch) = (lamp(trusting()), switch());
    for (multicast, kind, to, mode) in [
        (true, Type::Non, To::Group, Mode::Group),
        (false, Type::Con, To::Member(kid(LAMP)), Mode::Pairwise),
    ] {
        let (bytes, mut asked) = switch.ask(lamp.now, kind, to, &[T]);
        let sent = lamp.hear(multicast, &bytes);
        let [answer] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        let opened = switch.open(lamp.now, answer, &mut asked);
        assert_eq!(opened.mode, mode);
        assert_eq!(
            said(&opened, OptionNumber::ECHO),
            (Code::CONTENT, None, b"on".to_vec())
        );
        // Under another Message ID it is no duplicate, and replayed all the same.
        let mut again = bytes;
        again[2] ^= 0x80;
        assert!(lamp.hear(multicast, &again).is_empty());
    }
    assert_eq!(lamp.endpoint.counters().requests, 4);
    assert_eq!(lamp.endpoint.counters().security.requests, 2);
}

#[test]
fn it_challenges_and_serves_who_sends_the_echo_value_back() {
    let mut config = EndpointConfig::default();
    config.server.proven_reachability = Reachability::Required;
    let (mut lamp, mut switch) = (lamp(config), switch());
    let (bytes, mut asked) = switch.ask(lamp.now, Type::Non, To::Group, &[T]);
    let challenge = switch.open(lamp.now, &lamp.hear(true, &bytes)[0], &mut asked);
    let (code, echo, payload) = said(&challenge, OptionNumber::ECHO);
    assert_eq!((code, payload.as_slice()), (Code::UNAUTHORIZED, &[][..]));
    let echo = echo.unwrap();
    let with_echo = [T, (OptionNumber::ECHO, echo.as_slice())];
    let to = To::Member(kid(LAMP));
    let (bytes, mut asked) = switch.ask(lamp.now, Type::Con, to, &with_echo);
    let answer = switch.open(lamp.now, &lamp.hear(false, &bytes)[0], &mut asked);
    assert_eq!(said(&answer, OptionNumber::ECHO).2, b"on");
    assert_eq!(lamp.endpoint.counters().security.challenges, 1);
}

#[test]
fn what_takes_long_is_acknowledged_and_answered_separately_until_that_is_acknowledged() {
    let (mut lamp, mut switch) = (lamp(trusting()), switch());
    let to = To::Member(kid(LAMP));
    let (bytes, mut asked) = switch.ask(lamp.now, Type::Con, to, &[SLOW]);
    assert!(lamp.hear(false, &bytes).is_empty());
    let Some(Event::Request { incoming, .. }) = lamp.endpoint.poll_event() else {
        panic!("no event")
    };
    let sent = lamp.pass(Duration::from_secs(1));
    assert_eq!(parsed(&sent[0]), (Type::Ack, Code::EMPTY, 1));
    let mut response = Response::new(Code::CONTENT);
    response.set_payload(ContentFormat::TEXT, b"at last");
    lamp.endpoint.respond(lamp.now, incoming, response);
    let separate = lamp.go_on();
    assert_eq!(separate.len(), 1);
    let (kind, _, mid) = parsed(&separate[0]);
    assert_eq!(kind, Type::Con);
    let opened = switch.open(lamp.now, &separate[0], &mut asked);
    assert_eq!(said(&opened, OptionNumber::ECHO).2, b"at last");
    assert_eq!(
        lamp.pass(Duration::from_secs(3)),
        separate,
        "the same bytes"
    );
    let ack = super::super::answer::empty(Type::Ack, MessageId(mid));
    assert!(lamp.hear(false, &ack).is_empty());
    assert!(lamp.pass(Duration::from_secs(60)).is_empty());
    assert_eq!(lamp.endpoint.counters().retransmissions, 1);
    assert_eq!(lamp.endpoint.counters().unmatched_empty, 0);
}

#[test]
fn it_notifies_an_observer_confirmably_until_a_reset_ends_that() {
    let (mut lamp, mut switch) = (lamp(trusting()), switch());
    let to = To::Member(kid(LAMP));
    let (bytes, mut asked) = switch.ask(lamp.now, Type::Con, to, &[OBSERVE, WATCHED]);
    let first = switch.open(lamp.now, &lamp.hear(false, &bytes)[0], &mut asked);
    assert!(said(&first, OptionNumber::OBSERVE).1.is_some());
    let mut confirmable = 0;
    for _ in 0..4 {
        lamp.now = lamp.now + Duration::from_secs(30);
        assert_eq!(lamp.endpoint.changed(lamp.now, lamp.watched), 1);
        let sent = lamp.go_on();
        let [notification] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        let opened = switch.open(lamp.now, notification, &mut asked);
        assert!(said(&opened, OptionNumber::OBSERVE).1.is_some());
        assert_eq!(said(&opened, OptionNumber::OBSERVE).2, b"on");
        let (kind, _, mid) = parsed(notification);
        if kind == Type::Con {
            confirmable += 1;
            let ack = super::super::answer::empty(Type::Ack, MessageId(mid));
            assert!(lamp.hear(false, &ack).is_empty());
        }
    }
    assert_eq!(confirmable, 2);
    assert!(lamp.pass(Duration::from_secs(100)).is_empty());
    lamp.endpoint.changed(lamp.now, lamp.watched);
    let (_, _, mid) = parsed(&lamp.go_on()[0]);
    let reset = super::super::answer::empty(Type::Rst, MessageId(mid));
    assert!(lamp.hear(false, &reset).is_empty());
    assert_eq!(lamp.endpoint.load().observers, 0);
    assert_eq!(lamp.endpoint.counters().unmatched_empty, 0);
}

#[test]
fn a_protected_response_and_a_report_of_the_network_belong_to_nothing() {
    let (mut lamp, mut switch) = (lamp(trusting()), switch());
    let to = To::Member(kid(LAMP));
    let (bytes, mut asked) = switch.ask(lamp.now, Type::Con, to, &[T]);
    let answer = lamp.hear(false, &bytes).remove(0);
    switch.open(lamp.now, &answer, &mut asked);
    let mut confirmable = answer.clone();
    super::super::protect::set_head(&mut confirmable, Type::Con, MessageId(7));
    let sent = lamp.hear(false, &confirmable);
    assert_eq!(parsed(&sent[0]), (Type::Rst, Code::EMPTY, 7));
    assert_eq!(lamp.endpoint.counters().unmatched, 1);
    assert_eq!(lamp.endpoint.counters().security.responses, 0);
    let (now, peer) = (lamp.now, PEER.into());
    let gone = SendError::PortUnreachable;
    let found = lamp
        .endpoint
        .handle_undelivered(now, UNICAST, peer, &answer, gone);
    assert!(!found);
    assert_eq!(lamp.endpoint.counters().reports_ignored, 1);
    lamp.endpoint.handle_send_error(
        now,
        Route {
            socket: UNICAST,
            source: None,
            interface: 1,
            destination: peer,
        },
        gone,
    );
    assert_eq!(lamp.endpoint.counters().send_errors, 1);
    let load = lamp.endpoint.load();
    let client = (load.exchanges, load.transfers, load.observations);
    assert_eq!((client, load.cached), ((0, 0, 0), 0));
}
