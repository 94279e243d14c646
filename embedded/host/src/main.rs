//! Runs the image in QEMU: asks it, verifies its answers, attacks it, cuts its power, measures it.
//!
//! `antiphon-embedded-host FOLDER [ROUNDS]`: the folder holds the programs `endpoint` and `contexts`. Every round makes up
//! a security group: keys, identifiers and sequence numbers are new each time, so an answer can only come from a member that
//! has computed it.

mod elf;
mod group;
mod machine;
mod random;
mod rounds;

use std::path::Path;
use std::process::ExitCode;

use antiphon_embedded_line::Measures;
use elf::Sizes;
use group::Failed;

/// A program, and what it may take in bytes.
struct Program {
    name: &'static str,
    flash: u32,
    ram: u32,
}

/// A little more than what `bench/README.md` says they take.
const PROGRAMS: [Program; 2] = [
    Program {
        name: "contexts",
        flash: 128 * 1024,
        ram: 16 * 1024,
    },
    Program {
        name: "endpoint",
        flash: 296 * 1024,
        ram: 32 * 1024,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let rounds = |given: Option<String>| given.map_or(Some(3), |it| it.parse::<u32>().ok());
    let (Some(folder), Some(rounds)) = (arguments.next(), rounds(arguments.next())) else {
        eprintln!("antiphon-embedded-host FOLDER [ROUNDS]");
        return ExitCode::from(2);
    };
    let mut failed = false;
    for program in PROGRAMS {
        match run(&program, Path::new(&folder), rounds) {
            Ok(within) => failed |= !within,
            Err(error) => {
                println!("{}: {error}", program.name);
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn run(program: &Program, folder: &Path, rounds: u32) -> Result<bool, Failed> {
    let image = folder.join(program.name);
    let sizes = elf::sizes(&std::fs::read(&image)?)?;
    let mut worst = Measures::default();
    for round in 1..=rounds {
        println!("{}, round {round}:", program.name);
        let measures = rounds::round(&image)?;
        worst = Measures {
            stack_used: worst.stack_used.max(measures.stack_used),
            heap_peak: worst.heap_peak.max(measures.heap_peak),
            heap_now: worst.heap_now.max(measures.heap_now),
            ..measures
        };
    }
    Ok(verdict(program, sizes, worst))
}

/// Shows what was measured. Whether it is within the bounds.
fn verdict(program: &Program, sizes: Sizes, worst: Measures) -> bool {
    let ram = sizes.static_ram + worst.stack_used + worst.heap_peak;
    let show = |what: &str, bytes: u32| println!("  {what:<22}{bytes:7} bytes");
    show("flash", sizes.flash);
    show("static data", sizes.static_ram);
    show("heap, most at a time", worst.heap_peak);
    show("heap, at rest", worst.heap_now);
    show("stack, most", worst.stack_used);
    show("RAM, all three", ram);
    let within = sizes.flash <= program.flash && ram <= program.ram;
    if !within {
        let Program { flash, ram, .. } = program;
        println!("  more than {flash} bytes of flash or {ram} bytes of RAM");
    }
    within
}
