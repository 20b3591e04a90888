//! Which layout a storage mount gets: what the kernel asks of whoever knows more than the plain one.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Backend, Error, ErrorKind, Layout, MountUri, Operation, Result};

/// The option of a mount URI that names a layout. A backend whose descriptor has it can be mounted in
/// more than one.
pub(crate) const OPTION: &str = "layout";

/// The option that says how large content is cut. Only content by digest is.
const CHUNKING: &str = "chunking";

/// A backend in the layout that was chosen.
pub struct Chosen {
    /// The backend.
    pub backend: Arc<dyn Backend>,
    /// Why this layout, and the option that changes it, in one sentence.
    pub reason: String,
}

/// Knows layouts beside the plain one.
#[async_trait]
pub trait Layouts: Send + Sync + 'static {
    /// Puts a plain backend, freshly opened, into the layout that `wanted` names; `None` leaves the
    /// choice to what the root holds.
    async fn choose(
        &self,
        uri: &MountUri,
        plain: Arc<dyn Backend>,
        wanted: Option<Layout>,
    ) -> Result<Chosen>;
}

/// The layout that a URI names, or that another of its options needs.
///
/// # Errors
/// `InvalidOption` for a word that is no layout, and for options that contradict each other.
pub(crate) fn wanted(uri: &MountUri) -> Result<Option<Layout>> {
    let in_chunks = uri.option(CHUNKING).is_some_and(|value| value != "none");
    match uri.option(OPTION) {
        Some("plain") if in_chunks => {
            Err(refused(uri, "`chunking` is for content by digest, not for `layout=plain`")
                .with_hint("leave one of the two out"))
        }
        Some("cas") => Ok(Some(Layout::Cas)),
        None | Some("auto") => Ok(in_chunks.then_some(Layout::Cas)),
        Some("plain") => Ok(Some(Layout::Plain)),
        Some(other) => Err(refused(uri, format!("`layout` can not be `{other}`"))
            .with_hint("it is `auto`, `cas` or `plain`")),
    }
}

fn refused(uri: &MountUri, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
        .with_operation(Operation::Mount)
        .with_path(uri.to_string())
}

/// The refusal of a layout that this program was built without.
pub(crate) fn not_built(uri: &MountUri) -> Error {
    refused(uri, "this build has no content-addressed layout")
        .with_hint("rebuild with feature `layout-cas`, or mount with `layout=plain`")
}
