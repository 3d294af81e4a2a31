//! Signing URLs for one node's places, and whether others can use the store as they have to.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use object_store::signer::{HeaderMap, HeaderValue, Method, SignedUrlOptions, Signer};
use ureq::http::StatusCode;

use super::by_urls::ByUrls;
use super::objects::Place;
use super::{Kind, Store};
use crate::error::Error;
use crate::key::PublicKey;
use crate::layout;
use crate::name::NodeId;
use crate::urls::Urls;

impl Store {
    /// URLs for a node's places in some rounds.
    pub(crate) fn presigned(
        &self,
        (job, center, node): (&str, PublicKey, &NodeId),
        rounds: RangeInclusive<u32>,
        (lasts, now): (Duration, u64),
    ) -> Result<Urls, Error> {
        let objects = if let Kind::Objects(objects) = &self.kind { Some(objects) } else { None };
        let Some((objects, Place::Bucket(bucket))) = objects.map(|all| (all, &all.place)) else {
            let problem = "only a server can check a signature, and this is none: in a folder, give each node write permission \
                 for its own places";
            return Err(self.unfit(problem));
        };
        let sign = |method: Method, path: &str, headers: HeaderMap| {
            let mut options = SignedUrlOptions::default();
            options.signed_headers = headers;
            let at = objects.at(path);
            let signed = objects.wait(&self.patience, async || {
                bucket.signed_url_opts(method.clone(), &at, lasts, &options).await
            });
            signed.map_err(|failed| failed.named(&self.url, "sign a URL for", path))
        };
        let mut read = sign(Method::GET, layout::JOB, HeaderMap::new())?;
        read.set_query(None);
        let base = read.path().strip_suffix(layout::JOB).map(str::to_owned);
        read.set_path(&base.ok_or_else(|| self.unfit("has URLs without the names of objects"))?);
        let (first, last) = rounds.clone().into_inner();
        let expires = now.saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        let who = (job.to_owned(), center, node.clone());
        let mut urls = Urls::new(who, (first, last), expires, read);
        // Who does not say so cannot write: nobody who has the file replaces what was said.
        let mut once = HeaderMap::new();
        once.insert("if-none-match", HeaderValue::from_static("*"));
        for round in rounds {
            let (update, commit) = (layout::update(round, node), layout::commit(round, node));
            for path in [&update, &commit] {
                urls.get.insert(path.clone(), sign(Method::GET, path, HeaderMap::new())?);
            }
            let put = sign(Method::PUT, &update, HeaderMap::new())?;
            urls.put.insert(update, put);
            let put = sign(Method::PUT, &commit, once.clone())?;
            urls.put.insert(commit, put);
        }
        Ok(urls)
    }

    /// What the server says to somebody without any key who asks for an object.
    pub(crate) fn is_public(
        &self,
        (urls, ca): (&Urls, Option<&Path>),
        path: &str,
    ) -> Result<Asked, Error> {
        let by = ByUrls::new(urls.clone(), ca).map_err(|problem| self.unfit(problem))?;
        let status = by.status_for_strangers(path, &self.patience);
        Ok(match status.map_err(|failed| failed.named(&self.url, "ask for", path))? {
            status if status.is_success() => Asked::There,
            StatusCode::NOT_FOUND => Asked::NotThere,
            status => Asked::Refused(status.to_string()),
        })
    }

    fn unfit(&self, problem: impl Into<String>) -> Error {
        Error::Url { url: self.url.clone(), problem: problem.into() }
    }
}

/// What a server says to whoever has no key.
#[derive(Debug)]
pub(crate) enum Asked {
    There,
    NotThere,
    /// With its status.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3Builder;
    use object_store::path::Path as ObjectPath;

    use super::super::bucket::build;
    use super::super::http::Roots;
    use super::super::objects::Objects;
    use super::super::waiting::Patience;
    use super::*;

    #[test]
    fn a_commit_can_only_be_created_and_the_rest_is_read_without_a_signature() {
        let builder = AmazonS3Builder::new()
            .with_endpoint("https://store.example:9000")
            .with_bucket_name("b")
            .with_region("r")
            .with_access_key_id("key")
            .with_secret_access_key("secret");
        let bucket = build(builder, Roots::read(None).expect("roots"), false).expect("built");
        let objects = Objects::of_bucket(bucket, ObjectPath::from("fed/1")).expect("threads");
        let (kind, url) = (Kind::Objects(objects), "s3://b/fed/1".to_owned());
        let store = Store { kind, url, patience: Patience::default() };
        let center = crate::key::SecretKey::of_seed(&[1; 32]).public();
        let node: NodeId = "node-1".parse().expect("a name");
        let who = ("a job", center, &node);
        let lasts = (Duration::from_hours(1), 1_000_000);
        let urls = store.presigned(who, 2..=3, lasts).expect("signed");
        assert_eq!(urls.read.as_str(), "https://store.example:9000/b/fed/1/");
        assert_eq!((urls.rounds, urls.expires), ((2, 3), 4_600_000));
        assert_eq!((urls.get.len(), urls.put.len()), (4, 4));
        for (path, url) in urls.get.iter().chain(&urls.put) {
            assert!(path.starts_with("in/round-00000"), "{path}");
            assert_eq!(url.path(), format!("/b/fed/1/{path}"));
            assert!(url.as_str().contains("X-Amz-Expires=3600"), "{url}");
            assert!(url.as_str().contains("X-Amz-Signature="), "{url}");
        }
        let signed = |url: &url::Url| {
            let mut pairs = url.query_pairs();
            pairs.find(|(name, _)| name == "X-Amz-SignedHeaders").expect("headers").1.into_owned()
        };
        assert_eq!(signed(&urls.put["in/round-000002/node-1/commit.json"]), "host;if-none-match");
        assert_eq!(signed(&urls.put["in/round-000002/node-1/update"]), "host");
        assert_eq!(signed(&urls.get["in/round-000003/node-1/commit.json"]), "host");
        assert!(!format!("{urls:?}").contains("Signature"), "URLs are secret");
    }
}
