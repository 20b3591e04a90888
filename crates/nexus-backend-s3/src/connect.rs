//! From a mount URI to a backend: credentials, the client, and a first look at the bucket.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use nexus_core::{
    Backend, Candidate, Error, ErrorKind, MountContext, MountUri, Operation, Result, async_trait,
};
use nexus_creds::aws::{self, AwsFound};

use crate::backend::S3Backend;
use crate::config::Config;
use crate::error::from_sdk;
use crate::probe::{self, Conditions};
use crate::store::{Store, timeouts};

/// Attempts of one request, the first included. Requests of one client share a budget beside it, so
/// that a store in trouble is not asked ever more often.
const ATTEMPTS: u32 = 4;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a body may stand still before it is given up.
const STALLED: Duration = Duration::from_secs(10);

struct Prepared {
    config: Config,
    context: MountContext,
    found: Option<AwsFound>,
}

pub(crate) fn build(uri: &MountUri, context: &MountContext) -> Result<Box<dyn Candidate>> {
    let config = Config::from_uri(uri)?;
    Ok(Box::new(Prepared { config, context: context.clone(), found: None }))
}

#[async_trait]
impl Candidate for Prepared {
    async fn check_credentials(&mut self) -> Result<()> {
        self.found = Some(aws::discover(&self.context.surroundings, &self.config.aws).await?);
        Ok(())
    }

    async fn open(mut self: Box<Self>) -> Result<Arc<dyn Backend>> {
        let found = match self.found.take() {
            Some(found) => found,
            None => aws::discover(&self.context.surroundings, &self.config.aws).await?,
        };
        let client = client(&found, &self.config);
        let report = found.report.clone();
        let about = |error: Error| {
            error
                .with_operation(Operation::Mount)
                .with_path(self.config.uri.clone())
                .with_report(report.clone())
        };
        exists(&client, &self.config).await.map_err(about)?;
        let conditions = if found.anonymous {
            Conditions::default()
        } else {
            let of_amazon = found.config.endpoint_url().is_none();
            probe::conditions(&client, &self.config, of_amazon).await.map_err(about)?
        };
        let budget = self.context.budget.clone();
        let store = Store::new(client, self.config, conditions, budget);
        Ok(Arc::new(S3Backend::new(store, Some(found.report))))
    }
}

/// A client of the bucket's store. It follows no redirect: the HTTP client below it does not.
fn client(found: &AwsFound, config: &Config) -> Client {
    let custom = found.config.endpoint_url().is_some();
    let mut builder = Builder::from(&found.config)
        .behavior_version(BehaviorVersion::latest())
        .force_path_style(config.path_style.unwrap_or(custom))
        .timeout_config(timeouts(0))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(STALLED).build(),
        )
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(FIRST_WAIT)
                .with_max_backoff(LONGEST_WAIT),
        );
    if custom {
        // Trailers with checksums break some compatible stores.
        builder = builder
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    if found.anonymous {
        builder = builder.allow_no_auth();
    }
    Client::from_conf(builder.build())
}

/// Whether the bucket is there, and in the region that was found. Some may read and not list it:
/// a refusal of this very question does not stop a mount.
async fn exists(client: &Client, config: &Config) -> Result<()> {
    match client.head_bucket().bucket(&config.bucket).send().await.map_err(from_sdk) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::Unsupported => Ok(()),
            ErrorKind::NotFound => Err(Error::new(ErrorKind::NotFound, "there is no such bucket")
                .with_hint("make it first; nexus-fs makes no buckets")),
            _ => Err(error),
        },
    }
}
