//! One resource of a server, seen from outside of it.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use antiphon_proto::ResourceId;

use crate::driver::{Abandoned, Link};
use crate::error::Closed;

/// One resource of a server: for whoever changes its state, in any thread, and wants its observers notified. Cheap to clone.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use antiphon::{Access, ContentFormat, NoSec, Resource, Server};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let value = Arc::new(AtomicU32::new(20));
/// let read = Arc::clone(&value);
/// let server = Server::builder()
///     .unicast("127.0.0.1:5683".parse()?)
///     .unsecured(NoSec::Accepted)
///     .resource(
///         Resource::at("/temperature")
///             .get(move |_, response| {
///                 let text = read.load(Ordering::Relaxed).to_string();
///                 response.set_payload(ContentFormat::TEXT, text.as_bytes());
///             })
///             .access(Access::Unsecured)
///             .observable(),
///     )
///     .build()
///     .await?;
/// let temperature = server.resource("/temperature").expect("it is there");
/// std::thread::spawn(move || loop {
///     std::thread::sleep(std::time::Duration::from_secs(10));
///     value.fetch_add(1, Ordering::Relaxed);
///     if temperature.notify().is_err() {
///         return;
///     }
/// });
/// server.run(std::future::pending()).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ResourceHandle {
    link: Link,
    changed: Arc<Changed>,
}

/// Says that a resource has changed.
#[derive(Debug)]
pub(crate) struct Changed {
    resource: ResourceId,
    /// It was said, and the driver has not heard it yet.
    said: AtomicBool,
}

impl Changed {
    /// Which resource has changed. What changes from now on is to be said anew.
    pub(crate) fn hear(&self) -> ResourceId {
        self.said.store(false, Ordering::SeqCst);
        self.resource
    }
}

impl ResourceHandle {
    pub(super) fn new(link: Link, resource: ResourceId) -> Self {
        let said = AtomicBool::new(false);
        Self {
            link,
            changed: Arc::new(Changed { resource, said }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> ResourceId {
        self.changed.resource
    }

    /// The state has changed: each observer is notified of the newest state as soon as its pace and the leisure of its
    /// group allow. Does not wait; may be said as often as the state changes.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn notify(&self) -> Result<(), Closed> {
        if self.changed.said.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.link.say(Abandoned::Changed(Arc::clone(&self.changed)))
    }

    /// How many observe it.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn observers(&self) -> Result<usize, Closed> {
        let id = self.id();
        self.link
            .call(move |driver, _| driver.endpoint.server().observers_of(id))
            .await
    }
}

impl fmt::Debug for ResourceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResourceHandle").field(&self.id()).finish()
    }
}
