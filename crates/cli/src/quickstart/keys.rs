//! The keys of the show: a security group of its own, fresh each time, in memory only.

use antiphon::SecurityGroup;
use antiphon::security_group::{Credential, Curve, Secret, SoftwareKey};
use antiphon_oscore::crypto::PrivateKey;

use super::plan::Plan;
use crate::failure::Failure;
use crate::{secret_file, terminal};

/// The name of the group.
pub(super) const NAME: &str = "lights";

/// What the client and each member hold of the group.
pub(super) struct Keys {
    pub(super) client: SecurityGroup,
    /// In the order of the plan.
    pub(super) members: Vec<SecurityGroup>,
}

impl Keys {
    /// Makes them: never from the seed, which everybody may know.
    pub(super) fn make(plan: &Plan) -> Result<Self, Failure> {
        let gid = *secret_file::random::<4>()?;
        let secret = secret_file::random::<16>()?;
        let group = || {
            SecurityGroup::builder(NAME)
                .gid(gid)
                .master_secret(Secret::copy_of(secret.as_ref()))
        };
        let failed =
            |error: antiphon::SecurityError| Failure::local(terminal::line(&error.to_string()));
        let (key, credential) = member("client")?;
        let client_credential = credential.clone();
        let mut client = group().member(CLIENT, credential, key);
        let mut members = Vec::with_capacity(plan.members.len());
        for (number, planned) in (1u8..).zip(&plan.members) {
            let (key, credential) = member(&planned.name)?;
            client = client.peer([number], credential.clone());
            // The lamps hear the client only, and need nobody else's credential.
            let lamp = group()
                .member([number], credential, key)
                .peer(CLIENT, client_credential.clone());
            members.push(lamp.volatile().map_err(failed)?);
        }
        Ok(Self {
            client: client.volatile().map_err(failed)?,
            members,
        })
    }
}

/// The Sender ID of the client.
const CLIENT: [u8; 1] = [0];

fn member(name: &str) -> Result<(SoftwareKey, Vec<u8>), Failure> {
    let key = secret_file::generate(Curve::Ed25519)?;
    let credential = Credential::build_ccs(name, &key.public());
    Ok((key, credential))
}
