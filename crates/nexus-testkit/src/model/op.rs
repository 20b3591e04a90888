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

/// One operation on the namespace, or of somebody else on a store.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Stat(VfsPath),
    Read(VfsPath),
    ReadRange(VfsPath, u64, Option<u64>),
    ReadIfMatch(VfsPath, Which),
    ReadIfNoneMatch(VfsPath, Which),
    Write(VfsPath, Content, Mode),
    Upload(VfsPath, Vec<Content>, Mode, End),
    List { path: VfsPath, recursive: bool, limit: Option<usize>, after: Option<&'static str> },
    Delete(VfsPath),
    DeleteMany(Vec<(VfsPath, Option<Which>)>),
    Copy(VfsPath, VfsPath, Mode),
    Rename(VfsPath, VfsPath, Mode),
    CreateDir(VfsPath),
    RemoveDir(VfsPath),
    CopyAll(VfsPath, VfsPath, Mode),
    RemoveAll(VfsPath),
    ForeignWrite(VfsPath, Content),
    ForeignRemove(VfsPath),
    ForeignCreateDir(VfsPath),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Mostly two names deep; `x.y` sorts between `x` and what is in it.
fn path() -> impl Strategy<Value = VfsPath> {
    let name = prop_oneof![4 => Just("x"), 3 => Just("y"), 1 => Just("x.y")];
    let depth = prop_oneof![1 => Just(0_usize), 8 => Just(1), 8 => Just(2), 4 => Just(3)];
    let inside = (prop::sample::select(&MOUNTS[..]), vec(name, 3), depth).prop_map(
        |(mount, names, depth)| {
            let tail = names[..depth].iter().map(|name| format!("/{name}"));
            support::path(&format!("{mount}{}", tail.collect::<String>()))
        },
    );
    let outside = prop::sample::select(&["/", "/nowhere", "/nowhere/x"][..]);
    prop_oneof![40 => inside, 1 => outside.prop_map(support::path)]
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
        4 => Just(Mode::Overwrite),
        2 => Just(Mode::Create),
        2 => Just(Mode::ReplaceRight),
        1 => Just(Mode::ReplaceStale),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![Just(Which::Right), Just(Which::Stale)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![4 => Just(End::Finish), 1 => Just(End::Abort), 1 => Just(End::Drop)]
}

fn op() -> impl Strategy<Value = Op> {
    let range = (path(), 0_u64..24, proptest::option::of(0_u64..24))
        .prop_map(|(path, start, length)| Op::ReadRange(path, start, length.map(|l| start + l)));
    let after = prop::sample::select(&["x", "x.y", "x/y", "y", "w"][..]);
    let list = (
        path(),
        any::<bool>(),
        proptest::option::weighted(0.2, 0_usize..4),
        proptest::option::weighted(0.2, after),
    )
        .prop_map(|(path, recursive, limit, after)| Op::List { path, recursive, limit, after });
    let two = || (path(), path(), mode());
    prop_oneof![
        2 => path().prop_map(Op::Stat),
        2 => path().prop_map(Op::Read),
        2 => range,
        1 => (path(), which()).prop_map(|(path, which)| Op::ReadIfMatch(path, which)),
        1 => (path(), which()).prop_map(|(path, which)| Op::ReadIfNoneMatch(path, which)),
        9 => (path(), content(), mode()).prop_map(|(path, content, mode)| {
            Op::Write(path, content, mode)
        }),
        4 => (path(), vec(content(), 0..4), mode(), end()).prop_map(
            |(path, pieces, mode, end)| Op::Upload(path, pieces, mode, end)
        ),
        4 => list,
        3 => path().prop_map(Op::Delete),
        1 => vec((path(), proptest::option::of(which())), 0..5).prop_map(Op::DeleteMany),
        4 => two().prop_map(|(from, to, mode)| Op::Copy(from, to, mode)),
        6 => two().prop_map(|(from, to, mode)| Op::Rename(from, to, mode)),
        4 => path().prop_map(Op::CreateDir),
        3 => path().prop_map(Op::RemoveDir),
        2 => two().prop_map(|(from, to, mode)| Op::CopyAll(from, to, mode)),
        1 => path().prop_map(Op::RemoveAll),
        2 => (path(), content()).prop_map(|(path, content)| Op::ForeignWrite(path, content)),
        1 => path().prop_map(Op::ForeignRemove),
        1 => path().prop_map(Op::ForeignCreateDir),
    ]
}

/// Up to `steps` operations.
pub(super) fn sequence(steps: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..=steps)
}
