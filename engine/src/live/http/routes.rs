//! Which request is answered how.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answered::{Answered, answered, object, streamed, with, wrong};
use super::feed::Feed;
use super::guard::{Refusal, Wish};
use super::infer::{INPUT, infer};
use super::metrics::{Beside, text};
use super::page;
use super::rows::{self, Taken};
use super::site::Site;
use crate::models::{BY_HAND, Models};

/// Bytes of the longest body.
const MOST_BYTES: usize = 8 << 20;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Requests that the run works on at a time; one more is to come again later.
pub(super) const MOST_AT_WORK: usize = 4;

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) site: Arc<Site>,
    pub(super) feed: Arc<Feed>,
    /// Places of requests that the run works on.
    pub(super) places: Arc<Semaphore>,
}

/// What is asked for.
enum Route {
    Page,
    Metrics,
    Events,
    Live,
    Ready,
    About,
    Model,
    Infer,
    Rows,
    Labels,
    Promote,
    Rollback,
}

impl Route {
    /// By a path; nothing where there is none.
    fn of(path: &str, name: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/v2/models/") {
            return match rest.strip_prefix(name)? {
                "" => Some(Self::Model),
                "/ready" => Some(Self::Ready),
                "/infer" => Some(Self::Infer),
                _ => None,
            };
        }
        Some(match path {
            "/" => Self::Page,
            "/metrics" => Self::Metrics,
            "/events" => Self::Events,
            "/v2" => Self::About,
            "/v2/health/live" => Self::Live,
            "/v2/health/ready" => Self::Ready,
            "/rows" => Self::Rows,
            "/labels" => Self::Labels,
            "/promote" => Self::Promote,
            "/rollback" => Self::Rollback,
            _ => return None,
        })
    }

    /// What one wants who asks for it.
    fn wish(&self) -> Wish {
        match self {
            Self::Events => Wish::Watch,
            Self::Infer | Self::Rows => Wish::Feed,
            Self::Labels | Self::Promote | Self::Rollback => Wish::Change,
            _ => Wish::Look,
        }
    }

    fn is_post(&self) -> bool {
        matches!(self.wish(), Wish::Feed | Wish::Change)
    }
}

/// Answers a request.
pub(super) async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Answered {
    let site = &server.site;
    let Some(route) = Route::of(request.uri().path(), &site.name) else {
        // Who may not look learns nothing of what there is.
        return match site.guard.check(Wish::Look, request.headers()) {
            Ok(()) => wrong(StatusCode::NOT_FOUND, "there is nothing at this path"),
            Err(Refusal(status, why)) => wrong(status, why),
        };
    };
    if let Err(Refusal(status, why)) = site.guard.check(route.wish(), request.headers()) {
        let refused = wrong(status, why);
        let is_unknown = status == StatusCode::UNAUTHORIZED;
        return if is_unknown { with(refused, "www-authenticate", "Bearer") } else { refused };
    }
    let method = request.method();
    let goes = if route.is_post() {
        method == Method::POST
    } else {
        method == Method::GET || method == Method::HEAD
    };
    if !goes {
        let allowed = if route.is_post() { "POST" } else { "GET, HEAD" };
        let refused = wrong(StatusCode::METHOD_NOT_ALLOWED, &format!("this is for {allowed}"));
        return with(refused, "allow", allowed);
    }
    match route {
        Route::Page => page::page(),
        Route::Metrics => {
            answered(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics(site))
        }
        Route::Events => match server.feed.join(site) {
            Some(pieces) => streamed("text/event-stream; charset=utf-8", pieces),
            None => busy("too many look at the same time"),
        },
        Route::Live => object(StatusCode::OK, &json!({ "live": true })),
        Route::Ready => object(StatusCode::OK, &json!({ "ready": true })),
        Route::About => object(
            StatusCode::OK,
            &json!({ "name": "edgectl", "version": env!("CARGO_PKG_VERSION"), "extensions": [] }),
        ),
        Route::Model => object(StatusCode::OK, &of_model(site)),
        _ => work(server, route, request).await,
    }
}

/// What takes a moment, and may wait for the run.
async fn work(server: Arc<Server>, route: Route, request: Request<Incoming>) -> Answered {
    let Ok(place) = Arc::clone(&server.places).try_acquire_owned() else {
        return busy("too many requests at the same time");
    };
    let ends =
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "end"));
    let taken = match route {
        Route::Labels => Taken::Labels,
        _ => Taken::Rows(server.site.guard.knows(request.headers())),
    };
    let body = match body(request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let done = spawn_blocking(move || {
        let _place = place;
        let site = &server.site;
        match route {
            Route::Infer => infer(site, &body),
            Route::Rollback => roll_back(site),
            _ => rows::take(site, &body, taken, ends),
        }
    });
    done.await.unwrap_or_else(|_| wrong(StatusCode::INTERNAL_SERVER_ERROR, "it failed"))
}

fn busy(why: &str) -> Answered {
    with(wrong(StatusCode::SERVICE_UNAVAILABLE, why), "retry-after", "1")
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Answered> {
    if request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is packed: send it plain"));
    }
    let body = Limited::new(request.into_body(), MOST_BYTES);
    match timeout(BODY_TIME, body.collect()).await {
        Err(_) => Err(wrong(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = format!("longer than {MOST_BYTES} bytes: send it in parts");
            Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, &why))
        }
        Ok(Err(_)) => Err(wrong(StatusCode::BAD_REQUEST, "the body ended too early")),
    }
}

fn metrics(site: &Site) -> String {
    let ways = site.desk.ways();
    let sources = ways.counters.sources();
    let beside = Beside {
        classes: &site.classes,
        deadline: site.deadline,
        sources: &sources,
        series: site.desk.series(),
        lost_events: ways.events.lost(),
    };
    text(ways.counters, &beside)
}

/// What the Open Inference Protocol tells of a model.
fn of_model(site: &Site) -> serde_json::Value {
    let models = site.desk.ways().counters.board.models();
    let live = models.iter().find(|model| model.state == "live");
    json!({
        "name": site.name,
        "versions": live.map(|model| vec![model.hash.clone()]).unwrap_or_default(),
        "platform": "edgectl",
        "inputs": [{
            "name": INPUT, "datatype": "FP64", "shape": [-1, site.plan.rows(), site.channels.len()],
        }],
        "outputs": [
            { "name": "probs", "datatype": "FP32", "shape": [-1, site.classes.len()] },
            { "name": "label", "datatype": "BYTES", "shape": [-1, 1] },
        ],
        "parameters": { "channels": site.channels, "classes": site.classes },
    })
}

/// Goes back to the model before, as `edgectl rollback` does.
fn roll_back(site: &Site) -> Answered {
    let Some(state) = &site.state else {
        let why = "the run keeps no models: start it with --state";
        return wrong(StatusCode::CONFLICT, why);
    };
    let done = Models::open(state).and_then(|mut models| {
        models.roll_back(None, BY_HAND)?;
        Ok(json!({ "live": models.deployment().live }))
    });
    match done {
        Ok(value) => object(StatusCode::OK, &value),
        Err(error) => wrong(StatusCode::CONFLICT, &format!("{error:#}")),
    }
}
