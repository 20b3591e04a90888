//! Finding paths by pattern. Matching is `globset`'s; this file chooses where to walk.

use futures_util::{StreamExt, future, stream};
use globset::GlobBuilder;

use super::Kernel;
use super::walk::WalkOptions;
use crate::{Entry, Error, ErrorKind, Listing, Operation, Result, VfsPath};

impl Kernel {
    /// Everything whose path matches `pattern`, which begins with `/`. `*` and `?` match inside a
    /// segment, `[…]` one character of a set, `{a,b}` either, `**` any number of segments; `\`
    /// takes the next character literally. Symbolic links are matched, never followed. No match is
    /// an empty stream.
    ///
    /// # Errors
    /// `InvalidPath` for a malformed pattern, and those of the backends.
    pub async fn glob(&self, pattern: &str) -> Result<Listing> {
        if !pattern.starts_with('/') {
            return Err(invalid(pattern, "a pattern begins with `/`".to_owned()));
        }
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| invalid(pattern, error.kind().to_string()))?;
        let (base, depth) = plan(pattern)?;
        if depth == Some(0) {
            return match self.stat(&base).await {
                Ok(metadata) => Ok(stream::iter([Ok(Entry::new(base, metadata))]).boxed()),
                Err(error) if is_absent(&error) => Ok(stream::empty().boxed()),
                Err(error) => Err(error),
            };
        }
        let matcher = glob.compile_matcher();
        let walk = WalkOptions { max_depth: depth, names_only: false };
        match self.walk(&base, &walk).await {
            Ok(entries) => Ok(entries
                .filter(move |entry| {
                    future::ready(
                        entry.as_ref().map_or(true, |e| matcher.is_match(e.path.as_str())),
                    )
                })
                .boxed()),
            Err(error) if is_absent(&error) => Ok(stream::empty().boxed()),
            Err(error) => Err(error),
        }
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The longest directory that every match is below, and how many levels below it matches can be
/// (`None`: any number; `Some(0)`: the path itself is meant).
fn plan(pattern: &str) -> Result<(VfsPath, Option<usize>)> {
    let segments: Vec<_> = pattern[1..].split('/').filter(|segment| !segment.is_empty()).collect();
    let is_literal = |segment: &&&str| !segment.contains(['*', '?', '[', '{', '\\']);
    let literal = segments.iter().take_while(is_literal).count();
    let base =
        segments[..literal].iter().try_fold(VfsPath::root(), |path, segment| path.join(segment))?;
    let rest = &segments[literal..];
    let unbounded = rest.iter().any(|segment| segment.contains("**") || segment.contains('{'));
    Ok((base, (!unbounded).then_some(rest.len())))
}

fn invalid(pattern: &str, message: String) -> Error {
    Error::new(ErrorKind::InvalidPath, format!("not a pattern: {message}"))
        .with_operation(Operation::List)
        .with_path(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_the_narrowest_walk() {
        let plan = |pattern| {
            let (base, depth) = plan(pattern).unwrap();
            (base.to_string(), depth)
        };
        assert_eq!(plan("/a/b"), ("/a/b".into(), Some(0)));
        assert_eq!(plan("/a/*.rs"), ("/a".into(), Some(1)));
        assert_eq!(plan("/a/*/c"), ("/a".into(), Some(2)));
        assert_eq!(plan("/a/**/c"), ("/a".into(), None));
        assert_eq!(plan("/a/{b,c/d}"), ("/a".into(), None));
        assert_eq!(plan("/*"), ("/".into(), Some(1)));
    }
}
