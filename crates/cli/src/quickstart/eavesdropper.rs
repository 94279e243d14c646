//! Somebody on the same network who has joined the group's address, and has no keys.

use antiphon::interfaces;
use antiphon::socket::{GroupSocket, RecvBatch, SocketOptions};
use antiphon_oscore::option::OscoreOption;
use antiphon_wire::{Message, OptionNumber};
use serde_json::json;

use super::plan::Plan;
use crate::decode::{code_name, option_value, type_name};
use crate::failure::Failure;
use crate::terminal::{self, Style};
use crate::{hex, render};

/// The socket of the eavesdropper.
pub(super) struct Eavesdropper {
    socket: GroupSocket,
    /// The last datagram that it heard.
    heard: Option<Vec<u8>>,
}

impl Eavesdropper {
    /// Joins the group as anybody can.
    pub(super) fn join(plan: &Plan) -> Result<Self, Failure> {
        let loopback = interfaces::by_address([127, 0, 0, 1].into())?;
        let (group, port) = (plan.group.ip(), plan.group.port());
        let socket = GroupSocket::open(group, port, loopback.index, &SocketOptions::default())
            .map_err(|error| Failure::local(error.to_string()))?;
        Ok(Self {
            socket,
            heard: None,
        })
    }

    /// Takes what has come since; the last request is kept.
    pub(super) fn listen(&mut self) {
        let mut batch = RecvBatch::new(16, 2_048);
        while self
            .socket
            .recv_batch(&mut batch)
            .is_ok_and(|some| some > 0)
        {
            if let Some(last) = batch.iter().filter_map(|one| one.payload.ok()).last() {
                self.heard = Some(last.to_vec());
            }
        }
    }

    fn message(&self) -> Option<Message<'_>> {
        Message::parse(self.heard.as_deref()?).ok()
    }

    /// What it sees, for people.
    pub(super) fn text(&self, style: Style) -> Vec<String> {
        let Some(message) = self.message() else {
            return vec!["  nothing: the datagram did not reach it".into()];
        };
        let kind = type_name(message.kind());
        let bytes = message.as_bytes().len();
        let mut lines = vec![format!(
            "  {kind} {}, {bytes} bytes",
            code_name(message.code())
        )];
        match OscoreOption::of(&message) {
            Ok(Some(option)) => {
                lines.push(format!("  OSCORE: {}", fields(&option)));
                lines.push(format!(
                    "  {} bytes of ciphertext: {} ...",
                    message.payload().len(),
                    style.dim(&hex::spaced(
                        message.payload().get(..16).unwrap_or_default()
                    ))
                ));
            }
            _ => {
                for option in message.options() {
                    let name = option.number.name().unwrap_or("option");
                    lines.push(format!("  {name}: {}", style.bad(&option_value(&option))));
                }
                if !message.payload().is_empty() {
                    let format = crate::decode::content_format(&message);
                    let shown = render::payload(format, message.payload());
                    lines.push(format!(
                        "  payload: {}",
                        style.bad(&terminal::fit(&shown.line, 60))
                    ));
                }
            }
        }
        lines
    }

    /// What it sees, for programs.
    pub(super) fn json(&self) -> serde_json::Value {
        let Some(message) = self.message() else {
            return json!({"event": "eavesdropped", "heard": false});
        };
        let option = OscoreOption::of(&message).ok().flatten();
        json!({
            "event": "eavesdropped",
            "heard": true,
            "code": format!("{}.{:02}", message.code().class(), message.code().detail()),
            "bytes": message.as_bytes().len(),
            "options": message.options().map(|option| option.number.0).collect::<Vec<_>>(),
            "path": message.options_of(OptionNumber::URI_PATH).map(|s| String::from_utf8_lossy(s).into_owned()).collect::<Vec<_>>(),
            "oscore": option.map(|option| json!({
                "gid": option.kid_context.map(hex::plain), "kid": option.kid.map(hex::plain),
                "sequence": option.partial_iv.map(|piv| piv.value()), "signed": option.group_flag,
            })),
            "payload_hex": hex::plain(message.payload()),
        })
    }
}

fn fields(option: &OscoreOption<'_>) -> String {
    let mut fields = Vec::new();
    if let Some(gid) = option.kid_context {
        fields.push(format!("Gid {}", hex::plain(gid)));
    }
    if let Some(kid) = option.kid {
        fields.push(format!("Sender ID {}", hex::plain(kid)));
    }
    if let Some(piv) = option.partial_iv {
        fields.push(format!("sequence number {}", piv.value()));
    }
    if option.group_flag {
        fields.push("signed".into());
    }
    fields.join(", ")
}
