//! Memory that a driver needs only while it works, lent by the thread it works on: hundreds of endpoints in one process
//! share a few pieces that stay in the caches, instead of each having its own.

use core::cell::RefCell;
use std::thread::LocalKey;

use crate::socket::{LARGEST_DATAGRAM, RecvBatch, SendBatch};

/// Pieces of each kind that a thread keeps.
const KEPT: usize = 4;

type Shelf<T> = RefCell<Vec<T>>;

thread_local! {
    static RECEIVING: Shelf<RecvBatch> = const { RefCell::new(Vec::new()) };
    static SENDING: Shelf<SendBatch> = const { RefCell::new(Vec::new()) };
    static DATAGRAM: Shelf<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Room for datagrams that are received; see [`RecvBatch::new`].
pub(super) fn receiving(capacity: usize, largest: usize) -> RecvBatch {
    let (capacity, largest) = (capacity.max(1), largest.clamp(1, LARGEST_DATAGRAM));
    let fits = |one: &RecvBatch| one.capacity() == capacity && one.max_datagram() == largest;
    take(&RECEIVING, fits).unwrap_or_else(|| RecvBatch::new(capacity, largest))
}

/// Room for datagrams to be sent, with none in it; see [`SendBatch::new`].
pub(super) fn sending(capacity: usize, largest: usize) -> SendBatch {
    let (capacity, largest) = (capacity.max(1), largest.clamp(1, LARGEST_DATAGRAM));
    let fits = |one: &SendBatch| one.capacity() == capacity && one.max_datagram() == largest;
    take(&SENDING, fits).unwrap_or_else(|| SendBatch::new(capacity, largest))
}

/// Room for one datagram of at least this length; what it held before is gone.
pub(super) fn datagram(length: usize) -> Vec<u8> {
    take(&DATAGRAM, |one| one.capacity() >= length).unwrap_or_else(|| Vec::with_capacity(length))
}

pub(super) fn return_receiving(batch: RecvBatch) {
    give(&RECEIVING, batch);
}

/// Gives back a batch; one in which datagrams wait is dropped, and they with it.
pub(super) fn return_sending(batch: SendBatch) {
    if batch.is_empty() && batch.failures().is_empty() {
        give(&SENDING, batch);
    }
}

pub(super) fn return_datagram(mut datagram: Vec<u8>) {
    datagram.clear();
    give(&DATAGRAM, datagram);
}

fn take<T>(shelf: &'static LocalKey<Shelf<T>>, fits: impl Fn(&T) -> bool) -> Option<T> {
    let find = |shelf: &Shelf<T>| {
        let mut shelf = shelf.try_borrow_mut().ok()?;
        let at = shelf.iter().rposition(fits)?;
        Some(shelf.swap_remove(at))
    };
    shelf.try_with(find).ok().flatten()
}

/// What no longer fits goes first: sizes that nobody wants any more do not stay.
fn give<T>(shelf: &'static LocalKey<Shelf<T>>, piece: T) {
    let _ = shelf.try_with(|shelf| {
        if let Ok(mut shelf) = shelf.try_borrow_mut() {
            if shelf.len() >= KEPT {
                shelf.remove(0);
            }
            shelf.push(piece);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Outgoing;

    #[test]
    fn a_piece_is_lent_again_to_whoever_wants_that_size() {
        let batch = receiving(3, 100);
        assert_eq!((batch.capacity(), batch.max_datagram()), (3, 100));
        return_receiving(batch);
        for (capacity, largest) in [(3, 99), (4, 100)] {
            let other = receiving(capacity, largest);
            assert_eq!(
                (other.capacity(), other.max_datagram()),
                (capacity, largest)
            );
        }
        assert_eq!(RECEIVING.with_borrow(Vec::len), 1);
        drop(receiving(3, 100));
        assert_eq!(RECEIVING.with_borrow(Vec::len), 0);
    }

    #[test]
    fn a_thread_keeps_a_few() {
        let pieces: Vec<_> = (1..=KEPT + 2).map(|n| sending(n, 10)).collect();
        pieces.into_iter().for_each(return_sending);
        let kept =
            SENDING.with_borrow(|all| all.iter().map(|one| one.capacity()).collect::<Vec<_>>());
        assert_eq!(kept, [3, 4, 5, 6]);
    }

    #[test]
    fn nothing_of_the_last_user_is_left() {
        let mut batch = sending(2, 10);
        batch
            .push(Outgoing::to(([127, 0, 0, 1], 9).into()), b"x")
            .unwrap();
        return_sending(batch);
        assert_eq!(SENDING.with_borrow(Vec::len), 0);
        let mut bytes = datagram(8);
        bytes.extend(b"secret");
        return_datagram(bytes);
        assert!(datagram(8).is_empty());
        assert!(datagram(1 << 20).capacity() >= 1 << 20);
    }
}
