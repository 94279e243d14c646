//! Waiting for the error reports of many sockets without allocating each time.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use crate::socket::UnicastSocket;

/// One future for the whole life of a socket, which says again and again that a report may be read.
pub(super) struct Reports {
    /// Ends only with an error: when the runtime shuts down.
    watch: Pin<Box<dyn Future<Output = io::Error> + Send>>,
    ready: Arc<AtomicBool>,
}

impl Reports {
    /// Shares `socket` until it is dropped.
    pub(super) fn of(socket: Arc<UnicastSocket>) -> Self {
        let ready = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ready);
        let watch = Box::pin(async move {
            loop {
                if let Err(error) = socket.reporting().await {
                    return error;
                }
                flag.store(true, Ordering::Relaxed);
                once_pending().await;
            }
        });
        Self { watch, ready }
    }

    /// Ready when a report may be read; else the task is woken when that changes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.watch.as_mut().poll(cx) {
            return Poll::Ready(Err(error));
        }
        match self.ready.swap(false, Ordering::Relaxed) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

/// Gives control back once. Nobody is woken: the flag has told that there is something to do.
async fn once_pending() {
    let mut first = true;
    poll_fn(|_| match core::mem::take(&mut first) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}
