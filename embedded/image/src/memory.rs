//! The heap and the stack, and how much of them was needed. The unsafe code of the image is here and in `uart`.

use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use antiphon_embedded_line::Measures;
use cortex_m_rt::STACK_PAINT_VALUE;
use embedded_alloc::LlffHeap;

/// Room for the heap, in bytes.
const HEAP_SIZE: usize = 38 * 1024;

/// In a section of its own, so that static data and heap can be told apart.
#[unsafe(link_section = ".uninit.heap")]
static mut ARENA: MaybeUninit<[u64; HEAP_SIZE / 8]> = MaybeUninit::uninit();

#[global_allocator]
static HEAP: Counting = Counting {
    heap: LlffHeap::empty(),
    now: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
};

/// Counts what is allocated. Requested bytes: what the allocator adds for alignment and holes must fit into the room too.
struct Counting {
    heap: LlffHeap,
    now: AtomicUsize,
    peak: AtomicUsize,
}

// SAFETY: every call is passed on unchanged to `LlffHeap`, which keeps the contract; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the same for the heap inside.
        let place = unsafe { self.heap.alloc(layout) };
        if !place.is_null() {
            let now = self.now.fetch_add(layout.size(), Relaxed) + layout.size();
            self.peak.fetch_max(now, Relaxed);
        }
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`: `place` came from `alloc` with this layout.
        unsafe { self.heap.dealloc(place, layout) };
        self.now.fetch_sub(layout.size(), Relaxed);
    }
}

/// Makes the heap usable. Later calls do nothing.
pub(crate) fn start_heap() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Relaxed) {
        return;
    }
    // SAFETY: called once (the flag above), before anything is allocated; the arena has this size, is named nowhere else,
    // and lives as long as the program.
    unsafe { HEAP.heap.init(addr_of_mut!(ARENA) as usize, HEAP_SIZE) };
}

unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Stack and heap until now.
pub(crate) fn measures() -> Measures {
    let end = (&raw const _stack_end) as usize;
    let size = (&raw const _stack_start) as usize - end;
    let untouched = (0..size / 4)
        .take_while(|word| {
            let place = (end + word * 4) as *const u32;
            // SAFETY: the linker script reserves the words from `_stack_end` to `_stack_start` for the stack. They are
            // aligned, were painted before `main` and are only read; volatile, because the stack changes behind our back.
            unsafe { place.read_volatile() == STACK_PAINT_VALUE }
        })
        .count();
    Measures {
        stack_size: size as u32,
        stack_used: (size - untouched * 4) as u32,
        heap_size: HEAP_SIZE as u32,
        heap_peak: HEAP.peak.load(Relaxed) as u32,
        heap_now: HEAP.now.load(Relaxed) as u32,
    }
}
