//! The sockets of one endpoint: unicast sockets that send and receive, group sockets that receive.

use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll, Waker};
use std::io;
use std::sync::Arc;

use antiphon_proto::{Instant, Path, Route, SocketId, SocketInfo};

use super::bell::{self, Bell, Callers};
use super::outbox::{Outbox, Push};
use super::reports::Reports;
use crate::socket::{
    Arrival, Cast, FailedSend, GroupSocket, JoinError, Outgoing, RecvBatch, SendFailure,
    SocketOptions, UnicastSocket, canonical, needs_interface,
};

/// One socket, with what the driver knows of it.
struct Port {
    id: SocketId,
    kind: Kind,
    /// Something may be there to read.
    ready: bool,
    /// It calls when something is: no need to ask before.
    watched: bool,
    call: Waker,
    /// Not looked at before this time, because it failed.
    rest_until: Instant,
}

enum Kind {
    Unicast {
        socket: Arc<UnicastSocket>,
        reports: Reports,
        out: Outbox,
    },
    Group(GroupSocket),
}

impl Port {
    fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        match &self.kind {
            Kind::Unicast { socket, .. } => socket.recv_batch(batch),
            Kind::Group(socket) => socket.recv_batch(batch),
        }
    }

    /// Ready when a datagram or a report may be there. Both are asked, so that both call.
    fn poll_readable(&mut self) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.call);
        match &mut self.kind {
            Kind::Unicast {
                socket, reports, ..
            } => match (socket.poll_readable(&mut cx), reports.poll(&mut cx)) {
                (Poll::Pending, other) | (other, Poll::Pending) => other,
                (one, other) => Poll::Ready(match (one, other) {
                    (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Err(error),
                    _ => Ok(()),
                }),
            },
            Kind::Group(socket) => socket.poll_readable(&mut cx),
        }
    }

    /// True: a send buffer that was full has room again.
    fn poll_room(&mut self) -> bool {
        match &mut self.kind {
            Kind::Unicast { out, .. } => out.poll_room(&mut Context::from_waker(&self.call)),
            Kind::Group(_) => false,
        }
    }

    fn dropped(&self) -> u64 {
        match &self.kind {
            Kind::Unicast { socket, .. } => socket.dropped(),
            Kind::Group(socket) => socket.dropped(),
        }
        .unwrap_or(0)
    }

    /// The path of a datagram that arrived here.
    fn path(&self, arrival: &Arrival<'_>) -> Path {
        let bound = match &self.kind {
            Kind::Unicast { socket, .. } => socket.local_addr(),
            Kind::Group(socket) => socket.group(),
        };
        let address = match arrival.cast {
            // The directed broadcast of a subnet is told from its address by the system alone; the
            // endpoint knows the limited broadcast address and treats both like a group.
            Cast::Broadcast => IpAddr::V4(core::net::Ipv4Addr::BROADCAST),
            // A socket that has joined nothing receives no multicast, whatever the system does not tell.
            _ => arrival.destination.unwrap_or(bound.ip()),
        };
        Path {
            socket: self.id,
            local: SocketAddr::new(address, bound.port()),
            interface: arrival.interface,
            peer: arrival.source,
        }
    }
}

/// The end of time.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// All sockets of an endpoint. Unicast sockets come first.
pub(crate) struct Ports {
    all: Vec<Port>,
    bell: Arc<Bell>,
    options: SocketOptions,
    batch: usize,
    datagram: usize,
    next_id: u16,
    /// Drops that closed sockets have counted.
    dropped_before: u64,
}

impl Ports {
    pub(super) fn new(
        options: SocketOptions,
        batch: usize,
        datagram: usize,
        bell: Arc<Bell>,
    ) -> Self {
        Self {
            all: Vec::new(),
            bell,
            options,
            batch,
            datagram,
            next_id: 0,
            dropped_before: 0,
        }
    }

    /// Binds a unicast socket.
    pub(crate) fn bind(&mut self, local: SocketAddr) -> io::Result<(SocketId, SocketInfo)> {
        let socket = Arc::new(UnicastSocket::bind(local, &self.options)?);
        let info = SocketInfo {
            local: socket.local_addr(),
            respond_from: None,
        };
        let kind = Kind::Unicast {
            reports: Reports::of(Arc::clone(&socket)),
            socket,
            out: Outbox::new(self.batch, self.datagram),
        };
        let port = self.port(kind);
        let id = port.id;
        let behind = self.all.iter().take_while(|port| port.is_unicast()).count();
        self.all.insert(behind, port);
        Ok((id, info))
    }

    /// Listens to a group on one interface: with a socket of the group that is there already, or another one.
    /// Returns the new socket, if one was needed.
    pub(crate) fn join(
        &mut self,
        group: SocketAddr,
        interface: u32,
    ) -> Result<Option<(SocketId, SocketInfo)>, JoinError> {
        for port in self.all.iter_mut().filter(|port| port.is_of(group)) {
            match port.change(|socket| socket.join(interface)) {
                Err(JoinError::TooManyMemberships | JoinError::OneInterfaceOnly { .. }) => {}
                // A membership that its interface took with it is still in the socket's list.
                Err(JoinError::AlreadyMember(_)) => {
                    return port
                        .change(|socket| socket.rejoin(interface, interface))
                        .map(|()| None);
                }
                result => return result.map(|()| None),
            }
        }
        let socket = GroupSocket::open(group.ip(), group.port(), interface, &self.options)?;
        let info = SocketInfo {
            local: group,
            respond_from: None,
        };
        let port = self.port(Kind::Group(socket));
        let id = port.id;
        self.all.push(port);
        Ok(Some((id, info)))
    }

    /// Listens to a group on one interface no more. Returns the socket that is closed, if it was its last membership.
    pub(crate) fn leave(
        &mut self,
        group: SocketAddr,
        interface: u32,
    ) -> Result<Option<SocketId>, JoinError> {
        for port in self.all.iter_mut().filter(|port| port.is_of(group)) {
            let left = port.change(|socket| {
                let left = socket.leave(interface);
                Ok((left, socket.members().is_empty()))
            });
            let (left, empty) = match left? {
                (Err(JoinError::NotMember(_)), _) => continue,
                left => left,
            };
            let closed = empty.then_some(port.id);
            if let Some(id) = closed {
                self.close(id);
            }
            return left.map(|()| closed);
        }
        Err(JoinError::NotMember(interface))
    }

    /// Ends every membership on an interface. Returns the sockets that are closed because it was their last.
    pub(crate) fn forget(&mut self, interface: u32) -> Vec<SocketId> {
        let groups: Vec<SocketAddr> = self
            .memberships()
            .filter(|(_, on)| *on == interface)
            .map(|(group, _)| group)
            .collect();
        groups
            .into_iter()
            .filter_map(|group| self.leave(group, interface).ok().flatten())
            .collect()
    }

    /// Closes all group sockets; the system leaves their groups.
    pub(crate) fn close_groups(&mut self) -> Vec<SocketId> {
        let groups = self.all.iter().filter(|port| !port.is_unicast());
        let ids: Vec<SocketId> = groups.map(|port| port.id).collect();
        for id in &ids {
            self.close(*id);
        }
        ids
    }

    /// Every group, and the interface on which it is listened to, as far as the sockets know.
    pub(crate) fn memberships(&self) -> impl Iterator<Item = (SocketAddr, u32)> {
        self.all.iter().flat_map(|port| {
            let socket = match &port.kind {
                Kind::Group(socket) => Some(socket),
                Kind::Unicast { .. } => None,
            };
            socket.into_iter().flat_map(|socket| {
                let group = socket.group();
                socket
                    .members()
                    .iter()
                    .map(move |interface| (group, *interface))
            })
        })
    }

    /// Puts a datagram into the outbox of its socket.
    pub(crate) fn push(&mut self, route: &Route, bytes: &[u8]) -> Push {
        match self.unicast(route.socket) {
            Some((socket, out)) => out.push(outgoing(route, socket.local_addr()), bytes),
            None => Push::NoSocket,
        }
    }

    /// The number of this socket if it has datagrams that can be handed to the system.
    pub(crate) fn due(&self, index: usize) -> Option<SocketId> {
        let port = self.all.get(index)?;
        match &port.kind {
            Kind::Unicast { out, .. } if out.is_due() => Some(port.id),
            _ => None,
        }
    }

    /// Datagrams wait for room in a send buffer.
    pub(crate) fn is_blocked(&self) -> bool {
        let mut unicast = self.all.iter().map(|port| &port.kind);
        unicast.any(|kind| matches!(kind, Kind::Unicast { out, .. } if out.is_blocked()))
    }

    /// Hands what is in the outbox of a socket to the system. True: its send buffer is full now, and the rest waits.
    pub(crate) fn flush(
        &mut self,
        id: SocketId,
        failed: &mut Vec<(SocketId, FailedSend)>,
    ) -> io::Result<bool> {
        match self.unicast(id) {
            Some((socket, out)) => out.flush(socket, |failure| failed.push((id, failure))),
            None => Ok(false),
        }
    }

    /// As if the send buffer of this socket were full.
    #[cfg(test)]
    pub(super) fn block(&mut self, id: SocketId) {
        if let Some((socket, out)) = self.unicast(id) {
            out.block(socket);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn id(&self, index: usize) -> Option<SocketId> {
        self.all.get(index).map(|port| port.id)
    }

    /// Something may be there to read, and it is time to look.
    pub(crate) fn is_ready(&self, index: usize, now: Instant) -> bool {
        self.all
            .get(index)
            .is_some_and(|port| port.ready && port.rest_until <= now)
    }

    pub(crate) fn set_ready(&mut self, index: usize, ready: bool) {
        if let Some(port) = self.all.get_mut(index) {
            port.ready = ready;
        }
    }

    /// Leaves a socket alone for a while.
    pub(crate) fn rest(&mut self, index: usize, until: Instant) {
        if let Some(port) = self.all.get_mut(index) {
            port.rest_until = until;
        }
    }

    /// When the next socket has rested.
    pub(crate) fn rested(&self, now: Instant) -> Option<Instant> {
        let resting = self.all.iter().map(|port| port.rest_until);
        resting
            .filter(|until| *until > now && *until != NEVER)
            .min()
    }

    /// The path of a datagram that arrived at this socket.
    pub(crate) fn path(&self, index: usize, arrival: &Arrival<'_>) -> Option<Path> {
        self.all.get(index).map(|port| port.path(arrival))
    }

    pub(crate) fn recv(&self, index: usize, batch: &mut RecvBatch) -> io::Result<usize> {
        match self.all.get(index) {
            Some(port) => port.recv_batch(batch),
            None => Ok(0),
        }
    }

    /// The next report of a datagram that did not arrive.
    pub(crate) fn poll_error(&self, index: usize) -> Option<SendFailure> {
        match self.all.get(index).map(|port| &port.kind) {
            Some(Kind::Unicast { socket, .. }) => socket.poll_error(),
            _ => None,
        }
    }

    /// Marks the sockets where something may be read, among those that have `called`. True: there is one, or one can
    /// send again, which `unblocked` says.
    pub(super) fn poll_ready(
        &mut self,
        now: Instant,
        called: Callers,
        unblocked: &mut bool,
    ) -> bool {
        let mut any = false;
        for port in &mut self.all {
            port.watched &= called & bell::caller(port.id) == 0;
            *unblocked |= port.poll_room();
            if port.rest_until > now {
                continue;
            }
            if !port.ready && !port.watched {
                match port.poll_readable() {
                    Poll::Ready(Ok(())) => port.ready = true,
                    // Only when the runtime shuts down: nothing will come any more.
                    Poll::Ready(Err(_)) => port.rest_until = NEVER,
                    Poll::Pending => port.watched = true,
                }
            }
            any |= port.ready;
        }
        any || *unblocked
    }

    /// Datagrams that the system dropped because a receive buffer was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_before + self.all.iter().map(Port::dropped).sum::<u64>()
    }

    fn unicast(&mut self, id: SocketId) -> Option<(&Arc<UnicastSocket>, &mut Outbox)> {
        let port = self.all.iter_mut().find(|port| port.id == id)?;
        match &mut port.kind {
            Kind::Unicast { socket, out, .. } => Some((socket, out)),
            Kind::Group(_) => None,
        }
    }

    fn close(&mut self, id: SocketId) {
        let Some(at) = self.all.iter().position(|port| port.id == id) else {
            return;
        };
        let mut port = self.all.remove(at);
        self.dropped_before += port.dropped();
        // Left one by one, so that the routers are told before the socket is gone.
        let _ = port.change(|socket| {
            for interface in socket.members().to_vec() {
                let _ = socket.leave(interface);
            }
            Ok(())
        });
    }

    /// A new socket, at which something may be there already.
    fn port(&mut self, kind: Kind) -> Port {
        let id = self.fresh_id();
        Port {
            id,
            kind,
            ready: true,
            watched: false,
            call: self.bell.rope(bell::caller(id)),
            rest_until: Instant::ZERO,
        }
    }

    /// A number that no open socket has, and none had lately.
    fn fresh_id(&mut self) -> SocketId {
        while self.all.iter().any(|port| port.id.0 == self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = SocketId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }
}

impl Port {
    fn is_unicast(&self) -> bool {
        matches!(self.kind, Kind::Unicast { .. })
    }

    /// Is it a socket of this group?
    fn is_of(&self, group: SocketAddr) -> bool {
        match &self.kind {
            Kind::Group(socket) => {
                let own = socket.group();
                own.ip() == group.ip() && own.port() == group.port()
            }
            Kind::Unicast { .. } => false,
        }
    }

    /// Changes the memberships of a group socket.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut GroupSocket) -> Result<T, JoinError>,
    ) -> Result<T, JoinError> {
        let Kind::Group(socket) = &mut self.kind else {
            return Err(JoinError::Os(io::ErrorKind::InvalidInput.into()));
        };
        let result = change(socket);
        self.ready = true;
        result
    }
}

/// How the system is asked to send along a route, from a socket bound to `local`.
///
/// Only a destination that means nothing without an interface, and every group, is tied to one: to others the
/// way back may be another than the way they came. The source is stated only where the socket leaves it open.
fn outgoing(route: &Route, local: SocketAddr) -> Outgoing {
    let address = route.destination.ip();
    let mut outgoing = Outgoing::to(canonical(route.destination)).tagged(route.interface.into());
    if route.interface != 0 && (address.is_multicast() || needs_interface(address)) {
        outgoing = outgoing.through(route.interface);
    }
    if let Some(source) = route.source
        && local.ip().is_unspecified()
        && !source.is_unspecified()
    {
        outgoing = outgoing.from(source);
    }
    outgoing
}
