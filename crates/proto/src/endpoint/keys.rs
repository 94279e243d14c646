//! The keys of security groups while the endpoint runs: joining, new keys, a new Sender ID, leaving.
//!
//! What must be durable first is the caller's: see [`antiphon_oscore::record`].

use antiphon_oscore::Group;

use super::Endpoint;
use crate::membership::SecurityGroupName;
use crate::security::GroupId;
use crate::time::Instant;

impl Endpoint {
    /// Takes part in a security group from now on. The memberships of the server hear that its context is loaded.
    ///
    /// [`Record::Running`](antiphon_oscore::record::Record::Running) is durable before.
    pub fn add_group(&mut self, group: Group) -> GroupId {
        self.tell_memberships(&group, true);
        self.guard.contexts.add_group(group)
    }

    /// Keys, members or the own Sender ID of a group were changed, by way of [`security_mut`](Self::security_mut), or an
    /// installation was given up: what has waited for that goes on, and observations whose observer is a member no more, or
    /// that were answered under another own Sender ID, end; what is kept of answers of those who are members no more is forgotten. Requests and answers that had not left yet leave under
    /// the keys of now; those that were sent are still answered, as far as the settings of the group let that be opened.
    pub fn keys_changed(&mut self, now: Instant) {
        self.review_observers(now);
        self.review_cached();
        self.try_again(now);
    }

    /// Leaves a security group, also before joining it again. All exchanges, collections and observations that this endpoint has begun
    /// in it end with [`NotProtected::Left`](crate::NotProtected::Left): their tokens are freed, and a response that comes later belongs to
    /// nothing. What was to be answered in it is not. The group comes back, for its last record; with it the keys
    /// are gone from here.
    ///
    /// `None`: there is no such group.
    pub fn leave_group(&mut self, now: Instant, id: GroupId) -> Option<Group> {
        self.guard.contexts.group(id)?;
        self.end_asked_in(now, id);
        let group = self.guard.contexts.remove_group(id)?;
        self.guard.forget(id);
        self.review_observers(now);
        self.tell_memberships(&group, false);
        self.try_again(now); // what waited for sequence numbers of this group waits for nothing now
        Some(group)
    }

    fn tell_memberships(&mut self, group: &Group, loaded: bool) {
        if let Ok(name) = SecurityGroupName::new(group.name()) {
            let memberships = self.server.memberships_mut();
            memberships.set_context_loaded(&name, loaded);
        }
    }
}
