//! The response half of a session. Responses are observed and never changed.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pointsman_exchange::ResponseEnd;

use crate::wire::{self, Event, HttpBody, HttpHeaders, ProcessingResponse};

use super::origin::{Delivery, Origin};
use super::reply::{self, Side};
use super::request::pass;
use super::{BodyMode, Guard, Next, Pool, ProtocolViolation, RequestHalf, ResponseHalf, Session};

/// Header fields that determine how a body is read.
const BODY_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::CONTENT_ENCODING];

impl<P: Pool> Session<P> {
    /// Processes a message of the response. `delivery` is what the gateway says of it besides.
    pub(super) fn respond(
        &mut self,
        event: Event,
        delivery: Delivery<'_>,
        out: &mut Vec<ProcessingResponse>,
    ) -> Next {
        match event {
            Event::ResponseHeaders(headers) => self.response_headers(headers, delivery, out),
            Event::ResponseBody(body) => {
                self.response_body(body, out);
                Next::Read
            }
            Event::ResponseTrailers(_) => {
                out.push(reply::continue_trailers(Side::Response));
                self.response_ended();
                Next::Read
            }
            Event::RequestHeaders(_) | Event::RequestBody(_) | Event::RequestTrailers(_) => Next::Read,
        }
    }

    fn response_headers(
        &mut self,
        message: HttpHeaders,
        delivery: Delivery<'_>,
        out: &mut Vec<ProcessingResponse>,
    ) -> Next {
        if self.response != ResponseHalf::Expected {
            return Next::Abort(ProtocolViolation::ResponseHeadersRepeated);
        }
        self.response = ResponseHalf::Passing;
        if matches!(self.request, RequestHalf::Buffering(_)) {
            self.request = RequestHalf::Ended; // The gateway answered by itself before the end of the body.
        }
        let end_of_stream = message.end_of_stream;
        self.observe_headers(message, delivery);
        out.push(reply::continue_headers(Side::Response));
        if end_of_stream {
            self.response_ended();
        }
        Next::Read
    }

    fn observe_headers(&mut self, message: HttpHeaders, delivery: Delivery<'_>) {
        let fields = message.headers.map(|map| map.headers).unwrap_or_default();
        let status = fields.iter().find(|field| field.key == ":status");
        let status = status.and_then(|field| StatusCode::from_bytes(field.bytes()).ok());
        self.status = status.map_or(0, |status| status.as_u16());
        let reads_body = self.modes().response != BodyMode::Absent;
        let served = delivery.served.and_then(|address| self.pool.endpoint_at(address));
        let Some(serving) = &mut self.serving else { return };
        if let Some(endpoint) = served {
            serving.guard.served_by(endpoint);
        }
        if let Some(status) = status {
            let names = fields.iter().map(|field| field.key.as_str());
            serving.origin = Origin::of(status, names, delivery, &self.plane);
            // Without its content-type, a body that is not sent to the picker is not taken for a truncated one.
            let headers = if reads_body { body_headers(fields) } else { HeaderMap::new() };
            serving.response.head(status, &headers);
        }
    }

    fn response_body(&mut self, message: HttpBody, out: &mut Vec<ProcessingResponse>) {
        let mode = self.modes().response;
        if self.response == ResponseHalf::Ended {
            if mode != BodyMode::FullDuplex {
                out.push(reply::continue_body(Side::Response));
            }
            return;
        }
        self.response_bytes = self.response_bytes.saturating_add(message.body.len() as u64);
        if let Some(serving) = &mut self.serving {
            let facts = serving.response.chunk(&message.body);
            if facts.first_token {
                self.first_token = true;
                serving.guard.first_token();
            }
            if facts.output_tokens > 0 {
                serving.guard.progress(facts.output_tokens);
            }
        }
        let end_of_stream = message.end_of_stream;
        pass(mode, Side::Response, message, out);
        if end_of_stream {
            self.response_ended();
        }
    }

    fn response_ended(&mut self) {
        self.response = ResponseHalf::Ended;
        self.finish(ResponseEnd::Clean);
    }
}

fn body_headers(fields: Vec<wire::HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(BODY_HEADERS.len());
    for field in fields {
        let name = BODY_HEADERS.iter().find(|name| name.as_str() == field.key);
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(field.bytes().clone())) {
            headers.append(name.clone(), value);
        }
    }
    headers
}
