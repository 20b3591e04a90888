//! Listings, a page at a time: the next page is asked for when the last one was taken.

use std::collections::VecDeque;
use std::sync::Arc;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use futures_util::StreamExt;
use futures_util::stream;
use nexus_core::{Entry, Error, ErrorKind, ListOptions, Listing, Metadata, Result, VfsPath};

use crate::about::file;
use crate::error::from_sdk;
use crate::keys::{Named, decode};
use crate::store::{Store, size};

/// The most keys of a page.
const PAGE: usize = 1000;

pub(crate) async fn list(
    store: &Arc<Store>,
    path: &VfsPath,
    options: &ListOptions,
) -> Result<Listing> {
    let mut lister = Lister {
        store: Arc::clone(store),
        dir: path.clone(),
        recursive: options.recursive,
        page: options.limit.map_or(PAGE, |limit| limit.saturating_add(1).min(PAGE)),
        token: None,
        over: false,
        entries: VecDeque::new(),
        above: path.clone(),
    };
    let found = lister.turn().await?;
    if !found && !path.is_root() {
        let file = store.head(&store.keys.file(path)?).await?.is_some();
        return Err(match file {
            true => Error::new(ErrorKind::NotADirectory, "is not a directory"),
            false => Error::not_found(path),
        });
    }
    let entries = stream::unfold(lister, |mut lister| async move {
        let entry = lister.next().await?;
        Some((entry, lister))
    });
    Ok(entries.take(options.limit.unwrap_or(usize::MAX)).boxed())
}

struct Lister {
    store: Arc<Store>,
    dir: VfsPath,
    recursive: bool,
    page: usize,
    token: Option<String>,
    over: bool,
    entries: VecDeque<Result<Entry>>,
    /// The directory of the last key of a tree: those above it have been given.
    above: VfsPath,
}

impl Lister {
    async fn next(&mut self) -> Option<Result<Entry>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Some(entry);
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.turn().await {
                self.over = true;
                return Some(Err(error.with_path(self.dir.as_str())));
            }
        }
    }

    /// Asks for the next page; answers whether it holds any key, the directory's own marker too.
    async fn turn(&mut self) -> Result<bool> {
        self.store.check_open()?;
        let request = self.store.client.list_objects_v2().bucket(&self.store.config.bucket);
        let request = request
            .prefix(self.store.keys.directory(&self.dir))
            .max_keys(i32::try_from(self.page).unwrap_or(1000))
            .encoding_type(EncodingType::Url)
            .set_delimiter((!self.recursive).then(|| "/".to_owned()))
            .set_continuation_token(self.token.clone())
            .set_request_payer(self.store.payer());
        let answer = request.send().await.map_err(from_sdk)?;
        let before = self.token.take();
        let Some(goes_on) = answer.is_truncated else {
            return Err(Error::new(ErrorKind::Internal, "the store sent half a listing"));
        };
        if goes_on {
            self.token.clone_from(&answer.next_continuation_token);
            if self.token.is_none() || self.token == before {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "the store says that the listing goes on, and not where",
                ));
            }
        } else {
            self.over = true;
        }
        let found = !answer.contents().is_empty() || !answer.common_prefixes().is_empty();
        self.take(&answer);
        Ok(found)
    }

    /// The entries of a page. Objects and directories come in two lists, each in the order of keys.
    fn take(&mut self, page: &ListObjectsV2Output) {
        for prefix in page.common_prefixes() {
            self.key(page, prefix.prefix().unwrap_or_default(), Metadata::directory());
        }
        for object in page.contents() {
            let size = size(object.size());
            let metadata = file(size, object.e_tag(), object.last_modified());
            self.key(page, object.key().unwrap_or_default(), metadata);
        }
    }

    fn key(&mut self, page: &ListObjectsV2Output, key: &str, metadata: Metadata) {
        let key = match page.encoding_type() {
            Some(EncodingType::Url) => decode(key),
            _ => Ok(key.to_owned()),
        };
        match key.and_then(|key| self.store.keys.named(&key)) {
            Ok(Named::Root) => {}
            Ok(Named::Directory(path)) if path == self.dir => {}
            Ok(Named::Directory(path)) if self.recursive => self.directories(&path),
            Ok(Named::Directory(path)) => {
                self.entries.push_back(Ok(Entry::new(path, Metadata::directory())));
            }
            Ok(Named::File(path)) => {
                if self.recursive
                    && let Some(parent) = path.parent()
                {
                    self.directories(&parent);
                }
                self.entries.push_back(Ok(Entry::new(path, metadata)));
            }
            Err(error) => self.entries.push_back(Err(error)),
        }
    }

    /// Gives `path` and the directories above it, as far as the key before was not in them. What is
    /// below one directory comes together.
    fn directories(&mut self, path: &VfsPath) {
        let new = std::iter::successors(Some(path.clone()), VfsPath::parent)
            .take_while(|path| !self.above.starts_with(path));
        let new: Vec<_> = new.collect();
        for path in new.into_iter().rev() {
            self.entries.push_back(Ok(Entry::new(path, Metadata::directory())));
        }
        self.above = path.clone();
    }
}
