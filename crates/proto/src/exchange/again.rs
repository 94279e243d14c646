//! A protected request that begins again under another Partial IV, token and Message ID, in the place of a repetition.

use alloc::boxed::Box;
use alloc::vec::Vec;

use antiphon_wire::{Header, Message, MessageId};

use super::{ExchangeId, Exchanges, Owner, UnicastRequest, Unprotected, peer_key, write_request};
use crate::rng::Rng;
use crate::security::Asked;

impl<C: Clone> Exchanges<C> {
    /// For whom a protected request was sent, and what opens the responses to it. `None` as long as it is being protected anew.
    pub(crate) fn may_begin_again(
        &self,
        id: ExchangeId,
    ) -> Option<(&Owner<C>, &UnicastRequest, &Asked)> {
        let exchange = self.table.get(&id)?;
        let asked = exchange.asked.as_deref().filter(|_| !exchange.again)?;
        Some((&exchange.owner, &exchange.unicast, asked))
    }

    /// The request as it is to be protected anew. Until that is done, the message that was sent is the one that counts.
    pub(crate) fn begin_again(&mut self, rng: &mut Rng, id: ExchangeId) -> Option<Unprotected> {
        let fresh = self.fresh_token(rng);
        let exchange = self.table.get_mut(&id)?;
        let instead_of = exchange.mid?;
        exchange.again = true;
        let token = match exchange.owner {
            Owner::Observation(_) => exchange.token,
            _ => fresh,
        };
        let mut message = Vec::new();
        write_request(
            &mut message,
            exchange.kind(),
            MessageId(0),
            token,
            &exchange.unicast.request,
        );
        Some(Unprotected {
            exchange: id,
            message,
            protection: exchange.unicast.protection.clone(),
            peer: exchange.unicast.route.destination,
            instead_of: Some(instead_of),
        })
    }

    /// It is not being protected anew any more. False: that message is not the one that counts.
    pub(crate) fn end_again(&mut self, id: ExchangeId, instead_of: MessageId) -> bool {
        let exchange = self.table.get_mut(&id);
        let Some(exchange) = exchange.filter(|it| it.mid == Some(instead_of)) else {
            return false;
        };
        exchange.again = false;
        true
    }

    /// The request leaves as this message. Responses to what was sent before belong to nothing from now on.
    pub(crate) fn begun_again(&mut self, id: ExchangeId, bytes: &[u8], asked: Option<Box<Asked>>) {
        let (Some(exchange), Ok(message)) = (self.table.get_mut(&id), Message::parse(bytes)) else {
            return;
        };
        let peer = peer_key(exchange.unicast.route.destination);
        if let Some(old) = exchange.mid.replace(message.message_id()) {
            self.by_mid.remove(&(peer, old.0));
        }
        self.by_mid.insert((peer, message.message_id().0), id);
        if !matches!(exchange.owner, Owner::Observation(_)) {
            self.by_token.remove(&exchange.token);
            exchange.token = message.token();
            self.by_token.insert(exchange.token, id);
        }
        exchange.code = Header::peek(bytes).map(|header| header.code);
        exchange.sealed = Some(bytes.to_vec());
        exchange.asked = asked;
    }
}
