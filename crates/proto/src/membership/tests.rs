use super::*;

use alloc::vec;
use std::string::ToString;

use crate::attributes::Attributes;
use crate::work::Task;

mod changes;
mod creating;
mod listening;
mod naming;
mod random;

const NOW: Instant = Instant::from_micros(5_000_000);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn table() -> Memberships {
    Memberships::new(MembershipLimits::default(), &mut Rng::from_seed([1; 32]))
}

fn spec(text: &str) -> CoapGroupSpec {
    CoapGroupSpec::new(address(text)).unsecured()
}

fn secured(name: &str) -> GroupSecurity {
    GroupSecurity::Groups(vec![SecurityGroupName::new(name).unwrap()])
}

fn application(memberships: &mut Memberships, name: &str) -> ApplicationGroupId {
    memberships
        .create_application(name, Naming::path(), Attributes::new())
        .unwrap()
}

/// A task in short: `+ADDRESS%INTERFACE` joins, `-ADDRESS%INTERFACE` leaves.
fn short(task: &Task) -> std::string::String {
    match task {
        Task::Join { group, interface } => std::format!("+{group}%{interface}"),
        Task::Leave { group, interface } => std::format!("-{group}%{interface}"),
        #[cfg(feature = "oscore")]
        _ => panic!("{task:?}"),
    }
}

impl Memberships {
    /// Every task that is due, without its result.
    fn due(&mut self, now: Instant) -> Vec<Task> {
        core::iter::from_fn(|| self.poll_task(now)).collect()
    }

    /// Does every task that is due, and says which.
    fn work(&mut self) -> Vec<std::string::String> {
        let tasks = self.due(NOW);
        for task in &tasks {
            self.task_done(NOW, task, Ok(()));
        }
        tasks.iter().map(short).collect()
    }

    fn joined(&self) -> Vec<std::string::String> {
        self.listening()
            .filter(|(_, _, standing)| *standing == Listening::Joined)
            .map(|(group, interface, _)| std::format!("{group}%{interface}"))
            .collect()
    }
}
