//! Packets of MQTT 3.1.1, as far as rows and answers need them.
//!
//! As the OASIS standard of 2014 describes them, with quality 0 and, of what comes, 1.

use std::io::{self, Read};

/// Bytes of the longest packet that is read.
const LONGEST: usize = 1 << 20;

/// What comes from a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    /// It takes the client, or says by a number why not.
    ConnAck(u8),
    /// It takes a subscription, or does not.
    SubAck(bool),
    /// A message.
    Publish {
        /// Its topic.
        topic: String,
        /// What is in it.
        payload: Vec<u8>,
        /// Whether the broker kept it from before.
        retained: bool,
        /// By this it is acknowledged, if it wants to be.
        id: Option<u16>,
    },
    /// Something that needs no answer.
    Other,
}

/// The last will, or any message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    /// Its topic.
    pub(super) topic: &'a str,
    /// What is in it.
    pub(super) payload: &'a [u8],
    /// Whether the broker keeps it for those that come later.
    pub(super) retain: bool,
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut left = body.len();
    loop {
        let byte = (left % 128) as u8;
        left /= 128;
        packet.push(if left > 0 { byte | 128 } else { byte });
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// Bytes behind their number; what is longer than that can say is cut.
fn field(body: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    body.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    body.extend_from_slice(bytes);
}

/// Asks for a clean session.
pub(super) fn connect(
    client: &str,
    login: Option<(&str, &str)>,
    will: Option<Message<'_>>,
    keep_alive_s: u16,
) -> Vec<u8> {
    let mut flags = 2;
    let mut rest = Vec::new();
    field(&mut rest, client.as_bytes());
    if let Some(will) = will {
        flags |= 4 | if will.retain { 32 } else { 0 };
        field(&mut rest, will.topic.as_bytes());
        field(&mut rest, will.payload);
    }
    if let Some((user, password)) = login {
        flags |= 128 | 64;
        field(&mut rest, user.as_bytes());
        field(&mut rest, password.as_bytes());
    }
    let mut body = Vec::new();
    field(&mut body, b"MQTT");
    body.extend_from_slice(&[4, flags]);
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    body.extend_from_slice(&rest);
    packet(0x10, &body)
}

/// Asks for the messages of a filter, at most with quality 1.
pub(super) fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    field(&mut body, filter.as_bytes());
    body.push(1);
    packet(0x82, &body)
}

/// A message with quality 0.
pub(super) fn publish(message: Message<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(2 + message.topic.len() + message.payload.len());
    field(&mut body, message.topic.as_bytes());
    body.extend_from_slice(message.payload);
    packet(0x30 | u8::from(message.retain), &body)
}

/// Acknowledges a message.
pub(super) fn ack(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

/// Says that the client is there.
pub(super) fn ping() -> Vec<u8> {
    packet(0xC0, &[])
}

/// Says that the client goes.
pub(super) fn disconnect() -> Vec<u8> {
    packet(0xE0, &[])
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the broker sends {what}, which is not MQTT"),
    )
}

/// Cuts packets from bytes as they come.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Reads what is there, and gives the packets that are whole; waits as long as the input does.
    ///
    /// # Errors
    /// If the input ends, or fails, also by its time limit; or what comes is no MQTT.
    pub(super) fn read(
        &mut self,
        input: &mut impl Read,
        packets: &mut Vec<Packet>,
    ) -> io::Result<()> {
        let mut buffer = [0; 1 << 14];
        let n = input.read(&mut buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes.extend_from_slice(&buffer[..n]);
        let mut used = 0;
        while let Some((packet, len)) = cut(&self.bytes[used..])? {
            packets.push(packet);
            used += len;
        }
        self.bytes.drain(..used);
        Ok(())
    }
}

/// The packet at the start of some bytes, and how long it is; nothing if they end within it.
fn cut(bytes: &[u8]) -> io::Result<Option<(Packet, usize)>> {
    let (mut len, mut at) = (0_usize, 1);
    loop {
        let Some(&byte) = bytes.get(at) else { return Ok(None) };
        len |= usize::from(byte & 127) << (7 * (at - 1));
        at += 1;
        if byte & 128 == 0 {
            break;
        }
        if at == 5 {
            return Err(wrong("a length of more than four bytes"));
        }
    }
    if len > LONGEST {
        return Err(wrong("a packet of more than a megabyte"));
    }
    let Some(body) = bytes.get(at..at + len) else { return Ok(None) };
    let packet = parse(bytes[0], body).ok_or_else(|| wrong("a packet that is cut off"))?;
    Ok(Some((packet, at + len)))
}

fn parse(kind: u8, body: &[u8]) -> Option<Packet> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    Some(match kind >> 4 {
        2 => Packet::ConnAck(*body.get(1)?),
        9 => Packet::SubAck(*body.get(2)? < 128),
        3 => {
            let end = 2 + usize::from(u16_at(0)?);
            let topic = String::from_utf8_lossy(body.get(2..end)?).into_owned();
            let id = if kind & 6 == 0 { None } else { Some(u16_at(end)?) };
            let payload = body.get(end + if id.is_some() { 2 } else { 0 }..)?.to_vec();
            Packet::Publish { topic, payload, retained: kind & 1 == 1, id }
        }
        _ => Packet::Other,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8], at_once: usize) -> io::Result<Vec<Packet>> {
        let (mut inbox, mut packets) = (Inbox::default(), Vec::new());
        for mut piece in bytes.chunks(at_once) {
            inbox.read(&mut piece, &mut packets)?;
        }
        Ok(packets)
    }

    #[test]
    fn packets_are_those_of_the_standard() {
        let will = Message { topic: "w", payload: b"off", retain: true };
        let expected =
            b"\x10\x1c\x00\x04MQTT\x04\xe6\x00\x0f\x00\x01c\x00\x01w\x00\x03off\x00\x01u\x00\x02pw";
        assert_eq!(connect("c", Some(("u", "pw")), Some(will), 15), expected);
        assert_eq!(connect("c", None, None, 15), b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0f\x00\x01c");
        assert_eq!(subscribe("a/+"), b"\x82\x08\x00\x01\x00\x03a/+\x01");
        assert_eq!(
            (ack(258), ping(), disconnect()),
            (vec![0x40, 2, 1, 2], vec![0xC0, 0], vec![0xE0, 0])
        );
    }

    #[test]
    fn what_is_sent_is_read_again_however_it_is_cut() {
        let long = vec![7; 300];
        let message = Message { topic: "ward/s1", payload: &long, retain: true };
        let mut bytes = publish(message);
        assert_eq!(bytes[1..3], [0xB5, 0x02], "309 bytes follow");
        bytes.extend(b"\x20\x02\x00\x05\x90\x03\x00\x01\x80\xD0\x00\x32\x06\x00\x01a\x01\x02x");
        let expected = [
            Packet::Publish {
                topic: "ward/s1".to_owned(),
                payload: long,
                retained: true,
                id: None,
            },
            Packet::ConnAck(5),
            Packet::SubAck(false),
            Packet::Other,
            Packet::Publish {
                topic: "a".to_owned(),
                payload: b"x".to_vec(),
                retained: false,
                id: Some(258),
            },
        ];
        for at_once in [1, 2, 7, 1000] {
            assert_eq!(read_all(&bytes, at_once).expect("packets"), expected);
        }
    }

    #[test]
    fn what_claims_too_much_is_refused() {
        for bytes in [
            &b"\x30\xff\xff\xff\xff\x01"[..],
            b"\x30\xff\xff\xff\x7f",
            b"\x30\x01\x00",
            b"\x32\x03\x00\x01a",
        ] {
            assert!(read_all(bytes, 100).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_return(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let _ = read_all(&bytes, 13);
        }
    }
}
