//! A connection whose other end must take what is sent within a time.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// A connection that fails once nothing could be sent for so long.
#[derive(Debug)]
pub(super) struct Patient {
    stream: TcpStream,
    longest: Duration,
    /// When patience ends, while something waits to be sent.
    end: Pin<Box<Sleep>>,
    waits: bool,
}

impl Patient {
    /// Waits no longer than that.
    pub(super) fn new(stream: TcpStream, longest: Duration) -> Self {
        Self { stream, longest, end: Box::pin(sleep_until(Instant::now())), waits: false }
    }

    /// What came of an attempt to send.
    fn sent<T>(
        &mut self,
        context: &mut Context<'_>,
        sent: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.waits = false;
            return sent;
        }
        if !std::mem::replace(&mut self.waits, true) {
            self.end.as_mut().reset(Instant::now() + self.longest);
        }
        let is_over = self.end.as_mut().poll(context).is_ready();
        if is_over { Poll::Ready(Err(ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(context, sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
