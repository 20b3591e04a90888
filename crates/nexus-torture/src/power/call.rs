//! System calls by what they do to files: the log's texts as values.

use super::parse::{Raw, unescape};
use crate::support::Result;

/// The system calls that are recorded.
pub(crate) const TRACED: &str = "open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,read,readv,\
    write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,sendfile,\
    splice,ioctl,mmap,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,\
    rmdir,mkdir,mkdirat,mknod,mknodat,fsync,fdatasync,sync,syncfs,sync_file_range,\
    setxattr,lsetxattr,fsetxattr,io_uring_setup,fork,vfork,clone,clone3";

/// A descriptor in the place of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fd {
    /// Its number; [`Fd::CWD`] for the working directory.
    pub(crate) number: i64,
    /// The path that the system knew for it then.
    pub(crate) path: Option<String>,
}

impl Fd {
    /// The number that stands for the working directory.
    pub(crate) const CWD: i64 = -100;

    fn parse(argument: &str) -> Result<Self> {
        let (number, path) = match argument.split_once('<') {
            Some((number, rest)) => {
                let path = rest.rsplit_once('>').map_or(rest, |(path, _)| path);
                (number, Some(String::from_utf8(unescape(&format!("\"{path}\""))?)?))
            }
            None => (argument, None),
        };
        let number = match number {
            "AT_FDCWD" => Self::CWD,
            number => number.parse().map_err(|_| format!("`{number}` is no descriptor"))?,
        };
        Ok(Self { number, path })
    }
}

/// A path, and the directory from which it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The directory.
    pub(crate) at: Fd,
    /// The path, as it was given.
    pub(crate) path: String,
}

/// What a call that succeeded did. Numbers of bytes are those that it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the system call of the same name")]
pub(crate) enum Call {
    Open {
        path: Path,
        create: bool,
        truncate: bool,
        append: bool,
        temporary: bool,
        fd: i64,
    },
    Close {
        fd: i64,
    },
    Dup {
        fd: Fd,
        to: i64,
    },
    Seek {
        fd: Fd,
        to: u64,
    },
    Read {
        fd: Fd,
        length: u64,
    },
    Write {
        fd: Fd,
        offset: Option<u64>,
        data: Vec<u8>,
    },
    Truncate {
        fd: Fd,
        size: u64,
    },
    Allocate {
        fd: Fd,
        end: u64,
    },
    Copy {
        from: Fd,
        from_offset: Option<u64>,
        to: Fd,
        to_offset: Option<u64>,
        length: u64,
    },
    Clone {
        from: Fd,
        to: Fd,
    },
    Rename {
        from: Path,
        to: Path,
    },
    Link {
        from: Path,
        to: Path,
    },
    Unlink {
        path: Path,
    },
    MakeDir {
        path: Path,
    },
    Sync {
        fd: Fd,
    },
    SyncAll,
    /// A mapping that is written to without any further call.
    Map {
        fd: Fd,
    },
    /// What the model does not know: wrong when it is about the store.
    Unknown {
        name: String,
        path: Path,
    },
}

impl Call {
    /// Reads a call; `None` when it failed, or does nothing to files.
    ///
    /// # Errors
    /// For arguments that the call can not have.
    pub(crate) fn parse(raw: &Raw) -> Result<Option<Self>> {
        if raw.result < 0 {
            return Ok(None);
        }
        Self::of(raw).map_err(|error| {
            format!("{}({:.300}): {error}", raw.name, raw.arguments.join(", ")).into()
        })
    }

    fn of(raw: &Raw) -> Result<Option<Self>> {
        let text = |index: usize| -> Result<&str> {
            Ok(raw.arguments.get(index).ok_or("too few arguments")?.as_str())
        };
        let fd = |index| Fd::parse(text(index)?);
        let number = |index| -> Result<u64> {
            text(index)?.parse().map_err(|_| format!("argument {index} is no number").into())
        };
        let string = |index| -> Result<String> { Ok(String::from_utf8(unescape(text(index)?)?)?) };
        let path = |at: usize, path: usize| -> Result<Path> {
            Ok(Path { at: fd(at)?, path: string(path)? })
        };
        let cwd = || Fd { number: Fd::CWD, path: None };
        let plain = |index| -> Result<Path> { Ok(Path { at: cwd(), path: string(index)? }) };
        let done = raw.result.unsigned_abs();
        Ok(Some(match raw.name.as_str() {
            "open" => open(plain(0)?, text(1)?, raw.result),
            "openat" | "openat2" => open(path(0, 1)?, text(2)?, raw.result),
            "creat" => open(plain(0)?, "O_CREAT|O_TRUNC", raw.result),
            "close" => Self::Close { fd: fd(0)?.number },
            "dup" | "dup2" | "dup3" => Self::Dup { fd: fd(0)?, to: raw.result },
            "fcntl" if text(1)?.starts_with("F_DUPFD") => Self::Dup { fd: fd(0)?, to: raw.result },
            "lseek" => Self::Seek { fd: fd(0)?, to: done },
            "read" | "readv" => Self::Read { fd: fd(0)?, length: done },
            "write" => Self::Write { fd: fd(0)?, offset: None, data: data(text(1)?, done)? },
            "writev" => Self::Write { fd: fd(0)?, offset: None, data: vector(text(1)?, done)? },
            "pwrite64" => {
                Self::Write { fd: fd(0)?, offset: Some(number(3)?), data: data(text(1)?, done)? }
            }
            "pwritev" | "pwritev2" => {
                let offset = (text(3)? != "-1").then(|| number(3)).transpose()?;
                Self::Write { fd: fd(0)?, offset, data: vector(text(1)?, done)? }
            }
            "ftruncate" => Self::Truncate { fd: fd(0)?, size: number(1)? },
            "fallocate" => match text(1)? {
                "0" => Self::Allocate { fd: fd(0)?, end: number(2)? + number(3)? },
                "FALLOC_FL_KEEP_SIZE" => return Ok(None),
                _ => unknown(raw, fd(0)?),
            },
            "copy_file_range" => Self::Copy {
                from: fd(0)?,
                from_offset: pointed(text(1)?)?,
                to: fd(2)?,
                to_offset: pointed(text(3)?)?,
                length: done,
            },
            "ioctl" if text(1)?.contains("FICLONE") && !text(1)?.contains("RANGE") => {
                Self::Clone { to: fd(0)?, from: fd(2)? }
            }
            "mmap" if text(2)?.contains("PROT_WRITE") && text(3)?.contains("MAP_SHARED") => {
                if text(3)?.contains("MAP_ANON") {
                    return Ok(None);
                }
                Self::Map { fd: fd(4)? }
            }
            "rename" => Self::Rename { from: plain(0)?, to: plain(1)? },
            "renameat" => Self::Rename { from: path(0, 1)?, to: path(2, 3)? },
            "renameat2" if !text(4)?.contains("EXCHANGE") => {
                Self::Rename { from: path(0, 1)?, to: path(2, 3)? }
            }
            "link" => Self::Link { from: plain(0)?, to: plain(1)? },
            "linkat" => Self::Link { from: path(0, 1)?, to: path(2, 3)? },
            "unlink" | "rmdir" => Self::Unlink { path: plain(0)? },
            "unlinkat" => Self::Unlink { path: path(0, 1)? },
            "mkdir" => Self::MakeDir { path: plain(0)? },
            "mkdirat" => Self::MakeDir { path: path(0, 1)? },
            "fsync" | "fdatasync" => Self::Sync { fd: fd(0)? },
            "sync" | "syncfs" => Self::SyncAll,
            "splice" => unknown(raw, fd(2)?),
            "sendfile" => unknown(raw, fd(0)?),
            "truncate" | "mknod" => Self::Unknown { name: raw.name.clone(), path: plain(0)? },
            "renameat2" | "mknodat" => Self::Unknown { name: raw.name.clone(), path: path(0, 1)? },
            "symlink" => Self::Unknown { name: raw.name.clone(), path: plain(1)? },
            "symlinkat" => Self::Unknown { name: raw.name.clone(), path: path(1, 2)? },
            // Threads share their descriptors.
            "clone" | "clone3" if raw.arguments.join(",").contains("CLONE_FILES") => {
                return Ok(None);
            }
            // Writes by another way than a call, or with descriptors of another process.
            "io_uring_setup" | "fork" | "vfork" | "clone" | "clone3" => {
                return Err("can not be followed".into());
            }
            // `sync_file_range` promises nothing; attributes are no part of an image.
            _ => return Ok(None),
        }))
    }

    /// In a few words, for people.
    pub(crate) fn about(&self) -> String {
        let name = |fd: &Fd| fd.path.clone().unwrap_or_else(|| fd.number.to_string());
        match self {
            Self::Open { path, create, temporary, .. } => {
                let how = if *temporary {
                    " nameless"
                } else if *create {
                    " create"
                } else {
                    ""
                };
                format!("open{how} {}", path.path)
            }
            Self::Write { fd, offset, data } => {
                let at = offset.map_or_else(|| "the position".to_owned(), |at| at.to_string());
                format!("write {} at {at}, {} bytes", name(fd), data.len())
            }
            Self::Truncate { fd, size } => format!("truncate {} to {size}", name(fd)),
            Self::Allocate { fd, end } => format!("allocate {} to {end}", name(fd)),
            Self::Copy { from, to, length, .. } => {
                format!("copy {length} bytes of {} to {}", name(from), name(to))
            }
            Self::Clone { from, to } => format!("clone {} to {}", name(from), name(to)),
            Self::Rename { from, to } => format!("rename {} to {}", from.path, to.path),
            Self::Link { from, to } => format!("link {} to {}", from.path, to.path),
            Self::Unlink { path } => format!("unlink {}", path.path),
            Self::MakeDir { path } => format!("mkdir {}", path.path),
            Self::Sync { fd } => format!("fsync {}", name(fd)),
            other => format!("{other:?}"),
        }
    }
}

fn unknown(raw: &Raw, at: Fd) -> Call {
    Call::Unknown { name: raw.name.clone(), path: Path { at, path: String::new() } }
}

fn open(path: Path, flags: &str, fd: i64) -> Call {
    let has = |flag| flags.split(['|', ',', '=', '{', '}', ' ']).any(|word| word == flag);
    Call::Open {
        path,
        create: has("O_CREAT"),
        truncate: has("O_TRUNC"),
        append: has("O_APPEND"),
        temporary: has("O_TMPFILE"),
        fd,
    }
}

/// What was written of a string: its first `done` bytes.
fn data(argument: &str, done: u64) -> Result<Vec<u8>> {
    let mut data = unescape(argument)?;
    if (data.len() as u64) < done {
        return Err("the log has less data than was written".into());
    }
    data.truncate(done as usize);
    Ok(data)
}

/// What was written of a vector: its first `done` bytes.
fn vector(argument: &str, done: u64) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    for part in argument.split("iov_base=").skip(1) {
        if !part.starts_with('"') {
            return Err("a slice that was not logged".into());
        }
        // The data of `-xx` has no quote in it.
        let end = part[1..].find('"').ok_or("a string without an end")? + 2;
        if part[end..].starts_with("...") {
            return Err("a slice was cut".into());
        }
        whole.extend(unescape(&part[..end])?);
    }
    if (whole.len() as u64) < done {
        return Err("the log has less data than was written".into());
    }
    whole.truncate(done as usize);
    Ok(whole)
}

/// The number behind a pointer, `None` behind none.
fn pointed(argument: &str) -> Result<Option<u64>> {
    if argument == "NULL" {
        return Ok(None);
    }
    let digits: String =
        argument.trim_start_matches('[').chars().take_while(char::is_ascii_digit).collect();
    Ok(Some(digits.parse().map_err(|_| format!("`{argument}` is no offset"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::parse::parse;

    fn call(line: &str) -> Option<Call> {
        Call::parse(&parse(&format!("1 {line}\n")).unwrap().calls[0]).unwrap()
    }

    fn fd(number: i64, path: &str) -> Fd {
        Fd { number, path: (!path.is_empty()).then(|| path.to_owned()) }
    }

    #[test]
    fn directories_are_known_by_number_and_path() {
        let (at, name) = ("\\x2f\\x73", "\"\\x61\"");
        let opened = call(&format!("openat(AT_FDCWD<{at}>, {name}, O_RDWR|O_CREAT, 0666) = 4"));
        let Some(Call::Open { path, create, truncate, fd: number, .. }) = opened else { panic!() };
        assert_eq!((path.at, path.path.as_str()), (fd(Fd::CWD, "/s"), "a"));
        assert!(create && !truncate && number == 4);
        let how = "{flags=O_RDONLY|O_CLOEXEC|O_TMPFILE, mode=0666, resolve=RESOLVE_BENEATH}";
        let opened = call(&format!("openat2(3<{at}>(deleted), {name}, {how}, 24) = 5<{at}>"));
        let Some(Call::Open { path, create, temporary, .. }) = opened else { panic!() };
        assert!(temporary && !create);
        assert_eq!(path.at, fd(3, "/s"));
    }

    #[test]
    fn failures_do_nothing() {
        assert_eq!(call("unlink(\"\\x61\") = -1 ENOENT (No such file or directory)"), None);
        assert_eq!(call("fsync(3) = -1 EIO (Input/output error)"), None);
        assert_eq!(call("write(3, \"\\x61\", 1) = ?"), None);
    }

    #[test]
    fn writes_carry_what_was_written() {
        let at = fd(3, "");
        let written = call("write(3, \"\\x61\\x62\\x63\", 3) = 2").unwrap();
        assert_eq!(written, Call::Write { fd: at.clone(), offset: None, data: b"ab".to_vec() });
        let slices = "[{iov_base=\"\\x61\", iov_len=1}, {iov_base=\"\\x62\\x63\", iov_len=2}]";
        let written = call(&format!("pwritev(3, {slices}, 2, 4096) = 3")).unwrap();
        assert_eq!(written, Call::Write { fd: at, offset: Some(4096), data: b"abc".to_vec() });
        let cut = parse("1 write(3, \"\\x61\"..., 9) = 9\n").unwrap();
        assert!(Call::parse(&cut.calls[0]).is_err());
    }

    #[test]
    fn only_what_changes_files_is_kept() {
        assert_eq!(call("mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_PRIVATE, 3, 0) = 0x7f01"), None);
        let mapped = call("mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 3<\\x2f>, 0) = 0x7f01");
        assert_eq!(mapped, Some(Call::Map { fd: fd(3, "/") }));
        assert_eq!(call("clone3({flags=CLONE_VM|CLONE_FILES, stack=0x7f}, 88) = 9"), None);
        let child = parse("1 clone(child_stack=NULL, flags=SIGCHLD) = 9\n").unwrap();
        assert!(Call::parse(&child.calls[0]).is_err());
        assert_eq!(call("fcntl(3, F_GETFD) = 0x1 (flags FD_CLOEXEC)"), None);
        let dup = call("fcntl(3, F_DUPFD_CLOEXEC, 0) = 7");
        assert_eq!(dup, Some(Call::Dup { fd: fd(3, ""), to: 7 }));
        let copied = call("copy_file_range(3, [0], 4, NULL, 70, 0) = 5");
        let (from, to) = (fd(3, ""), fd(4, ""));
        let copy = Call::Copy { from, from_offset: Some(0), to, to_offset: None, length: 5 };
        assert_eq!(copied, Some(copy));
    }
}
