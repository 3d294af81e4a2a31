//! How `object_store` reaches a server: blocking requests on threads of their own.

use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use tokio::sync::{mpsc, oneshot};
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Timeout};

use super::http::{Roots, agent};
use super::waiting::CONNECT;

/// Bytes of an answer that are handed on at a time.
const PIECE: usize = 64 << 10;
/// Such pieces wait for whoever reads them.
const PIECES: usize = 4;
/// Most bytes of an answer that is not an object: `object_store` takes lists and errors as long as they are.
const MOST_WORDS: u64 = 16 << 20;

/// Makes what speaks HTTP.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Roots);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let value = |key: ClientConfigKey| options.get_config_value(&key);
        let allow_http = value(ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let connect = value(ClientConfigKey::ConnectTimeout)
            .and_then(|time| humantime::parse_duration(&time).ok())
            .unwrap_or(CONNECT);
        Ok(HttpClient::new(Service(agent(&self.0, allow_http, connect))))
    }
}

#[derive(Debug)]
struct Service(Agent);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.0.clone();
        let (say, said) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            exchange(&agent, Request::from_parts(parts, body), say);
        });
        let (parts, pieces) = said
            .await
            .map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))??
            .into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(pieces)))
    }
}

type Head = Result<Response<Pieces>, HttpError>;

/// Asks, tells the head of the answer, and hands on the rest as long as somebody wants it.
fn exchange(agent: &Agent, request: Request<Bytes>, say: oneshot::Sender<Head>) {
    let is_object = *request.method() == Method::GET && request.uri().query().is_none();
    let (parts, body) = request.into_parts();
    let answer = if matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) {
        agent.run(Request::from_parts(parts, ()))
    } else {
        agent.run(Request::from_parts(parts, &body[..]))
    };
    let (head, body) = match answer {
        Ok(answer) => answer.into_parts(),
        Err(error) => {
            // Nobody is told where nobody waits any more.
            let _ = say.send(Err(failed(error)));
            return;
        }
    };
    let most = if is_object && head.status.is_success() { u64::MAX } else { MOST_WORDS };
    let (hand_on, pieces) = mpsc::channel(PIECES);
    if say.send(Ok(Response::from_parts(head, Pieces(pieces)))).is_err() {
        return;
    }
    let mut reader = body.into_with_config().limit(most).reader();
    let mut piece = vec![0; PIECE];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => Ok(Bytes::copy_from_slice(&piece[..n])),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(failed(error.into())),
        };
        let is_over = read.is_err();
        if hand_on.blocking_send(read).is_err() || is_over {
            return;
        }
    }
}

/// The pieces of an answer, as they come.
struct Pieces(mpsc::Receiver<Result<Bytes, HttpError>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// An error as `object_store` sorts them: what kind it is decides whether it tries again.
fn failed(error: ureq::Error) -> HttpError {
    use std::io::ErrorKind as Io;
    let kind = match &error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Protocol(_) => HttpErrorKind::Decode,
        ureq::Error::Io(error) => match error.kind() {
            Io::ConnectionRefused
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::AddrNotAvailable
            | Io::NotConnected => HttpErrorKind::Connect,
            Io::TimedOut => HttpErrorKind::Timeout,
            Io::ConnectionAborted | Io::ConnectionReset | Io::BrokenPipe | Io::UnexpectedEof => {
                HttpErrorKind::Interrupted
            }
            _ => HttpErrorKind::Unknown,
        },
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
