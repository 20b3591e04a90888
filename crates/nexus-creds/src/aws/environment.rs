//! Credentials, region and endpoint from the options of a mount and from variables: the sources that
//! need no file and no network.

use std::borrow::Cow;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_types::region::Region;
use nexus_core::{
    Answer, Attempt, Error, ErrorKind, Finding, Operation, Report, Result, Surroundings,
};

use super::{AwsFound, AwsOptions};

/// The region of a store that has none.
const ASSUMED: &str = "us-east-1";

pub(super) fn discover(surroundings: &Surroundings, options: &AwsOptions) -> Result<AwsFound> {
    let (credentials, asked) = credentials(surroundings, options);
    let (region, regions) =
        text(surroundings, options.region.as_ref(), &["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
    let (endpoint, endpoints) = text(surroundings, options.endpoint.as_ref(), &names);
    let report = Report::new(vec![
        Finding { what: "credentials", tried: asked },
        Finding { what: "region", tried: regions },
        Finding { what: "endpoint", tried: endpoints },
    ]);
    if credentials.is_none() && !options.anonymous {
        return Err(Error::new(ErrorKind::Unauthenticated, "no credentials for Amazon S3")
            .with_operation(Operation::Mount)
            .with_report(report)
            .with_hint(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount public data with \
                 `anonymous=true`",
            ));
    }
    let mut config = aws_types::SdkConfig::builder()
        .region(Region::new(region.clone().unwrap_or_else(|| ASSUMED.to_owned())))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()));
    config.set_endpoint_url(endpoint);
    config.set_credentials_provider(credentials.map(SharedCredentialsProvider::new));
    Ok(AwsFound {
        config: config.build(),
        anonymous: options.anonymous,
        region_assumed: region.is_none(),
        report,
    })
}

fn credentials(
    surroundings: &Surroundings,
    options: &AwsOptions,
) -> (Option<Credentials>, Vec<Attempt>) {
    let set = |name| surroundings.variable(name).filter(|value| !value.is_empty());
    if options.anonymous {
        let attempt = attempt("mount options", Answer::Used, "`anonymous`: nothing is signed");
        return (None, vec![attempt]);
    }
    let (id, secret) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"));
    let (Some(id), Some(secret)) = (id, secret) else {
        let missing = if id.is_none() { "AWS_ACCESS_KEY_ID" } else { "AWS_SECRET_ACCESS_KEY" };
        let detail = format!("{missing} is not set");
        return (None, vec![attempt("environment", Answer::Absent, detail)]);
    };
    let token = set("AWS_SESSION_TOKEN").map(str::to_owned);
    let credentials = Credentials::new(id, secret, token, None, "environment");
    (Some(credentials), vec![attempt("environment", Answer::Used, "AWS_ACCESS_KEY_ID")])
}

/// A text from an option, else from the first variable that is set.
fn text(
    surroundings: &Surroundings,
    option: Option<&String>,
    names: &[&'static str],
) -> (Option<String>, Vec<Attempt>) {
    if let Some(text) = option {
        return (Some(text.clone()), vec![attempt("mount options", Answer::Used, "")]);
    }
    let set = |name: &&str| {
        let value = surroundings.variable(name).filter(|value| !value.is_empty());
        value.map(|value| ((*name).to_owned(), value.to_owned()))
    };
    match names.iter().find_map(set) {
        Some((name, value)) => (Some(value), vec![attempt("environment", Answer::Used, name)]),
        None => {
            let detail = format!("{} is not set", names.join(", "));
            (None, vec![attempt("environment", Answer::Absent, detail)])
        }
    }
}

fn attempt(source: &'static str, answer: Answer, detail: impl Into<Cow<'static, str>>) -> Attempt {
    Attempt { source, answer, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], options: &AwsOptions) -> Result<AwsFound> {
        discover(&Surroundings::new(variables.iter().copied(), None), options)
    }

    const KEYS: [(&str, &str); 2] =
        [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];

    #[test]
    fn variables_serve_and_options_go_first() {
        let variables = [KEYS[0], KEYS[1], ("AWS_REGION", "eu-west-1")];
        let answer = found(&variables, &AwsOptions::default()).unwrap();
        assert_eq!(answer.config.region().map(AsRef::as_ref), Some("eu-west-1"));
        assert!(!answer.region_assumed);
        let options = AwsOptions { region: Some("x".to_owned()), ..AwsOptions::default() };
        let answer = found(&variables, &options).unwrap();
        assert_eq!(answer.config.region().map(AsRef::as_ref), Some("x"));
        assert!(!format!("{answer:?}").contains("hunter2"));
    }

    #[test]
    fn nothing_found_says_what_was_asked() {
        let error = found(&KEYS[..1], &AwsOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(format!("{error:?}").contains("AWS_SECRET_ACCESS_KEY is not set"));
        assert!(error.hint().is_some());
    }

    #[test]
    fn public_data_needs_none() {
        let options = AwsOptions { anonymous: true, ..AwsOptions::default() };
        let answer = found(&KEYS, &options).unwrap();
        assert!(answer.anonymous && answer.region_assumed);
        assert!(answer.config.credentials_provider().is_none());
    }
}
