//! Waiting for sockets, the application, handlers and time, and looking only at those that have called.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use antiphon_proto::Instant;

use super::{Driver, Life, bell};
use crate::clock;

impl Driver {
    /// Waits for something to do; with `more` it only looks whether there is. True: it is time to stop.
    pub(super) async fn wait(
        &mut self,
        now: Instant,
        more: bool,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        self.set_timer(now);
        poll_fn(|cx| {
            self.called |= self.bell.answer(cx.waker());
            let mut wake = self.poll_inputs(now) | more;
            if self.called & bell::TIMER != 0 {
                let mut cx = Context::from_waker(&self.ropes.timer);
                let elapsed =
                    self.timer_at.is_some() && self.timer.as_mut().poll(&mut cx).is_ready();
                if elapsed {
                    self.timer_at = None;
                    wake = true;
                }
                self.called &= !bell::TIMER;
            }
            let mut stops = !self.linked && self.ends_with_links && self.life == Life::Runs;
            // A shutdown has begun only once, so `stop` is not polled after it was ready.
            if self.life == Life::Runs && !stops && self.called & bell::STOP != 0 {
                let mut cx = Context::from_waker(&self.ropes.stop);
                stops = stop.as_mut().poll(&mut cx).is_ready();
                self.called &= !bell::STOP;
            }
            match wake || stops {
                true => Poll::Ready(stops),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Sets the timer if it would call too late. One that calls too early costs a look, and less than setting it
    /// each time that the next timeout moves.
    fn set_timer(&mut self, now: Instant) {
        let Some(due) = self.deadline(now) else {
            return;
        };
        if self.timer_at.is_none_or(|at| due < at) {
            self.timer.as_mut().reset(clock::to_system(due).into());
            self.timer_at = Some(due);
            self.called |= bell::TIMER; // it does not call before it was looked at
        }
    }

    /// Whether a socket, the application or a handler wants something.
    pub(super) fn poll_inputs(&mut self, now: Instant) -> bool {
        let mut wake = self.ports.poll_ready(now, self.called, &mut self.unblocked);
        if self.called & bell::APPLICATION != 0 {
            wake |= self.poll_application();
        }
        if self.called & bell::HANDLERS != 0 {
            let mut cx = Context::from_waker(&self.ropes.handlers);
            wake |= self.handlers.poll(&mut cx);
            wake |= self.desk.poll(&mut cx);
        }
        self.called &= bell::APPLICATION | bell::STOP | bell::TIMER;
        wake
    }

    /// Whether the application wants something. If not, it calls when it does.
    fn poll_application(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.ropes.application);
        if self.next_command.is_none() && self.linked {
            match self.commands.poll_recv(&mut cx) {
                Poll::Ready(Some(command)) => self.next_command = Some(command),
                Poll::Ready(None) => self.linked = false,
                Poll::Pending => {}
            }
        }
        if self.next_abandoned.is_none()
            && let Poll::Ready(Some(abandoned)) = self.abandoned.poll_recv(&mut cx)
        {
            self.next_abandoned = Some(abandoned);
        }
        let wants = self.next_command.is_some() || self.next_abandoned.is_some();
        if !wants {
            self.called &= !bell::APPLICATION;
        }
        wants
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let check = (!self.config.interface_check.is_zero()).then_some(self.next_check);
        let drained = match self.life {
            Life::Runs => None,
            Life::Drains(until) => Some(until),
        };
        let rested = self.ports.rested(now);
        [self.endpoint.next_timeout(), check, drained, rested]
            .into_iter()
            .flatten()
            .min()
    }
}
