//! Saying when an observable resource has changed, where no request to this server has changed it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use antiphon::{ResourceHandle, Server};
use tokio::time::{MissedTickBehavior, interval};

use super::config::{Config, Source};

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Notifies observers by the clock, and of files that change, as long as the server runs.
pub(super) fn watch(config: &Config, server: &Server) {
    let resources = config.resources.iter().zip(server.resources());
    for (resource, handle) in resources.filter(|(resource, _)| resource.observable) {
        if let Some(every) = resource.notify_every {
            tokio::spawn(by_the_clock(handle.clone(), every));
        }
        if let Source::File(path) = &resource.source {
            tokio::spawn(by_file(handle, path.clone(), LOOK_EVERY));
        }
    }
}

async fn by_the_clock(resource: ResourceHandle, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await; // the first one comes at once
    loop {
        ticks.tick().await;
        if resource.notify().is_err() {
            return;
        }
    }
}

async fn by_file(resource: ResourceHandle, path: PathBuf, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = seen(&path);
    loop {
        ticks.tick().await;
        let now = seen(&path);
        if now != known {
            known = now;
            if resource.notify().is_err() {
                return;
            }
        }
        if resource.observers().await.is_err() {
            return;
        }
    }
}

/// What tells one state of a file from another.
fn seen(path: &Path) -> Option<(Option<SystemTime>, u64)> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok(), about.len()))
}

#[cfg(test)]
mod tests {
    use antiphon::{Client, NoSec, Observation, ObservationEvent, Observing};

    use super::super::config::parse_for_test;
    use super::*;

    async fn told(observation: &mut Observation) -> String {
        let next = async {
            loop {
                match observation.next().await {
                    Some(ObservationEvent::Notification(note)) => {
                        return String::from_utf8(note.response.payload).unwrap();
                    }
                    Some(_) => {}
                    None => panic!("it is over"),
                }
            }
        };
        let patience = Duration::from_secs(10);
        tokio::time::timeout(patience, next).await.expect("in time")
    }

    #[tokio::test]
    async fn files_and_counters_are_observed() {
        let file = std::env::temp_dir().join(format!("antiphon-observed-{}", std::process::id()));
        std::fs::write(&file, "one").unwrap();
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\ndiscoverable = \"off\"\nunsecured = true\n\
             [[resource]]\npath = \"/file\"\nfile = {file:?}\naccess = \"unsecured\"\nobservable = true\n\
             [[resource]]\npath = \"/count\"\ncounter = 0\naccess = \"unsecured\"\nobservable = true\nnotify-every = \"100ms\"\n"
        );
        let config = parse_for_test(&text);
        let (log, _lines) = tokio::sync::mpsc::channel(64);
        let server = super::super::run::build(&config, &[], &log, &[])
            .await
            .unwrap();
        watch(&config, &server);
        let at = server.addresses()[0];
        let running = server.spawn();
        let client = Client::builder()
            .bind("127.0.0.1:0".parse().unwrap())
            .build()
            .await
            .unwrap();
        let observe = |path: &str| {
            let call = client.one(&format!("coap://{at}{path}")).unwrap();
            call.get()
                .unsecured(NoSec::Accepted)
                .observe(Observing::new())
        };
        let mut of_file = observe("/file").await.unwrap();
        assert_eq!(told(&mut of_file).await, "one");
        std::fs::write(&file, "twenty").unwrap();
        assert_eq!(told(&mut of_file).await, "twenty");
        let mut count = observe("/count").await.unwrap();
        let first: u64 = told(&mut count).await.parse().unwrap();
        let second: u64 = told(&mut count).await.parse().unwrap();
        assert!(second > first, "{first}, {second}");
        drop((of_file, count));
        running.stop().await;
        std::fs::remove_file(&file).unwrap();
    }
}
