//! Small words that all of the kit uses: paths, content, and running many tasks at once.

use std::future::Future;

use nexus_core::{Bytes, VfsPath};

/// A path that is known to be valid.
#[track_caller]
pub(crate) fn path(text: &str) -> VfsPath {
    VfsPath::parse(text).unwrap()
}

/// `size` bytes in which no short period repeats, so that a misplaced piece is noticed; different
/// for each `seed`.
pub(crate) fn content(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// Runs `count` tasks that begin together, and answers what each of them did, in their order.
pub(crate) async fn together<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(count));
    let spawned: Vec<_> = (0..count)
        .map(|index| {
            let (start, task) = (std::sync::Arc::clone(&start), task(index));
            tokio::spawn(async move {
                start.wait().await;
                task.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(count);
    for task in spawned {
        results.push(task.await.unwrap());
    }
    results
}
