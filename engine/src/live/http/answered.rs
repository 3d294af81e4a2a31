//! Responses: what all of them have in common.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

/// What is sent: a whole, or pieces as they come.
pub(super) enum Sent {
    Whole(Full<Bytes>),
    Pieces(Receiver<Bytes>),
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Pieces(pieces) => {
                pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A response.
pub(super) type Answered = Response<Sent>;

/// Headers of every response: nothing is kept, guessed or shown within other pages.
const ALWAYS: [(&str, &str); 4] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A response with a body of a type.
pub(super) fn answered(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answered {
    dressed(status, kind, Sent::Whole(Full::new(body.into())))
}

/// A response whose body comes in pieces.
pub(super) fn streamed(kind: &'static str, pieces: Receiver<Bytes>) -> Answered {
    dressed(StatusCode::OK, kind, Sent::Pieces(pieces))
}

fn dressed(status: StatusCode, kind: &'static str, body: Sent) -> Answered {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS.into_iter().chain([("content-type", kind)]) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Adds a header.
pub(super) fn with(mut response: Answered, name: &'static str, value: &str) -> Answered {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

/// An object of JSON.
pub(super) fn object(status: StatusCode, value: &serde_json::Value) -> Answered {
    answered(status, "application/json", format!("{value}\n"))
}

/// What is wrong, as the Open Inference Protocol has it.
pub(super) fn wrong(status: StatusCode, why: &str) -> Answered {
    object(status, &json!({ "error": why }))
}
