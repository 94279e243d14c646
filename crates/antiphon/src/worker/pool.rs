//! Threads for what takes long: bounded in number, started when there is work, ended when there is none.
//!
//! There are three pools in a process, whatever number of clients and servers it has. What computes has a thread for each
//! processor, of the lowest priority, so that a flood of messages to be verified takes nothing from those that receive. What waits,
//! for a disk or a secure element, has threads of its own, so that a slow one holds up nobody else; and so has what fetches
//! credentials, because strangers decide how much of that there is.

use core::time::Duration;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Something to be done.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(5);
/// Threads that wait for something, at most.
const PATIENT: usize = 16;
/// Threads that fetch credentials, at most.
const FETCHING: usize = 4;
/// Threads that compute, at most.
const COMPUTING: usize = 16;
/// So many jobs of one strand are done before others have their turn.
const TURN: usize = 32;

/// Some threads, and what waits for them.
pub(crate) struct Pool {
    name: &'static str,
    width: usize,
    /// Its threads run when nobody else wants to.
    yielding: bool,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    const fn new(name: &'static str, width: usize, yielding: bool) -> Self {
        Self {
            name,
            width,
            yielding,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                threads: 0,
                idle: 0,
            }),
            more: Condvar::new(),
        }
    }

    /// The threads that verify.
    pub(crate) fn computing() -> &'static Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        POOL.get_or_init(|| {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            // Where priorities cannot be given, a processor is left to those that receive: else they wait for their
            // turn, some milliseconds each time.
            let kept = usize::from(!CAN_YIELD);
            let width = processors.saturating_sub(kept).clamp(1, COMPUTING);
            Pool::new("antiphon-verify", width, true)
        })
    }

    /// The threads that wait for disks and private keys.
    pub(crate) fn patient() -> &'static Self {
        static POOL: Pool = Pool::new("antiphon-wait", PATIENT, false);
        &POOL
    }

    /// The threads that wait for the credentials of strangers: whoever makes them wait holds up nobody else.
    pub(crate) fn fetching() -> &'static Self {
        static POOL: Pool = Pool::new("antiphon-fetch", FETCHING, false);
        &POOL
    }

    /// Does this, when a thread is free; or gives it back, as too much waits already.
    pub(crate) fn submit_within(&'static self, limit: usize, job: Job) -> Result<(), Job> {
        if self.state().waiting.len() >= limit {
            return Err(job);
        }
        self.submit(job);
        Ok(())
    }

    /// Does this, when a thread is free. In the order of the calls jobs begin, not end.
    pub(crate) fn submit(&'static self, job: Job) {
        let mut state = self.state();
        state.waiting.push_back(job);
        let starts = state.idle < state.waiting.len() && state.threads < self.width;
        if !starts {
            drop(state);
            self.more.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let started = std::thread::Builder::new()
            .name(self.name.to_owned())
            .spawn(|| self.work());
        if let Err(error) = started {
            let mut state = self.state();
            state.threads -= 1;
            // With no thread at all the work has to be done here.
            let job = (state.threads == 0)
                .then(|| state.waiting.pop_back())
                .flatten();
            drop(state);
            tracing::error!(%error, "no thread could be started");
            if let Some(job) = job {
                run(job);
            }
        }
    }

    fn work(&self) {
        if self.yielding {
            yield_to_others();
        }
        let mut state = self.state();
        loop {
            while let Some(job) = state.waiting.pop_front() {
                drop(state);
                run(job);
                state = self.state();
            }
            state.idle += 1;
            let (back, waited) = self
                .more
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a thread a priority of its own on this system?
const CAN_YIELD: bool = cfg!(target_os = "linux");

/// Gives this thread the lowest priority.
fn yield_to_others() {
    // On Linux this is of the thread, whatever the name says. To lower it needs no permission.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "the threads that verify keep their priority");
    }
}

/// A job that panics ends alone.
fn run(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("work for a client or server panicked");
    }
}

/// Jobs that are done one after the other, in their order, on the threads of a pool.
#[derive(Clone)]
pub(crate) struct Strand {
    pool: &'static Pool,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    busy: bool,
}

impl Strand {
    pub(crate) fn on(pool: &'static Pool) -> Self {
        Self {
            pool,
            queue: Arc::default(),
        }
    }

    /// Does this when all before it is done.
    pub(crate) fn submit(&self, job: Job) {
        let mut queue = self.queue();
        queue.waiting.push_back(job);
        let begins = !core::mem::replace(&mut queue.busy, true);
        drop(queue);
        if begins {
            self.take_turn();
        }
    }

    fn take_turn(&self) {
        let strand = self.clone();
        self.pool.submit(Box::new(move || strand.work()));
    }

    fn work(&self) {
        for _ in 0..TURN {
            let mut queue = self.queue();
            let Some(job) = queue.waiting.pop_front() else {
                queue.busy = false;
                return;
            };
            drop(queue);
            run(job);
        }
        self.take_turn();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn pool(width: usize) -> &'static Pool {
        Box::leak(Box::new(Pool::new("test", width, true)))
    }

    const SOON: Duration = Duration::from_secs(20);

    #[cfg(target_os = "linux")]
    #[test]
    fn what_verifies_runs_when_nobody_else_wants_to() {
        let (told, priority) = mpsc::channel();
        let own = rustix::process::getpriority_process(None).unwrap();
        pool(1).submit(Box::new(move || {
            let _ = told.send(rustix::process::getpriority_process(None).unwrap());
        }));
        assert_eq!(priority.recv_timeout(SOON).unwrap(), 19.min(own + 19));
        // The thread that asked for it keeps its own.
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
    }

    #[test]
    fn a_pool_with_much_to_do_gives_more_back() {
        let pool = pool(1);
        let (go, wait) = mpsc::channel::<()>();
        let (began, begins) = mpsc::channel();
        pool.submit(Box::new(move || {
            let _ = began.send(());
            let _ = wait.recv();
        }));
        begins.recv_timeout(SOON).unwrap();
        let (done, counted) = mpsc::channel();
        for n in 0..3 {
            let done = done.clone();
            let job = Box::new(move || {
                let _ = done.send(n);
            });
            assert_eq!(pool.submit_within(2, job).is_err(), n == 2);
        }
        drop((go, done));
        assert_eq!(counted.iter().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn as_many_jobs_run_at_once_as_the_pool_is_wide_and_no_more() {
        let pool = pool(3);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (together, met) = (Arc::new(std::sync::Barrier::new(3)), mpsc::channel());
        for _ in 0..9 {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let (together, done) = (Arc::clone(&together), met.0.clone());
            pool.submit(Box::new(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                together.wait(); // three are there at once, or this never ends
                running.fetch_sub(1, Ordering::SeqCst);
                done.send(()).unwrap();
            }));
        }
        for _ in 0..9 {
            met.1.recv_timeout(SOON).expect("all jobs are done");
        }
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(pool.state().threads, 3);
    }

    #[test]
    fn the_jobs_of_a_strand_are_done_in_their_order_one_at_a_time() {
        let strand = Strand::on(pool(4));
        let (done, order) = mpsc::channel();
        let inside = Arc::new(AtomicUsize::new(0));
        for number in 0..200 {
            let (done, inside) = (done.clone(), Arc::clone(&inside));
            strand.submit(Box::new(move || {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
                std::thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                done.send(number).unwrap();
            }));
        }
        let order: Vec<u32> = (0..200)
            .map(|_| order.recv_timeout(SOON).expect("done"))
            .collect();
        assert_eq!(order, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_job_that_panics_takes_neither_its_thread_nor_its_strand_with_it() {
        let pool = pool(1);
        let strand = Strand::on(pool);
        let (done, seen) = mpsc::channel();
        strand.submit(Box::new(|| panic!("a test's")));
        let other = done.clone();
        strand.submit(Box::new(move || other.send(1).unwrap()));
        pool.submit(Box::new(|| panic!("a test's")));
        pool.submit(Box::new(move || done.send(2).unwrap()));
        let mut seen: Vec<i32> = (0..2).map(|_| seen.recv_timeout(SOON).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    }
}
