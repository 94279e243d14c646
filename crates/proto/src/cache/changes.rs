//! When resources were changed last, by requests of our own: an answer to a question that was asked before may tell how
//! they were.

use alloc::collections::BTreeMap;

use super::ResourcePath;
use crate::time::Instant;

/// So many resources are remembered.
const RESOURCES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Changes {
    last: BTreeMap<ResourcePath, Change>,
    /// No resource that is not remembered was changed after this.
    others: Option<Change>,
}

/// The last change of a resource: in the order of things, and by the clock.
#[derive(Clone, Copy, Debug)]
struct Change {
    moment: u64,
    at: Instant,
}

impl Changes {
    /// A resource is changed now, at this moment: after all that were before.
    pub(super) fn note(&mut self, path: &ResourcePath, moment: u64, now: Instant) {
        let change = Change { moment, at: now };
        if let Some(last) = self.last.get_mut(path) {
            *last = change;
            return;
        }
        if self.last.len() >= RESOURCES {
            let oldest = self.last.iter().min_by_key(|(_, last)| last.moment);
            if let Some((oldest, last)) = oldest.map(|(path, last)| (path.clone(), *last)) {
                self.last.remove(&oldest);
                self.others = Some(last);
            }
        }
        self.last.insert(path.clone(), change);
    }

    /// Was a resource changed after this moment? Of one that is not remembered, could it have been?
    pub(super) fn since(&self, path: &ResourcePath, moment: u64) -> bool {
        self.of(path).is_some_and(|last| last.moment > moment)
    }

    /// Was it changed then or later, by the clock?
    pub(super) fn since_instant(&self, path: &ResourcePath, then: Instant) -> bool {
        self.of(path).is_some_and(|last| last.at >= then)
    }

    fn of(&self, path: &ResourcePath) -> Option<Change> {
        self.last.get(path).copied().or(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Request;
    use antiphon_wire::Code;
    use core::time::Duration;

    fn resource(n: usize) -> ResourcePath {
        let request = Request::new(Code::GET).path(&std::format!("r{n}"));
        ResourcePath::of(&request.options)
    }

    fn at(moment: u64) -> Instant {
        Instant::from_millis(moment * 1_000)
    }

    /// Notes a change at this moment, as many seconds after the origin.
    fn note(changes: &mut Changes, n: usize, moment: u64) {
        changes.note(&resource(n), moment, at(moment));
    }

    #[test]
    fn the_last_change_of_each_resource_counts() {
        let mut changes = Changes::default();
        assert!(!changes.since(&resource(1), 0));
        assert!(!changes.since_instant(&resource(1), Instant::ZERO));
        note(&mut changes, 1, 5);
        note(&mut changes, 1, 7);
        assert!(changes.since(&resource(1), 6));
        assert!(!changes.since(&resource(1), 7));
        assert!(changes.since_instant(&resource(1), at(7)));
        assert!(!changes.since_instant(&resource(1), at(7) + Duration::from_micros(1)));
        assert!(!changes.since(&resource(2), 0));
        assert!(!changes.since_instant(&resource(2), Instant::ZERO));
        note(&mut changes, 1, 8);
        assert!(changes.since(&resource(1), 7));
        assert!(changes.since_instant(&resource(1), at(8)));
    }

    #[test]
    fn what_is_not_remembered_any_more_counts_for_all_others() {
        let mut changes = Changes::default();
        for n in 0..RESOURCES {
            note(&mut changes, n, 100 + n as u64);
        }
        assert!(!changes.since(&resource(999), 0), "all are remembered");
        assert!(!changes.since_instant(&resource(999), Instant::ZERO));
        note(&mut changes, 0, 500);
        assert!(!changes.since(&resource(999), 0), "none gave way");
        note(&mut changes, 700, 501); // in place of the one at 101
        assert_eq!(changes.last.len(), RESOURCES);
        for forgotten in [resource(1), resource(999)] {
            assert!(changes.since(&forgotten, 100));
            assert!(!changes.since(&forgotten, 101));
            assert!(changes.since_instant(&forgotten, at(101)));
            assert!(!changes.since_instant(&forgotten, at(102)));
        }
        assert!(!changes.since(&resource(2), 102) && changes.since(&resource(2), 101));
        assert!(changes.since(&resource(0), 499), "which is remembered");
        assert!(changes.since(&resource(700), 500));
        note(&mut changes, 701, 502); // in place of the one at 102
        assert!(changes.since(&resource(999), 101) && !changes.since(&resource(999), 102));
    }
}
