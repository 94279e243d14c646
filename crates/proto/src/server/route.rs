//! The route of a request: through which group it came, what it is for, whether its sender may, and what does it.

use super::*;
use crate::identity::GroupTuple;

impl Server {
    /// The route of a request; `again` if that of an observer is processed once more.
    pub(super) fn route(
        &mut self,
        now: Instant,
        path: &Path,
        standing: &Standing<'_>,
        message: &Message<'_>,
        response: &mut Response,
        again: Option<ObserverId>,
    ) -> Outcome {
        let sender = standing.sender;
        let reachable = match again {
            Some(_) => standing.reachable,
            None => self.is_reachable(now, path.peer, standing, message),
        };
        let method = message.code();
        let coap = match self.came_through(path, sender, message) {
            Ok(coap) => coap,
            Err(reason) => return Outcome::Silence(reason),
        };

        let mut asked = Asked::read(message, &[]);
        if coap.is_some() && (asked.block1.is_some() || asked.q_block) {
            return Outcome::Silence(SilenceReason::BlockwiseGroupRequest);
        }
        let uri = RequestUri::new(message, path.local);
        let target = self.target(coap, &uri, asked.host);
        if asked.unrecognised.is_some()
            && let Target::Found { id, .. } = target
            && let Some(entry) = self.resources.get(id)
            && !entry.resource.recognised.is_empty()
        {
            asked = Asked::read(message, &entry.resource.recognised);
        }
        let asking = Asking {
            coap,
            path,
            standing,
            reachable,
            echo: self.echo(now, path, standing),
            message,
            asked: &asked,
        };
        let unmatched = || self.context(&asking, &self.config.unmatched);
        if let Some(outcome) = self.not_understood(&asking, response) {
            return outcome;
        }
        let (id, application) = match target {
            Target::Found { id, application } => (id, application),
            // Which names there are is nothing for those who prove nothing, where nothing is open to them.
            Target::NotFound if !sender.is_proven() && self.config.nosec != NoSecPolicy::Stated => {
                let reason = SilenceReason::NotSecured;
                return turn_away(response, unmatched(), reason, NEEDS_SECURITY);
            }
            Target::NotFound => return refuse(response, unmatched(), Code::NOT_FOUND, ""),
            Target::Silence(reason) => return Outcome::Silence(reason),
        };
        let discovery = self.discovery == Some(id);
        let Some(entry) = self.entry(id, again) else {
            return refuse(response, unmatched(), Code::NOT_FOUND, "");
        };
        let resource = &entry.resource;

        match coap {
            Some(coap) => {
                if let Err(reason) = self.is_for_group(now, coap, resource, discovery, standing) {
                    return Outcome::Silence(reason);
                }
            }
            None if discovery && self.config.discoverable == Discoverable::Off => {
                return refuse(response, unmatched(), Code::NOT_FOUND, "");
            }
            None => {}
        }
        let mut context = self.context(&asking, &resource.group_policy);
        context.tagged = resource.tagged;
        let group = match self.admission(&asking, entry, (id, application), again.is_some()) {
            Ok(group) => group,
            Err(denied) => return denied.outcome(context, response),
        };
        if !resource.methods.contains(method) {
            return refuse(response, context, Code::METHOD_NOT_ALLOWED, "");
        }
        if let Some((code, text)) = negotiate(resource, &asked, message) {
            return refuse(response, context, code, text);
        }
        // What is observed is the whole: further blocks of it are asked for apart (RFC 7959 section 2.6).
        let observable = resource.observable && asked.block2.is_none_or(|block| block.num() == 0);
        let part = Part::of(path, standing, message);
        let blocks = self.take_blocks(now, &part, &asked, &mut context, response);
        let assembled = match &blocks {
            Blocks::Answered => return Outcome::Processed(context),
            Blocks::Assembled(bytes) => Message::parse(bytes).ok(),
            Blocks::Whole => None,
        };
        let request = assembled.as_ref().unwrap_or(message);

        if observable {
            let asks = Asks::new(path, sender, reachable, request, id);
            self.observers
                .note(now, &asks, asked.observe, again, &mut context);
        }
        let arrival = Arrival {
            at: now,
            path: *path,
            group,
            sender: sender.clone(),
            mode: standing.mode,
        };
        if self.operate(id, request, &arrival, standing, again.is_some(), response) {
            return Outcome::Processed(context);
        }
        context.operation = self.note(&part);
        Outcome::Deferred(Box::new(Deferred {
            resource: id,
            arrival,
            context,
            assembled: match blocks {
                Blocks::Assembled(bytes) => Some(bytes),
                _ => None,
            },
        }))
    }

    /// Through which group a request came, if it did so by multicast.
    fn came_through(
        &self,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) -> Result<Option<&CoapGroup>, SilenceReason> {
        if path.is_multicast() && message.kind() != Type::Non {
            return Err(SilenceReason::ConfirmableMulticast);
        }
        if !message.code().is_request() {
            return Err(SilenceReason::NotARequest);
        }
        if !path.is_multicast() {
            return Ok(None);
        }
        let group = self.memberships.membership(path.local, path.interface);
        let group = group.ok_or(SilenceReason::NotAMember)?;
        match sender.is_proven() || self.takes_source(path.peer) {
            true => Ok(Some(group)),
            false => Err(SilenceReason::PublicSource),
        }
    }

    /// What becomes of a request with a critical option that is not recognised, or for a proxy; `None`: it has neither.
    fn not_understood(&self, asking: &Asking<'_, '_>, response: &mut Response) -> Option<Outcome> {
        let unmatched = || self.context(asking, &self.config.unmatched);
        if asking.asked.unrecognised.is_some() {
            // RFC 7252 section 5.4.1: a CON is answered, anything else is rejected without a response.
            return Some(match asking.message.kind() {
                Type::Con => {
                    let text = "unrecognised critical option";
                    refuse(response, unmatched(), Code::BAD_OPTION, text)
                }
                _ => Outcome::Silence(SilenceReason::CriticalOption),
            });
        }
        asking.asked.proxy.then(|| match asking.coap {
            Some(_) => Outcome::Silence(SilenceReason::Proxy),
            None => refuse(response, unmatched(), Code::PROXYING_NOT_SUPPORTED, ""),
        })
    }

    /// Whether the resource may be used through this group at all.
    fn is_for_group(
        &self,
        now: Instant,
        coap: &CoapGroup,
        resource: &Resource,
        discovery: bool,
        standing: &Standing<'_>,
    ) -> Result<(), SilenceReason> {
        if !resource.group_policy.is_supported() {
            return Err(SilenceReason::NotForGroups);
        }
        if discovery {
            return self.is_discoverable(now, coap, standing);
        }
        match standing.sender.is_proven() || coap.security() == &GroupSecurity::NoSec {
            true => Ok(()),
            false => Err(SilenceReason::NotSecured),
        }
    }

    /// Whether a request is processed: its sender is proven, permitted, fresh and reachable as far as that is demanded.
    /// Through which groups it came, if it did.
    fn admission(
        &self,
        asking: &Asking<'_, '_>,
        entry: &Entry,
        (id, application): (ResourceId, Option<ApplicationGroupId>),
        again: bool,
    ) -> Result<Option<GroupTuple>, Denied> {
        let (standing, resource) = (asking.standing, &entry.resource);
        let method = asking.message.code();
        let proven = standing.sender.is_proven();
        let discovery = self.discovery == Some(id);
        let admission = Admission::of(
            Known {
                proven,
                fresh: standing.fresh,
                reachable: asking.reachable,
            },
            Demanded {
                proof: !self.allows_nosec(discovery, &resource.access, method),
                freshness: resource.fresh.contains(method),
                reachability: self.demands_reachability(resource, asking),
            },
        );
        if admission == Admission::Refuse {
            let reason = SilenceReason::NotSecured;
            return Err(Denied::TurnedAway(reason, NEEDS_SECURITY));
        }
        let group = asking
            .coap
            .map(|coap| self.tuple(coap, application, standing));
        if proven {
            self.is_allowed(asking, entry, (id, application, group.as_ref()))?;
        }
        if member::is_for_others(resource, asking.message, standing) {
            return Err(Denied::ForOthers);
        }
        match admission {
            Admission::Challenge if !again => Err(Denied::Challenged),
            _ => Ok(group),
        }
    }

    /// Whether a proven sender may do this: in this security group, in this mode, with this resource.
    fn is_allowed(
        &self,
        asking: &Asking<'_, '_>,
        entry: &Entry,
        (id, application, group): (ResourceId, Option<ApplicationGroupId>, Option<&GroupTuple>),
    ) -> Result<(), Denied> {
        let (coap, standing) = (asking.coap, asking.standing);
        let method = asking.message.code();
        if !self.is_paired(coap, application, entry, standing) {
            let text = "not by this security group";
            return Err(Denied::TurnedAway(SilenceReason::OtherSecurityGroup, text));
        }
        let by_unicast = self.config.group_mode_by_unicast;
        if coap.is_none() && is_redirected(by_unicast, standing.mode, method) {
            return Err(Denied::Redirected);
        }
        let request = AccessRequest {
            sender: standing.sender,
            method,
            resource: id,
            mode: standing.mode,
            group,
        };
        match is_permitted(&entry.resource, &request) {
            true => Ok(()),
            false => Err(Denied::TurnedAway(SilenceReason::NotPermitted, "")),
        }
    }

    /// Does what is asked; `false`: whoever handles it answers later.
    fn operate(
        &mut self,
        id: ResourceId,
        request: &Message<'_>,
        arrival: &Arrival,
        standing: &Standing<'_>,
        notification: bool,
        response: &mut Response,
    ) -> bool {
        let (method, path) = (request.code(), &arrival.path);
        self.counters.handled += 1;
        response.reset(success(method));
        match self.resources.operation(id, method) {
            Some(Operation::Inline(handler)) => {
                let incoming = Incoming {
                    message: request,
                    arrival,
                    resource: id,
                    notification,
                };
                handler.handle(&incoming, response);
            }
            Some(Operation::Deferred) => return false,
            Some(Operation::Discovery | Operation::Links) => {
                self.write_links(id, request, path, response);
            }
            Some(Operation::MemberAddress) => member::write(path, standing, response),
            None => response.reset(Code::METHOD_NOT_ALLOWED),
        }
        true
    }
}

/// Why a request is not processed.
enum Denied {
    /// With this reason, where it is told at all.
    TurnedAway(SilenceReason, &'static str),
    /// A proven sender is to ask in pairwise mode.
    Redirected,
    /// It is meant for other members: here it finds nothing.
    ForOthers,
    /// Its sender is to send an Echo value back first.
    Challenged,
}

impl Denied {
    fn outcome(self, context: Context, response: &mut Response) -> Outcome {
        match self {
            Self::TurnedAway(reason, text) => turn_away(response, context, reason, text),
            Self::Redirected => {
                let text = "not in group mode by unicast";
                refuse(response, context, Code::UNAUTHORIZED, text)
            }
            Self::ForOthers if context.group => Outcome::Silence(SilenceReason::Handler),
            Self::ForOthers => refuse(response, context, Code::NOT_FOUND, ""),
            Self::Challenged => Outcome::Challenge(context),
        }
    }
}
