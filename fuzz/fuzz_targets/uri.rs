//! Mount URIs: what parses is shown as text that parses to the same URI, unless it holds secrets,
//! which are never shown; a mount point that follows from it is a valid path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_core::{ErrorKind, MountUri, VfsPath};

/// Stands for every secret: no other part of the input holds it by chance.
const SECRET: &str = "s3cr3t-Qz7";

fuzz_target!(|text: &str| {
    if text.contains(SECRET) {
        return;
    }
    match MountUri::parse(text) {
        Ok(uri) => check(&uri),
        Err(error) => {
            let kinds = [ErrorKind::InvalidUri, ErrorKind::InvalidOption];
            assert!(kinds.contains(&error.kind()), "{:?}", error.kind());
        }
    }
    with_a_secret(text);
});

fn check(uri: &MountUri) {
    let shown = uri.to_string();
    assert!(!shown.chars().any(char::is_control), "a control character is shown");
    if !uri.has_secrets() {
        let again = MountUri::parse(&shown).expect("what is shown parses");
        assert_eq!(&again, uri);
        assert_eq!(again.to_string(), shown);
    }
    for name in uri.option_names() {
        assert!(uri.option(name).is_some());
    }
    if let Ok(point) = uri.mount_point() {
        let first = point.segments().next();
        assert_eq!(first, Some(uri.scheme()));
        assert_eq!(VfsPath::parse(point.as_str()).ok(), Some(point));
    }
}

/// Secrets laid into the input reach neither what is shown nor an error.
fn with_a_secret(text: &str) {
    let as_user = text.replacen("://", &format!("://{SECRET}@"), 1);
    let mark = if text.contains('?') { '&' } else { '?' };
    let as_option = format!("{text}{mark}secret_key={SECRET}");
    for text in [as_user, as_option] {
        match MountUri::parse(&text) {
            Ok(uri) => {
                assert!(!format!("{uri} {uri:?}").contains(SECRET) || shows_the_rest(&uri));
            }
            Err(error) => assert!(!format!("{error} {error:?}").contains(SECRET)),
        }
    }
}

/// An input can end its authority or its options before the secret: then it is no secret but a
/// path or the value of an option that is not named like one.
fn shows_the_rest(uri: &MountUri) -> bool {
    uri.path().contains(SECRET)
        || uri.authority().contains(SECRET)
        || uri.option_names().any(|name| {
            name != "secret_key" && uri.option(name).is_some_and(|value| value.contains(SECRET))
        })
}
