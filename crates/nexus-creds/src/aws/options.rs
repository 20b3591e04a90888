//! What a mount says itself of credentials, region and endpoint.

use nexus_core::{Error, ErrorKind, MountUri, Operation, OptionSpec, Result};

/// The options of a mount that a discovery knows. By default none is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsOptions {
    /// The region, before any other source.
    pub region: Option<String>,
    /// The endpoint's URL, before any other source.
    pub endpoint: Option<String>,
    /// Sign nothing, and look for no credentials.
    pub anonymous: bool,
}

impl AwsOptions {
    /// The options as a descriptor lists them.
    pub const SPECS: [OptionSpec; 3] = [
        OptionSpec {
            name: "region",
            values: "NAME",
            summary: "the region; else from the environment",
        },
        OptionSpec {
            name: "endpoint",
            values: "URL",
            summary: "where the service is; else from the environment, or Amazon's own",
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
        Ok(Self { region: text("region")?, endpoint: text("endpoint")?, anonymous })
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
        let read = options("s3://b?region=r&endpoint=http://e:1&anonymous=true").unwrap();
        assert_eq!(read.region.as_deref(), Some("r"));
        assert_eq!(read.endpoint.as_deref(), Some("http://e:1"));
        assert!(read.anonymous);
        assert_eq!(options("s3://b").unwrap(), AwsOptions::default());
        assert!(!options("s3://b?anonymous=false").unwrap().anonymous);
    }

    #[test]
    fn bad_values_are_named() {
        for (uri, name) in [
            ("s3://b?endpoint=", "`endpoint`"),
            ("s3://b?region", "`region`"),
            ("s3://b?anonymous=perhaps", "`anonymous`"),
        ] {
            let error = options(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{uri}");
            assert!(error.message().contains(name), "{uri}");
        }
    }
}
