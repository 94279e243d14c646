//! Resources with async handlers.

use core::future::Future;
use std::sync::Arc;

use antiphon_proto::{Methods, Resource, ResourceError, ResourceId, Response};

use crate::driver::Driver;
use crate::worker::{Asked, AsyncHandler, AsyncHandlers};

/// A resource, with the async handlers of some of its methods. Every [`Resource`] is one without.
#[must_use]
pub struct Provided {
    resource: Resource,
    handlers: AsyncHandlers,
}

impl From<Resource> for Provided {
    fn from(resource: Resource) -> Self {
        Self {
            resource,
            handlers: Vec::new(),
        }
    }
}

impl Provided {
    pub(crate) fn path(&self) -> String {
        format!("{:?}", self.resource)
    }

    /// Offers it from now on.
    pub(crate) fn add(self, driver: &mut Driver) -> Result<ResourceId, ResourceError> {
        let id = driver.endpoint.server_mut().add(self.resource)?;
        driver.handlers.add(id, self.handlers);
        Ok(id)
    }
}

/// Gives methods of a resource to async handlers: what takes long, waits for others or asks other servers.
///
/// ```
/// use antiphon::{Access, Asked, AsyncResource, Code, ContentFormat, Resource, Response};
/// let slow = Resource::at("/slow").access(Access::Public).get_async(|asked: Asked| async move {
///     tokio::time::sleep(core::time::Duration::from_millis(5)).await;
///     Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, &asked.request.payload)
/// });
/// # let _ = slow;
/// ```
pub trait AsyncResource: Into<Provided> {
    /// These methods are answered by this handler.
    fn on_async(self, methods: Methods, handler: impl AsyncHandler) -> Provided {
        let Provided {
            resource,
            mut handlers,
        } = self.into();
        handlers.push((methods, Arc::new(handler)));
        Provided {
            resource: resource.deferred(methods),
            handlers,
        }
    }

    /// GET is answered by this handler.
    fn get_async<R>(self, handler: impl Fn(Asked) -> R + Send + Sync + 'static) -> Provided
    where
        R: Future<Output = Response> + Send + 'static,
    {
        self.on_async(Methods::GET, handler)
    }

    /// POST is answered by this handler.
    fn post_async<R>(self, handler: impl Fn(Asked) -> R + Send + Sync + 'static) -> Provided
    where
        R: Future<Output = Response> + Send + 'static,
    {
        self.on_async(Methods::POST, handler)
    }

    /// PUT is answered by this handler.
    fn put_async<R>(self, handler: impl Fn(Asked) -> R + Send + Sync + 'static) -> Provided
    where
        R: Future<Output = Response> + Send + 'static,
    {
        self.on_async(Methods::PUT, handler)
    }

    /// DELETE is answered by this handler.
    fn delete_async<R>(self, handler: impl Fn(Asked) -> R + Send + Sync + 'static) -> Provided
    where
        R: Future<Output = Response> + Send + 'static,
    {
        self.on_async(Methods::DELETE, handler)
    }
}

impl AsyncResource for Resource {}
impl AsyncResource for Provided {}
