//! Measurements, as ratios within one run: the machine's own speed cancels out.
//!
//! `cargo run --release -p antiphon-bench -- all` prints everything; `bench/README.md` keeps a table of one run.

mod codec;
mod distribution;
mod group;
mod latency;
mod load;
mod measure;
mod members;
mod observers;
mod oscore;
mod seam;
mod serve;
mod server;

use std::process::ExitCode;

const USAGE: &str = "usage: antiphon-bench [codec | oscore | seam | server | group | members | latency | observers | distribution | icount WHAT N | all]

  codec     parse and serialize against a minimal hand-written codec and against coap-lite
  oscore    protecting and opening against the signature or the cipher alone; memory of 10,000 peers
  seam      how long an unrelated message waits while 1,000 signed answers are verified
  server    the server with all guarantees against a raw echo loop, and libcoap if it is installed
  group     one question to 30 and 300 members until all answers are in, against raw members
  members   up to 10,000 simulated members: completeness, time and memory of the client
  latency   how closely together 100 members act, and how their answers spread
  observers one change told to 10,000 observers, and how unrelated requests fare meanwhile
  distribution  1 MiB to 100 simulated devices at 20 % loss: bytes on the air
  icount    does one thing N times and nothing else, for an instruction counter: parse, serialize, server,
            pairwise-protect, pairwise-both, oscore-open
  all       every measurement but icount";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["codec"] => codec::run(),
        ["oscore"] => return report(oscore::run()),
        ["seam"] => return report(seam::run()),
        ["server"] => return report(server::run()),
        ["group"] => return report(group::run()),
        ["members"] => return report(members::run()),
        ["latency"] => return report(latency::run().map_err(|error| error.to_string())),
        ["observers"] => return report(observers::run()),
        ["distribution"] => return report(distribution::run()),
        ["all"] => {
            codec::run();
            let each = members::run()
                .and_then(|()| oscore::run())
                .and_then(|()| seam::run())
                .and_then(|()| latency::run().map_err(|error| error.to_string()))
                .and_then(|()| observers::run())
                .and_then(|()| distribution::run())
                .and_then(|()| group::run())
                .and_then(|()| server::run());
            return report(each);
        }
        // Hidden: processes that `server` starts.
        ["raw-echo"] => server::raw_echo(),
        ["serve"] => return report(serve::run().map_err(|error| error.to_string())),
        ["watched", group] => {
            let Ok(group) = group.parse() else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            return report(observers::serve(group).map_err(|error| error.to_string()));
        }
        ["raw-members", group, count] | ["members-of", group, count] => {
            let (Ok(at), Ok(count)) = (group.parse(), count.parse()) else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            return report(match words[0] {
                "raw-members" => group::raw_members(at, count),
                _ => group::members(at, count).map_err(|error| error.to_string()),
            });
        }
        ["icount", what, count] => {
            let Some(count) = count.parse().ok().filter(|_| repeats(what, 0)) else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            repeats(what, count);
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Does one thing `count` times; false if there is no such thing.
fn repeats(what: &str, count: u64) -> bool {
    oscore::repeat(what, count) || codec::repeat(what, count)
}

fn report(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("antiphon-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
