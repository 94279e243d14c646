//! Changing a server while it runs.

use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use antiphon_proto::{
    CoapGroup, CoapGroupId, Instant, Lint, MembershipError, Memberships, NoSecResource, ResourceId,
    SecurityGroupName,
};

use super::membership::{Groups, LookupError};
use super::{Counted, Membership, Provided, ResourceHandle};
use crate::driver::{Driver, Link};
use crate::egress;
use crate::error::{ChangeError, Closed};
use crate::resolve::Resolve;
use crate::security_group::Secured;

/// Changes a server while it runs, under live traffic. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    link: Link,
    resolver: Arc<dyn Resolve>,
    bound: Vec<IpAddr>,
}

impl Handle {
    pub(super) fn new(link: Link, resolver: Arc<dyn Resolve>, bound: Vec<IpAddr>) -> Self {
        Self {
            link,
            resolver,
            bound,
        }
    }

    // ---- groups ----

    /// Joins a group, or the several that its name stands for.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn join(&self, membership: Membership) -> Result<Vec<CoapGroupId>, ChangeError> {
        for secured in membership.protection() {
            self.link.claim::<ChangeError>(secured.held()).await?;
        }
        let groups = Groups::of(membership, &*self.resolver, &[], &self.bound)
            .await
            .map_err(|error| match error {
                LookupError::Resolve(error) => ChangeError::Resolve(error),
                LookupError::Interface(error) => ChangeError::Interface(error),
            })?;
        if let Some(group) = groups.without_answer(&self.bound) {
            return Err(ChangeError::NoUnicastFor(group));
        }
        self.settle(move |driver, _| groups.create(driver).map_err(|(_, reason)| reason))
            .await
    }

    /// Requests that are protected for this security group, or in this OSCORE context, are opened from now on.
    ///
    /// # Errors
    /// [`ChangeError::Security`], [`ChangeError::Closed`].
    pub async fn secure(&self, with: impl Into<Secured>) -> Result<(), ChangeError> {
        let secured = with.into();
        self.link.claim::<ChangeError>(secured.held()).await?;
        Ok(())
    }

    /// Leaves a group on all interfaces and forgets it.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn leave(&self, group: CoapGroupId) -> Result<(), ChangeError> {
        self.change(move |memberships| memberships.remove(group))
            .await
    }

    /// Joins a group on one more interface.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn join_on(&self, group: CoapGroupId, interface: &str) -> Result<(), ChangeError> {
        let index = egress::named(interface)?;
        self.change(move |memberships| memberships.join(group, index))
            .await
    }

    /// Leaves a group on one interface; it stays on others.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn leave_on(&self, group: CoapGroupId, interface: &str) -> Result<(), ChangeError> {
        let index = egress::named(interface)?;
        self.change(move |memberships| memberships.leave(group, index))
            .await
    }

    /// Gives a group another address, another port or both.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn move_to(
        &self,
        group: CoapGroupId,
        address: SocketAddr,
    ) -> Result<(), ChangeError> {
        self.change(move |memberships| memberships.move_to(group, address))
            .await
    }

    /// Changes the table of memberships in any way - rename, split, merge, relate - and does the joins and leaves that follow from it.
    ///
    /// # Errors
    /// What the change refuses, in which case nothing has changed; or [`ChangeError::Join`].
    pub async fn change<R: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Memberships) -> Result<R, MembershipError> + Send + 'static,
    ) -> Result<R, ChangeError> {
        self.settle(move |driver, _| change(driver.endpoint.server_mut().memberships_mut()))
            .await
    }

    async fn settle<R: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Driver, Instant) -> Result<R, MembershipError> + Send + 'static,
    ) -> Result<R, ChangeError> {
        self.link
            .call(move |driver, now| {
                driver.listened.take_failures();
                let result = change(driver, now)?;
                driver.drain(now);
                match driver.listened.take_failures().into_iter().next() {
                    Some((group, interface, reason)) => Err(ChangeError::Join {
                        group,
                        interface,
                        reason,
                    }),
                    None => Ok(result),
                }
            })
            .await?
    }

    /// All CoAP groups, those for discovery included.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn groups(&self) -> Result<Vec<CoapGroup>, Closed> {
        self.with(|server| server.memberships().groups().cloned().collect())
            .await
    }

    /// What is listened to right now: each group, and the interface.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn listening(&self) -> Result<Vec<(SocketAddr, u32)>, Closed> {
        self.link.call(|driver, _| driver.listening()).await
    }

    /// Remarks on the configuration as it is now.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn lints(&self) -> Result<Vec<Lint>, Closed> {
        self.with(|server| server.memberships().lints()).await
    }

    /// The security groups of an application group whose contexts are not loaded: it is ready when there are none.
    ///
    /// # Errors
    /// [`ChangeError::Membership`] if there is no application group of this name.
    pub async fn missing_contexts(
        &self,
        application: &str,
    ) -> Result<Vec<SecurityGroupName>, ChangeError> {
        let name = application.to_owned();
        self.change(move |memberships| {
            let id = memberships
                .application_named(&name)
                .ok_or(MembershipError::UnknownGroup)?
                .id();
            Ok(memberships.missing_contexts(id)?.cloned().collect())
        })
        .await
    }

    // ---- resources ----

    /// Offers a resource from now on.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add(&self, resource: impl Into<Provided>) -> Result<ResourceId, ChangeError> {
        let resource = resource.into();
        self.link
            .call(move |driver, _| resource.add(driver))
            .await?
            .map_err(ChangeError::Resource)
    }

    /// Offers a resource no more; false if there is none of this name.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn remove(&self, resource: ResourceId) -> Result<bool, Closed> {
        self.link
            .call(move |driver, _| {
                driver.handlers.remove(resource);
                driver.endpoint.server_mut().remove(resource)
            })
            .await
    }

    /// A resource, for whoever changes its state.
    #[must_use]
    pub fn resource(&self, resource: ResourceId) -> ResourceHandle {
        ResourceHandle::new(self.link.clone(), resource)
    }

    /// Every resource that can be reached without security as the server is set up now.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn policy_report(&self) -> Result<Vec<NoSecResource>, Closed> {
        self.with(|server| server.nosec_report()).await
    }

    /// Reads or changes anything else of the server half.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn with<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut antiphon_proto::Server) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        self.link
            .call(move |driver, _| task(driver.endpoint.server_mut()))
            .await
    }

    /// What has been counted, and how full the tables are.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn counters(&self) -> Result<Counted, Closed> {
        self.link.call(|driver, _| Counted::of(driver)).await
    }

    /// Waits until the server is gone.
    pub(crate) async fn ended(&self) {
        self.link.ended().await;
    }

    /// Shuts the server down, as the `stop` of [`Server::run`](super::Server::run) does, and waits until it has ended.
    pub async fn stop(&self) {
        if self.link.call(|driver, now| driver.stop(now)).await.is_ok() {
            self.link.ended().await;
        }
    }
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handle")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
