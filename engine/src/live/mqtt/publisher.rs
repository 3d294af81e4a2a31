//! Rows of recordings to a broker.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, Packet, PublishOptions};

use super::super::replay::Target;
use super::super::threads::start;
use super::address::Address;
use super::link::Link;

/// Bytes of rows that go in one message, where many are due at once.
const AT_ONCE: usize = 1 << 16;

/// Messages that the broker has not acknowledged: a further one waits for one of them.
const MOST_UNDER_WAY: usize = 16;

/// How long the broker may take to acknowledge a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before a broker is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the rows of recordings, each series as a topic below one.
///
/// The broker acknowledges each message (quality 1), and only few are under way. Rows that are due at once go together:
/// a broker that holds a number of messages for a receiver holds the more rows.
#[derive(Debug)]
pub struct Publisher {
    address: Address,
    sending: Option<Sending>,
    again: Instant,
    /// Rows that are due, and of which topic.
    topic: String,
    rows: Vec<u8>,
    n_rows: u64,
    n_lost: u64,
}

/// A connection, with the thread that keeps it.
#[derive(Debug)]
struct Sending {
    client: AsyncClient,
    way: Arc<Way>,
    thread: JoinHandle<()>,
}

/// What is under way.
#[derive(Debug, Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Rows of each message that is not acknowledged.
    rows: VecDeque<u64>,
    /// Nothing is acknowledged any more.
    is_lost: bool,
    /// No more is sent.
    is_over: bool,
}

impl Publisher {
    /// Connects to `mqtt://broker/PREFIX`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let address = Address::to_send(url, None)?;
        let sending = Some(Sending::begin(&address)?);
        let again = Instant::now();
        let (topic, rows) = (String::new(), Vec::new());
        Ok(Self { address, sending, again, topic, rows, n_rows: 0, n_lost: 0 })
    }

    /// Sends what is due. What is due while the broker is away is lost, as it would be of a sensor.
    fn send(&mut self) {
        if self.n_rows == 0 {
            return;
        }
        if self.sending.is_none() && Instant::now() >= self.again {
            self.again = Instant::now() + PAUSE;
            self.sending = Sending::begin(&self.address).ok();
        }
        let (rows, n_rows) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.n_rows));
        let sent = self.sending.as_ref().is_some_and(|to| to.send(&self.topic, rows, n_rows));
        if !sent {
            self.n_lost += n_rows + self.sending.take().map_or(0, |lost| lost.end(false));
        }
    }
}

impl Target for Publisher {
    fn line(&mut self, series: &str, line: &[u8]) -> anyhow::Result<()> {
        let level = series.replace(['+', '#', '\0'], "_");
        let topic = format!("{}/{level}", self.address.topic.trim_end_matches('/'));
        if topic != self.topic || self.rows.len() + line.len() > AT_ONCE {
            self.send();
            self.topic = topic;
        }
        self.rows.extend_from_slice(line);
        self.rows.push(b'\n');
        self.n_rows += 1;
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.send();
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<u64> {
        self.send();
        self.n_lost += self.sending.take().map_or(0, |sending| sending.end(true));
        Ok(self.n_lost)
    }
}

impl Sending {
    fn begin(address: &Address) -> anyhow::Result<Self> {
        let mut link = Link::open(address, ("replay", None), || false)?;
        let (client, way) = (link.client().clone(), Arc::new(Way::default()));
        let thread = {
            let way = Arc::clone(&way);
            start("mqtt", move || {
                while let Some(event) = link.next(|| way.state().is_over) {
                    match event {
                        Ok(Event::Incoming(Packet::PubAck(_))) => way.acknowledged(),
                        Ok(_) => {}
                        Err(_) => return way.lost(),
                    }
                }
                link.leave();
            })?
        };
        Ok(Self { client, way, thread })
    }

    /// Sends a message, once not too many are under way; says whether that can be.
    fn send(&self, topic: &str, rows: Vec<u8>, n_rows: u64) -> bool {
        let mut state = self.way.wait_for(MOST_UNDER_WAY);
        if state.is_lost || state.rows.len() >= MOST_UNDER_WAY {
            return false;
        }
        // There is room for more than are under way.
        let sent = self.client.try_publish(topic, rows, PublishOptions::at_least_once()).is_ok();
        if sent {
            state.rows.push_back(n_rows);
        }
        sent
    }

    /// Ends it, and waits before until all is acknowledged; gives the rows that are not.
    fn end(self, waits: bool) -> u64 {
        let mut state = if waits { self.way.wait_for(1) } else { self.way.state() };
        let n_lost = state.rows.iter().sum();
        state.is_over = true;
        drop(state);
        if waits {
            // It has nothing more to do than to say so.
            let _ = self.thread.join();
        }
        n_lost
    }
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledged(&self) {
        self.state().rows.pop_front();
        self.changed.notify_all();
    }

    fn lost(&self) {
        self.state().is_lost = true;
        self.changed.notify_all();
    }

    /// Waits until fewer are under way, all are lost, or none is acknowledged for too long.
    fn wait_for(&self, fewer_than: usize) -> MutexGuard<'_, State> {
        let mut state = self.state();
        loop {
            let n = state.rows.len();
            if n < fewer_than || state.is_lost {
                return state;
            }
            let (next, timed_out) =
                self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timed_out.timed_out() && state.rows.len() == n {
                return state;
            }
        }
    }
}
