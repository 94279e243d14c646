//! Two members of a security group that talk, each on a disk of its own whose power goes at any write or between: requests, answers and
//! challenges, in group mode and in pairwise mode, lost ones and old ones that come again. A tracker sees everything that leaves: who
//! protects, and what the nonce is made of, meet one ciphertext only.
//!
//! The power goes as often as `ANTIPHON_CRASHES` says (100,000 by default).

use std::collections::HashMap;
use std::time::Duration;

use antiphon_netsim::Rng;
use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey as _, SoftwareKey};
use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::record::{Record, Restored};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::Sequence;
use antiphon_oscore::suite::Suite;
use antiphon_oscore::{
    Contexts, Gid, Group, GroupId, GroupManagerCredential, Kid, Opened as Heard, Own, Parameters,
    ProtectError, Protected, Protecting, Received, Settings, Step, To,
};
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

use super::*;

const NAME: &str = "group/lights";

/// What keeps nonces from being used twice.
#[derive(Clone, Copy, PartialEq)]
enum Defence {
    Whole,
    /// Numbers are used without being reserved.
    NoReservation,
    /// After a crash, windows count as empty and not as unknown.
    EmptyWindows,
}

/// Who protects, who has chosen the Partial IV, and which. All modes of a member share its numbers, and each response may be
/// protected with the number of its request: where these are the same, key and nonce may be.
type Nonce = (usize, Vec<u8>, u64);

#[derive(Default)]
struct Tracker {
    used: HashMap<Nonce, Vec<u8>>,
    twice: u64,
    /// Requests, and responses with and without a number of their own.
    seen: [u64; 3],
    challenges: u64,
    delivered: u64,
}

impl Tracker {
    /// Something leaves. `asked` is the request to which it answers.
    fn sent(&mut self, by: usize, bytes: &[u8], asked: Option<(&[u8], u64)>) {
        let message = Message::parse(bytes).unwrap();
        let option = OscoreOption::of(&message).unwrap().unwrap();
        let own = kid(by).as_bytes().to_vec();
        let nonce = match (option.partial_iv, asked) {
            (Some(number), asked) => {
                self.seen[usize::from(asked.is_some())] += 1;
                (by, own, number.value())
            }
            (None, Some((kid, number))) => {
                self.seen[2] += 1;
                (by, kid.to_vec(), number)
            }
            (None, None) => panic!("a request without a number"),
        };
        let content = message.payload().to_vec();
        let before = self.used.insert(nonce, content.clone());
        self.twice += u64::from(before.is_some_and(|before| before != content));
    }
}

fn kid(member: usize) -> Kid {
    Kid::new(&[0x40 + member as u8]).unwrap()
}

fn key(member: usize) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[member as u8 + 1; 32])
}

/// A member, its disk, and what it has in memory while it runs.
struct Member {
    me: usize,
    rng: Rng,
    disk: SimDisk,
    key: SoftwareKey,
    credentials: [Credential; 2],
    defence: Defence,
    running: Option<Running>,
    crashes: u64,
}

struct Running {
    store: Store,
    contexts: Contexts,
    group: GroupId,
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.sequence.block = 8;
    settings
}

fn failed<E>(_: E) {}

impl Member {
    fn new(me: usize, seed: u64, defence: Defence) -> Self {
        let credential = |member| {
            let bytes = Credential::build_ccs("", &key(member).public());
            Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
        };
        Self {
            me,
            rng: Rng::new(seed),
            disk: SimDisk::new(seed),
            key: key(me),
            credentials: [credential(0), credential(1)],
            defence,
            running: None,
            crashes: 0,
        }
    }

    /// From the disk to the first message. Whatever fails there: the power has gone.
    fn start(&mut self) -> Result<(), ()> {
        let until = self.rng.below(24);
        self.disk.machine().until_crash = Some(until);
        let options = Options::default()
            .compact_at(2_000)
            .condense(|_, records| Restored::condense(records))
            .entropy(seeded(self.rng.next_u64()));
        let opened = Store::open(self.disk.clone(), super::key(), options).map_err(failed)?;
        let store = opened.store;
        let records = opened.records.get(NAME).map_or(&[][..], Vec::as_slice);
        let mut restored = Restored::fold(records);
        if records.is_empty() {
            let group = self.fresh();
            let mut batch = Batch::new();
            let installed = Record::Installed(Box::new(group.record(None, Vec::new())));
            for record in core::iter::once(installed).chain(group.peer_records()) {
                batch = batch.add(NAME, &record.encode()).unwrap();
                restored.apply(record);
            }
            store.commit(batch).map_err(failed)?;
        }
        assert_eq!(restored.loss, None);
        let mut group = Group::restore(&restored, settings()).unwrap();
        if self.defence == Defence::EmptyWindows {
            let window = antiphon_oscore::replay::ReplayWindow::valid(settings().window);
            group = self.fresh();
            group.remove_peer(kid(1 - self.me));
            let credential = self.credentials[1 - self.me].clone();
            group
                .restore_peer(kid(1 - self.me), credential, window)
                .unwrap();
            *group.sequence_mut().unwrap() = restored.sequence(settings().sequence).unwrap();
        }
        store
            .append(NAME, &Record::Running.encode())
            .map_err(failed)?;
        let mut contexts = Contexts::new();
        let group = contexts.add_group(group);
        self.running = Some(Running {
            store,
            contexts,
            group,
        });
        Ok(())
    }

    fn fresh(&self) -> Group {
        let parameters = Parameters {
            gid: Gid::new(b"gid").unwrap(),
            generation: 0,
            master_secret: Secret::copy_of(&[7; 16]),
            master_salt: Secret::new(Vec::new()),
            suite: Suite::default(),
            format: CredentialFormat::Ccs,
            gm_credential: GroupManagerCredential::no_manager(),
        };
        let own = Own {
            sender_id: kid(self.me),
            credential: self.credentials[self.me].clone(),
            sequence: Sequence::new(settings().sequence),
        };
        let mut group = Group::new("lights", parameters, Some(own), settings(), None).unwrap();
        let peer = 1 - self.me;
        group
            .add_peer(kid(peer), self.credentials[peer].clone())
            .unwrap();
        group
    }

    /// The power goes, and comes back.
    fn crash(&mut self) {
        self.running = None;
        self.crashes += 1;
        let seed = self.rng.next_u64();
        self.disk.crash(seed);
    }

    /// Ends in good order, if the power stays.
    fn stop(&mut self) {
        // A clean record beyond the reservation would be refused: a second line of defence, not the one that is looked at.
        let looked_at = self.defence != Defence::NoReservation;
        if let Some(mut running) = self.running.take().filter(|_| looked_at) {
            let clean = running
                .contexts
                .group_mut(running.group)
                .unwrap()
                .clean_record();
            let written = running.store.append(NAME, &clean.encode());
            if written.is_ok() && running.store.close().is_ok() {
                self.disk.restart();
                return;
            }
        }
        self.crash();
    }

    /// Something that is protected, with a number that is reserved.
    fn protect(
        &mut self,
        mut protect: impl FnMut(&mut Contexts, GroupId) -> Result<Protecting, ProtectError>,
    ) -> Result<Protected, ()> {
        let running = self.running.as_mut().ok_or(())?;
        loop {
            let sequence = running.contexts.group_mut(running.group).unwrap();
            let sequence = sequence.sequence_mut().unwrap();
            if let Some(upto) = sequence.wants() {
                if self.defence != Defence::NoReservation {
                    let reserved = Record::Reserved {
                        gid: b"gid".to_vec(),
                        sender_id: kid(self.me).as_bytes().to_vec(),
                        upto,
                    };
                    running
                        .store
                        .append(NAME, &reserved.encode())
                        .map_err(failed)?;
                }
                sequence.reserved(upto);
            }
            match protect(&mut running.contexts, running.group) {
                Ok(Protecting::Done(protected)) => return Ok(protected),
                Ok(Protecting::Sign(signing)) => return signing.sign(&self.key).map_err(failed),
                Ok(Protecting::Agree(job)) => {
                    let agreed = job.run(&self.key);
                    running.contexts.agreed(agreed).unwrap();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    fn hear(&mut self, now: Duration, bytes: &[u8]) -> Option<Heard> {
        let running = self.running.as_mut()?;
        let message = Message::parse(bytes).unwrap();
        let mut step = running.contexts.begin_request(now, &message, false).ok()?;
        loop {
            match step {
                Step::Done(heard) => return Some(heard),
                Step::Work(opening, job) => {
                    let result = job.run(&self.key);
                    step = running.contexts.finish_request(now, opening, result).ok()?;
                }
            }
        }
    }
}

fn message(code: Code, id: u16, token: u8, echo: Option<&[u8]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 64];
    let token = Token::new(&[token]).unwrap();
    let mut writer = Writer::new(&mut bytes, Type::Non, code, MessageId(id), token).unwrap();
    if let Some(echo) = echo {
        writer.option(OptionNumber::ECHO, echo).unwrap();
    }
    writer.payload(payload).unwrap();
    let len = writer.finish();
    bytes[..len].to_vec()
}

/// Both of them, and what was on the way.
struct Talk {
    rng: Rng,
    members: [Member; 2],
    tracker: Tracker,
    old: Vec<(usize, Vec<u8>)>,
    contents: u64,
    now: Duration,
}

impl Talk {
    fn new(seed: u64, defence: Defence) -> Self {
        let mut rng = Rng::new(seed);
        let members = [0, 1].map(|me| Member::new(me, rng.next_u64(), defence));
        Self {
            rng,
            members,
            tracker: Tracker::default(),
            old: Vec::new(),
            contents: 0,
            now: Duration::from_secs(1),
        }
    }

    fn crashes(&self) -> u64 {
        self.members.iter().map(|member| member.crashes).sum()
    }

    /// Content that was never sent before.
    fn content(&mut self) -> [u8; 8] {
        self.contents += 1;
        self.contents.to_be_bytes()
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(50);
        let client = self.rng.below(2) as usize;
        for me in [client, 1 - client] {
            let member = &mut self.members[me];
            if member.running.is_none() && member.start().is_err() {
                return member.crash();
            }
        }
        if self.ask(client, None).is_err() {
            self.members[client].crash();
        }
        match self.rng.below(12) {
            0 => self.members[client].stop(),
            1 | 2 => self.members[client].crash(),
            3 => self.members[1 - client].crash(),
            _ => {}
        }
    }

    /// A request, and what comes of it. An error: the client has no power any more.
    fn ask(&mut self, client: usize, echo: Option<&[u8]>) -> Result<(), ()> {
        let (server, now, content) = (1 - client, self.now, self.content());
        let plain = message(Code::GET, 1, client as u8, echo, &content);
        let plain = Message::parse(&plain).unwrap();
        // Signatures take most of the time.
        let to = match self.rng.below(4) {
            0 => To::Group,
            _ => To::Member(kid(server)),
        };
        let protected = self.members[client]
            .protect(|it, group| it.protect_request(now, group.into(), &plain, to))?;
        self.tracker.sent(client, &protected.bytes, None);
        let mut asked = protected.asked.unwrap();
        let before = self
            .old
            .len()
            .checked_sub(1)
            .map(|most| self.rng.below(most as u64 + 1));
        self.old.push((server, protected.bytes.clone()));
        // An old one comes again, perhaps after the crash of whoever answered it.
        if let Some(old) = before.filter(|_| self.rng.chance(0.4)) {
            let (to, bytes) = self.old[old as usize].clone();
            let _ = self.answer(to, &bytes);
        }
        if self.old.len() > 12 {
            self.old.remove(0);
        }
        if self.rng.chance(0.2) {
            return Ok(()); // lost
        }
        let Some((response, challenge)) = self.answer(server, &protected.bytes) else {
            return Ok(());
        };
        let running = self.members[client].running.as_mut().ok_or(())?;
        let response = Message::parse(&response).unwrap();
        let mut step = running.contexts.begin_response(now, &response, &mut asked);
        while let Ok(Step::Work(opening, job)) = step {
            let result = job.run(&self.members[client].key);
            let contexts = &mut self.members[client].running.as_mut().unwrap().contexts;
            step = contexts.finish_response(now, opening, result, &mut asked);
        }
        if let Ok(Step::Done(opened)) = step {
            self.tracker.delivered += 1;
            if let (Some(value), None) = (challenge, echo) {
                drop(opened);
                return self.ask(client, Some(&value));
            }
        }
        Ok(())
    }

    /// What a server says to a request: an answer, or a challenge with its value.
    fn answer(&mut self, server: usize, bytes: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let now = self.now;
        let heard = self.members[server].hear(now, bytes)?;
        let (mut received, plain, challenge): (Received, _, _) = match heard {
            Heard::Request(opened) => {
                let content = self.content();
                (
                    opened.received,
                    message(Code::CONTENT, 2, 9, None, &content),
                    None,
                )
            }
            Heard::Challenge(challenged) => {
                let mut random = [0; 32];
                self.rng.fill(&mut random);
                let like = (Type::Non, MessageId(2), Token::new(&[9]).unwrap());
                let contexts = &mut self.members[server].running.as_mut()?.contexts;
                let plain =
                    contexts.challenge(now, &challenged.received, || random, [0; 4], like)?;
                let value = Message::parse(&plain).unwrap();
                let value = value.option(OptionNumber::ECHO).unwrap().to_vec();
                self.tracker.challenges += 1;
                (challenged.received, plain, Some(value))
            }
        };
        let asked = (
            received.kid().as_bytes().to_vec(),
            received.partial_iv().value(),
        );
        let plain = Message::parse(&plain).unwrap();
        let protected = self.members[server]
            .protect(|it, _| it.protect_response(now, &plain, &mut received, None));
        let Ok(protected) = protected else {
            self.members[server].crash();
            return None;
        };
        let asked = (asked.0.as_slice(), asked.1);
        self.tracker.sent(server, &protected.bytes, Some(asked));
        Some((protected.bytes, challenge))
    }
}

/// Talks until the power has gone so often; 100 times with the same keys.
fn talks(defence: Defence, crashes: u64) -> Tracker {
    let mut all = Tracker::default();
    for history in 0..crashes.div_ceil(100) {
        let mut talk = Talk::new(Rng::stream(17, history).next_u64(), defence);
        while talk.crashes() < 100 {
            talk.step();
        }
        let one = talk.tracker;
        all.twice += one.twice;
        all.challenges += one.challenges;
        all.delivered += one.delivered;
        for (sum, one) in all.seen.iter_mut().zip(one.seen) {
            *sum += one;
        }
    }
    all
}

// Threats 2 and 3: nonce reuse after a crash, by whoever asks and by whoever answers.

#[test]
fn threat_03_no_nonce_protects_two_contents_whenever_the_power_goes() {
    let crashes = crashes::number("ANTIPHON_CRASHES", 100_000);
    let all = talks(Defence::Whole, crashes);
    let [requests, numbered, unnumbered] = all.seen;
    assert_eq!(all.twice, 0, "of {requests} {numbered} {unnumbered}");
    let least = requests.min(all.delivered).min(all.challenges);
    assert!(
        least > crashes / 5,
        "{requests} {} {}",
        all.delivered,
        all.challenges
    );
    assert!(
        numbered.min(unnumbered) > crashes / 20,
        "{numbered} {unnumbered}"
    );
}

#[test]
fn threat_03_control_without_the_reservation_step_the_tracker_catches_what_is_sent() {
    let all = talks(Defence::NoReservation, 300);
    assert!(all.twice > 50, "{}", all.twice);
}

#[test]
fn threat_03_control_with_windows_that_count_as_empty_the_tracker_catches_what_is_answered() {
    let all = talks(Defence::EmptyWindows, 500);
    assert!(all.twice > 5, "{}", all.twice);
}
