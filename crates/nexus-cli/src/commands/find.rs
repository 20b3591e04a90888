//! `find` and `glob`.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use globset::{GlobBuilder, GlobMatcher};
use nexus_fs::{Entry, EntryKind, Listing, WalkOptions};

use crate::args::{FindArgs, FindKind};
use crate::exit::Failure;
use crate::output::Output;
use crate::render;
use crate::session::{Reach, Session};

pub(crate) async fn find(
    args: &FindArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let wanted = Wanted::from_args(args, SystemTime::now())?;
    let path = session.path(&args.path, Reach::Below).await?;
    let walk = WalkOptions {
        max_depth: args.depth,
        names_only: wanted.needs_names_only() && !output.json,
    };
    let entries = session.kernel.walk(&path, &walk).await?;
    print_all(entries, |entry| wanted.matches(entry), session, output).await
}

pub(crate) async fn glob(
    pattern: &str,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    // What is before the first segment with a pattern says which mounts are needed.
    let literal: Vec<_> = pattern
        .split('/')
        .take_while(|segment| !segment.contains(['*', '?', '[', '{', '\\']))
        .collect();
    let base = literal.join("/");
    session.path(if base.is_empty() { "/" } else { &base }, Reach::Below).await?;
    let entries = session.kernel.glob(pattern).await?;
    print_all(entries, |_| true, session, output).await
}

async fn print_all(
    mut entries: Listing,
    wanted: impl Fn(&Entry) -> bool + Send,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) if !wanted(&entry) => {}
            Ok(entry) if output.json => {
                let known = match entry.metadata.digest {
                    None if entry.metadata.is_file() => session.kernel.stat(&entry.path).await.ok(),
                    _ => None,
                };
                output
                    .json(&render::entry(&entry.path, known.as_ref().unwrap_or(&entry.metadata)))?;
            }
            Ok(entry) => output.line(entry.path.as_str())?,
            Err(error) => output.one_failed(&error.into()),
        }
    }
    output.end_of(2);
    Ok(())
}

/// What `find` looks for.
struct Wanted {
    name: Option<GlobMatcher>,
    kind: Option<EntryKind>,
    size: Option<(std::cmp::Ordering, u64)>,
    newer: Option<SystemTime>,
    older: Option<SystemTime>,
}

impl Wanted {
    fn from_args(args: &FindArgs, now: SystemTime) -> Result<Self, Failure> {
        let name = args.name.as_ref().map(|pattern| {
            let glob = GlobBuilder::new(pattern).build();
            glob.map(|glob| glob.compile_matcher())
                .map_err(|error| Failure::usage(format!("--name: {}", error.kind())))
        });
        let kind = args.kind.map(|kind| match kind {
            FindKind::F => EntryKind::File,
            FindKind::D => EntryKind::Directory,
            FindKind::L => EntryKind::Symlink,
        });
        Ok(Self {
            name: name.transpose()?,
            kind,
            size: args.size.as_deref().map(parse_size).transpose()?,
            newer: args.newer.as_deref().map(|text| parse_time(text, now)).transpose()?,
            older: args.older.as_deref().map(|text| parse_time(text, now)).transpose()?,
        })
    }

    fn needs_names_only(&self) -> bool {
        self.size.is_none() && self.newer.is_none() && self.older.is_none()
    }

    fn matches(&self, entry: &Entry) -> bool {
        let Entry { path, metadata } = entry;
        let name = path.file_name().unwrap_or_default();
        let time = |wanted: Option<SystemTime>, newer: bool| {
            wanted.is_none_or(|wanted| {
                metadata
                    .modified
                    .is_some_and(|time| if newer { time > wanted } else { time < wanted })
            })
        };
        self.name.as_ref().is_none_or(|pattern| pattern.is_match(name))
            && self.kind.is_none_or(|kind| kind == metadata.kind)
            && self.size.is_none_or(|(order, wanted)| {
                metadata.size.is_some_and(|size| size.cmp(&wanted) == order)
            })
            && time(self.newer, true)
            && time(self.older, false)
    }
}

/// `+10k`, `-1M`, `512`.
fn parse_size(text: &str) -> Result<(std::cmp::Ordering, u64), Failure> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let (order, number) = match text.split_at_checked(1) {
        Some(("+", rest)) => (Greater, rest),
        Some(("-", rest)) => (Less, rest),
        _ => (Equal, text),
    };
    let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &number[digits.len()..] {
        "" => Some(1),
        "k" | "K" => Some(1 << 10),
        "m" | "M" => Some(1 << 20),
        "g" | "G" => Some(1 << 30),
        _ => None,
    };
    let size = digits.parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    size.map(|size| (order, size)).ok_or_else(|| {
        Failure::usage(format!("`{text}` is not a size"))
            .with_hint("write it like `+10k`, `-1M` or `512`")
    })
}

/// `30s`, `10m`, `2h`, `7d` ago, or a date or time.
pub(super) fn parse_time(text: &str, now: SystemTime) -> Result<SystemTime, Failure> {
    let malformed = || {
        Failure::usage(format!("`{text}` is neither an age nor a date"))
            .with_hint("write it like `2h`, `7d`, `2026-01-31` or `2026-01-31T12:00:00Z`")
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    if let (Ok(number), Some(unit)) = (digits.parse::<u64>(), unit) {
        let age = number.checked_mul(unit).map(Duration::from_secs);
        return age.and_then(|age| now.checked_sub(age)).ok_or_else(malformed);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return time.try_into().map_err(|_| malformed());
    }
    let date: jiff::civil::Date = text.parse().map_err(|_| malformed())?;
    let midnight = date.to_zoned_datetime(jiff::tz::TimeZone::UTC).map_err(|_| malformed())?;
    midnight.timestamp().try_into().map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn sizes_have_signs_and_units() {
        assert_eq!(parse_size("+10k").unwrap(), (Ordering::Greater, 10 << 10));
        assert_eq!(parse_size("-1M").unwrap(), (Ordering::Less, 1 << 20));
        assert_eq!(parse_size("0").unwrap(), (Ordering::Equal, 0));
        for bad in ["", "+", "k", "1x", "--1", "99999999999G"] {
            assert_eq!(parse_size(bad).unwrap_err().code, 2, "{bad}");
        }
    }

    #[test]
    fn times_are_ages_or_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(parse_time("2h", now).unwrap(), now - Duration::from_secs(7200));
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        assert_eq!(parse_time("1970-01-02", now).unwrap(), day);
        assert_eq!(parse_time("1970-01-02T00:00:00Z", now).unwrap(), day);
        for bad in ["", "h", "2", "2y", "yesterday", "1970-13-01"] {
            assert_eq!(parse_time(bad, now).unwrap_err().code, 2, "{bad}");
        }
    }
}
