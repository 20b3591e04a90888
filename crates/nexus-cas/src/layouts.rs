//! Which layout a mount gets, and why: the rule, and the sentence that tells it.

use std::path::PathBuf;
use std::sync::Arc;

use nexus_core::{
    Backend, Chosen, Error, ErrorKind, Layout, Layouts, MountUri, Result, async_trait,
};

use crate::backend::{CasBackend, Options};
use crate::chunker::ChunkSizes;
use crate::refs::Refs;
use crate::refs::sqlite::{Durability, SqliteRefs};
use crate::store::{self, OpenRefs};

/// The directory of the store in the root of a mount.
const STORE: &str = ".nexus";

/// The content-addressed layout, and the rule that chooses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CasLayouts;

#[async_trait]
impl Layouts for CasLayouts {
    async fn choose(
        &self,
        uri: &MountUri,
        plain: Arc<dyn Backend>,
        wanted: Option<Layout>,
    ) -> Result<Chosen> {
        let holds_store = store::is_there(&*plain).await?;
        let root = plain.info().capabilities.local_root.clone();
        let vacant = !holds_store && store::is_vacant(&*plain).await?;
        let (layout, reason) = match wanted {
            Some(Layout::Plain) => (Layout::Plain, "`layout=plain` asks for it"),
            Some(Layout::Cas) if holds_store || vacant => (
                Layout::Cas,
                match uri.option("layout") {
                    Some("cas") => "`layout=cas` asks for it",
                    _ => "`chunking` asks for it",
                },
            ),
            Some(Layout::Cas) => return Err(not_empty()),
            None if holds_store => {
                (Layout::Cas, "the directory holds a store; `layout=plain` shows its files instead")
            }
            None if vacant && root.is_some() => (
                Layout::Cas,
                "the directory is empty, and the first write makes it a store; `layout=plain` \
                 puts every file at its own path instead",
            ),
            None => (
                Layout::Plain,
                "every file is at its own path, as the directory holds files and no store",
            ),
        };
        let reason = reason.to_owned();
        if layout == Layout::Plain {
            return Ok(Chosen { backend: plain, reason });
        }
        let Some(root) = root else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "content by digest needs a directory of this computer so far",
            )
            .with_hint("mount it with `layout=plain`"));
        };
        let durability = match uri.option("durability") {
            Some("process") => Durability::Process,
            _ => Durability::Full,
        };
        let options = Options {
            durable: durability == Durability::Full,
            store_id: Some(format!("cas:{}", root.display()).into()),
            refs: refs_in(root.join(STORE), durability),
            chunking: (uri.option("chunking") == Some("cdc")).then_some(ChunkSizes::LOCAL),
            reason: reason.clone(),
        };
        let backend = CasBackend::open(plain, options).await?;
        Ok(Chosen { backend: Arc::new(backend), reason })
    }
}

fn refs_in(dir: PathBuf, durability: Durability) -> OpenRefs {
    Arc::new(move |probe, expect| {
        let dir = dir.clone();
        Box::pin(async move {
            let opening = tokio::task::spawn_blocking(move || {
                SqliteRefs::open(&dir, durability, expect, probe)
            });
            let refs = opening.await.map_err(|error| {
                Error::new(ErrorKind::Closed, "the runtime is shutting down").with_source(error)
            })?;
            Ok(Arc::new(refs?) as Arc<dyn Refs>)
        })
    })
}

fn not_empty() -> Error {
    Error::new(ErrorKind::MountConflict, "the directory holds files, and no store")
        .with_hint("mount an empty directory with `layout=cas`, and copy the files into it")
}
