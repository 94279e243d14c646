//! Bodies that are larger than a datagram: from files, and into files.

use std::net::UdpSocket;
use std::time::Duration;

use antiphon_wire::{Code, Message, OptionNumber};

use super::network::Place;
use super::program::{antiphon, code, err, out};

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 16 * 7 + at) as u8).collect()
}

#[test]
fn files_are_served_fetched_and_put_whole() {
    let place = Place::new();
    let image = place.folder.path("image.bin");
    std::fs::write(&image, body(5_000)).unwrap();
    let resources = format!(
        "[[resource]]\npath = \"/image\"\nfile = \"{}\"\ncontent-format = \"octets\"\nwritable = true\n\
         access = \"unsecured\"\non-group = \"respond\"\n",
        image
    );
    let _member = place.serve(1, &resources);
    let uri = format!("coap://{}/image", place.member(1));
    let got = place.folder.path("got.bin");
    let fetched = antiphon(&["get", &uri, "-u", "-o", &got]);
    assert_eq!(code(&fetched), 0, "{}", err(&fetched));
    assert_eq!(std::fs::read(&got).unwrap(), body(5_000));
    assert!(out(&fetched).is_empty());
    assert!(
        err(&fetched).contains("application/octet-stream, 5000 bytes"),
        "{}",
        err(&fetched)
    );

    // A larger one there and back, in small blocks.
    let new = place.folder.path("@new.bin");
    std::fs::write(&new, body(20_000)).unwrap();
    let put = antiphon(&[
        "put",
        &uri,
        "-u",
        "--payload-file",
        &new,
        "--block-size",
        "256",
    ]);
    assert_eq!(code(&put), 0, "{}{}", out(&put), err(&put));
    assert!(out(&put).starts_with("2.04 Changed"), "{}", out(&put));
    assert_eq!(std::fs::read(&image).unwrap(), body(20_000));
    let raw = antiphon(&["get", &uri, "-u", "--raw", "--block-size", "64"]);
    assert_eq!(raw.stdout, body(20_000));

    // The answer of a member to a group is whole as well.
    let group = place.group_uri("/image");
    let one = format!("one={}", place.member(1));
    let asked = antiphon(&[
        "get",
        &group,
        "-u",
        "-i",
        "127.0.0.1",
        "-e",
        &one,
        "-t",
        "5s",
        "--json",
    ]);
    assert_eq!(code(&asked), 0, "{}{}", out(&asked), err(&asked));
    let hex: String = body(20_000).iter().map(|b| format!("{b:02x}")).collect();
    assert!(out(&asked).contains(&hex));
    assert!(out(&asked).contains("\"truncated\":false"));
}

#[test]
fn what_cannot_be_written_or_read_is_told() {
    let place = Place::new();
    let group = place.group_uri("/image");
    let to_file = antiphon(&["get", &group, "-u", "-o", "x"]);
    assert_eq!(code(&to_file), 2);
    assert!(
        err(&to_file).contains("--output writes the answer of a single member"),
        "{}",
        err(&to_file)
    );
    for (size, why) in [
        ("100", "no power of two"),
        ("8", "below"),
        ("x", "no number"),
    ] {
        let wrong = antiphon(&["get", &group, "-u", "--block-size", size]);
        assert_eq!(code(&wrong), 2);
        assert!(err(&wrong).contains(why), "{}", err(&wrong));
    }
    let missing = place.folder.path("missing");
    let uri = format!("coap://{}/image", place.member(1));
    let unread = antiphon(&["put", &uri, "-u", "--payload-file", &missing]);
    assert_eq!(code(&unread), 5);
    assert!(
        err(&unread).contains("missing: No such file"),
        "{}",
        err(&unread)
    );
    let both = antiphon(&["put", &uri, "text", "-u", "--payload-file", &missing]);
    assert_eq!(code(&both), 2);
}

/// Asks for `/light`, naming this entity tag if there is one: the code of the response, its tag, its payload.
fn read_light(address: &str, id: u8, tag: &[u8]) -> (Code, Option<Vec<u8>>, Vec<u8>) {
    let mut request = vec![0x40, 0x01, 0x4c, id];
    let mut delta = 0xb0;
    if !tag.is_empty() {
        request.push(0x40 | tag.len() as u8); // ETag, 4
        request.extend_from_slice(tag);
        delta = 0x70;
    }
    request.push(delta | 5); // Uri-Path, 11
    request.extend_from_slice(b"light");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket.send_to(&request, address).unwrap();
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).unwrap();
    let response = Message::parse(&buffer[..length]).unwrap();
    let tag = response.option(OptionNumber::ETAG);
    (
        response.code(),
        tag.map(<[u8]>::to_vec),
        response.payload().to_vec(),
    )
}

#[test]
fn with_etag_what_was_kept_is_validated() {
    let place = Place::new();
    let keys = "value = \"off\"\nwritable = true\naccess = \"unsecured\"\n";
    let light = format!("[[resource]]\npath = \"/light\"\n{keys}");
    let _plain = place.serve(1, &light);
    let _tagged = place.serve(2, &format!("{light}etag = true\n"));
    let (plain, tagged) = (place.member(1), place.member(2));
    assert_eq!(
        read_light(&plain, 1, b""),
        (Code::CONTENT, None, b"off".to_vec())
    );
    let (code_of, tag, payload) = read_light(&tagged, 1, b"");
    assert_eq!((code_of, payload), (Code::CONTENT, b"off".to_vec()));
    let tag = tag.unwrap();
    assert_eq!(tag.len(), 8);
    let valid = (Code::VALID, Some(tag.clone()), vec![]);
    assert_eq!(read_light(&tagged, 2, &tag), valid);
    assert_eq!(read_light(&tagged, 3, b"other").0, Code::CONTENT);

    let put = |value: &str| {
        let uri = format!("coap://{tagged}/light");
        let done = antiphon(&["put", &uri, value, "-u"]);
        assert_eq!(code(&done), 0, "{}", err(&done));
    };
    put("on");
    let (code_of, changed, payload) = read_light(&tagged, 4, &tag);
    assert_eq!((code_of, payload), (Code::CONTENT, b"on".to_vec()));
    assert_ne!(changed.unwrap(), tag);
    // The same value has the same tag again.
    put("off");
    assert_eq!(read_light(&tagged, 5, &tag), valid);
}
