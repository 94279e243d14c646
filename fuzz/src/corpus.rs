//! Samples to begin with: what the documents give as examples, and every malformed form.

mod protected;

pub use protected::is_credential;

/// A name for a file and its bytes.
type Sample = (&'static str, Vec<u8>);

/// For each target its samples.
pub fn all() -> Vec<(&'static str, Vec<Sample>)> {
    vec![
        ("message", owned(MESSAGES)),
        ("option_values", owned(OPTION_VALUES)),
        ("multi_etag", owned(MULTI_ETAGS)),
        ("uri", owned(URIS)),
        ("link_format", owned(LINK_FORMATS)),
        ("block", operations()),
        ("endpoint_operations", operations()),
        ("secured_operations", operations()),
        ("distribution", operations()),
        ("oscore_option", owned(protected::OPTIONS)),
        ("oscore_open", owned(protected::OPEN)),
        ("credentials", protected::credentials()),
        ("state_files", protected::state()),
        ("two_members", operations()),
    ]
}

/// Operations made up from seeds; a fuzzer makes better ones from them.
fn operations() -> Vec<Sample> {
    let names = [
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    ];
    let sequence = |seed: usize| {
        let mut state = (seed as u32).wrapping_mul(0x9e37_79b9);
        let step = |_| {
            // xorshift32
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        };
        (0..100 * seed).map(step).collect()
    };
    names.into_iter().zip((1..).map(sequence)).collect()
}

fn owned(samples: &[(&'static str, &[u8])]) -> Vec<Sample> {
    samples
        .iter()
        .map(|(name, bytes)| (*name, bytes.to_vec()))
        .collect()
}

const MESSAGES: &[(&str, &[u8])] = &[
    // Well-formed.
    ("empty-ack", b"\x60\x00\x7d\x38"),
    ("reset", b"\x70\x00\xad\x7c"),
    ("con-get", b"\x41\x01\x7d\x35\x20\xbbtemperature"),
    (
        "group-get",
        b"\x51\x01\x7d\x41\x86\xb2gp\x03gp1\x0btemperature",
    ),
    (
        "group-get-host",
        b"\x50\x01\x7d\x41\x3bgrp.example\x82gp\x03gp1\x05light\x47foo=bar",
    ),
    ("group-answer", b"\x51\x45\x60\xb1\x86\xff22.3 C"),
    ("not-found", b"\x51\x84\x95\x2a\x86"),
    (
        "token-of-eight",
        b"\x58\x01\0\x01\x01\x02\x03\x04\x05\x06\x07\x08\xb1a",
    ),
    ("observe", b"\x51\x01\x7d\x41\x86\x60\x52gp"),
    (
        "multi-etag",
        b"\x50\x01\0\x01\xed\xfc\xdb\x02\x82\x01\xd9\x01\x04\x44\xc0\0\x02\x01\x44\xde\xad\xbe\xef",
    ),
    (
        "reply-from",
        b"\x50\x45\0\x01\xd8\xeb\x82\x20\x81\x44\xc0\0\x02\x01",
    ),
    ("number-65535", b"\x50\x01\0\x01\xe0\xfe\xf2\0"),
    ("length-269", &{
        let mut bytes = [b'a'; 276];
        let head = b"\x50\x01\0\x01\xbe\0\0";
        let mut at = 0;
        while at < head.len() {
            bytes[at] = head[at];
            at += 1;
        }
        bytes
    }),
    ("reserved-class", b"\x40\x21\0\x01"),
    ("payload-of-markers", b"\x40\x01\0\0\xff\xff\xff"),
    // Malformed, one of each kind.
    ("bad-nothing", b""),
    ("bad-three-bytes", b"\x40\x01\0"),
    ("bad-version-0", b"\x00\x01\0\0"),
    ("bad-version-2", b"\x80\x01\0\0"),
    (
        "bad-token-length-9",
        b"\x49\x01\0\0\x01\x02\x03\x04\x05\x06\x07\x08\x09",
    ),
    ("bad-token-length-15", b"\x4f\x01\0\0\x01\x02\x03\x04"),
    (
        "bad-extended-token-13",
        b"\x4d\x01\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d",
    ),
    ("bad-extended-token-14", b"\x4e\x01\0\0\0\0\x01\x02"),
    ("bad-token-cut", b"\x44\x01\0\0\x01\x02\x03"),
    ("bad-empty-with-token-length", b"\x41\x00\0\0"),
    ("bad-empty-with-token", b"\x41\x00\0\0\x01"),
    ("bad-empty-with-option", b"\x40\x00\0\0\xb1a"),
    ("bad-empty-with-payload", b"\x40\x00\0\0\xffx"),
    ("bad-delta-15", b"\x40\x01\0\0\xf1x"),
    ("bad-length-15", b"\x40\x01\0\0\x1fx"),
    ("bad-value-cut", b"\x40\x01\0\0\xb5abcd"),
    ("bad-delta-13-cut", b"\x40\x01\0\0\xd0"),
    ("bad-delta-14-cut", b"\x40\x01\0\0\xe0\0"),
    ("bad-length-13-cut", b"\x40\x01\0\0\x0d"),
    ("bad-length-14-cut", b"\x40\x01\0\0\x0e\0"),
    ("bad-number-65536", b"\x40\x01\0\0\xe0\xfe\xf2\x10"),
    ("bad-number-by-extension", b"\x40\x01\0\0\xe0\xff\xff"),
    ("bad-marker-alone", b"\x40\x01\0\0\xff"),
    ("bad-marker-after-option", b"\x40\x01\0\0\xb1a\xff"),
];

const MULTI_ETAGS: &[(&str, &[u8])] = &[
    (
        "ipv4",
        b"\x82\x01\xd9\x01\x04\x44\xc0\0\x02\x01\x44\xde\xad\xbe\xef",
    ),
    (
        "ipv4-port-two-tags",
        b"\x83\x01\xd9\x01\x04\x44\xc0\0\x02\x01\x19\xf0\xb0\x41\x01\x48tag of 8",
    ),
    (
        "ipv4-null",
        b"\x83\x01\xd9\x01\x04\x44\xc0\0\x02\x01\xf6\x41\x01",
    ),
    (
        "ipv6",
        b"\x82\x01\xd9\x01\x04\x50\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x41\x01",
    ),
    ("bad-no-tag", b"\x82\x01\xd9\x01\x04\x44\xc0\0\x02\x01"),
    (
        "bad-tag-empty",
        b"\x82\x01\xd9\x01\x04\x44\xc0\0\x02\x01\x40",
    ),
    (
        "bad-transport",
        b"\x82\x02\xd9\x01\x04\x44\xc0\0\x02\x01\x41\x01",
    ),
    ("bad-address", b"\x82\x01\xd9\x01\x04\x43\xc0\0\x02\x41\x01"),
    (
        "bad-cut",
        b"\x82\x01\xd9\x01\x04\x44\xc0\0\x02\x01\x44\xde\xad",
    ),
];

const OPTION_VALUES: &[(&str, &[u8])] = &[
    ("uri-host", b"\0\x03grp.example"),
    ("bad-uri-host-empty", b"\0\x03"),
    ("etag", b"\0\x04\x01\x02\x03\x04\x05\x06\x07\x08"),
    (
        "bad-etag-long",
        b"\0\x04\x01\x02\x03\x04\x05\x06\x07\x08\x09",
    ),
    ("bad-etag-empty", b"\0\x04"),
    ("if-none-match", b"\0\x05"),
    ("bad-if-none-match", b"\0\x05\x01"),
    ("observe", b"\0\x06\x01\x02\x03"),
    ("bad-observe-long", b"\0\x06\x01\x02\x03\x04"),
    ("uri-port", b"\0\x07\x16\x33"),
    ("uri-path", b"\0\x0bcaf\xc3\xa9"),
    ("bad-uri-path-not-utf8", b"\0\x0bcaf\xe9"),
    ("content-format-name", b"\0\x0bapplication/cbor"),
    ("content-format-number", b"\0\x0b60"),
    ("max-age-leading-zeros", b"\0\x0e\0\0\0\x3c"),
    ("hop-limit", b"\0\x10\x10"),
    ("bad-hop-limit-empty", b"\0\x10"),
    ("block2", b"\0\x17\x2e"),
    ("block1-three-bytes", b"\0\x1b\xff\xff\xfe"),
    ("bad-block-szx-7", b"\0\x17\x07"),
    ("bad-block-four-bytes", b"\0\x17\0\0\0\x01"),
    ("echo", b"\0\xfc0123456789012345678901234567890123456789"),
    (
        "bad-echo-long",
        b"\0\xfc01234567890123456789012345678901234567890",
    ),
    ("no-response", b"\x01\x02\x1a"),
    ("bad-no-response-long", b"\x01\x02\0\x1a"),
    ("multicast-timeout", b"\0\x02\x3c"),
    ("group-etag", b"\0\x18\xde\xad\xbe\xef"),
    (
        "multi-etag",
        b"\xfd\xe8\x82\x01\xd9\x01\x04\x44\xc0\0\x02\x01\x44\xde\xad\xbe\xef",
    ),
    ("unknown", b"\xff\xffanything"),
    ("uint-too-large", b"\0\x0e\x01\0\0\0\0"),
];

const URIS: &[(&str, &[u8])] = &[
    ("group-v6", b"coap://[ff05::db8:8000:1]/g/gp1/li"),
    ("group-v4", b"coap://224.0.1.187:5685/x"),
    (
        "group-name",
        b"coap://grp.example:5685/gp/gp1/light?foo=bar&gp=gp1",
    ),
    ("zone", b"coap://[fe80::1%25eth0]/x"),
    ("zone-bare", b"coap://[fe80::1%eth0]/x"),
    ("schemes", b"coaps+tcp://h"),
    ("upper-case", b"COAP://EXAMPLE.com:/%7esensors/temp.xml"),
    ("percent", b"coap://h/a%2Fb/%2541?a%26b=%c3%a9&c"),
    ("host-percent", b"coap://A%41%c3%89Z/"),
    ("host-percent-of-percent", b"coap://%2541/"),
    ("dots", b"coap://h/a/b/c/./../../g/%2e%2E/"),
    ("empty-segments", b"coap://h//a//?&a&"),
    ("mapped", b"coap://[::ffff:224.0.1.187]/"),
    ("bad-empty", b""),
    ("bad-relative", b"/x"),
    ("bad-scheme", b"http://h/"),
    ("bad-no-authority", b"coap:h"),
    ("bad-no-host", b"coap:///x"),
    ("bad-user", b"coap://u@h/"),
    ("bad-port-0", b"coap://h:0/"),
    ("bad-port-large", b"coap://h:65536/"),
    ("bad-port-sign", b"coap://h:+1/"),
    ("bad-literal", b"coap://[::g]/"),
    ("bad-literal-open", b"coap://[::1/"),
    ("bad-literal-future", b"coap://[v1.x]/"),
    ("bad-literal-behind", b"coap://[::1]x/"),
    ("bad-zone-empty", b"coap://[fe80::1%25]/"),
    ("bad-character", b"coap://h/a b"),
    ("bad-beyond-ascii", b"coap://h/\xc3\xbc"),
    ("bad-percent", b"coap://h/%4"),
    ("bad-percent-digit", b"coap://h/%4g"),
    ("bad-not-utf8", b"coap://h/%c3%28"),
    ("bad-fragment", b"coap://h/#x"),
    ("bad-segment-long", &{
        let mut bytes = [b'a'; 9 + 256];
        let head = b"coap://h/";
        let mut at = 0;
        while at < head.len() {
            bytes[at] = head[at];
            at += 1;
        }
        bytes
    }),
];

const LINK_FORMATS: &[(&str, &[u8])] = &[
    ("empty", b"rt=x\n"),
    ("index", b"rt=temp*\n</sensors>;ct=40;title=\"Sensor Index\",</sensors/temp>;rt=\"temperature-c\";if=\"sensor\""),
    ("group", b"rt=g.*\n</gp/gp1>;rt=g.light"),
    ("group-absolute", b"href=/gp*\n<coap://[ff05::db8:8000:1]:5685/gp/gp1>;rt=g.light"),
    ("anchor", b"rel=describedby\n<http://h/t>;anchor=\"/temp\";rel=\"describedby\",</t>;obs"),
    ("lists", b"ct=60\n</a>;rt=\"g.light x.y\";ct=\"40 60\""),
    ("escapes", b"title=a\"b\n</a>;title=\"a\\\"b\\\\ , ; <\",</b>;title*=UTF-8''%e2%82%ac"),
    ("space", b"x=*\n </a> ; rt=x\t;\robs , </b>"),
    ("empty-value", b"x=\n</a>;x=\"\""),
    ("bad-filter", b"=x\n</a>"),
    ("bad-no-bracket", b"\n/a"),
    ("bad-comma", b"\n</a>,"),
    ("bad-open", b"\n</a"),
    ("bad-target", b"\n</a b>"),
    ("bad-separator", b"\n</a>x"),
    ("bad-name", b"\n</a>;=y"),
    ("bad-no-name", b"\n</a>;;x"),
    ("bad-value", b"\n</a>;x="),
    ("bad-quote", b"\n</a>;x=\"y\\\""),
    ("bad-not-utf8", b"\n</a>,\xff"),
];
