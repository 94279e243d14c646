//! Who has called: so that a task with many things to wait for looks only at those that have something to say.

use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use antiphon_proto::SocketId;

/// A set of callers.
pub(super) type Callers = u64;

/// Commands of the application, and what nobody waits for any more.
pub(super) const APPLICATION: Callers = 1 << 63;
/// Async handlers that are done, and the work of threads.
pub(super) const HANDLERS: Callers = 1 << 62;
/// Whoever ends a server.
pub(super) const STOP: Callers = 1 << 61;
/// The next timeout.
pub(super) const TIMER: Callers = 1 << 60;
/// Everybody.
pub(super) const ALL: Callers = Callers::MAX;

/// The caller that this socket is. Beyond sixty sockets some share one.
pub(super) fn caller(socket: SocketId) -> Callers {
    1 << (socket.0 % 60)
}

/// Wakes one task and remembers who called.
#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicU64,
    task: Mutex<Waker>,
}

impl Bell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            rung: AtomicU64::new(0),
            task: Mutex::new(Waker::noop().clone()),
        })
    }

    /// A waker with which `callers` call.
    pub(super) fn rope(self: &Arc<Self>, callers: Callers) -> Waker {
        let bell = Arc::clone(self);
        Waker::from(Arc::new(Rope { bell, callers }))
    }

    /// Who has called since the last time. From here on the first that calls wakes `task`.
    pub(super) fn answer(&self, task: &Waker) -> Callers {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.will_wake(task) {
            drop(mem::replace(&mut *known, task.clone()));
        }
        drop(known);
        // After the task is known: whoever calls from here on finds it.
        self.rung.swap(0, Ordering::AcqRel)
    }

    fn ring(&self, callers: Callers) {
        // Whoever rang first has woken the task, which has not answered yet.
        if self.rung.fetch_or(callers, Ordering::AcqRel) == 0 {
            let known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            let task = known.clone();
            drop(known); // a waker may do anything, even ring
            task.wake();
        }
    }
}

struct Rope {
    bell: Arc<Bell>,
    callers: Callers,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.bell.ring(self.callers);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bell.ring(self.callers);
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Woken>, Waker) {
        let woken = Arc::new(Woken::default());
        (Arc::clone(&woken), Waker::from(woken))
    }

    #[test]
    fn the_first_call_wakes_and_all_callers_are_known() {
        let bell = Bell::new();
        let (woken, waker) = task();
        let (one, two) = (bell.rope(TIMER), bell.rope(caller(SocketId(3))));
        assert_eq!(bell.answer(&waker), 0);
        one.wake_by_ref();
        two.wake_by_ref();
        one.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(bell.answer(&waker), TIMER | 0b1000);
        assert_eq!(bell.answer(&waker), 0);
        two.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(bell.answer(&waker), 0b1000);
    }

    #[test]
    fn who_calls_before_anybody_listens_is_heard_and_the_last_task_is_woken() {
        let bell = Bell::new();
        bell.rope(STOP).wake();
        let ((first, one), (second, two)) = (task(), task());
        assert_eq!(bell.answer(&one), STOP);
        assert_eq!(bell.answer(&two), 0);
        bell.rope(HANDLERS).wake();
        assert_eq!(first.0.load(Ordering::Relaxed), 0);
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn sockets_are_other_callers_than_the_rest() {
        let sockets = (0..200).fold(0, |all, id| all | caller(SocketId(id)));
        let rest = APPLICATION | HANDLERS | STOP | TIMER;
        assert_eq!(sockets & rest, 0);
        assert_eq!(sockets | rest, ALL);
        assert_ne!(caller(SocketId(0)), caller(SocketId(59)));
    }
}
