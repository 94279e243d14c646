use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::*;

fn present(set: &BlockSet) -> Vec<u32> {
    (0..set.total() + 9)
        .filter(|block| set.contains(*block))
        .collect()
}

/// All that one step after the other finds.
fn walk(next: impl Fn(u32) -> Option<u32>) -> Vec<u32> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(block) = next(from) {
        found.push(block);
        from = block + 1;
    }
    found
}

#[test]
fn blocks_are_bits_from_the_least_significant() {
    let mut set = BlockSet::new(10);
    assert!(set.insert(0) && set.insert(9) && set.insert(3));
    assert!(!set.insert(3), "is there already");
    assert!(!set.insert(10), "beyond the total");
    assert_eq!(set.as_bytes(), [0b0000_1001, 0b0000_0010]);
    assert_eq!((set.len(), set.total()), (3, 10));
    assert_eq!(walk(|from| set.next_missing(from)), [1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(walk(|from| set.next_present(from)), [0, 3, 9]);
    assert_eq!(present(&set), [0, 3, 9]);
    assert!(set.remove(3) && !set.remove(3) && !set.remove(10));
    assert_eq!(set.len(), 2);
    assert!(!set.contains(3) && set.contains(9) && !set.contains(10));
}

#[test]
fn a_full_set_has_no_bits_beyond_its_total() {
    for total in [0, 1, 7, 8, 9, 64, 1000] {
        let full = BlockSet::full(total);
        let mut filled = BlockSet::new(total);
        assert_eq!(filled.is_full(), total == 0);
        (0..total).for_each(|block| assert!(filled.insert(block)));
        assert_eq!(full, filled);
        assert!(full.is_full() && full.next_missing(0).is_none());
        assert_eq!(full.is_empty(), total == 0);
    }
}

#[test]
fn only_the_bytes_that_a_total_takes_are_a_set() {
    let read = BlockSet::from_bytes(10, &[0xff, 0x03]).unwrap();
    assert_eq!(read, BlockSet::full(10));
    assert_eq!(read.len(), 10);
    assert_eq!(BlockSet::from_bytes(10, &[0xff, 0x04]), None, "block 10");
    assert_eq!(BlockSet::from_bytes(10, &[0xff]), None);
    assert_eq!(BlockSet::from_bytes(10, &[0, 0, 0]), None);
    assert_eq!(BlockSet::from_bytes(0, &[]), Some(BlockSet::new(0)));
    assert_eq!(BlockSet::from_bytes(8, &[0x80]).unwrap().len(), 1);
}

#[test]
fn the_largest_total_works_to_its_end() {
    // half a gigabyte would be too much for a test: the largest that an announcement of 16 MiB in blocks of 16 bytes makes
    let total = 3 << 20;
    let mut set = BlockSet::full(total);
    set.remove(total - 1);
    assert_eq!(set.next_missing(0), Some(total - 1));
    assert_eq!(set.next_missing(total), None);
    assert_eq!(set.next_missing(u32::MAX), None);
    assert_eq!(set.missing_in(0..total - 1), None);
    assert_eq!(set.missing_in(0..total + 1), Some(total - 1));
    assert_eq!(set.missing_in(total..total + 5), None, "beyond the total");
    assert_eq!(set.next_present(total - 1), None);
    assert_eq!(set.next_present(total - 2), Some(total - 2));
}

proptest! {
    #[test]
    fn it_behaves_as_a_set_of_numbers(
        total in 0u32..200,
        steps in proptest::collection::vec((any::<bool>(), 0u32..210), 0..300),
        from in 0u32..210,
        granularity in 0u32..20,
    ) {
        let (mut set, mut model) = (BlockSet::new(total), BTreeSet::new());
        for (insert, block) in steps {
            if insert {
                prop_assert_eq!(set.insert(block), block < total && model.insert(block));
            } else {
                prop_assert_eq!(set.remove(block), model.remove(&block));
            }
        }
        prop_assert_eq!(set.len() as usize, model.len());
        prop_assert!(present(&set).into_iter().eq(model.iter().copied()));
        let missing: Vec<u32> = (0..total).filter(|block| !model.contains(block)).collect();
        prop_assert_eq!(set.next_missing(from), missing.iter().copied().find(|block| *block >= from));
        prop_assert_eq!(set.next_present(from), model.range(from..).next().copied());
        let range = from.min(7)..from;
        prop_assert_eq!(set.missing_in(range.clone()), missing.iter().copied().find(|block| range.contains(block)));
        let granules: BTreeSet<u32> = missing.iter().map(|block| block / granularity.max(1)).collect();
        prop_assert!(present(&set.missing_granules(granularity)).into_iter().eq(granules));
        prop_assert_eq!(BlockSet::from_bytes(total, set.as_bytes()), Some(set));
    }
}
