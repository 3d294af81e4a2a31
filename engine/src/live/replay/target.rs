//! Where recordings are played to.

use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::takes::Target;

/// What is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// `stdout`.
    Stdout,
    /// `http://HOST:PORT`: where lines are posted to `/rows`.
    Http {
        /// Host and port.
        authority: String,
        /// The path.
        path: String,
    },
    /// `mqtt://HOST[:PORT]/PREFIX`: each series is a topic.
    Mqtt(String),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte <= b' ' || byte == 127) {
            return Err("it has a space or a sign that is not printed".to_owned());
        }
        if text == "stdout" {
            return Ok(Self::Stdout);
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && !port.is_empty()
                    && port.bytes().all(|byte| byte.is_ascii_digit())
            });
            let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
            let path = if path.is_empty() { "/rows".to_owned() } else { format!("/{path}") };
            return Ok(Self::Http { authority, path });
        }
        if text.starts_with("mqtt://") || text.starts_with("mqtts://") {
            return Ok(Self::Mqtt(text.to_owned()));
        }
        Err("give stdout, http://HOST:PORT or mqtt://HOST/TOPIC".to_owned())
    }
}

/// What takes lines for the command line.
///
/// # Errors
/// If this program was built without what it needs.
pub fn target(to: &To, stdout: impl Write + 'static) -> anyhow::Result<Box<dyn Target>> {
    Ok(match to {
        To::Stdout => Box::new(Plain::new(stdout)),
        To::Http { authority, path } => Box::new(Http::new(authority, path)),
        #[cfg(feature = "mqtt")]
        To::Mqtt(url) => Box::new(super::super::mqtt::Publisher::new(url)?),
        #[cfg(not(feature = "mqtt"))]
        To::Mqtt(url) => bail!("{url}: this edgectl was built without the feature mqtt"),
    })
}

/// Lines of an output.
#[derive(Debug)]
pub(super) struct Plain<W> {
    output: W,
}

impl<W: Write> Plain<W> {
    /// To this output.
    pub(super) fn new(output: W) -> Self {
        Self { output }
    }
}

impl<W: Write> Target for Plain<W> {
    fn line(&mut self, _series: &str, line: &[u8]) -> anyhow::Result<()> {
        self.output.write_all(line)?;
        Ok(self.output.write_all(b"\n")?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.output.flush()?)
    }

    fn finish(&mut self) -> anyhow::Result<u64> {
        self.flush()?;
        Ok(0)
    }
}

/// Bytes of lines that are posted at once.
const AT_ONCE: usize = 1 << 16;

/// How long a post may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lines that are posted, those that are due at once together.
pub(super) struct Http {
    authority: String,
    path: String,
    body: Vec<u8>,
    n_lines: u64,
    n_lost: u64,
    /// Whether one was ever taken: if the first is not, something is wrong with the address.
    was_taken: bool,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Http {
    /// To a path of a server.
    pub(super) fn new(authority: &str, path: &str) -> Self {
        let (authority, path) = (authority.to_owned(), path.to_owned());
        Self { authority, path, body: Vec::new(), n_lines: 0, n_lost: 0, was_taken: false }
    }

    fn post(&self) -> anyhow::Result<()> {
        let Self { authority, path, body, .. } = self;
        let addresses =
            authority.to_socket_addrs().with_context(|| format!("http://{authority}"))?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Self::post_to(stream, authority, path, body),
                Err(error) => last = Some(error),
            }
        }
        let error = last.map_or_else(|| "no address".to_owned(), |error| error.to_string());
        bail!("http://{authority}: cannot connect: {error}")
    }

    fn post_to(
        mut stream: TcpStream,
        authority: &str,
        path: &str,
        body: &[u8],
    ) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request)?;
        let mut head = [0; 64];
        let mut n = 0;
        while n < head.len() && !head[..n].contains(&b'\n') {
            match stream.read(&mut head[n..])? {
                0 => break,
                more => n += more,
            }
        }
        let head = String::from_utf8_lossy(&head[..n]);
        let status = head.lines().next().unwrap_or_default();
        // It shall have read and answered all before the next rows come.
        std::io::copy(&mut stream, &mut std::io::sink())?;
        ensure!(
            status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')),
            "http://{authority}{path}: it answers {status:?}"
        );
        Ok(())
    }
}

impl Target for Http {
    fn line(&mut self, _series: &str, line: &[u8]) -> anyhow::Result<()> {
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.n_lines += 1;
        if self.body.len() >= AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.body.is_empty() {
            return Ok(());
        }
        match self.post() {
            Ok(()) => self.was_taken = true,
            Err(error) if !self.was_taken => return Err(error),
            // A server that is away for a while misses what was due meanwhile, as it would of a sensor.
            Err(_) => self.n_lost += self.n_lines,
        }
        self.body.clear();
        self.n_lines = 0;
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<u64> {
        self.flush()?;
        Ok(self.n_lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let to = |text: &str| text.parse::<To>();
        let http = |authority: &str, path: &str| {
            Ok(To::Http { authority: authority.to_owned(), path: path.to_owned() })
        };
        assert_eq!(to("stdout"), Ok(To::Stdout));
        assert_eq!(to("http://h:8080"), http("h:8080", "/rows"));
        assert_eq!(to("http://[::1]:80/a/b"), http("[::1]:80", "/a/b"));
        assert_eq!(to("http://h"), http("h:80", "/rows"));
        assert_eq!(to("mqtt://h/a"), Ok(To::Mqtt("mqtt://h/a".to_owned())));
        for text in ["", "file", "https://h", "http://h\r\nX: y", "ftp://h"] {
            assert!(to(text).is_err(), "{text}");
        }
    }
}
