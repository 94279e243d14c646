//! What the image takes on the board, from the section headers of its ELF file (32 bits, little endian).

use std::io;

/// Addresses from here on are RAM.
const RAM: u32 = 0x2000_0000;
/// In memory when the program runs.
const ALLOCATED: u32 = 2;
/// Without bytes in the file.
const NO_BYTES: u32 = 8;
/// The section in which the image keeps its heap.
const HEAP: &str = ".uninit";

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Program, constants, and the first values of static data.
    pub(crate) flash: u32,
    /// Static data, without heap and stack.
    pub(crate) static_ram: u32,
}

/// Reads the sizes.
pub(crate) fn sizes(elf: &[u8]) -> io::Result<Sizes> {
    read(elf)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an ELF file of the board"))
}

fn read(elf: &[u8]) -> Option<Sizes> {
    if elf.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let (table, count, names) = (word(elf, 32)?, half(elf, 48)?, half(elf, 50)?);
    let header = |section: u16| table as usize + usize::from(section) * 40;
    let names = word(elf, header(names) + 16)? as usize;
    let mut sizes = Sizes::default();
    for section in 0..count {
        let at = header(section);
        let (kind, flags) = (word(elf, at + 4)?, word(elf, at + 8)?);
        let (address, size) = (word(elf, at + 12)?, word(elf, at + 20)?);
        if flags & ALLOCATED == 0 {
            continue;
        }
        let name = elf.get(names + word(elf, at)? as usize..)?;
        let is_heap = name.starts_with(HEAP.as_bytes());
        if address >= RAM && !is_heap {
            sizes.static_ram += size;
        }
        if kind != NO_BYTES && !is_heap {
            sizes.flash += size;
        }
    }
    Some(sizes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_has_no_sizes() {
        assert!(sizes(b"").is_err());
        assert!(sizes(&[0; 100]).is_err());
        let mut header = [0; 52];
        header[..6].copy_from_slice(b"\x7fELF\x01\x01");
        // no sections: nothing to count, but the table of their names has to be there
        assert!(sizes(&header[..51]).is_err());
    }
}
