//! Reading and writing touches no heap: counted by the allocator itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::{self, Write};
use std::net::SocketAddr;

use antiphon_wire::{
    Code, Filter, LinkFormat, LinkWriter, Message, MessageId, OptionNumber, Token, Type, Uri,
    Writer, write_uri,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed to the allocator of the system; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

/// Text on the stack.
struct Fixed {
    bytes: [u8; 256],
    len: usize,
}

impl Write for Fixed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let to = self
            .bytes
            .get_mut(self.len..self.len + text.len())
            .ok_or(fmt::Error)?;
        to.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

impl Fixed {
    fn new() -> Fixed {
        Fixed {
            bytes: [0; 256],
            len: 0,
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap()
    }
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_message_is_written_and_read_without_the_heap() {
    let destination: SocketAddr = "[ff05::db8:8000:1]:5685".parse().unwrap();
    let count = allocations(|| {
        let mut buf = [0; 512];
        let token = Token::new(b"\x01\x02\x03\x04").unwrap();
        let mut writer = Writer::new(&mut buf, Type::Non, Code::GET, MessageId(1), token).unwrap();
        let uri =
            Uri::parse_group("coap://grp.example:5685/gp/a%20b/../light?foo=b%C3%A4r").unwrap();
        uri.write_options(&mut writer, destination).unwrap();
        writer.uint_option(OptionNumber::ACCEPT, 60).unwrap();
        writer.option(OptionNumber::REQUEST_TAG, &[7; 8]).unwrap();
        writer.payload(&[9; 100]).unwrap();
        let len = writer.finish();
        let message = Message::parse(&buf[..len]).unwrap();
        assert_eq!(
            message
                .options()
                .filter(|one| one.number.check(one.value, 0).is_ok())
                .count(),
            6
        );
        let mut text = Fixed::new();
        write_uri(&mut text, &message, destination).unwrap();
        assert_eq!(text.text(), "coap://grp.example:5685/gp/light?foo=b%C3%A4r");
        assert!(Message::parse(&buf[..len - 101]).is_ok());
        assert!(Message::parse(&buf[..len - 100]).is_err());
    });
    assert_eq!(count, 0);
}

#[test]
fn links_are_written_read_and_filtered_without_the_heap() {
    let count = allocations(|| {
        let mut text = Fixed::new();
        let mut writer = LinkWriter::new(&mut text);
        writer
            .link("/gp/gp1")
            .unwrap()
            .attribute("rt", "g.light \"x\"")
            .unwrap();
        writer
            .link("/temp")
            .unwrap()
            .number("ct", 40)
            .unwrap()
            .flag("obs")
            .unwrap();
        let filter = Filter::parse(b"rt=g.*").unwrap();
        let mut links = LinkFormat::parse(text.text()).map(Result::unwrap);
        assert!(filter.matches(&links.next().unwrap()));
        assert!(!filter.matches(&links.next().unwrap()));
        assert!(links.next().is_none());
    });
    assert_eq!(count, 0);
}
