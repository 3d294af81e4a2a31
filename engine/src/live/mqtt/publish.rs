//! What is sent to a broker: rows of recordings, and answers.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::replay::Target;
use super::link::{Address, Client, Link};
use super::packet::{Message, disconnect, publish};

/// Answers that wait for the broker; more are not sent.
const MOST_WAITING: usize = 1024;

/// The pause before a broker is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the rows of recordings, each series as a topic below one.
#[derive(Debug)]
pub struct Publisher {
    address: Address,
    client: Client,
    link: Option<Link>,
    again: Instant,
    n_lost: u64,
}

impl Publisher {
    /// Connects to `mqtt://broker/PREFIX`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let address = Address::of(url, None)?;
        let client = Client::new("replay", None);
        let link = Some(Link::open(&address, &client)?);
        Ok(Self { address, client, link, again: Instant::now(), n_lost: 0 })
    }

    /// Connects again, if it is time.
    fn link(&mut self) -> Option<&mut Link> {
        if self.link.is_none() && Instant::now() >= self.again {
            self.again = Instant::now() + PAUSE;
            self.link = Link::open(&self.address, &self.client).ok();
        }
        self.link.as_mut()
    }
}

impl Target for Publisher {
    fn line(&mut self, series: &str, line: &[u8]) -> anyhow::Result<()> {
        let level = series.replace(['+', '#', '\0'], "_");
        let topic = format!("{}/{level}", self.address.topic.trim_end_matches('/'));
        let packet = publish(Message { topic: &topic, payload: line, retain: false });
        let sent = self.link().map(|link| link.send(&packet));
        if !matches!(sent, Some(Ok(()))) {
            // What is due while the broker is away is lost, as it would be of a sensor.
            self.n_lost += 1;
            self.link = None;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<u64> {
        if let Some(link) = &mut self.link {
            // All before it is under way: then whether it hears that makes no difference.
            let _ = link.send(&disconnect());
        }
        Ok(self.n_lost)
    }
}

/// Passes answers on, and also sends each line as a message; never waits for the broker.
///
/// Beside the topic, `TOPIC/status` says `online` or, as the client's last will, `offline`.
#[derive(Debug)]
pub struct AnswersTo<W> {
    output: W,
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Write> AnswersTo<W> {
    /// Sends to `mqtt://broker/TOPIC`.
    ///
    /// # Errors
    /// If it is no such address, or a thread cannot be started.
    pub fn new(output: W, url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let address = Address::of(url, ca)?;
        let client = Client::new("answers", Some(format!("{}/status", address.topic)));
        let (sender, receiver) = sync_channel(MOST_WAITING);
        let send = move || send_all(&address, &client, &receiver);
        let thread = thread::Builder::new().name("mqtt".to_owned()).spawn(send)?;
        Ok(Self { output, sender: Some(sender), thread: Some(thread) })
    }
}

impl<W: Write> Write for AnswersTo<W> {
    /// Takes whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.output.write_all(lines)?;
        if let Some(sender) = &self.sender {
            for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                // A broker that is away misses it.
                let _ = sender.try_send(line.to_vec());
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
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It has no more to do than to send what waits.
            let _ = thread.join();
        }
    }
}

fn send_all(address: &Address, client: &Client, lines: &Receiver<Vec<u8>>) {
    let status = format!("{}/status", address.topic);
    let status = |payload| publish(Message { topic: &status, payload, retain: true });
    let mut link: Option<Link> = None;
    let mut again = Instant::now();
    let mut packets = Vec::new();
    loop {
        if link.is_none() && Instant::now() >= again {
            again = Instant::now() + PAUSE;
            link = Link::open(address, client).ok();
            if let Some(open) = &mut link
                && open.send(&status(b"online")).is_err()
            {
                link = None;
            }
        }
        let sent = match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                let packet =
                    publish(Message { topic: &address.topic, payload: &line, retain: false });
                link.as_mut().map_or(Ok(()), |link| link.send(&packet))
            }
            Err(RecvTimeoutError::Timeout) => {
                packets.clear();
                link.as_mut().map_or(Ok(()), |link| link.receive(&mut packets))
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if sent.is_err() {
            link = None;
        }
    }
    if let Some(link) = &mut link {
        // The end of the run: who is gone in peace has no last will.
        let _ = link.send(&status(b"offline")).and_then(|()| link.send(&disconnect()));
    }
}
