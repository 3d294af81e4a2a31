//! A store: create, get and list, in a folder or a bucket, or by URLs for one node.

mod bucket;
mod by_urls;
mod check;
mod connector;
mod folders;
mod found;
mod http;
mod object;
mod objects;
mod presign;
mod waiting;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use url::Url;

pub use check::StoreCheck;
pub use found::Created;
pub use object::Object;
pub(crate) use presign::Asked;
pub use waiting::{Hear, Patience, Silent};

use crate::error::Error;
use crate::urls::Urls;
use by_urls::ByUrls;
use objects::{Done, Objects};

/// Where a center and its nodes meet. Objects are created once, fetched and listed, never changed.
///
/// A folder is one, by path or `file:///…`; `s3://bucket/prefix` is S3 and what speaks like it, with
/// the credentials and the endpoint of the usual environment variables (`AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`; plain http only with `AWS_ALLOW_HTTP=true`).
/// A file of [`Urls`] is one for a single node: it reads what the center publishes, creates what is the node's, and
/// lists nothing.
///
/// ```
/// use rounds::{Created, Patience, Store};
///
/// let folder = tempfile::tempdir()?;
/// let url = folder.path().display().to_string();
/// let store = Store::open(&url, None, Patience::default())?;
/// assert_eq!(store.create("a/b", b"1")?, Created::New);
/// assert_eq!(store.create("a/b", b"1")?, Created::Same);
/// assert!(matches!(store.create("a/b", b"2")?, Created::Other(there) if there == &b"1"[..]));
/// assert_eq!(store.get("a/b", 10)?.as_deref(), Some(&b"1"[..]));
/// assert_eq!(store.get("a/c", 10)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Store {
    kind: Kind,
    url: String,
    patience: Patience,
}

#[derive(Debug)]
enum Kind {
    /// A folder or a bucket.
    Objects(Objects),
    /// The places of one node in a bucket.
    ByUrls(ByUrls),
}

impl Store {
    /// Opens a store by its URL or folder, and looks whether it answers. `ca` is a file of certificates (PEM)
    /// that are trusted beside those of the system, for servers with a private authority.
    ///
    /// # Errors
    /// If the URL is none that is known, the folder or bucket is not there, or does not answer.
    pub fn open(url: &str, ca: Option<&Path>, patience: Patience) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Url { url: url.to_owned(), problem };
        let kind = match place(url).map_err(wrong)? {
            Place::File(file) => {
                let by = ByUrls::open(&file, ca).map_err(wrong)?;
                return Ok(Self { kind: Kind::ByUrls(by), url: url.to_owned(), patience });
            }
            Place::Folder(folder) => Objects::of_folder(folder),
            Place::Bucket(parsed) => bucket::open(&parsed, ca)
                .and_then(|(bucket, root)| Objects::of_bucket(bucket, root)),
        };
        let mut objects = kind.map_err(wrong)?;
        let answers = objects.answers(&patience);
        answers.map_err(|failed| failed.named(url, "list", "its objects"))?;
        Ok(Self { kind: Kind::Objects(objects), url: url.to_owned(), patience })
    }

    /// Makes the folder of a store that is one, if it is not there; its parent must be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_folder(url: &str) -> Result<(), Error> {
        let wrong = |problem: String| Error::Url { url: url.to_owned(), problem };
        let Place::Folder(folder) = place(url).map_err(wrong)? else { return Ok(()) };
        match std::fs::create_dir(&folder) {
            Err(error) if !folder.is_dir() => {
                Err(wrong(format!("cannot make the folder {}: {error}", folder.display())))
            }
            _ => Ok(()),
        }
    }

    /// As it was named.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URLs, where it is a file of them.
    pub fn urls(&self) -> Option<&Urls> {
        match &self.kind {
            Kind::Objects(_) => None,
            Kind::ByUrls(by) => Some(&by.urls),
        }
    }

    /// Creates an object, if there is none of that path. Until the store answers this is tried again.
    ///
    /// # Errors
    /// If the store refuses, or patience ends.
    pub fn create(&self, path: &str, bytes: &[u8]) -> Result<Created, Error> {
        let created = match &self.kind {
            Kind::Objects(objects) => objects.create(path, bytes, &self.patience),
            Kind::ByUrls(by) => by.create(path, bytes, &self.patience),
        };
        self.named(created, "create", path)
    }

    /// Writes an object by a URL, whatever is there: only for a node's own places, and before its commit.
    pub(crate) fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let replaced = match &self.kind {
            Kind::Objects(_) => return Err(Error::refused(path, "is not replaced in this store")),
            Kind::ByUrls(by) => by.replace(path, bytes, &self.patience),
        };
        self.named(replaced, "replace", path)
    }

    /// The bytes of an object, if it is there. One of more than `most` bytes is not fetched.
    ///
    /// # Errors
    /// If it is larger, the store refuses, or patience ends.
    pub fn get(&self, path: &str, most: u64) -> Result<Option<Bytes>, Error> {
        let fetched = match &self.kind {
            Kind::Objects(objects) => objects.get(path, most, &self.patience),
            Kind::ByUrls(by) => by.get(path, most, &self.patience),
        };
        self.named(fetched, "get", path)?.found(path, most)
    }

    /// The same of several objects, some at a time.
    ///
    /// # Errors
    /// If the store refuses, or patience ends; what is too large fails alone.
    pub fn get_all(
        &self,
        objects: &[(String, u64)],
    ) -> Result<Vec<Result<Option<Bytes>, Error>>, Error> {
        let Some((first, _)) = objects.first() else { return Ok(Vec::new()) };
        let fetched = match &self.kind {
            Kind::Objects(all) => all.get_all(objects, &self.patience),
            Kind::ByUrls(by) => {
                objects.iter().map(|(path, most)| by.get(path, *most, &self.patience)).collect()
            }
        };
        let found = self.named(fetched, "get", first)?.into_iter().zip(objects);
        let found = found.map(|(fetched, (path, most))| fetched.found(path, *most));
        Ok(found.collect())
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// If the store refuses, or patience ends.
    pub fn has(&self, path: &str) -> Result<bool, Error> {
        let found = match &self.kind {
            Kind::Objects(objects) => objects.has(path, &self.patience),
            Kind::ByUrls(by) => by.has(path, &self.patience),
        };
        self.named(found, "find", path)
    }

    /// The objects below a folder, at any depth, sorted by path.
    ///
    /// # Errors
    /// If the store refuses, or patience ends; by a file of URLs nothing is listed.
    pub fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        let listed = match &self.kind {
            Kind::Objects(objects) => objects.list(folder, &self.patience),
            Kind::ByUrls(by) => Err(by.lists_nothing()),
        };
        self.named(listed, "list", folder)
    }

    fn named<T>(&self, done: Done<T>, what: &'static str, path: &str) -> Result<T, Error> {
        done.map_err(|failed| failed.named(&self.url, what, path))
    }
}

/// What a URL stands for.
enum Place {
    Folder(PathBuf),
    /// One of URLs.
    File(PathBuf),
    Bucket(Url),
}

fn place(url: &str) -> Result<Place, String> {
    let local =
        |path: PathBuf| if path.is_file() { Place::File(path) } else { Place::Folder(path) };
    if !url.contains("://") {
        return Ok(local(PathBuf::from(url)));
    }
    let parsed = Url::parse(url)
        .map_err(|error| format!("{error}; give a folder, file:///folder or s3://bucket/prefix"))?;
    match parsed.scheme() {
        "file" => {
            let folder = parsed.to_file_path();
            folder.map(local).map_err(|()| {
                "no path of this machine; file:///folder has three slashes".to_owned()
            })
        }
        "s3" => Ok(Place::Bucket(parsed)),
        other => Err(format!(
            "no store of kind {other:?} is known; give a folder, file:///folder or s3://bucket/prefix"
        )),
    }
}
