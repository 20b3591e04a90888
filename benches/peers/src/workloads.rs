//! What is measured. Each workload prepares its data untimed, does its work timed, and looks at the
//! result, so that a contestant that did nothing would be noticed.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::contestants::{Contestant, Result};

/// How much is done.
pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    small: usize,
    hot: usize,
    listed: usize,
    directories: usize,
    stream_mib: usize,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        small: 2_000,
        hot: 20_000,
        listed: 10_000,
        directories: 100,
        stream_mib: 1024,
    };
    pub(crate) const QUICK: Self =
        Self { rounds: 1, small: 100, hot: 500, listed: 300, directories: 5, stream_mib: 32 };
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Option<Duration>>> + 'a>>;

/// One row of the table: the time of one operation.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// The ratio to reach.
    pub(crate) target: f64,
    pub(crate) run: for<'a> fn(&'a dyn Contestant, &'a Sizes, usize) -> Running<'a>,
}

macro_rules! workloads {
    ($($name:literal, $target:literal, $run:ident;)*) => {
        pub(crate) const WORKLOADS: &[Workload] = &[$(Workload {
            name: $name,
            target: $target,
            run: |contestant, sizes, round| Box::pin($run(contestant, sizes, round)),
        },)*];
    };
}

workloads! {
    "stat, hot", 3.0, stat_hot;
    "read 1 KiB, hot", 3.0, read_hot;
    "read 1 KiB, 64 at once", 1.0, read_at_once;
    "write 1 KiB, new", 1.0, write_new;
    "write 1 KiB, over another", 1.0, write_over;
    "write 1 KiB, 64 at once", 1.0, write_at_once;
    "list a directory, names", 1.0, list_names;
    "list a directory, sizes", 1.0, list_sizes;
    "list a tree", 1.0, list_tree;
    "delete, many", 1.0, delete_many;
    "rename", 1.0, rename;
    "copy 16 MiB", 1.0, copy;
    "write a stream of 1 GiB", 1.0, write_stream;
    "read a stream of 1 GiB, hot", 1.0, read_stream;
}

const KIB: usize = 1024;
const HOT_FILES: usize = 100;

fn content() -> Bytes {
    Bytes::from(vec![7; KIB])
}

fn keys(dir: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{dir}/{n}")).collect()
}

/// Time since `begin`, a share for each of `count`.
fn each(begin: Instant, count: usize) -> Result<Option<Duration>> {
    Ok(Some(begin.elapsed() / u32::try_from(count)?))
}

async fn fill(contestant: &dyn Contestant, keys: &[String], round: usize) -> Result<()> {
    if round == 0 {
        contestant.write_many(keys.to_vec(), &content()).await?;
    }
    Ok(())
}

async fn stat_hot(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let keys = keys("hot", HOT_FILES);
    fill(c, &keys, round).await?;
    let begin = Instant::now();
    for n in 0..sizes.hot {
        assert_eq!(c.stat(&keys[n % HOT_FILES]).await?, KIB as u64);
    }
    each(begin, sizes.hot)
}

async fn read_hot(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let keys = keys("hot", HOT_FILES);
    fill(c, &keys, round).await?;
    let begin = Instant::now();
    for n in 0..sizes.hot {
        assert_eq!(c.read(&keys[n % HOT_FILES]).await?.len(), KIB);
    }
    each(begin, sizes.hot)
}

async fn read_at_once(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let keys = keys("at-once", sizes.small);
    fill(c, &keys, round).await?;
    let begin = Instant::now();
    c.read_many(keys).await?;
    each(begin, sizes.small)
}

async fn write_new(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let keys = keys(&format!("new-{round}"), sizes.small);
    let begin = Instant::now();
    for key in &keys {
        c.write(key, content()).await?;
    }
    let time = each(begin, sizes.small);
    assert_eq!(c.read(&keys[sizes.small - 1]).await?, content());
    time
}

async fn write_over(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let keys = keys("over", sizes.small);
    fill(c, &keys, round).await?;
    let begin = Instant::now();
    for key in &keys {
        c.write(key, content()).await?;
    }
    each(begin, sizes.small)
}

async fn write_at_once(
    c: &dyn Contestant,
    sizes: &Sizes,
    round: usize,
) -> Result<Option<Duration>> {
    let keys = keys(&format!("many-{round}"), sizes.small);
    let begin = Instant::now();
    c.write_many(keys.clone(), &content()).await?;
    let time = each(begin, sizes.small);
    assert_eq!(c.read(&keys[0]).await?, content());
    time
}

async fn list_names(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    fill(c, &keys("listed", sizes.listed), round).await?;
    let begin = Instant::now();
    assert_eq!(c.list("listed").await?, sizes.listed);
    each(begin, 1)
}

async fn list_sizes(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    fill(c, &keys("listed", sizes.listed), round).await?;
    let begin = Instant::now();
    assert_eq!(c.list_sizes("listed").await?, (sizes.listed, (sizes.listed * KIB) as u64));
    each(begin, 1)
}

async fn list_tree(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let keys: Vec<_> =
        (0..sizes.directories).flat_map(|dir| keys(&format!("tree/{dir}"), 100)).collect();
    fill(c, &keys, round).await?;
    let begin = Instant::now();
    assert_eq!(c.walk("tree").await?, keys.len());
    each(begin, 1)
}

async fn delete_many(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let keys = keys(&format!("gone-{round}"), sizes.small);
    c.write_many(keys.clone(), &content()).await?;
    let begin = Instant::now();
    c.delete(keys.clone()).await?;
    let time = each(begin, sizes.small);
    assert!(c.stat(&keys[0]).await.is_err() && c.stat(&keys[sizes.small - 1]).await.is_err());
    time
}

async fn rename(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    let (from, to) =
        (keys(&format!("old-{round}"), sizes.small), keys(&format!("moved-{round}"), sizes.small));
    c.write_many(from.clone(), &content()).await?;
    let begin = Instant::now();
    for (from, to) in from.iter().zip(&to) {
        c.rename(from, to).await?;
    }
    let time = each(begin, sizes.small);
    assert_eq!(c.stat(&to[0]).await?, KIB as u64);
    time
}

async fn copy(c: &dyn Contestant, _: &Sizes, round: usize) -> Result<Option<Duration>> {
    let large = Bytes::from(vec![7; 16 << 20]);
    if round == 0 {
        c.write("large", large.clone()).await?;
    }
    let to = format!("large-{round}");
    let begin = Instant::now();
    c.copy("large", &to).await?;
    let time = each(begin, 1);
    assert_eq!(c.stat(&to).await?, large.len() as u64);
    c.delete(vec![to]).await?;
    time
}

async fn write_stream(c: &dyn Contestant, sizes: &Sizes, _: usize) -> Result<Option<Duration>> {
    let piece = Bytes::from(vec![7; 1 << 20]);
    let begin = Instant::now();
    c.write_stream("stream", &piece, sizes.stream_mib).await?;
    let time = each(begin, 1);
    assert_eq!(c.stat("stream").await?, (sizes.stream_mib as u64) << 20);
    // What one wrote must not be written back by the system while the next is measured.
    c.delete(vec!["stream".to_owned()]).await?;
    time
}

async fn read_stream(c: &dyn Contestant, sizes: &Sizes, round: usize) -> Result<Option<Duration>> {
    if round == 0 {
        c.write_stream("streamed", &Bytes::from(vec![7; 1 << 20]), sizes.stream_mib).await?;
    }
    let begin = Instant::now();
    assert_eq!(c.read_stream("streamed").await?, (sizes.stream_mib as u64) << 20);
    each(begin, 1)
}
