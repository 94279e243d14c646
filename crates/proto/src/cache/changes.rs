//! When resources were changed last, by requests of our own: an answer to a question that was asked before may tell how
//! they were.

use alloc::collections::BTreeMap;

use super::ResourcePath;

/// So many resources are remembered.
const RESOURCES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Changes {
    last: BTreeMap<ResourcePath, u64>,
    /// No resource that is not remembered was changed after this.
    others: u64,
}

impl Changes {
    /// A resource was changed at this moment.
    pub(super) fn note(&mut self, path: &ResourcePath, moment: u64) {
        if let Some(last) = self.last.get_mut(path) {
            *last = moment.max(*last);
            return;
        }
        if self.last.len() >= RESOURCES {
            let oldest = self.last.iter().min_by_key(|(_, last)| **last);
            if let Some((oldest, last)) = oldest.map(|(path, last)| (path.clone(), *last)) {
                self.last.remove(&oldest);
                self.others = self.others.max(last);
            }
        }
        self.last.insert(path.clone(), moment.max(self.others));
    }

    /// Was a resource changed after this moment? Of one that is not remembered, could it have been?
    pub(super) fn since(&self, path: &ResourcePath, moment: u64) -> bool {
        *self.last.get(path).unwrap_or(&self.others) > moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Request;
    use antiphon_wire::Code;

    fn resource(n: usize) -> ResourcePath {
        let request = Request::new(Code::GET).path(&std::format!("r{n}"));
        ResourcePath::of(&request.options)
    }

    #[test]
    fn the_last_change_of_each_resource_counts() {
        let mut changes = Changes::default();
        assert!(!changes.since(&resource(1), 0));
        changes.note(&resource(1), 7);
        changes.note(&resource(1), 5);
        assert!(changes.since(&resource(1), 6));
        assert!(!changes.since(&resource(1), 7));
        assert!(!changes.since(&resource(2), 0));
        changes.note(&resource(1), 8);
        assert!(changes.since(&resource(1), 7));
    }

    #[test]
    fn what_is_not_remembered_any_more_counts_for_all_others() {
        let mut changes = Changes::default();
        for n in 0..RESOURCES {
            changes.note(&resource(n), 100 + n as u64);
        }
        assert!(!changes.since(&resource(999), 0), "all are remembered");
        changes.note(&resource(0), 500);
        changes.note(&resource(700), 300); // in place of the one at 101
        assert_eq!(changes.last.len(), RESOURCES);
        assert!(changes.since(&resource(1), 100));
        assert!(!changes.since(&resource(1), 101));
        assert!(changes.since(&resource(999), 100));
        assert!(!changes.since(&resource(2), 102) && changes.since(&resource(2), 101));
        assert!(changes.since(&resource(0), 499), "which is remembered");
        assert!(changes.since(&resource(700), 299));
        // Noted later than what came after it: not before what is forgotten.
        changes.note(&resource(701), 1); // in place of the one at 102
        assert!(changes.since(&resource(701), 101));
        assert!(!changes.since(&resource(701), 102));
    }
}
