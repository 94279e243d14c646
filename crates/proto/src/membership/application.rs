//! Changes to application groups. None of them touches what the endpoint listens to.

use alloc::borrow::ToOwned;

use super::Memberships;
use super::group::{ApplicationGroup, ApplicationGroupId, CoapGroupId, MembershipError};
use super::naming::Naming;
use crate::attributes::Attributes;

impl Memberships {
    /// Creates an application group. It is reachable once it is related to a CoAP group and resources belong to it.
    ///
    /// # Errors
    /// [`MembershipError::NameTaken`], [`MembershipError::EmptyName`], [`MembershipError::NotEncodable`], [`MembershipError::Full`].
    pub fn create_application(
        &mut self,
        name: &str,
        naming: Naming,
        attributes: Attributes,
    ) -> Result<ApplicationGroupId, MembershipError> {
        naming.check(name)?;
        if self.application_named(name).is_some() {
            return Err(MembershipError::NameTaken);
        }
        if self.applications.len() >= self.limits.application_groups {
            return Err(MembershipError::Full);
        }
        let id = ApplicationGroupId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.applications.push(ApplicationGroup {
            id,
            name: name.to_owned(),
            naming,
            attributes,
        });
        Ok(id)
    }

    /// Deletes an application group with its relations. CoAP groups are not touched.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn remove_application(&mut self, id: ApplicationGroupId) -> Result<(), MembershipError> {
        let id = self
            .application(id)
            .ok_or(MembershipError::UnknownGroup)?
            .id;
        self.applications.retain(|group| group.id != id);
        self.merged.retain(|(_, into)| *into != id);
        for group in &mut self.coap {
            group.applications.retain(|application| *application != id);
        }
        Ok(())
    }

    /// An application group uses a CoAP group. Each may have any number of the other.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn relate(
        &mut self,
        application: ApplicationGroupId,
        coap: CoapGroupId,
    ) -> Result<(), MembershipError> {
        let id = self
            .application(application)
            .ok_or(MembershipError::UnknownGroup)?
            .id;
        let group = self.group_mut(coap)?;
        if let Err(at) = group.applications.binary_search(&id) {
            group.applications.insert(at, id);
        }
        Ok(())
    }

    /// An application group uses a CoAP group no more.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`], also if the two are not related.
    pub fn unrelate(
        &mut self,
        application: ApplicationGroupId,
        coap: CoapGroupId,
    ) -> Result<(), MembershipError> {
        let id = self
            .application(application)
            .ok_or(MembershipError::UnknownGroup)?
            .id;
        let group = self.group_mut(coap)?;
        let at = group
            .applications
            .binary_search(&id)
            .map_err(|_| MembershipError::UnknownGroup)?;
        group.applications.remove(at);
        Ok(())
    }

    /// Gives an application group another name. Relations stay, and so do the resources that belong to it by
    /// declaration: where the path names the group, their path changes with it.
    ///
    /// # Errors
    /// As [`create_application`](Self::create_application).
    pub fn rename(&mut self, id: ApplicationGroupId, name: &str) -> Result<(), MembershipError> {
        let group = self.application(id).ok_or(MembershipError::UnknownGroup)?;
        let id = group.id;
        group.naming.check(name)?;
        if self
            .application_named(name)
            .is_some_and(|other| other.id != id)
        {
            return Err(MembershipError::NameTaken);
        }
        self.application_mut(id)?.name = name.to_owned();
        Ok(())
    }

    /// Requests carry the name of an application group in another way from now on.
    ///
    /// # Errors
    /// [`MembershipError::NotEncodable`], [`MembershipError::UnknownGroup`].
    pub fn set_naming(
        &mut self,
        id: ApplicationGroupId,
        naming: Naming,
    ) -> Result<(), MembershipError> {
        let group = self.application(id).ok_or(MembershipError::UnknownGroup)?;
        naming.check(&group.name)?;
        let id = group.id;
        self.application_mut(id)?.naming = naming;
        Ok(())
    }

    /// Splits an application group: a new one with this name, the same form of naming and the same attributes
    /// takes over these of its CoAP groups. Resources belong to the new group once they are declared so.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`] also for a CoAP group that it does not use; as [`create_application`](Self::create_application).
    pub fn split_application(
        &mut self,
        id: ApplicationGroupId,
        name: &str,
        taken: &[CoapGroupId],
    ) -> Result<ApplicationGroupId, MembershipError> {
        let group = self.application(id).ok_or(MembershipError::UnknownGroup)?;
        let id = group.id;
        let uses = |coap: &CoapGroupId| {
            self.group(*coap)
                .is_some_and(|coap| coap.applications.contains(&id))
        };
        if !taken.iter().all(uses) {
            return Err(MembershipError::UnknownGroup);
        }
        let (naming, attributes) = (group.naming.clone(), group.attributes.clone());
        let new = self.create_application(name, naming, attributes)?;
        for coap in taken {
            // A CoAP group given twice has moved already.
            if self.unrelate(id, *coap).is_ok() {
                self.relate(new, *coap)?;
            }
        }
        Ok(new)
    }

    /// Merges an application group into another: that one uses the CoAP groups of both, and the resources of
    /// the first belong to it. The first one is gone; its identifier stands for the other from now on.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn merge_applications(
        &mut self,
        from: ApplicationGroupId,
        into: ApplicationGroupId,
    ) -> Result<(), MembershipError> {
        let from = self
            .application(from)
            .ok_or(MembershipError::UnknownGroup)?
            .id;
        let into = self
            .application(into)
            .ok_or(MembershipError::UnknownGroup)?
            .id;
        if from == into {
            return Ok(());
        }
        for group in &mut self.coap {
            if let Ok(at) = group.applications.binary_search(&from) {
                group.applications.remove(at);
                if let Err(at) = group.applications.binary_search(&into) {
                    group.applications.insert(at, into);
                }
            }
        }
        self.applications.retain(|group| group.id != from);
        for (_, target) in &mut self.merged {
            if *target == from {
                *target = into;
            }
        }
        self.merged.push((from, into));
        // Identifiers of long gone groups are given up, oldest first.
        if self.merged.len() > self.limits.application_groups {
            self.merged.remove(0);
        }
        Ok(())
    }
}
