//! What can be done to a namespace, and how it is drawn: from few paths and few contents.

use std::fmt;

use nexus_core::{Bytes, VfsPath};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support;

/// The mount points of a case.
pub(super) const MOUNTS: [&str; 2] = ["/a", "/b"];

/// What a write may replace. Which version is the right one shows only when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Overwrite,
    Create,
    /// The version that is there now.
    ReplaceRight,
    /// A version that was there once, or never.
    ReplaceStale,
}

/// Which version a precondition names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Right,
    Stale,
}

/// How an upload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Finish,
    Abort,
    Drop,
}

/// Content that is small to print: a seed and a size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    seed: u8,
    size: usize,
}

impl Content {
    pub(super) fn bytes(self) -> Bytes {
        support::content(u64::from(self.seed), self.size)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes (#{})", self.size, self.seed)
    }
}

/// One operation on the namespace, or of somebody else on a store. It is drawn with a [`Pick`] for
/// each path, and done with the path that was picked.
#[derive(Clone, Debug)]
pub(super) enum Op<P = VfsPath> {
    Stat(P),
    Read(P),
    ReadRange(P, u64, Option<u64>),
    ReadIfMatch(P, Which),
    ReadIfNoneMatch(P, Which),
    Write(P, Content, Mode),
    Upload(P, Vec<Content>, Mode, End),
    List { path: P, recursive: bool, limit: Option<usize>, after: Option<&'static str> },
    Delete(P),
    DeleteMany(Vec<(P, Option<Which>)>),
    Copy(P, P, Mode),
    Rename(P, P, Mode),
    CreateDir(P),
    RemoveDir(P),
    CopyAll(P, P, Mode),
    RemoveAll(P),
    ForeignWrite(P, Content),
    ForeignRemove(P),
    ForeignCreateDir(P),
}

/// How a path is chosen when the operation is done, so that most of them meet something.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    /// One of the files that are there.
    File(u8),
    /// One of the directories that are there.
    Directory(u8),
    /// A name in one of the directories that are there.
    Inside(u8, &'static str),
    /// This, whatever is there.
    Path(VfsPath),
}

impl Op<Pick> {
    /// The operation on the paths that `choose` chooses.
    pub(super) fn resolve(&self, choose: impl Fn(&Pick) -> VfsPath) -> Op {
        match self {
            Self::Stat(at) => Op::Stat(choose(at)),
            Self::Read(at) => Op::Read(choose(at)),
            Self::ReadRange(at, start, end) => Op::ReadRange(choose(at), *start, *end),
            Self::ReadIfMatch(at, which) => Op::ReadIfMatch(choose(at), *which),
            Self::ReadIfNoneMatch(at, which) => Op::ReadIfNoneMatch(choose(at), *which),
            Self::Write(at, content, mode) => Op::Write(choose(at), *content, *mode),
            Self::Upload(at, pieces, mode, end) => {
                Op::Upload(choose(at), pieces.clone(), *mode, *end)
            }
            Self::List { path, recursive, limit, after } => {
                Op::List { path: choose(path), recursive: *recursive, limit: *limit, after: *after }
            }
            Self::Delete(at) => Op::Delete(choose(at)),
            Self::DeleteMany(targets) => {
                Op::DeleteMany(targets.iter().map(|(at, which)| (choose(at), *which)).collect())
            }
            Self::Copy(from, to, mode) => Op::Copy(choose(from), choose(to), *mode),
            Self::Rename(from, to, mode) => Op::Rename(choose(from), choose(to), *mode),
            Self::CreateDir(at) => Op::CreateDir(choose(at)),
            Self::RemoveDir(at) => Op::RemoveDir(choose(at)),
            Self::CopyAll(from, to, mode) => Op::CopyAll(choose(from), choose(to), *mode),
            Self::RemoveAll(at) => Op::RemoveAll(choose(at)),
            Self::ForeignWrite(at, content) => Op::ForeignWrite(choose(at), *content),
            Self::ForeignRemove(at) => Op::ForeignRemove(choose(at)),
            Self::ForeignCreateDir(at) => Op::ForeignCreateDir(choose(at)),
        }
    }
}

/// `x.y` sorts between `x` and what is in it.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("x"), 3 => Just("y"), 1 => Just("x.y")]
}

/// Mostly one or two names deep, sometimes in no mount at all.
fn path() -> impl Strategy<Value = Pick> {
    let depth = prop_oneof![1 => Just(0_usize), 8 => Just(1), 8 => Just(2), 4 => Just(3)];
    let inside = (prop::sample::select(&MOUNTS[..]), vec(name(), 3), depth).prop_map(
        |(mount, names, depth)| {
            let tail = names[..depth].iter().map(|name| format!("/{name}"));
            support::path(&format!("{mount}{}", tail.collect::<String>()))
        },
    );
    let outside = prop::sample::select(&["/", "/nowhere", "/nowhere/x"][..]);
    prop_oneof![20 => inside, 1 => outside.prop_map(support::path)].prop_map(Pick::Path)
}

fn file() -> impl Strategy<Value = Pick> {
    any::<u8>().prop_map(Pick::File)
}

fn directory() -> impl Strategy<Value = Pick> {
    any::<u8>().prop_map(Pick::Directory)
}

fn inside() -> impl Strategy<Value = Pick> {
    (any::<u8>(), name()).prop_map(|(directory, name)| Pick::Inside(directory, name))
}

/// Where a file is wanted.
fn source() -> impl Strategy<Value = Pick> {
    prop_oneof![7 => file(), 1 => directory(), 2 => path()]
}

/// Where a file or a directory is wanted.
fn top() -> impl Strategy<Value = Pick> {
    prop_oneof![3 => file(), 4 => directory(), 1 => path()]
}

/// Where something is put.
fn target() -> impl Strategy<Value = Pick> {
    prop_oneof![6 => inside(), 3 => file(), 1 => directory(), 3 => path()]
}

fn content() -> impl Strategy<Value = Content> {
    let size = prop_oneof![
        2 => Just(0_usize),
        6 => 1_usize..20,
        3 => Just(5000_usize),
        1 => Just(200_000_usize),
    ];
    (any::<u8>(), size).prop_map(|(seed, size)| Content { seed, size })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        5 => Just(Mode::Overwrite),
        2 => Just(Mode::Create),
        2 => Just(Mode::ReplaceRight),
        1 => Just(Mode::ReplaceStale),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![2 => Just(Which::Right), 1 => Just(Which::Stale)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![4 => Just(End::Finish), 1 => Just(End::Abort), 1 => Just(End::Drop)]
}

fn list() -> impl Strategy<Value = Op<Pick>> {
    let directory = prop_oneof![6 => directory(), 1 => file(), 1 => path()];
    let after = prop::sample::select(&["x", "x.y", "x/y", "y", "w"][..]);
    (
        directory,
        any::<bool>(),
        proptest::option::weighted(0.2, 0_usize..4),
        proptest::option::weighted(0.2, after),
    )
        .prop_map(|(path, recursive, limit, after)| Op::List { path, recursive, limit, after })
}

fn op() -> impl Strategy<Value = Op<Pick>> {
    let range = (source(), 0_u64..24, proptest::option::of(0_u64..24))
        .prop_map(|(path, start, length)| Op::ReadRange(path, start, length.map(|l| start + l)));
    let upload = (target(), vec(content(), 0..4), mode(), end())
        .prop_map(|(path, pieces, mode, end)| Op::Upload(path, pieces, mode, end));
    let many = vec((source(), proptest::option::of(which())), 0..5).prop_map(Op::DeleteMany);
    prop_oneof![
        2 => prop_oneof![top(), path()].prop_map(Op::Stat),
        2 => source().prop_map(Op::Read),
        2 => range,
        1 => (source(), which()).prop_map(|(path, which)| Op::ReadIfMatch(path, which)),
        1 => (source(), which()).prop_map(|(path, which)| Op::ReadIfNoneMatch(path, which)),
        12 => (target(), content(), mode()).prop_map(|(path, content, mode)| {
            Op::Write(path, content, mode)
        }),
        5 => upload,
        4 => list(),
        2 => source().prop_map(Op::Delete),
        1 => many,
        5 => (source(), target(), mode()).prop_map(|(from, to, mode)| Op::Copy(from, to, mode)),
        7 => (top(), target(), mode()).prop_map(|(from, to, mode)| Op::Rename(from, to, mode)),
        5 => prop_oneof![3 => inside(), 1 => target()].prop_map(Op::CreateDir),
        3 => top().prop_map(Op::RemoveDir),
        3 => (top(), target(), mode()).prop_map(|(from, to, mode)| Op::CopyAll(from, to, mode)),
        1 => top().prop_map(Op::RemoveAll),
        2 => (target(), content()).prop_map(|(path, content)| Op::ForeignWrite(path, content)),
        1 => source().prop_map(Op::ForeignRemove),
        1 => target().prop_map(Op::ForeignCreateDir),
    ]
}

/// Up to `steps` operations.
pub(super) fn sequence(steps: usize) -> impl Strategy<Value = Vec<Op<Pick>>> {
    vec(op(), 1..=steps)
}
