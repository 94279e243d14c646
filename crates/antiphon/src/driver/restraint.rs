//! Warnings that the network could cause without end, at a bearable rate.

use core::time::Duration;

use antiphon_proto::Instant;

/// How often the same warning is given at most.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Lets the first of many warnings through, and from then on one in each [`INTERVAL`] that says how many there were.
#[derive(Debug, Default)]
pub(super) struct Restraint {
    silent_until: Option<Instant>,
    withheld: u64,
}

impl Restraint {
    /// Something is to be warned of. `Some`: now, and so many warnings were withheld before this one.
    pub(super) fn warn(&mut self, now: Instant) -> Option<u64> {
        if self.silent_until.is_some_and(|until| now < until) {
            self.withheld += 1;
            return None;
        }
        self.silent_until = Some(now + INTERVAL);
        Some(core::mem::take(&mut self.withheld))
    }

    /// Nothing new has happened. `Some`: it is time to tell how many warnings were withheld.
    pub(super) fn remind(&mut self, now: Instant) -> Option<u64> {
        match self.withheld {
            0 => None,
            _ if self.silent_until.is_some_and(|until| now < until) => None,
            _ => {
                self.silent_until = Some(now + INTERVAL);
                Some(core::mem::take(&mut self.withheld))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_a_count_in_each_interval() {
        let start = Instant::ZERO + Duration::from_secs(100);
        let tick = Duration::from_micros(1);
        let mut restraint = Restraint::default();
        assert_eq!(restraint.remind(start), None);
        assert_eq!(restraint.warn(start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(restraint.warn(start + tick), None);
        }
        assert_eq!(restraint.warn(start + (INTERVAL - tick)), None);
        assert_eq!(restraint.warn(start + INTERVAL), Some(1_001));
        let later = start + INTERVAL + INTERVAL;
        assert_eq!(restraint.remind(later), None); // nothing was withheld
        assert_eq!(restraint.warn(later), Some(0));
    }

    #[test]
    fn what_was_withheld_is_told_although_nothing_follows() {
        let start = Instant::ZERO;
        let mut restraint = Restraint::default();
        assert_eq!(restraint.warn(start), Some(0));
        assert_eq!(restraint.warn(start), None);
        assert_eq!(restraint.remind(start + INTERVAL / 2), None);
        assert_eq!(restraint.remind(start + INTERVAL), Some(1));
        assert_eq!(restraint.remind(start + INTERVAL * 3), None);
        // Its interval runs from the reminder.
        assert_eq!(restraint.warn(start + INTERVAL), None);
    }
}
