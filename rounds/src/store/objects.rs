//! Objects in a folder or a bucket, by `object_store`.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;

use super::folders;
use super::found::{Created, Fetched, MOST_OTHER};
use super::object::Object;
use super::waiting::{Answer, Failed, Patience, answer, patiently};

/// Objects that are fetched at a time.
const AT_A_TIME: usize = 16;

/// A folder or a bucket.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) by: Arc<dyn ObjectStore>,
    pub(super) root: ObjectPath,
    pub(super) place: Place,
    /// Whether it has answered once.
    is_open: bool,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

/// Which of the two.
#[derive(Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket(Arc<AmazonS3>),
}

/// What came of something, with a reason if there is no hope.
pub(super) type Done<T> = Result<T, Failed>;

impl Objects {
    pub(super) fn of_folder(folder: PathBuf) -> Result<Self, String> {
        if !folder.is_dir() {
            return Err(format!(
                "{} is no folder; make it, or start the center first, which does",
                folder.display()
            ));
        }
        // What is said to be there has to be there after a power cut.
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| error.to_string())?
            .with_fsync(true);
        Self::new(Arc::new(store), ObjectPath::default(), Place::Folder(folder))
    }

    pub(super) fn of_bucket(bucket: AmazonS3, root: ObjectPath) -> Result<Self, String> {
        let bucket = Arc::new(bucket);
        Self::new(Arc::clone(&bucket) as Arc<dyn ObjectStore>, root, Place::Bucket(bucket))
    }

    fn new(objects: Arc<dyn ObjectStore>, root: ObjectPath, place: Place) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| format!("no threads to talk to it: {error}"))?;
        Ok(Self { by: objects, root, place, is_open: false, runtime: Some(runtime) })
    }

    /// Fails if the bucket is not there: else nothing would ever be found, without a word.
    pub(super) fn answers(&mut self, patience: &Patience) -> Done<()> {
        let first = async || {
            if let Place::Folder(root) = &self.place {
                return folders::answers(root);
            }
            let mut list = self.by.list(Some(&self.root));
            list.next().await.transpose().map(|_| ())
        };
        self.wait(patience, first)?;
        self.is_open = true;
        Ok(())
    }

    pub(super) fn create(&self, path: &str, bytes: &[u8], patience: &Patience) -> Done<Created> {
        let at = self.at(path);
        let put = async || {
            let payload = PutPayload::from_bytes(Bytes::copy_from_slice(bytes));
            match self.by.put_opts(&at, payload, PutOptions::from(PutMode::Create)).await {
                Ok(_) => Ok(Created::New),
                // Or this program was here before and the answer was lost.
                Err(object_store::Error::AlreadyExists { .. }) => {
                    let most = MOST_OTHER.max(bytes.len() as u64);
                    Ok(self.fetch(&at, most).await?.beside(bytes))
                }
                Err(error) => Err(error),
            }
        };
        self.wait(patience, put)
    }

    pub(super) fn get(&self, path: &str, most: u64, patience: &Patience) -> Done<Fetched> {
        let at = self.at(path);
        self.wait(patience, async || self.fetch(&at, most).await)
    }

    pub(super) fn get_all(
        &self,
        objects: &[(String, u64)],
        patience: &Patience,
    ) -> Done<Vec<Fetched>> {
        let all = async || {
            let each =
                objects.iter().map(async |(path, most)| self.fetch(&self.at(path), *most).await);
            futures::stream::iter(each).buffered(AT_A_TIME).try_collect::<Vec<_>>().await
        };
        self.wait(patience, all)
    }

    async fn fetch(&self, at: &ObjectPath, most: u64) -> Result<Fetched, object_store::Error> {
        // To open a pipe would wait for whoever writes to it.
        if let Place::Folder(root) = &self.place
            && folders::is_no_file(&root.join(at.as_ref()))
        {
            return Ok(Fetched::NoFile);
        }
        let found = match self.by.get(at).await {
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

    pub(super) fn has(&self, path: &str, patience: &Patience) -> Done<bool> {
        let at = self.at(path);
        let head = async || match self.by.head(&at).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        self.wait(patience, head)
    }

    pub(super) fn list(&self, folder: &str, patience: &Patience) -> Done<Vec<Object>> {
        let at = self.at(folder);
        if let Place::Folder(root) = &self.place {
            return self.wait(patience, async || folders::list(root, folder));
        }
        let list = async || self.by.list(Some(&at)).try_collect::<Vec<_>>().await;
        let found = self.wait(patience, list)?;
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
    pub(super) fn at(&self, path: &str) -> ObjectPath {
        let path = ObjectPath::from(path);
        self.root.parts().chain(path.parts()).collect()
    }

    /// Runs what needs no patience.
    pub(super) fn once<T>(&self, tried: impl Future<Output = T>) -> Option<T> {
        Some(self.runtime.as_ref()?.block_on(tried))
    }

    /// Tries until it is done, as long as patience lasts.
    pub(super) fn wait<T>(
        &self,
        patience: &Patience,
        tried: impl AsyncFn() -> Result<T, object_store::Error>,
    ) -> Done<T> {
        let runtime = self.runtime.as_ref().ok_or(Failed::Stopped)?;
        patiently((patience, self.is_open), &mut || {
            // A folder that is gone, as that of a disk that was taken out, is not made anew.
            if let Place::Folder(folder) = &self.place
                && !folder.is_dir()
            {
                return Ok(Answer::Silence("the folder is not there any more".to_owned()));
            }
            runtime.block_on(answer(patience, &tried))
        })
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Not to wait for a file that is none, such as a pipe.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
