//! Outboard BLAKE3 trees: the inner nodes of the hash of a content, kept beside it, so that a part of
//! the content can be verified without the rest.
//!
//! Groups of 16 KiB are the leaves. Each parent is 64 bytes, the chaining values of its two children,
//! and parents lie in post-order: the layout of `bao-tree`'s post-order outboards, which the tests
//! compare with. A left subtree is always perfect, so what was written never changes while content
//! is still coming, and the place of a node follows from its groups alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use futures_util::future::BoxFuture;
use nexus_core::{Bytes, Digest, Error, ErrorKind, Result, async_trait};

/// Bytes of a group.
pub const GROUP: u64 = 16 << 10;

/// Bytes of a parent.
const PARENT: u64 = 64;

/// Nodes that are remembered of one content, at most; each takes less than 100 bytes.
pub const REMEMBERED: usize = 96 << 10;

/// Whoever makes a tree remembers its subtrees from this many groups on.
const LARGE: u64 = 16;

/// The bytes of the tree of a content of `size` bytes.
#[must_use]
pub fn outboard_size(size: u64) -> u64 {
    groups(size).saturating_sub(1) * PARENT
}

fn groups(size: u64) -> u64 {
    size.div_ceil(GROUP).max(1)
}

/// The chaining value of bytes that are a whole subtree from `offset` on, and not the root.
fn subtree(offset: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset).update(bytes);
    hasher.finalize_non_root()
}

fn parent(left: &ChainingValue, right: &ChainingValue) -> ChainingValue {
    merge_subtrees_non_root(left, right, Mode::Hash)
}

/// Hashes content that comes in pieces, and makes its tree on the way.
#[derive(Debug, Default)]
pub struct Builder {
    /// The last group, as far as it has come. It is hashed once more content follows, since the root
    /// is hashed in another way.
    held: Vec<u8>,
    /// Groups that were hashed.
    groups: u64,
    /// The perfect subtrees so far and their chaining values, the largest first.
    stack: Vec<(Span, ChainingValue)>,
    nodes: Vec<u8>,
    large: Remembered,
}

impl Builder {
    /// Nothing has come yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece, of any size.
    pub fn update(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.held.len() as u64 == GROUP {
                let cv = subtree(self.groups * GROUP, &self.held);
                self.held.clear();
                self.push(cv);
            }
            // Whole groups that are not the last one need no copy.
            while self.held.is_empty() && piece.len() as u64 > GROUP {
                let (group, rest) = piece.split_at(GROUP as usize);
                self.push(subtree(self.groups * GROUP, group));
                piece = rest;
            }
            let (part, rest) = piece.split_at(piece.len().min(GROUP as usize - self.held.len()));
            self.held.extend_from_slice(part);
            piece = rest;
        }
    }

    /// Adds a group after which more content comes: no merge can be the root.
    fn push(&mut self, cv: ChainingValue) {
        self.stack.push((Span { groups: 1, first: self.groups }, cv));
        self.groups += 1;
        for _ in 0..self.groups.trailing_zeros() {
            if let Some((span, left, right)) = self.pop_pair() {
                self.stack.push((span, parent(&left, &right)));
            }
        }
    }

    /// Takes the last two subtrees, which are the children of one.
    fn pop_pair(&mut self) -> Option<(Span, ChainingValue, ChainingValue)> {
        let (right, left) = (self.stack.pop()?, self.stack.pop()?);
        self.nodes.extend_from_slice(&left.1);
        self.nodes.extend_from_slice(&right.1);
        if left.0.groups >= LARGE {
            self.large.add([left, right]);
        }
        let groups = left.0.groups + right.0.groups;
        Some((Span { groups, ..left.0 }, left.1, right.1))
    }

    /// The part of the tree that is complete and was not taken yet.
    pub fn take_nodes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.nodes)
    }

    /// The large subtrees, as far as the tree is complete.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        self.large.clone()
    }

    /// The digest and the size of the content, and the rest of the tree.
    #[must_use]
    pub fn finish(mut self) -> (Digest, u64, Vec<u8>) {
        let size = self.groups * GROUP + self.held.len() as u64;
        let mut root = blake3::hash(&self.held);
        if self.groups > 0 {
            let cv = subtree(self.groups * GROUP, &self.held);
            self.stack.push((Span { groups: 1, first: self.groups }, cv));
            while let Some((span, left, right)) = self.pop_pair() {
                root = merge_subtrees_root(&left, &right, Mode::Hash);
                if !self.stack.is_empty() {
                    self.stack.push((span, parent(&left, &right)));
                }
            }
        }
        (Digest::from_bytes(*root.as_bytes()), size, self.nodes)
    }
}

/// Where a verifier reads a tree.
#[async_trait]
pub trait Nodes: Send {
    /// `length` bytes of the tree, from `offset` on.
    async fn read(&mut self, offset: u64, length: usize) -> Result<Bytes>;
}

/// A subtree: how many groups it has, and its first. The smallest sort first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    groups: u64,
    first: u64,
}

impl Span {
    fn end(self) -> u64 {
        self.first + self.groups
    }

    fn children(self) -> (Self, Self) {
        let left = left_subtree_len(self.groups * GROUP) / GROUP;
        let right = Self { first: self.first + left, groups: self.groups - left };
        (Self { groups: left, ..self }, right)
    }

    /// Where the parent of its children lies. Before group `first`, `first` groups were merged into
    /// as many subtrees as `first` has ones; this subtree adds one parent less than it has groups.
    fn offset(self) -> u64 {
        (self.first - u64::from(self.first.count_ones()) + self.groups - 2) * PARENT
    }

    fn meets(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }

    fn holds(self, other: Self) -> bool {
        self.first <= other.first && other.end() <= self.end()
    }
}

/// Nodes of one content that were found to be right. Shared by the readers of that content. The
/// largest subtrees are remembered longest: any part of the content may need them.
#[derive(Clone, Debug, Default)]
pub struct Remembered(Arc<Mutex<BTreeMap<Span, ChainingValue>>>);

impl Remembered {
    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn get(&self, span: Span) -> Option<ChainingValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&span).copied()
    }

    fn add(&self, nodes: impl IntoIterator<Item = (Span, ChainingValue)>) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.extend(nodes);
        while remembered.len() > REMEMBERED {
            remembered.pop_first();
        }
    }
}

/// Verifies parts of one content against its digest.
#[derive(Debug)]
pub struct Verifier {
    digest: Digest,
    size: u64,
    remembered: Remembered,
}

impl Verifier {
    /// For the content of this digest and size.
    #[must_use]
    pub fn new(digest: Digest, size: u64, remembered: Remembered) -> Self {
        Self { digest, size, remembered }
    }

    /// The digest of the content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Verifies `bytes`, which are the content from `start` on: whole groups, or up to its end.
    ///
    /// # Errors
    /// `IntegrityMismatch` when content and tree do not lead to the digest, `Internal` when the
    /// bytes are no whole groups, and those of `nodes`.
    pub async fn verify(&self, nodes: &mut dyn Nodes, start: u64, bytes: &[u8]) -> Result<()> {
        let end = start + bytes.len() as u64;
        let aligned =
            start.is_multiple_of(GROUP) && (end.is_multiple_of(GROUP) || end == self.size);
        if !aligned || end > self.size || (bytes.is_empty() && self.size > 0) {
            return Err(Error::new(ErrorKind::Internal, "a part to verify is no whole groups"));
        }
        let all = Span { first: 0, groups: groups(self.size) };
        let part = Span { first: start / GROUP, groups: groups(bytes.len() as u64) };
        if part == all {
            return self.expect(Digest::of(bytes) == self.digest);
        }
        let (top, known) = self.nearest_known(all, part);
        let mut walk = Walk { nodes, part, bytes, seen: Vec::new() };
        let right = match known {
            Some(known) => walk.value(top).await? == known,
            None => {
                let (left, right) = walk.pair(top).await?;
                let root = merge_subtrees_root(&left, &right, Mode::Hash);
                root.as_bytes() == self.digest.as_bytes()
            }
        };
        self.expect(right)?;
        self.remembered.add(walk.seen);
        Ok(())
    }

    fn expect(&self, right: bool) -> Result<()> {
        if right {
            return Ok(());
        }
        let message = format!("content and tree do not lead to {}", self.digest);
        Err(Error::new(ErrorKind::IntegrityMismatch, message))
    }

    /// The smallest subtree around `part` whose value is known.
    fn nearest_known(&self, all: Span, part: Span) -> (Span, Option<ChainingValue>) {
        let (mut nearest, mut at) = ((all, None), all);
        while at.groups > 1 {
            let (left, right) = at.children();
            at = match (left.holds(part), right.holds(part)) {
                (true, _) => left,
                (_, true) => right,
                _ => break,
            };
            if let Some(value) = self.remembered.get(at) {
                nearest = (at, Some(value));
            }
        }
        nearest
    }
}

/// Works out chaining values from a part of the content and the tree around it.
struct Walk<'a> {
    nodes: &'a mut dyn Nodes,
    part: Span,
    bytes: &'a [u8],
    /// What was read and worked out on the way: right, if the top is.
    seen: Vec<(Span, ChainingValue)>,
}

impl Walk<'_> {
    /// The value of a subtree that has groups of the part in it.
    fn value(&mut self, span: Span) -> BoxFuture<'_, Result<ChainingValue>> {
        Box::pin(async move {
            if self.part.holds(span) {
                let from = (span.first - self.part.first) * GROUP;
                let to = (from + span.groups * GROUP).min(self.bytes.len() as u64);
                return Ok(subtree(span.first * GROUP, &self.bytes[from as usize..to as usize]));
            }
            let (left, right) = self.pair(span).await?;
            Ok(parent(&left, &right))
        })
    }

    /// The values of the two children of a subtree.
    async fn pair(&mut self, span: Span) -> Result<(ChainingValue, ChainingValue)> {
        let (left, right) = span.children();
        let of_left = self.child(left, span.offset()).await?;
        let of_right = self.child(right, span.offset() + PARENT / 2).await?;
        Ok((of_left, of_right))
    }

    async fn child(&mut self, span: Span, offset: u64) -> Result<ChainingValue> {
        let value = if self.part.meets(span) {
            self.value(span).await?
        } else {
            let bytes = self.nodes.read(offset, 32).await?;
            bytes.as_ref().try_into().map_err(|_| {
                Error::new(ErrorKind::IntegrityMismatch, "the tree of a content is cut short")
            })?
        };
        self.seen.push((span, value));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use bao_tree::BlockSize;
    use bao_tree::io::outboard::PostOrderMemOutboard;
    use proptest::prelude::*;

    use super::*;

    fn content(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&size.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn build(content: &[u8], piece: usize) -> (Digest, u64, Vec<u8>) {
        let (mut builder, mut tree) = (Builder::new(), Vec::new());
        for piece in content.chunks(piece) {
            builder.update(piece);
            tree.extend(builder.take_nodes());
        }
        let (digest, size, rest) = builder.finish();
        tree.extend(rest);
        (digest, size, tree)
    }

    struct Memory {
        tree: Vec<u8>,
        read: usize,
    }

    #[async_trait]
    impl Nodes for Memory {
        async fn read(&mut self, offset: u64, length: usize) -> Result<Bytes> {
            self.read += length;
            let end = self.tree.len().min(offset as usize + length);
            Ok(Bytes::copy_from_slice(self.tree.get(offset as usize..end).unwrap_or_default()))
        }
    }

    const GROUP_LOG: BlockSize = BlockSize::from_chunk_log(4);

    #[test]
    fn is_what_bao_tree_makes() {
        let group = GROUP as usize;
        for size in [
            0,
            1,
            1023,
            1024,
            1025,
            group - 1,
            group,
            group + 1,
            2 * group,
            2 * group + 1,
            3 * group,
            5 * group - 7,
            8 * group,
            64 * group + 1,
            100 * group + 5,
        ] {
            let content = content(size);
            let expected = PostOrderMemOutboard::create(&content, GROUP_LOG);
            for piece in [1 << 20, group, 5000, 100_001] {
                let (digest, length, tree) = build(&content, piece);
                assert_eq!(digest.as_bytes(), blake3::hash(&content).as_bytes(), "{size}");
                assert_eq!(length, size as u64);
                assert_eq!(tree, expected.data, "{size} in pieces of {piece}");
                assert_eq!(tree.len() as u64, outboard_size(size as u64), "{size}");
            }
        }
    }

    async fn verify_part(
        content: &[u8],
        nodes: &mut Memory,
        verifier: &Verifier,
        start: usize,
        end: usize,
    ) -> Result<()> {
        let group = GROUP as usize;
        let (first, last) = (start / group * group, end.next_multiple_of(group).min(content.len()));
        verifier.verify(nodes, first as u64, &content[first..last]).await
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn random_ranges_read_little_more_than_they_must() {
        let content = content(64 << 20);
        let (digest, size, tree) = build(&content, 1 << 20);
        let verifier = Verifier::new(digest, size, Remembered::default());
        let mut nodes = Memory { tree, read: 0 };
        let mut state = 1_u64;
        let ranges = 100;
        block_on(async {
            for _ in 0..ranges {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let start = (state >> 33) as usize % (content.len() / 4096) * 4096;
                verify_part(&content, &mut nodes, &verifier, start, start + 4096).await.unwrap();
            }
        });
        // 4,096 groups and 100 of them: below the levels that all share, 12 less 6.6 are left.
        assert!(nodes.read < ranges * 32 * 8, "{} bytes", nodes.read);
    }

    #[test]
    fn a_sequential_read_reads_each_node_of_the_pieces_once() {
        let content = content((16 << 20) + 5);
        let (digest, size, tree) = build(&content, 1 << 20);
        let verifier = Verifier::new(digest, size, Remembered::default());
        let mut nodes = Memory { tree, read: 0 };
        block_on(async {
            for (index, piece) in content.chunks(1 << 20).enumerate() {
                verifier.verify(&mut nodes, (index << 20) as u64, piece).await.unwrap();
            }
        });
        assert!(nodes.read <= 17 * 32, "{} bytes", nodes.read);
    }

    #[test]
    fn whoever_made_a_tree_reads_the_lowest_levels_alone() {
        let content = content((64 << 20) + 5);
        let mut builder = Builder::new();
        builder.update(&content);
        let large = builder.remembered();
        let mut tree = builder.take_nodes();
        let (digest, size, rest) = builder.finish();
        tree.extend(rest);
        let verifier = Verifier::new(digest, size, large);
        let mut nodes = Memory { tree, read: 0 };
        let (start, end) = (33 << 20, (33 << 20) + 1);
        block_on(verify_part(&content, &mut nodes, &verifier, start, end)).unwrap();
        assert_eq!(nodes.read, 4 * 32);
        let mut damaged = content;
        damaged[start] ^= 1;
        let found = block_on(verify_part(&damaged, &mut nodes, &verifier, start, end));
        assert_eq!(found.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
    }

    #[test]
    fn the_smallest_subtrees_are_forgotten_first() {
        let remembered = Remembered::default();
        let span = |groups, first| Span { groups, first };
        let count = REMEMBERED as u64;
        remembered.add([(span(1 << 20, 0), [1; 32])]);
        remembered.add((0..count).map(|first| (span(2, 2 * first), [2; 32])));
        remembered.add([(span(1, 0), [3; 32])]);
        assert_eq!(remembered.get(span(1 << 20, 0)), Some([1; 32]));
        assert_eq!(remembered.get(span(1, 0)), None);
        assert_eq!(remembered.get(span(2, 0)), None);
        assert_eq!(remembered.get(span(2, 2)), Some([2; 32]));
        assert_eq!(remembered.nodes(), REMEMBERED);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn damage_is_found(
            size in 1_usize..600_000,
            range in any::<(prop::sample::Index, prop::sample::Index)>(),
            flip in any::<prop::sample::Index>(),
            bit in 0_u8..8,
            in_tree in any::<bool>(),
        ) {
            let mut content = content(size);
            let (digest, length, tree) = build(&content, 70_000);
            let (a, b) = (range.0.index(size), range.1.index(size));
            let (start, end) = (a.min(b), a.max(b) + 1);
            let mut nodes = Memory { tree, read: 0 };
            let fresh = || Verifier::new(digest, length, Remembered::default());
            block_on(verify_part(&content, &mut nodes, &fresh(), start, end)).unwrap();
            if in_tree && !nodes.tree.is_empty() {
                let at = flip.index(nodes.tree.len());
                nodes.tree[at] ^= 1 << bit;
                // A node that the part does not need may be anything; one that it needs may not, and
                // damaged content passes with neither.
                content[start] ^= 1;
                let found = block_on(verify_part(&content, &mut nodes, &fresh(), start, end));
                prop_assert_eq!(found.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
            } else {
                let at = start + flip.index(end - start);
                content[at] ^= 1 << bit;
                let found = block_on(verify_part(&content, &mut nodes, &fresh(), start, end));
                prop_assert_eq!(found.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
            }
        }
    }
}
