//! One image to a whole group (groupcomm-bis section A.3), on real networks.
//!
//! [`Distribute`] brings an image to a group; [`ImageDevice`] takes it.
//!
//! ```no_run
//! use antiphon::distribution::Distribute;
//! use antiphon::NoSec;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let image = std::fs::File::open("lamp-1.4.bin")?;
//! let prepared = Distribute::new("coap://[ff05::fd]/fw", image)
//!     .name("lamp-1.4")
//!     .kind("lamp")
//!     .version(14)
//!     .members(["[2001:db8::2]:5683".parse()?, "[2001:db8::3]:5683".parse()?])
//!     .rate(10_000) // bytes per second: a statement about the network
//!     .interface("eth0")
//!     .unsecured(NoSec::Accepted)
//!     .prepare()
//!     .await?;
//! println!("takes {:?}, and what is lost on top", prepared.estimate().duration);
//! let mut distribution = prepared.start().await?;
//! while let Some(event) = distribution.next().await {
//!     println!("{event:?}: {:?}", distribution.progress());
//! }
//! for device in distribution.finish().await?.devices {
//!     println!("{}: {:?} {:?}", device.address, device.state, device.code);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What goes over the network, and why, stands in [`antiphon_proto::distribution`].

mod device;
mod sender;
mod source;
mod storage;

pub use antiphon_proto::distribution::{
    ActivationError, Announcement, AnnouncementError, Contention, DeviceConfig, DeviceCounters,
    DeviceEvent, DeviceFailure, DeviceReport, DeviceState, DeviceStatus, DistributionEnd,
    DistributionPhase, DistributionProgress, DistributorConfig, DistributorEvent, Estimate,
    ImageId, ImageSurvey, Installation, LinkProfile, ReadAt, Refusal, Storage, StorageError,
};
pub use device::{DeviceWatch, ImageDevice, OpenDevice};
pub use sender::{Distribute, DistributeError, Distributed, Distribution, PreparedDistribution};
pub use source::ImageSource;
pub use storage::{FileStorage, copy_image};
