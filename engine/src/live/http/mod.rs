//! What a run shows and takes over HTTP, by a thread of its own that answering never waits for.
//!
//! | request | is for | may |
//! |---|---|---|
//! | `GET /` | the page | all |
//! | `GET /metrics` | Prometheus | all |
//! | `GET /v2`, `/v2/health/live`, `/v2/health/ready`, `/v2/models/NAME[/ready]` | Open Inference Protocol | all |
//! | `GET /events` | rows, answers and events as they come | this machine; else the token |
//! | `POST /rows`, `/v2/models/NAME/infer` | rows in, answers out | this machine; else the token |
//! | `POST /labels`, `/promote`, `/rollback` | what changes the run | the token |
//!
//! Connections, bodies, headers and their times are bounded; what a page from elsewhere posts is refused, and a server of
//! this machine answers to no other name.

mod answered;
mod feed;
mod guard;
mod infer;
mod metrics;
mod page;
mod patient;
mod routes;
mod rows;
mod site;

pub(super) use site::{Desk, Site};

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

use feed::Feed;
use patient::Patient;
use routes::{MOST_AT_WORK, Server, answer};

/// Connections at a time; more wait until the system takes no more.
const MOST_CONNECTIONS: usize = 64;

/// Bytes of what one connection holds back, its headers among them.
const MOST_HELD: usize = 16 << 10;

/// Headers of a request.
const MOST_HEADERS: usize = 64;

/// How long headers may take to come, and a connection may stand idle.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// How long nothing of a response may be taken.
const SEND_TIME: Duration = Duration::from_secs(30);

/// How long requests may take to end with the run.
const END_TIME: Duration = Duration::from_millis(200);

/// A place that is listened at, before anything is answered.
#[derive(Debug)]
pub(super) struct Listener(TcpListener, SocketAddr);

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub(super) fn bind(at: SocketAddr) -> anyhow::Result<Self> {
        let bind = || {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            let at = listener.local_addr()?;
            Ok::<_, std::io::Error>(Self(listener, at))
        };
        bind().with_context(|| format!("--http {at}: cannot listen there"))
    }

    /// Where it is.
    pub(super) fn at(&self) -> SocketAddr {
        self.1
    }

    /// Answers from now on.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub(super) fn serve(self, site: Site) -> anyhow::Result<Serving> {
        let Self(listener, _) = self;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MOST_AT_WORK)
            .thread_name("http-work")
            .build()
            .context("cannot start a thread")?;
        let (stop, stopped) = oneshot::channel();
        let work = move || run(runtime, listener, site, stopped);
        let thread = thread::Builder::new().name("http".to_owned()).spawn(work);
        Ok(Serving { stop: Some(stop), thread: Some(thread.context("cannot start a thread")?) })
    }
}

/// A server that answers, until it is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Whatever it failed by is over.
            let _ = thread.join();
        }
    }
}

fn run(runtime: Runtime, listener: TcpListener, site: Site, stopped: oneshot::Receiver<()>) {
    let site = Arc::new(site);
    let feed = Arc::new(Feed::default());
    let server = Arc::new(Server {
        site: Arc::clone(&site),
        feed: Arc::clone(&feed),
        places: Arc::new(Semaphore::new(MOST_AT_WORK)),
    });
    runtime.block_on(async {
        tokio::spawn(feed.run(site));
        tokio::spawn(accept(listener, server));
        // It comes when the sender is dropped.
        let _ = stopped.await;
    });
    runtime.shutdown_timeout(END_TIME);
}

/// Takes connections for ever.
async fn accept(listener: TcpListener, server: Arc<Server>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files: some will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Small messages go out at once.
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(answer(server, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(MOST_HELD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(Patient::new(stream, SEND_TIME)), service);
        tokio::spawn(async move {
            // What is wrong with a connection ends it, and nothing else.
            let _ = connection.await;
            drop(place);
        });
    }
}
