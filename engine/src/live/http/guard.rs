//! Who may do what: by the host that is named, the page that asks, and the token.

use std::net::{IpAddr, SocketAddr};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};

use crate::live::token::Token;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// See whether it runs, and how much it does.
    Look,
    /// See rows and answers as they come: by all on this machine, else with the token.
    Watch,
    /// Hand in rows: by all on this machine, else with the token.
    Feed,
    /// Change what runs, or what it learns: with the token.
    Change,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

/// Says who may do what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    /// Whether only this machine can reach the server.
    pub(super) is_local: bool,
    pub(super) token: Option<Token>,
}

impl Guard {
    /// For a server at an address.
    pub(super) fn new(address: SocketAddr, token: Option<Token>) -> Self {
        Self { is_local: address.ip().is_loopback(), token }
    }

    /// Whether somebody may.
    ///
    /// # Errors
    /// If not, why.
    pub(super) fn check(&self, wish: Wish, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let host =
            text(&HOST).ok_or(Refusal(StatusCode::BAD_REQUEST, "the request names no host"))?;
        // Else a page from elsewhere could read this one, under a name that leads here.
        if self.is_local && !is_this_machine(host) {
            let why = "only localhost is answered here: name it by its address";
            return Err(Refusal(StatusCode::FORBIDDEN, why));
        }
        let site = text(&HeaderName::from_static("sec-fetch-site"));
        let is_own_page = text(&ORIGIN).is_none_or(|origin| origin_is(origin, host))
            && site.is_none_or(|site| matches!(site, "same-origin" | "none"));
        if matches!(wish, Wish::Feed | Wish::Change) && !is_own_page {
            return Err(Refusal(StatusCode::FORBIDDEN, "a page from elsewhere may not do this"));
        }
        let is_free = wish == Wish::Look || self.is_local && wish != Wish::Change;
        if is_free || self.knows(headers) {
            return Ok(());
        }
        Err(match self.token {
            None => Refusal(
                StatusCode::FORBIDDEN,
                "this needs a token, and the run has none: start it with --token-file",
            ),
            Some(_) => {
                Refusal(StatusCode::UNAUTHORIZED, "this needs the token: Authorization: Bearer …")
            }
        })
    }

    /// Whether the token is said.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let said = said.and_then(|said| said.split_first_chunk::<7>());
        said.is_some_and(|(scheme, said)| {
            scheme.eq_ignore_ascii_case(b"bearer ")
                && self.token.is_some_and(|token| token.is(said))
        })
    }
}

/// Whether a host, with its port, is this machine by its name or address.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a page's origin is the host that it asks.
fn origin_is(origin: &str, host: &str) -> bool {
    let after = |scheme| origin.strip_prefix(scheme);
    after("http://").or_else(|| after("https://")).is_some_and(|of| of.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), value.parse().expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn token() -> Token {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "0123456789abcdef").expect("written");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("set");
        Token::read(&path).expect("a token")
    }

    const HERE: (&str, &str) = ("host", "127.0.0.1:8080");
    const SAID: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");

    #[test]
    fn wishes_are_granted_as_documented() {
        let ask = |address: &str, token: Option<Token>, wish, pairs: &[_]| {
            let guard = Guard::new(address.parse().expect("an address"), token);
            guard.check(wish, &headers(pairs)).map_err(|refusal| refusal.0.as_u16())
        };
        let (local, away) = ("127.0.0.1:8080", "0.0.0.0:8080");
        for wish in [Wish::Look, Wish::Watch, Wish::Feed] {
            assert_eq!(ask(local, None, wish, &[HERE]), Ok(()), "{wish:?}");
        }
        assert_eq!(ask(local, None, Wish::Change, &[HERE, SAID]), Err(403));
        assert_eq!(ask(local, Some(token()), Wish::Change, &[HERE]), Err(401));
        assert_eq!(ask(local, Some(token()), Wish::Change, &[HERE, SAID]), Ok(()));
        assert_eq!(ask(away, None, Wish::Look, &[HERE]), Ok(()));
        for wish in [Wish::Watch, Wish::Feed, Wish::Change] {
            assert_eq!(ask(away, None, wish, &[HERE]), Err(403), "{wish:?}");
            assert_eq!(ask(away, Some(token()), wish, &[HERE]), Err(401), "{wish:?}");
            assert_eq!(ask(away, Some(token()), wish, &[HERE, SAID]), Ok(()), "{wish:?}");
        }
        let wrong = ("authorization", "Bearer 0123456789abcdeF");
        assert_eq!(ask(local, Some(token()), Wish::Change, &[HERE, wrong]), Err(401));
        let wrong = ("authorization", "Basic 0123456789abcdef");
        assert_eq!(ask(local, Some(token()), Wish::Change, &[HERE, wrong]), Err(401));
    }

    #[test]
    fn pages_from_elsewhere_and_names_that_lead_here_are_refused() {
        let guard = Guard::new("127.0.0.1:8080".parse().expect("an address"), Some(token()));
        let ask = |wish, pairs: &[_]| guard.check(wish, &headers(pairs)).is_ok();
        for host in ["localhost:8080", "127.0.0.2", "[::1]:8080", "LOCALHOST"] {
            assert!(ask(Wish::Look, &[("host", host)]), "{host}");
        }
        for host in ["evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", ""] {
            assert!(!ask(Wish::Look, &[("host", host)]), "{host}");
        }
        assert!(!ask(Wish::Look, &[]));
        for (origin, may) in [
            ("http://127.0.0.1:8080", true),
            ("https://127.0.0.1:8080", true),
            ("http://evil.example", false),
            ("http://127.0.0.1:8081", false),
            ("null", false),
        ] {
            for wish in [Wish::Feed, Wish::Change] {
                assert_eq!(ask(wish, &[HERE, SAID, ("origin", origin)]), may, "{origin}");
            }
        }
        assert!(!ask(Wish::Feed, &[HERE, ("sec-fetch-site", "cross-site")]));
        assert!(!ask(Wish::Change, &[HERE, SAID, ("sec-fetch-site", "same-site")]));
        assert!(ask(Wish::Feed, &[HERE, ("sec-fetch-site", "same-origin")]));
    }
}
