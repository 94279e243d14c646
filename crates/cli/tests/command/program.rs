//! Runs the binary, and reads what it says.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The binary, before its arguments.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command
        .env_remove("ANTIPHON_UNSECURED")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn antiphon(args: &[&str]) -> Output {
    command().args(args).output().unwrap()
}

/// Runs it to its end with this on its standard input.
pub(crate) fn with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child = command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that does not read its input closes the pipe: not our concern.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Each line of the output as JSON.
pub(crate) fn lines(output: &Output) -> Vec<serde_json::Value> {
    out(output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// The lines of this event.
#[cfg(target_os = "linux")]
pub(crate) fn of_event<'a>(
    lines: &'a [serde_json::Value],
    name: &str,
) -> Vec<&'a serde_json::Value> {
    lines.iter().filter(|line| line["event"] == name).collect()
}

/// A folder of its own for one test; removed when it goes out of scope.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// `name` is one that no other test uses.
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("antiphon-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file into it; returns its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The keys of group `lights` for these members, in the folder `name`; returns its path.
    pub(crate) fn new_group(&self, name: &str, members: &[&str], more: &[&str]) -> String {
        let folder = self.path(name);
        let members: Vec<&str> = members.iter().flat_map(|name| ["--member", name]).collect();
        let args = ["oscore", "new-group", "lights", "--out", &folder];
        let made = antiphon(&[&args, &members[..], more].concat());
        assert_eq!(code(&made), 0, "{}", err(&made));
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{BufRead, BufReader};
    use std::net::UdpSocket;
    use std::process::{Child, ChildStdout, Command, Stdio};

    use super::{Folder, command};

    /// Set in the process that runs inside of a namespace.
    const INSIDE: &str = "ANTIPHON_TEST_INSIDE";

    /// A port that nobody uses at the moment.
    pub(crate) fn free_port() -> u16 {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.local_addr().unwrap().port()
    }

    /// `antiphon serve`, running; ended when it goes out of scope.
    pub(crate) struct Member {
        child: Child,
        log: BufReader<ChildStdout>,
        /// What it said when it began to serve.
        pub(crate) serving: serde_json::Value,
    }

    impl Member {
        /// Serves by this configuration, which goes into `folder` as `name`; returns when it does.
        pub(crate) fn serve(folder: &Folder, name: &str, config: &str) -> Self {
            let config = folder.write(name, config);
            let mut child = command()
                .args(["serve", "--json", "--config", &config])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut log = BufReader::new(child.stdout.take().unwrap());
            let mut first = String::new();
            log.read_line(&mut first).unwrap();
            let serving: serde_json::Value =
                serde_json::from_str(&first).unwrap_or_else(|e| panic!("{e}: {first}"));
            assert_eq!(serving["event"], "serving");
            Self {
                child,
                log,
                serving,
            }
        }

        /// Sends it a signal.
        pub(crate) fn signal(&self, name: &str) {
            let sent = Command::new("kill")
                .args([name, &self.child.id().to_string()])
                .status();
            assert!(sent.unwrap().success());
        }

        /// Waits for the next line of this event.
        pub(crate) fn wait_for(&mut self, event: &str) -> serde_json::Value {
            loop {
                let mut line = String::new();
                assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "no {event}");
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                if line["event"] == event {
                    return line;
                }
            }
        }

        /// Ends it as an operator would, and gives the rest of its log.
        pub(crate) fn stop(mut self) -> Vec<serde_json::Value> {
            self.signal("-TERM");
            assert_eq!(self.child.wait().unwrap().code(), Some(0));
            (&mut self.log)
                .lines()
                .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
                .collect()
        }
    }

    impl Drop for Member {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Is this the process that runs inside of the namespace?
    pub(crate) fn is_inside() -> bool {
        std::env::var_os(INSIDE).is_some()
    }

    /// Runs the test `name` again in a network namespace of its own, whose loopback interface is up. `prepare` are more
    /// commands to run there before. The namespace is made with `unshare`: as root, or where users may make
    /// namespaces. Where neither is so, this fails and says so.
    pub(crate) fn in_a_namespace(name: &str, prepare: &[&str]) {
        let this = std::env::current_exe().unwrap();
        let script = [&["ip link set lo up"], prepare].concat().join(" && ");
        let script = format!(
            "{script} && exec '{}' --exact {name} --nocapture",
            this.display()
        );
        let mut failures = Vec::new();
        // Root needs no user namespace and may not be allowed one.
        for flags in ["-n", "-rn"] {
            let output = Command::new("unshare")
                .args([flags, "sh", "-c", &script])
                .env(INSIDE, "1")
                .output()
                .expect("unshare (package util-linux) and ip (package iproute2) are needed");
            let text = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if output.status.success() {
                assert!(text.contains("1 passed"), "{text}");
                println!("{text}");
                return;
            }
            assert!(
                !text.contains("running 1 test"),
                "inside of the namespace:\n{text}"
            );
            failures.push(text);
        }
        panic!("no network namespace can be made here, which this test needs: {failures:?}");
    }
}
