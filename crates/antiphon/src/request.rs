//! The options that a URI stands for.

use core::net::SocketAddr;

use antiphon_proto::Options;
use antiphon_wire::{Code, Message, MessageId, Token, Type, Uri, Writer};

/// The options of a URI for a request to `destination` (RFC 7252 section 6.4); `None` if they are too many.
pub(crate) fn uri_options(uri: &Uri<'_>, destination: SocketAddr) -> Option<Options> {
    // Each byte of a URI needs at most one byte of options and each option at most five more.
    let mut buffer = vec![0; Uri::MAX_LEN * 6 + 64];
    let mut writer = Writer::new(
        &mut buffer,
        Type::Non,
        Code::GET,
        MessageId(0),
        Token::EMPTY,
    )
    .ok()?;
    uri.write_options(&mut writer, destination).ok()?;
    let length = writer.finish();
    let message = Message::parse(buffer.get(..length)?).ok()?;
    Some(Options::from(&message))
}

#[cfg(test)]
mod tests {
    use antiphon_wire::OptionNumber;

    use super::*;

    #[test]
    fn host_names_and_other_ports_become_options_and_literals_do_not() {
        let options = |uri, destination: &str| -> Vec<(u16, Vec<u8>)> {
            let uri = Uri::parse(uri).unwrap();
            let options = uri_options(&uri, destination.parse().unwrap()).unwrap();
            options.iter().map(|(n, v)| (n.0, v.to_vec())).collect()
        };
        let path = (OptionNumber::URI_PATH.0, b"a b".to_vec());
        let query = (OptionNumber::URI_QUERY.0, b"q".to_vec());
        assert_eq!(
            options("coap://Grp.example:7777/a%20b?q", "239.1.2.3:7777"),
            [
                (OptionNumber::URI_HOST.0, b"grp.example".to_vec()),
                path.clone(),
                query
            ]
        );
        assert_eq!(options("coap://239.1.2.3/a%20b", "239.1.2.3:5683"), [path]);
    }

    #[test]
    fn the_longest_uri_fits() {
        let uri = format!("coap://x/{}", "a/".repeat((Uri::MAX_LEN - 9) / 2));
        let uri = Uri::parse(&uri).unwrap();
        let options = uri_options(&uri, "239.1.2.3:5683".parse().unwrap()).unwrap();
        assert!(options.len() > 4_000);
    }
}
