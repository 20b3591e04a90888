//! Moving large bodies to and from a store that is reached by single requests: how they are cut,
//! how much is in flight, and how a transfer goes on after one that broke. It knows ranges and
//! pieces, and neither keys nor any provider.
//!
//! - `backoff`: how long to wait before the same request is sent again
//! - `resume`: one range, over as many requests as it takes
//! - `download`: many ranges at once, in order
//! - `verify`: the recorded digest of a whole body
//! - `parts`: how an upload of unknown length is cut

pub(crate) mod backoff;
pub(crate) mod download;
pub(crate) mod parts;
pub(crate) mod resume;
pub(crate) mod verify;

use std::ops::Range;

use futures_util::stream::BoxStream;
use nexus_core::{Bytes, Result, async_trait};

/// Pieces of a range as they arrive. It may end early, with an error or without: whoever reads it
/// counts.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes>>;

/// Gives the bytes of one state of one object.
#[async_trait]
pub(crate) trait Ranges: Send + Sync + 'static {
    /// Begins to send a range that is not empty, of the very state that this stands for, else
    /// `PreconditionFailed`.
    async fn open(&self, range: Range<u64>) -> Result<Pieces>;
}
