//! The board: QEMU, and the serial line to it.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use antiphon_embedded_line::{Command, HEADER_LEN, Measures, Report, header, parse_header};

/// Longer than any command takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A frame: its kind and its body.
type Frame = (u8, Vec<u8>);

/// What came of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Datagrams that left: port of the destination, bytes.
    pub(crate) datagrams: Vec<(u16, Vec<u8>)>,
    /// Records that were made durable.
    pub(crate) records: Vec<Vec<u8>>,
    /// When the board has something to do, in microseconds.
    pub(crate) next: Option<u64>,
}

/// A board that is switched on.
pub(crate) struct Machine {
    qemu: Child,
    line: ChildStdin,
    frames: Receiver<io::Result<Frame>>,
}

impl Machine {
    /// Switches a board on with this program in its flash.
    pub(crate) fn start(image: &Path) -> io::Result<Machine> {
        let mut qemu = Process::new("qemu-system-arm")
            .args(["-machine", "mps2-an386", "-cpu", "cortex-m4"])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(image)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("qemu-system-arm: {error}")))?;
        let (Some(line), Some(mut from)) = (qemu.stdin.take(), qemu.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (sender, frames) = channel();
        thread::spawn(move || {
            loop {
                let frame = read_frame(&mut from);
                let over = frame.is_err();
                if sender.send(frame).is_err() || over {
                    return;
                }
            }
        });
        Ok(Machine { qemu, line, frames })
    }

    /// Gives a command and waits until it is done.
    pub(crate) fn command(&mut self, command: Command, body: &[&[u8]]) -> io::Result<Outcome> {
        self.send(command, body)?;
        let mut outcome = Outcome::default();
        loop {
            let (report, body) = self.receive()?;
            match report {
                Report::Ready => {
                    outcome.next = body.try_into().ok().map(u64::from_be_bytes);
                    return Ok(outcome);
                }
                Report::Datagram => {
                    let (port, bytes) =
                        body.split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
                    outcome
                        .datagrams
                        .push((u16::from_be_bytes(*port), bytes.to_vec()));
                }
                Report::Record => outcome.records.push(body),
                Report::Failed => {
                    return Err(io::Error::other(format!("{command:?} failed: {body:?}")));
                }
                Report::Dead => {
                    return Err(io::Error::other(format!("the board died of {command:?}")));
                }
                Report::Measures => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// What the board took of its memory until now.
    pub(crate) fn measures(&mut self) -> io::Result<Measures> {
        self.send(Command::Measure, &[])?;
        let measures = match self.receive()? {
            (Report::Measures, body) => body.try_into().ok().map(|it| Measures::from_bytes(&it)),
            _ => None,
        };
        match self.receive()? {
            (Report::Ready, _) => measures.ok_or(io::ErrorKind::InvalidData.into()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn send(&mut self, command: Command, body: &[&[u8]]) -> io::Result<()> {
        let body = body.concat();
        self.line.write_all(&header(command as u8, body.len()))?;
        self.line.write_all(&body)?;
        self.line.flush()
    }

    fn receive(&mut self) -> io::Result<(Report, Vec<u8>)> {
        let frame = self.frames.recv_timeout(PATIENCE);
        let (kind, body) = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let report = Report::from_kind(kind).ok_or(io::ErrorKind::InvalidData)?;
        Ok((report, body))
    }
}

impl Drop for Machine {
    /// The power is cut: nothing is shut down.
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn read_frame(from: &mut impl Read) -> io::Result<Frame> {
    let mut start = [0; HEADER_LEN];
    from.read_exact(&mut start)?;
    let (kind, len) = parse_header(start);
    let mut body = vec![0; len];
    from.read_exact(&mut body)?;
    Ok((kind, body))
}
