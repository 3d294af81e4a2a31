//! What takes the lines of recordings: an output, or a server.

use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// Takes lines.
pub trait Target {
    /// Takes a line of a series, without its end.
    ///
    /// # Errors
    /// If no later one can be taken either.
    fn line(&mut self, series: &str, line: &[u8]) -> anyhow::Result<()>;

    /// Hands on what was kept to be sent at once.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    fn flush(&mut self) -> anyhow::Result<()>;

    /// No more lines come; gives how many were not taken.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    fn finish(&mut self) -> anyhow::Result<u64>;
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
