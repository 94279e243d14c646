use super::*;
use crate::policy::Access;
use crate::resource::Methods;

use super::admission::is_link_local;
use alloc::borrow::ToOwned;
use alloc::vec;
use core::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use antiphon_wire::{BlockValue, Class, ContentFormat, MessageId, NoResponse, Token, Writer};

use crate::attributes::Attributes;
use crate::config::Profile;
use crate::identity::{GroupTuple, Identity, SecurityGroup};
use crate::membership::{CoapGroupSpec, Interface, Naming, SecurityGroupName};
use crate::message::Options;
use crate::path::SocketId;
use crate::policy::{Amplification, NoSecSources, Permissions, Prefix};

mod access;
mod admission;
mod blocks;
mod discovery;
mod dispatch;
mod etags;
mod exact;
mod groups;
mod policy;

const NOW: Instant = Instant::from_micros(1_000_000);

/// One request, as bytes on the way.
#[derive(Clone)]
struct Ask {
    kind: Type,
    code: Code,
    options: Options,
    payload: Vec<u8>,
    to: SocketAddr,
    from: SocketAddr,
    sender: Sender,
    mode: SecurityMode,
    security_group: Option<&'static str>,
    fresh: bool,
    reachable: bool,
}

/// The identity of a member of the security group "lights" with this credential.
fn member(credential: &str) -> Identity {
    Identity::member("lights", credential.as_bytes())
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A request with this method for this path and query, by unicast.
fn ask(code: Code, target: &str) -> Ask {
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(p, q)| (p, Some(q)));
    let mut options = Options::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        options.push(OptionNumber::URI_PATH, segment.as_bytes());
    }
    for item in query.into_iter().flat_map(|query| query.split('&')) {
        options.push(OptionNumber::URI_QUERY, item.as_bytes());
    }
    Ask {
        kind: Type::Con,
        code,
        options,
        payload: Vec::new(),
        to: address("[fe80::1]:5683"),
        from: address("[fe80::99]:61616"),
        sender: Sender::Unauthenticated,
        mode: SecurityMode::NoSec,
        security_group: None,
        fresh: false,
        reachable: false,
    }
}

fn get(target: &str) -> Ask {
    ask(Code::GET, target)
}

impl Ask {
    /// As a NON to a group.
    fn to(mut self, group: &str) -> Self {
        self.kind = Type::Non;
        self.to = address(group);
        self
    }

    fn from(mut self, peer: &str) -> Self {
        self.from = address(peer);
        self
    }

    fn non(mut self) -> Self {
        self.kind = Type::Non;
        self
    }

    fn con(mut self) -> Self {
        self.kind = Type::Con;
        self
    }

    fn option(mut self, number: OptionNumber, value: &[u8]) -> Self {
        self.options.push(number, value);
        self
    }

    fn uint(mut self, number: OptionNumber, value: u32) -> Self {
        self.options.push_uint(number, value);
        self
    }

    fn no_response(self, value: NoResponse) -> Self {
        self.option(OptionNumber::NO_RESPONSE, value.encode().as_bytes())
    }

    fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// In group mode of the security group "lights" by someone who is known to be fresh and reachable.
    fn proven(self) -> Self {
        self.by("someone")
    }

    /// The same by this member.
    fn by(mut self, credential: &str) -> Self {
        self.sender = Sender::Proven(member(credential));
        self.mode = SecurityMode::Group;
        self.security_group = Some("lights");
        self.fresh = true;
        self.reachable = true;
        self
    }

    fn mode(mut self, mode: SecurityMode) -> Self {
        self.mode = mode;
        self
    }

    fn under(mut self, security_group: &'static str) -> Self {
        self.security_group = Some(security_group);
        self
    }

    /// Nobody knows when it was sent.
    fn stale(mut self) -> Self {
        self.fresh = false;
        self
    }

    /// Nobody knows whether its sender is where it seems to be.
    fn far_away(mut self) -> Self {
        self.reachable = false;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut buffer = vec![0; 4_096];
        let token = Token::new(&[0x86]).unwrap();
        let mut writer =
            Writer::new(&mut buffer, self.kind, self.code, MessageId(0x7d41), token).unwrap();
        self.options.write(&mut writer).unwrap();
        if !self.payload.is_empty() {
            writer.payload(&self.payload).unwrap();
        }
        let length = writer.finish();
        buffer.truncate(length);
        buffer
    }

    fn path(&self) -> Path {
        Path {
            socket: SocketId(1),
            local: self.to,
            interface: 2,
            peer: self.from,
        }
    }
}

/// What became of a request, and the response if there is one.
struct Reply {
    disposition: Disposition,
    response: Response,
}

impl Reply {
    #[track_caller]
    fn response(&self) -> &Response {
        let Disposition::Respond { .. } = self.disposition else {
            panic!("no response: {:?}", self.disposition);
        };
        &self.response
    }

    #[track_caller]
    fn code(&self) -> Code {
        self.response().code
    }

    #[track_caller]
    fn text(&self) -> &str {
        core::str::from_utf8(&self.response().payload).unwrap()
    }

    #[track_caller]
    fn silence(&self) -> SilenceReason {
        match self.disposition {
            Disposition::Silence(reason) => reason,
            _ => panic!("{:?} with {:?}", self.disposition, self.response),
        }
    }

    #[track_caller]
    fn leisure(&self) -> Duration {
        match self.disposition {
            Disposition::Respond { leisure, .. } => leisure,
            _ => panic!("no response: {:?}", self.disposition),
        }
    }
}

impl Server {
    fn ask(&mut self, ask: &Ask) -> Reply {
        self.ask_at(NOW, ask)
    }

    fn ask_at(&mut self, now: Instant, ask: &Ask) -> Reply {
        let bytes = ask.bytes();
        let message = Message::parse(&bytes).unwrap();
        let mut response = Response::new(Code::EMPTY);
        let standing = Standing {
            sender: &ask.sender,
            mode: ask.mode,
            security_group: ask.security_group,
            fresh: ask.fresh,
            reachable: ask.reachable,
            ..Standing::of(&ask.sender)
        };
        let path = ask.path();
        let disposition = self.handle_request_of(now, &path, &standing, &message, &mut response);
        Reply {
            disposition,
            response,
        }
    }

    /// A server on interface 2 with this configuration.
    fn with(config: ServerConfig) -> Self {
        let mut server = Self::new(config, &mut Rng::from_seed([1; 32]));
        server.memberships.set_interface(Interface::new(2)).unwrap();
        server
    }
}

/// A server that states that it is unsecured.
fn server() -> Server {
    Server::with(unsecured())
}

/// Resources may be opened to anyone.
fn unsecured() -> ServerConfig {
    ServerConfig {
        nosec: NoSecPolicy::Stated,
        ..ServerConfig::default()
    }
}

/// A handler that answers with this text, and how often it has run.
fn counted(
    text: &'static str,
) -> (
    impl FnMut(&Incoming<'_>, &mut Response) + Send,
    Arc<AtomicUsize>,
) {
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&runs);
    let handler = move |_: &Incoming<'_>, response: &mut Response| {
        seen.fetch_add(1, Ordering::Relaxed);
        if !text.is_empty() {
            response.payload.extend_from_slice(text.as_bytes());
        }
    };
    (handler, runs)
}

fn says(text: &'static str) -> impl FnMut(&Incoming<'_>, &mut Response) + Send {
    counted(text).0
}

fn runs(count: &AtomicUsize) -> usize {
    count.load(Ordering::Relaxed)
}

/// A resource that anyone may use, with GET and PUT.
fn open(path: &str) -> Resource {
    Resource::at(path)
        .get(says("value"))
        .put(says(""))
        .access(Access::Unsecured)
}

/// All CoAP Nodes of the link: a group that every server with discovery listens to.
const ALL_NODES: &str = "[ff02::fd]:5683";
