//! The clock of the process, as the endpoint wants it: monotonic, counted from one origin.

use std::sync::OnceLock;

use antiphon_proto::Instant;

/// Now, in microseconds since the process first asked. All endpoints of the process share the origin.
pub(crate) fn now() -> Instant {
    Instant::from_micros(u64::try_from(origin().elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// The system's name for an instant, for timers.
pub(crate) fn to_system(instant: Instant) -> std::time::Instant {
    let origin = origin();
    // Beyond what the system can name is a year away, and the timer is set again then.
    const FAR: core::time::Duration = core::time::Duration::from_secs(365 * 24 * 3_600);
    origin
        .checked_add(instant.since(Instant::ZERO))
        .unwrap_or_else(|| std::time::Instant::now() + FAR)
}

fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn both_directions_agree_to_the_microsecond() {
        let before = std::time::Instant::now();
        let there = now();
        let back = to_system(there);
        assert!(back + Duration::from_micros(1) >= before);
        assert!(back <= std::time::Instant::now());
        assert_eq!(
            to_system(there + Duration::from_secs(5)) - back,
            Duration::from_secs(5)
        );
        assert!(to_system(Instant::from_micros(u64::MAX)) > back);
        assert!(now() >= there);
    }
}
