use super::*;

#[test]
fn block_sizes_are_the_seven_powers_of_two() {
    let problem = |bytes| BlockSize::new(bytes).unwrap_err().problem;
    for (exponent, bytes) in [16, 32, 64, 128, 256, 512, 1_024].into_iter().enumerate() {
        let size = BlockSize::new(bytes).unwrap();
        assert_eq!(size.bytes(), bytes);
        assert_eq!(usize::from(size.exponent), exponent);
        assert_eq!(std::format!("{size}"), std::format!("{bytes}"));
    }
    assert_eq!(problem(8), "is below its lower limit");
    assert_eq!(problem(15), "is below its lower limit");
    assert_eq!(problem(17), "is no power of two");
    assert_eq!(problem(1_025), "is above its upper limit");
    assert_eq!(problem(2_048), "is above its upper limit");
    assert_eq!(BlockSize::at_most(15), None);
    for (limit, bytes) in [
        (16, 16),
        (31, 16),
        (32, 32),
        (64, 64),
        (1_023, 512),
        (1_024, 1_024),
        (9_999, 1_024),
    ] {
        assert_eq!(BlockSize::at_most(limit).unwrap().bytes(), bytes, "{limit}");
    }
    assert_eq!(BlockSize::LARGEST.smaller().unwrap().bytes(), 512);
    assert_eq!(BlockSize::SMALLEST.smaller(), None);
    assert_eq!(BlockSize::default(), BlockSize::LARGEST);
}

#[test]
fn a_block_begins_at_a_multiple_of_its_size_and_has_a_number() {
    let size = BlockSize::SMALLEST;
    let number = |start| size.block_at(start, false).map(BlockValue::num);
    assert_eq!(number(0), Some(0));
    assert_eq!(number(16), Some(1));
    assert_eq!(number(17), None);
    assert_eq!(
        number(16 * BlockValue::MAX_NUM as usize),
        Some(BlockValue::MAX_NUM)
    );
    assert_eq!(number(16 * (BlockValue::MAX_NUM as usize + 1)), None);
}

#[test]
fn the_stated_memory_follows_from_the_limits() {
    let limits = ServerBlocks {
        incomplete: 0,
        incomplete_bytes: 100,
        kept: 0,
        kept_bytes: 10,
        ..ServerBlocks::default()
    };
    assert_eq!(limits.memory_total(), 420);
    let limits = ServerBlocks {
        incomplete: 3,
        kept: 5,
        incomplete_bytes: 0,
        kept_bytes: 0,
        ..ServerBlocks::default()
    };
    assert_eq!(
        limits.memory_total(),
        6 * IncompleteBodies::PLACE + 10 * KeptBodies::PLACE
    );
}
