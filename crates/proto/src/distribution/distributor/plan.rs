//! Which blocks a pass sends.
//!
//! A block that is sent to one device alone takes [`UNICAST`] thousandths of what it takes to the whole group: at 20 % loss in each
//! direction a Confirmable request leaves 1.56 times and its response 1.25 times, and the request is small. A block that is
//! sent to everyone reaches [`DELIVERED`] thousandths of those who lack it. So a pass sends a block when
//!
//! ```text
//! devices that lack it x 1.36 x 0.8 > 1
//! ```
//!
//! and there is a pass at all when what it saves is more than what counting afterwards costs.
//!
//! Devices tell what they lack in cells of several consecutive blocks, at most 1,024 cells; the plan counts in such cells, too. A
//! device that lacks m blocks in k cells lacks m/k of each. If only some devices were counted, they stand for the others.

use alloc::vec::Vec;

use crate::distribution::MissingBlocks;

/// What a block takes by unicast, in thousandths of what it takes by multicast.
const UNICAST: u64 = 1_360;
/// How many of those who lack a block get it when it is sent once more, in thousandths.
const DELIVERED: u64 = 800;
/// What asking one device takes, in thousandths of a block.
const ROUND: u64 = 400;
/// More cells are not told and not planned.
pub(super) const CELLS: u32 = 1_024;

/// What one device lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacks<'a> {
    Nothing,
    Everything,
    /// So many blocks, of those that may be missing.
    Some {
        count: u32,
        missing: &'a MissingBlocks,
    },
}

/// Of how many devices it is known what they lack, and for how many these stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) counted: usize,
    pub(super) of: usize,
}

impl Sample {
    /// What all lack together, if those who were counted lack so much.
    fn scale(self, lacked: u64) -> u64 {
        lacked.saturating_mul(self.of as u64) / self.counted.max(1) as u64
    }
}

/// The blocks of one pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    total: u32,
    /// Blocks in a cell.
    granularity: u32,
    cells: Vec<bool>,
}

impl Plan {
    /// Every block.
    pub(super) fn all(total: u32) -> Self {
        let granularity = granularity(total);
        let cells = total.div_ceil(granularity) as usize;
        Self {
            total,
            granularity,
            cells: Vec::from_iter(core::iter::repeat_n(true, cells)),
        }
    }

    /// The blocks that are worth it; `None` if no pass is. The first pass has no counting of its own.
    pub(super) fn worth<'a>(
        total: u32,
        lacking: impl Iterator<Item = Lacks<'a>>,
        sample: Sample,
        first: bool,
        members: usize,
    ) -> Option<Self> {
        let mut plan = Self::all(total);
        // How many blocks are lacked in each cell, by all devices together, in thousandths.
        let mut lacked: Vec<u64> = Vec::from_iter(plan.cells.iter().map(|_| 0));
        for lacks in lacking {
            plan.add(lacks, &mut lacked);
        }
        let mut saved: u64 = 0;
        for (index, (cell, lacked)) in plan.cells.iter_mut().zip(&lacked).enumerate() {
            let first = index as u64 * u64::from(plan.granularity);
            let blocks = (u64::from(total) - first).min(u64::from(plan.granularity));
            let cost = blocks * 1_000;
            let lacked = sample.scale(*lacked);
            let spared = lacked.saturating_mul(UNICAST * DELIVERED / 1_000) / 1_000;
            *cell = spared > cost;
            saved += if *cell { spared - cost } else { 0 };
        }
        let counting = if first { 0 } else { members as u64 * ROUND };
        (saved > counting).then_some(plan)
    }

    fn add(&self, lacks: Lacks<'_>, lacked: &mut [u64]) {
        match lacks {
            Lacks::Nothing => {}
            Lacks::Everything => {
                for (index, cell) in lacked.iter_mut().enumerate() {
                    let first = index as u64 * u64::from(self.granularity);
                    let rest = u64::from(self.total).saturating_sub(first);
                    *cell += rest.min(u64::from(self.granularity)) * 1_000;
                }
            }
            Lacks::Some { count, missing } => {
                let marked = |index: usize| self.is_marked(index, missing);
                let cells = (0..lacked.len()).filter(|index| marked(*index)).count();
                let each = u64::from(count) * 1_000 / (cells.max(1) as u64);
                for (index, cell) in lacked.iter_mut().enumerate() {
                    *cell += if marked(index) { each } else { 0 };
                }
            }
        }
    }

    /// May a device lack something in this cell?
    fn is_marked(&self, cell: usize, missing: &MissingBlocks) -> bool {
        let first = u32::try_from(cell)
            .unwrap_or(u32::MAX)
            .saturating_mul(self.granularity);
        let end = first.saturating_add(self.granularity).min(self.total);
        let step = missing.granularity().min(self.granularity).max(1);
        let last = end.checked_sub(1).filter(|last| *last >= first);
        let mut candidates = (first..end).step_by(step as usize).chain(last);
        candidates.any(|block| missing.contains(block))
    }

    /// Does the pass send this block?
    pub(super) fn contains(&self, number: u32) -> bool {
        let cell = (number / self.granularity) as usize;
        number < self.total && self.cells.get(cell).copied().unwrap_or(false)
    }

    /// The first block of the pass that is not before this one.
    pub(super) fn next_from(&self, number: u32) -> Option<u32> {
        if number >= self.total {
            return None;
        }
        let cell = number / self.granularity;
        let cells = self.cells.iter().enumerate().skip(cell as usize);
        let found = cells.into_iter().find(|(_, sent)| **sent)?.0;
        let first = u32::try_from(found).ok()?.checked_mul(self.granularity)?;
        Some(first.max(number))
    }

    /// How many blocks it sends.
    pub(super) fn blocks(&self) -> u32 {
        self.between(0, self.total)
    }

    /// How many blocks from this one on it sends before that one.
    pub(super) fn between(&self, from: u32, to: u32) -> u32 {
        let mut blocks = 0;
        for (index, sent) in self.cells.iter().enumerate() {
            let first = (index as u32).saturating_mul(self.granularity);
            let end = first.saturating_add(self.granularity).min(self.total);
            if *sent {
                blocks += end.min(to).saturating_sub(first.max(from));
            }
        }
        blocks
    }
}

/// So many blocks make a cell.
fn granularity(total: u32) -> u32 {
    total.div_ceil(CELLS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_1_024_cells_at_most() {
        for (total, blocks, cells) in [
            (1, 1, 1),
            (1_024, 1, 1_024),
            (1_025, 2, 513),
            (2_048, 2, 1_024),
            (2_049, 3, 683),
            (1 << 29, 1 << 19, 1_024),
        ] {
            let plan = Plan::all(total);
            assert_eq!((plan.granularity, plan.cells.len()), (blocks, cells));
        }
    }
}
