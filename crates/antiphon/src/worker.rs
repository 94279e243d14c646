//! What the endpoint hands out to be done: joining and leaving groups, the slow work of security, and requests for async handlers.
//!
//! Joins and leaves are system calls of some microseconds and are done at once. What computes or waits for long, as verifying,
//! signing and writing to a store, goes to threads ([`desk`], [`pool`]). Async handlers are tasks of their own,
//! bounded in number; what exceeds the bound waits, and the endpoint bounds how much can wait.

use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use antiphon_proto::{
    Arrival, Endpoint, IncomingId, Methods, Request, ResourceId, Response, SocketId, SocketInfo,
    Task, WorkFailure, WorkResult,
};
use antiphon_wire::Code;
use tokio::task::{Id, JoinSet};

use crate::driver::ports::Ports;
use crate::egress;
use crate::socket::JoinError;

pub(crate) mod desk;
pub(crate) mod pool;

/// What became of joins and leaves lately, in the system's words.
#[derive(Debug, Default)]
pub(crate) struct Listened {
    failures: Vec<(SocketAddr, u32, JoinError)>,
}

impl Listened {
    /// Takes the failures since the last call.
    pub(crate) fn take_failures(&mut self) -> Vec<(SocketAddr, u32, JoinError)> {
        core::mem::take(&mut self.failures)
    }

    fn failed(&mut self, group: SocketAddr, interface: u32, error: JoinError) -> WorkResult {
        const KEPT: usize = 64;
        let code = code(&error);
        if self.failures.len() < KEPT {
            self.failures.push((group, interface, error));
        }
        WorkResult::Failed(WorkFailure::System(code))
    }
}

/// Does one piece of work on the sockets. `open`: the driver is not shutting down. `None`: it is no such work.
pub(crate) fn perform(
    task: &Task,
    open: bool,
    ports: &mut Ports,
    endpoint: &mut Endpoint,
    listened: &mut Listened,
) -> Option<WorkResult> {
    Some(match *task {
        Task::Join { .. } if !open => WorkResult::Failed(WorkFailure::System(0)),
        Task::Join { group, interface } => match join(ports, group, interface) {
            Ok(socket) => {
                if let Some((id, info)) = socket {
                    endpoint.add_socket(id, info);
                }
                WorkResult::Done
            }
            Err(error) => listened.failed(group, interface, error),
        },
        Task::Leave { group, interface } => match ports.leave(group, interface) {
            Ok(closed) => {
                if let Some(id) = closed {
                    endpoint.remove_socket(id);
                }
                WorkResult::Done
            }
            // Nothing is heard there, which is what was wanted.
            Err(JoinError::NotMember(_)) => WorkResult::Done,
            Err(error) => listened.failed(group, interface, error),
        },
        _ => return None,
    })
}

/// Joins, unless the interface is set up not to carry multicast: Linux would join there and hear nothing.
fn join(
    ports: &mut Ports,
    group: SocketAddr,
    interface: u32,
) -> Result<Option<(SocketId, SocketInfo)>, JoinError> {
    if let Err(error) = egress::carries_multicast(interface) {
        return Err(JoinError::Os(io::Error::new(
            io::ErrorKind::Unsupported,
            error.to_string(),
        )));
    }
    ports.join(group, interface)
}

/// The system's error number, where there is one.
fn code(error: &JoinError) -> i32 {
    const ENODEV: i32 = 19;
    match error {
        JoinError::Os(error) => error.raw_os_error().unwrap_or(0),
        JoinError::NoSuchInterface(_) if cfg!(unix) => ENODEV,
        _ => 0,
    }
}

/// A request as an async handler gets it: its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Method, options and payload.
    pub request: Request,
    /// Through which group, address and interface it came, and who is proven to have sent it.
    pub arrival: Arrival,
    /// The resource it is for.
    pub resource: ResourceId,
}

/// Answers requests in its own time. The response goes out when the future ends: piggybacked if that is soon, else separately.
///
/// Every function from [`Asked`] to a future of a [`Response`] is one. A response with [`Code::EMPTY`] means that
/// there is nothing to say. If the future panics, 5.00 is the response.
pub trait AsyncHandler: Send + Sync + 'static {
    /// Begins to process a request.
    fn handle(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Response> + Send>>;
}

impl<F, R> AsyncHandler for F
where
    F: Fn(Asked) -> R + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    fn handle(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        Box::pin(self(asked))
    }
}

/// The async handlers of one resource.
pub(crate) type AsyncHandlers = Vec<(Methods, Arc<dyn AsyncHandler>)>;

/// The async handlers of an endpoint, and those that run.
pub(crate) struct Handlers {
    table: HashMap<ResourceId, AsyncHandlers>,
    running: JoinSet<Response>,
    /// Which request each task answers.
    requests: HashMap<Id, IncomingId>,
    limit: usize,
    waiting: VecDeque<(IncomingId, Arc<dyn AsyncHandler>, Asked)>,
    done: VecDeque<(IncomingId, Response)>,
    panicked: u64,
}

impl Handlers {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            table: HashMap::new(),
            running: JoinSet::new(),
            requests: HashMap::new(),
            limit: limit.max(1),
            waiting: VecDeque::new(),
            done: VecDeque::new(),
            panicked: 0,
        }
    }

    pub(crate) fn add(&mut self, resource: ResourceId, handlers: AsyncHandlers) {
        if !handlers.is_empty() {
            self.table.insert(resource, handlers);
        }
    }

    pub(crate) fn remove(&mut self, resource: ResourceId) {
        self.table.remove(&resource);
    }

    /// Begins to process a request, now or when another one is done. Returns the response if nobody can.
    pub(crate) fn start(
        &mut self,
        incoming: IncomingId,
        resource: ResourceId,
        request: Request,
        arrival: Arrival,
    ) -> Option<Response> {
        let handlers = self.table.get(&resource).into_iter().flatten();
        let mut fits = handlers.filter(|(methods, _)| methods.contains(request.method));
        let Some((_, handler)) = fits.next() else {
            return Some(Response::new(Code::NOT_IMPLEMENTED));
        };
        let handler = Arc::clone(handler);
        let asked = Asked {
            request,
            arrival,
            resource,
        };
        match self.running.len() < self.limit {
            true => self.spawn(incoming, &handler, asked),
            false => self.waiting.push_back((incoming, handler, asked)),
        }
        None
    }

    fn spawn(&mut self, incoming: IncomingId, handler: &Arc<dyn AsyncHandler>, asked: Asked) {
        let handler = Arc::clone(handler);
        // The call itself is part of the task, so that a panic in it is caught as well.
        let task = self
            .running
            .spawn(async move { handler.handle(asked).await });
        self.requests.insert(task.id(), incoming);
    }

    /// Looks for handlers that are done. True: there is a response to be fetched.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(joined)) = self.running.poll_join_next_with_id(cx) {
            let (id, response) = match joined {
                Ok((id, response)) => (id, response),
                Err(error) => {
                    self.panicked += 1;
                    tracing::error!(%error, "a handler failed");
                    (error.id(), Response::new(Code::INTERNAL_SERVER_ERROR))
                }
            };
            if let Some(incoming) = self.requests.remove(&id) {
                self.done.push_back((incoming, response));
            }
            if let Some((incoming, handler, asked)) = self.waiting.pop_front() {
                self.spawn(incoming, &handler, asked);
            }
        }
        !self.done.is_empty()
    }

    /// The next response.
    pub(crate) fn finished(&mut self) -> Option<(IncomingId, Response)> {
        self.done.pop_front()
    }

    /// No handler runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.done.is_empty()
    }

    /// Handlers that panicked.
    pub(crate) fn panicked(&self) -> u64 {
        self.panicked
    }

    /// Ends what still runs, and waits until it has ended.
    pub(crate) async fn abort(&mut self) {
        self.waiting.clear();
        self.running.shutdown().await;
    }
}
