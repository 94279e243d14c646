//! Which blocks a pass sends.

use super::plan::{Lacks, Plan, Sample};
use super::*;

fn missing(total: u32, blocks: &[u32]) -> (u32, MissingBlocks) {
    let mut have = BlockSet::full(total);
    for block in blocks {
        have.remove(*block);
    }
    (total - have.len(), MissingBlocks::of(&have))
}

/// Everyone was counted.
fn everyone(members: usize) -> Sample {
    Sample {
        counted: members,
        of: members,
    }
}

fn worth(total: u32, first: bool, lacking: &[&[u32]]) -> Option<Vec<u32>> {
    let all: Vec<_> = lacking
        .iter()
        .map(|blocks| missing(total, blocks))
        .collect();
    let lacks = all.iter().map(|(count, missing)| Lacks::Some {
        count: *count,
        missing,
    });
    let plan = Plan::worth(total, lacks, everyone(lacking.len()), first, lacking.len())?;
    Some((0..total).filter(|block| plan.contains(*block)).collect())
}

#[test]
fn a_block_is_sent_again_when_that_is_cheaper_than_to_each_who_lacks_it() {
    // 1 x 1.36 x 0.8 = 1.088 for each block that one device lacks; counting costs 0.4 for each device.
    assert_eq!(worth(100, true, &[&[7]]), Some(vec![7]));
    assert_eq!(worth(100, false, &[&[7]]), None, "0.088 is less than 0.4");
    let four: &[u32] = &[1, 2, 3, 4];
    assert_eq!(worth(100, false, &[four]), None, "0.352 is less than 0.4");
    let five: &[u32] = &[1, 2, 3, 4, 5];
    assert_eq!(
        worth(100, false, &[five]),
        Some(five.to_vec()),
        "0.44 is not"
    );
    assert_eq!(
        worth(100, false, &[&[7], &[7]]),
        Some(vec![7]),
        "1.176 saved for 0.8"
    );
    assert_eq!(worth(100, true, &[&[], &[]]), None, "nothing lacks");
}

#[test]
fn cells_of_several_blocks_count_what_is_lacking_in_them() {
    // 2,000 blocks make cells of two. One device that lacks one of two is no reason to send both.
    assert_eq!(worth(2_000, true, &[&[10]]), None, "1.088 for 2");
    assert_eq!(
        worth(2_000, true, &[&[10, 11]]),
        Some(vec![10, 11]),
        "2.176 for 2"
    );
    assert_eq!(worth(2_000, true, &[&[10], &[11]]), Some(vec![10, 11]));
    // Four blocks in three cells: 1.33 of each of the three.
    assert_eq!(worth(2_000, true, &[&[0, 1, 2, 4]]), None, "1.45 for 2");
    // The last cell of 1,999 blocks has one.
    assert_eq!(worth(1_999, true, &[&[1_998]]), Some(vec![1_998]));
}

#[test]
fn devices_that_lack_everything_and_such_that_lack_nothing() {
    let plan = Plan::worth(50, [Lacks::Everything].into_iter(), everyone(1), true, 1).unwrap();
    assert_eq!(plan, Plan::all(50));
    assert_eq!(plan.blocks(), 50);
    assert_eq!(
        Plan::worth(50, [Lacks::Nothing].into_iter(), everyone(1), true, 1),
        None
    );
    // 50 x 0.088 = 4.4 is saved, 11 devices are counted for 4.4.
    let one = || [Lacks::Everything].into_iter();
    assert!(Plan::worth(50, one(), everyone(1), false, 10).is_some());
    assert!(Plan::worth(50, one(), everyone(1), false, 11).is_none());
}

#[test]
fn the_blocks_of_a_pass_are_found_in_their_order() {
    let (count, missing) = missing(3_000, &[0, 1, 2, 1_500, 1_501, 1_502, 2_999, 2_998, 2_997]);
    let lacks = Lacks::Some {
        count,
        missing: &missing,
    };
    let plan = Plan::worth(3_000, [lacks].into_iter(), everyone(1), true, 1).unwrap();
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(block) = plan.next_from(next) {
        found.push(block);
        next = block + 1;
    }
    assert_eq!(found, [0, 1, 2, 1_500, 1_501, 1_502, 2_997, 2_998, 2_999]);
    assert_eq!((plan.blocks(), plan.next_from(3_000)), (9, None));
    assert_eq!(
        plan.next_from(1_501),
        Some(1_501),
        "in the middle of a cell"
    );
    assert_eq!((plan.between(1, 1_501), plan.between(3, 1_500)), (3, 0));
    assert!(!plan.contains(3_000) && !plan.contains(3) && plan.contains(2_999));
}

#[test]
fn one_block_and_the_largest_image_are_planned() {
    assert_eq!(Plan::all(1).blocks(), 1);
    let largest = Plan::all(1 << 29);
    assert_eq!(largest.blocks(), 1 << 29);
    assert_eq!(largest.next_from((1 << 29) - 1), Some((1 << 29) - 1));
}

#[test]
fn those_who_were_counted_stand_for_those_who_were_not() {
    let (count, missing) = missing(100, &[7, 8]);
    let lacks = Lacks::Some {
        count,
        missing: &missing,
    };
    let worth = |counted, of, members| {
        let lacking = core::iter::repeat_n(lacks, counted);
        Plan::worth(100, lacking, Sample { counted, of }, false, members).map(|plan| plan.blocks())
    };
    // Two of two lack two blocks: 2 x 1.176 is saved, asking six of them again costs 2.4 blocks.
    assert_eq!(worth(2, 2, 5), Some(2));
    assert_eq!(worth(2, 2, 6), None);
    // Two of three: 2 x 2.264 is saved, 11 questions cost 4.4 blocks and 12 cost 4.8.
    assert_eq!(worth(2, 3, 11), Some(2));
    assert_eq!(worth(2, 3, 12), None);
    // Nobody was counted: nothing is known.
    assert_eq!(worth(0, 3, 0), None);
}

#[test]
fn what_lacks_everything_lacks_no_more_of_the_last_cell_than_it_has() {
    // 1,025 blocks, the last alone in its cell: 1,025 x 0.088 = 90.2 is saved.
    let worth = |members| {
        let lacking = [Lacks::Everything].into_iter();
        Plan::worth(1_025, lacking, everyone(1), false, members).map(|plan| plan.blocks())
    };
    assert_eq!(worth(225), Some(1_025), "90 for the questions");
    assert_eq!(worth(226), None, "90.4 for them");
}

#[test]
fn a_cell_is_marked_by_its_last_block_too_where_a_device_counts_in_other_cells() {
    // The plan counts in cells of two blocks, the device in cells of three: it may lack 3, 4 and 5.
    let (_, missing) = missing(3_000, &[4]);
    let lacks = Lacks::Some {
        count: 4,
        missing: &missing,
    };
    let plan = Plan::worth(2_000, [lacks].into_iter(), everyone(1), true, 1).unwrap();
    let sent = (0..2_000).filter(|block| plan.contains(*block));
    assert_eq!(Vec::from_iter(sent), [2, 3, 4, 5]);
}
