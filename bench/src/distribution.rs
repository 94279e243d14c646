//! One image of 1 MiB to 100 simulated devices at 20 % loss in each direction: what is on the air, headers counted.

use std::time::Duration;

use antiphon_proto::distribution::{DistributionEnd, DistributorConfig};
use antiphon_tests::images::{Air, Campaign, HEADERS, Image};

const SIZE: usize = 1 << 20;
const DEVICES: usize = 100;
const LOSS: f64 = 0.2;

/// What one distribution took.
struct Taken {
    air: Air,
    /// Bytes of datagrams to the group that devices did not hear.
    lost: u64,
    passes: u16,
    repairs: u64,
    asks: u64,
    time: Duration,
}

impl Taken {
    fn all(&self) -> u64 {
        self.air.group_bytes + self.air.unicast_bytes
    }
}

pub(crate) fn run() -> Result<(), String> {
    println!(
        "distribution: 1 MiB to 100 devices, 20 % loss in each direction, independent for each device"
    );
    let image = Image::new(SIZE, 1_024, 1);
    // The image in blocks of 1,024 bytes, each with the headers of a block as it is sent.
    let header = block_header(&image);
    let blocks = SIZE.div_ceil(1_024) as u64;
    let bare = SIZE as u64 + blocks * header;
    let one = transfer(&image)?;
    println!(
        "  one unicast transfer            {:>12} bytes",
        grouped(one)
    );
    let unicast = one * DEVICES as u64;
    println!(
        "  100 unicast transfers           {:>12} bytes",
        grouped(unicast)
    );
    for (name, passes) in [("unicast repair alone", 1), ("4 passes", 4)] {
        let taken = distribute(&image, DEVICES, passes, false)?;
        println!("  {name}");
        println!(
            "    to the group                  {:>12} bytes, {:.3} x of the image with its headers",
            grouped(taken.air.group_bytes),
            taken.air.group_bytes as f64 / bare as f64
        );
        println!(
            "    to and from single devices    {:>12} bytes, {:.3} x of the {} bytes lost; {} repairs, {} questions",
            grouped(taken.air.unicast_bytes),
            taken.air.unicast_bytes as f64 / taken.lost as f64,
            grouped(taken.lost),
            grouped(taken.repairs),
            grouped(taken.asks),
        );
        println!(
            "    all                           {:>12} bytes, {:.4} x of 100 unicast transfers; {} passes, {} s",
            grouped(taken.all()),
            taken.all() as f64 / unicast as f64,
            taken.passes,
            taken.time.as_secs()
        );
    }
    let small = Image::new(64 << 10, 1_024, 2);
    let (open, secured) = (
        distribute(&small, 20, 1, false)?,
        distribute(&small, 20, 1, true)?,
    );
    println!("  64 KiB to 20 devices, unicast repair alone: what Group OSCORE adds");
    let more = |of: fn(&Taken) -> u64| 100.0 * of(&secured) as f64 / of(&open) as f64 - 100.0;
    println!(
        "    to the group {:+.1} %, to and from single devices {:+.1} %",
        more(|taken| taken.air.group_bytes),
        more(|taken| taken.air.unicast_bytes)
    );
    Ok(())
}

fn distribute(image: &Image, devices: usize, passes: u16, secured: bool) -> Result<Taken, String> {
    let mut campaign = Campaign::new(11, std::slice::from_ref(image));
    campaign.lean = true;
    campaign.secured = secured;
    for _ in 0..devices {
        campaign.device();
    }
    campaign.sim.run_for(Duration::from_millis(10));
    campaign.impair(LOSS, 0.0, 0.0);
    let begun = campaign.sim.now();
    let config = DistributorConfig {
        passes,
        ..campaign.config(image)
    };
    let distributor = campaign.distribute(1, image, config);
    let end = campaign.finish(distributor);
    let exact = campaign.exact(image);
    if end != DistributionEnd::AllFinal || exact != devices {
        return Err(format!(
            "{exact} of {devices} devices have the exact image: {end}"
        ));
    }
    let air = campaign.air();
    let heard: u64 = campaign
        .devices
        .iter()
        .filter_map(|(host, _)| campaign.sim.node(*host))
        .map(|device| device.air.heard_bytes)
        .sum();
    let progress = campaign.with_distributor(distributor, |machine| machine.progress());
    let micros = campaign.sim.now().as_micros() - begun.as_micros();
    Ok(Taken {
        lost: air.group_bytes * devices as u64 - heard,
        air,
        passes: progress.pass,
        repairs: progress.repairs,
        asks: progress.asks,
        time: Duration::from_micros(micros),
    })
}

/// What it takes to bring the image to one device alone, by Confirmable requests: everything is lost to the device but the
/// announcement, so that it asks for each block.
fn transfer(image: &Image) -> Result<u64, String> {
    let mut campaign = Campaign::new(12, std::slice::from_ref(image));
    campaign.lean = true;
    campaign.sim.run_for(Duration::from_millis(10));
    // The blocks are sent before there is anyone; the device joins late and asks for all of it.
    let config = DistributorConfig {
        members: vec![antiphon_tests::images::address(
            antiphon_tests::images::FIRST,
        )],
        passes: 1,
        ..campaign.config(image)
    };
    let distributor = campaign.distribute(1, image, config);
    // A count waits 93 s for a device that does not answer; the pass takes less than that.
    campaign.sim.run_for(Duration::from_secs(300));
    campaign.device();
    campaign.impair(LOSS, 0.0, 0.0);
    let before = campaign.air().unicast_bytes;
    let end = campaign.finish(distributor);
    match campaign.exact(image) {
        1 => Ok(campaign.air().unicast_bytes - before),
        _ => Err(format!("the device does not have the image: {end}")),
    }
}

/// What a block has beside its bytes.
fn block_header(image: &Image) -> u64 {
    const MESSAGE: u64 = 4 + 8 + 1; // header, token, payload marker
    let request = antiphon_proto::distribution::block_request("fw", image.id(), 1_000, Vec::new());
    let mut writer_buffer = [0; 256];
    let mut options = 0;
    let token = antiphon_wire::Token::EMPTY;
    if let Ok(mut writer) = antiphon_wire::Writer::new(
        &mut writer_buffer,
        antiphon_wire::Type::Non,
        request.method,
        antiphon_wire::MessageId(0),
        token,
    ) && request.options.write(&mut writer).is_ok()
    {
        options = writer.finish() as u64 - 4;
    }
    HEADERS + MESSAGE + options
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
