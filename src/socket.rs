//! The WebSocket relay and the Engine.IO / Socket.IO guard.
//!
//! Everything here but [`relay`] is sans-I/O. From the outside in: [`relay`] moves bytes between
//! the two legs of a socket; [`lane`] cuts one direction of them into frames ([`frame`]) and
//! messages; [`guard`] judges the messages of an Engine.IO connection, [`polling`] the bodies of
//! its other transport ([`payload`]); both share a [`conversation`], which knows the Socket.IO packets
//! ([`socketio`], [`json`]) that have passed, and at what [`pace`]. [`engineio`] says what is Engine.IO at all and
//! [`seal`] binds its ids to who opened them. [`quota`] says how many may be open.

pub mod conversation;
pub mod engineio;
pub mod frame;
pub mod guard;
pub mod json;
pub mod lane;
pub mod notice;
pub mod pace;
pub mod payload;
pub mod polling;
pub mod quota;
pub mod relay;
pub mod seal;
pub mod socketio;

/// Which way a message goes. Both are judged; they differ in what an honest sender emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the visitor to the tenant.
    Up,
    /// From the tenant to the visitor.
    Down,
}

/// Why a message is not relayed and its socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not RFC 6455. Close 1002.
    #[error("not a WebSocket frame: {0}")]
    Frame(&'static str),
    /// Text that is no UTF-8. Close 1007.
    #[error("text that is not UTF-8")]
    Utf8,
    /// Larger than is let through. Close 1009.
    #[error("a message too large")]
    TooLarge,
    /// More packets in one polling body than are let through. 413.
    #[error("too many packets in one body")]
    TooManyPackets,
    /// Arrays and objects in one another, deeper than is let through. Close 1008.
    #[error("a message nested too deep")]
    TooDeep,
    /// More attachments of one message than are let through. Close 1008.
    #[error("too many attachments of one message")]
    TooManyAttachments,
    /// More messages than are let through, and it went on after it was told. Close 1008.
    #[error("too many messages")]
    TooFast,
    /// Something no official Engine.IO or Socket.IO encoder emits, or not at this moment. Close 1008.
    #[error("not in the grammar: {0}")]
    Grammar(&'static str),
}

impl From<json::NotJson> for Refused {
    fn from(why: json::NotJson) -> Self {
        match why {
            json::NotJson::Malformed => Self::Grammar("JSON"),
            json::NotJson::TooDeep => Self::TooDeep,
        }
    }
}

impl Refused {
    /// The close code that says so (RFC 6455, section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Frame(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooLarge | Self::TooManyPackets => 1009,
            Self::TooDeep | Self::TooManyAttachments | Self::TooFast | Self::Grammar(_) => 1008,
        }
    }

    /// The limit that was passed, as it is counted (`portcullis_socket_limits`); `None`: none was.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Self::TooLarge => Some("message_size"),
            Self::TooManyPackets => Some("polling_packets"),
            Self::TooDeep => Some("nesting"),
            Self::TooManyAttachments => Some("attachments"),
            Self::TooFast => Some("flood"),
            Self::Frame(_) | Self::Utf8 | Self::Grammar(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_a_limit_is_counted_as_one() {
        let limits = [
            Refused::TooLarge,
            Refused::TooManyPackets,
            Refused::TooDeep,
            Refused::TooManyAttachments,
            Refused::TooFast,
        ];
        let mut names: Vec<_> = limits.iter().filter_map(|it| it.limit()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "attachments",
                "flood",
                "message_size",
                "nesting",
                "polling_packets"
            ]
        );
        for other in [Refused::Utf8, Refused::Grammar("JSON")] {
            assert_eq!(other.limit(), None);
        }
    }
}
