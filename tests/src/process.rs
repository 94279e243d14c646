//! Programs that run beside a test and end with it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
}

/// A name in the temporary folder that nobody has used.
pub fn scratch(ending: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("antiphon-{}-{next}.{ending}", std::process::id()))
}

/// The folder with the installed peers; panics with what to do when `name` is not there.
pub(crate) fn installed(name: &str) -> PathBuf {
    let path = root().join(".peers").join(name);
    assert!(
        path.exists(),
        "{} is not there: run `cargo xtask peers` first",
        path.display()
    );
    path
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: VecDeque<String>,
}

impl Process {
    /// Starts a program with nothing to read; what it prints on both outputs is kept as lines.
    ///
    /// # Panics
    /// When the program does not start.
    pub fn start(mut command: Command) -> Process {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child
                .stdout
                .take()
                .map(|output| Box::new(output) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|output| Box::new(output) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    // The test may be over already.
                    let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
        }
        Process {
            child,
            lines,
            seen: VecDeque::new(),
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains `text` and returns it.
    ///
    /// # Panics
    /// When there is none within `limit`, or the program ends before; the message shows what it printed.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push_back(line.clone());
                    if found {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no `{text}` within {limit:?}: {:#?}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without `{text}`: {:#?}", self.seen)
                }
            }
        }
    }

    /// Asks `condition` until it holds: whenever the program has printed a line, and now and then.
    ///
    /// # Panics
    /// When it does not within `limit`, or the program has ended.
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
        let end = Instant::now() + limit;
        while !condition() {
            let status = self.child.try_wait().expect("a child can be asked");
            assert!(
                status.is_none(),
                "ended with {status:?} before {what}: {:#?}",
                self.lines_so_far()
            );
            assert!(
                Instant::now() < end,
                "not {what} within {limit:?}: {:#?}",
                self.lines_so_far()
            );
            match self.lines.recv_timeout(Duration::from_millis(5)) {
                Ok(line) => self.seen.push_back(line),
                Err(RecvTimeoutError::Timeout) => {}
                // Both outputs are closed, and nothing calls any more.
                Err(RecvTimeoutError::Disconnected) => thread::yield_now(),
            }
        }
    }

    /// Everything that was printed until now.
    pub fn lines_so_far(&mut self) -> Vec<String> {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().cloned().collect()
    }

    /// Waits for the end; returns whether it succeeded and all that was printed.
    ///
    /// # Panics
    /// When the program still runs after `limit`.
    pub fn finish(self, limit: Duration) -> (bool, Vec<String>) {
        let (code, lines) = self.exit(limit);
        (code == Some(0), lines)
    }

    /// Waits for the end; returns the exit code (none after a signal) and all that was printed.
    ///
    /// # Panics
    /// When the program still runs after `limit`.
    pub fn exit(mut self, limit: Duration) -> (Option<i32>, Vec<String>) {
        let end = Instant::now() + limit;
        loop {
            // Both outputs are closed when nobody can send a line any more.
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push_back(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("still running after {limit:?}: {:#?}", self.seen)
                }
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        (status.code(), self.seen.iter().cloned().collect())
    }

    /// Kills the program (SIGKILL): it has no time to write anything down. Returns all that was printed.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub fn kill(mut self, limit: Duration) -> Vec<String> {
        let ended = self.child.try_wait().expect("a child can be asked");
        assert!(ended.is_none(), "{ended:?}: {:#?}", self.lines_so_far());
        self.child.kill().expect("a running child can be killed");
        let (code, lines) = self.exit(limit);
        assert_eq!(code, None, "{lines:#?}");
        lines
    }

    /// Asks the program to end as Ctrl-C does, and waits; returns whether it succeeded and all that was printed.
    ///
    /// # Panics
    /// When the program still runs after `limit`.
    pub fn interrupt(self, limit: Duration) -> (bool, Vec<String>) {
        let sent = Command::new("kill")
            .args(["-INT", &self.id().to_string()])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "could not interrupt {}",
            self.id()
        );
        self.finish(limit)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
