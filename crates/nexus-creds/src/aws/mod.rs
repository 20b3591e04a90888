//! Amazon Web Services: credentials, region and endpoint, for S3 and what is compatible with it.
//! What they are used for belongs to the backend.
//!
//! - `environment`: variables
//! - `options`: what a mount says itself

mod environment;
mod options;

use aws_types::SdkConfig;
use nexus_core::{Report, Result, Surroundings};

pub use self::options::AwsOptions;

/// What a discovery found. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct AwsFound {
    /// What a client begins with: credentials, region, endpoint. Without credentials when the mount is
    /// anonymous.
    pub config: SdkConfig,
    /// Whether requests are not signed.
    pub anonymous: bool,
    /// Whether nothing says which region, so that `us-east-1` was assumed.
    pub region_assumed: bool,
    /// Each source that was asked, for credentials, region and endpoint.
    pub report: Report,
}

/// Looks for credentials, region and endpoint: in `options`, then in environment variables. The
/// first source that answers is used.
///
/// # Errors
/// `Unauthenticated` with the report and what to do next.
pub async fn discover(surroundings: &Surroundings, options: &AwsOptions) -> Result<AwsFound> {
    environment::discover(surroundings, options)
}
