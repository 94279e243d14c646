//! Whether a request that was verified is delivered: replay and freshness (draft sections 5.3 and 9).

use core::time::Duration;

use crate::echo::{Challenges, Client, EchoNote, Echoes};
use crate::nonce::PartialIv;
use crate::refused::Reason;
use crate::replay::ReplayWindow;

/// What a verified request is measured with.
pub(super) struct Gate<'a> {
    pub(super) window: &'a mut ReplayWindow,
    /// A request of this client was proven to be fresh before.
    pub(super) proven: &'a mut bool,
    /// `None` where no challenge can be sent.
    pub(super) echo: Option<Proof<'a>>,
    /// Each client has to prove freshness once.
    pub(super) first_contact: bool,
    /// The keys are so new that whatever they protect is fresh.
    pub(super) young: bool,
}

/// By which a client proves freshness.
pub(super) struct Proof<'a> {
    pub(super) echoes: &'a Echoes,
    pub(super) client: Client,
    pub(super) challenges: &'a mut Challenges,
}

impl Proof<'_> {
    fn of(self, value: &[u8], now: Duration) -> Option<EchoNote> {
        self.echoes.verify(self.client, self.challenges, value, now)
    }
}

/// What becomes of a verified request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Deliver {
        fresh: bool,
        /// The note of the Echo value that proved it.
        echoed: Option<EchoNote>,
        /// The nonce of the request may serve for the first response.
        reuse: bool,
    },
    Challenge,
}

impl Gate<'_> {
    /// Checks the window again and moves it. `echo` is the Echo option of a request that came by unicast.
    pub(super) fn admit(
        self,
        now: Duration,
        piv: PartialIv,
        echo: Option<&[u8]>,
    ) -> Result<Verdict, Reason> {
        if self.window.is_valid() {
            self.window.commit(piv).map_err(|_| Reason::Replayed)?;
            let (fresh, echoed) = match (echo, self.echo) {
                (Some(value), Some(proof)) => {
                    let waiting = proof.challenges.are_waiting(now);
                    let echoed = proof.of(value, now);
                    if waiting && echoed.is_none() {
                        return Ok(Verdict::Challenge);
                    }
                    // Where none waits the window decides; the value only tells whether the request is fresh.
                    (echoed.is_some() || self.young, echoed)
                }
                _ => (false, None),
            };
            *self.proven |= fresh;
            if self.first_contact && !*self.proven {
                return Ok(Verdict::Challenge);
            }
            return Ok(Verdict::Deliver {
                fresh,
                echoed,
                reuse: true,
            });
        }
        // What was received before is not known, so that nothing but an own challenge proves anything: the age of the
        // keys does not tell a first copy from a second.
        let proof = self.echo.ok_or(Reason::WindowInvalid)?;
        let Some(note) = echo.and_then(|value| proof.of(value, now)) else {
            return Ok(Verdict::Challenge);
        };
        self.window.restart_at(piv).map_err(|_| Reason::Replayed)?;
        *self.proven = true;
        Ok(Verdict::Deliver {
            fresh: true,
            echoed: Some(note),
            reuse: false,
        })
    }
}
