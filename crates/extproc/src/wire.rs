//! The messages of `envoy.service.ext_proc.v3`, with the fields that a picker reads or writes. Other fields (typed
//! metadata) are not declared, so they are skipped without being decoded.
//!
//! Numbers and types follow `external_processor.proto`, `base.proto`, `processing_mode.proto` and `struct.proto` of the
//! Envoy API, version 3. The tests compare them with bytes that Envoy's full definitions encode.
//!
//! Bodies and header values never appear in `Debug` output.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// A message from Envoy.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProcessingRequest {
    /// The event.
    #[prost(oneof = "Event", tags = "2, 3, 4, 5, 6, 7")]
    pub request: Option<Event>,
    /// The encoded [`Metadata`] of the forwarded namespaces. Envoy sends it with every chunk of a body, but only headers
    /// need it, so it is decoded on demand.
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub metadata_context: Option<Bytes>,
    /// Attributes that the filter is configured to send, by its name.
    #[prost(btree_map = "string, message", tag = "9")]
    pub attributes: BTreeMap<String, Struct>,
    /// Whether Envoy ignores responses.
    #[prost(bool, tag = "10")]
    pub observability_mode: bool,
    /// The body modes, on the first message of a stream.
    #[prost(message, optional, tag = "11")]
    pub protocol_config: Option<ProtocolConfiguration>,
}

impl ProcessingRequest {
    /// The decoded metadata.
    ///
    /// # Errors
    /// The bytes are not a [`Metadata`] message.
    pub fn metadata(&self) -> Result<Option<Metadata>, prost::DecodeError> {
        self.metadata_context.clone().map(prost::Message::decode).transpose()
    }

    /// The attribute `name`, where the filter sends it.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.values().find_map(|attributes| attributes.fields.get(name)?.as_text())
    }

    /// The same message with this metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: &Metadata) -> Self {
        Self { metadata_context: Some(prost::Message::encode_to_vec(metadata).into()), ..self }
    }
}

/// One part of a request or response.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Event {
    /// The request's headers.
    #[prost(message, tag = "2")]
    RequestHeaders(HttpHeaders),
    /// The response's headers.
    #[prost(message, tag = "3")]
    ResponseHeaders(HttpHeaders),
    /// A chunk of the request's body.
    #[prost(message, tag = "4")]
    RequestBody(HttpBody),
    /// A chunk of the response's body.
    #[prost(message, tag = "5")]
    ResponseBody(HttpBody),
    /// The request's trailers.
    #[prost(message, tag = "6")]
    RequestTrailers(HttpTrailers),
    /// The response's trailers.
    #[prost(message, tag = "7")]
    ResponseTrailers(HttpTrailers),
}

/// The filter's body modes.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ProtocolConfiguration {
    /// `BodySendMode` of request bodies.
    #[prost(int32, tag = "1")]
    pub request_body_mode: i32,
    /// `BodySendMode` of response bodies.
    #[prost(int32, tag = "2")]
    pub response_body_mode: i32,
    /// Whether bodies are sent before the response to the headers.
    #[prost(bool, tag = "3")]
    pub send_body_without_waiting_for_header_response: bool,
}

/// Request or response headers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpHeaders {
    /// The fields, with names in lower case, including pseudo-headers.
    #[prost(message, optional, tag = "1")]
    pub headers: Option<HeaderMap>,
    /// Whether neither body nor trailers follow.
    #[prost(bool, tag = "3")]
    pub end_of_stream: bool,
}

/// A chunk of a body.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct HttpBody {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    /// Whether neither further chunks nor trailers follow.
    #[prost(bool, tag = "2")]
    pub end_of_stream: bool,
}

/// Trailers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpTrailers {
    /// The fields.
    #[prost(message, optional, tag = "1")]
    pub trailers: Option<HeaderMap>,
}

/// Header fields in order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderMap {
    /// The fields. A name may occur more than once.
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderValue>,
}

/// One header field.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct HeaderValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value in old gateways; empty where `raw_value` is used.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: Bytes,
}

impl HeaderValue {
    /// The value, from either field.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        if self.raw_value.is_empty() { &self.value } else { &self.raw_value }
    }
}

/// Dynamic metadata by namespace.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metadata {
    /// The namespaces.
    #[prost(btree_map = "string, message", tag = "1")]
    pub filter_metadata: BTreeMap<String, Struct>,
}

/// A JSON object.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    /// Its members.
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

/// A JSON value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// The value.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

/// The kinds of JSON value.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// `null`; the number is always 0.
    #[prost(int32, tag = "1")]
    Null(i32),
    /// A number.
    #[prost(double, tag = "2")]
    Number(f64),
    /// A string.
    #[prost(string, tag = "3")]
    Text(String),
    /// `true` or `false`.
    #[prost(bool, tag = "4")]
    Bool(bool),
    /// An object.
    #[prost(message, tag = "5")]
    Struct(Struct),
    /// An array.
    #[prost(message, tag = "6")]
    List(ListValue),
}

/// A JSON array.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListValue {
    /// Its elements.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

impl Value {
    /// A string.
    #[must_use]
    pub const fn text(text: String) -> Self {
        Self { kind: Some(Kind::Text(text)) }
    }

    /// The string; `None` for another kind of value.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Some(Kind::Text(text)) = &self.kind { Some(text) } else { None }
    }
}

impl Struct {
    /// An object with one member.
    #[must_use]
    pub fn of(name: &str, kind: Kind) -> Self {
        Self { fields: BTreeMap::from([(name.to_owned(), Value { kind: Some(kind) })]) }
    }
}

/// A message to Envoy.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProcessingResponse {
    /// The response to an event.
    #[prost(oneof = "Reply", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub response: Option<Reply>,
    /// Dynamic metadata to set, by namespace.
    #[prost(message, optional, tag = "8")]
    pub dynamic_metadata: Option<Struct>,
}

/// The response to one or several events.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Reply {
    /// To the request's headers.
    #[prost(message, tag = "1")]
    RequestHeaders(HeadersResponse),
    /// To the response's headers.
    #[prost(message, tag = "2")]
    ResponseHeaders(HeadersResponse),
    /// To the request's body.
    #[prost(message, tag = "3")]
    RequestBody(BodyResponse),
    /// To the response's body.
    #[prost(message, tag = "4")]
    ResponseBody(BodyResponse),
    /// To the request's trailers.
    #[prost(message, tag = "5")]
    RequestTrailers(TrailersResponse),
    /// To the response's trailers.
    #[prost(message, tag = "6")]
    ResponseTrailers(TrailersResponse),
    /// A complete response to the client.
    #[prost(message, tag = "7")]
    Immediate(ImmediateResponse),
}

/// The response to headers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeadersResponse {
    /// The changes.
    #[prost(message, optional, tag = "1")]
    pub response: Option<CommonResponse>,
}

/// The response to a chunk of a body.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BodyResponse {
    /// The changes.
    #[prost(message, optional, tag = "1")]
    pub response: Option<CommonResponse>,
}

/// The response to trailers, which are never changed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TrailersResponse {}

/// Changes to a request or response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CommonResponse {
    /// Changes to header fields.
    #[prost(message, optional, tag = "2")]
    pub header_mutation: Option<HeaderMutation>,
    /// Changes to the body.
    #[prost(message, optional, tag = "3")]
    pub body_mutation: Option<BodyMutation>,
    /// Whether Envoy selects the route again.
    #[prost(bool, tag = "5")]
    pub clear_route_cache: bool,
}

/// Changes to header fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderMutation {
    /// Fields to set.
    #[prost(message, repeated, tag = "1")]
    pub set_headers: Vec<HeaderValueOption>,
    /// Names of fields to remove.
    #[prost(string, repeated, tag = "2")]
    pub remove_headers: Vec<String>,
}

/// A header field to set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderValueOption {
    /// The field.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// `HeaderAppendAction`.
    #[prost(int32, tag = "3")]
    pub append_action: i32,
}

impl HeaderValueOption {
    /// `OVERWRITE_IF_EXISTS_OR_ADD`.
    const OVERWRITE: i32 = 2;

    /// Sets a field and replaces all fields of that name.
    #[must_use]
    pub fn set(name: &str, value: Bytes) -> Self {
        let header = HeaderValue { key: name.to_owned(), value: Bytes::new(), raw_value: value };
        Self { header: Some(header), append_action: Self::OVERWRITE }
    }
}

/// A change to a body.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BodyMutation {
    /// The change.
    #[prost(oneof = "Mutation", tags = "1, 2, 3")]
    pub mutation: Option<Mutation>,
}

/// The kinds of change to a body.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
#[prost(skip_debug)]
pub enum Mutation {
    /// Replace the body with these bytes.
    #[prost(bytes = "bytes", tag = "1")]
    Body(Bytes),
    /// Remove the body.
    #[prost(bool, tag = "2")]
    ClearBody(bool),
    /// In full duplex: the next chunk of the body to forward.
    #[prost(message, tag = "3")]
    Streamed(StreamedBodyResponse),
}

/// A chunk of a body to forward.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct StreamedBodyResponse {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    /// Whether neither further chunks nor trailers follow.
    #[prost(bool, tag = "2")]
    pub end_of_stream: bool,
}

/// A response to the client from the picker itself.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImmediateResponse {
    /// The HTTP status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    /// The header fields.
    #[prost(message, optional, tag = "2")]
    pub headers: Option<HeaderMutation>,
    /// The body.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
    /// A reason for the access log.
    #[prost(string, tag = "5")]
    pub details: String,
}

/// An HTTP status.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HttpStatus {
    /// The code.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpBody({} bytes, end_of_stream: {})", self.body.len(), self.end_of_stream)
    }
}

impl fmt::Debug for StreamedBodyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamedBodyResponse({} bytes, end_of_stream: {})", self.body.len(), self.end_of_stream)
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderValue({}, {} bytes)", self.key, self.bytes().len())
    }
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(body) => write!(f, "Body({} bytes)", body.len()),
            Self::ClearBody(clear) => write!(f, "ClearBody({clear})"),
            Self::Streamed(piece) => piece.fmt(f),
        }
    }
}
