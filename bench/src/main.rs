//! Measurements, as ratios within one run: the machine's own speed cancels out.
//!
//! `cargo run --release -p antiphon-bench -- all` prints everything; `bench/README.md` keeps a table of one run.

mod codec;
mod load;
mod measure;
mod serve;
mod server;

use std::process::ExitCode;

const USAGE: &str = "usage: antiphon-bench [codec | server | icount parse|serialize N | all]

  codec     parse and serialize against a minimal hand-written codec and against coap-lite
  server    the server with all guarantees against a raw echo loop, and libcoap if it is installed
  icount    does one thing N times and nothing else, for an instruction counter
  all       every measurement but icount";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["codec"] => codec::run(),
        ["server"] => return report(server::run()),
        ["all"] => {
            codec::run();
            return report(server::run());
        }
        // Hidden: processes that `server` starts.
        ["raw-echo"] => server::raw_echo(),
        ["serve"] => return report(serve::run().map_err(|error| error.to_string())),
        ["icount", what, count] => {
            let Some(count) = count.parse().ok().filter(|_| codec::repeat(what, 0)) else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            codec::repeat(what, count);
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
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
