//! What is done to a store, and what must be there afterwards.
//!
//! The work is split into lanes. A lane has a directory of its own and does one operation at a time,
//! so what it must find is known exactly; lanes run beside each other and draw from one pool of
//! contents, so that a store that keeps equal contents once is shared between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

use futures_util::StreamExt;
use nexus_fs::{
    Bytes, CollectOptions, CopyOptions, Error, ErrorKind, Kernel, Outcome, VerifyOptions,
};

use crate::support::{MOUNT, Result, Rng};

/// A content, made from a seed and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content {
    /// Tells contents of one length apart.
    pub seed: u32,
    /// Bytes.
    pub len: u32,
}

/// Contents that are made are kept up to so many bytes together.
const KEPT: usize = 48 << 20;

static MADE: LazyLock<Mutex<(usize, HashMap<Content, Bytes>)>> = LazyLock::new(Default::default);

/// What contents are put together from: making one takes no longer than copying it.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = Rng::new(0);
    (0..8192).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
});

/// In pieces of so many bytes, less than what a disk tears at so that no two contents share one.
const PIECE: usize = 480;

/// How many bytes of a content say which it is.
const NAME: usize = 8;

impl Content {
    /// The bytes: seed and length (as far as there is room), then noise.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = made.1.get(&self) {
            return bytes.clone();
        }
        let bytes = self.make();
        if made.0 > KEPT {
            *made = Default::default();
        }
        made.0 += bytes.len();
        made.1.insert(self, bytes.clone());
        bytes
    }

    fn make(self) -> Bytes {
        let len = self.len as usize;
        let mut bytes = Vec::with_capacity(len + PIECE);
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.len.to_le_bytes());
        let mut places = Rng::of(u64::from(self.seed), u64::from(self.len));
        while bytes.len() < len {
            let start = places.index(NOISE.len() - PIECE);
            bytes.extend(&NOISE[start..start + PIECE]);
        }
        bytes.truncate(len);
        bytes.into()
    }

    /// The content that these bytes are, wholly.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (seed, rest) = bytes.split_first_chunk::<4>()?;
        let (len, _) = rest.split_first_chunk::<4>()?;
        let content = Self { seed: u32::from_le_bytes(*seed), len: u32::from_le_bytes(*len) };
        (content.len as usize == bytes.len() && content.bytes() == bytes).then_some(content)
    }

    /// A random one of up to `most` bytes. Two in five are of a small pool, the same for every lane.
    pub fn random(rng: &mut Rng, most: u32) -> Self {
        let seed = if rng.chance(40) { rng.below(16) } else { rng.next_u64() >> 32 } as u32;
        let mut size = Rng::new(u64::from(seed));
        let len = match size.below(100) {
            // Where a ref holds the content itself, where a tree is kept, and around there.
            0..10 => 16_384 - 1 + size.below(3),
            10..15 => 65_536 - 1 + size.below(3),
            15..20 => NAME as u64 + size.below(4),
            20..45 => size.below(16_384),
            45..70 => 16_384 + size.below(49_152),
            70..95 => 65_536 + size.below(131_072),
            _ => size.below(u64::from(most)),
        };
        Self { seed, len: (len as u32).clamp(NAME as u32, most) }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seed, self.len)
    }
}

/// Files by path below the mount, without the first `/`.
pub type Files = BTreeMap<String, Content>;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// In one call.
    Write(String, Content),
    /// In pieces.
    Upload(String, Content),
    /// Of one file.
    Delete(String),
    /// Of a file, from and to.
    Rename(String, String),
    /// Of a file, from and to.
    Copy(String, String),
    /// Of a directory and all below, to where nothing is.
    RenameDir(String, String),
    /// Deletes what no path needs, of all lanes.
    Collect,
    /// Reads everything back, of all lanes.
    Verify,
}

impl Op {
    /// An operation that these files of a lane allow.
    pub fn random(rng: &mut Rng, lane: usize, files: &Files, most: u32) -> Self {
        let mut any = files.keys();
        let Some(from) = any.nth(rng.index(files.len())).cloned() else {
            return Self::Write(some_path(rng, lane, files), Content::random(rng, most));
        };
        let to = some_path(rng, lane, files);
        match rng.below(100) {
            0..13 => Self::Delete(from),
            13..26 if from != to => Self::Rename(from, to),
            26..40 if from != to => Self::Copy(from, to),
            40..46 => match from.rsplit_once('/') {
                Some((dir, _)) if dir.contains('/') => {
                    Self::RenameDir(dir.to_owned(), format!("l{lane}/d{}", rng.next_u64() >> 24))
                }
                _ => Self::Delete(from),
            },
            46..65 => Self::Upload(to, Content::random(rng, most)),
            _ => Self::Write(to, Content::random(rng, most)),
        }
    }

    /// Care of the whole store, beside what the other lanes do to it.
    pub fn care(rng: &mut Rng) -> Self {
        if rng.chance(70) { Self::Collect } else { Self::Verify }
    }

    /// What the operation makes of files.
    pub fn apply(&self, files: &mut Files) {
        match self {
            Self::Write(path, content) | Self::Upload(path, content) => {
                files.insert(path.clone(), *content);
            }
            Self::Delete(path) => {
                files.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(content) = files.remove(from) {
                    files.insert(to.clone(), content);
                }
            }
            Self::Copy(from, to) => {
                if let Some(content) = files.get(from).copied() {
                    files.insert(to.clone(), content);
                }
            }
            Self::RenameDir(from, to) => {
                let below =
                    |path: &str| path.strip_prefix(from)?.strip_prefix('/').map(str::to_owned);
                *files = std::mem::take(files)
                    .into_iter()
                    .map(|(path, content)| match below(&path) {
                        Some(rest) => (format!("{to}/{rest}"), content),
                        None => (path, content),
                    })
                    .collect();
            }
            Self::Collect | Self::Verify => {}
        }
    }

    /// Makes what it will write.
    pub fn prepare(&self) {
        if let Self::Write(_, content) | Self::Upload(_, content) = self {
            drop(content.bytes());
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn run(&self, store: &Kernel) -> nexus_fs::Result<()> {
        let options = CopyOptions::default();
        match self {
            Self::Write(path, content) => {
                store.write(at(path), content.bytes(), &Default::default()).await.map(drop)
            }
            Self::Upload(path, content) => {
                let mut upload = store.upload(at(path), &Default::default()).await?;
                let mut bytes = content.bytes();
                // Pieces of all sizes, none of them aligned to anything.
                let mut sizes = Rng::new(u64::from(content.seed));
                while !bytes.is_empty() {
                    let size = bytes.len().min(1 + sizes.index(70_000));
                    upload.write(bytes.split_to(size)).await?;
                }
                upload.finish().await.map(drop)
            }
            Self::Delete(path) => store.delete(at(path)).await,
            Self::Rename(from, to) | Self::RenameDir(from, to) => {
                store.rename(at(from), at(to), &options).await.map(drop)
            }
            Self::Copy(from, to) => store.copy(at(from), at(to), &options).await.map(drop),
            Self::Collect => {
                let options = CollectOptions { delete: true, force: true };
                store.collect(MOUNT, &options).await.map(drop)
            }
            Self::Verify => verify(store).await,
        }
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<_> = text.split(' ').collect();
        let owned = str::to_owned;
        Ok(match *words.as_slice() {
            ["write", path, content] => Self::Write(owned(path), parse_content(content)?),
            ["upload", path, content] => Self::Upload(owned(path), parse_content(content)?),
            ["delete", path] => Self::Delete(owned(path)),
            ["rename", from, to] => Self::Rename(owned(from), owned(to)),
            ["copy", from, to] => Self::Copy(owned(from), owned(to)),
            ["rename-dir", from, to] => Self::RenameDir(owned(from), owned(to)),
            ["collect"] => Self::Collect,
            ["verify"] => Self::Verify,
            _ => return Err(format!("`{text}` is no operation").into()),
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(path, content) => write!(f, "write {path} {content}"),
            Self::Upload(path, content) => write!(f, "upload {path} {content}"),
            Self::Delete(path) => write!(f, "delete {path}"),
            Self::Rename(from, to) => write!(f, "rename {from} {to}"),
            Self::Copy(from, to) => write!(f, "copy {from} {to}"),
            Self::RenameDir(from, to) => write!(f, "rename-dir {from} {to}"),
            Self::Collect => f.write_str("collect"),
            Self::Verify => f.write_str("verify"),
        }
    }
}

/// Reads everything back; content that some path needs and that is damaged is an error.
async fn verify(store: &Kernel) -> nexus_fs::Result<()> {
    let mut checking = store.verify(MOUNT, &VerifyOptions::default()).await?;
    while let Some(verified) = checking.next().await.transpose()? {
        // What the others delete meanwhile is gone, and harms nobody.
        if let Outcome::Bad { harmed, reason } = verified.outcome
            && !harmed.is_empty()
        {
            let message = format!("{} of {harmed:?}: {reason}", verified.digest);
            return Err(Error::new(ErrorKind::IntegrityMismatch, message));
        }
    }
    Ok(())
}

/// A path below the mount as one of the namespace.
#[must_use]
pub fn at(path: &str) -> String {
    format!("{MOUNT}/{path}")
}

/// A path of a lane: directly in it, or in a directory below, often one that is there.
fn some_path(rng: &mut Rng, lane: usize, files: &Files) -> String {
    let file = rng.below(6);
    if rng.chance(60) {
        return format!("l{lane}/f{file}");
    }
    let dirs: BTreeSet<_> = files
        .keys()
        .filter_map(|path| Some(path.rsplit_once('/')?.0).filter(|dir| dir.contains('/')))
        .collect();
    match dirs.iter().nth(rng.index(dirs.len())) {
        Some(dir) if dirs.len() > 2 || rng.chance(60) => format!("{dir}/f{file}"),
        _ => format!("l{lane}/d{}/f{file}", rng.below(3)),
    }
}

fn parse_content(text: &str) -> Result<Content> {
    let (seed, len) = text.split_once(':').ok_or_else(|| format!("`{text}` is no content"))?;
    Ok(Content { seed: seed.parse()?, len: len.parse()? })
}

/// One lane: the files that must be there, and the operation that may be there too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// By every operation that was acknowledged.
    pub files: Files,
    /// Begun and not acknowledged.
    pub in_flight: Option<Op>,
}

/// All lanes of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lanes(pub Vec<Lane>);

impl Lanes {
    /// So many lanes without files.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(vec![Lane::default(); count])
    }

    /// Takes in a line of the worker's protocol: `> LANE OP` before an operation, `< LANE` after
    /// it; `=` has nothing to do with lanes.
    ///
    /// # Errors
    /// For a line that says that an operation failed (`!`), and one that makes no sense.
    pub fn absorb(&mut self, line: &str) -> Result {
        let nonsense = || format!("the worker said `{line}`");
        let (mark, rest) = line.split_at_checked(1).ok_or_else(nonsense)?;
        let (lane, op) = match rest.trim_start().split_once(' ') {
            Some((lane, op)) => (lane, op),
            None => (rest.trim_start(), ""),
        };
        if mark == "!" {
            return Err(format!("an operation failed: {rest}").into());
        }
        if mark == "=" {
            return Ok(());
        }
        let lane: usize = lane.parse().map_err(|_| nonsense())?;
        let lane = self.0.get_mut(lane).ok_or_else(nonsense)?;
        match mark {
            ">" => lane.in_flight = Some(Op::parse(op)?),
            "<" => lane.in_flight.take().ok_or_else(nonsense)?.apply(&mut lane.files),
            _ => return Err(nonsense().into()),
        }
        Ok(())
    }

    /// The files that were settled, one a line: `LANE PATH CONTENT`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let files = self.0.iter().enumerate().flat_map(|(index, lane)| {
            lane.files.iter().map(move |(path, content)| format!("{index} {path} {content}\n"))
        });
        files.collect()
    }

    /// Reads what [`Lanes::to_text`] wrote.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str, count: usize) -> Result<Self> {
        let mut lanes = Self::new(count);
        for line in text.lines() {
            let [lane, path, content] = *line.split(' ').collect::<Vec<_>>() else {
                return Err(format!("`{line}` is no file of a lane").into());
            };
            let lane = lanes.0.get_mut(lane.parse::<usize>()?).ok_or("no such lane")?;
            lane.files.insert(path.to_owned(), parse_content(content)?);
        }
        Ok(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_say_what_they_are_and_only_when_whole() {
        let content = Content { seed: 7, len: 70_001 };
        let bytes = content.bytes();
        assert_eq!(Content::of(&bytes), Some(content));
        assert_eq!(Content::of(&bytes[..70_000]), None);
        let mut torn = bytes.to_vec();
        torn[65_536..].fill(0);
        assert_eq!(Content::of(&torn), None);
    }

    #[test]
    fn operations_come_back_from_their_text() {
        let (mut rng, mut files) = (Rng::new(5), Files::new());
        let mut kinds = BTreeSet::new();
        for _ in 0..2_000 {
            let op = match rng.chance(5) {
                true => Op::care(&mut rng),
                false => Op::random(&mut rng, 1, &files, 300_000),
            };
            let text = op.to_string();
            kinds.insert(text.split(' ').next().unwrap().to_owned());
            assert_eq!(Op::parse(&text).unwrap(), op);
            op.apply(&mut files);
            assert!(files.keys().all(|path| path.starts_with("l1/")));
        }
        assert_eq!(kinds.len(), 8, "{kinds:?}");
        let lanes = Lanes(vec![Lane::default(), Lane { files, in_flight: None }]);
        assert_eq!(Lanes::parse(&lanes.to_text(), 2).unwrap(), lanes);
    }

    #[test]
    fn an_acknowledgement_settles_what_was_in_flight() {
        let mut lanes = Lanes::new(2);
        lanes.absorb("= opened").unwrap();
        lanes.absorb("> 1 write l1/a 3:9").unwrap();
        assert!(lanes.0[1].files.is_empty());
        assert!(lanes.0[1].in_flight.is_some());
        lanes.absorb("< 1").unwrap();
        assert_eq!(lanes.0[1].files["l1/a"], Content { seed: 3, len: 9 });
        assert_eq!(lanes.0[1].in_flight, None);
        for line in ["< 1", "< 2", "> 1 fly", "! 1 write l1/a: no", ""] {
            assert!(lanes.absorb(line).is_err(), "{line}");
        }
    }
}
