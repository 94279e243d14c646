//! The table of resources, looked up by host and path without allocation.

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};

use antiphon_wire::Code;
use hashbrown::HashTable;

use super::{Entry, Operation, ResourceId};
use crate::rng::KeyedHash;

/// The resources of one server. Their hash is keyed, so that nobody can choose paths that collide.
pub(crate) struct Resources {
    slots: Vec<Slot>,
    table: HashTable<u32>,
    hash: KeyedHash,
    /// How many resources belong to a virtual server.
    pub(crate) virtual_servers: usize,
}

struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

impl Resources {
    pub(crate) fn new(hash: KeyedHash) -> Self {
        Self {
            slots: Vec::new(),
            table: HashTable::new(),
            hash,
            virtual_servers: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> ResourceId {
        let free = self.slots.iter().position(|slot| slot.entry.is_none());
        let hash = self.hash_of(&entry);
        self.virtual_servers += usize::from(entry.resource.host.is_some());
        let at = match free {
            Some(at) => at,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    entry: None,
                });
                self.slots.len() - 1
            }
        };
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(at) {
            slot.generation = slot.generation.wrapping_add(1);
            generation = slot.generation;
            slot.entry = Some(entry);
        }
        let (slots, hasher) = (&self.slots, &self.hash);
        self.table.insert_unique(hash, index, |index| {
            slot_entry(slots, *index).map_or(0, |entry| hash_entry(hasher, entry))
        });
        ResourceId { index, generation }
    }

    pub(crate) fn remove(&mut self, id: ResourceId) -> bool {
        let Some(entry) = self.get(id) else {
            return false;
        };
        let hash = self.hash_of(entry);
        self.virtual_servers -= usize::from(entry.resource.host.is_some());
        if let Ok(found) = self.table.find_entry(hash, |index| *index == id.index) {
            found.remove();
        }
        if let Some(slot) = self.slots.get_mut(id.index as usize) {
            slot.entry = None;
        }
        true
    }

    pub(crate) fn get(&self, id: ResourceId) -> Option<&Entry> {
        let slot = self.slots.get(id.index as usize)?;
        slot.entry
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: ResourceId) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.entry
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn operation(&mut self, id: ResourceId, method: Code) -> Option<&mut Operation> {
        let entry = self.get_mut(id)?;
        let found = entry
            .resource
            .operations
            .iter_mut()
            .find(|(methods, _)| methods.contains(method));
        found.map(|(_, operation)| operation)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ResourceId, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let id = ResourceId {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                generation: slot.generation,
            };
            slot.entry.as_ref().map(|entry| (id, entry))
        })
    }

    /// The resource of this host and path that `accept` takes.
    pub(crate) fn find<'p>(
        &self,
        host: Option<&[u8]>,
        path: impl Iterator<Item = &'p [u8]> + Clone,
        accept: impl Fn(&Entry) -> bool,
    ) -> Option<ResourceId> {
        let hash = hash_path(&self.hash, path.clone());
        let index = self.table.find(hash, |index| {
            slot_entry(&self.slots, *index)
                .is_some_and(|entry| entry.is_at(host, path.clone()) && accept(entry))
        })?;
        let slot = self.slots.get(*index as usize)?;
        Some(ResourceId {
            index: *index,
            generation: slot.generation,
        })
    }

    pub(crate) fn has_virtual_server(&self, host: &[u8]) -> bool {
        self.virtual_server_named(host).is_some()
    }

    pub(crate) fn virtual_server_named(&self, host: &[u8]) -> Option<&str> {
        self.iter()
            .filter_map(|(_, entry)| entry.resource.host.as_deref())
            .find(|name| name.as_bytes().eq_ignore_ascii_case(host))
    }

    fn hash_of(&self, entry: &Entry) -> u64 {
        hash_entry(&self.hash, entry)
    }
}

fn slot_entry(slots: &[Slot], index: u32) -> Option<&Entry> {
    slots.get(index as usize)?.entry.as_ref()
}

fn hash_entry(hash: &KeyedHash, entry: &Entry) -> u64 {
    hash_path(hash, entry.resource.path.iter().map(String::as_bytes))
}

/// Hashes segments with their lengths, so that `a/b` and `ab` differ.
fn hash_path<'p>(hash: &KeyedHash, path: impl Iterator<Item = &'p [u8]>) -> u64 {
    let mut hasher = hash.build_hasher();
    for segment in path {
        hasher.write_usize(segment.len());
        hasher.write(segment);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_path_has_another_hash() {
        let hash = crate::rng::Rng::from_seed([9; 32]).keyed_hash();
        let of = |path: &[&str]| hash_path(&hash, path.iter().map(|segment| segment.as_bytes()));
        let mut hashes = [
            of(&[]),
            of(&[""]),
            of(&["a"]),
            of(&["b"]),
            of(&["ab"]),
            of(&["a", "b"]),
            of(&["a", "b", ""]),
        ];
        assert_eq!(of(&["a", "b"]), hashes[5]);
        hashes.sort_unstable();
        assert!(hashes.windows(2).all(|two| two[0] != two[1]));
    }
}
