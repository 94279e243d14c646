//! NOR flash as the medium of a store: banks of sectors in rotation.

use core::ops::Range;
use std::io;

use super::{Area, Disk};

/// How a flash memory is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// How many sectors there are, which are erased as a whole.
    pub sectors: usize,
    /// Bytes of a sector.
    pub sector: usize,
    /// Bytes of a page, which is programmed as a whole, once between two erasures of its sector: a word, often 8 bytes, or up to 256.
    pub page: usize,
}

/// A NOR flash memory, or the part of one that is for a store alone. What returned without an error stays when the power goes.
pub trait Flash: Send {
    /// How it is divided.
    fn geometry(&self) -> Geometry;

    /// Reads bytes. Erased ones read as 0xff.
    ///
    /// # Errors
    /// Those of the medium.
    fn read(&mut self, at: usize, into: &mut [u8]) -> io::Result<()>;

    /// Programs whole pages, which are erased, in their order. When it fails, or the power goes, some of the first may be programmed, and the
    /// next may hold anything.
    ///
    /// # Errors
    /// Those of the medium.
    fn program(&mut self, at: usize, bytes: &[u8]) -> io::Result<()>;

    /// Erases a sector. When it fails, or the power goes, it may hold anything.
    ///
    /// # Errors
    /// Those of the medium.
    fn erase(&mut self, sector: usize) -> io::Result<()>;
}

/// Which sectors hold what. Each kind of file has banks of so many sectors, two at least, in rotation: one holds the file, and the next
/// takes what is written anew, so that all wear alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Banks for the store.
    pub log_banks: usize,
    /// Sectors of each. They hold the bound of the store ([`Options::compact_at`](super::Options::compact_at)) and the longest batch, with
    /// up to two pages for each write.
    pub log_sectors: usize,
    /// Banks for the witness. None where [`Options`](super::Options) name another, or none.
    pub witness_banks: usize,
    /// Sectors of each.
    pub witness_sectors: usize,
}

impl Layout {
    const fn sectors(&self) -> usize {
        self.log_banks * self.log_sectors + self.witness_banks * self.witness_sectors
    }
}

/// A store's medium in NOR flash.
///
/// A bank begins with a mark: its number, which is greater than that of every bank before, and how often it was erased. The mark is
/// programmed last, when all else is there, and only a whole one counts: so a power cut leaves the bank of before, or the new one.
/// Behind it stands what was appended, each time as a length with a check and whole pages. What was torn is found when the bank is read,
/// handed out as a torn write, and the store is written anew into the next bank. The bank of before is erased at once, so that
/// nothing stays of what was to be forgotten.
///
/// A page that was torn may read as if it were erased, and must not be programmed again. So nothing is appended to a bank that another
/// start has written: whatever it holds seems to end in a torn write. Each opening of the store costs an erasure of a bank for that.
pub struct FlashDisk<F> {
    flash: F,
    geometry: Geometry,
    log: Ring,
    witness: Ring,
}

impl<F> core::fmt::Debug for FlashDisk<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FlashDisk")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

/// The banks of one kind of file.
#[derive(Debug)]
struct Ring {
    kind: u8,
    first: usize,
    sectors: usize,
    banks: Vec<Bank>,
    /// The bank that holds the file.
    current: Option<usize>,
    /// The bank that is being written.
    next: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Bank {
    number: Option<u64>,
    erasures: u32,
    /// All of it is erased for certain.
    blank: bool,
    /// Where the next bytes go, from its start on; `None` where that is not known since this start.
    end: Option<usize>,
}

/// What erased bytes read as.
const ERASED: u8 = 0xff;
const MAGIC: [u8; 4] = *b"aBk1";
/// Magic 4, kind 1, zero 3, number 8, erasures 4, and two checks of 4, the second one of the first as well.
const MARK: usize = 28;
const HEAD: usize = 8;

impl<F: Flash> FlashDisk<F> {
    /// Finds what is there.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the layout does not fit; those of the medium.
    pub fn new(mut flash: F, layout: Layout) -> io::Result<Self> {
        let geometry = flash.geometry();
        let pages = geometry.page > 0 && geometry.sector.is_multiple_of(geometry.page);
        let banks = |banks, sectors| banks >= 2 && sectors >= 1;
        let fits = pages
            && geometry.sector >= 4 * geometry.page.max(MARK)
            && layout.sectors() <= geometry.sectors
            && banks(layout.log_banks, layout.log_sectors)
            && (layout.witness_banks == 0 || banks(layout.witness_banks, layout.witness_sectors));
        if !fits {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the layout does not fit the flash: two banks of each kind at least, of whole pages",
            ));
        }
        let ring = |kind, first, banks, sectors| Ring {
            kind,
            first,
            sectors,
            banks: vec![Bank::default(); banks],
            current: None,
            next: None,
        };
        let behind = layout.log_banks * layout.log_sectors;
        let mut log = ring(1, 0, layout.log_banks, layout.log_sectors);
        let mut witness = ring(2, behind, layout.witness_banks, layout.witness_sectors);
        log.find(&mut flash, geometry)?;
        witness.find(&mut flash, geometry)?;
        Ok(Self {
            flash,
            geometry,
            log,
            witness,
        })
    }

    /// How often each sector of the layout was erased, as far as the marks of the banks tell.
    pub fn erasures(&self) -> Vec<u32> {
        let of = |ring: &Ring| {
            let sectors = ring.sectors;
            let counts: Vec<u32> = ring.banks.iter().map(|bank| bank.erasures).collect();
            counts
                .into_iter()
                .flat_map(move |count| core::iter::repeat_n(count, sectors))
        };
        of(&self.log).chain(of(&self.witness)).collect()
    }

    /// The bytes as they stand there.
    #[cfg(test)]
    pub(super) fn look(&mut self, at: usize, into: &mut [u8]) -> io::Result<()> {
        self.flash.read(at, into)
    }

    fn parts(&mut self, area: Area) -> (&mut F, Geometry, &mut Ring) {
        let ring = match area {
            Area::Log | Area::NextLog => &mut self.log,
            Area::Witness | Area::NextWitness => &mut self.witness,
        };
        (&mut self.flash, self.geometry, ring)
    }
}

fn is_next(area: Area) -> bool {
    matches!(area, Area::NextLog | Area::NextWitness)
}

impl Ring {
    /// Where a bank is.
    fn bytes(&self, bank: usize, geometry: Geometry) -> Range<usize> {
        let start = (self.first + bank * self.sectors) * geometry.sector;
        start..start + self.sectors * geometry.sector
    }

    /// Reads the marks. Behind that of the current bank nothing is known yet.
    fn find(&mut self, flash: &mut impl Flash, geometry: Geometry) -> io::Result<()> {
        for bank in 0..self.banks.len() {
            let mut mark = [0; MARK];
            flash.read(self.bytes(bank, geometry).start, &mut mark)?;
            if let Some((number, erasures)) = self.read_mark(&mark) {
                self.banks[bank].number = Some(number);
                self.banks[bank].erasures = erasures;
            }
        }
        // Of a bank without a mark it is not known how often it was erased: as often as the others at most, and once more.
        let most = self.banks.iter().map(|bank| bank.erasures).max();
        for bank in self.banks.iter_mut().filter(|bank| bank.number.is_none()) {
            bank.erasures = most.unwrap_or_default();
        }
        let numbered = self.banks.iter().enumerate();
        let latest = numbered.filter_map(|(at, bank)| Some((bank.number?, at)));
        self.current = latest.max().map(|(_, at)| at);
        Ok(())
    }

    /// All that was appended to the current bank, and what is torn behind it or may be.
    fn read(&mut self, flash: &mut impl Flash, geometry: Geometry) -> io::Result<Option<Vec<u8>>> {
        let Some(current) = self.current else {
            return Ok(None);
        };
        let place = self.bytes(current, geometry);
        let mut bank = vec![0; place.len()];
        flash.read(place.start, &mut bank)?;
        let mut content = Vec::new();
        let mut at = MARK.next_multiple_of(geometry.page);
        while let Some(bytes) = chunk(&bank, at) {
            content.extend_from_slice(&bank[bytes.clone()]);
            at = bytes.end.next_multiple_of(geometry.page);
        }
        let written = bank.iter().rposition(|byte| *byte != ERASED);
        let torn = bank.get(at..written.map_or(at, |last| last + 1));
        content.extend_from_slice(torn.unwrap_or_default());
        if self.banks[current].end.is_none() {
            content.push(ERASED); // what may be torn and cannot be seen
        }
        Ok(Some(content))
    }

    /// Erases the next bank.
    fn create(&mut self, flash: &mut impl Flash, geometry: Geometry) -> io::Result<()> {
        let banks = self.banks.len();
        if banks == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let next = self.current.map_or(0, |current| (current + 1) % banks);
        self.next = None;
        self.erase(next, flash)?;
        self.banks[next].end = Some(MARK.next_multiple_of(geometry.page));
        self.next = Some(next);
        Ok(())
    }

    fn erase(&mut self, bank: usize, flash: &mut impl Flash) -> io::Result<()> {
        let first = self.first + bank * self.sectors;
        let one = &mut self.banks[bank];
        if core::mem::take(&mut one.blank) {
            return Ok(());
        }
        (one.number, one.end) = (None, None);
        one.erasures += 1;
        // The one with the mark goes first.
        for sector in first..first + self.sectors {
            flash.erase(sector)?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        bank: Option<usize>,
        bytes: &[u8],
        flash: &mut impl Flash,
        geometry: Geometry,
    ) -> io::Result<()> {
        let bank = bank.ok_or(io::ErrorKind::NotFound)?;
        let place = self.bytes(bank, geometry);
        let one = &mut self.banks[bank];
        let torn = || io::Error::other("what stands in the flash was torn; it is written anew");
        let at = one.end.ok_or_else(torn)?;
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let whole = (HEAD + bytes.len()).next_multiple_of(geometry.page);
        if at + whole > place.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut chunk = Vec::with_capacity(whole);
        chunk.extend_from_slice(&length.to_be_bytes());
        chunk.extend_from_slice(&crc(&length.to_be_bytes()).to_be_bytes());
        chunk.extend_from_slice(bytes);
        chunk.resize(whole, ERASED);
        one.end = None; // until it is there
        flash.program(place.start + at, &chunk)?;
        one.end = Some(at + whole);
        Ok(())
    }

    /// The bank that was written becomes the current one, and the one of before is erased.
    fn rename(&mut self, flash: &mut impl Flash, geometry: Geometry) -> io::Result<()> {
        let next = self.next.take().ok_or(io::ErrorKind::NotFound)?;
        let numbers = self.banks.iter().filter_map(|bank| bank.number);
        let number = numbers.max().unwrap_or_default() + 1;
        let mut mark = self.mark(number, self.banks[next].erasures);
        mark.resize(MARK.next_multiple_of(geometry.page), ERASED);
        flash.program(self.bytes(next, geometry).start, &mark)?;
        self.banks[next].number = Some(number);
        if let Some(before) = self.current.replace(next) {
            // If that fails it is done when the bank is needed.
            let erased = self.erase(before, flash);
            self.banks[before].blank = erased.is_ok();
        }
        Ok(())
    }

    fn mark(&self, number: u64, erasures: u32) -> Vec<u8> {
        let mut mark = MAGIC.to_vec();
        mark.extend_from_slice(&[self.kind, 0, 0, 0]);
        mark.extend_from_slice(&number.to_be_bytes());
        mark.extend_from_slice(&erasures.to_be_bytes());
        mark.extend_from_slice(&crc(&mark).to_be_bytes());
        mark.extend_from_slice(&crc(&mark).to_be_bytes());
        mark
    }

    /// The number of a bank, and how often it was erased, if its mark is whole.
    fn read_mark(&self, mark: &[u8; MARK]) -> Option<(u64, u32)> {
        let number = u64::from_be_bytes(mark[8..16].try_into().ok()?);
        let erasures = u32::from_be_bytes(mark[16..20].try_into().ok()?);
        (self.mark(number, erasures) == mark).then_some((number, erasures))
    }
}

/// Where the bytes of the chunk are that begins here, if there is one.
fn chunk(bank: &[u8], at: usize) -> Option<Range<usize>> {
    let (length, rest) = bank.get(at..)?.split_first_chunk::<4>()?;
    let (check, _) = rest.split_first_chunk::<4>()?;
    if crc(length).to_be_bytes() != *check {
        return None;
    }
    let start = at + HEAD;
    let end = start.checked_add(u32::from_be_bytes(*length) as usize)?;
    (end <= bank.len()).then_some(start..end)
}

/// CRC-32 (IEEE 802.3): against torn pages. Against people everything is sealed.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = crc >> 1 ^ 0xedb8_8320 & carry.wrapping_neg();
        }
    }
    !crc
}

impl<F: Flash> Disk for FlashDisk<F> {
    fn name(&self) -> String {
        "flash".to_owned()
    }

    /// Whoever has the value has the flash.
    fn lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, area: Area) -> io::Result<Option<Vec<u8>>> {
        let (flash, geometry, ring) = self.parts(area);
        match is_next(area) {
            true => Ok(None), // it counts when it takes the other's place
            false => ring.read(flash, geometry),
        }
    }

    fn create(&mut self, area: Area) -> io::Result<()> {
        let (flash, geometry, ring) = self.parts(area);
        match is_next(area) {
            true => ring.create(flash, geometry),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()> {
        let (flash, geometry, ring) = self.parts(area);
        let bank = match is_next(area) {
            true => ring.next,
            false => ring.current,
        };
        ring.append(bank, bytes, flash, geometry)
    }

    fn truncate(&mut self, _: Area, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What was programmed is there.
    fn sync(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: Area, _: Area) -> io::Result<()> {
        let (flash, geometry, ring) = self.parts(from);
        ring.rename(flash, geometry)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn birth(&mut self, _: Area) -> io::Result<Option<u64>> {
        Ok(None)
    }
}
