//! Every key and nonce that a store seals with, on this thread: none may come twice.

use std::cell::RefCell;
use std::collections::HashSet;

type Used = HashSet<([u8; 32], u64)>;

thread_local! {
    static USED: RefCell<Option<Used>> = const { RefCell::new(None) };
}

/// Something is sealed under this key, with a nonce made of this number.
///
/// # Panics
/// If that happened before, since [`start`].
pub(in crate::store) fn sealed(key: [u8; 32], sequence: u64) {
    USED.with_borrow_mut(|used| {
        if let Some(used) = used {
            assert!(
                used.insert((key, sequence)),
                "nonce {sequence} is used twice under one key"
            );
        }
    });
}

/// From now on all of this thread is remembered.
pub(super) fn start() {
    USED.set(Some(HashSet::new()));
}

/// How many there were since [`start`].
pub(super) fn count() -> usize {
    USED.with_borrow(|used| used.as_ref().map_or(0, HashSet::len))
}
