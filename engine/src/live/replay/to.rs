//! Where recordings are played to, as the command line says it.

use std::io::Write;
use std::str::FromStr;

#[cfg(not(feature = "mqtt"))]
use anyhow::bail;

use super::target::{Http, Plain, Target};

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
