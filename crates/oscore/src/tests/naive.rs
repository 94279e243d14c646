//! Readers that leave a defence out, for the controls of the tests of threats.

use super::floor::*;
use crate::group_mode::Binding;
use crate::option::OscoreOption;

/// The plaintext of a request, with the keys of the member that it names and for its tag alone: no countersignature is verified, no number
/// looked at. `option` is authenticated in place of the option that the message has.
pub(super) fn decrypt(
    one: &mut One,
    mode: Mode,
    bytes: &[u8],
    option: &[u8],
) -> Result<Vec<u8>, Reason> {
    let message = Message::parse(bytes).unwrap();
    let read = OscoreOption::of(&message).unwrap().unwrap();
    let (kid, piv) = (
        Kid::new(read.kid.unwrap()).unwrap(),
        read.partial_iv.unwrap(),
    );
    let binding = Binding {
        request: true,
        request_kid: kid,
        request_piv: piv,
        request_kid_context: read.kid_context.unwrap(),
        option,
        generator: kid,
        piv,
    };
    let (group, scratch) = one.contexts.group_and_scratch(one.group).unwrap();
    let (context, payload) = (&mut group.current, message.payload());
    match mode {
        Mode::Group => context.group_decrypt(kid, &binding, payload, scratch)?,
        _ => context.pairwise_decrypt(kid, &binding, payload, scratch)?,
    }
    Ok(scratch.body.clone())
}

/// The request with another payload.
pub(super) fn with_payload(bytes: &[u8], payload: &[u8]) -> Vec<u8> {
    let options = [(OptionNumber::OSCORE, &option(bytes)[..])];
    message(Type::Non, Code::POST, 7, &[0xaa], &options, payload)
}
