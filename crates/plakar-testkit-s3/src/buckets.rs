//! The buckets: `s3s-fs`, made to do what S3 does where a file system does not.
//!
//! 1. What refuses to replace does so however many ask at once.
//! 2. What is refused, were it because it is not what its checksum says, is not there.
//! 3. A folder is no object.
//! 4. Keys are as long as S3 has them: the last part of one may be too long for the files that `s3s-fs` keeps beside it.

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A key that is longer is kept under another.
const KEY_MAX: usize = 120;

/// Buckets in a folder.
pub struct Buckets {
    inner: FileSystem,
    root: PathBuf,
    /// What is kept under another key, by that.
    long: Mutex<HashMap<String, String>>,
    putting: tokio::sync::Mutex<()>,
}

impl Buckets {
    pub fn new(root: &Path) -> Buckets {
        let inner = FileSystem::new(root).expect("a folder");
        Buckets {
            inner,
            root: root.to_owned(),
            long: Mutex::default(),
            putting: tokio::sync::Mutex::default(),
        }
    }

    /// The key under which one is kept.
    fn kept(&self, key: &mut String) {
        if key.len() > KEY_MAX {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            let folder = key.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            let short = format!("{folder}long-{:016x}", hasher.finish());
            self.long
                .lock()
                .expect("no panic while held")
                .insert(short.clone(), std::mem::replace(key, short));
        }
    }

    fn is_folder(&self, bucket: &str, key: &str) -> bool {
        self.root.join(bucket).join(key).is_dir()
    }
}

#[async_trait::async_trait]
impl S3 for Buckets {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.kept(&mut request.input.key);
        let path = self.root.join(&request.input.bucket).join(&request.input.key);
        let _one = self.putting.lock().await;
        let there = path.exists();
        let answer = self.inner.put_object(request).await;
        if answer.is_err() && !there {
            let _ = std::fs::remove_file(path);
        }
        answer
    }

    async fn get_object(
        &self,
        mut request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.kept(&mut request.input.key);
        if self.is_folder(&request.input.bucket, &request.input.key) {
            return Err(s3_error!(NoSuchKey));
        }
        if !self.root.join(&request.input.bucket).is_dir() {
            return Err(s3_error!(NoSuchBucket));
        }
        self.inner.get_object(request).await
    }

    async fn head_object(
        &self,
        mut request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.kept(&mut request.input.key);
        if self.is_folder(&request.input.bucket, &request.input.key) {
            return Err(s3_error!(NoSuchKey));
        }
        self.inner.head_object(request).await
    }

    async fn delete_object(
        &self,
        mut request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.kept(&mut request.input.key);
        if self.is_folder(&request.input.bucket, &request.input.key) {
            return Ok(S3Response::new(DeleteObjectOutput::default()));
        }
        self.inner.delete_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        // While something is moved into its place it is not looked at.
        let _one = self.putting.lock().await;
        let mut answer = self.inner.list_objects_v2(request).await?;
        let long = self.long.lock().expect("no panic while held");
        for object in answer.output.contents.iter_mut().flatten() {
            if let Some(key) = object.key.as_ref().and_then(|key| long.get(key)) {
                object.key = Some(key.clone());
            }
        }
        Ok(answer)
    }
}
