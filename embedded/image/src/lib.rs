//! A member of a security group on a Cortex-M4: one resource, one group. It is commanded over the serial line, as
//! `antiphon-embedded-line` says, and answers CoAP requests that are protected with Group OSCORE.
//!
//! Two programs share what is here: `endpoint` is a whole endpoint, `contexts` has the Security Contexts alone.
#![no_std]

extern crate alloc;

mod memory;
mod provisions;
mod uart;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::panic::PanicInfo;

use antiphon_embedded_line::{
    Arrival, Command, Failure, HEADER_LEN, MAX_BODY, Report, header, parse_header,
};
use cortex_m_rt::{ExceptionFrame, exception};
use provisions::Provisions;
pub use provisions::{Provisioned, save};

/// What the two programs do differently.
pub trait Member: Sized {
    /// Begins to take part.
    ///
    /// # Errors
    /// What cannot be set up.
    fn start(it: Box<Provisioned>, now: u64) -> Result<Self, Failure>;

    /// A datagram has arrived.
    fn hear(&mut self, arrival: Arrival, bytes: &[u8]);

    /// Time has passed: it is so many microseconds.
    fn wait(&mut self, now: u64);

    /// When there is something to do again, in microseconds.
    fn next(&self) -> Option<u64>;
}

/// Does what the host commands, for ever.
pub fn run<M: Member>() -> ! {
    memory::start_heap();
    uart::start();
    let mut provisions = Provisions::default();
    let mut member = None::<M>;
    loop {
        let done = match receive() {
            Some((command, body)) => obey(&mut provisions, &mut member, command, &body),
            None => Err(Failure::Command),
        };
        if let Err(failure) = done {
            report(Report::Failed, &[failure as u8], &[]);
        }
        match member.as_ref().and_then(Member::next) {
            Some(next) => report(Report::Ready, &next.to_be_bytes(), &[]),
            None => report(Report::Ready, &[], &[]),
        }
    }
}

// Not inlined, here and below: what one command needs of the stack must not add to what another one needs.
#[inline(never)]
fn obey<M: Member>(
    provisions: &mut Provisions,
    member: &mut Option<M>,
    command: Command,
    body: &[u8],
) -> Result<(), Failure> {
    match (command, member) {
        (Command::Seed, None) => provisions.seed(body)?,
        (Command::Record, None) => provisions.record(body)?,
        (Command::Start, member @ None) => start(provisions, member, microseconds(body)?)?,
        (Command::Datagram, Some(member)) => {
            let (arrival, bytes) = Arrival::split(body).ok_or(Failure::Command)?;
            member.hear(arrival, bytes);
        }
        (Command::Time, Some(member)) => member.wait(microseconds(body)?),
        (Command::Measure, _) => report(Report::Measures, &memory::measures().to_bytes(), &[]),
        _ => return Err(Failure::Command),
    }
    Ok(())
}

#[inline(never)]
fn start<M: Member>(
    provisions: &mut Provisions,
    member: &mut Option<M>,
    now: u64,
) -> Result<(), Failure> {
    let it = core::mem::take(provisions).restore()?;
    *member = Some(M::start(it, now)?);
    Ok(())
}

fn microseconds(body: &[u8]) -> Result<u64, Failure> {
    let bytes = body.try_into().map_err(|_| Failure::Command)?;
    Ok(u64::from_be_bytes(bytes))
}

/// The next command; `None` if there is no such one, or it is too long.
fn receive() -> Option<(Command, Vec<u8>)> {
    let mut start = [0; HEADER_LEN];
    start.fill_with(uart::receive);
    let (kind, len) = parse_header(start);
    let mut body = Vec::new();
    if len > MAX_BODY {
        for _ in 0..len {
            uart::receive();
        }
        return None;
    }
    body.reserve_exact(len);
    body.extend((0..len).map(|_| uart::receive()));
    Some((Command::from_kind(kind)?, body))
}

/// Reports something, whose body has two parts.
pub fn report(what: Report, first: &[u8], second: &[u8]) {
    let start = header(what as u8, first.len() + second.len());
    let bytes = start.iter().chain(first).chain(second);
    bytes.for_each(|byte| uart::send(*byte));
}

/// The table of interrupt handlers: nothing here uses interrupts, so it has one entry, which none of them reaches.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [extern "C" fn() -> !; 1] = [unexpected];

extern "C" fn unexpected() -> ! {
    die()
}

fn die() -> ! {
    report(Report::Dead, &[], &[]);
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    die()
}

// SAFETY: nothing of the interrupted program is touched; what the handler reports is on the stack or constant.
#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    die()
}
