//! Which notification of a member is the newest (RFC 7641 section 3.4, draft-ietf-core-oscore-groupcomm-28 section 5.3.1).

use core::time::Duration;

use crate::time::Instant;

/// So long after another a notification counts as newer, whatever its number says.
const ANYTHING_IS_NEWER: Duration = Duration::from_secs(128);
/// Half of the range of the numbers.
const HALF: u32 = 1 << 23;

/// A verified notification: to which registration it is bound, and where it stands among those of its sender there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The registration, by its number within the observation.
    pub(crate) registration: u32,
    /// Under which key identifier it came.
    pub(crate) kid: u64,
    /// Security context, change of the identifier, and Partial IV; `None`: without one.
    pub(crate) place: Option<(u64, u8, u64)>,
}

/// What is known of the newest notification of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latest {
    pub(crate) at: Instant,
    pub(crate) number: Option<u32>,
    pub(crate) bound: Option<Bound>,
}

impl Latest {
    /// Is `next` newer?
    pub(crate) fn precedes(&self, next: &Self) -> bool {
        match (self.bound, next.bound) {
            (Some(bound), Some(next)) => bound.precedes(&next),
            _ => match (self.number, next.number) {
                (Some(number), Some(next_number)) => {
                    newer(number, next_number) || next.at > self.at + ANYTHING_IS_NEWER
                }
                // Without a number it is no notification: the last word, or an answer that begins anew.
                _ => true,
            },
        }
    }
}

impl Bound {
    /// A server binds what it says to the newest registration that it has heard, and numbers all it says. Without a number,
    /// or under another identifier, only the registration tells.
    fn precedes(&self, next: &Self) -> bool {
        match (self.place, next.place) {
            (Some(place), Some(next_place)) if self.kid == next.kid => {
                let change =
                    |(context, change, number)| match self.registration == next.registration {
                        true => (context, change, number),
                        false => (context, 0, number), // changes are counted for each registration
                    };
                change(place) < change(next_place)
            }
            _ if self.registration == next.registration => self.place < next.place,
            _ => self.registration < next.registration,
        }
    }
}

/// "V1 < V2 and V2 - V1 < 2^23, or V1 > V2 and V1 - V2 > 2^23".
fn newer(v1: u32, v2: u32) -> bool {
    (v1 < v2 && v2 - v1 < HALF) || (v1 > v2 && v1 - v2 > HALF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64, number: u32) -> Latest {
        Latest {
            at: Instant::from_millis(millis),
            number: Some(number),
            bound: None,
        }
    }

    fn bound(registration: u32, place: Option<(u64, u8, u64)>) -> Bound {
        Bound {
            registration,
            kid: 7,
            place,
        }
    }

    #[test]
    fn numbers_are_compared_on_a_circle_of_24_bits() {
        assert!(newer(3, 4));
        assert!(!newer(4, 4));
        assert!(!newer(5, 4));
        assert!(newer(0, HALF - 1));
        assert!(!newer(0, HALF));
        assert!(!newer(HALF, 0));
        assert!(newer(HALF + 1, 0));
        assert!(newer(HALF, HALF + 1));
        assert!(newer(0xff_ffff, 0));
        assert!(!newer(0, 0xff_ffff));
    }

    #[test]
    fn after_more_than_128_s_any_number_is_newer() {
        assert!(!at(0, 9).precedes(&at(128_000, 9)));
        assert!(at(0, 9).precedes(&at(128_001, 9)));
        assert!(at(0, 9).precedes(&at(1, 10)));
        assert!(!at(0, 9).precedes(&at(1, 8)));
    }

    #[test]
    fn what_has_no_number_is_not_compared() {
        let last = Latest {
            number: None,
            ..at(0, 0)
        };
        assert!(at(0, 9).precedes(&last));
        assert!(last.precedes(&at(0, 1)));
    }

    #[test]
    fn under_protection_the_partial_iv_decides_and_not_the_clock() {
        let last = |place, millis| Latest {
            bound: Some(bound(1, place)),
            ..at(millis, 1)
        };
        assert!(last(Some((1, 0, 5)), 0).precedes(&last(Some((1, 0, 6)), 1)));
        assert!(!last(Some((1, 0, 5)), 0).precedes(&last(Some((1, 0, 5)), 500_000)));
        assert!(!last(Some((1, 0, 5)), 0).precedes(&last(Some((1, 0, 4)), 500_000)));
        assert!(
            last(Some((1, 0, 5)), 0).precedes(&last(Some((2, 0, 1)), 1)),
            "newer keys"
        );
        assert!(last(None, 0).precedes(&last(Some((1, 0, 0)), 1)));
        assert!(!last(Some((1, 0, 0)), 0).precedes(&last(None, 1)));
    }

    #[test]
    fn between_registrations_the_number_decides_if_both_have_one() {
        let place = |number| Some((1, 0, number));
        assert!(bound(1, place(5)).precedes(&bound(2, place(6))));
        assert!(!bound(2, place(6)).precedes(&bound(1, place(5))));
        assert!(bound(2, place(6)).precedes(&bound(1, place(7))));
        assert!(bound(1, Some((1, 3, 5))).precedes(&bound(2, place(6))));
        // Without a number, or from another key, the registration decides.
        assert!(bound(1, place(5)).precedes(&bound(2, None)));
        assert!(!bound(2, None).precedes(&bound(1, place(5))));
        let other = Bound {
            kid: 8,
            ..bound(2, place(1))
        };
        assert!(bound(1, place(5)).precedes(&other));
        assert!(!other.precedes(&bound(1, place(5))));
        // The same again is not newer, whoever says it.
        assert!(!bound(1, None).precedes(&bound(1, None)));
        let again = Bound {
            kid: 8,
            ..bound(1, place(5))
        };
        assert!(!bound(1, place(5)).precedes(&again));
    }
}
