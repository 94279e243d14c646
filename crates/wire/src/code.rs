//! Method and Response Codes (RFC 7252, sections 3 and 12.1).

use core::fmt;

/// A Method Code, a Response Code or the Empty code: one byte, three bits of class and five of detail.
///
/// Any byte is a `Code`. Whether this implementation knows it is said by [`Code::name`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

/// The classes of responses that are in use (RFC 7252, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// 2.xx: the request was received, understood and accepted.
    Success = 2,
    /// 4.xx: the request contains bad syntax or cannot be fulfilled.
    ClientError = 4,
    /// 5.xx: the server failed to fulfil an apparently valid request.
    ServerError = 5,
}

/// Lists the registered codes once: constant, class, detail, name.
macro_rules! codes {
    ($($(#[$meta:meta])* $constant:ident = $class:literal . $detail:literal, $name:literal;)*) => {
        impl Code {
            $($(#[$meta])* pub const $constant: Code = Code(($class << 5) | $detail);)*

            /// The registered name ("GET", "Content"), or `None` for a code that is not known here.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Code::$constant => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// 0.00, a message that is neither request nor response (RFC 7252, section 4.1).
    EMPTY = 0 . 0, "Empty";
    /// 0.01 (RFC 7252, section 5.8.1).
    GET = 0 . 1, "GET";
    /// 0.02 (RFC 7252, section 5.8.2).
    POST = 0 . 2, "POST";
    /// 0.03 (RFC 7252, section 5.8.3).
    PUT = 0 . 3, "PUT";
    /// 0.04 (RFC 7252, section 5.8.4).
    DELETE = 0 . 4, "DELETE";
    /// 0.05 (RFC 8132, section 2).
    FETCH = 0 . 5, "FETCH";
    /// 0.06 (RFC 8132, section 3).
    PATCH = 0 . 6, "PATCH";
    /// 0.07, the idempotent PATCH (RFC 8132, section 3).
    IPATCH = 0 . 7, "iPATCH";
    /// 2.01 (RFC 7252, section 5.9.1.1).
    CREATED = 2 . 1, "Created";
    /// 2.02 (RFC 7252, section 5.9.1.2).
    DELETED = 2 . 2, "Deleted";
    /// 2.03 (RFC 7252, section 5.9.1.3).
    VALID = 2 . 3, "Valid";
    /// 2.04 (RFC 7252, section 5.9.1.4).
    CHANGED = 2 . 4, "Changed";
    /// 2.05 (RFC 7252, section 5.9.1.5).
    CONTENT = 2 . 5, "Content";
    /// 2.31 (RFC 7959, section 2.9.1).
    CONTINUE = 2 . 31, "Continue";
    /// 4.00 (RFC 7252, section 5.9.2.1).
    BAD_REQUEST = 4 . 0, "Bad Request";
    /// 4.01 (RFC 7252, section 5.9.2.2).
    UNAUTHORIZED = 4 . 1, "Unauthorized";
    /// 4.02 (RFC 7252, section 5.9.2.3).
    BAD_OPTION = 4 . 2, "Bad Option";
    /// 4.03 (RFC 7252, section 5.9.2.4).
    FORBIDDEN = 4 . 3, "Forbidden";
    /// 4.04 (RFC 7252, section 5.9.2.5).
    NOT_FOUND = 4 . 4, "Not Found";
    /// 4.05 (RFC 7252, section 5.9.2.6).
    METHOD_NOT_ALLOWED = 4 . 5, "Method Not Allowed";
    /// 4.06 (RFC 7252, section 5.9.2.7).
    NOT_ACCEPTABLE = 4 . 6, "Not Acceptable";
    /// 4.08 (RFC 7959, section 2.9.2).
    REQUEST_ENTITY_INCOMPLETE = 4 . 8, "Request Entity Incomplete";
    /// 4.09 (RFC 8132, section 3.4).
    CONFLICT = 4 . 9, "Conflict";
    /// 4.12 (RFC 7252, section 5.9.2.8).
    PRECONDITION_FAILED = 4 . 12, "Precondition Failed";
    /// 4.13 (RFC 7252, section 5.9.2.9).
    REQUEST_ENTITY_TOO_LARGE = 4 . 13, "Request Entity Too Large";
    /// 4.15 (RFC 7252, section 5.9.2.10).
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15, "Unsupported Content-Format";
    /// 4.22 (RFC 8132, section 3.4).
    UNPROCESSABLE_ENTITY = 4 . 22, "Unprocessable Entity";
    /// 4.29 (RFC 8516).
    TOO_MANY_REQUESTS = 4 . 29, "Too Many Requests";
    /// 5.00 (RFC 7252, section 5.9.3.1).
    INTERNAL_SERVER_ERROR = 5 . 0, "Internal Server Error";
    /// 5.01 (RFC 7252, section 5.9.3.2).
    NOT_IMPLEMENTED = 5 . 1, "Not Implemented";
    /// 5.02 (RFC 7252, section 5.9.3.3).
    BAD_GATEWAY = 5 . 2, "Bad Gateway";
    /// 5.03 (RFC 7252, section 5.9.3.4).
    SERVICE_UNAVAILABLE = 5 . 3, "Service Unavailable";
    /// 5.04 (RFC 7252, section 5.9.3.5).
    GATEWAY_TIMEOUT = 5 . 4, "Gateway Timeout";
    /// 5.05 (RFC 7252, section 5.9.3.6).
    PROXYING_NOT_SUPPORTED = 5 . 5, "Proxying Not Supported";
    /// 5.08 (RFC 8768, section 4).
    HOP_LIMIT_REACHED = 5 . 8, "Hop Limit Reached";
}

impl Code {
    /// The code `class.detail`, or `None` if the class is above 7 or the detail above 31.
    pub const fn new(class: u8, detail: u8) -> Option<Code> {
        if class > 7 || detail > 31 {
            return None;
        }
        Some(Code((class << 5) | detail))
    }

    /// The code in this byte of the header.
    #[inline]
    pub const fn from_u8(byte: u8) -> Code {
        Code(byte)
    }

    /// The byte of the header.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        self.0
    }

    /// The three upper bits, 0 to 7.
    #[inline]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The five lower bits, 0 to 31.
    #[inline]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// Whether this is 0.00.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this is a Method Code, 0.01 to 0.31, known or not.
    #[inline]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Whether this is a Response Code, 2.00 to 5.31, known or not. Class 3 is unassigned but not reserved.
    #[inline]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2..=5)
    }

    /// Whether the class is reserved (1, 6 or 7): such a message is rejected by the message layer
    /// (RFC 7252, sections 4.2 and 4.3), it is no format error.
    #[inline]
    pub const fn is_reserved(self) -> bool {
        matches!(self.class(), 1 | 6 | 7)
    }

    /// The class of a response, or `None` for anything else (and for the unassigned class 3).
    pub const fn response_class(self) -> Option<Class> {
        match self.class() {
            2 => Some(Class::Success),
            4 => Some(Class::ClientError),
            5 => Some(Class::ServerError),
            _ => None,
        }
    }

    /// The code that a recipient acts on: an unknown detail counts as the generic code of its class
    /// (RFC 7252, sections 5.2.1 to 5.2.3 do so for 4.xx and 5.xx; 2.xx has no generic code).
    pub const fn or_generic(self) -> Code {
        match (self.name(), self.response_class()) {
            (None, Some(Class::ClientError)) => Code::BAD_REQUEST,
            (None, Some(Class::ServerError)) => Code::INTERNAL_SERVER_ERROR,
            _ => self,
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

/// "2.05 Content"; only the number if the code is not known.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")?;
        match self.name() {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
