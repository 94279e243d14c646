//! The entity tags of a request: ETag, and Multi-ETag for this server.

use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{Message, MultiEtag, OptionNumber};

use super::asked::Asked;
use super::{ETAGS_KEPT, Server};
use crate::path::Path;
use crate::resource::ETag;

impl Server {
    /// Tells the server at which unicast addresses and ports it can be reached, instead of what was said before. A
    /// Multi-ETag is for this server when it has one of them, or the address that a unicast request came to.
    pub fn set_addresses(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.addresses = addresses.into_iter().map(plain).collect();
    }

    /// Where the server was told that it can be reached.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The entity tags that a response is compared with, each with its length before it.
    ///
    /// Multi-ETag (groupcomm-bis seed -03, section 3.2.2.3): ignored beside ETag, and ETag beside it; ignored when it is
    /// malformed, for another server, or there twice for this one.
    pub(super) fn etags(&self, asked: &Asked<'_>, message: &Message<'_>, path: &Path) -> Vec<u8> {
        let mut etags = Vec::new();
        let mut keep = |tag: ETag| {
            etags.push(tag.as_bytes().len() as u8);
            etags.extend_from_slice(tag.as_bytes());
        };
        match (asked.etag, asked.multi_etag) {
            (true, false) => {
                let tags = message.options_of(OptionNumber::ETAG);
                let tags = tags.filter_map(ETag::new);
                tags.take(ETAGS_KEPT).for_each(&mut keep);
            }
            (false, true) => {
                let mut own = message
                    .options_of(OptionNumber::MULTI_ETAG)
                    .filter_map(|value| MultiEtag::parse(value).ok())
                    .filter(|multi| self.is_own(path, multi.server()));
                if let (Some(multi), None) = (own.next(), own.next()) {
                    let tags = multi.tags().filter_map(ETag::new);
                    tags.take(ETAGS_KEPT).for_each(&mut keep);
                }
            }
            (true, true) | (false, false) => {}
        }
        etags
    }

    fn is_own(&self, path: &Path, server: SocketAddr) -> bool {
        let server = plain(server);
        self.addresses.contains(&server) || (!path.is_multicast() && plain(path.local) == server)
    }
}

/// Without flow label and scope, and IPv4 as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
