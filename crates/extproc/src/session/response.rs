//! The response's half of a session. Nothing of a response is ever changed.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pointsman_exchange::AnswerEnd;

use crate::wire::{self, Event, HttpBody, HttpHeaders, ProcessingResponse};

use super::reply::{self, Side};
use super::request::pass;
use super::{BodyMode, Guard, Next, OutOfOrder, Pool, RequestHalf, ResponseHalf, Session, status};

/// The fields that tell how a body is read.
const READ: [HeaderName; 2] = [header::CONTENT_TYPE, header::CONTENT_ENCODING];

impl<P: Pool> Session<P> {
    /// Takes a message of the response. `served` is the address that the gateway sent the request to.
    pub(super) fn respond(
        &mut self,
        event: Event,
        served: Option<&str>,
        out: &mut Vec<ProcessingResponse>,
    ) -> Next {
        match event {
            Event::ResponseHeaders(headers) => self.response_headers(headers, served, out),
            Event::ResponseBody(body) => {
                self.response_body(body, out);
                Next::Read
            }
            Event::ResponseTrailers(_) => {
                out.push(reply::go_on_with_trailers(Side::Response));
                self.response_ended();
                Next::Read
            }
            Event::RequestHeaders(_) | Event::RequestBody(_) | Event::RequestTrailers(_) => Next::Read,
        }
    }

    fn response_headers(
        &mut self,
        message: HttpHeaders,
        served: Option<&str>,
        out: &mut Vec<ProcessingResponse>,
    ) -> Next {
        if self.response != ResponseHalf::Expected {
            return Next::Broken(OutOfOrder::ResponseHeadersRepeated);
        }
        self.response = ResponseHalf::Passing;
        if matches!(self.request, RequestHalf::Holding(_)) {
            self.request = RequestHalf::Ended; // The gateway answered by itself, before the body was whole.
        }
        let end_of_stream = message.end_of_stream;
        self.watch_head(message, served);
        out.push(reply::go_on_with_head(Side::Response));
        if end_of_stream {
            self.response_ended();
        }
        Next::Read
    }

    fn watch_head(&mut self, message: HttpHeaders, served: Option<&str>) {
        let fields = message.headers.map(|map| map.headers).unwrap_or_default();
        let code = fields.iter().find(|field| field.key == ":status").and_then(|field| status(field.bytes()));
        self.status = code.map_or(0, |code| code.as_u16());
        let reads_body = self.modes().response != BodyMode::Absent;
        let served = served.and_then(|address| self.pool.at(address));
        let Some(serving) = &mut self.serving else { return };
        if let Some(endpoint) = served {
            serving.guard.served_by(endpoint);
        }
        if let Some(code) = code {
            // Of a body that does not come nothing can be told, so it must not look like one cut short.
            let headers = if reads_body { telling(fields) } else { HeaderMap::new() };
            serving.answer.head(code, &headers);
        }
    }

    fn response_body(&mut self, message: HttpBody, out: &mut Vec<ProcessingResponse>) {
        let mode = self.modes().response;
        if self.response == ResponseHalf::Ended {
            if mode != BodyMode::FullDuplex {
                out.push(reply::go_on_with_body(Side::Response));
            }
            return;
        }
        self.response_bytes = self.response_bytes.saturating_add(message.body.len() as u64);
        if let Some(serving) = &mut self.serving {
            let facts = serving.answer.chunk(&message.body);
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
        self.finish(AnswerEnd::Clean);
    }
}

fn telling(fields: Vec<wire::HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(READ.len());
    for field in fields {
        let name = READ.iter().find(|name| name.as_str() == field.key);
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(field.bytes().clone())) {
            headers.append(name.clone(), value);
        }
    }
    headers
}
