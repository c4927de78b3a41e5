//! Why a head is refused.

use crate::limits::{
    CONNECTION_OPTIONS_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, METHOD_BYTES_MAX, TARGET_BYTES_MAX,
};

/// Why a head is refused; the message is meant for whoever wrote the peer.
///
/// Where the next message begins is unknown after a refused head: the connection is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeadError {
    // What any head may get wrong.
    /// The head is longer than [`HEAD_BYTES_MAX`].
    #[error("the message head is longer than {HEAD_BYTES_MAX} bytes")]
    TooLarge,
    /// There are more fields than [`HEAD_FIELDS_MAX`].
    #[error("the message head has more than {HEAD_FIELDS_MAX} fields")]
    TooManyFields,
    /// The bytes are not one whole head, from its start line to its empty line.
    #[error("the message head is not complete")]
    Incomplete,
    /// There is a control byte, such as NUL, ESC or DEL.
    #[error("the message head has a control byte")]
    ControlByte,
    /// A CR is not followed by LF.
    #[error("the message head has a CR without LF")]
    BareCr,
    /// A line ends with LF alone.
    #[error("the message head has an LF without CR; lines end with CRLF")]
    BareLf,
    /// A field line begins with white space, which once continued the line before it.
    #[error("a header field is folded over several lines")]
    FoldedField,
    /// A field line begins with its colon.
    #[error("a header field has no name")]
    EmptyFieldName,
    /// There is white space between a field's name and its colon.
    #[error("a header field has white space before its colon")]
    SpaceBeforeColon,
    /// A field line has no colon, or its name is not a token.
    #[error("a header field line is not `name: value`")]
    FieldLine,
    /// There are more `Connection` options than [`CONNECTION_OPTIONS_MAX`].
    #[error("the Connection header fields have more than {CONNECTION_OPTIONS_MAX} options")]
    TooManyConnectionOptions,
    /// `Content-Length` is given more than once, be it the same.
    #[error("Content-Length is given more than once")]
    RepeatedContentLength,
    /// `Content-Length` is not a decimal number that fits in 64 bits.
    #[error("Content-Length is not a decimal number, or is too large")]
    ContentLength,
    /// `Transfer-Encoding` is given more than once.
    #[error("Transfer-Encoding is given more than once")]
    RepeatedTransferEncoding,
    /// `Transfer-Encoding` is anything else than `chunked`.
    #[error("Transfer-Encoding is something else than `chunked`")]
    TransferEncoding,
    /// `Transfer-Encoding` stands in a message of HTTP/1.0, which has none.
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    TransferEncodingInHttp10,
    /// Both `Transfer-Encoding` and `Content-Length` are given.
    #[error("Transfer-Encoding and Content-Length exclude each other")]
    TransferEncodingWithContentLength,
    /// A field is called `Content_Length` or `Transfer_Encoding`, which some readers take for
    /// framing.
    #[error("a header field name looks like Content-Length or Transfer-Encoding, with `_` for `-`")]
    FramingLookalike,

    // Requests.
    /// More than one empty line stands before the request line.
    #[error("there is more than one empty line before the request line")]
    EmptyLines,
    /// The method is not a token, or is longer than [`METHOD_BYTES_MAX`].
    #[error("the method is not a token of at most {METHOD_BYTES_MAX} bytes; is this HTTP?")]
    Method,
    /// The request line is not three parts with one space between them.
    #[error("the request line is not `METHOD target HTTP/1.1` with single spaces")]
    RequestLine,
    /// The target is longer than [`TARGET_BYTES_MAX`].
    #[error("the request target is longer than {TARGET_BYTES_MAX} bytes")]
    TargetTooLong,
    /// The target has a byte that must be percent-encoded, or a `%` without two hexadecimal digits.
    #[error("the request target has a fragment, or a character that must be percent-encoded")]
    TargetByte,
    /// The target has none of the four forms of RFC 9112 §3.2, or one its method does not allow.
    #[error("the request target is neither a path nor a URL that this method may have")]
    TargetForm,
    /// The version is not spelt as one.
    #[error("the HTTP version is malformed")]
    Version,
    /// The version is none we speak.
    #[error("this HTTP version is not supported; use HTTP/1.1")]
    UnsupportedVersion,
    /// A request of HTTP/1.1 has no `Host`.
    #[error("Host is missing")]
    MissingHost,
    /// There is more than one `Host`.
    #[error("Host is given more than once")]
    RepeatedHost,
    /// `Host` is not `host` or `host:port`.
    #[error("Host is not `host` or `host:port`")]
    Host,
    /// `Host` names another server than the target does.
    #[error("Host and the authority of the request target differ")]
    HostContradictsTarget,
    /// `Expect` asks for something else than `100-continue`.
    #[error("Expect asks for something else than `100-continue`")]
    Expectation,

    // Responses.
    /// The status line is not `HTTP/1.1 nnn reason`.
    #[error("the status line is not `HTTP/1.1 nnn reason`")]
    StatusLine,
    /// The status is not from 100 to 599.
    #[error("the status code is not from 100 to 599")]
    Status,
    /// A response that cannot have a body (1xx, 204) has a `Transfer-Encoding`.
    #[error("a response without a body has a Transfer-Encoding")]
    BodyForbidden,
}

impl HeadError {
    /// The status that answers a request with this fault. A response's faults are answered with
    /// 502, by the caller.
    pub const fn status(&self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::TooLarge | Self::TooManyFields | Self::TooManyConnectionOptions => 431,
            Self::UnsupportedVersion => 505,
            Self::Incomplete
            | Self::ControlByte
            | Self::BareCr
            | Self::BareLf
            | Self::FoldedField
            | Self::EmptyFieldName
            | Self::SpaceBeforeColon
            | Self::FieldLine
            | Self::RepeatedContentLength
            | Self::ContentLength
            | Self::RepeatedTransferEncoding
            | Self::TransferEncoding
            | Self::TransferEncodingInHttp10
            | Self::TransferEncodingWithContentLength
            | Self::FramingLookalike
            | Self::EmptyLines
            | Self::Method
            | Self::RequestLine
            | Self::TargetByte
            | Self::TargetForm
            | Self::Version
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::Host
            | Self::HostContradictsTarget
            | Self::StatusLine
            | Self::Status
            | Self::BodyForbidden => 400,
        }
    }
}
