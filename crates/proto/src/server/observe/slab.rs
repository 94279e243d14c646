//! Places that are used again, in pieces of equal size: nothing moves when there are more, and little lies idle.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Names one place as long as the same thing is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// So many places are made at a time.
const PIECE: usize = 32;

struct Place<T> {
    generation: u32,
    /// The next free place, if this one is free.
    next: u32,
    value: Option<T>,
}

/// Things in places.
pub(super) struct Slab<T> {
    pieces: Vec<Box<[Place<T>]>>,
    free: u32,
    len: usize,
}

const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// The memory for so many things, at most.
    pub(super) const fn memory_total(things: usize) -> usize {
        (things + PIECE) * size_of::<Place<T>>()
            + 4 * (things / PIECE + 1) * size_of::<Box<[Place<T>]>>()
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Puts something in; nothing if there are more than four thousand million.
    pub(super) fn insert(&mut self, value: T) -> Option<Key> {
        if self.free == NONE {
            let first = u32::try_from(self.pieces.len() * PIECE).ok()?;
            let end = first.checked_add(PIECE as u32)?;
            let places = (first + 1..=end).map(|next| Place {
                generation: 0,
                next: if next == end { NONE } else { next },
                value: None,
            });
            self.pieces.push(places.collect());
            self.free = first;
        }
        let index = self.free;
        let place = self.place_mut(index)?;
        place.generation = place.generation.wrapping_add(1);
        place.value = Some(value);
        let (generation, next) = (place.generation, place.next);
        self.free = next;
        self.len += 1;
        Some(Key { index, generation })
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let free = self.free;
        let place = self.place_mut(key.index)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.next = free;
        self.free = key.index;
        self.len -= 1;
        Some(value)
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let place = self.place(key.index)?;
        let same = place.generation == key.generation;
        place.value.as_ref().filter(|_| same)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.place_mut(key.index)?;
        let same = place.generation == key.generation;
        place.value.as_mut().filter(|_| same)
    }

    /// What is in a place now, whatever was there before.
    pub(super) fn at(&self, index: u32) -> Option<&T> {
        self.place(index)?.value.as_ref()
    }

    /// The name of what is in a place now.
    pub(super) fn key(&self, index: u32) -> Option<Key> {
        let place = self.place(index)?;
        place.value.as_ref()?;
        Some(Key {
            index,
            generation: place.generation,
        })
    }

    /// How many places there are: things have smaller indices.
    pub(super) fn places(&self) -> usize {
        self.pieces.len() * PIECE
    }

    /// All that is there.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let all = self.pieces.iter().flatten().zip(0..);
        all.filter(|(place, _)| place.value.is_some())
            .map(|(place, index)| Key {
                index,
                generation: place.generation,
            })
    }

    fn place(&self, index: u32) -> Option<&Place<T>> {
        let index = index as usize;
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        let index = index as usize;
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_name() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..70).filter_map(|n| slab.insert(n)).collect();
        assert_eq!(slab.len(), 70);
        assert_eq!(slab.pieces.len(), 3);
        for (n, key) in (0..).zip(&keys) {
            assert_eq!((key.index, slab.get(*key)), (n, Some(&n)));
        }
        assert_eq!(slab.remove(keys[33]), Some(33));
        assert_eq!(slab.remove(keys[33]), None);
        assert_eq!((slab.len(), slab.at(33), slab.key(33)), (69, None, None));
        assert_eq!(slab.remove(keys[5]), Some(5));
        let again = slab.insert(100).unwrap();
        assert_eq!(again.index, 5, "the last place that came free");
        assert_eq!(slab.get(keys[5]), None);
        assert_eq!(slab.get_mut(keys[5]), None);
        assert_eq!(slab.remove(keys[5]), None);
        assert_eq!((slab.get(again), slab.at(5)), (Some(&100), Some(&100)));
        assert_eq!(slab.key(5), Some(again));
        assert_eq!(slab.keys().count(), 69);
        assert!(slab.keys().all(|key| key.index != 33));
        let next = slab.insert(7).unwrap();
        assert_eq!(next.index, 33);
        assert_eq!(
            slab.insert(8).map(|key| key.index),
            Some(70),
            "the next of its piece"
        );
        assert_eq!(slab.at(2_000), None);
    }

    #[test]
    fn the_stated_memory_is_enough() {
        for things in [0, 1, 31, 32, 33, 1_000] {
            let mut slab = Slab::new();
            for n in 0..things {
                slab.insert(n as u64).unwrap();
            }
            let held = slab.pieces.len() * PIECE * size_of::<Place<u64>>()
                + slab.pieces.capacity() * size_of::<Box<[Place<u64>]>>();
            let stated = Slab::<u64>::memory_total(things);
            assert!(held <= stated, "{things}: {held} > {stated}");
            assert!(stated < held + 2_048, "{things}: {held} and {stated}");
        }
    }
}
