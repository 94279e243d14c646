//! Links: of discovery, and of resources that are represented by what lies below them.

use antiphon_wire::{Code, Message, OptionNumber};

use super::Server;
use super::admission::is_marked;
use crate::discovery::{self, Query};
use crate::message::Response;
use crate::path::Path;
use crate::resource::ResourceId;

impl Server {
    /// Answers discovery, or a resource whose representation is the links below it.
    pub(super) fn write_links(
        &mut self,
        id: ResourceId,
        message: &Message<'_>,
        path: &Path,
        response: &mut Response,
    ) {
        if !message.payload().is_empty() {
            response.reset(Code::UNSUPPORTED_CONTENT_FORMAT);
            return;
        }
        let Some(entry) = self.resources.get(id) else {
            return;
        };
        let coap = self.memberships.membership(path.local, path.interface);
        let below = match self.discovery == Some(id) {
            true => None,
            false => Some(entry),
        };
        let query = Query {
            message,
            below,
            coap: coap.filter(|_| path.is_multicast()),
            port: path.local.port(),
            host: below
                .and_then(|entry| entry.resource.host.as_deref())
                .or_else(|| {
                    let host = message.option(OptionNumber::URI_HOST)?;
                    self.resources.virtual_server_named(host)
                }),
            is_marked: &|resource| is_marked(&self.config, resource),
        };
        response.options.push_uint(
            OptionNumber::CONTENT_FORMAT,
            u32::from(antiphon_wire::ContentFormat::LINK_FORMAT.0),
        );
        discovery::write(
            &query,
            &self.resources,
            &self.memberships,
            &mut self.scratch,
            &mut response.payload,
        );
    }
}
