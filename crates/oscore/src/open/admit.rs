//! Whether a request that was verified is delivered: replay and freshness (draft sections 5.3 and 9).

use core::time::Duration;

use crate::echo::EchoStore;
use crate::identity::Kid;
use crate::nonce::PartialIv;
use crate::refused::Reason;
use crate::replay::ReplayWindow;

/// What a verified request is measured with.
pub(super) struct Gate<'a> {
    pub(super) window: &'a mut ReplayWindow,
    /// A request of this client was proven to be fresh before.
    pub(super) proven: &'a mut bool,
    /// `None` where no challenge can be sent.
    pub(super) echo: Option<&'a mut EchoStore>,
    /// Each client has to prove freshness once.
    pub(super) first_contact: bool,
    /// The keys are so new that whatever they protect is fresh.
    pub(super) young: bool,
}

/// What becomes of a verified request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Deliver {
        fresh: bool,
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
        kid: Kid,
        piv: PartialIv,
        echo: Option<&[u8]>,
    ) -> Result<Verdict, Reason> {
        let kid = kid.as_bytes();
        if self.window.is_valid() {
            // The window decides; the value only tells whether the request is fresh.
            self.window.commit(piv).map_err(|_| Reason::Replayed)?;
            let fresh = match (echo, self.echo) {
                (Some(value), Some(store)) => {
                    let waiting = store.is_waiting(kid, now);
                    store.verify(kid, value, now) || (!waiting && self.young)
                }
                _ => false,
            };
            *self.proven |= fresh;
            if self.first_contact && !*self.proven {
                return Ok(Verdict::Challenge);
            }
            return Ok(Verdict::Deliver { fresh, reuse: true });
        }
        // What was received before is not known, so that nothing but an own challenge proves anything: the age of the
        // keys does not tell a first copy from a second.
        let store = self.echo.ok_or(Reason::WindowInvalid)?;
        match echo {
            Some(value) if store.verify(kid, value, now) => {
                self.window.restart_at(piv).map_err(|_| Reason::Replayed)?;
                *self.proven = true;
                Ok(Verdict::Deliver {
                    fresh: true,
                    reuse: false,
                })
            }
            _ => Ok(Verdict::Challenge),
        }
    }
}
