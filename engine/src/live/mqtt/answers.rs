//! Answers to a broker.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, LastWill, PublishOptions, QoS};

use super::super::threads::start;
use super::address::Address;
use super::discovery::discovery;
use super::link::Link;

/// The pause before a broker is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Passes answers on, and also sends each line as a message; never waits for the broker.
///
/// Beside the topic, `TOPIC/status` says `online` or, as the client's last will, `offline`.
#[derive(Debug)]
pub struct AnswersTo<W> {
    output: W,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread that keeps the connection and the one that writes share.
#[derive(Debug)]
struct Shared {
    address: Address,
    is_discovered: bool,
    /// While the broker is there.
    client: Mutex<Option<AsyncClient>>,
    is_over: AtomicBool,
}

impl<W: Write> AnswersTo<W> {
    /// Sends to `mqtt://broker/TOPIC`. With `is_discovered`, Home Assistant is told of it.
    ///
    /// # Errors
    /// If it is no such address, or a thread cannot be started.
    pub fn new(
        output: W,
        url: &str,
        ca: Option<&Path>,
        is_discovered: bool,
    ) -> anyhow::Result<Self> {
        let address = Address::to_send(url, ca)?;
        let (client, is_over) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { address, is_discovered, client, is_over });
        let thread = {
            let shared = Arc::clone(&shared);
            start("mqtt", move || shared.run())?
        };
        Ok(Self { output, shared, thread: Some(thread) })
    }
}

impl<W: Write> Write for AnswersTo<W> {
    /// Takes whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.output.write_all(lines)?;
        let client = self.shared.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            let topic = &self.shared.address.topic;
            for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                // A broker that is away or slow misses it.
                let _ = client.try_publish(topic, line, PublishOptions::at_most_once());
            }
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl<W> Drop for AnswersTo<W> {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It has no more to do than to send what waits.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn set(&self, client: Option<AsyncClient>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Keeps a connection, and opens another when it is lost.
    fn run(&self) {
        let status = format!("{}/status", self.address.topic);
        while !self.is_over() {
            let will = LastWill::new(&*status, "offline", QoS::AtMostOnce, true);
            let role = ("answers", Some(will));
            if let Ok(link) = Link::open(&self.address, role, || self.is_over()) {
                self.keep(link, &status);
            }
            let until = Instant::now() + PAUSE;
            while !self.is_over() && Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Sends what is written until the connection is lost, or no more is.
    fn keep(&self, mut link: Link, status: &str) {
        let kept = PublishOptions::at_least_once().retained();
        // There is room for these, as nothing else waits.
        let _ = link.client().try_publish(status, "online", kept);
        if self.is_discovered {
            let (topic, config) = discovery(&self.address.topic, status);
            let _ = link.client().try_publish(topic, config, kept);
        }
        self.set(Some(link.client().clone()));
        let mut is_lost = false;
        while let Some(event) = link.next(|| self.is_over()) {
            if event.is_err() {
                is_lost = true;
                break;
            }
        }
        self.set(None);
        if !is_lost {
            // Who goes in peace has no last will.
            let _ = link.client().try_publish(status, "offline", kept);
            link.leave();
        }
    }
}
