//! The command line as a whole; each subcommand describes its own arguments.

use antiphon_wire::Code;
use clap::{Parser, Subcommand};

use crate::decode::{self, DecodeArgs};
use crate::discover::DiscoverArgs;
use crate::distribute::DistributeArgs;
use crate::failure::Failure;
use crate::oscore::OscoreArgs;
use crate::quickstart::QuickstartArgs;
use crate::request::{BareArgs, BodyArgs, NotifyArgs, ObserveArgs};
use crate::serve::ServeArgs;

/// Ask a whole CoAP group, and see who answered and who did not.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    about,
    max_term_width = 110,
    disable_help_subcommand = true,
    after_help = "\
Exit codes:
  0  all expected members answered (at least one, if none were named)
  1  decode: the datagram is malformed; oscore verify: the state file is not in order
  2  the command line, or a file it names, says something that cannot be meant
  3  some expected members are missing
  4  nobody answered
  5  this machine could not do it: interface, address, file

`antiphon COMMAND --help` shows examples."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask for a representation
    #[command(after_help = GET_EXAMPLES)]
    Get(BareArgs),
    /// Set a resource to a value
    #[command(after_help = PUT_EXAMPLES)]
    Put(BodyArgs),
    /// Hand something to a resource
    #[command(after_help = POST_EXAMPLES)]
    Post(BodyArgs),
    /// Remove a resource
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(BareArgs),
    /// Ask for a part of a representation, by what the payload says
    #[command(after_help = FETCH_EXAMPLES)]
    Fetch(BodyArgs),
    /// Change a part of a resource
    #[command(after_help = PATCH_EXAMPLES)]
    Patch(BodyArgs),
    /// Change a part of a resource, with the same result however often it is done
    #[command(name = "ipatch", after_help = IPATCH_EXAMPLES)]
    Ipatch(BodyArgs),
    /// Tell a group something; nobody answers
    #[command(after_help = NOTIFY_EXAMPLES)]
    Notify(NotifyArgs),
    /// Keep up to date: what members say of a resource, for as long as it is wanted
    #[command(after_help = OBSERVE_EXAMPLES)]
    Observe(ObserveArgs),
    /// See it work: a group on this machine, found, asked and switched within seconds
    Quickstart(QuickstartArgs),
    /// Find out who is here and what they offer
    Discover(DiscoverArgs),
    /// Bring one image, such as firmware, to a whole group
    #[command(after_help = DISTRIBUTE_EXAMPLES)]
    Distribute(DistributeArgs),
    /// Be a member: serve resources to groups, as a file describes them
    Serve(ServeArgs),
    /// Show a datagram as text, or where it is malformed
    Decode(DecodeArgs),
    Oscore(OscoreArgs),
}

impl Cli {
    /// Runs the subcommand: its exit code, or why it has none.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        match &self.command {
            Command::Get(args) => args.run(Code::GET),
            Command::Put(args) => args.run(Code::PUT),
            Command::Post(args) => args.run(Code::POST),
            Command::Delete(args) => args.run(Code::DELETE),
            Command::Fetch(args) => args.run(Code::FETCH),
            Command::Patch(args) => args.run(Code::PATCH),
            Command::Ipatch(args) => args.run(Code::IPATCH),
            Command::Notify(args) => args.run(),
            Command::Observe(args) => args.run(),
            Command::Quickstart(args) => args.run(),
            Command::Discover(args) => args.run(),
            Command::Distribute(args) => args.run(),
            Command::Serve(args) => args.run(),
            Command::Decode(args) => decode::run(args),
            Command::Oscore(args) => args.run(),
        }
    }
}

const GET_EXAMPLES: &str = "\
Examples:
  Everything that every device on this network offers:
    antiphon get coap://224.0.1.187/.well-known/core --interface eth0
  The status of a floor, under the protection of its security group, and who of it is missing:
    antiphon get coap://[ff05::fd]/status --group switch.toml -i eth0 --members floor-3.txt --repeat 2 --complete
  One member, and nobody else can read it:
    antiphon get coap://10.0.0.7/temperature --group switch.toml --to lamp-1
  Without security, in a laboratory:
    antiphon get coap://10.0.0.7/temperature -u --accept cbor
  What would be sent:
    antiphon get coap://[ff05::fd]/gp/lights/status --dry-run";

const PUT_EXAMPLES: &str = "\
Examples:
  antiphon put coap://224.0.1.187/light on -u -i eth0 --members lights.txt
  antiphon put coap://[ff05::fd]/gp/lights/level '{\"level\": 40}' --content-format cbor -u -i eth0
  antiphon put coap://10.0.0.7/config @config.json --content-format cbor -u
  antiphon put coap://10.0.0.7/blob @firmware.bin --content-format octets -u --dry-run";

const POST_EXAMPLES: &str = "\
Examples:
  antiphon post coap://10.0.0.7/log 'door open' -u
  sensor-reading | antiphon post coap://10.0.0.7/data - --content-format senml-json -u
  A POST to a group is repeated only if that does no harm:
    antiphon post coap://224.0.1.187/scene evening -u -i eth0 --repeat 2 --idempotent";

const DELETE_EXAMPLES: &str = "\
Examples:
  antiphon delete coap://10.0.0.7/log/17 -u
  antiphon delete coap://224.0.1.187/alarm -u -i eth0 --members floor-3.txt";

const FETCH_EXAMPLES: &str = "\
Examples:
  antiphon fetch coap://224.0.1.187/config '[\"name\", \"version\"]' --content-format cbor -u -i eth0";

const PATCH_EXAMPLES: &str = "\
Examples:
  antiphon patch coap://10.0.0.7/config '[{\"op\":\"remove\",\"path\":\"/old\"}]' --content-format json-patch -u";

const IPATCH_EXAMPLES: &str = "\
Examples:
  antiphon ipatch coap://10.0.0.7/config '{\"name\":\"lamp\"}' --content-format merge-patch -u";

const NOTIFY_EXAMPLES: &str = "\
Examples:
  antiphon notify coap://224.0.1.187/alarm 'fire on floor 3' -u -i eth0 --repeat 2 --idempotent
  antiphon notify coap://224.0.1.187/light off --put -u -i eth0
  Members that are set to confirm answer, and who does not is named:
    antiphon notify coap://224.0.1.187/alarm test -u -i eth0 --confirm --members floor-3.txt";

const OBSERVE_EXAMPLES: &str = "\
Examples:
  The temperature of every room, in a table that is kept up to date until Ctrl-C:
    antiphon observe coap://[ff05::fd]/temperature --group switch.toml -i eth0 --members floor-3.txt
  For a program, for an hour, registered again every ten minutes:
    antiphon observe coap://224.0.1.187/temperature -u -i eth0 --json --for 1h --every 10m
  One member, until it has said three things:
    antiphon observe coap://10.0.0.7/door -u --count 3
  A part of a resource, by FETCH:
    antiphon observe coap://10.0.0.7/state --fetch '[\"level\"]' -f cbor -u";

const DISTRIBUTE_EXAMPLES: &str = "\
Examples:
  Firmware to the lamps of a floor, under the protection of their security group:
    antiphon distribute lamp-14.bin coap://[ff05::fd]/fw --group lamps.toml -i eth0 --members floor-3.txt --rate 20k --version 14
  How long it takes over 6LoWPAN, without sending anything:
    antiphon distribute lamp-14.bin coap://[ff03::fd]/fw -u --rate 640 --block-size 64 --dry-run
Stopped by Ctrl-C, the same command goes on where it was.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
