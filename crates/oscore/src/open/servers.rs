//! The order of the responses of each server to one request.

use alloc::collections::BTreeMap;

use crate::context::CredentialHash;
use crate::replay::ResponseOrder;

/// The servers whose responses were taken. The first needs no memory of its own: in most exchanges there is only one.
#[derive(Default)]
pub(crate) struct Servers {
    first: Option<(CredentialHash, ResponseOrder)>,
    more: BTreeMap<CredentialHash, ResponseOrder>,
}

impl Servers {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(crate) fn get(&self, server: CredentialHash) -> Option<&ResponseOrder> {
        match &self.first {
            Some((first, order)) if *first == server => Some(order),
            _ => self.more.get(&server),
        }
    }

    pub(crate) fn get_mut(&mut self, server: CredentialHash) -> Option<&mut ResponseOrder> {
        match &mut self.first {
            Some((first, order)) if *first == server => Some(order),
            _ => self.more.get_mut(&server),
        }
    }

    /// Adds one that is not there.
    pub(crate) fn insert(&mut self, server: CredentialHash, order: ResponseOrder) {
        match self.first {
            None => self.first = Some((server, order)),
            Some(_) => {
                self.more.insert(server, order);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &ResponseOrder> {
        let first = self.first.iter().map(|(_, order)| order);
        first.chain(self.more.values())
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut ResponseOrder> {
        let first = self.first.iter_mut().map(|(_, order)| order);
        first.chain(self.more.values_mut())
    }
}
