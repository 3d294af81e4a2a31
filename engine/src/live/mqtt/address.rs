//! Where a broker is, and how a client of it is set up.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use rumqttc::{Broker, LastWill, MqttOptions, TlsConfiguration, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Bytes of the longest packet that is read or sent.
const LONGEST: usize = 1 << 20;

/// Seconds in which each side hears of the other.
const KEEP_ALIVE_S: u16 = 15;

/// Messages that are sent before others are looked for.
const AT_ONCE: usize = 64;

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
        write!(f, "{}/{}", self.place(), self.topic)
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

    /// The same as [`of`](Self::of), of a topic that messages can be sent to.
    ///
    /// # Errors
    /// As those, and if it is a filter.
    pub(super) fn to_send(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let address = Self::of(url, ca)?;
        ensure!(
            !address.topic.contains(['+', '#']),
            "mqtt: {:?}: messages are sent to one topic, without + and #",
            address.topic
        );
        Ok(address)
    }

    /// Host and port.
    pub(super) fn place(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// How a client of it is set up, which has a name that no other has; `will` is said of it when it is lost. Its
    /// session is clean: what a broker keeps for one that is away is old when it comes.
    pub(super) fn options(&self, role: &str, will: Option<LastWill>) -> MqttOptions {
        let mut random = [0; 8];
        // Without, two processes of one number on two machines would take each other's place.
        let _ = getrandom::fill(&mut random);
        let name = format!("edgectl-{role}-{:016x}", u64::from_le_bytes(random));
        let mut options = MqttOptions::new(name, Broker::tcp(self.host.clone(), self.port));
        if self.host.contains(':') {
            // The library would not tell the port from the rest of the address.
            let place = self.place();
            options.set_socket_connector(move |_, network| {
                rumqttc::default_socket_connect(place.clone(), network)
            });
        }
        if let Some(tls) = &self.tls {
            let config = TlsConfiguration::Rustls(Arc::clone(tls));
            options.set_transport(Transport::tls_with_config(config));
        }
        if let Some((user, password)) = &self.login {
            options.set_credentials(user.clone(), password.clone());
        }
        if let Some(will) = will {
            options.set_last_will(will);
        }
        options.set_keep_alive(KEEP_ALIVE_S);
        options.set_clean_session(true);
        options.set_max_packet_size(LONGEST, LONGEST);
        options.set_max_request_batch(AT_ONCE);
        options
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_host_and_a_topic_and_show_no_password() {
        let address = |url: &str| Address::of(url, None);
        let of = |url: &str| format!("{:?}", address(url).expect(url));
        assert_eq!(of("mqtt://me:word@broker/ward/+"), "broker:1883/ward/+");
        assert_eq!(of("mqtt://[::1]:99/a"), "[::1]:99/a");
        assert_eq!(of("mqtts://broker/a"), "broker:8883/a");
        for url in ["mqtt://", "mqtt:///a", "mqtt://broker", "mqtt://broker:x/a", "http://a/b"] {
            assert!(address(url).is_err(), "{url}");
        }
        assert!(Address::of("mqtts://a/b", Some(Path::new("/nothing"))).is_err());
        assert!(Address::to_send("mqtt://a/b", None).is_ok());
        assert!(Address::to_send("mqtt://a/b/+", None).is_err());
    }
}
