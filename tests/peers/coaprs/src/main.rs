//! coap-rs as a peer.
//!
//! `coaprs-peer serve INTERFACE IPV4-ADDRESS`: listens on port 5683 of every address, joins All CoAP Nodes (IPv4 and
//! IPv6) on INTERFACE, prints `ready`, runs until killed. Resources: /temp, /light (GET, PUT; observable once it was put),
//! /blob (GET, PUT), /slow (a separate response after one second), /.well-known/core.
//!
//! `coaprs-peer get|put URI [PAYLOAD] [--non]` prints `CODE PAYLOAD` (a PAYLOAD `@FILE` is the content of a file);
//! `coaprs-peer observe URI N` prints `CODE PAYLOAD` for each of N notifications, deregisters, prints `over`, and runs until
//! killed; `coaprs-peer collect URI SECONDS INTERFACE` prints `ADDRESS CODE PAYLOAD` for each answer, then `answers N`. Exit
//! status 1 when there is no answer.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coap::Server;
use coap::client::{ObserveMessage, UdpCoAPClient};
use coap::request::RequestBuilder;
use coap::server::{Listener, UdpCoapListener};
use coap_lite::{
    CoapRequest, ContentFormat, MessageClass, MessageType, Packet, RequestType, ResponseType,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

type Outcome<T> = Result<T, Box<dyn Error>>;
type Request = Box<CoapRequest<SocketAddr>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let non = words.iter().any(|word| word == "--non");
    words.retain(|word| word != "--non");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["serve", interface, address] => serve(interface, address).await,
        ["get", uri] => ask(RequestType::Get, uri, "", non).await,
        ["put", uri, payload] => ask(RequestType::Put, uri, payload, non).await,
        ["observe", uri, wanted] => observe(uri, wanted).await,
        ["collect", uri, seconds, interface] => collect(uri, seconds, interface).await,
        _ => Err(
            "serve INTERFACE IPV4 | get URI | put URI PAYLOAD | observe URI N | collect URI SECONDS INTERFACE"
                .into(),
        ),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coaprs-peer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(interface: &str, address: &str) -> Outcome<()> {
    let index = index_of(interface)?;
    let v4 = bound(
        Domain::IPV4,
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5683)),
    )?;
    v4.join_multicast_v4_n(
        &Ipv4Addr::new(224, 0, 1, 187),
        &InterfaceIndexOrAddress::Address(address.parse()?),
    )?;
    // coap-rs itself would join IPv6 groups on whatever interface the kernel prefers.
    let v6 = bound(
        Domain::IPV6,
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5683)),
    )?;
    for group in [
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd),
        Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd),
    ] {
        v6.join_multicast_v6(&group, index)?;
    }
    let (v4, v6): (UdpSocket, UdpSocket) = (v4.into(), v6.into());
    let senders = Arc::new((v4.try_clone()?, v6.try_clone()?));
    let listener = |socket| -> Outcome<Box<dyn Listener>> {
        Ok(Box::new(UdpCoapListener::from_socket(
            tokio::net::UdpSocket::from_std(socket)?,
        )))
    };
    let server = Server::from_listeners(vec![listener(v4)?, listener(v6)?]);
    let state = Arc::new(State {
        light: Mutex::new(b"off".to_vec()),
        blob: Mutex::default(),
    });
    println!("ready");
    server
        .run(move |request: Request| {
            let (state, senders) = (state.clone(), senders.clone());
            async move { answer(request, &state, senders) }
        })
        .await?;
    Ok(())
}

struct State {
    light: Mutex<Vec<u8>>,
    blob: Mutex<Vec<u8>>,
}

fn answer(mut request: Request, state: &State, senders: Arc<(UdpSocket, UdpSocket)>) -> Request {
    let (path, method) = (request.get_path(), *request.get_method());
    if path == "slow" && method == RequestType::Get {
        return answer_later(request, senders);
    }
    let Some(response) = request.response.as_mut() else {
        return request;
    };
    let (status, format, payload) = match (path.as_str(), method) {
        ("temp", RequestType::Get) => (
            ResponseType::Content,
            ContentFormat::TextPlain,
            b"21.5 C".to_vec(),
        ),
        ("light" | "blob", RequestType::Get) => {
            let (value, format) = match path.as_str() {
                "light" => (&state.light, ContentFormat::TextPlain),
                _ => (&state.blob, ContentFormat::ApplicationOctetStream),
            };
            let value = value.lock().map(|value| value.clone()).unwrap_or_default();
            (ResponseType::Content, format, value)
        }
        ("light" | "blob", RequestType::Put) => {
            let value = match path.as_str() {
                "light" => &state.light,
                _ => &state.blob,
            };
            if let Ok(mut value) = value.lock() {
                value.clone_from(&request.message.payload);
            }
            (ResponseType::Changed, ContentFormat::TextPlain, Vec::new())
        }
        (".well-known/core", RequestType::Get) => (
            ResponseType::Content,
            ContentFormat::ApplicationLinkFormat,
            b"</temp>;rt=\"temperature\",</light>;rt=\"light\",</blob>,</slow>".to_vec(),
        ),
        ("temp" | "light" | "blob" | "slow", _) => (
            ResponseType::MethodNotAllowed,
            ContentFormat::TextPlain,
            Vec::new(),
        ),
        _ => (ResponseType::NotFound, ContentFormat::TextPlain, Vec::new()),
    };
    response.set_status(status);
    if !payload.is_empty() {
        response.message.set_content_format(format);
    }
    response.message.payload = payload;
    request
}

/// coap-rs has no separate responses: acknowledge through it, and send the answer ourselves from the same socket.
fn answer_later(mut request: Request, senders: Arc<(UdpSocket, UdpSocket)>) -> Request {
    let mut later = Packet::new();
    let confirmable = request.message.header.get_type() == MessageType::Confirmable;
    later.header.set_type(if confirmable {
        MessageType::Confirmable
    } else {
        MessageType::NonConfirmable
    });
    later.header.code = MessageClass::Response(ResponseType::Content);
    later.header.message_id = request.message.header.message_id.wrapping_add(0x8000);
    later.set_token(request.message.get_token().to_vec());
    later.set_content_format(ContentFormat::TextPlain);
    later.payload = b"at last".to_vec();
    if let (Some(to), Ok(bytes)) = (request.source, later.to_bytes()) {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let socket = if to.is_ipv4() { &senders.0 } else { &senders.1 };
            if let Err(error) = socket.send_to(&bytes, to) {
                eprintln!("coaprs-peer: {error}");
            }
        });
    }
    if confirmable {
        if let Some(response) = request.response.as_mut() {
            response.message.header.code = MessageClass::Empty;
            response.message.set_token(Vec::new());
        }
    } else {
        request.response = None;
    }
    request
}

async fn ask(method: RequestType, uri: &str, payload: &str, non: bool) -> Outcome<()> {
    let (to, path) = target(uri, None)?;
    let client = UdpCoAPClient::new(to).await?;
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let queries = query.split('&').filter(|item| !item.is_empty());
    let payload = match payload.strip_prefix('@') {
        Some(file) => Some(std::fs::read(file)?),
        None => (!payload.is_empty()).then(|| payload.as_bytes().to_vec()),
    };
    let request = RequestBuilder::new(path, method)
        .queries(queries.map(|item| item.as_bytes().to_vec()).collect())
        .data(payload)
        .confirmable(!non)
        .token(Some(token()))
        .build();
    let response = client.send(request).await?;
    println!("{}", shown(&response.message));
    Ok(())
}

async fn observe(uri: &str, wanted: &str) -> Outcome<()> {
    let (to, path) = target(uri, None)?;
    let mut client = UdpCoAPClient::new(to).await?;
    // What it waits for is another notification, and none may come for a while.
    client.set_receive_timeout(Duration::from_secs(60));
    let (sender, mut notifications) = tokio::sync::mpsc::unbounded_channel();
    let told = move |notification: std::io::Result<Packet>| {
        let _ = sender.send(notification);
    };
    let observation = client.observe(&path, told).await?;
    for _ in 0..wanted.parse()? {
        let notification = notifications.recv().await.ok_or("it has ended")?;
        println!("{}", shown(&notification?));
    }
    let _ = observation.send(ObserveMessage::Terminate);
    println!("over");
    std::future::pending().await
}

async fn collect(uri: &str, seconds: &str, interface: &str) -> Outcome<()> {
    let index = index_of(interface)?;
    let (to, path) = target(uri, Some(index))?;
    let (family, any) = match to {
        SocketAddr::V4(_) => (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        SocketAddr::V6(_) => (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
    };
    let socket = bound(family, any)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let client = UdpCoAPClient::new_with_std_socket(socket.into(), to).await?;
    let mut request = RequestBuilder::new(&path, RequestType::Get)
        .confirmable(false)
        .token(Some(token()))
        .build();
    let mut receiver = client.create_receiver_for(&request).await;
    client.send_multicast(&mut request, &to).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs_f64(seconds.parse()?);
    let mut answers = 0;
    while let Ok(packet) = tokio::time::timeout_at(end, receiver.receive()).await {
        let packet = packet?;
        let from = packet
            .address
            .map_or_else(|| "?".into(), |address| address.ip().to_string());
        println!("{from} {}", shown(&packet.message));
        answers += 1;
    }
    println!("answers {answers}");
    if answers > 0 {
        Ok(())
    } else {
        Err("nobody answered".into())
    }
}

/// `coap://HOST[:PORT]/PATH` with a literal address; a zone names an interface.
fn target(uri: &str, index: Option<u32>) -> Outcome<(SocketAddr, String)> {
    let rest = uri.strip_prefix("coap://").ok_or("not a coap URI")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(bracketed) = authority.strip_prefix('[') else {
        let whole = if authority.contains(':') {
            authority.to_string()
        } else {
            format!("{authority}:5683")
        };
        return Ok((whole.parse()?, path.into()));
    };
    let (host, port) = bracketed.split_once(']').ok_or("no closing bracket")?;
    let (host, zone) = host.split_once('%').unwrap_or((host, ""));
    let zone = zone.strip_prefix("25").unwrap_or(zone);
    let scope = if zone.is_empty() {
        index.unwrap_or(0)
    } else {
        index_of(zone)?
    };
    let port = port.strip_prefix(':').map_or(Ok(5683), str::parse)?;
    Ok((
        std::net::SocketAddrV6::new(host.parse()?, port, 0, scope).into(),
        path.into(),
    ))
}

fn bound(domain: Domain, address: SocketAddr) -> Outcome<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn index_of(interface: &str) -> Outcome<u32> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?;
    Ok(text.trim().parse()?)
}

fn token() -> Vec<u8> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    (now.subsec_nanos() ^ std::process::id())
        .to_be_bytes()
        .to_vec()
}

fn shown(message: &Packet) -> String {
    let code = u8::from(message.header.code);
    format!(
        "{}.{:02} {}",
        code >> 5,
        code & 31,
        String::from_utf8_lossy(&message.payload)
    )
}
