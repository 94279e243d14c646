//! Installs what the tests need, from the one list `tests/needs.txt`.
//!
//! Debian packages go where they belong and need root (or `sudo`); everything else goes into `.peers/`. What is there
//! already is left alone. A registry is asked three times, then the command fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;
use crate::process::{command, output_of, run};

/// Waits before the second and the third attempt at a registry.
const WAITS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];

/// The list, sorted by kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// Debian package and what proves that it is there.
    apt: Vec<(String, String)>,
    /// Python requirements.
    pip: Vec<String>,
    /// npm packages with their versions.
    npm: Vec<String>,
    /// Folders of cargo packages that are built here.
    peers: Vec<String>,
    /// Cargo subcommands: crate, version, whether only the long check needs it.
    cargo: Vec<(String, String, bool)>,
}

impl Needs {
    /// Reads the list; the error names the line.
    fn parse(text: &str) -> Result<Needs, String> {
        let mut needs = Needs::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let wrong = || format!("tests/needs.txt:{}: not understood: {line}", index + 1);
            match words.as_slice() {
                [] => {}
                ["apt", package, probe] => needs.apt.push((package.to_string(), probe.to_string())),
                ["pip", requirement] => needs.pip.push(requirement.to_string()),
                ["npm", package] => needs.npm.push(package.to_string()),
                ["peer", folder] => needs.peers.push(folder.to_string()),
                ["cargo", tool, rest @ ..] => {
                    let (name, version) = tool.split_once('@').ok_or_else(wrong)?;
                    let long = match rest {
                        [] => false,
                        ["long"] => true,
                        _ => return Err(wrong()),
                    };
                    needs.cargo.push((name.into(), version.into(), long));
                }
                _ => return Err(wrong()),
            }
        }
        Ok(needs)
    }
}

/// Installs everything on the list; with `long` also what only the long check needs.
pub(crate) fn install(root: &Path, long: bool) -> Outcome {
    let list = root.join("tests/needs.txt");
    let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let needs = Needs::parse(&text)?;
    let peers = root.join(".peers");
    fs::create_dir_all(&peers).map_err(|e| format!("{}: {e}", peers.display()))?;

    debian_packages(root, &needs.apt)?;
    python_packages(&peers, &needs.pip)?;
    node_packages(&peers, &needs.npm)?;
    for folder in &needs.peers {
        cargo_peer(root, &peers, folder)?;
    }
    for (name, version, only_long) in &needs.cargo {
        if long || !only_long {
            cargo_tool(&peers, name, version)?;
        }
    }
    println!("==> everything that the tests need is there");
    Ok(())
}

fn debian_packages(root: &Path, packages: &[(String, String)]) -> Outcome {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(package, probe)| !is_there(root, package, probe))
        .map(|(package, _)| package.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("==> Debian packages: {}", missing.join(" "));
    let privileged = privileges(root).ok_or_else(|| {
        format!(
            "these Debian packages are missing, and neither root nor a sudo without password is at hand: {0}\n\
             install them yourself: apt-get install --no-install-recommends {0}",
            missing.join(" ")
        )
    })?;
    let apt = |arguments: &[&str]| {
        let mut words =
            privileged
                .iter()
                .copied()
                .chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        let mut apt = command(root, words.next().unwrap_or("env"));
        apt.args(words).args(arguments);
        apt
    };
    let install = [
        &["install", "-y", "--no-install-recommends"],
        missing.as_slice(),
    ]
    .concat();
    three_times("Debian's packages", || {
        run(apt(&["update"]))?;
        run(apt(&install))
    })?;
    match packages
        .iter()
        .find(|(package, probe)| !is_there(root, package, probe))
    {
        Some((package, probe)) => Err(format!(
            "package {package} is installed but {probe} is still not there"
        )),
        None => Ok(()),
    }
}

/// Whether a Debian package's work is done already, by whatever means: a command, a path (one `*` allowed), or dpkg.
fn is_there(root: &Path, package: &str, probe: &str) -> bool {
    if probe == "-" {
        let mut ask = command(root, "dpkg");
        ask.args(["-s", package])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        return run(ask).is_ok();
    }
    if let Some((before, after)) = probe.split_once('*') {
        let (folder, prefix) = before.rsplit_once('/').unwrap_or((".", before));
        return fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    name.starts_with(prefix)
                        && Path::new(&format!("{folder}/{name}{after}")).exists()
                })
            })
        });
    }
    if probe.contains('/') {
        return Path::new(probe).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Administrators' programs are not on every user's path.
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrators)
        .any(|folder| folder.join(probe).is_file())
}

/// The words to put before a command that needs root; `None` when there is no way.
fn privileges(root: &Path) -> Option<Vec<&'static str>> {
    let mut id = command(root, "id");
    id.arg("-u");
    if output_of(id).is_ok_and(|uid| uid.trim() == "0") {
        return Some(Vec::new());
    }
    let mut sudo = command(root, "sudo");
    sudo.args(["-n", "true"]).stderr(Stdio::null());
    run(sudo).is_ok().then(|| vec!["sudo", "-n"])
}

fn python_packages(peers: &Path, requirements: &[String]) -> Outcome {
    unless_done(peers, "pip", &requirements.join("\n"), || {
        println!("==> Python packages: {}", requirements.join(" "));
        // Debian's own interpreter first: python3-venv belongs to it.
        let python = if Path::new("/usr/bin/python3").exists() {
            "/usr/bin/python3"
        } else {
            "python3"
        };
        let mut venv = command(peers, python);
        venv.args(["-m", "venv", "--clear", "venv"]);
        run(venv)?;
        three_times("the Python registry", || {
            let mut pip = command(peers, "venv/bin/pip");
            pip.args(["install", "--quiet", "--disable-pip-version-check"])
                .args(requirements);
            run(pip)
        })
    })
}

fn node_packages(peers: &Path, packages: &[String]) -> Outcome {
    unless_done(peers, "npm", &packages.join("\n"), || {
        println!("==> npm packages: {}", packages.join(" "));
        let folder = peers.join("node");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        three_times("the npm registry", || {
            let mut npm = command(&folder, "npm");
            npm.args([
                "install",
                "--prefix",
                ".",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--loglevel=error",
            ])
            .args(packages);
            run(npm)
        })
    })
}

/// Builds a peer that is a cargo package of its own. Cargo itself knows what is up to date.
fn cargo_peer(root: &Path, peers: &Path, folder: &str) -> Outcome {
    println!("==> peer {folder}");
    let name = Path::new(folder).file_name().unwrap_or_default();
    let target = peers.join(name);
    three_times("the crate registry", || {
        let mut cargo = command(&root.join(folder), "cargo");
        cargo
            .args(["build", "--quiet", "--locked", "--target-dir"])
            .arg(&target);
        run(without_our_cargo(cargo))
    })
}

fn cargo_tool(peers: &Path, name: &str, version: &str) -> Outcome {
    unless_done(peers, name, version, || {
        println!("==> {name} {version}");
        let folder = peers.join("cargo");
        three_times("the crate registry", || {
            let mut cargo = command(peers, "cargo");
            cargo
                .args([
                    "install",
                    "--quiet",
                    "--locked",
                    name,
                    "--version",
                    version,
                    "--root",
                ])
                .arg(&folder);
            run(without_our_cargo(cargo))
        })
    })
}

/// Variables that cargo set for us and that must not reach a cargo which builds something else.
fn without_our_cargo(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `work` unless `.peers/NAME.done` says that exactly `wanted` was installed before.
fn unless_done(peers: &Path, name: &str, wanted: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    let stamp = peers.join(format!("{name}.done"));
    if fs::read_to_string(&stamp).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    work()?;
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))
}

/// A registry may fail twice.
fn three_times(what: &str, mut attempt: impl FnMut() -> Outcome) -> Outcome {
    for wait in WAITS {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(message) => eprintln!("xtask: {message}; again in {} s", wait.as_secs()),
        }
        sleep(wait);
    }
    attempt().map_err(|message| format!("{what}: three attempts failed; the last: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read() {
        let needs = Needs::parse(
            "# words\napt a b # why\n\npip x[y]==1\nnpm c@2\npeer tests/p\ncargo d@3\ncargo e@4 long\n",
        );
        let expected = Needs {
            apt: vec![("a".into(), "b".into())],
            pip: vec!["x[y]==1".into()],
            npm: vec!["c@2".into()],
            peers: vec!["tests/p".into()],
            cargo: vec![
                ("d".into(), "3".into(), false),
                ("e".into(), "4".into(), true),
            ],
        };
        assert_eq!(needs, Ok(expected));
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        for (line, at) in [
            ("apt a", 1),
            ("\nbrew a b", 2),
            ("cargo a", 1),
            ("cargo a@1 short", 1),
        ] {
            let error = Needs::parse(line).expect_err(line);
            assert!(
                error.starts_with(&format!("tests/needs.txt:{at}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_committed_list_is_understood() {
        let text = include_str!("../../tests/needs.txt");
        let needs = Needs::parse(text).expect("tests/needs.txt");
        assert!(
            needs
                .apt
                .iter()
                .any(|(package, _)| package == "libcoap3-bin")
        );
        assert!(
            needs
                .pip
                .iter()
                .any(|requirement| requirement.starts_with("aiocoap"))
        );
        assert!(needs.npm.iter().any(|package| package.starts_with("coap@")));
        assert!(!needs.peers.is_empty());
    }

    #[test]
    fn a_probe_may_be_a_command_a_path_or_a_pattern() {
        let root = Path::new("/");
        assert!(is_there(root, "x", "sh"));
        assert!(!is_there(root, "x", "no-such-command-anywhere"));
        assert!(is_there(root, "x", "/bin/sh"));
        assert!(is_there(root, "x", "/usr/l*/locale"));
        assert!(!is_there(root, "x", "/usr/l*/no-such-thing"));
    }

    #[test]
    fn the_third_failure_is_final_and_the_first_success_ends_it() {
        let mut calls = 0;
        let outcome = three_times("it", || {
            calls += 1;
            Ok(())
        });
        assert_eq!((outcome, calls), (Ok(()), 1));
    }

    #[test]
    fn what_is_done_is_not_done_again() {
        let folder = std::env::temp_dir().join(format!("xtask-needs-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let mut calls = 0;
        for wanted in ["1", "1", "2"] {
            let outcome = unless_done(&folder, "tool", wanted, || {
                calls += 1;
                Ok(())
            });
            assert_eq!(outcome, Ok(()));
        }
        let failed = unless_done(&folder, "tool", "3", || Err("no".into()));
        let stamp = fs::read_to_string(folder.join("tool.done"));
        fs::remove_dir_all(&folder).expect("the folder was ours");
        assert_eq!((calls, failed), (2, Err("no".into())));
        assert_eq!(stamp.expect("a stamp"), "2");
    }
}
