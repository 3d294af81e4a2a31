//! A connection to a broker, with or without TLS.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::packet::{Inbox, Message, Packet, connect, ping};

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a read waits, before other things are looked after.
const TICK: Duration = Duration::from_millis(50);

/// Seconds in which each side hears of the other.
const KEEP_ALIVE_S: u16 = 15;

/// Where a broker is.
#[derive(Clone)]
pub(super) struct Address {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    login: Option<(String, String)>,
    /// What stands behind the host: a topic, or a filter of topics.
    pub(super) topic: String,
}

/// Without the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.topic)
    }
}

impl Address {
    /// Of `mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC`, or `mqtts://` with TLS; its certificate is signed by the
    /// system's authorities, or by one of a file.
    ///
    /// # Errors
    /// If it is no such address, or the file cannot be read.
    pub(super) fn of(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let (is_tls, rest) = match (url.strip_prefix("mqtt://"), url.strip_prefix("mqtts://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => bail!("{url:?}: give mqtt://HOST/TOPIC or mqtts://HOST/TOPIC"),
        };
        let (authority, topic) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, at) = match authority.rsplit_once('@') {
            Some((login, at)) => (Some(login.split_once(':').unwrap_or((login, ""))), at),
            None => (None, authority),
        };
        let (host, port) = match at.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| anyhow!("mqtt: {at}: no port"))?),
            None => (at, if is_tls { 8883 } else { 1883 }),
        };
        ensure!(!host.is_empty(), "mqtt: the address names no host");
        ensure!(
            !topic.is_empty() && topic.len() < 1 << 16,
            "mqtt://{at}: name a topic behind the host"
        );
        let host = host.trim_matches(['[', ']']).to_owned();
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let tls = if is_tls { Some(tls(ca)?) } else { None };
        Ok(Self { host, port, tls, login, topic: topic.to_owned() })
    }
}

/// Whom to believe.
fn tls(ca: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let pem = fs::read(path).with_context(|| format!("{}", path.display()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate =
                certificate.map_err(|error| anyhow!("{}: {error}", path.display()))?;
            roots.add(certificate).with_context(|| format!("{}", path.display()))?;
        }
        ensure!(!roots.is_empty(), "{}: there is no certificate in it", path.display());
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// How a client is known to the broker.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The name of it, which no other has.
    pub(super) name: String,
    /// Topic of what is said when it is lost, or nothing.
    pub(super) will: Option<String>,
}

impl Client {
    /// One of this process, whose last will is said on a topic.
    pub(super) fn new(role: &str, will: Option<String>) -> Self {
        let mut random = [0; 6];
        // Without, two processes of one number on two machines would take each other's place.
        let _ = getrandom::fill(&mut random);
        let random = random.iter().fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
        Self { name: format!("edgectl-{role}-{random:012x}"), will }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection.
pub(super) struct Link {
    stream: Stream,
    inbox: Inbox,
    heard: Instant,
    said: Instant,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, and waits until the broker takes the client.
    ///
    /// # Errors
    /// If it cannot be reached, or does not.
    pub(super) fn open(address: &Address, client: &Client) -> anyhow::Result<Self> {
        let Address { host, port, .. } = address;
        let addresses = (&**host, *port).to_socket_addrs();
        let found = addresses.with_context(|| format!("{host}:{port}"))?;
        let mut last = None;
        let stream = found.into_iter().find_map(|found| {
            TcpStream::connect_timeout(&found, PATIENCE).map_err(|error| last = Some(error)).ok()
        });
        let stream = stream.ok_or_else(|| match last {
            Some(error) => anyhow!("{host}:{port}: {error}"),
            None => anyhow!("{host}:{port}: no address"),
        })?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(TICK))?;
        let stream = match &address.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let name = ServerName::try_from(host.clone())?;
                let tls = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(tls, stream)))
            }
        };
        let now = Instant::now();
        let mut link = Self { stream, inbox: Inbox::default(), heard: now, said: now };
        let login = address.login.as_ref().map(|(user, password)| (&**user, &**password));
        let will =
            client.will.as_ref().map(|topic| Message { topic, payload: b"offline", retain: true });
        let hello = connect(&client.name, login, will, KEEP_ALIVE_S);
        let until = now + PATIENCE;
        link.send_until(&hello, until).with_context(|| format!("{host}:{port}"))?;
        let mut packets = Vec::new();
        while packets.is_empty() {
            ensure!(Instant::now() < until, "{host}:{port}: the broker does not answer");
            link.receive(&mut packets).with_context(|| format!("{host}:{port}"))?;
        }
        match packets[0] {
            Packet::ConnAck(0) => Ok(link),
            Packet::ConnAck(4 | 5) => bail!("{host}:{port}: the broker refuses user or password"),
            Packet::ConnAck(why) => bail!("{host}:{port}: the broker refuses the client ({why})"),
            _ => bail!("{host}:{port}: it does not answer as a broker"),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If they cannot be sent in time.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_until(bytes, Instant::now() + PATIENCE)
    }

    /// A handshake reads, too, and its reads have a short time.
    fn send_until(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.write(left) {
                Ok(n) => left = &left[n..],
                Err(error) if is_tick(&error) && Instant::now() < until => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            match self.flush() {
                Ok(()) => break,
                Err(error) if is_tick(&error) && Instant::now() < until => {}
                Err(error) => return Err(error),
            }
        }
        self.said = Instant::now();
        Ok(())
    }

    /// Adds the packets that come within a short while; says that it is there, where nothing else was said for long.
    ///
    /// # Errors
    /// If the connection is lost, or nothing was heard for too long.
    pub(super) fn receive(&mut self, packets: &mut Vec<Packet>) -> io::Result<()> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let read = inbox.read(self, packets);
        self.inbox = inbox;
        let keep_alive = Duration::from_secs(KEEP_ALIVE_S.into());
        match read {
            Ok(()) => self.heard = Instant::now(),
            Err(error) if is_tick(&error) => {}
            Err(error) => return Err(error),
        }
        if self.heard.elapsed() > keep_alive * 3 / 2 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.said.elapsed() > keep_alive / 3 {
            self.send(&ping())?;
        }
        Ok(())
    }
}

fn is_tick(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
