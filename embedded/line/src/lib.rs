//! What the board and its host say to each other on the serial line.
//!
//! Both send frames: a kind, the length of the body in two bytes (big endian), the body. The host commands, one at a time;
//! the board reports what comes of it and ends with [`Report::Ready`], so that the host knows when there was *no* answer.
//! The board has neither clock nor entropy of its own here: both come with the commands, as from a timer and a generator.
#![no_std]
#![forbid(unsafe_code)]

/// Bytes before the body of a frame.
pub const HEADER_LEN: usize = 3;

/// The longest body of a frame in bytes.
pub const MAX_BODY: usize = 1024;

/// Bytes of a seed.
pub const SEED_LEN: usize = 32;

/// Port of the board, on which it hears unicast and its group.
pub const PORT: u16 = 5683;

/// The path of its resource.
pub const PATH: &str = "temperature";

/// What the board says of its temperature.
pub const TEMPERATURE: &[u8] = b"21.5 C";

/// The beginning of a frame.
pub fn header(kind: u8, len: usize) -> [u8; HEADER_LEN] {
    let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    [kind, high, low]
}

/// Kind and length of the frame that begins with these bytes.
pub fn parse_header([kind, high, low]: [u8; HEADER_LEN]) -> (u8, usize) {
    (kind, usize::from(u16::from_be_bytes([high, low])))
}

/// Gives an enumeration of frames its kinds.
macro_rules! kinds {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $kind:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[$variant_doc])* $variant = $kind,)* }

        impl $type {
            /// The one of this kind.
            pub const fn from_kind(kind: u8) -> Option<$type> {
                match kind { $($kind => Some($type::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// What the host may say.
    Command {
        /// Randomness, [`SEED_LEN`] bytes.
        Seed = 0x01,
        /// One durable record, as the board's store would give it back at a start.
        Record = 0x02,
        /// All records are there: start at this time (microseconds, 8 bytes).
        Start = 0x03,
        /// A datagram: [`Arrival`], then its bytes.
        Datagram = 0x04,
        /// Nothing but time has passed (microseconds, 8 bytes).
        Time = 0x05,
        /// Report [`Measures`].
        Measure = 0x06,
    }
}

kinds! {
    /// What the board may say.
    Report {
        /// The command is done. When the board has something to do next, if it waits for anything (microseconds, 8 bytes).
        Ready = 0x81,
        /// A datagram leaves: port of the destination (2 bytes), then its bytes.
        Datagram = 0x82,
        /// A record that must be durable before the board goes on.
        Record = 0x83,
        /// [`Measures`].
        Measures = 0x84,
        /// The command cannot be done: one byte, a [`Failure`].
        Failed = 0x85,
        /// The program has ended with a panic or a fault.
        Dead = 0x86,
    }
}

kinds! {
    /// Why a command cannot be done.
    Failure {
        /// Unknown, too long, too short, or not now.
        Command = 1,
        /// The records do not make a group in which this board can send.
        Records = 2,
        /// A credential or the private key cannot be read.
        Key = 3,
        /// The group cannot be set up.
        Group = 4,
        /// The resource or the socket cannot be set up.
        Resource = 5,
    }
}

/// How a datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, in microseconds.
    pub now: u64,
    /// To the group, or to the board alone.
    pub multicast: bool,
    /// The sender's port.
    pub port: u16,
}

impl Arrival {
    /// Length in bytes.
    pub const LEN: usize = 11;

    /// As bytes.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d, e, f, g, h] = self.now.to_be_bytes();
        let [high, low] = self.port.to_be_bytes();
        [a, b, c, d, e, f, g, h, self.multicast.into(), high, low]
    }

    /// Of bytes, and what follows them.
    pub fn split(bytes: &[u8]) -> Option<(Arrival, &[u8])> {
        let (now, rest) = bytes.split_first_chunk()?;
        let ([multicast, high, low], rest) = rest.split_first_chunk()?;
        let arrival = Arrival {
            now: u64::from_be_bytes(*now),
            multicast: *multicast != 0,
            port: u16::from_be_bytes([*high, *low]),
        };
        Some((arrival, rest))
    }
}

/// What the board took of its memory until now, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Room for the stack.
    pub stack_size: u32,
    /// The most that the stack took.
    pub stack_used: u32,
    /// Room for the heap.
    pub heap_size: u32,
    /// The most that was allocated at one time.
    pub heap_peak: u32,
    /// What is allocated now.
    pub heap_now: u32,
}

impl Measures {
    /// Length in bytes.
    pub const LEN: usize = 20;

    /// As bytes.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let numbers = [
            self.stack_size,
            self.stack_used,
            self.heap_size,
            self.heap_peak,
            self.heap_now,
        ];
        let mut bytes = [0; Self::LEN];
        for (to, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            to.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Of bytes.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Measures {
        let mut numbers = bytes
            .chunks_exact(4)
            .map(|four| four.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)));
        let mut next = || numbers.next().unwrap_or_default();
        Measures {
            stack_size: next(),
            stack_used: next(),
            heap_size: next(),
            heap_peak: next(),
            heap_now: next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(header(0x84, 0x0203), [0x84, 2, 3]);
        assert_eq!(parse_header([0x84, 2, 3]), (0x84, 0x0203));
        assert_eq!(Command::from_kind(4), Some(Command::Datagram));
        assert_eq!(Command::from_kind(0x84), None);
        let arrival = Arrival {
            now: 0x0102_0304_0506_0708,
            multicast: true,
            port: 0x090a,
        };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 1, 9, 10, 42];
        assert_eq!(arrival.to_bytes(), bytes[..11]);
        assert_eq!(Arrival::split(&bytes), Some((arrival, &[42][..])));
        assert_eq!(Arrival::split(&bytes[..10]), None);
        let measures = Measures {
            stack_size: 1,
            stack_used: 0x0203_0405,
            heap_size: 6,
            heap_peak: 7,
            heap_now: 8,
        };
        assert_eq!(Measures::from_bytes(&measures.to_bytes()), measures);
    }
}
