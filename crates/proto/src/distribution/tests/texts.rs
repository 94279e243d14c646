//! What people are told.

use std::string::ToString;

use super::super::*;

#[test]
fn what_is_wrong_with_an_announcement_is_said() {
    use AnnouncementError::*;
    for (error, text) in [
        (Size, "an image has 1 byte at least"),
        (BlockSize, "a block size is a power of two from 16 to 1024"),
        (Span, "a span has 1 block at least"),
        (Text, "a name or kind has 64 bytes at most"),
        (Manifest, "a manifest has 1 to 512 bytes"),
        (Signature, "a signature has 1 to 128 bytes"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(Malformed.to_string(), "not a message of a distribution");
}

#[test]
fn what_a_device_does_not_do_is_said() {
    assert_eq!(StorageError::Full.to_string(), "no room");
    assert_eq!(StorageError::Failed.to_string(), "the storage failed");
    for (refusal, text) in [
        (Refusal::Kind, "it is for another kind of device"),
        (Refusal::Version, "it is not newer"),
        (Refusal::Signature, "its signature is missing or wrong"),
        (Refusal::Permission, "the sender is not permitted"),
        (Refusal::Other, "the device refuses it"),
    ] {
        assert_eq!(refusal.to_string(), text);
    }
    let why = ActivationError::new("the bootloader is locked");
    assert_eq!(why.to_string(), "the bootloader is locked");
}
