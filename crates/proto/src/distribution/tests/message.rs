use std::vec::Vec;

use antiphon_wire::Code;
use proptest::prelude::*;

use super::super::*;
use super::announcement::{complete, plain};

const ID: ImageId = ImageId([1, 2, 3, 4, 5, 6, 7, 8]);

#[test]
fn notices_have_the_documented_bytes() {
    let end = Notice::EndOfPass {
        id: ID,
        pass: 2,
        window: 300,
    };
    assert_eq!(
        end.encode(),
        *b"\x84\x01\x48\x01\x02\x03\x04\x05\x06\x07\x08\x02\x19\x01\x2c"
    );
    let cancelled = Notice::Cancelled(ID);
    assert_eq!(
        cancelled.encode(),
        *b"\x82\x02\x48\x01\x02\x03\x04\x05\x06\x07\x08"
    );
    let announced = Notice::Announced(complete());
    assert_eq!(
        announced.encode(),
        [&[0x82, 0x00], &complete().encode()[..]].concat()
    );
    for notice in [end, cancelled, announced] {
        assert_eq!(Notice::decode(&notice.encode()), Ok(notice.clone()));
    }
    assert_eq!(Notice::Announced(plain()).id(), plain().id());
    assert_eq!(Notice::Cancelled(ID).id(), ID);
}

#[test]
fn other_bytes_are_no_notice() {
    for wrong in [
        b"".as_slice(),
        b"\x80",
        b"\x82\x03\x48\x01\x02\x03\x04\x05\x06\x07\x08",
        b"\x83\x02\x48\x01\x02\x03\x04\x05\x06\x07\x08\x00",
        b"\x82\x02\x47\x01\x02\x03\x04\x05\x06\x07",
        b"\x82\x02\x49\x01\x02\x03\x04\x05\x06\x07\x08\x09",
        b"\x82\x02\x48\x01\x02\x03\x04\x05\x06\x07\x08\x00",
        b"\x82\x18\x02\x48\x01\x02\x03\x04\x05\x06\x07\x08",
        b"\x9f\x02\x48\x01\x02\x03\x04\x05\x06\x07\x08\xff",
        b"\x84\x01\x48\x01\x02\x03\x04\x05\x06\x07\x08\x02\x1a\x00\x01\x00\x00",
        b"\x84\x01\x48\x01\x02\x03\x04\x05\x06\x07\x08\x02\x18\x05",
        b"\x84\x01\x48\x01\x02\x03\x04\x05\x06\x07\x08\x02",
    ] {
        assert_eq!(Notice::decode(wrong), Err(Malformed), "{wrong:02x?}");
    }
}

#[test]
fn a_status_has_the_documented_bytes() {
    let idle = DeviceStatus::default();
    assert_eq!(idle.encode(), [0xa3, 0x01, 0x00, 0x03, 0x00, 0x04, 0x00]);
    let mut have = BlockSet::full(10);
    have.remove(2);
    have.remove(8);
    let receiving = DeviceStatus {
        id: Some(ID),
        state: DeviceState::Receiving,
        code: None,
        have: 8,
        total: 10,
        missing: Some(MissingBlocks::of(&have)),
    };
    assert_eq!(
        receiving.encode(),
        *b"\xa5\x00\x48\x01\x02\x03\x04\x05\x06\x07\x08\x01\x01\x03\x08\x04\x0a\x05\x82\x01\x42\x04\x01"
    );
    let failed = DeviceStatus {
        state: DeviceState::Failed,
        code: Some(Code::REQUEST_ENTITY_TOO_LARGE),
        have: 0,
        missing: None,
        ..receiving.clone()
    };
    assert_eq!(
        failed.encode(),
        *b"\xa5\x00\x48\x01\x02\x03\x04\x05\x06\x07\x08\x01\x06\x02\x18\x8d\x03\x00\x04\x0a"
    );
    for status in [idle, receiving, failed] {
        assert_eq!(DeviceStatus::decode(&status.encode()), Ok(status));
    }
}

#[test]
fn a_status_that_cannot_be_is_refused() {
    for wrong in [
        b"\xa3\x01\x07\x03\x00\x04\x00".as_slice(), // no such state
        b"\xa3\x01\x00\x03\x01\x04\x00",            // more than there are
        b"\xa4\x01\x00\x02\x01\x03\x00\x04\x00",    // the code of a request
        b"\xa2\x01\x00\x03\x00",                    // no total
        b"\xa3\x03\x00\x01\x00\x04\x00",            // in another order
        b"\xa4\x01\x01\x03\x00\x04\x09\x05\x82\x00\x42\xff\x01", // granularity 0
        b"\xa4\x01\x01\x03\x00\x04\x09\x05\x82\x01\x42\xff\x02", // a bit beyond the total
        b"\xa4\x01\x01\x03\x00\x04\x09\x05\x82\x01\x41\xff", // too few bits
        b"\xa4\x01\x01\x03\x00\x04\x09\x05\x83\x01\x42\xff\x01\x00",
        b"\xa3\x01\x00\x03\x00\x04\x00\x00", // something follows
        b"\xa4\x01\x00\x03\x00\x04\x00\x06\x00", // an unknown key
    ] {
        assert_eq!(DeviceStatus::decode(wrong), Err(Malformed), "{wrong:02x?}");
    }
    assert_eq!(DeviceStatus::decode(&[0; 193]), Err(Malformed));
}

#[test]
fn a_bitmap_of_128_bytes_says_what_is_missing_of_any_number_of_blocks() {
    for (total, granularity) in [
        (1, 1),
        (1_024, 1),
        (1_025, 2),
        (2_048, 2),
        (2_049, 3),
        (100_000, 98),
    ] {
        let mut have = BlockSet::full(total);
        have.remove(total - 1);
        let missing = MissingBlocks::of(&have);
        assert_eq!(missing.granularity(), granularity, "{total}");
        assert!(missing.contains(total - 1) && !missing.contains(total - 1 + granularity));
        assert_eq!(missing.contains(0), total <= granularity);
        let status = DeviceStatus {
            id: Some(ID),
            state: DeviceState::Receiving,
            code: Some(Code::CHANGED),
            have: total - 1,
            total,
            missing: Some(missing),
        };
        assert!(status.encode().len() <= DeviceStatus::MAX_LEN);
        assert_eq!(DeviceStatus::decode(&status.encode()), Ok(status));
    }
    assert_eq!(MissingBlocks::of(&BlockSet::new(0)).granularity(), 1);
}

#[test]
fn states_are_final_or_not() {
    let last: Vec<bool> = [
        DeviceState::Idle,
        DeviceState::Receiving,
        DeviceState::Verifying,
        DeviceState::Verified,
        DeviceState::Activating,
        DeviceState::Activated,
        DeviceState::Failed,
    ]
    .iter()
    .enumerate()
    .map(|(number, state)| {
        let status = DeviceStatus {
            state: *state,
            ..DeviceStatus::default()
        };
        assert_eq!(usize::from(status.encode()[2]), number);
        state.is_final()
    })
    .collect();
    assert_eq!(last, [false, false, false, false, false, true, true]);
}

proptest! {
    #[test]
    fn notices_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(read) = Notice::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn a_status_that_is_changed_is_refused_or_another(
        total in 1u32..5_000, lost in proptest::collection::vec(any::<u32>(), 0..20), at: usize, bit in 0u32..8,
    ) {
        let mut have = BlockSet::full(total);
        lost.iter().for_each(|block| { have.remove(block % total); });
        let status = DeviceStatus {
            id: Some(ID), state: DeviceState::Receiving, code: None, have: have.len(), total,
            missing: Some(MissingBlocks::of(&have)),
        };
        let mut bytes = status.encode();
        prop_assert_eq!(DeviceStatus::decode(&bytes), Ok(status.clone()));
        prop_assert!((0..total).all(|block| have.contains(block) || status.missing.as_ref().unwrap().contains(block)));
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(read) = DeviceStatus::decode(&bytes) {
            prop_assert_ne!(&read, &status);
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
