//! What stands in the place of `client` in an image without that feature: an endpoint that only serves has sent no
//! request, and a response belongs to nothing.

use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{Message, MessageId, Type};

use super::{Endpoint, EndpointConfig, Load};
use crate::config::Transmission;
use crate::event::{Event, ExchangeId};
use crate::failure::{Failure, SendError};
use crate::path::{Path, Route, SocketId};
use crate::rng::Rng;
use crate::time::Instant;

#[cfg(feature = "oscore")]
pub(super) use secured::{Heard, Question};

/// Nothing.
pub(super) struct Client;

impl Client {
    pub(super) fn new(_: &EndpointConfig, _: &mut Rng) -> Self {
        Self
    }

    pub(super) fn has_sent(&self, _: &Path, _: &Message<'_>) -> bool {
        false
    }

    pub(super) fn quoted(&self, _: SocketId, _: SocketAddr, _: &[u8]) -> Option<ExchangeId> {
        None
    }

    pub(super) fn set_transmission(&mut self, _: Instant, _: &Transmission) {}

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        None
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        None
    }

    pub(super) fn load(&self) -> Load {
        Load::default()
    }
}

impl Endpoint {
    pub(super) fn prepare(&mut self, now: Instant) {
        self.notify_observers(now);
    }

    pub(super) fn handle_client_timeout(&mut self, _: Instant) {}

    pub(super) fn begins_again(&mut self, _: Instant, _: ExchangeId) -> bool {
        false
    }

    #[cfg(feature = "oscore")]
    pub(super) fn heard_from(&mut self, _: Instant, _: SocketAddr, _: &crate::identity::Sender) {}

    pub(super) fn not_sent(&mut self, _: Instant, _: &Route, _: SendError) {}

    pub(super) fn poll_request(&mut self, _: Instant, _: &mut Vec<u8>) -> Option<Route> {
        None
    }

    pub(super) fn request_acknowledged(&mut self, _: Instant, _: ExchangeId) {}

    pub(super) fn request_reset(&mut self, _: Instant, _: SocketAddr, _: MessageId) -> bool {
        false
    }

    pub(super) fn fail(&mut self, _: Instant, _: ExchangeId, _: Failure) {}

    pub(super) fn handle_response(&mut self, _: Instant, path: &Path, message: &Message<'_>) {
        match message.kind() {
            Type::Rst => self.counters.malformed += 1,
            _ => self.reject_response(path, message),
        }
    }
}

#[cfg(feature = "oscore")]
mod secured {
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use core::net::SocketAddr;

    use antiphon_oscore::{JobResult, Opening, ProtectError, Protecting};
    use antiphon_wire::Message;

    use crate::endpoint::Endpoint;
    use crate::security::{Asked, GroupId, NotProtected};
    use crate::time::Instant;

    /// Nothing that is heard is a response.
    #[derive(Clone, Copy)]
    pub(in crate::endpoint) enum Heard {}

    /// Nothing is asked.
    pub(in crate::endpoint) enum Question {}

    impl Question {
        pub(in crate::endpoint) fn peer(&self) -> SocketAddr {
            match *self {}
        }

        pub(in crate::endpoint) fn len(&self) -> usize {
            match *self {}
        }
    }

    impl Endpoint {
        pub(in crate::endpoint) fn end_asked_in(&mut self, _: Instant, _: GroupId) {}

        pub(in crate::endpoint) fn review_cached(&mut self) {}

        pub(in crate::endpoint) fn open_again(
            &mut self,
            _: Instant,
            heard: Heard,
            _: &Message<'_>,
        ) {
            match heard {}
        }

        pub(in crate::endpoint) fn finish_response(
            &mut self,
            _: Instant,
            heard: Heard,
            _: Box<Opening>,
            _: JobResult,
        ) {
            match heard {}
        }

        pub(in crate::endpoint) fn protect_question(
            &mut self,
            _: Instant,
            question: &Question,
        ) -> Result<Protecting, ProtectError> {
            match *question {}
        }

        pub(in crate::endpoint) fn question_protected(
            &mut self,
            _: Instant,
            question: &Question,
            _: Vec<u8>,
            _: Option<Box<Asked>>,
        ) {
            match *question {}
        }

        pub(in crate::endpoint) fn question_not_protected(
            &mut self,
            _: Instant,
            question: &Question,
            _: NotProtected,
        ) {
            match *question {}
        }
    }
}
