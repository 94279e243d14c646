//! The run loop: nodes on hosts, driven in the order of virtual time.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt;
use core::time::Duration;

use crate::address::HostId;
use crate::network::Network;
use crate::node::{Node, SocketChange};
use crate::time::Time;

/// A node that asks for more than this within one call has lost its way.
const MAX_POLLS: usize = 1_000_000;
/// So many steps without a step of time mean that time will never go on.
const MAX_STEPS_AT_ONE_TIME: usize = 100_000;

type Action<N> = Box<dyn FnOnce(&mut Simulation<N>)>;

struct Slot<N> {
    node: N,
    timeout: Option<Time>,
    touched: bool,
}

/// A [`Network`] with a [`Node`] on each host.
///
/// A step of time costs what its events cost, not the number of nodes: 10,000 idle members cost nothing. Hosts without a
/// node stay the test's own business, through [`Simulation::network_mut`].
pub struct Simulation<N: Node> {
    network: Network,
    /// By host; hosts without a node have none.
    slots: Vec<Option<Slot<N>>>,
    timeouts: BTreeSet<(Time, HostId)>,
    /// Nodes that the test has touched since they were last polled.
    touched: VecDeque<HostId>,
    actions: BTreeMap<(Time, u64), Action<N>>,
    actions_made: u64,
    steps_now: usize,
}

impl<N: Node> fmt::Debug for Simulation<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now())
            .field("seed", &self.network.seed())
            .field("nodes", &self.nodes().count())
            .field("in_flight", &self.network.in_flight())
            .finish_non_exhaustive()
    }
}

impl<N: Node> Simulation<N> {
    /// A simulation without nodes in this network.
    pub fn new(network: Network) -> Simulation<N> {
        Simulation {
            network,
            slots: Vec::new(),
            timeouts: BTreeSet::new(),
            touched: VecDeque::new(),
            actions: BTreeMap::new(),
            actions_made: 0,
            steps_now: 0,
        }
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.network.now()
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to change it. Let the simulation move time: after `advance_to` from outside, timeouts come late.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Puts a node on a host; polled with the next run.
    ///
    /// # Panics
    /// If there is no such host, or if it has a node already.
    pub fn insert(&mut self, host: HostId, node: N) {
        assert!(host.index() < self.network.hosts.len(), "no such host");
        if self.slots.len() <= host.index() {
            self.slots.resize_with(host.index() + 1, || None);
        }
        assert!(
            self.slots[host.index()].is_none(),
            "{host} has a node already"
        );
        self.slots[host.index()] = Some(Slot {
            node,
            timeout: None,
            touched: false,
        });
        self.touch(host);
    }

    /// Takes a node off its host; host and sockets stay. None if there is none.
    pub fn remove(&mut self, host: HostId) -> Option<N> {
        let slot = self.slots.get_mut(host.index())?.take()?;
        if let Some(at) = slot.timeout {
            self.timeouts.remove(&(at, host));
        }
        Some(slot.node)
    }

    /// Takes a host down at once and hands back what was running on it: all that it had in memory is the caller's to
    /// lose. Its [`Disk`](crate::Disk) can be taken out, crashed, and given
    /// to the next one.
    pub fn crash(&mut self, host: HostId) -> Option<N> {
        self.network.take_down(host);
        self.remove(host)
    }

    /// Brings a host up with this node, which must bind and join anew.
    ///
    /// # Panics
    /// As [`Simulation::insert`].
    pub fn restart(&mut self, host: HostId, node: N) {
        self.network.bring_up(host);
        self.insert(host, node);
    }

    /// The node of a host.
    pub fn node(&self, host: HostId) -> Option<&N> {
        Some(&self.slots.get(host.index())?.as_ref()?.node)
    }

    /// The node of a host, to tell it something; polled with the next run.
    pub fn node_mut(&mut self, host: HostId) -> Option<&mut N> {
        self.touch(host);
        Some(&mut self.slots.get_mut(host.index())?.as_mut()?.node)
    }

    /// All nodes with their hosts.
    pub fn nodes(&self) -> impl Iterator<Item = (HostId, &N)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((HostId(index as u32), &slot.as_ref()?.node)))
    }

    /// Does something at a time of the run: pulls a cable, restarts a host, asks a question. In the order of time, then
    /// of these calls; after the arrivals and timeouts of the same instant. A time in the past means at once.
    pub fn at(&mut self, time: Time, action: impl FnOnce(&mut Simulation<N>) + 'static) {
        self.actions
            .insert((time, self.actions_made), Box::new(action));
        self.actions_made += 1;
    }

    /// Runs until nothing is left to do until `time`, and time is there.
    pub fn run_until(&mut self, time: Time) {
        while self.step(time) {}
        self.network.advance_to(time.max(self.now()));
    }

    /// Runs for this long.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now() + duration);
    }

    /// Runs until `is_done` says so, asked before the first step and after each; but not past `limit`. Returns whether it
    /// was done.
    pub fn run_until_true(
        &mut self,
        limit: Time,
        mut is_done: impl FnMut(&Simulation<N>) -> bool,
    ) -> bool {
        loop {
            self.poll_touched();
            if is_done(self) {
                return true;
            }
            if !self.step(limit) {
                self.network.advance_to(limit.max(self.now()));
                return is_done(self);
            }
        }
    }

    /// Runs until nothing is under way and nobody waits for anything, but not past `limit`. Returns whether it is idle.
    pub fn run_until_idle(&mut self, limit: Time) -> bool {
        while self.step(limit) {}
        self.next_at().is_none()
    }

    /// When something happens next, if it does: an arrival, a timeout or an action.
    pub fn next_at(&self) -> Option<Time> {
        let arrival = self.network.next_event_at();
        let timeout = self.timeouts.first().map(|(at, _)| *at);
        let action = self.actions.keys().next().map(|(at, _)| *at);
        [arrival, timeout, action].into_iter().flatten().min()
    }

    /// Does all that happens at the next instant at which anything happens. False, and nothing done, if that is after
    /// `limit` or never.
    ///
    /// # Panics
    /// If time does not go on: a node that names a timeout in the past again and again, or nodes that play ping-pong
    /// without any delay.
    pub fn step(&mut self, limit: Time) -> bool {
        self.poll_touched();
        let Some(next) = self.next_at().filter(|next| *next <= limit) else {
            return false;
        };
        if next > self.now() {
            self.steps_now = 0;
        }
        self.steps_now += 1;
        assert!(
            self.steps_now <= MAX_STEPS_AT_ONE_TIME,
            "time stands still at {}: next timeouts {:?}",
            self.now(),
            self.timeouts.iter().take(3).collect::<Vec<_>>()
        );
        self.network.advance_to(next.max(self.now()));
        self.handle_arrivals();
        self.handle_timeouts();
        self.handle_actions();
        self.poll_touched();
        true
    }

    fn handle_arrivals(&mut self) {
        let now = self.now();
        while let Some(host) = self.network.next_ready_host() {
            while self.node(host).is_some() {
                let Some(delivery) = self.network.next_delivery(host) else {
                    break;
                };
                if let Some(Some(slot)) = self.slots.get_mut(host.index()) {
                    slot.node
                        .handle_datagram(now, &delivery.arrival(), &delivery.bytes);
                }
                self.poll(host);
            }
        }
    }

    fn handle_timeouts(&mut self) {
        let now = self.now();
        // Those that are due now, each once: who is due again at once has its turn in the next step.
        let mut due = Vec::new();
        while let Some(&(at, host)) = self.timeouts.first() {
            if at > now {
                break;
            }
            self.timeouts.pop_first();
            if let Some(Some(slot)) = self.slots.get_mut(host.index()) {
                slot.timeout = None;
            }
            due.push(host);
        }
        for host in due {
            if let Some(Some(slot)) = self.slots.get_mut(host.index()) {
                slot.node.handle_timeout(now);
                self.poll(host);
            }
        }
    }

    fn handle_actions(&mut self) {
        let now = self.now();
        while let Some(entry) = self.actions.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let action = entry.remove();
            action(self);
        }
    }

    fn touch(&mut self, host: HostId) {
        if let Some(Some(slot)) = self.slots.get_mut(host.index())
            && !slot.touched
        {
            slot.touched = true;
            self.touched.push_back(host);
        }
    }

    /// Catches up with what was done from outside: touched nodes, and arrivals of a time that was moved by hand.
    fn poll_touched(&mut self) {
        self.handle_arrivals();
        while let Some(host) = self.touched.pop_front() {
            if let Some(Some(slot)) = self.slots.get_mut(host.index()) {
                slot.touched = false;
            }
            self.poll(host);
        }
    }

    /// Takes all that a node has to say.
    fn poll(&mut self, host: HostId) {
        let now = self.now();
        let Some(Some(slot)) = self.slots.get_mut(host.index()) else {
            return;
        };
        let network = &mut self.network;
        for polls in 0.. {
            assert!(polls < MAX_POLLS, "{host} never stops sending at {now}");
            if let Some(change) = slot.node.poll_socket(now) {
                let result = match change {
                    SocketChange::Bind(port) => network.bind(host, port),
                    SocketChange::Unbind(port) => network.unbind(host, port),
                    SocketChange::Join(interface, group) => network.join(host, interface, group),
                    SocketChange::Leave(interface, group) => network.leave(host, interface, group),
                };
                slot.node.handle_socket(now, change, result);
            } else if let Some(outgoing) = slot.node.poll_transmit(now) {
                if let Err((error, outgoing)) = network.try_send(host, outgoing) {
                    slot.node.handle_send_error(now, &outgoing, error);
                }
            } else {
                break;
            }
        }
        let timeout = slot.node.next_timeout();
        if timeout != slot.timeout {
            if let Some(old) = slot.timeout {
                self.timeouts.remove(&(old, host));
            }
            if let Some(new) = timeout {
                self.timeouts.insert((new, host));
            }
            slot.timeout = timeout;
        }
    }
}
