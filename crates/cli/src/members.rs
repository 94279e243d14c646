//! Who is expected to answer: `--members FILE` and `--expect`.
//!
//! Text, one member a line: a name, then any number of addresses and at most one `id=VALUE`; `#` begins a comment.
//! Where a security group says who the names are, a name alone is enough.
//! TOML, where the file's name ends in `.toml`: `[[member]]` tables with `name`, `addresses`, `id`.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;

use crate::failure::Failure;
use crate::terminal::quoted;

/// An address under which a member may answer. Without a port, any port matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MemberAddress {
    pub(crate) ip: IpAddr,
    /// The zone of a link-local address, as an interface name or number.
    pub(crate) zone: Option<String>,
    pub(crate) port: Option<u16>,
}

impl FromStr for MemberAddress {
    type Err = String;

    /// `10.0.0.7`, `10.0.0.7:5683`, `fe80::7%eth0`, `[fe80::7%eth0]:5683`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{} is no IP address", quoted(text));
        let port_of = |port: &str| {
            (!port.starts_with('+'))
                .then(|| port.parse::<u16>().ok())
                .flatten()
                .filter(|&port| port != 0)
                .ok_or_else(|| format!("{} is no port", quoted(port)))
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, behind) = rest.split_once(']').ok_or_else(refuse)?;
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port_of(port)?)),
                None if behind.is_empty() => (host, None),
                None => return Err(refuse()),
            }
        } else if let Some((host, port)) = text
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':'))
        {
            (host, Some(port_of(port)?))
        } else {
            (text, None)
        };
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            if text.starts_with('[') {
                return Err(refuse());
            }
            return Self::checked(ip.into(), None, port, text);
        }
        let (ip, zone) = match host.split_once('%') {
            Some((_, "")) => return Err(refuse()),
            Some((ip, zone)) => (ip, Some(zone.to_owned())),
            None => (host, None),
        };
        let ip: Ipv6Addr = ip.parse().map_err(|_| refuse())?;
        Self::checked(ip.into(), zone, port, text)
    }
}

impl MemberAddress {
    fn checked(
        ip: IpAddr,
        zone: Option<String>,
        port: Option<u16>,
        text: &str,
    ) -> Result<Self, String> {
        if ip.is_multicast() {
            return Err(format!(
                "{} is a group's address, not a member's",
                quoted(text)
            ));
        }
        if ip.is_unspecified() {
            return Err(format!("{} is nobody's address", quoted(text)));
        }
        Ok(Self { ip, zone, port })
    }
}

impl fmt::Display for MemberAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self
            .zone
            .as_ref()
            .map(|zone| format!("%{zone}"))
            .unwrap_or_default();
        match (self.ip, self.port) {
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}{zone}]:{port}"),
            (ip, Some(port)) => write!(f, "{ip}:{port}"),
            (ip, None) => write!(f, "{ip}{zone}"),
        }
    }
}

/// One expected member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) addresses: Vec<MemberAddress>,
    /// What the member says of itself in an option or its payload.
    pub(crate) id: Option<String>,
}

/// Reads a members file, TOML or text by its name.
///
/// `named`: a security group knows the members by name, so that they need neither address nor id.
pub(crate) fn read(path: &Path, named: bool) -> Result<Vec<Member>, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::local(format!("{shown}: {error}")))?;
    let is_toml = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    let parsed = if is_toml {
        from_toml(&text, named)
    } else {
        from_text(&text, named)
    };
    parsed.map_err(|error| Failure::usage(format!("{shown}:{error}")))
}

/// A member given on the command line: an address, NAME=ADDRESS[,ADDRESS...], or the name of one that a security group knows.
pub(crate) fn from_argument(text: &str) -> Result<Member, String> {
    let (name, addresses) = match text.split_once('=') {
        Some(("", _)) => return Err("a member needs a name before =".into()),
        Some(both) => both,
        None if is_name(text) => {
            return Ok(Member {
                name: text.into(),
                addresses: Vec::new(),
                id: None,
            });
        }
        None => (text, text),
    };
    Ok(Member {
        name: name.into(),
        addresses: addresses
            .split(',')
            .map(MemberAddress::from_str)
            .collect::<Result<_, _>>()?,
        id: None,
    })
}

/// Neither an address nor meant to be one.
fn is_name(text: &str) -> bool {
    let numeric = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b".:[]%".contains(&b));
    !text.is_empty() && !numeric && !text.contains(':') && text.parse::<MemberAddress>().is_err()
}

/// What is wrong, and in which line (from 1).
#[derive(Debug, PartialEq, Eq)]
struct LineError {
    line: usize,
    what: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

fn from_text(text: &str, named: bool) -> Result<Vec<Member>, LineError> {
    let mut found = Found::new(named);
    for (i, line) in text.lines().enumerate() {
        let line_number = i + 1;
        let fail = |what: String| LineError {
            line: line_number,
            what,
        };
        let content = line.split('#').next().unwrap_or_default();
        let mut words = content
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|word| !word.is_empty())
            .peekable();
        let Some(&first) = words.peek() else {
            continue;
        };
        // A bare address is its own name.
        if first.parse::<MemberAddress>().is_err() {
            words.next();
        }
        let mut member = Member {
            name: first.into(),
            addresses: Vec::new(),
            id: None,
        };
        if let Some(id) = first.strip_prefix("id=") {
            return Err(fail(format!("a name must stand before id={id}")));
        }
        for word in words {
            match word.strip_prefix("id=") {
                Some("") => return Err(fail("id= has no value".into())),
                Some(_) if member.id.is_some() => return Err(fail("a second id=".into())),
                Some(id) => member.id = Some(id.into()),
                None => member.addresses.push(word.parse().map_err(fail)?),
            }
        }
        found.add(line_number, member)?;
    }
    found.finish()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlFile {
    #[serde(default)]
    member: Vec<Spanned<TomlMember>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlMember {
    name: String,
    #[serde(default)]
    addresses: Vec<Spanned<String>>,
    id: Option<String>,
}

fn from_toml(text: &str, named: bool) -> Result<Vec<Member>, LineError> {
    let line_at = |offset: usize| line_of(text, offset);
    let file: TomlFile = toml::from_str(text).map_err(|error| LineError {
        line: error.span().map_or(1, |span| line_at(span.start)),
        what: error.message().to_owned(),
    })?;
    let mut found = Found::new(named);
    for entry in file.member {
        let line = line_at(entry.span().start);
        let entry = entry.into_inner();
        let mut member = Member {
            name: entry.name,
            addresses: Vec::new(),
            id: entry.id,
        };
        for address in entry.addresses {
            let at = line_at(address.span().start);
            let address = address
                .into_inner()
                .parse()
                .map_err(|what| LineError { line: at, what })?;
            member.addresses.push(address);
        }
        found.add(line, member)?;
    }
    found.finish()
}

/// The line (from 1) of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Members so far, with the lines they came from: names, addresses and ids must tell them apart.
#[derive(Default)]
struct Found {
    /// A name alone is enough.
    named: bool,
    members: Vec<Member>,
    names: HashMap<String, usize>,
    addresses: HashMap<MemberAddress, usize>,
    ids: HashMap<String, usize>,
}

impl Found {
    fn new(named: bool) -> Self {
        Self {
            named,
            ..Self::default()
        }
    }

    fn add(&mut self, line: usize, member: Member) -> Result<(), LineError> {
        let fail = |what: String| Err(LineError { line, what });
        if member.name.is_empty() {
            return fail("the name is empty".into());
        }
        if member.addresses.is_empty() && member.id.is_none() && !self.named {
            return fail(format!(
                "{} has neither an address nor an id",
                quoted(&member.name)
            ));
        }
        if let Some(first) = self.names.insert(member.name.clone(), line) {
            return fail(format!(
                "{} is already named in line {first}",
                quoted(&member.name)
            ));
        }
        for address in &member.addresses {
            if let Some(first) = self.addresses.insert(address.clone(), line) {
                return fail(format!(
                    "the address {address} is already used in line {first}"
                ));
            }
        }
        if let Some(id) = &member.id
            && let Some(first) = self.ids.insert(id.clone(), line)
        {
            return fail(format!(
                "the id {} is already used in line {first}",
                quoted(id)
            ));
        }
        self.members.push(member);
        Ok(())
    }

    fn finish(self) -> Result<Vec<Member>, LineError> {
        if self.members.is_empty() {
            return Err(LineError {
                line: 1,
                what: "no member is named".into(),
            });
        }
        Ok(self.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_text(text: &str) -> Result<Vec<Member>, LineError> {
        super::from_text(text, false)
    }

    fn from_toml(text: &str) -> Result<Vec<Member>, LineError> {
        super::from_toml(text, false)
    }

    fn shape(member: &Member) -> String {
        let addresses: Vec<String> = member.addresses.iter().map(ToString::to_string).collect();
        format!("{} {:?} {:?}", member.name, addresses, member.id)
    }

    #[test]
    fn reads_text() {
        let text = "# the kitchen\n\nlamp-1 10.0.0.7 fe80::7%eth0 id=abc # east\nlamp-2\t[fd00::2]:61616, 10.0.0.8:5683\n10.0.0.9\nonly-id id=x\n";
        let members = from_text(text).unwrap();
        assert_eq!(
            members.iter().map(shape).collect::<Vec<_>>(),
            [
                "lamp-1 [\"10.0.0.7\", \"fe80::7%eth0\"] Some(\"abc\")",
                "lamp-2 [\"[fd00::2]:61616\", \"10.0.0.8:5683\"] None",
                "10.0.0.9 [\"10.0.0.9\"] None",
                "only-id [] Some(\"x\")",
            ]
        );
    }

    #[test]
    fn reads_toml() {
        let text = "[[member]]\nname = \"lamp 1\"\naddresses = [\"10.0.0.7\"]\n[[member]]\nname=\"b\"\nid=\"x\"\n";
        let members = from_toml(text).unwrap();
        assert_eq!(
            members.iter().map(shape).collect::<Vec<_>>(),
            ["lamp 1 [\"10.0.0.7\"] None", "b [] Some(\"x\")"]
        );
    }

    #[test]
    fn text_errors_name_the_line() {
        for (text, expected) in [
            (
                "a 10.0.0.1\nb 10.0.0.300\n",
                "2: \"10.0.0.300\" is no IP address",
            ),
            ("a\n", "1: \"a\" has neither an address nor an id"),
            (
                "a 10.0.0.1\na 10.0.0.2",
                "2: \"a\" is already named in line 1",
            ),
            (
                "a 10.0.0.1\n\nb 10.0.0.1",
                "3: the address 10.0.0.1 is already used in line 1",
            ),
            (
                "a id=x\nb id=x",
                "2: the id \"x\" is already used in line 1",
            ),
            ("a 10.0.0.1:0", "1: \"0\" is no port"),
            ("a 10.0.0.1:99999", "1: \"99999\" is no port"),
            (
                "a 224.0.1.187",
                "1: \"224.0.1.187\" is a group's address, not a member's",
            ),
            ("a 0.0.0.0", "1: \"0.0.0.0\" is nobody's address"),
            ("id=x", "1: a name must stand before id=x"),
            ("a id=", "1: id= has no value"),
            ("a id=x id=y", "1: a second id="),
            ("a \u{1b}[2J", "1: \"\\u001b[2J\" is no IP address"),
            ("# nothing\n", "1: no member is named"),
        ] {
            assert_eq!(
                from_text(text).unwrap_err().to_string(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn toml_errors_name_the_line() {
        for (text, line, part) in [
            (
                "[[member]]\nname = \"a\"\nadresses = []\n",
                3,
                "unknown field `adresses`",
            ),
            (
                "[[member]]\nname = \"a\"\naddresses = [\n  \"10.0.0.1\",\n  \"x\"]\n",
                5,
                "\"x\" is no IP address",
            ),
            ("[[member]]\nid = \"a\"\n", 1, "missing field `name`"),
            ("[[member]]\nname = 1\n", 2, "expected a string"),
            (
                "[[member]]\nname=\"a\"\nid=\"x\"\n[[member]]\nname=\"a\"\nid=\"y\"\n",
                4,
                "already named in line 1",
            ),
            ("x = \n", 1, ""),
            ("", 1, "no member is named"),
        ] {
            let error = from_toml(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.what.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn addresses_are_read_in_every_form() {
        for text in [
            "10.0.0.1",
            "10.0.0.1:5683",
            "fe80::1%eth0",
            "[fe80::1%2]:5684",
            "::1",
            "[::1]:1",
        ] {
            assert_eq!(text.parse::<MemberAddress>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]".parse::<MemberAddress>().unwrap().to_string(), "::1");
        for text in [
            "",
            "x",
            "10.0.0",
            "10.0.0.1:",
            "10.0.0.1:+1",
            "[::1",
            "[::1]x",
            "[10.0.0.1]:1",
            "::1%",
            "ff02::1",
            "10.0.0.1%eth0",
            "::",
        ] {
            assert!(text.parse::<MemberAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_argument_names_a_member() {
        assert_eq!(
            shape(&from_argument("10.0.0.1").unwrap()),
            "10.0.0.1 [\"10.0.0.1\"] None"
        );
        assert_eq!(
            shape(&from_argument("lamp=10.0.0.1,fe80::1%eth0").unwrap()),
            "lamp [\"10.0.0.1\", \"fe80::1%eth0\"] None"
        );
        assert_eq!(shape(&from_argument("lamp").unwrap()), "lamp [] None");
        for wrong in ["=10.0.0.1", "", "10.0.0.300", "10.0.0", "fe80::x", "[::1"] {
            assert!(from_argument(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_alone_is_enough_where_a_security_group_knows_it() {
        let text = "lamp-1\nlamp-2 10.0.0.8\n";
        let names = |members: Vec<Member>| members.iter().map(shape).collect::<Vec<_>>();
        assert_eq!(
            names(super::from_text(text, true).unwrap()),
            ["lamp-1 [] None", "lamp-2 [\"10.0.0.8\"] None"]
        );
        assert!(super::from_text(text, false).is_err());
        let toml = "[[member]]\nname = \"lamp-1\"\n";
        assert_eq!(
            names(super::from_toml(toml, true).unwrap()),
            ["lamp-1 [] None"]
        );
    }
}
