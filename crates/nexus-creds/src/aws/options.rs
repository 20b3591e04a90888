//! What a mount says itself of credentials, region and endpoint.

use std::time::Duration;

use nexus_core::{Error, ErrorKind, MountUri, Operation, OptionSpec, Result};

/// The options of a mount that a discovery knows. By default none is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsOptions {
    /// The profile in the files of `~/.aws`; the environment's keys are passed over then.
    pub profile: Option<String>,
    /// The region, before any other source.
    pub region: Option<String>,
    /// The endpoint's URL, before any other source.
    pub endpoint: Option<String>,
    /// Sign nothing, and look for no credentials.
    pub anonymous: bool,
    /// How long the whole discovery may take. Default [`AwsOptions::DEADLINE`].
    pub deadline: Duration,
}

impl AwsOptions {
    /// How long a discovery may take unless told otherwise: a mount without credentials fails
    /// within 3 seconds, and this leaves it time to say so.
    pub const DEADLINE: Duration = Duration::from_millis(2500);

    /// The options as a descriptor lists them.
    pub const SPECS: [OptionSpec; 4] = [
        OptionSpec {
            name: "profile",
            values: "NAME",
            summary: "the profile in the files of `~/.aws` that has the credentials",
        },
        OptionSpec {
            name: "region",
            values: "NAME",
            summary: "the region; else from the environment or the profile",
        },
        OptionSpec {
            name: "endpoint",
            values: "URL",
            summary: "where the service is; else from the environment, the profile, or Amazon's own",
        },
        OptionSpec {
            name: "anonymous",
            values: "false|true",
            summary: "sign nothing; for public data",
        },
    ];

    /// Reads the options of a mount URI. No I/O.
    ///
    /// # Errors
    /// `InvalidOption` for an empty value, and for `anonymous` that is neither `true` nor `false`.
    pub fn from_uri(uri: &MountUri) -> Result<Self> {
        let text = |name: &str| match uri.option(name) {
            Some("") => Err(invalid(format!("option `{name}` has no value"))),
            value => Ok(value.map(str::to_owned)),
        };
        let anonymous = match uri.option("anonymous") {
            None | Some("false") => false,
            Some("" | "true") => true,
            Some(other) => {
                return Err(invalid(format!("option `anonymous` can not be `{other}`"))
                    .with_hint("`anonymous` is one of: false, true"));
            }
        };
        Ok(Self {
            profile: text("profile")?,
            region: text("region")?,
            endpoint: text("endpoint")?,
            anonymous,
            ..Self::default()
        })
    }
}

impl Default for AwsOptions {
    fn default() -> Self {
        Self {
            profile: None,
            region: None,
            endpoint: None,
            anonymous: false,
            deadline: Self::DEADLINE,
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOption, message).with_operation(Operation::Mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(uri: &str) -> Result<AwsOptions> {
        AwsOptions::from_uri(&uri.parse()?)
    }

    #[test]
    fn reads_every_option() {
        let read = options("s3://b?profile=p&region=r&endpoint=http://e:1&anonymous=true").unwrap();
        assert_eq!(read.profile.as_deref(), Some("p"));
        assert_eq!(read.region.as_deref(), Some("r"));
        assert_eq!(read.endpoint.as_deref(), Some("http://e:1"));
        assert!(read.anonymous);
        assert_eq!(options("s3://b").unwrap(), AwsOptions::default());
        assert!(!options("s3://b?anonymous=false").unwrap().anonymous);
    }

    #[test]
    fn bad_values_are_named() {
        for (uri, name) in [
            ("s3://b?profile=", "`profile`"),
            ("s3://b?region", "`region`"),
            ("s3://b?anonymous=perhaps", "`anonymous`"),
        ] {
            let error = options(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{uri}");
            assert!(error.message().contains(name), "{uri}");
        }
    }
}
