//! The power goes at any write, while keys are replaced, Sender IDs change, groups are left, and the same keys come back under another
//! Sender ID. A tracker sees every number that is used under every Sender Key, and every request that is delivered, while all are sent
//! again and again; what is found at the next start is the old keys or the new ones, and never lost.

use std::collections::{HashMap, HashSet};

use antiphon_netsim::Rng;
use antiphon_proto::{ContextId, EndpointConfig};

use super::heard::{Asking, Outcome, hear};
use super::*;
use crate::driver::{Driver, DriverConfig, Link};
use crate::error::AskError;
use crate::store::tests::sim_disk::SimDisk;
use crate::store::tests::{key as seal_key, seeded};

/// When a change takes effect.
#[derive(Clone, Copy, PartialEq)]
enum Effect {
    /// As it has to be: when it is durable.
    Durable,
    /// At once; the store follows.
    TooEarly,
}

struct Machine {
    rng: Rng,
    disk: SimDisk,
    effect: Effect,
    used: HashSet<(Vec<u8>, Vec<u8>, u64)>,
    twice: u64,
    /// Requests of member 1 by Gid, and how often each was delivered.
    requests: HashMap<Vec<u8>, Vec<(Vec<u8>, u64)>>,
    came_back: u64,
    /// Known to be durable, and tried: the next start finds one of these.
    durable: u64,
    tried: u64,
    left: bool,
    installs: u64,
    old_after_crash: u64,
    new_after_crash: u64,
}

fn keys(generation: u64) -> SecurityGroupBuilder {
    SecurityGroup::builder("lights")
        .generation(generation)
        .gid(generation.to_be_bytes()[6..].to_vec())
        .master_secret(Secret::copy_of(&[7; 16]))
        .settings(settings())
}

fn settings() -> antiphon_oscore::Settings {
    let mut settings = antiphon_oscore::Settings::default();
    settings.sequence.block = 8;
    settings
}

impl Machine {
    fn new(seed: u64, effect: Effect) -> Self {
        Self {
            rng: Rng::new(seed),
            disk: SimDisk::new(seed),
            effect,
            used: HashSet::new(),
            twice: 0,
            requests: HashMap::new(),
            came_back: 0,
            durable: 0,
            tried: 0,
            left: true,
            installs: 0,
            old_after_crash: 0,
            new_after_crash: 0,
        }
    }

    fn has_power(&self) -> bool {
        self.disk.machine().until_crash != Some(0)
    }

    /// From one start to the power cut.
    async fn live(&mut self) {
        let until = self.rng.below(70);
        self.disk.machine().until_crash = Some(until);
        let options = options()
            .compact_at(2_000)
            .entropy(seeded(self.rng.next_u64()));
        let opened = Store::open(self.disk.clone(), seal_key(), options);
        if let Ok(mut state) = opened
            && let Some(group) = self.find(&mut state)
        {
            drop(state.records);
            let (driver, link) =
                Driver::new(EndpointConfig::default(), DriverConfig::default(), [3; 32]);
            let task = tokio::spawn(driver.run_linked());
            let ended = self.work(&state.store, &group, &link).await;
            if ended.is_some() && self.has_power() && self.rng.chance(0.5) {
                let _ = link.call(|driver, now| driver.stop(now)).await;
                drop(link);
                let _ = task.await;
            } else {
                task.abort();
            }
        }
        let seed = self.rng.next_u64();
        self.disk.crash(seed);
    }

    /// The group as it was found, or a new one. `None` when the power has gone.
    fn find(&mut self, state: &mut Opened) -> Option<SecurityGroup> {
        let records = state.records.get("group/lights").map(Vec::as_slice);
        let before = Restored::fold(records.unwrap_or_default());
        let again = self.rng.chance(0.2) && before.loss.is_none();
        if let Some((generation, _)) = before.installations.latest.filter(|_| again) {
            // The same keys under another Sender ID: after leaving, or as they are described anew.
            let left = before.context.is_none();
            assert!(self.left || !left, "it is gone");
            let id = [2 + self.rng.below(200) as u8];
            let described = keys(generation).member(id, credential(0), key(0));
            match described.peer([1], credential(1)).provide(state) {
                Ok((group, _)) => {
                    self.came_back += 1;
                    if left {
                        self.tried = generation;
                        self.durable = generation;
                    }
                    return Some(self.found(group));
                }
                Err(SecurityError::Refused { .. }) => {}
                Err(_) => return None,
            }
        }
        let with = OpenWith::default().settings(settings());
        match SecurityGroup::open_with(state, "lights", with) {
            Ok(group) => Some(self.found(group)),
            Err(SecurityError::Unknown { .. }) => {
                assert!(self.left, "it is gone");
                self.durable = self.tried;
                self.tried += 1;
                let new = keys(self.tried).member([0], credential(0), key(0));
                let group = new.peer([1], credential(1)).create(state).ok()?;
                self.durable = self.tried;
                self.left = false;
                Some(group)
            }
            // What the control does may be noticed in time. Then there is a new machine.
            Err(SecurityError::Lost { .. }) if self.effect == Effect::TooEarly => {
                self.disk = SimDisk::new(self.rng.next_u64());
                self.left = true;
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn found(&mut self, group: SecurityGroup) -> SecurityGroup {
        let found = group.generation();
        assert!(
            found == self.durable || found == self.tried,
            "{found}: neither {} nor {}",
            self.durable,
            self.tried
        );
        if self.durable != self.tried {
            match found == self.tried {
                true => self.new_after_crash += 1,
                false => self.old_after_crash += 1,
            }
        }
        (self.durable, self.tried) = (found, found);
        self.left = false;
        group
    }

    /// Uses numbers and changes keys until something fails.
    async fn work(&mut self, store: &Store, group: &SecurityGroup, link: &Link) -> Option<()> {
        let mut id = link.claim::<AskError>(group.held()).await.ok()?;
        for _ in 0..self.rng.below(12) {
            if !self.has_power() {
                return None;
            }
            self.take(link, id).await?;
            match self.rng.below(9) {
                0..=2 => {
                    self.tried = self.durable + 1;
                    self.installs += 1;
                    let new = keys(self.tried).peer([1], credential(1));
                    match self.effect {
                        Effect::Durable => {
                            group.install(new).await.ok()?;
                        }
                        Effect::TooEarly => self.install_too_early(store, link, id).await?,
                    }
                    self.durable = self.tried;
                }
                3 => {
                    let id = [2 + self.rng.below(200) as u8];
                    let same = keys(self.durable)
                        .member(id, credential(0), key(0))
                        .peer([1], credential(1));
                    match group.install(same).await {
                        Ok(_) | Err(SecurityError::Refused { .. }) => {}
                        Err(_) => return None,
                    }
                }
                4 => {
                    group.remove(&[1]).await.ok()?;
                    group.add(&[1], &credential(1)).await.ok()?;
                }
                5 if self.rng.chance(0.2) => {
                    self.left = true;
                    group.leave().await.ok()?;
                    return None;
                }
                _ => {}
            }
            id = link.claim::<AskError>(group.held()).await.ok()?;
        }
        self.take(link, id).await
    }

    /// Uses some numbers, as far as they are reserved.
    async fn take(&mut self, link: &Link, id: ContextId) -> Option<()> {
        let wanted = self.rng.below(10);
        let taken = link.call(move |driver, _| {
            let group = driver.group_mut(id)?;
            let gid = group.gid().as_bytes().to_vec();
            let sender_id = group.sender_id()?.as_bytes().to_vec();
            let sequence = group.sequence_mut()?;
            let taken = (0..wanted).map_while(|_| sequence.take().ok());
            let taken: Vec<u64> = taken.map(|number| number.value()).collect();
            Some((gid, sender_id, taken))
        });
        let (gid, sender_id, taken) = taken.await.ok()??;
        if self.rng.chance(0.3) {
            self.send_again(link, id, &gid).await?;
        }
        for number in taken {
            if !self.used.insert((gid.clone(), sender_id.clone(), number)) {
                self.twice += 1;
            }
        }
        Some(())
    }

    /// Sends one of the requests that member 1 has made under this Gid, whether it was sent before or not.
    async fn send_again(&mut self, link: &Link, id: ContextId, gid: &[u8]) -> Option<()> {
        let made = || {
            let generation = gid
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte));
            let mut asking = Asking::under(gid, generation);
            let made = (0..3).map(|_| (asking.ask(), 0));
            made.collect()
        };
        let requests = self.requests.entry(gid.to_vec()).or_insert_with(made);
        let (request, delivered) = &mut requests[self.rng.below(3) as usize];
        let bytes = request.clone();
        let outcome = link.call(move |driver, _| {
            driver.group_mut(id)?;
            Some(hear(driver.endpoint.security_mut(), &bytes))
        });
        if outcome.await.ok()?? == Outcome::Delivered {
            *delivered += 1;
        }
        Some(())
    }

    /// How many requests were delivered, and the most often that one was.
    fn delivered(&self) -> (usize, u64) {
        let all = || self.requests.values().flatten().map(|(_, times)| *times);
        (
            all().filter(|times| *times > 0).count(),
            all().max().unwrap_or(0),
        )
    }

    /// What would be wrong: the keys are used before the store has them.
    async fn install_too_early(&mut self, store: &Store, link: &Link, id: ContextId) -> Option<()> {
        let wanted = keys(self.tried).peer([1], credential(1));
        let group = SecurityGroup::builder("lights").gid([1]);
        let group = group.master_secret(Secret::copy_of(&[1; 16])).volatile();
        let wanted = wanted.wanted(&group.ok()?).ok()?;
        let record = link.call(move |driver, _| {
            let group = driver.group_mut(id)?;
            let stale = antiphon_oscore::Stale::Replace(wanted.peers);
            let prepared = group.prepare_install(wanted.parameters, None, stale, 8);
            let prepared = prepared.ok()?;
            let record = prepared.record(group, Some(key(0).to_bytes()));
            group.commit_install(prepared, Default::default()).ok()?;
            Some(record)
        });
        let record = record.await.ok()??;
        self.take(link, id).await?;
        let record = Record::Installed(Box::new(record)).encode();
        store.append("group/lights", &record).ok()
    }
}

fn lives() -> u64 {
    let text = std::env::var("ANTIPHON_CRASHES").ok();
    text.map_or(1_000, |text| text.parse::<u64>().expect("a number") / 100)
}

#[tokio::test]
async fn no_number_is_used_twice_whenever_the_power_goes_while_keys_are_replaced() {
    let (mut used, mut installs, mut old, mut new) = (0, 0, 0, 0);
    let (mut delivered, mut came_back) = (0, 0);
    for seed in 0..lives().div_ceil(40) {
        let mut machine = Machine::new(seed, Effect::Durable);
        for _ in 0..40 {
            machine.live().await;
        }
        assert_eq!(machine.twice, 0, "seed {seed}");
        let (requests, times) = machine.delivered();
        assert!(times <= 1, "seed {seed}: delivered {times} times");
        delivered += requests;
        came_back += machine.came_back;
        used += machine.used.len();
        installs += machine.installs;
        old += machine.old_after_crash;
        new += machine.new_after_crash;
    }
    if lives() < 500 {
        return; // too few to say that everything happened
    }
    assert!(
        used as u64 > lives() && installs > lives() / 10,
        "{used} {installs}"
    );
    assert!(old > 2 && new > 2, "before and after: {old} {new}");
    assert!(
        delivered > 20 && came_back > 20,
        "{delivered} delivered, {came_back} came back"
    );
}

#[tokio::test]
async fn control_with_keys_that_are_used_before_they_are_durable_the_tracker_catches_it() {
    let mut twice = 0;
    for seed in 0..10 {
        let mut machine = Machine::new(seed, Effect::TooEarly);
        for _ in 0..40 {
            machine.live().await;
        }
        twice += machine.twice;
    }
    assert!(twice > 3, "{twice}");
}
