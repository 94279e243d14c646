//! The first serial line of the MPS2 boards: a CMSDK UART, without interrupts.

/// Where its registers are.
const BASE: usize = 0x4000_4000;
const DATA: usize = BASE;
const STATE: usize = BASE + 0x4;
const CONTROL: usize = BASE + 0x8;
const BAUD_DIVIDER: usize = BASE + 0x10;

const SENDING_IS_FULL: u32 = 1;
const RECEIVED: u32 = 2;
const SEND_AND_RECEIVE: u32 = 3;
/// The smallest divider that the UART takes; the emulated line has no speed.
const FASTEST: u32 = 16;

fn read(register: usize) -> u32 {
    // SAFETY: the constants above are the aligned registers of a device that every board of this family has at this
    // place; reading has no effect on memory.
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as in `read`; the device has no access to memory, so no value can do harm there.
    unsafe { (register as *mut u32).write_volatile(value) }
}

/// Switches the line on.
pub(crate) fn start() {
    write(BAUD_DIVIDER, FASTEST);
    write(CONTROL, SEND_AND_RECEIVE);
}

/// Waits for a byte.
pub(crate) fn receive() -> u8 {
    while read(STATE) & RECEIVED == 0 {}
    read(DATA) as u8
}

/// Sends a byte as soon as there is room.
pub(crate) fn send(byte: u8) {
    while read(STATE) & SENDING_IS_FULL != 0 {}
    write(DATA, byte.into());
}
