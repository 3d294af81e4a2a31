//! Speaking HTTP with a server, by TLS where the URL says so.

use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::waiting::TRANSFER;

/// Connections that are kept for the next request: as many as a busy program has threads.
const IDLE: usize = 64;

/// Who is trusted to say who a server is.
#[derive(Debug, Clone)]
pub(super) struct Roots(Vec<Certificate<'static>>);

impl Roots {
    /// Those of the system, and those of a file (PEM).
    pub(super) fn read(ca: Option<&Path>) -> Result<Self, String> {
        // Some that cannot be read are common in a system. Without any, a server is not believed, and it is said.
        let found = rustls_native_certs::load_native_certs().certs;
        let mut roots: Vec<_> =
            found.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
        if let Some(path) = ca {
            let wrong = |problem: &str| format!("{}: {problem}", path.display());
            let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
            let before = roots.len();
            for item in parse_pem(&pem) {
                if let PemItem::Certificate(one) =
                    item.map_err(|error| wrong(&error.to_string()))?
                {
                    roots.push(one);
                }
            }
            if roots.len() == before {
                return Err(wrong("no certificate in it (PEM)"));
            }
        }
        Ok(Self(roots))
    }
}

/// What asks a server: it hands back every answer as it is, and goes nowhere else where one says so, as what a
/// request carries is for that server alone.
pub(super) fn agent(roots: &Roots, allow_http: bool, connect: Duration) -> Agent {
    // Another part of the program may have chosen the same before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted = RootCerts::Specific(std::sync::Arc::new(roots.0.clone()));
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(trusted).build())
        .https_only(!allow_http)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(connect))
        .timeout_global(Some(TRANSFER))
        .max_idle_connections(IDLE)
        .max_idle_connections_per_host(IDLE)
        .user_agent(concat!("rounds/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Whether the environment allows what anybody on the way can read.
pub(super) fn allows_http() -> bool {
    std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true")
}
