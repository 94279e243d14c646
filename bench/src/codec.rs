//! Parse with every option visited, and serialize: against the least code that can do it, and against coap-lite.

use std::hint::black_box;
use std::time::Duration;

use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

use crate::measure::{Candidate, interleaved};

/// A PUT with host, path, format and query: 60 bytes, five options, ten bytes of payload.
const HOST: &[u8] = b"lights.example";
const PATH: [&[u8]; 2] = [b"gp", b"floor3"];
const QUERY: &[u8] = b"scene=night";
const PAYLOAD: &[u8] = b"{\"on\":1}\r\n";
const TOKEN: [u8; 4] = [1, 2, 3, 4];

fn sample() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    let len = ours(&mut bytes);
    bytes.truncate(len);
    bytes
}

fn ours(buffer: &mut [u8]) -> usize {
    let write = |buffer| {
        let token = Token::new(&TOKEN)?;
        let mut writer =
            Writer::new(buffer, Type::Non, Code::PUT, MessageId(0x7d41), token).ok()?;
        writer.option(OptionNumber::URI_HOST, HOST).ok()?;
        for segment in PATH {
            writer.option(OptionNumber::URI_PATH, segment).ok()?;
        }
        writer.uint_option(OptionNumber::CONTENT_FORMAT, 50).ok()?;
        writer.option(OptionNumber::URI_QUERY, QUERY).ok()?;
        writer.payload(PAYLOAD).ok()?;
        Some(writer.finish())
    };
    write(buffer).unwrap_or(0)
}

/// Visits everything and sums it up, so that nothing can be left out.
fn parse_ours(bytes: &[u8]) -> u64 {
    let Ok(message) = Message::parse(bytes) else {
        return 0;
    };
    let mut sum = u64::from(message.message_id().0) + message.token().len() as u64;
    for option in message.options() {
        sum += u64::from(option.number.0) + option.value.len() as u64;
    }
    sum + message.payload().len() as u64
}

/// The least that a validating parser can be.
fn parse_by_hand(bytes: &[u8]) -> u64 {
    if bytes.len() < 4 || bytes[0] >> 6 != 1 {
        return 0;
    }
    let tkl = usize::from(bytes[0] & 15);
    if tkl > 8 || bytes.len() < 4 + tkl {
        return 0;
    }
    let mut sum = u64::from(u16::from_be_bytes([bytes[2], bytes[3]])) + tkl as u64;
    let (mut at, mut number) = (4 + tkl, 0usize);
    while at < bytes.len() {
        let first = bytes[at];
        at += 1;
        if first == 0xff {
            return if at == bytes.len() {
                0
            } else {
                sum + (bytes.len() - at) as u64
            };
        }
        let (mut delta, mut len) = (usize::from(first >> 4), usize::from(first & 15));
        for part in [&mut delta, &mut len] {
            match *part {
                13 if at < bytes.len() => {
                    *part = 13 + usize::from(bytes[at]);
                    at += 1;
                }
                14 if at + 1 < bytes.len() => {
                    *part = 269 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
                    at += 2;
                }
                13..=15 => return 0,
                _ => {}
            }
        }
        number += delta;
        at += len;
        if at > bytes.len() || number > 65_535 {
            return 0;
        }
        sum += (number + len) as u64;
    }
    sum
}

/// The least that a serializer of any options can be.
fn serialize_by_hand(buffer: &mut [u8]) -> usize {
    buffer[..4].copy_from_slice(&[0x50 | TOKEN.len() as u8, 3, 0x7d, 0x41]);
    buffer[4..8].copy_from_slice(&TOKEN);
    let (mut at, mut last) = (8, 0u16);
    let options: [(u16, &[u8]); 5] = [
        (3, HOST),
        (11, PATH[0]),
        (11, PATH[1]),
        (12, &[50]),
        (15, QUERY),
    ];
    for (number, value) in black_box(options) {
        let delta = number - last;
        last = number;
        let head = at;
        at += 1;
        let mut nibble = |v: u16| match v {
            0..=12 => v as u8,
            13..=268 => {
                buffer[at] = (v - 13) as u8;
                at += 1;
                13
            }
            _ => {
                buffer[at..at + 2].copy_from_slice(&(v - 269).to_be_bytes());
                at += 2;
                14
            }
        };
        let first = nibble(delta) << 4 | nibble(value.len() as u16);
        buffer[head] = first;
        buffer[at..at + value.len()].copy_from_slice(value);
        at += value.len();
    }
    buffer[at] = 0xff;
    buffer[at + 1..at + 1 + PAYLOAD.len()].copy_from_slice(PAYLOAD);
    at + 1 + PAYLOAD.len()
}

fn parse_coap_lite(bytes: &[u8]) -> u64 {
    let Ok(packet) = coap_lite::Packet::from_bytes(bytes) else {
        return 0;
    };
    let mut sum = u64::from(packet.header.message_id) + packet.get_token().len() as u64;
    for (number, values) in packet.options() {
        for value in values {
            sum += u64::from(*number) + value.len() as u64;
        }
    }
    sum + packet.payload.len() as u64
}

fn serialize_coap_lite() -> usize {
    use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType};
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::NonConfirmable);
    packet.header.code = MessageClass::Request(RequestType::Put);
    packet.header.message_id = 0x7d41;
    packet.set_token(TOKEN.to_vec());
    packet.add_option(CoapOption::UriHost, HOST.to_vec());
    for segment in PATH {
        packet.add_option(CoapOption::UriPath, segment.to_vec());
    }
    packet.add_option(CoapOption::ContentFormat, vec![50]);
    packet.add_option(CoapOption::UriQuery, QUERY.to_vec());
    packet.payload = PAYLOAD.to_vec();
    packet.to_bytes().map_or(0, |bytes| bytes.len())
}

/// Does one thing `count` times; false if there is no such thing.
pub(crate) fn repeat(what: &str, count: u64) -> bool {
    if what == "server" {
        crate::serve::repeat(count);
        return true;
    }
    let bytes = sample();
    let mut buffer = [0; 128];
    for _ in 0..count {
        match what {
            "parse" => drop(black_box(parse_ours(black_box(&bytes)))),
            _ => drop(black_box(ours(black_box(&mut buffer)))),
        }
    }
    matches!(what, "parse" | "serialize")
}

/// Prints the table.
pub(crate) fn run() {
    let bytes = sample();
    let expected = parse_ours(&bytes);
    assert!(
        expected > 0 && expected == parse_by_hand(&bytes) && expected == parse_coap_lite(&bytes)
    );
    let mut buffer = [0; 128];
    let len = serialize_by_hand(&mut buffer);
    assert_eq!(
        buffer.get(..len),
        Some(bytes.as_slice()),
        "all serialize the same message"
    );
    assert_eq!(serialize_coap_lite(), len);

    println!("codec: a PUT of {len} bytes with five options; median of 31 interleaved rounds");
    let (mut b1, mut b2) = ([0; 128], [0; 128]);
    let bytes = bytes.as_slice();
    let looped = |f: fn(&[u8]) -> u64| {
        Box::new(move |n| {
            for _ in 0..n {
                black_box(f(black_box(bytes)));
            }
        })
    };
    let parse = interleaved(
        &mut [
            Candidate {
                run: looped(parse_by_hand),
            },
            Candidate {
                run: looped(parse_ours),
            },
            Candidate {
                run: looped(parse_coap_lite),
            },
        ],
        31,
        Duration::from_millis(4),
    );
    report("parse, all options visited", &parse);
    let serialize = interleaved(
        &mut [
            Candidate {
                run: Box::new(|n| {
                    for _ in 0..n {
                        black_box(serialize_by_hand(black_box(&mut b1)));
                    }
                }),
            },
            Candidate {
                run: Box::new(|n| {
                    for _ in 0..n {
                        black_box(ours(black_box(&mut b2)));
                    }
                }),
            },
            Candidate {
                run: Box::new(|n| {
                    for _ in 0..n {
                        black_box(serialize_coap_lite());
                    }
                }),
            },
        ],
        31,
        Duration::from_millis(4),
    );
    report("serialize", &serialize);
}

fn report(what: &str, times: &[f64]) {
    if let [hand, ours, lite] = *times {
        println!(
            "  {what:<28} {hand:>7.1} ns by hand   {ours:>7.1} ns antiphon-wire   {lite:>7.1} ns coap-lite   \
             {:>5.2}x of by hand (bound 1.6)   {:>5.1}x faster than coap-lite (bound 8)",
            ours / hand,
            lite / ours
        );
    }
}
