//! Random histories of an endpoint on a disk that loses what was not synced, against what the endpoint really did.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const PEERS: [&[u8]; 2] = [&[1], &[2]];

#[derive(Clone, Debug)]
enum Step {
    Send,
    /// The message with this number arrives from that peer.
    Receive(usize, u64),
    Reserve,
    Rekey,
    NewSenderId,
    Delete(usize),
    Sync,
    Condense,
    Crash(prop::sample::Index),
    Stop,
    LoseAndRejoin,
    /// The same keys under another Sender ID: after leaving, or by a description that comes while nobody runs.
    ComeBack(How),
    /// Stops, and another member comes or one goes before the next start.
    StopAndChange(usize),
    /// New keys come, and behind them the deletion of a member under the old ones.
    DeleteDuringRekey(usize),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Left,
    Stopped,
    Crashed,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Send),
        12 => (0..2_usize, 0..60_u64).prop_map(|(peer, number)| Step::Receive(peer, number)),
        4 => Just(Step::Reserve),
        1 => Just(Step::Rekey),
        1 => Just(Step::NewSenderId),
        1 => (0..2_usize).prop_map(Step::Delete),
        4 => Just(Step::Sync),
        1 => Just(Step::Condense),
        3 => any::<prop::sample::Index>().prop_map(Step::Crash),
        2 => Just(Step::Stop),
        1 => Just(Step::LoseAndRejoin),
        1 => prop_oneof![Just(How::Left), Just(How::Stopped), Just(How::Crashed)].prop_map(Step::ComeBack),
        1 => (0..2_usize).prop_map(Step::StopAndChange),
        1 => (0..2_usize).prop_map(Step::DeleteDuringRekey),
    ]
}

/// The endpoint, and beside it what an observer saw.
struct World {
    durable: Vec<Record>,
    /// Written in order, not synced.
    written: Vec<Record>,
    generation: u64,
    own: u8,
    sequence: Sequence,
    asked: Option<u64>,
    windows: BTreeMap<Vec<u8>, ReplayWindow>,
    ever_deleted: bool,
    next_id: u8,
    /// (Gid, Sender ID, number) that protected something.
    sent: BTreeSet<(Vec<u8>, u8, u64)>,
    /// (Gid, peer, number) that was delivered.
    delivered: BTreeSet<(Vec<u8>, usize, u64)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            durable: vec![install(1, &[100], 8)],
            written: Vec::new(),
            generation: 1,
            own: 100,
            sequence: Sequence::lost(),
            asked: None,
            windows: BTreeMap::new(),
            ever_deleted: false,
            next_id: 101,
            sent: BTreeSet::new(),
            delivered: BTreeSet::new(),
        };
        world.start();
        world
    }

    fn gid(&self) -> Vec<u8> {
        gid(self.generation)
    }

    fn settings() -> SequenceSettings {
        SequenceSettings {
            block: 8,
            ..SequenceSettings::default()
        }
    }

    fn start(&mut self) {
        let state = fold(&self.durable);
        assert_eq!(state.loss, None, "{:?}", self.durable);
        let Some(Established::Group(group)) = &state.context else {
            panic!()
        };
        self.generation = group.generation;
        self.own = state.sender_id().unwrap()[0];
        self.sequence = state.sequence(Self::settings()).unwrap();
        self.asked = None;
        self.ever_deleted = state.ever_deleted;
        self.windows = PEERS
            .iter()
            .map(|peer| (peer.to_vec(), window(&state, peer)))
            .collect();
        self.durable.push(Record::Running);
    }

    fn sync(&mut self) {
        self.durable.append(&mut self.written);
        if let Some(upto) = self.asked.take() {
            self.sequence.reserved(upto);
        }
    }

    /// The end in good order.
    fn stop(&mut self) {
        self.sync();
        let windows = self.windows.clone().into_iter().collect();
        let (gid, sender_id, next) = (self.gid(), Some(vec![self.own]), self.sequence.next());
        self.durable.push(Record::Clean {
            gid,
            sender_id,
            next,
            windows,
        });
    }

    fn fresh_windows(&mut self) {
        self.ever_deleted = false;
        self.windows = PEERS
            .iter()
            .map(|peer| (peer.to_vec(), received(&[])))
            .collect();
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Send => {
                if let Ok(number) = self.sequence.take() {
                    let sent = (self.gid(), self.own, number.value());
                    prop_assert!(self.sent.insert(sent.clone()), "nonce {:?} twice", sent);
                }
            }
            Step::Receive(peer, number) => {
                let gid = self.gid();
                let Some(window) = self.windows.get_mut(PEERS[peer]) else {
                    return Ok(());
                };
                if window.commit(piv(number)).is_ok() {
                    let delivered = (gid, peer, number);
                    prop_assert!(
                        self.delivered.insert(delivered.clone()),
                        "{:?} delivered twice",
                        delivered
                    );
                } else if !window.is_valid() {
                    // the Echo exchange, with a number that the peer never used before
                    let newest = self
                        .delivered
                        .range((gid.clone(), peer, 0)..=(gid.clone(), peer, u64::MAX))
                        .next_back();
                    let fresh = newest.map_or(0, |(_, _, number)| number + 1);
                    window.restart_at(piv(fresh)).unwrap();
                    prop_assert!(self.delivered.insert((gid, peer, fresh)));
                }
            }
            Step::Reserve => {
                if let Some(upto) = self.sequence.wants() {
                    let (gid, sender_id) = (self.gid(), vec![self.own]);
                    self.written.push(Record::Reserved {
                        gid,
                        sender_id,
                        upto,
                    });
                    self.asked = Some(upto);
                }
            }
            Step::Rekey | Step::LoseAndRejoin => {
                if matches!(step, Step::LoseAndRejoin) {
                    self.written.push(Record::Lost);
                }
                let peers = PeersKept::AllBut(Vec::new());
                let new = Installed {
                    peers,
                    ..installed(self.generation + 1, &[self.own], 8)
                };
                self.written.push(Record::Installed(Box::new(new)));
                self.sync();
                self.generation += 1;
                self.sequence = Sequence::exact(0, 8, Self::settings());
                self.fresh_windows();
            }
            Step::NewSenderId => {
                self.written
                    .push(sender_id(self.generation, &[self.next_id], 8));
                self.sync();
                self.own = self.next_id;
                self.next_id = self.next_id.wrapping_add(1);
                self.sequence = Sequence::exact(0, 8, Self::settings());
            }
            Step::Delete(peer) => {
                self.written.push(deleted(self.generation, PEERS[peer]));
                self.sync();
                self.ever_deleted = true;
                // and created again at once
                self.windows.insert(
                    PEERS[peer].to_vec(),
                    ReplayWindow::invalid(WindowSize::default()),
                );
            }
            Step::Sync => self.sync(),
            Step::Condense => {
                let condensed =
                    Restored::condense(self.durable.iter().map(Record::encode).collect());
                self.durable = condensed
                    .iter()
                    .map(|bytes| Record::decode(bytes).unwrap())
                    .collect();
            }
            Step::Crash(kept) => {
                let kept = kept.index(self.written.len() + 1);
                self.durable.extend(self.written.drain(..kept));
                self.written.clear();
                self.start();
            }
            Step::Stop => {
                self.stop();
                self.start();
            }
            Step::ComeBack(how) => {
                match how {
                    How::Left => {
                        self.sync();
                        self.durable.push(Record::Left(Installations::default()));
                    }
                    How::Stopped => self.stop(),
                    How::Crashed => self.written.clear(),
                }
                self.durable
                    .push(install(self.generation, &[self.next_id], 8));
                self.durable
                    .extend(PEERS.map(|id| peer(self.generation, id)));
                self.next_id = self.next_id.wrapping_add(1);
                self.start();
            }
            Step::StopAndChange(changed) => {
                self.stop();
                self.durable.push(deleted(self.generation, PEERS[changed]));
                self.durable.push(peer(self.generation, PEERS[changed]));
                self.durable.push(peer(self.generation, &[9]));
                self.start();
            }
            Step::DeleteDuringRekey(changed) => {
                let late = deleted(self.generation, PEERS[changed]);
                self.take(Step::Rekey)?;
                self.written.push(late);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    // Covers: GO-2.6.1-01
    #[test]
    fn no_nonce_and_no_delivery_twice_whatever_crashes(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
    }

    /// Each prefix of a history is what a crash may leave, also one that no rule of this crate asked for.
    #[test]
    fn no_prefix_of_a_history_starts_below_what_could_have_been_used(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Condense)) {
            world.take(step)?;
        }
        let (mut running, mut exact) = (false, None);
        for (index, record) in world.durable.iter().enumerate() {
            running = match record {
                Record::Running => true,
                Record::Clean { .. } => false,
                _ => running,
            };
            exact = match record {
                Record::Clean { next, .. } => Some(*next),
                Record::Peer { .. } | Record::PeerDeleted { .. } => exact,
                _ => None,
            };
            let state = fold(&world.durable[..=index]);
            if state.loss.is_some() || state.context.is_none() {
                continue;
            }
            let upto = bound(&world.durable[..=index]);
            let next = sequence(&state).next();
            if let Some(exact) = exact {
                prop_assert_eq!(next, exact);
            } else {
                prop_assert!(next >= upto, "{} below {}", next, upto);
                for peer in PEERS {
                    prop_assert!(!(running && window(&state, peer).is_valid()));
                }
            }
        }
    }
}

/// The bound of the Sender Context that these records end with.
fn bound(records: &[Record]) -> u64 {
    let mut upto = 0;
    for record in records {
        match record {
            Record::Installed(installed) => upto = installed.upto,
            Record::SenderId { upto: first, .. } => upto = *first,
            Record::Reserved { upto: more, .. } => upto = upto.max(*more),
            _ => {}
        }
    }
    upto
}

/// The same world without the reservation: the observer sees it.
#[test]
fn without_the_reservation_a_nonce_is_used_twice() {
    let mut world = World::new();
    world.sequence = Sequence::exact(8, u64::MAX, World::settings());
    world.take(Step::Send).unwrap();
    world.start();
    world.sync();
    world.sequence.reserved(u64::MAX);
    assert!(world.take(Step::Send).is_err());
}
