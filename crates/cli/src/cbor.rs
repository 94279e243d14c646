//! CBOR (RFC 8949) as a tree: read with bounded nesting, shown in diagnostic notation, turned into JSON and back.

use std::fmt;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::terminal;

/// Deepest nesting of arrays, maps and tags that is read or written. A peer chooses the bytes, so this is a hard limit.
pub(crate) const MAX_NESTING: usize = 64;

/// One data item. Indefinite lengths are read and become definite ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    /// The number `-1 - n`.
    Negative(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    /// In the order of the bytes; keys may repeat, as a peer may send them so.
    Map(Vec<(Value, Value)>),
    Tag(u64, Box<Value>),
    Bool(bool),
    Null,
    Undefined,
    Simple(u8),
    Float(f64),
}

/// Why bytes are not CBOR that we show, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CborError {
    pub(crate) offset: usize,
    what: String,
}

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl CborError {
    fn new(offset: usize, what: impl Into<String>) -> Self {
        Self {
            offset,
            what: what.into(),
        }
    }

    fn from_decoder(at: usize, error: &minicbor::decode::Error) -> Self {
        if error.is_end_of_input() {
            return Self::new(at, "the data end inside an item that starts");
        }
        Self::new(
            error.position().unwrap_or(at),
            "not a well-formed CBOR item",
        )
    }
}

/// Reads exactly one item that fills the bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, CborError> {
    let mut decoder = Decoder::new(bytes);
    let value = item(&mut decoder, 0)?;
    match decoder.position() {
        end if end == bytes.len() => Ok(value),
        end => Err(CborError::new(end, "bytes after the end of the item")),
    }
}

/// Reads a CBOR sequence (RFC 8742): any number of items one after another.
pub(crate) fn read_sequence(bytes: &[u8]) -> Result<Vec<Value>, CborError> {
    let mut decoder = Decoder::new(bytes);
    let mut items = Vec::new();
    while decoder.position() < bytes.len() {
        items.push(item(&mut decoder, 0)?);
    }
    Ok(items)
}

fn item(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CborError> {
    let at = decoder.position();
    let fail = |error: minicbor::decode::Error| CborError::from_decoder(at, &error);
    if depth > MAX_NESTING {
        return Err(CborError::new(
            at,
            format!("nested deeper than {MAX_NESTING} levels"),
        ));
    }
    Ok(match decoder.datatype().map_err(fail)? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            Value::Unsigned(decoder.u64().map_err(fail)?)
        }
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            let number = i128::from(decoder.int().map_err(fail)?);
            match u64::try_from(-1 - number) {
                Ok(n) => Value::Negative(n),
                Err(_) => return Err(CborError::new(at, "an integer out of range")),
            }
        }
        Type::Bytes | Type::BytesIndef => {
            let mut bytes = Vec::new();
            for chunk in decoder.bytes_iter().map_err(fail)? {
                bytes.extend_from_slice(chunk.map_err(fail)?);
            }
            Value::Bytes(bytes)
        }
        Type::String | Type::StringIndef => {
            let mut text = String::new();
            for chunk in decoder.str_iter().map_err(fail)? {
                text.push_str(chunk.map_err(fail)?);
            }
            Value::Text(text)
        }
        Type::Array | Type::ArrayIndef => {
            let mut left = decoder.array().map_err(fail)?;
            let mut items = Vec::new();
            while more(decoder, &mut left)? {
                items.push(item(decoder, depth + 1)?);
            }
            Value::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let mut left = decoder.map().map_err(fail)?;
            let mut entries = Vec::new();
            while more(decoder, &mut left)? {
                let key = item(decoder, depth + 1)?;
                entries.push((key, item(decoder, depth + 1)?));
            }
            Value::Map(entries)
        }
        Type::Tag => {
            let tag = decoder.tag().map_err(fail)?.as_u64();
            Value::Tag(tag, Box::new(item(decoder, depth + 1)?))
        }
        Type::Bool => Value::Bool(decoder.bool().map_err(fail)?),
        Type::Null => {
            decoder.null().map_err(fail)?;
            Value::Null
        }
        Type::Undefined => {
            decoder.undefined().map_err(fail)?;
            Value::Undefined
        }
        Type::Simple => Value::Simple(decoder.simple().map_err(fail)?),
        Type::F16 => match decoder.input().get(at + 1..at + 3) {
            Some(&[high, low]) => {
                decoder.set_position(at + 3);
                Value::Float(half_to_f64(u16::from_be_bytes([high, low])))
            }
            _ => {
                return Err(CborError::new(
                    at,
                    "the data end inside an item that starts",
                ));
            }
        },
        Type::F32 => Value::Float(f64::from(decoder.f32().map_err(fail)?)),
        Type::F64 => Value::Float(decoder.f64().map_err(fail)?),
        Type::Break => return Err(CborError::new(at, "a break without an open item")),
        Type::Unknown(_) => return Err(CborError::new(at, "not a well-formed CBOR item")),
    })
}

/// Is there another item in this array or map? Consumes the break of an indefinite one.
fn more(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, CborError> {
    if let Some(count) = left {
        let some = *count > 0;
        *count = count.saturating_sub(1);
        return Ok(some);
    }
    let at = decoder.position();
    let next = decoder
        .datatype()
        .map_err(|error| CborError::from_decoder(at, &error))?;
    if next == Type::Break {
        decoder.set_position(at + 1);
        return Ok(false);
    }
    Ok(true)
}

/// Half-precision (RFC 8949 appendix D).
fn half_to_f64(bits: u16) -> f64 {
    let exponent = i32::from((bits >> 10) & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => mantissa * f64::powi(2.0, -24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * f64::powi(2.0, exponent - 25),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The half-precision bits of a number that fits without loss.
fn f64_to_half(value: f64) -> Option<u16> {
    if value.is_nan() {
        return Some(0x7e00);
    }
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        return Some(sign | 0x7c00);
    }
    if magnitude > 65_504.0 {
        return None;
    }
    // A half is a multiple of 2^-24; below 2^-14 that is also its only form.
    let exponent = if magnitude < f64::powi(2.0, -14) {
        -14
    } else {
        ((magnitude.to_bits() >> 52) as i32) - 1023
    };
    let units = magnitude * f64::powi(2.0, 10 - exponent);
    if units.fract() != 0.0 {
        return None;
    }
    let units = units as u16;
    let bits = if units < 1024 {
        units
    } else {
        (((exponent + 15) as u16) << 10) | (units - 1024)
    };
    Some(sign | bits)
}

impl Value {
    /// The bytes, in preferred serialization (RFC 8949 section 4.1): shortest integers and shortest floats without loss.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        self.encode(&mut encoder);
        encoder.into_writer()
    }

    fn encode(&self, encoder: &mut Encoder<Vec<u8>>) {
        // A vector takes every write, so the results say nothing.
        let _ = match self {
            Value::Unsigned(n) => encoder.u64(*n).map(drop),
            Value::Negative(n) => match i64::try_from(*n) {
                Ok(n) => encoder.i64(-1 - n).map(drop),
                Err(_) => {
                    let writer = encoder.writer_mut();
                    writer.push(0x3b);
                    writer.extend_from_slice(&n.to_be_bytes());
                    Ok(())
                }
            },
            Value::Bytes(bytes) => encoder.bytes(bytes).map(drop),
            Value::Text(text) => encoder.str(text).map(drop),
            Value::Array(items) => {
                let _ = encoder.array(items.len() as u64);
                items.iter().for_each(|item| item.encode(encoder));
                Ok(())
            }
            Value::Map(entries) => {
                let _ = encoder.map(entries.len() as u64);
                for (key, value) in entries {
                    key.encode(encoder);
                    value.encode(encoder);
                }
                Ok(())
            }
            Value::Tag(tag, inner) => {
                let _ = encoder.tag(minicbor::data::Tag::new(*tag));
                inner.encode(encoder);
                Ok(())
            }
            Value::Bool(b) => encoder.bool(*b).map(drop),
            Value::Null => encoder.null().map(drop),
            Value::Undefined => encoder.undefined().map(drop),
            Value::Simple(n) => encoder.simple(*n).map(drop),
            Value::Float(x) => {
                if let Some(half) = f64_to_half(*x) {
                    let writer = encoder.writer_mut();
                    writer.push(0xf9);
                    writer.extend_from_slice(&half.to_be_bytes());
                    Ok(())
                } else if f64::from(*x as f32) == *x {
                    encoder.f32(*x as f32).map(drop)
                } else {
                    encoder.f64(*x).map(drop)
                }
            }
        };
    }

    /// Diagnostic notation (RFC 8949 section 8) on one line; nothing in it can steer a terminal.
    pub(crate) fn diagnostic(&self) -> String {
        let mut out = String::new();
        self.write_flat(&mut out);
        out
    }

    /// Diagnostic notation, broken into indented lines where one line is wider than `width` columns.
    pub(crate) fn diagnostic_block(&self, width: usize) -> String {
        let mut out = String::new();
        self.write_block(&mut out, 0, width);
        out
    }

    fn write_flat(&self, out: &mut String) {
        match self {
            Value::Unsigned(n) => out.push_str(&n.to_string()),
            Value::Negative(n) => out.push_str(&(-1 - i128::from(*n)).to_string()),
            Value::Bytes(bytes) => {
                out.push_str("h'");
                out.push_str(&crate::hex::plain(bytes));
                out.push('\'');
            }
            Value::Text(text) => out.push_str(&terminal::quoted(text)),
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    item.write_flat(out);
                }
                out.push(']');
            }
            Value::Map(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    key.write_flat(out);
                    out.push_str(": ");
                    value.write_flat(out);
                }
                out.push('}');
            }
            Value::Tag(tag, inner) => {
                out.push_str(&format!("{tag}("));
                inner.write_flat(out);
                out.push(')');
            }
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Null => out.push_str("null"),
            Value::Undefined => out.push_str("undefined"),
            Value::Simple(n) => out.push_str(&format!("simple({n})")),
            Value::Float(x) => out.push_str(&float(*x)),
        }
    }

    fn write_block(&self, out: &mut String, indent: usize, width: usize) {
        let mut flat = String::new();
        self.write_flat(&mut flat);
        if flat.chars().count() + indent <= width {
            out.push_str(&flat);
            return;
        }
        let pad = " ".repeat(indent + 2);
        match self {
            Value::Array(items) if !items.is_empty() => {
                out.push_str("[\n");
                for (i, item) in items.iter().enumerate() {
                    out.push_str(&pad);
                    item.write_block(out, indent + 2, width);
                    out.push_str(if i + 1 < items.len() { ",\n" } else { "\n" });
                }
                out.push_str(&" ".repeat(indent));
                out.push(']');
            }
            Value::Map(entries) if !entries.is_empty() => {
                out.push_str("{\n");
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(&pad);
                    key.write_flat(out);
                    out.push_str(": ");
                    value.write_block(out, indent + 2, width);
                    out.push_str(if i + 1 < entries.len() { ",\n" } else { "\n" });
                }
                out.push_str(&" ".repeat(indent));
                out.push('}');
            }
            Value::Tag(tag, inner) => {
                out.push_str(&format!("{tag}("));
                inner.write_block(out, indent, width);
                out.push(')');
            }
            _ => out.push_str(&flat),
        }
    }

    /// The item as JSON, by the advice of RFC 8949 section 6.1: byte strings become base64url text, tags fall away,
    /// what JSON has no word for becomes null, and keys that are no text become their diagnostic notation.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Unsigned(n) => Json::from(*n),
            Value::Negative(n) => match i64::try_from(*n) {
                Ok(n) => Json::from(-1 - n),
                Err(_) => Json::from(-1.0 - *n as f64),
            },
            Value::Bytes(bytes) => Json::from(crate::hex::base64url(bytes)),
            Value::Text(text) => Json::from(text.as_str()),
            Value::Array(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let key = match key {
                            Value::Text(text) => text.clone(),
                            other => other.diagnostic(),
                        };
                        (key, value.to_json())
                    })
                    .collect(),
            ),
            Value::Tag(_, inner) => inner.to_json(),
            Value::Bool(b) => Json::from(*b),
            Value::Null | Value::Undefined | Value::Simple(_) => Json::Null,
            Value::Float(x) => serde_json::Number::from_f64(*x).map_or(Json::Null, Json::Number),
        }
    }

    /// Reads JSON text as a CBOR item: integers stay integers, other numbers become floats, keys keep their order.
    ///
    /// Refused: repeated keys, nesting deeper than [`MAX_NESTING`], anything after the value.
    pub(crate) fn from_json(text: &[u8]) -> Result<Value, serde_json::Error> {
        let value: Value = serde_json::from_slice(text)?;
        if value.depth() > MAX_NESTING {
            return Err(de::Error::custom(format!(
                "nested deeper than {MAX_NESTING} levels"
            )));
        }
        Ok(value)
    }

    fn depth(&self) -> usize {
        match self {
            Value::Array(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Value::Map(entries) => {
                1 + entries
                    .iter()
                    .map(|(key, value)| key.depth().max(value.depth()))
                    .max()
                    .unwrap_or(0)
            }
            Value::Tag(_, inner) => 1 + inner.depth(),
            _ => 0,
        }
    }

    /// The value of a text key in a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Value::Text(text) if text == name))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// Any number as a float.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Unsigned(n) => Some(*n as f64),
            Value::Negative(n) => Some(-1.0 - *n as f64),
            Value::Float(x) => Some(*x),
            // Decimal fraction (RFC 8949 section 3.4.4), which SenML allows.
            Value::Tag(4, inner) => match inner.as_ref() {
                Value::Array(parts) => match parts.as_slice() {
                    [exponent, mantissa] => {
                        let exponent = exponent.as_f64()?;
                        Some(mantissa.as_f64()? * f64::powf(10.0, exponent))
                    }
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// A text item's text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn float(x: f64) -> String {
    if x.is_nan() {
        "NaN".into()
    } else if x.is_infinite() {
        if x > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        }
    } else {
        format!("{x:?}")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(match u64::try_from(n) {
            Ok(n) => Value::Unsigned(n),
            Err(_) => Value::Negative((-1 - n) as u64),
        })
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(n))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float(x))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(Value, Value)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format!(
                    "the key {} occurs twice",
                    terminal::quoted(&key)
                )));
            }
            entries.push((Value::Text(key), map.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
#[path = "cbor/tests.rs"]
mod tests;
