//! Which credential, from where, and if there is none, what was tried. It never reads environment
//! or home directory by itself: both come in [`Surroundings`], and every answer comes with a
//! [`Report`] that names each source in order, and never a secret.
//!
//! What a credential is used for belongs to the backends. Each feature brings one chain:
//!
//! | Feature | Chain |
//! |---|---|
//! | `aws` | Amazon Web Services: `aws::discover` |

#[cfg(feature = "aws")]
pub mod aws;

pub use nexus_core::{Answer, Attempt, Finding, Report, Surroundings};
