//! A server does not allocate for a request, once its tables have their size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use antiphon::{
    Access, ContentFormat, Discoverable, EndpointConfig, Incoming, Resource, Response, Server,
};

/// Counts the allocations of each thread apart.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Asks so many times, with Message IDs from `from` on, and waits for each answer.
fn ask(socket: &UdpSocket, server: SocketAddr, from: u16, times: u16) {
    let mut buffer = [0; 64];
    for mid in from..from + times {
        let [high, low] = mid.to_be_bytes();
        let request = [0x52, 0x01, high, low, high, low, 0xb1, b't'];
        socket.send_to(&request, server).unwrap();
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"12:34:56"));
    }
}

#[test]
fn a_request_costs_no_allocation() {
    const WARM: u16 = 2_000;
    const COUNTED: u16 = 2_000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut config = EndpointConfig::default();
    config.server.discoverable = Discoverable::Off;
    config.dedup.records = 512;
    config.dedup.records_per_address = 512;
    // The interfaces are looked at now and then, which allocates and has nothing to do with requests.
    let driver = antiphon::DriverConfig {
        interface_check: Duration::ZERO,
        ..Default::default()
    };
    let time = Resource::at("/t").access(Access::Unsecured).get(
        |_: &Incoming<'_>, response: &mut Response| {
            response.set_payload(ContentFormat::TEXT, b"12:34:56");
        },
    );
    let server = Server::builder()
        .unicast(([127, 0, 0, 1], 0).into())
        .endpoint(config)
        .driver(driver)
        .unsecured(antiphon::NoSec::Accepted)
        .resource(time);
    let server = runtime.block_on(server.build()).unwrap();
    let address = server.addresses()[0];
    let handle = server.handle();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (warm, warmed) = tokio::sync::oneshot::channel::<()>();
    let (count, counted) = std::sync::mpsc::channel::<()>();
    let asking = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        ask(&socket, address, 0, WARM);
        warm.send(()).unwrap();
        counted.recv().unwrap();
        ask(&socket, address, WARM, COUNTED);
        stop.send(()).unwrap();
    });
    let allocations = runtime.block_on(async {
        let counting = async {
            warmed.await.unwrap();
            let before = COUNT.with(Cell::get);
            count.send(()).unwrap();
            stopped.await.unwrap();
            COUNT.with(Cell::get) - before
        };
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let run = server.run(async {
            let _ = ended.await;
        });
        let all = async {
            let allocations = counting.await;
            let counters = handle.counters().await.unwrap();
            assert_eq!(counters.endpoint.requests, u64::from(WARM + COUNTED));
            end.send(()).unwrap();
            allocations
        };
        tokio::join!(run, all).1
    });
    asking.join().unwrap();
    // A few for waking up this test's own tasks; none that grows with the requests.
    assert!(
        allocations < u64::from(COUNTED) / 100,
        "{allocations} allocations for {COUNTED} requests"
    );
}
