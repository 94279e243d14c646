//! What lies on the heap, and what is left in memory that is given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
    static NEEDLES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

struct Watching;

fn count(bytes: isize) {
    // Without thread-local storage (at the end of a thread) nothing is measured any more.
    let _gone = HELD.try_with(|held| held.set(held.get() + bytes));
}

/// Looks for the needles in a block that is about to be given back.
fn look(block: &[u8]) {
    let _gone = NEEDLES.try_with(|needles| {
        // While the needles themselves change nothing is looked for.
        let Ok(needles) = needles.try_borrow() else {
            return;
        };
        for needle in needles.iter() {
            if block.windows(needle.len()).any(|part| part == needle) {
                let _gone = FOUND.try_with(|found| found.set(found.get() + 1));
            }
        }
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract. There is no `realloc`
// here, so that a block that grows goes through `dealloc` as well.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on. Zeroed, so that all of a block may be read.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the block is still allocated, and was initialised when it was.
        look(unsafe { std::slice::from_raw_parts(pointer, layout.size()) });
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Bytes that this thread has allocated and not freed.
pub(crate) fn held() -> isize {
    HELD.get()
}

/// In how many blocks that this thread gave back while `work` ran one of the needles was left.
pub(crate) fn left_behind(needles: &[Vec<u8>], work: impl FnOnce()) -> usize {
    NEEDLES.set(needles.to_vec());
    FOUND.set(0);
    work();
    let found = FOUND.get();
    NEEDLES.set(Vec::new());
    found
}
