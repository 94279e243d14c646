//! When a distributor is silent: when nothing was heard of it for much longer than lay between its messages before. At one byte
//! a second a block of 1,024 bytes comes every twenty minutes, and nobody is silent for that.

use core::time::Duration;

use super::DeviceConfig;
use crate::time::Instant;

/// So many of the longest gaps are a silence: at 30 % loss so many messages are lost in a row once in two million times, and an
/// announcement is not a tenth of the largest block.
const GAPS: u32 = 12;
/// The longest gap is forgotten by one part in so many with each message.
const FADES: u32 = 16;
/// One gap alone does not count for more than twice the longest before it, or twice this: it may be that nothing could be heard.
const LEAST: Duration = Duration::from_secs(1);

/// The gaps between the messages of one distribution.
#[derive(Debug)]
pub(super) struct Rhythm {
    last: Instant,
    /// The longest of late; `None` when only one message was heard.
    gap: Option<Duration>,
}

impl Rhythm {
    /// The first message was heard.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            gap: None,
        }
    }

    /// Another one was heard.
    pub(super) fn hear(&mut self, now: Instant, config: &DeviceConfig) {
        let gap = now.since(self.last);
        self.last = now;
        self.gap = Some(match self.gap {
            None => gap.min(config.silence),
            Some(longest) => {
                let most = longest.max(LEAST).saturating_mul(2);
                gap.min(most).max(longest - longest / FADES)
            }
        });
    }

    /// For how long nothing is heard of a distributor that is silent.
    pub(super) fn silence(&self, config: &DeviceConfig) -> Duration {
        let gap = self.gap.unwrap_or(config.silence);
        let gaps = gap.saturating_mul(GAPS);
        gaps.min(config.max_silence).max(config.silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(gaps: &[u64]) -> Duration {
        let config = DeviceConfig::default();
        let mut now = Instant::from_millis(5_000);
        let mut rhythm = Rhythm::new(now);
        for gap in gaps {
            now = now + Duration::from_millis(*gap);
            rhythm.hear(now, &config);
        }
        rhythm.silence(&config)
    }

    #[test]
    fn a_silence_is_twelve_times_the_longest_gap_of_late_within_limits() {
        let seconds = Duration::from_secs;
        assert_eq!(after(&[]), seconds(1_200), "nothing is known of its pace");
        assert_eq!(after(&[50]), seconds(100));
        assert_eq!(after(&[8_333]), seconds(100), "the least");
        assert_eq!(after(&[8_334]), Duration::from_millis(100_008));
        assert_eq!(after(&[60_000]), seconds(720));
        // the first gap may be that of a device which heard one message by chance
        assert_eq!(after(&[86_400_000]), seconds(1_200));
        // and no other makes more of it than the double
        assert_eq!(after(&[60_000, 86_400_000]), seconds(1_440));
        assert_eq!(after(&[0, 86_400_000]), seconds(100), "2 s");
        assert_eq!(after(&[0, 9_000, 9_000, 9_000, 9_000]), seconds(108));
        // at a byte a second: three announcements, then blocks
        let slow = [200_000, 200_000, 200_000, 1_100_000, 1_100_000, 1_100_000];
        assert_eq!(after(&slow[..2]), seconds(2_400));
        assert_eq!(after(&slow[..4]), seconds(4_800));
        assert_eq!(after(&slow[..5]), seconds(9_600));
        assert_eq!(after(&slow), seconds(13_200));
        assert_eq!(after(&[10_000_000; 20]), seconds(6 * 3_600), "the most");
        // forgotten by a sixteenth each
        assert_eq!(after(&[64_000, 1]), seconds(12 * 60));
        assert_eq!(after(&[64_000, 1, 60_000]), seconds(12 * 60));
        let forgotten: [u64; 60] = core::array::from_fn(|at| if at == 0 { 90_000 } else { 1 });
        assert_eq!(after(&forgotten), seconds(100));
    }
}
