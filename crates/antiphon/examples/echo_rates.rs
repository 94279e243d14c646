//! How fast the sockets echo, beside raw loops of system calls: `cargo run --release -p antiphon --example echo_rates`.
//!
//! One server at a time on CPU 1, the load on CPU 0, all over loopback, with so many requests outstanding.
//! Rounds of the servers take turns; the medians' ratios to the first are what counts, absolute figures say
//! nothing elsewhere. CPU is that of the server's thread per request.

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("this comparison needs Linux");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{SocketAddr, UdpSocket};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use antiphon::socket::{Outgoing, RecvBatch, SendBatch, SocketOptions, UnicastSocket};
    use nix::libc;

    const ROUNDS: usize = 9;
    const ROUND: Duration = Duration::from_millis(400);
    const BATCH: usize = 32;
    const ROOM: usize = 2048;
    /// A CoAP GET with token and short path.
    const REQUEST: [u8; 20] = *b"\x58\x01\x12\x34tokentok\xb6status\x00";

    /// Says where it listens, then echoes until told to stop; a datagram follows that.
    type Server = fn(&mpsc::Sender<SocketAddr>, &AtomicBool);

    struct Round {
        rate: f64,
        cpu: f64,
    }

    pub(super) fn main() {
        let servers: [(&str, Server); 4] = [
            ("raw recv/send", raw_echo),
            ("raw recvmmsg/sendmmsg", raw_batches),
            ("antiphon sockets on tokio", ours),
            ("antiphon, with packet information", ours_with_path),
        ];
        for (outstanding, clients) in [(1, 1), (16, 4), (64, 8)] {
            let mut rounds: [Vec<Round>; 4] = Default::default();
            for _ in 0..ROUNDS {
                for (kept, (_, server)) in rounds.iter_mut().zip(servers) {
                    kept.push(round(server, outstanding, clients));
                }
            }
            println!("{outstanding} outstanding");
            let raw = medians(&rounds[0]);
            for ((name, _), kept) in servers.iter().zip(&rounds) {
                let (rate, cpu) = medians(kept);
                println!(
                    "  {name:34} {rate:>9.0}/s  rate / raw {:.3}   CPU {:.2} us  CPU / raw {:.2}",
                    rate / raw.0,
                    cpu * 1e6,
                    cpu / raw.1
                );
            }
        }
    }

    fn medians(rounds: &[Round]) -> (f64, f64) {
        let middle = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        (
            middle(rounds.iter().map(|round| round.rate).collect()),
            middle(rounds.iter().map(|round| round.cpu).collect()),
        )
    }

    /// Runs a server for one round under load and returns what it did.
    fn round(server: Server, outstanding: usize, clients: usize) -> Round {
        let stop = Arc::new(AtomicBool::new(false));
        let (report, cpu) = mpsc::channel();
        let (ready, address) = mpsc::channel();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                pin(1);
                server(&ready, &stop);
                report.send(cpu_time()).unwrap();
            }
        });
        pin(0);
        let to = address.recv().unwrap();
        let (answers, time) = load(to, outstanding, clients);
        stop.store(true, Ordering::Relaxed);
        let wake = UdpSocket::bind("127.0.0.1:0").unwrap();
        wake.send_to(&REQUEST, to).unwrap();
        thread.join().unwrap();
        let cpu: Duration = cpu.recv().unwrap();
        Round {
            rate: answers as f64 / time.as_secs_f64(),
            cpu: cpu.as_secs_f64() / answers as f64,
        }
    }

    /// Keeps `outstanding` requests on the way and counts the answers.
    fn load(to: SocketAddr, outstanding: usize, clients: usize) -> (usize, Duration) {
        let sockets: Vec<UdpSocket> = (0..clients)
            .map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(to).unwrap();
                socket
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                socket
            })
            .collect();
        let each = outstanding / clients;
        let mut room = [0; ROOM];
        let (start, mut answers) = (Instant::now(), 0);
        while start.elapsed() < ROUND {
            for socket in &sockets {
                for _ in 0..each {
                    socket.send(&REQUEST).unwrap();
                }
            }
            for socket in &sockets {
                for _ in 0..each {
                    assert_eq!(socket.recv(&mut room).unwrap(), REQUEST.len());
                    answers += 1;
                }
            }
        }
        (answers, start.elapsed())
    }

    fn raw_socket(ready: &mpsc::Sender<SocketAddr>) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        ready.send(socket.local_addr().unwrap()).unwrap();
        socket
    }

    fn raw_echo(ready: &mpsc::Sender<SocketAddr>, stop: &AtomicBool) {
        let socket = raw_socket(ready);
        let mut room = [0; ROOM];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut room) {
                socket.send_to(&room[..length], from).unwrap();
            }
        }
    }

    fn raw_batches(ready: &mpsc::Sender<SocketAddr>, stop: &AtomicBool) {
        use std::os::fd::AsRawFd;
        let socket = raw_socket(ready);
        let fd = socket.as_raw_fd();
        let mut rooms = vec![[0_u8; ROOM]; BATCH];
        let mut names = [[0_u32; 7]; BATCH];
        // SAFETY: these structures consist of integers and pointers; zero is a valid value.
        let (mut parts, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { std::mem::zeroed() };
        for index in 0..BATCH {
            parts[index].iov_base = rooms[index].as_mut_ptr().cast();
            headers[index].msg_hdr.msg_iov = &raw mut parts[index];
            headers[index].msg_hdr.msg_iovlen = 1;
            headers[index].msg_hdr.msg_name = names[index].as_mut_ptr().cast();
        }
        while !stop.load(Ordering::Relaxed) {
            for index in 0..BATCH {
                parts[index].iov_len = ROOM;
                headers[index].msg_hdr.msg_namelen = 28;
            }
            // SAFETY: every header points to buffers of the stated lengths that outlive the loop.
            let received = unsafe {
                libc::recvmmsg(
                    fd,
                    headers.as_mut_ptr(),
                    BATCH as u32,
                    libc::MSG_WAITFORONE as _,
                    std::ptr::null_mut(),
                )
            };
            let count = usize::try_from(received).unwrap_or(0);
            for index in 0..count {
                parts[index].iov_len = headers[index].msg_len as usize;
            }
            let mut sent = 0;
            while sent < count {
                // SAFETY: as above; each length is what was received.
                let taken = unsafe {
                    libc::sendmmsg(fd, headers[sent..].as_mut_ptr(), (count - sent) as u32, 0)
                };
                sent += usize::try_from(taken).unwrap();
            }
        }
    }

    fn ours(ready: &mpsc::Sender<SocketAddr>, stop: &AtomicBool) {
        echo(ready, stop, false);
    }

    fn ours_with_path(ready: &mpsc::Sender<SocketAddr>, stop: &AtomicBool) {
        echo(ready, stop, true);
    }

    fn echo(ready: &mpsc::Sender<SocketAddr>, stop: &AtomicBool, with_path: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let local = "127.0.0.1:0".parse().unwrap();
            let socket = UnicastSocket::bind(local, &SocketOptions::default()).unwrap();
            ready.send(socket.local_addr()).unwrap();
            let mut received = RecvBatch::new(BATCH, ROOM);
            let mut answers = SendBatch::new(BATCH, ROOM);
            while !stop.load(Ordering::Relaxed) {
                socket.readable().await.unwrap();
                while socket.recv_batch(&mut received).unwrap() > 0 {
                    for arrival in received.iter() {
                        let mut outgoing = Outgoing::to(arrival.source);
                        if with_path {
                            outgoing.source = arrival.answer_from;
                            outgoing.interface = Some(arrival.interface);
                        }
                        answers.push(outgoing, arrival.payload.unwrap()).unwrap();
                    }
                    while socket.send_batch(&mut answers).unwrap().waiting > 0 {
                        socket.writable().await.unwrap();
                    }
                    if received.len() < received.capacity() {
                        break;
                    }
                }
                while socket.poll_error().is_some() {}
            }
        });
    }

    /// Keeps this thread on one CPU, if the machine has it.
    fn pin(cpu: usize) {
        // SAFETY: a CPU set is plain bits; the call reads it and nothing else.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        }
    }

    /// CPU time of this thread.
    fn cpu_time() -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the call writes one timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
