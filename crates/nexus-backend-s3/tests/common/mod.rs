//! Buckets on the servers that `cargo xtask peers` started, and mounts of them.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test fails by panicking, and uses what it needs"
)]

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use nexus_core::{Backend, MountContext, MountUri, Surroundings};

/// A server, by the variable that has its address.
pub(crate) const SEAWEEDFS: &str = "NEXUS_TEST_S3_SEAWEEDFS";
pub(crate) const MINISTACK: &str = "NEXUS_TEST_S3_MINISTACK";

/// The key that both servers were told of.
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")];

/// A bucket of one server.
pub(crate) struct Bucket {
    pub(crate) endpoint: String,
    pub(crate) name: String,
}

impl Bucket {
    /// A bucket that was not there before.
    pub(crate) async fn make(server: &str) -> Self {
        let endpoint = std::env::var(server)
            .unwrap_or_else(|_| panic!("run it by `cargo xtask peers`, which sets {server}"));
        let name = format!("nexus-{:016x}", fastrand::u64(..));
        let bucket = Self { endpoint, name };
        bucket.client().create_bucket().bucket(&bucket.name).send().await.unwrap();
        bucket
    }

    /// Another program that works on the bucket.
    pub(crate) fn client(&self) -> Client {
        let credentials = Credentials::new("AK", "SK", None, None, "test");
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .credentials_provider(credentials);
        Client::from_conf(config.build())
    }

    /// A mount of a directory of the bucket.
    pub(crate) async fn mount(&self, prefix: &str) -> Arc<dyn Backend> {
        let uri = format!("s3://{}{prefix}?endpoint={}", self.name, self.endpoint);
        let uri: MountUri = uri.parse().unwrap();
        let surroundings = Surroundings::new(KEYS, None);
        let context = MountContext { surroundings, ..MountContext::default() };
        let mut candidate = (nexus_backend_s3::DESCRIPTOR.build)(&uri, &context).unwrap();
        candidate.check_credentials().await.unwrap();
        candidate.open().await.unwrap()
    }
}
