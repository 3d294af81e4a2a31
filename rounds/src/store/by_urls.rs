//! The places of one node, by URLs that its center's operator signed: no key of the store, no list.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};
use url::{Host, Url};

use super::found::{Created, Fetched, MOST_OTHER};
use super::http::{Roots, agent, allows_http};
use super::objects::Done;
use super::waiting::{Answer, CONNECT, Failed, Patience, blocking_answer, patiently, short};
use crate::layout;
use crate::urls::Urls;

/// Most bytes of what a server says with an error.
const MOST_WORDS: u64 = 16 << 10;

/// A store of which a node reads what the center publishes, and writes its own places.
#[derive(Debug, Clone)]
pub(super) struct ByUrls {
    pub(super) urls: Arc<Urls>,
    agent: Agent,
}

/// How writing ended.
enum Put {
    Done,
    /// Something is there.
    Taken,
}

impl ByUrls {
    pub(super) fn open(file: &Path, ca: Option<&Path>) -> Result<Self, String> {
        let urls = Urls::read(file).map_err(|error| match error {
            crate::error::Error::Setup { problem, .. } => problem,
            error => error.to_string(),
        })?;
        if let Some(ago) = expired(&urls) {
            return Err(over(&format!("expired {ago} s ago, by the clock of this machine")));
        }
        Self::new(urls, ca)
    }

    pub(super) fn new(urls: Urls, ca: Option<&Path>) -> Result<Self, String> {
        let is_plain = |url: &&Url| url.scheme() != "https";
        let allow_http = urls.all().any(|url| is_plain(&url));
        let may = |url: &Url| url.scheme() == "http" && (is_this_machine(url) || allows_http());
        if let Some(url) = urls.all().filter(is_plain).find(|url| !may(url)) {
            return Err(format!(
                "has URLs of {}, which anybody on the way could read; plain http is for trials, with AWS_ALLOW_HTTP=true",
                url.scheme()
            ));
        }
        let agent = agent(&Roots::read(ca)?, allow_http, CONNECT);
        Ok(Self { urls: Arc::new(urls), agent })
    }

    /// Creates an object in one of the node's places.
    pub(super) fn create(&self, path: &str, bytes: &[u8], patience: &Patience) -> Done<Created> {
        match self.put(path, bytes, true, patience)? {
            Put::Done => Ok(Created::New),
            // Or this program was here before and the answer was lost.
            Put::Taken => {
                let most = MOST_OTHER.max(bytes.len() as u64);
                Ok(self.get(path, most, patience)?.beside(bytes))
            }
        }
    }

    /// Writes an object, whatever is there.
    pub(super) fn replace(&self, path: &str, bytes: &[u8], patience: &Patience) -> Done<()> {
        match self.put(path, bytes, false, patience)? {
            Put::Done => Ok(()),
            Put::Taken => Err(Failed::Problem("the server does not replace it".to_owned())),
        }
    }

    fn put(&self, path: &str, bytes: &[u8], once: bool, patience: &Patience) -> Done<Put> {
        let url = self.urls.put.get(path).ok_or_else(|| self.not_ours())?.clone();
        let bytes = Bytes::copy_from_slice(bytes);
        self.wait(patience, move |store| {
            let mut request = store.agent.put(url.as_str());
            if once {
                request = request.header("if-none-match", "*");
            }
            match request.send(&bytes[..]) {
                Ok(answer) if answer.status().is_success() => Answer::Done(Put::Done),
                Ok(answer) if answer.status() == StatusCode::PRECONDITION_FAILED => {
                    Answer::Done(Put::Taken)
                }
                Ok(answer) => store.refused(answer, true),
                Err(error) => Answer::Silence(error.to_string()),
            }
        })
    }

    pub(super) fn get(&self, path: &str, most: u64, patience: &Patience) -> Done<Fetched> {
        let (url, place) = self.address(path)?;
        self.wait(patience, move |store| match store.agent.get(url.as_str()).call() {
            Ok(answer) if answer.status().is_success() => body(answer, most),
            Ok(answer) if place.is_nothing(answer.status()) => Answer::Done(Fetched::Nothing),
            Ok(answer) => store.refused(answer, place == Place::Own),
            Err(error) => Answer::Silence(error.to_string()),
        })
    }

    pub(super) fn has(&self, path: &str, patience: &Patience) -> Done<bool> {
        let (url, place) = self.address(path)?;
        if place == Place::Own {
            // What is signed for getting cannot be used to look.
            return Ok(!matches!(self.get(path, 0, patience)?, Fetched::Nothing));
        }
        self.wait(patience, move |store| match store.agent.head(url.as_str()).call() {
            Ok(answer) if answer.status().is_success() => Answer::Done(true),
            Ok(answer) if place.is_nothing(answer.status()) => Answer::Done(false),
            Ok(answer) => store.refused(answer, false),
            Err(error) => Answer::Silence(error.to_string()),
        })
    }

    /// What a server says to somebody without any signature who wants an object.
    pub(super) fn status_for_strangers(&self, path: &str, patience: &Patience) -> Done<StatusCode> {
        let url = self.public(path)?;
        self.wait(patience, move |store| match store.agent.head(url.as_str()).call() {
            Ok(answer) if answer.status().is_server_error() => store.refused(answer, false),
            Ok(answer) => Answer::Done(answer.status()),
            Err(error) => Answer::Silence(error.to_string()),
        })
    }

    /// Where an object is read.
    fn address(&self, path: &str) -> Done<(Url, Place)> {
        if let Some(url) = self.urls.get.get(path) {
            return Ok((url.clone(), Place::Own));
        }
        if layout::is_of_nodes(path) {
            return Err(self.not_ours());
        }
        let place = if layout::is_of_a_round(path) { Place::Round } else { Place::Published };
        Ok((self.public(path)?, place))
    }

    fn public(&self, path: &str) -> Done<Url> {
        self.urls.read.join(path).map_err(|error| Failed::Problem(error.to_string()))
    }

    pub(super) fn lists_nothing(&self) -> Failed {
        Failed::Problem(format!(
            "URLs for {} list nothing; give the store itself",
            self.urls.purpose()
        ))
    }

    fn not_ours(&self) -> Failed {
        let problem = format!("these are URLs for {}", self.urls.purpose());
        Failed::Refused(over(&problem))
    }

    /// What a server's refusal means, and whether asking again may help.
    fn refused<T>(&self, answer: Response<Body>, is_signed: bool) -> Answer<T> {
        use StatusCode as S;
        let status = answer.status();
        let passes = [S::REQUEST_TIMEOUT, S::CONFLICT, S::TOO_MANY_REQUESTS].contains(&status);
        let words = words(answer);
        let said = if words.is_empty() { String::new() } else { format!(": {words}") };
        let problem = short(format!("the server says {status}{said}"));
        if status.is_server_error() || passes {
            return Answer::Silence(problem);
        }
        if is_signed && (expired(&self.urls).is_some() || words.to_lowercase().contains("expired"))
        {
            return Answer::Refused(over(&format!("its URLs have expired; {problem}")));
        }
        if is_signed {
            return Answer::Refused(problem);
        }
        Answer::Refused(format!(
            "{problem}; everybody has to be allowed to read job.json, blob/* and round-*, see docs/protocol.md"
        ))
    }

    fn wait<T: Send + 'static>(
        &self,
        patience: &Patience,
        tried: impl Fn(&Self) -> Answer<T> + Clone + Send + 'static,
    ) -> Done<T> {
        patiently((patience, false), &mut || {
            let (store, tried) = (self.clone(), tried.clone());
            blocking_answer(patience, move || tried(&store))
        })
    }
}

/// What a path is to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its own, by a signed URL.
    Own,
    /// The center's, in a round that may not have come yet.
    Round,
    /// The center's, and named by something that is there.
    Published,
}

impl Place {
    /// Whether a server says that nothing is there. AWS tells who may read but not list that it is forbidden to read
    /// what is not there.
    fn is_nothing(self, status: StatusCode) -> bool {
        status == StatusCode::NOT_FOUND || (self == Self::Round && status == StatusCode::FORBIDDEN)
    }
}

fn body(answer: Response<Body>, most: u64) -> Answer<Fetched> {
    let body = answer.into_body();
    if let Some(bytes) = body.content_length()
        && bytes > most
    {
        return Answer::Done(Fetched::TooLarge(bytes));
    }
    let mut bytes = Vec::new();
    // The server may send more than it said.
    let mut reader = body.into_reader().take(most.saturating_add(1));
    match reader.read_to_end(&mut bytes) {
        Err(error) => Answer::Silence(error.to_string()),
        Ok(n) if n as u64 > most => Answer::Done(Fetched::TooLarge(n as u64)),
        Ok(_) => Answer::Done(Fetched::Bytes(bytes.into())),
    }
}

/// Whether a URL leads nowhere else.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(at)) => at.is_loopback(),
        Some(Host::Ipv6(at)) => at.is_loopback(),
        None => false,
    }
}

/// What a server says beside its status: code and message of S3, if it speaks that.
fn words(answer: Response<Body>) -> String {
    let mut said = Vec::new();
    // Whatever came before it broke off.
    let _ = answer.into_body().into_reader().take(MOST_WORDS).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let tag = |name: &str| {
        let (_, after) = said.split_once(&format!("<{name}>"))?;
        Some(after.split_once(&format!("</{name}>"))?.0)
    };
    let parts: Vec<&str> = ["Code", "Message"].into_iter().filter_map(tag).collect();
    parts.join(", ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many seconds ago URLs expired, by the clock of this machine.
fn expired(urls: &Urls) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis();
    let ago = now.checked_sub(u128::from(urls.expires))?;
    u64::try_from(ago / 1000).ok()
}

/// What to do where URLs are of no use any more.
fn over(problem: &str) -> String {
    format!("{problem}; ask the center's operator for new ones (edgectl presign)")
}
