//! Rows and answers over MQTT: a topic for each series, whatever becomes of the broker meanwhile.
//!
//! MQTT 3.1.1 by a library (rumqttc-next), with a clean session, as what a broker keeps for one that is away is old when
//! it comes. What it keeps all the same (retained messages) is answered `stale`.

mod address;
mod answers;
mod discovery;
mod link;
mod publisher;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rumqttc::{Event, Packet, QoS, SubscribeReasonCode};
use serde_json::json;

use super::intake::Intake;
use super::source::{Gate, Source};
use address::Address;
pub use answers::AnswersTo;
use link::Link;
pub use publisher::Publisher;

/// The pauses before a broker is tried again, the first and the longest: one that is back is found soon.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Topics that are remembered at a time.
const TOPICS: usize = 1024;

/// Messages of the topics of a broker.
#[derive(Debug)]
pub struct Mqtt {
    name: String,
    address: Address,
}

impl Mqtt {
    /// Of an address with a filter of topics, `mqtt://broker/ward/+`; `ca` is a file with the authority of its
    /// certificate.
    ///
    /// # Errors
    /// If it is no such address.
    pub fn new(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let address = Address::of(url, ca)?;
        Ok(Self { name: format!("mqtt {address:?}"), address })
    }

    /// Hands messages on until the connection is lost, or the run stops; notes that it was made.
    fn messages(&self, gate: &Gate<'_>, was_open: &mut bool) -> anyhow::Result<()> {
        let mut link = Link::open(&self.address, ("run", None), || gate.is_stopping())?;
        link.client().try_subscribe(&self.address.topic, QoS::AtLeastOnce)?;
        let mut topics = HashMap::new();
        while let Some(event) = link.next(|| gate.is_stopping()) {
            match event? {
                Event::Incoming(Packet::SubAck(told)) => {
                    ensure!(
                        told.return_codes.iter().all(|code| *code != SubscribeReasonCode::Failure),
                        "the broker refuses the topic {:?}",
                        self.address.topic
                    );
                    *was_open = true;
                    self.tell(gate, "connected", None);
                }
                Event::Incoming(Packet::Publish(message)) => {
                    let topic = String::from_utf8_lossy(&message.topic);
                    let of = (&*topic, &*message.payload);
                    if !self.take(gate, &mut topics, of, message.retain) {
                        break;
                    }
                }
                _ => {}
            }
        }
        link.leave();
        Ok(())
    }

    /// Takes the lines of a message; says whether more are wanted.
    fn take<'a>(
        &self,
        gate: &Gate<'a>,
        topics: &mut HashMap<String, Intake<'a>>,
        (topic, payload): (&str, &[u8]),
        retained: bool,
    ) -> bool {
        let arrived = Instant::now();
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
            pause = (2 * pause).min(PAUSES[1]);
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
}
