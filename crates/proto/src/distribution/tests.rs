//! Tests of the distribution of images.

mod announcement;
mod block_set;
mod device;
mod message;
mod request;
mod texts;
