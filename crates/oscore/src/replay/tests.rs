use std::collections::BTreeSet;
use std::vec::Vec;

use minicbor::Decoder;
use proptest::prelude::*;

use super::ReplayRefused::{Invalid, Replayed};
use super::*;

mod order;

fn piv(value: u64) -> PartialIv {
    PartialIv::new(value).unwrap()
}

fn size(numbers: u8) -> WindowSize {
    WindowSize::new(numbers).unwrap()
}

fn after(numbers: &[u64]) -> ReplayWindow {
    let mut window = ReplayWindow::valid(WindowSize::default());
    for number in numbers {
        window.commit(piv(*number)).unwrap();
    }
    window
}

fn decoded(bytes: &[u8]) -> Option<ReplayWindow> {
    let mut d = Decoder::new(bytes);
    let window = ReplayWindow::decode(&mut d).ok()?;
    (d.position() == bytes.len()).then_some(window)
}

fn encoded(window: &ReplayWindow) -> Vec<u8> {
    let mut out = Vec::new();
    window.encode(&mut out);
    out
}

// Covers: GO-B-7.4-01
#[test]
fn the_default_window_slides_over_32_numbers() {
    let mut window = after(&[40]);
    assert_eq!(window.size().numbers(), 32);
    assert_eq!(window.lower_limit(), Some(9));
    assert_eq!(window.check(piv(8)), Err(Replayed));
    assert_eq!(window.commit(piv(8)), Err(Replayed));
    assert_eq!(window.commit(piv(40)), Err(Replayed));
    assert_eq!(window.commit(piv(9)), Ok(()));
    assert_eq!(window.commit(piv(9)), Err(Replayed));
    assert_eq!(window.commit(piv(41)), Ok(()));
    assert_eq!(window.lower_limit(), Some(10));
}

// Covers: GO-14.12-01
#[test]
fn a_window_of_one_number_does_not_exist() {
    assert_eq!(WindowSize::new(0), None);
    assert_eq!(WindowSize::new(1), None);
    assert_eq!(WindowSize::new(2).map(WindowSize::numbers), Some(2));
    assert_eq!(WindowSize::new(128).map(WindowSize::numbers), Some(128));
    assert_eq!(WindowSize::new(129), None);
    assert_eq!(WindowSize::default().numbers(), 32);
    // the smallest bears one reordered message
    let mut window = ReplayWindow::valid(size(2));
    for number in [1, 0, 3, 2] {
        assert_eq!(window.commit(piv(number)), Ok(()));
    }
    assert_eq!(window.commit(piv(1)), Err(Replayed));
}

#[test]
fn a_new_window_takes_every_number_once() {
    let mut window = after(&[]);
    assert!(window.is_valid());
    assert_eq!(window.lower_limit(), Some(0));
    for number in (0..32).rev() {
        assert_eq!(window.check(piv(number)), Ok(()));
        assert_eq!(window.commit(piv(number)), Ok(()));
        assert_eq!(window.check(piv(number)), Err(Replayed));
    }
    assert_eq!(window.lower_limit(), Some(0));
    assert_eq!(window.check(piv(32)), Ok(()));
}

#[test]
fn checking_changes_nothing() {
    let window = after(&[3, 50]);
    let before = window.clone();
    for number in [0, 3, 19, 40, 50, 51, (1 << 40) - 1] {
        let _ = window.check(piv(number));
    }
    assert_eq!(window, before);
}

#[test]
fn of_two_copies_in_verification_the_second_is_refused() {
    let mut window = after(&[7]);
    let (first, second) = (window.check(piv(8)), window.check(piv(8)));
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(window.commit(piv(8)), Ok(()));
    assert_eq!(window.commit(piv(8)), Err(Replayed));
}

#[test]
fn a_number_that_fell_out_while_it_was_verified_is_refused() {
    let mut window = after(&[0]);
    assert_eq!(window.check(piv(1)), Ok(()));
    window.commit(piv(100)).unwrap();
    assert_eq!(window.commit(piv(1)), Err(Replayed));
}

#[test]
fn the_window_is_exact_up_to_the_largest_number() {
    const MAX: u64 = (1 << 40) - 1;
    let mut window = after(&[0]);
    assert_eq!(window.commit(piv(MAX)), Ok(()));
    assert_eq!(window.lower_limit(), Some(MAX - 31));
    assert_eq!(window.commit(piv(MAX)), Err(Replayed));
    assert_eq!(window.check(piv(MAX - 32)), Err(Replayed));
    for number in MAX - 31..MAX {
        assert_eq!(window.commit(piv(number)), Ok(()), "{number}");
        assert_eq!(window.commit(piv(number)), Err(Replayed), "{number}");
    }
}

#[test]
fn the_largest_window_spans_128_numbers() {
    let mut window = ReplayWindow::valid(size(128));
    window.commit(piv(0)).unwrap();
    window.commit(piv(127)).unwrap();
    assert_eq!(window.check(piv(0)), Err(Replayed));
    assert_eq!(window.lower_limit(), Some(0));
    window.commit(piv(128)).unwrap();
    assert_eq!(window.lower_limit(), Some(1));
    assert_eq!(window.check(piv(127)), Err(Replayed));
    assert_eq!(window.check(piv(126)), Ok(()));
    // everything leaves the window at once, by just its span and by more
    window.commit(piv(128 + 128)).unwrap();
    assert_eq!(window.lower_limit(), Some(129));
    assert_eq!(window.check(piv(255)), Ok(()));
    window.commit(piv(10_000)).unwrap();
    assert_eq!(window.check(piv(9_999)), Ok(()));
    assert_eq!(window.check(piv(10_000)), Err(Replayed));
}

#[test]
fn an_invalid_window_takes_nothing_until_an_echo_exchange() {
    let mut window = ReplayWindow::invalid(WindowSize::default());
    assert!(!window.is_valid());
    assert_eq!(window.lower_limit(), None);
    assert_eq!(window.check(piv(5)), Err(Invalid));
    assert_eq!(window.commit(piv(5)), Err(Invalid));

    assert_eq!(window.restart_at(piv(100)), Ok(()));
    assert!(window.is_valid());
    assert_eq!(window.lower_limit(), Some(100));
    assert_eq!(
        window.check(piv(99)),
        Err(Replayed),
        "below the lower limit"
    );
    assert_eq!(window.check(piv(100)), Err(Replayed), "marked as received");
    for number in [110, 101, 131] {
        assert_eq!(window.commit(piv(number)), Ok(()));
    }
    assert_eq!(window.lower_limit(), Some(100));
    assert_eq!(window.commit(piv(132)), Ok(()));
    assert_eq!(window.lower_limit(), Some(101));
}

#[test]
fn an_echo_exchange_does_not_widen_a_valid_window() {
    let mut window = after(&[40]);
    assert_eq!(window.restart_at(piv(40)), Err(Replayed));
    assert_eq!(window.restart_at(piv(8)), Err(Replayed));
    assert_eq!(window.restart_at(piv(39)), Ok(()));
    assert_eq!(window.lower_limit(), Some(9));
    assert_eq!(window.check(piv(39)), Err(Replayed));
    assert_eq!(window.check(piv(38)), Ok(()));
}

#[test]
fn another_size_keeps_what_is_known() {
    let window = after(&[10, 40]);
    assert_eq!(window.resized(size(32)), window);
    let wide = window.resized(size(64));
    assert_eq!((wide.size(), wide.lower_limit()), (size(64), Some(9)));
    assert_eq!(
        [8, 9, 10, 40].map(|number| wide.check(piv(number)).is_ok()),
        [false, true, false, false]
    );
    let narrow = window.resized(size(8));
    assert_eq!((narrow.size(), narrow.lower_limit()), (size(8), Some(33)));
    assert_eq!(
        [10, 32, 33, 39, 40].map(|number| narrow.check(piv(number)).is_ok()),
        [false, false, true, true, false]
    );
    let early = after(&[0, 2]).resized(size(2));
    assert_eq!(early.lower_limit(), Some(1));
    assert_eq!(early.check(piv(1)), Ok(()));
    assert!(!ReplayWindow::invalid(size(32)).resized(size(64)).is_valid());
}

#[test]
fn windows_are_written_and_read() {
    for window in [
        ReplayWindow::valid(size(2)),
        ReplayWindow::invalid(size(128)),
        after(&[]),
        after(&[0]),
        after(&[40, 9]),
        after(&[(1 << 40) - 1]),
    ] {
        assert_eq!(decoded(&encoded(&window)), Some(window));
    }
    assert_eq!(encoded(&ReplayWindow::invalid(size(32))), [0x81, 0x18, 32]);
    let mut written = std::vec![0x83, 0x18, 32, 0x09, 0x50];
    written.extend_from_slice(&0x8000_0000_u128.to_be_bytes());
    assert_eq!(encoded(&after(&[40])), written);
}

#[test]
fn what_no_window_can_be_is_not_read() {
    let with = |size: u64, limit: u64, seen: u128| {
        let mut out = Vec::new();
        cbor::array(&mut out, 3);
        cbor::unsigned(&mut out, size);
        cbor::unsigned(&mut out, limit);
        cbor::bytes(&mut out, &seen.to_be_bytes());
        decoded(&out)
    };
    const MAX: u64 = (1 << 40) - 1;
    assert!(with(32, 0, 1 << 31).is_some());
    assert!(with(32, 0, 1 << 32).is_none(), "received above the window");
    assert!(with(1, 0, 0).is_none() && with(129, 0, 0).is_none() && with(256 + 32, 0, 0).is_none());
    assert!(with(128, 0, 1 << 127).is_some());
    assert!(with(32, MAX, 1).is_some());
    assert!(
        with(32, MAX, 2).is_none(),
        "received above the largest number"
    );
    assert!(with(32, MAX + 1, 0).is_none() && with(32, u64::MAX, 2).is_none());
    assert!(decoded(&[0x80]).is_none() && decoded(&[0x82, 0x18, 32, 0]).is_none());
    assert!(decoded(&[0x83, 0x18, 32, 0, 0x4f]).is_none());
    assert!(decoded(&[0x9f, 0x18, 32, 0xff]).is_none());
}

/// The text, naively: everything received is remembered.
struct Model {
    received: BTreeSet<u64>,
    limit: u64,
    size: u64,
}

impl Model {
    fn takes(&self, number: u64) -> bool {
        let in_reach = self
            .received
            .last()
            .is_none_or(|newest| number + self.size > *newest);
        number >= self.limit && in_reach && !self.received.contains(&number)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Receive(u64),
    /// Relative to the newest number.
    Near(i64),
    Lose,
    Echo(u64),
    Store,
}

fn number() -> impl Strategy<Value = u64> {
    const MAX: u64 = (1 << 40) - 1;
    prop_oneof![0..300_u64, MAX - 300..=MAX, 0..=MAX]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => number().prop_map(Step::Receive),
        12 => (-140..=140_i64).prop_map(Step::Near),
        1 => Just(Step::Lose),
        1 => number().prop_map(Step::Echo),
        1 => Just(Step::Store),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_window_does_what_a_list_of_all_numbers_does(numbers in 2..=128_u8, steps in prop::collection::vec(step(), 1..200)) {
        let mut window = ReplayWindow::valid(size(numbers));
        let mut model = Some(Model { received: BTreeSet::new(), limit: 0, size: u64::from(numbers) });
        let mut newest = 0_u64;
        for step in steps {
            match step {
                Step::Lose => {
                    window = ReplayWindow::invalid(size(numbers));
                    model = None;
                }
                Step::Store => window = decoded(&encoded(&window)).unwrap(),
                Step::Echo(number) if model.is_none() => {
                    prop_assert_eq!(window.restart_at(piv(number)), Ok(()));
                    let received = BTreeSet::from([number]);
                    model = Some(Model { received, limit: number, size: u64::from(numbers) });
                    newest = number;
                }
                Step::Receive(number) | Step::Echo(number) => {
                    receive(&mut window, model.as_mut(), number, &mut newest)?;
                }
                Step::Near(by) => {
                    let number = newest.saturating_add_signed(by).min((1 << 40) - 1);
                    receive(&mut window, model.as_mut(), number, &mut newest)?;
                }
            }
        }
    }
}

fn receive(
    window: &mut ReplayWindow,
    model: Option<&mut Model>,
    number: u64,
    newest: &mut u64,
) -> Result<(), TestCaseError> {
    let expected = match &model {
        None => Err(Invalid),
        Some(model) if model.takes(number) => Ok(()),
        Some(_) => Err(Replayed),
    };
    prop_assert_eq!(window.check(piv(number)), expected);
    prop_assert_eq!(window.commit(piv(number)), expected);
    if let (Some(model), Ok(())) = (model, expected) {
        model.received.insert(number);
        *newest = (*newest).max(number);
    }
    Ok(())
}
