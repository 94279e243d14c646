//! NOR flash: sectors are erased as a whole, pages are programmed once between two erasures, and a power cut tears what was under way.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::rng::Rng;

/// What erased bytes read as.
const ERASED: u8 = 0xff;

/// Why the flash did not do what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FlashError {
    /// Not whole pages, or beyond the end.
    Alignment,
    /// A page was programmed since its sector was erased.
    NotErased,
    /// The power went, now or before.
    NoPower,
    /// An error of the device; only on demand, see [`Flash::fail_randomly`].
    Failed,
}

impl fmt::Display for FlashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlashError::Alignment => "not whole pages of the flash",
            FlashError::NotErased => "the page was programmed since its sector was erased",
            FlashError::NoPower => "the power has gone",
            FlashError::Failed => "the flash reports an error",
        })
    }
}

impl core::error::Error for FlashError {}

/// A flash memory. Everything random about it comes from its seed.
#[derive(Clone, Debug)]
pub struct Flash {
    bytes: Vec<u8>,
    /// For each page: something was programmed since the erasure, whole or torn.
    touched: Vec<bool>,
    /// How often each sector was erased, or was to be.
    erasures: Vec<u32>,
    sector: usize,
    page: usize,
    rng: Rng,
    /// Programmed pages and erasures until the power goes.
    until_cut: Option<u64>,
    powered: bool,
    failing: f64,
}

impl Flash {
    /// A new one: so many sectors of so many bytes, in pages of so many bytes.
    ///
    /// # Panics
    /// If a sector is no whole number of pages.
    pub fn new(sectors: usize, sector: usize, page: usize, seed: u64) -> Flash {
        assert!(page > 0 && sector.is_multiple_of(page), "whole pages");
        Flash {
            bytes: vec![ERASED; sectors * sector],
            touched: vec![false; sectors * sector / page],
            erasures: vec![0; sectors],
            sector,
            page,
            rng: Rng::new(seed),
            until_cut: None,
            powered: true,
            failing: 0.0,
        }
    }

    /// Bytes of a sector.
    pub fn sector(&self) -> usize {
        self.sector
    }

    /// How many sectors there are.
    pub fn sectors(&self) -> usize {
        self.erasures.len()
    }

    /// Bytes of a page.
    pub fn page(&self) -> usize {
        self.page
    }

    /// How often each sector was erased.
    pub fn erasures(&self) -> &[u32] {
        &self.erasures
    }

    /// The power goes after so many more pages programmed and sectors erased: in the middle of the next. `None`: it does not.
    pub fn cut_after(&mut self, operations: Option<u64>) {
        self.until_cut = operations;
    }

    /// The power is back.
    pub fn power_on(&mut self) {
        self.powered = true;
        self.until_cut = None;
    }

    /// Whether there is power.
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// From now on programming and erasing fail with this probability, and leave what a power cut would.
    pub fn fail_randomly(&mut self, probability: f64) {
        self.failing = probability;
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// [`FlashError::Alignment`] beyond the end; [`FlashError::NoPower`].
    pub fn read(&self, at: usize, into: &mut [u8]) -> Result<(), FlashError> {
        if !self.powered {
            return Err(FlashError::NoPower);
        }
        let end = at.checked_add(into.len()).ok_or(FlashError::Alignment)?;
        let bytes = self.bytes.get(at..end).ok_or(FlashError::Alignment)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    /// Programs whole pages, in their order.
    ///
    /// # Errors
    /// [`FlashError`]; of the pages, some of the first may be programmed, and the next may be torn.
    pub fn program(&mut self, at: usize, bytes: &[u8]) -> Result<(), FlashError> {
        let whole = at.is_multiple_of(self.page) && bytes.len().is_multiple_of(self.page);
        if !whole
            || at
                .checked_add(bytes.len())
                .is_none_or(|end| end > self.bytes.len())
        {
            return Err(FlashError::Alignment);
        }
        for (page, bytes) in (at / self.page..).zip(bytes.chunks(self.page)) {
            let ended = self.begin();
            if ended == Err(FlashError::NoPower) && !self.powered && self.until_cut.is_none() {
                return ended; // it went before
            }
            if core::mem::replace(&mut self.touched[page], true) {
                return Err(FlashError::NotErased);
            }
            // What is under way when it ends sets none of the bits, some, or all.
            let chance = match ended {
                Ok(()) => 1.0,
                Err(_) => self.rng.below(3) as f64 / 2.0,
            };
            for (stored, wanted) in self.bytes[page * self.page..].iter_mut().zip(bytes) {
                let mut reached = 0;
                for bit in 0..8 {
                    reached |= u8::from(chance >= 1.0 || self.rng.chance(chance)) << bit;
                }
                *stored &= wanted | !reached;
            }
            if ended.is_err() {
                self.until_cut = None;
                return ended;
            }
        }
        Ok(())
    }

    /// Erases a sector.
    ///
    /// # Errors
    /// [`FlashError`]; any of its bytes may be as before, erased, or anything between.
    pub fn erase(&mut self, sector: usize) -> Result<(), FlashError> {
        if sector >= self.sectors() {
            return Err(FlashError::Alignment);
        }
        let ended = self.begin();
        if ended == Err(FlashError::NoPower) && !self.powered && self.until_cut.is_none() {
            return ended; // it went before
        }
        self.erasures[sector] += 1;
        let bytes = sector * self.sector..(sector + 1) * self.sector;
        let pages = bytes.start / self.page..bytes.end / self.page;
        if ended.is_ok() {
            self.bytes[bytes].fill(ERASED);
            self.touched[pages].fill(false);
            return Ok(());
        }
        let chance = self.rng.below(3) as f64 / 2.0;
        for byte in &mut self.bytes[bytes] {
            for bit in 0..8 {
                *byte |= u8::from(self.rng.chance(chance)) << bit;
            }
        }
        self.touched[pages].fill(true);
        self.until_cut = None;
        ended
    }

    /// Whether the next operation comes to its end.
    fn begin(&mut self) -> Result<(), FlashError> {
        if !self.powered {
            self.until_cut = None;
            return Err(FlashError::NoPower);
        }
        match &mut self.until_cut {
            Some(0) => {
                self.powered = false;
                return Err(FlashError::NoPower);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        match self.rng.chance(self.failing) {
            true => Err(FlashError::Failed),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flash: &Flash, at: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        flash.read(at, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_page_is_programmed_once_between_two_erasures() {
        let mut flash = Flash::new(2, 64, 8, 1);
        assert_eq!(read(&flash, 0, 128), [ERASED; 128]);
        flash.program(64, &[1; 16]).unwrap();
        assert_eq!(read(&flash, 64, 17), [vec![1; 16], vec![ERASED]].concat());
        assert_eq!(flash.program(72, &[0; 8]), Err(FlashError::NotErased));
        for (at, bytes) in [(1, 8), (0, 7), (120, 16)] {
            let odd = flash.program(at, &vec![0; bytes]);
            assert_eq!(odd, Err(FlashError::Alignment), "{at} {bytes}");
        }
        assert_eq!(flash.erase(2), Err(FlashError::Alignment));
        flash.erase(1).unwrap();
        flash.program(64, &[2; 8]).unwrap();
        assert_eq!(flash.erasures(), [0, 1]);
        assert_eq!(flash.read(127, &mut [0; 2]), Err(FlashError::Alignment));
        assert_eq!((flash.sectors(), flash.sector(), flash.page()), (2, 64, 8));
    }

    #[test]
    fn a_power_cut_tears_what_was_under_way_and_nothing_else() {
        let (mut none, mut some, mut all) = (0, 0, 0);
        for seed in 0..200 {
            let mut flash = Flash::new(2, 64, 8, seed);
            flash.cut_after(Some(2));
            assert_eq!(flash.program(0, &[0; 40]), Err(FlashError::NoPower));
            assert!(!flash.is_powered());
            assert_eq!(flash.program(64, &[0; 8]), Err(FlashError::NoPower));
            assert_eq!(flash.read(0, &mut [0]), Err(FlashError::NoPower));
            flash.power_on();
            assert_eq!(read(&flash, 0, 16), [0; 16], "two pages");
            assert_eq!(read(&flash, 24, 104), [ERASED; 104]);
            match &*read(&flash, 16, 8) {
                [
                    ERASED,
                    ERASED,
                    ERASED,
                    ERASED,
                    ERASED,
                    ERASED,
                    ERASED,
                    ERASED,
                ] => none += 1,
                [0, 0, 0, 0, 0, 0, 0, 0] => all += 1,
                _ => some += 1,
            }
            assert_eq!(
                flash.program(16, &[0; 8]),
                Err(FlashError::NotErased),
                "also if it looks erased"
            );
            flash.cut_after(Some(0));
            assert_eq!(flash.erase(0), Err(FlashError::NoPower));
            flash.power_on();
            assert_eq!(flash.program(32, &[0; 8]), Err(FlashError::NotErased));
            flash.erase(0).unwrap();
            flash.program(0, &[0; 64]).unwrap();
        }
        assert!(none > 20 && some > 20 && all > 20, "{none} {some} {all}");
    }

    #[test]
    fn errors_come_as_often_as_was_said() {
        let mut flash = Flash::new(1, 8_000, 8, 3);
        flash.fail_randomly(0.5);
        let failed = (0..1_000).filter(|n| flash.program(n * 8, &[0; 8]).is_err());
        let failed = failed.count();
        assert!((400..600).contains(&failed), "{failed}");
    }
}
