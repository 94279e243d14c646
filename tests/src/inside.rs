//! Work of ours that goes on inside a host of a lab, beside programs of others.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use antiphon_tests::{Lab, Process, ours};
use nix::sched::{CloneFlags, setns};

/// How long a peer may take to start, and to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Does something in a thread that is in a host: the sockets it makes are there.
pub(crate) fn inside<T: Send, F: Future<Output = T>>(
    lab: &Lab,
    host: u8,
    work: impl FnOnce() -> F + Send,
) -> T {
    let ending = format!("-{host}");
    let names = lab.namespaces();
    let name = names.iter().find(|name| name.ends_with(&ending)).unwrap();
    let namespace = File::open(format!("/run/netns/{name}")).unwrap();
    let there = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("the lab's owner may enter it");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(work())
    };
    thread::scope(|scope| match scope.spawn(there).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Waits for the end of a program while what else is in this thread goes on.
pub(crate) async fn ended(process: Process) -> (bool, Vec<String>) {
    let end = tokio::task::spawn_blocking(|| process.finish(PATIENCE));
    end.await.unwrap()
}

/// Asks until something holds, while what else is in this thread goes on.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a program has printed what is wanted, while what else is in this thread goes on.
pub(crate) async fn printed(process: &mut Process, mut wanted: impl FnMut(&[String]) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let lines = process.lines_so_far();
        if wanted(&lines) {
            return;
        }
        assert!(Instant::now() < end, "not printed: {lines:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes a resource with our command, from some host.
pub(crate) async fn put(lab: &Lab, host: u8, uri: &str, text: &str) {
    let program = ours::program();
    let put = lab.start(host, &[&program, "put", uri, text, "-u"]);
    let (changed, lines) = ended(put).await;
    assert!(changed, "{uri}: {lines:?}");
}
