//! Changes to application groups. None of them touches what the endpoint listens to.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::Memberships;
use super::group::{
    ApplicationGroup, ApplicationGroupId, CoapGroupId, MembershipError, SecurityGroupName,
};
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
            security: Vec::new(),
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

    /// States which security groups an application group uses: requests under others are refused. None: any is taken.
    /// A server has to be a member of all of them (groupcomm-bis-18 section 2.1.4); see [`missing_contexts`](Self::missing_contexts).
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn set_application_security(
        &mut self,
        id: ApplicationGroupId,
        mut security: Vec<SecurityGroupName>,
    ) -> Result<(), MembershipError> {
        let id = self
            .application(id)
            .ok_or(MembershipError::UnknownGroup)?
            .id;
        security.sort_unstable();
        security.dedup();
        self.application_mut(id)?.security = security;
        Ok(())
    }

    /// The security context of this group is loaded, or no more.
    pub fn set_context_loaded(&mut self, group: &SecurityGroupName, loaded: bool) {
        match (self.loaded.binary_search(group), loaded) {
            (Err(at), true) => self.loaded.insert(at, group.clone()),
            (Ok(at), false) => {
                self.loaded.remove(at);
            }
            _ => {}
        }
    }

    /// The security groups of an application group whose contexts are not loaded. While there is one, the application
    /// group is not ready: clients that have joined only that security group get no answer from this server.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn missing_contexts(
        &self,
        id: ApplicationGroupId,
    ) -> Result<impl Iterator<Item = &SecurityGroupName>, MembershipError> {
        let group = self.application(id).ok_or(MembershipError::UnknownGroup)?;
        let missing = |name: &&SecurityGroupName| self.loaded.binary_search(name).is_err();
        Ok(group.security.iter().filter(missing))
    }

    /// Are the contexts of all security groups of this application group loaded?
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn is_ready(&self, id: ApplicationGroupId) -> Result<bool, MembershipError> {
        Ok(self.missing_contexts(id)?.next().is_none())
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
        let security = group.security.clone();
        let new = self.create_application(name, naming, attributes)?;
        self.set_application_security(new, security)?;
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
        let security = |id| {
            self.application(id)
                .map_or_else(Vec::new, |a| a.security.clone())
        };
        let (mut both, of_into) = (security(from), security(into));
        // Who states nothing takes any security group, and so does the whole then.
        match both.is_empty() || of_into.is_empty() {
            true => both.clear(),
            false => both.extend(of_into),
        }
        self.set_application_security(into, both)?;
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
