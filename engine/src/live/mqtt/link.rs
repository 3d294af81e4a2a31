//! A connection to a broker, from its beginning to its end: the library's client on the calling thread.
//!
//! Whoever lost one opens another; the library would begin again by itself, at once and for ever, with what was to be
//! sent before.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, NetworkOptions,
    Outgoing, Packet, StateError,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::address::Address;

/// Seconds in which the broker has to answer.
const PATIENCE_S: u64 = 5;

/// How often somebody asks whether to go on waiting.
const LOOK: Duration = Duration::from_millis(20);

/// How long what waits may take to be sent at the end.
const LEAVING: Duration = Duration::from_millis(800);

/// Messages that wait to be sent at a time; more are not taken.
pub(super) const MOST_WAITING: usize = 1024;

/// A connection.
pub(super) struct Link {
    client: AsyncClient,
    events: EventLoop,
    runtime: Runtime,
    place: String,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, and waits until the broker takes the client, or it is over.
    ///
    /// # Errors
    /// If it cannot be reached, or does not.
    pub(super) fn open(
        address: &Address,
        (role, will): (&str, Option<LastWill>),
        is_over: impl Fn() -> bool,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("mqtt: cannot wait for a broker")?;
        let options = address.options(role, will);
        let (client, mut events) =
            AsyncClient::builder(options).capacity(MOST_WAITING).try_build()?;
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(PATIENCE_S);
        events.set_network_options(network);
        let mut link = Self { client, events, runtime, place: address.place() };
        while let Some(event) = link.next(&is_over) {
            if matches!(event?, Event::Incoming(Packet::ConnAck(_))) {
                return Ok(link);
            }
        }
        bail!("{}: nobody waits any more", link.place)
    }

    /// What messages are handed to.
    pub(super) fn client(&self) -> &AsyncClient {
        &self.client
    }

    /// What happens next; nothing once it is over. Nothing is sent or received but while somebody waits here.
    ///
    /// # Errors
    /// If the connection is lost, which is its end.
    pub(super) fn next(&mut self, is_over: impl Fn() -> bool) -> Option<anyhow::Result<Event>> {
        let Self { events, runtime, place, .. } = self;
        let event = runtime.block_on(async {
            // One that is given up half way might have taken a message that it has not sent.
            let mut happens = pin!(events.poll());
            while !is_over() {
                if let Ok(event) = timeout(LOOK, happens.as_mut()).await {
                    return Some(event);
                }
            }
            None
        })?;
        Some(event.map_err(|error| said(place, &error)))
    }

    /// Sends what waits, and says that the client goes.
    pub(super) fn leave(mut self) {
        let until = Instant::now() + LEAVING;
        // It may be lost by now: then nobody is there to hear it.
        let mut goes = self.client.try_disconnect().is_ok();
        while goes {
            let event = self.next(|| Instant::now() > until);
            goes =
                matches!(event, Some(Ok(event)) if event != Event::Outgoing(Outgoing::Disconnect));
        }
    }
}

/// What is wrong, in few words.
fn said(place: &str, error: &ConnectionError) -> anyhow::Error {
    use ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
    match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => {
            anyhow!("{place}: the broker refuses user or password")
        }
        ConnectionError::ConnectionRefused(why) => {
            anyhow!("{place}: the broker refuses the client ({why:?})")
        }
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            anyhow!("{place}: the broker does not answer")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            anyhow!("{place}: the broker closed the connection")
        }
        ConnectionError::Io(error) => anyhow!("{place}: {error}"),
        error => anyhow!("{place}: {error}"),
    }
}
