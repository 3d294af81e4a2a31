//! A store: create, get and list, in a folder or a bucket.

mod bucket;
mod check;
mod connector;
mod folders;
mod http;
mod object;
mod waiting;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;
use url::Url;

pub use check::StoreCheck;
pub use object::Object;
pub use waiting::{Hear, Patience, Silent};

use crate::error::Error;
use waiting::{Failed, patiently};

/// Objects that are fetched at a time.
const AT_A_TIME: usize = 16;

/// Where a center and its nodes meet. Objects are created once, fetched and listed, never changed.
///
/// A folder is one, by path or `file:///…`; `s3://bucket/prefix` is S3 and what speaks like it, with
/// the credentials and the endpoint of the usual environment variables (`AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`; plain http only with `AWS_ALLOW_HTTP=true`).
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
    objects: Arc<dyn ObjectStore>,
    root: ObjectPath,
    /// Where it is a folder: which one.
    folder: Option<PathBuf>,
    /// There until it is dropped.
    runtime: Option<Runtime>,
    url: String,
    patience: Patience,
    /// Whether it has answered once.
    is_open: bool,
}

/// How creating an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was not there before.
    New,
    /// It was there, with the same bytes: somebody was here before, maybe this very program.
    Same,
    /// It was there with these other bytes, which stay; with none where they are too many to be fetched.
    Other(Bytes),
}

impl Store {
    /// Opens a store by its URL or folder, and looks whether it answers. `ca` is a file of certificates (PEM)
    /// that are trusted beside those of the system, for servers with a private authority.
    ///
    /// # Errors
    /// If the URL is none that is known, the folder or bucket is not there, or does not answer.
    pub fn open(url: &str, ca: Option<&Path>, patience: Patience) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Url { url: url.to_owned(), problem };
        let (objects, root, folder) = match place(url).map_err(wrong)? {
            Place::Folder(folder) => {
                let (objects, root) = folder_store(&folder).map_err(wrong)?;
                (objects, root, Some(folder))
            }
            Place::Bucket(parsed) => {
                let (objects, root) = bucket::open(&parsed, ca).map_err(wrong)?;
                (Arc::new(objects) as Arc<dyn ObjectStore>, root, None)
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| wrong(format!("no threads to talk to it: {error}")))?;
        let (runtime, url) = (Some(runtime), url.to_owned());
        let mut store = Self { objects, root, folder, runtime, url, patience, is_open: false };
        store.answers()?;
        store.is_open = true;
        Ok(store)
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

    /// Fails if the bucket is not there: else nothing would ever be found, without a word.
    fn answers(&self) -> Result<(), Error> {
        if let Some(root) = &self.folder {
            return self.wait("list", "its objects", async || folders::answers(root));
        }
        let first = async || {
            let mut list = self.objects.list(Some(&self.root));
            list.next().await.transpose().map(|_| ())
        };
        self.wait("list", "its objects", first)
    }

    /// Creates an object, if there is none of that path. Until the store answers this is tried again.
    ///
    /// # Errors
    /// If the store refuses, or patience ends.
    pub fn create(&self, path: &str, bytes: &[u8]) -> Result<Created, Error> {
        let at = self.at(path);
        let put = async || {
            let payload = PutPayload::from_bytes(Bytes::copy_from_slice(bytes));
            match self.objects.put_opts(&at, payload, PutOptions::from(PutMode::Create)).await {
                Ok(_) => Ok(Created::New),
                // Or this program was here before and the answer was lost.
                Err(object_store::Error::AlreadyExists { .. }) => {
                    let most = MOST_OTHER.max(bytes.len() as u64);
                    match self.fetch(&at, most).await? {
                        Fetched::Bytes(there) if there == bytes => Ok(Created::Same),
                        Fetched::Bytes(there) => Ok(Created::Other(there)),
                        _ => Ok(Created::Other(Bytes::new())),
                    }
                }
                Err(error) => Err(error),
            }
        };
        self.wait("create", path, put)
    }

    /// The bytes of an object, if it is there. One of more than `most` bytes is not fetched.
    ///
    /// # Errors
    /// If it is larger, the store refuses, or patience ends.
    pub fn get(&self, path: &str, most: u64) -> Result<Option<Bytes>, Error> {
        let at = self.at(path);
        self.wait("get", path, async || self.fetch(&at, most).await)?.found(path, most)
    }

    /// The same of several objects, some at a time.
    ///
    /// # Errors
    /// If the store refuses, or patience ends; what is too large fails alone.
    pub fn get_all(
        &self,
        objects: &[(String, u64)],
    ) -> Result<Vec<Result<Option<Bytes>, Error>>, Error> {
        let all = async || {
            let each =
                objects.iter().map(async |(path, most)| self.fetch(&self.at(path), *most).await);
            futures::stream::iter(each).buffered(AT_A_TIME).try_collect::<Vec<_>>().await
        };
        let fetched = self.wait("get", objects.first().map_or("", |(path, _)| path), all)?;
        let found = fetched.into_iter().zip(objects);
        let found = found.map(|(fetched, (path, most))| fetched.found(path, *most));
        Ok(found.collect())
    }

    async fn fetch(&self, at: &ObjectPath, most: u64) -> Result<Fetched, object_store::Error> {
        // To open a pipe would wait for whoever writes to it.
        if self.folder.as_ref().is_some_and(|root| folders::is_no_file(&root.join(at.as_ref()))) {
            return Ok(Fetched::NoFile);
        }
        let found = match self.objects.get(at).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Fetched::Nothing),
            Err(error) => return Err(error),
        };
        if found.meta.size > most {
            return Ok(Fetched::TooLarge(found.meta.size));
        }
        // The store may send more than it said.
        let mut bytes = Vec::new();
        let mut stream = found.into_stream();
        while let Some(piece) = stream.try_next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > most {
                return Ok(Fetched::TooLarge(bytes.len() as u64));
            }
        }
        Ok(Fetched::Bytes(bytes.into()))
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// If the store refuses, or patience ends.
    pub fn has(&self, path: &str) -> Result<bool, Error> {
        let at = self.at(path);
        let head = async || match self.objects.head(&at).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        self.wait("find", path, head)
    }

    /// The objects below a folder, at any depth, sorted by path.
    ///
    /// # Errors
    /// If the store refuses, or patience ends.
    pub fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        let at = self.at(folder);
        if let Some(root) = &self.folder {
            return self.wait("list", folder, async || folders::list(root, folder));
        }
        let list = async || self.objects.list(Some(&at)).try_collect::<Vec<_>>().await;
        let found = self.wait("list", folder, list)?;
        let prefix = if self.root.as_ref().is_empty() { 0 } else { self.root.as_ref().len() + 1 };
        let mut objects: Vec<Object> = found
            .into_iter()
            .filter_map(|meta| {
                let path = meta.location.as_ref().get(prefix..)?.to_owned();
                Some(Object { path, bytes: meta.size })
            })
            .collect();
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    /// A path below the root. All paths here are made of names and hashes, which need no escape.
    fn at(&self, path: &str) -> ObjectPath {
        let path = ObjectPath::from(path);
        self.root.parts().chain(path.parts()).collect()
    }

    fn wait<T>(
        &self,
        what: &'static str,
        path: &str,
        tried: impl AsyncFn() -> Result<T, object_store::Error>,
    ) -> Result<T, Error> {
        let present = || self.folder.as_ref().is_none_or(|folder| folder.is_dir());
        let done = match &self.runtime {
            Some(runtime) => patiently(runtime, (&self.patience, self.is_open), &present, tried),
            None => Err(Failed::Stopped),
        };
        done.map_err(|failed| failed.named(&self.url, what, path))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Not to wait for a file that is none, such as a pipe.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Most bytes that are fetched of an object in the place of another one.
const MOST_OTHER: u64 = 32 << 20;

/// What a request for an object gave.
enum Fetched {
    Nothing,
    Bytes(Bytes),
    TooLarge(u64),
    /// A folder, a pipe or the like.
    NoFile,
}

impl Fetched {
    fn found(self, path: &str, most: u64) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Nothing => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::TooLarge(bytes) => Err(too_large(path, bytes, most)),
            Self::NoFile => Err(Error::refused(path, "is no plain file")),
        }
    }
}

fn too_large(path: &str, bytes: u64, most: u64) -> Error {
    Error::refused(path, format!("has {bytes} bytes, at most {most} are taken"))
}

/// What a URL stands for.
enum Place {
    Folder(PathBuf),
    Bucket(Url),
}

fn place(url: &str) -> Result<Place, String> {
    if !url.contains("://") {
        return Ok(Place::Folder(PathBuf::from(url)));
    }
    let parsed = Url::parse(url)
        .map_err(|error| format!("{error}; give a folder, file:///folder or s3://bucket/prefix"))?;
    match parsed.scheme() {
        "file" => {
            let folder = parsed.to_file_path();
            folder.map(Place::Folder).map_err(|()| {
                "no path of this machine; file:///folder has three slashes".to_owned()
            })
        }
        "s3" => Ok(Place::Bucket(parsed)),
        other => Err(format!(
            "no store of kind {other:?} is known; give a folder, file:///folder or s3://bucket/prefix"
        )),
    }
}

type Opened = (Arc<dyn ObjectStore>, ObjectPath);

fn folder_store(folder: &Path) -> Result<Opened, String> {
    if !folder.is_dir() {
        return Err(format!(
            "{} is no folder; make it, or start the center first, which does",
            folder.display()
        ));
    }
    // What is said to be there has to be there after a power cut.
    let store = LocalFileSystem::new_with_prefix(folder)
        .map_err(|error| error.to_string())?
        .with_fsync(true);
    Ok((Arc::new(store), ObjectPath::default()))
}
