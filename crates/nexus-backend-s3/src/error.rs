//! From what a store answers to kinds: the only place that does it. Codes are those of
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, and the ones that
//! compatible stores add.

use std::borrow::Cow;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use nexus_core::{Error, ErrorKind, Retry};

/// The error for a request that failed. The caller adds the path.
pub(crate) fn from_sdk<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ConstructionFailure(_) => {
            Error::new(ErrorKind::Internal, "the request could not be made").with_source(error)
        }
        SdkError::TimeoutError(_) => timed_out().with_source(error),
        SdkError::DispatchFailure(failure) => match failure {
            failure if failure.is_timeout() => timed_out().with_source(error),
            failure if failure.is_user() => {
                Error::new(ErrorKind::Internal, "the request could not be made").with_source(error)
            }
            _ if names_credentials(&error) => {
                Error::new(ErrorKind::Unauthenticated, "the credentials could not be refreshed")
                    .with_hint("see `nexus-fs doctor`")
                    .with_source(error)
            }
            _ => unreachable_now().with_source(error),
        },
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let answer = Answer { status, code: None, ..Answer::of(response.raw()) };
            answer.error().with_source(error)
        }
        SdkError::ServiceError(service) => {
            let answer = Answer { code: service.err().code(), ..Answer::of(service.raw()) };
            answer.error().with_source(error)
        }
        _ => Error::new(ErrorKind::Internal, "the store answered something unknown")
            .with_source(error),
    }
}

/// The error for one key of a request about many, which has a code and no status.
pub(crate) fn from_code(code: Option<&str>, message: Option<&str>) -> Error {
    let answer = Answer { code, status: 0, retry_after: None, region: None };
    match message.filter(|_| code.is_none()) {
        Some(message) => Error::new(ErrorKind::Unavailable, message.to_owned()),
        None => answer.error(),
    }
}

/// The error for a body that broke.
pub(crate) fn from_body(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the transfer broke").with_retry(SOON).with_source(error)
}

const SOON: Retry = Retry::After(Duration::ZERO);

fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "the store did not answer in time").with_retry(SOON)
}

fn unreachable_now() -> Error {
    Error::new(ErrorKind::Unavailable, "the store can not be reached")
        .with_retry(SOON)
        .with_hint("check the network, and the option `endpoint` where one is given")
}

/// Whether what failed is the search for credentials, and not the request.
fn names_credentials(error: &dyn std::error::Error) -> bool {
    std::iter::successors(error.source(), |error| error.source())
        .any(|cause| cause.to_string().contains("credentials"))
}

/// What a refusal says of itself.
struct Answer<'a> {
    code: Option<&'a str>,
    /// 0 where there was none.
    status: u16,
    retry_after: Option<Duration>,
    /// Where the bucket is, from a store that says so.
    region: Option<&'a str>,
}

type Mapped = (ErrorKind, &'static str, Option<&'static str>);

const DENIED: Mapped = (
    ErrorKind::PermissionDenied,
    "the store denies it to these credentials",
    Some("check the policies of the user and of the bucket"),
);
const UNKNOWN_KEY: Mapped = (
    ErrorKind::Unauthenticated,
    "the store does not accept the credentials",
    Some("see which ones are used, and where they came from, with `nexus-fs doctor`"),
);
const SLOW_DOWN: Mapped = (ErrorKind::RateLimited, "the store asks to slow down", None);
const FAILS_NOW: Mapped = (ErrorKind::Unavailable, "the store fails for the moment", None);
const CHANGED: Mapped = (ErrorKind::PreconditionFailed, "the version has changed", None);
const NOT_THERE: Mapped = (ErrorKind::NotFound, "no such file or directory", None);
const CAN_NOT: Mapped = (ErrorKind::Unsupported, "the store can not do it", None);
const DAMAGED: Mapped =
    (ErrorKind::IntegrityMismatch, "the store received other bytes than were sent", None);

impl<'a> Answer<'a> {
    fn of(response: &'a HttpResponse) -> Self {
        let header = |name| response.headers().get(name);
        let seconds = header("retry-after").and_then(|text| text.parse().ok());
        Self {
            code: None,
            status: response.status().as_u16(),
            retry_after: seconds.map(Duration::from_secs),
            region: header("x-amz-bucket-region"),
        }
    }

    fn error(&self) -> Error {
        if let Some(error) = self.elsewhere() {
            return error;
        }
        let mapped = self.code.and_then(by_code).or_else(|| by_status(self.status));
        let (kind, message, hint) = mapped.unwrap_or((
            ErrorKind::Internal,
            "the store answered what was not expected of it",
            None,
        ));
        let error = Error::new(kind, self.with_code(message));
        let error = match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        };
        match kind {
            ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout => {
                error.with_retry(Retry::After(self.retry_after.unwrap_or_default()))
            }
            _ => error,
        }
    }

    /// A store that sends the client away. It is not followed.
    fn elsewhere(&self) -> Option<Error> {
        let redirect = matches!(self.status, 301 | 302 | 303 | 305..=308);
        let wrong_region = matches!(
            self.code,
            Some(
                "PermanentRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException"
            )
        );
        if !(redirect || wrong_region && self.region.is_some()) {
            return None;
        }
        let error = |message| Error::new(ErrorKind::InvalidOption, message);
        // Any store may send this header: only what looks like a region is repeated.
        let region = self.region.filter(|region| is_region(region));
        Some(match region {
            Some(region) => error("the bucket is in another region")
                .with_hint(format!("mount it with `region={region}`")),
            None => error("the store redirects to another address, which is not followed")
                .with_hint("mount it with the `region` or the `endpoint` where the bucket is"),
        })
    }

    fn with_code(&self, message: &'static str) -> Cow<'static, str> {
        // Plain words say as much as these.
        match self.code {
            Some("NoSuchKey" | "NotFound" | "PreconditionFailed" | "NotModified") | None => {
                message.into()
            }
            Some(code) => {
                let code: String = code.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
                format!("{message} ({code})").into()
            }
        }
    }
}

/// Whether text may be the name of a region: nothing that could change a host name.
pub(crate) fn is_region(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn by_code(code: &str) -> Option<Mapped> {
    Some(match code {
        "NoSuchKey" | "NotFound" | "NoSuchVersion" => NOT_THERE,
        "NoSuchBucket" => (
            ErrorKind::NotFound,
            "there is no such bucket",
            Some("make it first; nexus-fs makes no buckets"),
        ),
        "NoSuchUpload" => (ErrorKind::Unavailable, "the store has dropped the upload", None),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden" => DENIED,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "TokenRefreshRequired"
        | "InvalidSecurity"
        | "NotSignedUp"
        | "Unauthorized"
        | "AuthorizationHeaderMalformed"
        | "MissingSecurityHeader" => UNKNOWN_KEY,
        "RequestTimeTooSkewed" | "RequestExpired" => (
            ErrorKind::Unauthenticated,
            "the clock of this computer differs from the store's",
            Some("set the clock"),
        ),
        "PreconditionFailed" => CHANGED,
        "NotModified" => (ErrorKind::NotModified, "the version is still the same", None),
        "ConditionalRequestConflict" | "OperationAborted" => {
            (ErrorKind::Unavailable, "the store is busy with another change of it", None)
        }
        "InvalidRange" => {
            (ErrorKind::RangeNotSatisfiable, "the range begins past the end of the object", None)
        }
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "RequestThrottled"
        | "BandwidthLimitExceeded" => SLOW_DOWN,
        "InternalError" | "ServiceUnavailable" | "Busy" => FAILS_NOW,
        "RequestTimeout" => (ErrorKind::Timeout, "the store did not receive it in time", None),
        "EntityTooLarge" | "MaxMessageLengthExceeded" => {
            (ErrorKind::TooLarge, "the content is larger than the store takes", None)
        }
        "MetadataTooLarge" => {
            (ErrorKind::TooLarge, "the user metadata is larger than the store takes", None)
        }
        "KeyTooLongError" => {
            (ErrorKind::InvalidPath, "the key is longer than the store takes", None)
        }
        "XMinioInvalidObjectName" | "InvalidObjectName" | "InvalidURI" => {
            (ErrorKind::InvalidPath, "the store does not take this name", None)
        }
        "InvalidBucketName" => {
            (ErrorKind::InvalidUri, "the store does not take this name of a bucket", None)
        }
        "InvalidObjectState" => (
            ErrorKind::Unsupported,
            "the object is in an archive",
            Some("restore it first, with the tools of the store"),
        ),
        "BadDigest"
        | "InvalidDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "InvalidChecksum" => DAMAGED,
        "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" | "TooManyBuckets" => {
            (ErrorKind::QuotaExceeded, "the quota is used up", None)
        }
        "XMinioStorageFull" | "InsufficientStorage" | "InsufficientCapacity" => {
            (ErrorKind::StorageFull, "no space is left on the store", None)
        }
        "NotImplemented" | "MethodNotAllowed" | "InvalidStorageClass" => CAN_NOT,
        code if code.starts_with("KMS.") => DENIED,
        _ => return None,
    })
}

fn by_status(status: u16) -> Option<Mapped> {
    Some(match status {
        304 => (ErrorKind::NotModified, "the version is still the same", None),
        401 => UNKNOWN_KEY,
        403 => DENIED,
        404 => NOT_THERE,
        405 | 501 => CAN_NOT,
        408 => (ErrorKind::Timeout, "the store did not receive it in time", None),
        409 => (ErrorKind::Unavailable, "the store is busy with another change of it", None),
        412 => CHANGED,
        413 => (ErrorKind::TooLarge, "the content is larger than the store takes", None),
        416 => {
            (ErrorKind::RangeNotSatisfiable, "the range begins past the end of the object", None)
        }
        429 => SLOW_DOWN,
        507 => (ErrorKind::StorageFull, "no space is left on the store", None),
        // Without a code, a 400 is how some stores answer a name that they do not take.
        400 => (ErrorKind::Unsupported, "the store refused the request", None),
        500..=599 => FAILS_NOW,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: Option<&'static str>) -> Answer<'static> {
        Answer { code, status, retry_after: None, region: None }
    }

    #[test]
    fn statuses_that_look_alike_are_told_apart() {
        for (status, code, kind) in [
            (304, None, ErrorKind::NotModified),
            (403, Some("AccessDenied"), ErrorKind::PermissionDenied),
            (403, Some("InvalidAccessKeyId"), ErrorKind::Unauthenticated),
            (403, Some("SignatureDoesNotMatch"), ErrorKind::Unauthenticated),
            (403, Some("InvalidObjectState"), ErrorKind::Unsupported),
            (403, None, ErrorKind::PermissionDenied),
            (404, Some("NoSuchKey"), ErrorKind::NotFound),
            (404, Some("NoSuchBucket"), ErrorKind::NotFound),
            (404, None, ErrorKind::NotFound),
            (404, Some("NoSuchUpload"), ErrorKind::Unavailable),
            (409, Some("ConditionalRequestConflict"), ErrorKind::Unavailable),
            (412, None, ErrorKind::PreconditionFailed),
            (416, Some("InvalidRange"), ErrorKind::RangeNotSatisfiable),
            (429, None, ErrorKind::RateLimited),
            (500, Some("InternalError"), ErrorKind::Unavailable),
            (503, Some("SlowDown"), ErrorKind::RateLimited),
            (503, None, ErrorKind::Unavailable),
            (501, Some("NotImplemented"), ErrorKind::Unsupported),
            (400, Some("EntityTooLarge"), ErrorKind::TooLarge),
            (400, Some("KeyTooLongError"), ErrorKind::InvalidPath),
            (400, Some("BadDigest"), ErrorKind::IntegrityMismatch),
            (200, Some("InternalError"), ErrorKind::Unavailable),
            (418, None, ErrorKind::Internal),
        ] {
            assert_eq!(answer(status, code).error().kind(), kind, "{status} {code:?}");
        }
    }

    #[test]
    fn what_may_pass_is_worth_another_attempt_and_nothing_else_is() {
        for (status, again) in [(503, true), (429, true), (404, false), (403, false), (412, false)]
        {
            let retry = answer(status, None).error().retry();
            assert_eq!(retry != Retry::No, again, "{status}");
        }
        let asked = Answer { retry_after: Some(Duration::from_secs(9)), ..answer(503, None) };
        assert_eq!(asked.error().retry(), Retry::After(Duration::from_secs(9)));
    }

    #[test]
    fn a_redirect_names_the_region_and_never_the_address() {
        let moved =
            Answer { region: Some("eu-central-1"), ..answer(301, Some("PermanentRedirect")) };
        let error = moved.error();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.hint().unwrap().contains("region=eu-central-1"));
        let forged = Answer { region: Some("x.evil.example/"), ..answer(307, None) };
        assert!(!format!("{:?}", forged.error()).contains("evil"));
        assert_eq!(answer(302, None).error().kind(), ErrorKind::InvalidOption);
    }

    #[test]
    fn codes_are_shown_and_never_control_the_terminal() {
        let error = answer(403, Some("AccessDenied")).error();
        assert!(error.message().contains("AccessDenied"));
        let error = answer(400, Some("\u{1b}[2JX")).error();
        assert!(!error.message().contains('\u{1b}'));
    }
}
