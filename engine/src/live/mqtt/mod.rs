//! Rows and answers over MQTT: a topic for each series, whatever becomes of the broker meanwhile.
//!
//! A client of its own, small and without other threads than those that wait anyhow: MQTT 3.1.1 with a clean session,
//! as what a broker keeps for one that is away is old when it comes. What it keeps all the same (retained messages) is
//! answered `stale`.

mod link;
mod packet;
mod publish;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::intake::Intake;
use super::source::{Gate, Source};
use link::{Address, Client, Link};
use packet::{Packet, ack, disconnect, subscribe};
pub use publish::{AnswersTo, Publisher};

/// The pauses before a broker is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// Topics that are remembered at a time.
const TOPICS: usize = 1024;

/// Messages of the topics of a broker.
#[derive(Debug)]
pub struct Mqtt {
    name: String,
    address: Address,
    client: Client,
}

impl Mqtt {
    /// Of an address with a filter of topics, `mqtt://broker/ward/+`; `ca` is a file with the authority of its
    /// certificate.
    ///
    /// # Errors
    /// If it is no such address.
    pub fn new(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let address = Address::of(url, ca)?;
        let client = Client::new("run", None);
        Ok(Self { name: format!("mqtt {address:?}"), address, client })
    }

    /// Hands messages on until the connection is lost; notes that it was made.
    fn messages(&self, gate: &Gate<'_>, was_open: &mut bool) -> anyhow::Result<()> {
        let mut link = Link::open(&self.address, &self.client)?;
        link.send(&subscribe(&self.address.topic))?;
        let mut topics = HashMap::new();
        let mut packets = Vec::new();
        while !gate.is_stopping() {
            link.receive(&mut packets)?;
            let arrived = Instant::now();
            for packet in packets.drain(..) {
                match packet {
                    Packet::SubAck(true) => {
                        *was_open = true;
                        self.tell(gate, "connected", None);
                    }
                    Packet::SubAck(false) => {
                        anyhow::bail!("the broker refuses the topic {:?}", self.address.topic)
                    }
                    Packet::Publish { topic, payload, retained, id } => {
                        if let Some(id) = id {
                            link.send(&ack(id))?;
                        }
                        if !self.take(gate, &mut topics, (&topic, &payload), retained, arrived) {
                            return Ok(());
                        }
                    }
                    Packet::ConnAck(_) | Packet::Other => {}
                }
            }
        }
        // Whether it hears that makes no difference.
        let _ = link.send(&disconnect());
        Ok(())
    }

    /// Takes the lines of a message; says whether more are wanted.
    fn take<'a>(
        &self,
        gate: &Gate<'a>,
        topics: &mut HashMap<String, Intake<'a>>,
        (topic, payload): (&str, &[u8]),
        retained: bool,
        arrived: Instant,
    ) -> bool {
        let mut lines =
            payload.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let Some(first) = lines.clone().next() else { return true };
        let begin = || gate.intake(&self.name).of_series(series(&self.address.topic, topic));
        let is_object = first.trim_ascii_start().first() == Some(&b'{');
        let is_numbers = !is_object && first.split(|&byte| byte == b',').all(is_number);
        // A table has its header in each message, objects and rows of numbers have none.
        let mut of_message;
        let intake = if is_object || is_numbers {
            if topics.len() >= TOPICS {
                topics.clear();
            }
            let key = format!("{topic}\0{}", if is_object { "objects" } else { "numbers" });
            topics.entry(key).or_insert_with(|| {
                let mut intake = begin();
                if is_numbers {
                    // It has all channels, so that it cannot fail.
                    let _ = intake.line(gate.meta.channels.join(",").as_bytes(), arrived);
                }
                intake
            })
        } else {
            of_message = begin();
            &mut of_message
        };
        intake.old(retained);
        let taken = lines.try_fold(true, |wanted, line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            anyhow::Ok(wanted && intake.line(line, arrived)?)
        });
        match taken {
            Ok(wanted) => wanted,
            Err(error) => {
                intake.bad(&format!("{topic}: {error:#}"));
                true
            }
        }
    }

    fn tell(&self, gate: &Gate<'_>, result: &str, reason: Option<&str>) {
        gate.ways.events.tell(json!({
            "event": "source", "source": self.name, "result": result, "reason": reason,
        }));
    }
}

impl Source for Mqtt {
    fn name(&self) -> &str {
        &self.name
    }

    fn ends(&self) -> bool {
        false
    }

    fn run(&mut self, gate: &Gate<'_>) -> anyhow::Result<()> {
        let mut pause = PAUSES[0];
        loop {
            let mut was_open = false;
            let read = self.messages(gate, &mut was_open);
            let Err(error) = read else { return Ok(()) };
            pause = if was_open { PAUSES[0] } else { pause };
            self.tell(gate, "lost", Some(&format!("{error:#}")));
            if !gate.pause(pause) {
                return Ok(());
            }
            // Not longer than it may take until rows come again: a broker that is back is found soon.
            pause = (2 * pause).min(PAUSES[1]).min(Duration::from_secs(1));
        }
    }
}

fn is_number(cell: &[u8]) -> bool {
    let text = std::str::from_utf8(cell.trim_ascii()).unwrap_or("x");
    text.parse::<f64>().is_ok()
}

/// What a topic's series is called: what stands for the filter's first wildcard and behind it, else the last level.
fn series<'a>(filter: &str, topic: &'a str) -> &'a str {
    match filter.find(['+', '#']).and_then(|at| topic.get(at..)).filter(|rest| !rest.is_empty()) {
        Some(rest) => rest,
        None => topic.rsplit('/').next().unwrap_or(topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_called_as_what_tells_its_topic_from_others() {
        for (filter, topic, name) in [
            ("ward/+", "ward/s1", "s1"),
            ("ward/+/acc", "ward/s1/acc", "s1/acc"),
            ("ward/#", "ward/a/b", "a/b"),
            ("#", "a/b", "a/b"),
            ("ward/s1", "ward/s1", "s1"),
            ("s1", "s1", "s1"),
        ] {
            assert_eq!(series(filter, topic), name);
        }
    }

    #[test]
    fn addresses_name_a_host_and_a_topic_and_show_no_password() {
        let address = |url: &str| Address::of(url, None);
        let of = |url: &str| format!("{:?}", address(url).expect(url));
        assert_eq!(of("mqtt://me:word@broker/ward/+"), "broker:1883/ward/+");
        assert_eq!(of("mqtt://[::1]:99/a"), "::1:99/a");
        assert_eq!(of("mqtts://broker/a"), "broker:8883/a");
        for url in ["mqtt://", "mqtt:///a", "mqtt://broker", "mqtt://broker:x/a", "http://a/b"] {
            assert!(address(url).is_err(), "{url}");
        }
        assert!(Address::of("mqtts://a/b", Some(Path::new("/nothing"))).is_err());
    }
}
