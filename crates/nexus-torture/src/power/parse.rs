//! Reads the log of `strace -f -y -xx`: system calls as text, each with when it began and ended.
//!
//! A call of one thread during which another thread did something is split over two lines
//! (`<unfinished ...>`, `<... NAME resumed>`); it begins with the first and ends with the second.

use std::collections::HashMap;

use crate::support::Result;

/// A system call as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Its name.
    pub(crate) name: String,
    /// Its arguments, each as it is written.
    pub(crate) arguments: Vec<String>,
    /// What it answered; negative for every failure.
    pub(crate) result: i64,
}

/// What happens at a position of a log. The number is that of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// From now on it may have had its effect.
    Begin(usize),
    /// Now it has.
    End(usize),
}

/// A log. A call that never ended has no result, and is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// All calls, in the order in which they began.
    pub(crate) calls: Vec<Raw>,
    /// Beginnings and ends, in order.
    pub(crate) events: Vec<Event>,
}

/// Reads a log.
///
/// # Errors
/// For a line that is none.
pub(crate) fn parse(text: &str) -> Result<Log> {
    let mut calls: Vec<Option<Raw>> = Vec::new();
    let mut events = Vec::new();
    let mut open: HashMap<&str, (usize, &str)> = HashMap::new();
    for line in text.lines() {
        let strange = || format!("not a line of a log: {:.200}", line);
        let (thread, rest) = line.split_once(' ').ok_or_else(strange)?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            open.insert(thread, (calls.len(), begun.trim_end()));
            events.push(Event::Begin(calls.len()));
            calls.push(None);
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_, tail) = resumed.split_once(" resumed>").ok_or_else(strange)?;
            let (call, head) = open.remove(thread).ok_or_else(strange)?;
            calls[call] = Some(parse_call(&format!("{head}{tail}"))?);
            events.push(Event::End(call));
        } else {
            events.extend([Event::Begin(calls.len()), Event::End(calls.len())]);
            calls.push(Some(parse_call(rest)?));
        }
    }
    Ok(without_unfinished(calls, &events))
}

fn without_unfinished(calls: Vec<Option<Raw>>, events: &[Event]) -> Log {
    let mut log = Log::default();
    let mut numbers = Vec::with_capacity(calls.len());
    for call in calls {
        numbers.push(call.is_some().then_some(log.calls.len()));
        log.calls.extend(call);
    }
    log.events.extend(events.iter().filter_map(|event| match event {
        Event::Begin(call) => numbers[*call].map(Event::Begin),
        Event::End(call) => numbers[*call].map(Event::End),
    }));
    log
}

/// Reads `NAME(ARGUMENTS) = RESULT`.
fn parse_call(text: &str) -> Result<Raw> {
    let strange = || format!("not a system call: {text:.200}");
    let (name, rest) = text.split_once('(').ok_or_else(strange)?;
    let (arguments, end) = split_arguments(rest).ok_or_else(strange)?;
    let result = rest[end..].trim_start().strip_prefix("= ").ok_or_else(strange)?;
    Ok(Raw { name: name.to_owned(), arguments, result: parse_result(result) })
}

/// A call that was interrupted by the end of the process answers `?`: as if it had failed.
fn parse_result(text: &str) -> i64 {
    let end = text.find([' ', '<']).unwrap_or(text.len());
    let text = &text[..end];
    let number = match text.strip_prefix("0x") {
        // An address can have the highest bit.
        Some(hex) => u64::from_str_radix(hex, 16).map(|address| (address >> 1) as i64).ok(),
        None => text.parse().ok(),
    };
    number.unwrap_or(-1)
}

/// The arguments up to the closing parenthesis, and the position after it.
fn split_arguments(text: &str) -> Option<(Vec<String>, usize)> {
    let bytes = text.as_bytes();
    let (mut arguments, mut depth, mut start, mut at) = (Vec::new(), 0, 0, 0);
    let take = |from: usize, to: usize| text[from..to].trim().to_owned();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at)?,
            // The path of a descriptor, which has no such sign itself: it is written as an escape.
            b'<' => at += bytes[at..].iter().position(|byte| *byte == b'>')?,
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                if at > start || !arguments.is_empty() {
                    arguments.push(take(start, at));
                }
                return Some((arguments, at + 1));
            }
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                arguments.push(take(start, at));
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The position of the quote that ends the string which begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The bytes of a string argument, wholly logged.
///
/// # Errors
/// When it is no string, or was cut.
pub(crate) fn unescape(argument: &str) -> Result<Vec<u8>> {
    let strange = || format!("not a whole string: {argument:.80}");
    let inner = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    unescape_inner(inner.ok_or_else(strange)?.as_bytes()).ok_or_else(|| strange().into())
}

fn unescape_inner(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 + 1);
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [sign, tail @ ..] = rest else { return None };
        rest = tail;
        bytes.push(match sign {
            b'x' => {
                let [high, low, tail @ ..] = rest else { return None };
                rest = tail;
                digit(*high, 16)? << 4 | digit(*low, 16)?
            }
            b'0'..=b'7' => {
                let mut value = u32::from(sign - b'0');
                let more = rest.iter().take(2).take_while(|d| digit(**d, 8).is_some()).count();
                for octal in &rest[..more] {
                    value = value * 8 + u32::from(octal - b'0');
                }
                rest = &rest[more..];
                u8::try_from(value).ok()?
            }
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 11,
            b'f' => 12,
            b'"' | b'\\' => *sign,
            _ => return None,
        });
    }
    Some(bytes)
}

fn digit(sign: u8, radix: u32) -> Option<u8> {
    char::from(sign).to_digit(radix).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_calls_are_put_together() {
        let log = parse(concat!(
            "10  fsync(3</s/a> <unfinished ...>\n",
            "11  read(4,  <unfinished ...>\n",
            "12  write(1<pipe:[5]>, \"ok\\n\", 3) = 3\n",
            "11  <... read resumed>\"a, b)\", 9) = 6\n",
            "10  <... fsync resumed>)            = 0\n",
            "10  --- SIGCHLD {si_signo=SIGCHLD} ---\n",
            "11  close(4 <unfinished ...>\n",
            "10  +++ exited with 0 +++\n",
        ))
        .unwrap();
        let names: Vec<_> = log.calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["fsync", "read", "write"]);
        assert_eq!(log.calls[1].arguments, ["4", "\"a, b)\"", "9"]);
        use Event::{Begin, End};
        assert_eq!(log.events, [Begin(0), Begin(1), Begin(2), End(2), End(1), End(0)]);
    }

    #[test]
    fn arguments_are_split_where_they_end() {
        let call = parse_call(
            "pwritev(3<\\x2f>(deleted), [{iov_base=\"a,\\\"\", iov_len=3}, {iov_base=\"\"}], 2, 8) = 3",
        );
        let call = call.unwrap();
        assert_eq!(call.arguments.len(), 4);
        assert_eq!(call.arguments[0], "3<\\x2f>(deleted)");
        assert_eq!(call.arguments[3], "8");
        assert_eq!(parse_call("sync() = 0").unwrap().arguments.len(), 0);
        for text in ["write(1, \"a\"", "write(1, \"a) = 1", "write", "f(1) is 3"] {
            assert!(parse_call(text).is_err(), "{text}");
        }
    }

    #[test]
    fn results_are_numbers_and_failures_negative() {
        let result = |text: &str| parse_call(&format!("f(1) {text}")).unwrap().result;
        assert_eq!(result("= 7</s/x>"), 7);
        assert_eq!(result("= 0"), 0);
        assert_eq!(result("    = -1 ENOENT (No such file or directory)"), -1);
        assert_eq!(result("= ?"), -1);
        assert_eq!(result("= 0x1 (flags FD_CLOEXEC)"), 0);
        assert!(result("= 0xffff7f0000000000") > 0);
    }

    #[test]
    fn strings_come_back_from_every_escape() {
        assert_eq!(unescape("\"a\\x00\\xfF\\n\\\"\\\\\"").unwrap(), b"a\x00\xff\n\"\\");
        assert_eq!(unescape("\"\\0\\12\\1019\\t\\r\\v\\f\"").unwrap(), b"\0\nA9\t\r\x0b\x0c");
        assert_eq!(unescape("\"\"").unwrap(), b"");
        for text in ["\"abc\"...", "abc", "\"\\q\"", "\"\\x4\"", "\"\\777\"", "NULL"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
