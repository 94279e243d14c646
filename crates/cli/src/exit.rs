//! Exit codes, the same for every subcommand.

/// All expected members answered; at least one, if none were named.
pub(crate) const ALL: u8 = 0;
/// What was inspected is wrong: `decode` of a malformed datagram.
pub(crate) const MALFORMED: u8 = 1;
/// The command line or a file that it names says something that cannot be meant.
pub(crate) const USAGE: u8 = 2;
/// Some expected members are missing.
pub(crate) const SOME_MISSING: u8 = 3;
/// Nobody answered.
pub(crate) const NONE: u8 = 4;
/// The one peer that was asked answered with an error (4.xx, 5.xx).
pub(crate) const REFUSED: u8 = 6;
/// This machine could not do it: no such interface, address in use, a file that cannot be read.
pub(crate) const LOCAL: u8 = 5;
