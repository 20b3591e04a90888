//! From a mount URI to what it asks for: the bucket, the directory in it, and the options.

use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use nexus_core::{Error, ErrorKind, MountUri, Operation, OptionSpec, Result, VfsPath};
use nexus_creds::aws::AwsOptions;

use crate::transfer::parts::Sizes;

/// The smallest part of an upload but its last, and the largest, in bytes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
const MIN_PART: u64 = 5 << 20;
const MAX_PART: u64 = 5 << 30;

/// The most parts of one upload.
const MAX_PARTS: u32 = 10_000;

/// The part that is asked for, and sent, unless the URI says otherwise.
const PART: u64 = 8 << 20;

/// The part of uploads that are longer than half of the parts can hold.
const LATER_PART: u64 = 64 << 20;

/// Requests of one transfer that are under way at once, unless the URI says otherwise. With the one
/// that is filled, their parts stay below 64 MiB.
const CONCURRENCY: usize = 6;

/// Every option that a URI may carry.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    AwsOptions::SPECS[0],
    AwsOptions::SPECS[1],
    AwsOptions::SPECS[2],
    OptionSpec {
        name: "path_style",
        values: "true|false",
        summary: "the bucket in the path and not in the host name; true where `endpoint` is given",
    },
    OptionSpec {
        name: "requester_pays",
        values: "false|true",
        summary: "pay for requests to a bucket whose owner does not",
    },
    OptionSpec {
        name: "sse",
        values: "AES256|aws:kms|aws:kms:dsse",
        summary: "how the store encrypts what is written; its own choice by default",
    },
    OptionSpec { name: "kms_key", values: "ID", summary: "the key for `sse=aws:kms`" },
    OptionSpec {
        name: "storage_class",
        values: "NAME",
        summary: "the storage class of what is written, as in `STANDARD_IA`",
    },
    OptionSpec {
        name: "part_size",
        values: "BYTES, or with K, M or G",
        summary: "bytes of one request of a large transfer, 5M to 5G; 8M by default",
    },
    OptionSpec {
        name: "concurrency",
        values: "NUMBER",
        summary: "requests of one large transfer that are under way at once; 6 by default",
    },
];

/// What a URI asks for.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) bucket: String,
    /// The directory of the bucket that is mounted.
    pub(crate) root: VfsPath,
    /// The URI as it may be shown and saved.
    pub(crate) uri: String,
    pub(crate) aws: AwsOptions,
    /// `None`: what fits the endpoint.
    pub(crate) path_style: Option<bool>,
    pub(crate) requester_pays: bool,
    pub(crate) encryption: Option<ServerSideEncryption>,
    pub(crate) kms_key: Option<String>,
    pub(crate) storage_class: Option<StorageClass>,
    /// Bytes of one request for a part of an object.
    pub(crate) part: u64,
    pub(crate) sizes: Sizes,
    pub(crate) concurrency: usize,
}

impl Config {
    /// Reads a URI. No I/O.
    pub(crate) fn from_uri(uri: &MountUri) -> Result<Self> {
        if uri.expose_user_info().is_some() {
            return Err(invalid("credentials do not belong into a mount URI")
                .with_hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"));
        }
        let encryption = encryption(uri)?;
        let kms_key = text(uri, "kms_key")?;
        if kms_key.is_some() && !encryption.as_ref().is_some_and(is_by_kms) {
            return Err(option("`kms_key` needs `sse=aws:kms` or `sse=aws:kms:dsse`".to_owned()));
        }
        let part = uri.option("part_size").map(part_size).transpose()?;
        Ok(Self {
            bucket: bucket(uri)?,
            root: root(uri)?,
            uri: uri.to_string(),
            aws: AwsOptions::from_uri(uri)?,
            path_style: flag(uri, "path_style")?,
            requester_pays: flag(uri, "requester_pays")?.unwrap_or_default(),
            encryption,
            kms_key,
            storage_class: text(uri, "storage_class")?.map(|class| StorageClass::from(&*class)),
            part: part.unwrap_or(PART),
            sizes: match part {
                Some(size) => Sizes::fixed(size, MAX_PARTS),
                None => Sizes::growing(PART, LATER_PART, MAX_PARTS),
            },
            concurrency: concurrency(uri)?,
        })
    }
}

fn bucket(uri: &MountUri) -> Result<String> {
    let name = uri.authority();
    if name.is_empty() {
        return Err(invalid("no bucket is named").with_hint("write it like `s3://BUCKET/PREFIX`"));
    }
    // Rules differ between stores; what could change the address of a request is refused here.
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if !plain || name.starts_with('.') || name.contains("..") {
        return Err(invalid("a bucket is named by letters, digits, `-`, `_` and `.`"));
    }
    Ok(name.to_owned())
}

fn root(uri: &MountUri) -> Result<VfsPath> {
    let path = uri.path().trim_end_matches('/');
    if path.is_empty() {
        return Ok(VfsPath::root());
    }
    VfsPath::parse(path).map_err(|error| {
        invalid("the prefix is not a path")
            .with_hint("write it like `s3://BUCKET/a/b`")
            .with_source(error)
    })
}

fn encryption(uri: &MountUri) -> Result<Option<ServerSideEncryption>> {
    Ok(match uri.option("sse") {
        None => None,
        Some("AES256") => Some(ServerSideEncryption::Aes256),
        Some("aws:kms") => Some(ServerSideEncryption::AwsKms),
        Some("aws:kms:dsse") => Some(ServerSideEncryption::AwsKmsDsse),
        Some(other) => {
            return Err(option(format!("option `sse` can not be `{other}`"))
                .with_hint("`sse` is one of: AES256, aws:kms, aws:kms:dsse"));
        }
    })
}

fn is_by_kms(encryption: &ServerSideEncryption) -> bool {
    matches!(encryption, ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
}

fn concurrency(uri: &MountUri) -> Result<usize> {
    let Some(text) = uri.option("concurrency") else { return Ok(CONCURRENCY) };
    let number = text.parse().ok().filter(|number| (1..=256).contains(number));
    number.ok_or_else(|| option("option `concurrency` takes a number from 1 to 256".to_owned()))
}

fn part_size(text: &str) -> Result<u64> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = digits.parse::<u64>().ok().filter(|_| whole);
    let bytes = bytes.and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| (MIN_PART..=MAX_PART).contains(bytes)).ok_or_else(|| {
        option("option `part_size` takes 5M to 5G bytes".to_owned())
            .with_hint("write it like `part_size=16M`")
    })
}

fn flag(uri: &MountUri, name: &str) -> Result<Option<bool>> {
    match uri.option(name) {
        None => Ok(None),
        Some("true" | "") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(option(format!("option `{name}` can not be `{other}`"))
            .with_hint(format!("`{name}` is one of: false, true"))),
    }
}

fn text(uri: &MountUri, name: &str) -> Result<Option<String>> {
    match uri.option(name) {
        Some("") => Err(option(format!("option `{name}` has no value"))),
        value => Ok(value.map(str::to_owned)),
    }
}

fn option(message: String) -> Error {
    Error::new(ErrorKind::InvalidOption, message).with_operation(Operation::Mount)
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidUri, message).with_operation(Operation::Mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(uri: &str) -> Result<Config> {
        Config::from_uri(&uri.parse()?)
    }

    #[test]
    fn reads_every_option() {
        let config = config(
            "s3://my-bucket/a/b/?region=eu-west-1&endpoint=http://127.0.0.1:9000\
             &path_style=true&anonymous=false&requester_pays=true&sse=aws:kms&kms_key=alias/x\
             &storage_class=STANDARD_IA&part_size=16M&concurrency=3",
        )
        .unwrap();
        assert_eq!(config.bucket, "my-bucket");
        assert_eq!(config.root.as_str(), "/a/b");
        assert_eq!(config.aws.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.path_style, Some(true));
        assert!(config.requester_pays);
        assert_eq!(config.encryption, Some(ServerSideEncryption::AwsKms));
        assert_eq!(config.storage_class, Some(StorageClass::StandardIa));
        assert_eq!((config.part, config.concurrency), (16 << 20, 3));
    }

    #[test]
    fn bad_values_are_named() {
        for (uri, name) in [
            ("s3://b?path_style=perhaps", "`path_style`"),
            ("s3://b?requester_pays=1", "`requester_pays`"),
            ("s3://b?sse=rot13", "`sse`"),
            ("s3://b?kms_key=x", "`kms_key`"),
            ("s3://b?sse=AES256&kms_key=x", "`kms_key`"),
            ("s3://b?storage_class=", "`storage_class`"),
            ("s3://b?part_size=1M", "`part_size`"),
            ("s3://b?part_size=x", "`part_size`"),
            ("s3://b?part_size=99999999999G", "`part_size`"),
            ("s3://b?concurrency=0", "`concurrency`"),
            ("s3://b?anonymous=perhaps", "`anonymous`"),
        ] {
            let error = config(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{uri}");
            assert!(error.message().contains(name), "{uri}");
        }
    }

    #[test]
    fn places_that_can_not_be_are_refused() {
        for uri in [
            "s3://",
            "s3:///a",
            "s3://b/a//b",
            "s3://b/../c",
            "s3://a%2Fb",
            "s3://..",
            "s3://AK:SK@b",
        ] {
            let error = config(uri).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidUri), "{uri}: {error:?}");
            assert!(!format!("{error:?}").contains("SK"));
        }
    }

    #[test]
    fn the_default_parts_hold_long_streams_in_little_memory() {
        let config = config("s3://b").unwrap();
        let most: u64 = (1..=MAX_PARTS).map(|number| config.sizes.of(number).unwrap()).sum();
        assert!(most > 300 << 30);
        assert!(config.part * (config.concurrency as u64 + 1) < 64 << 20);
    }
}
