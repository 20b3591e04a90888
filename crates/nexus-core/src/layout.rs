//! Which layout a storage mount gets: what the kernel asks of whoever knows more than the plain one.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Backend, Error, ErrorKind, Layout, MountUri, Operation, Result};

/// The option of a mount URI that names a layout. A backend whose descriptor has it can be mounted in
/// more than one.
pub(crate) const OPTION: &str = "layout";

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

/// The layout that a URI names.
///
/// # Errors
/// `InvalidOption` for a word that is no layout.
pub(crate) fn wanted(uri: &MountUri) -> Result<Option<Layout>> {
    match uri.option(OPTION) {
        None | Some("auto") => Ok(None),
        Some("plain") => Ok(Some(Layout::Plain)),
        Some("cas") => Ok(Some(Layout::Cas)),
        Some(other) => {
            Err(Error::new(ErrorKind::InvalidOption, format!("`layout` can not be `{other}`"))
                .with_operation(Operation::Mount)
                .with_path(uri.to_string())
                .with_hint("it is `auto`, `cas` or `plain`"))
        }
    }
}

/// The refusal of a layout that this program was built without.
pub(crate) fn not_built(uri: &MountUri) -> Error {
    Error::new(ErrorKind::InvalidOption, "this build has no content-addressed layout")
        .with_operation(Operation::Mount)
        .with_path(uri.to_string())
        .with_hint("rebuild with feature `layout-cas`, or mount with `layout=plain`")
}
