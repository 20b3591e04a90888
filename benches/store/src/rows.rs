//! What is measured. Each row prepares its data untimed, does its work timed, and looks at the result,
//! so that a contestant that did nothing would be noticed.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use nexus_fs::{Bytes, CollectOptions};

use crate::contestants::{Disk, Mount, Result, Timed, bytes_read, settle};
use crate::table::{Line, Target, Unit};

/// How much is done.
pub(crate) struct Sizes {
    rounds: usize,
    pub(crate) small: usize,
    stream: u64,
    /// The file that ranges are read of, and how many.
    large: u64,
    ranges: usize,
    listed: usize,
    collected: usize,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        rounds: 3,
        small: 2_000,
        stream: 1 << 30,
        large: 10 << 30,
        ranges: 10_000,
        listed: 100_000,
        collected: 2_000,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        small: 100,
        stream: 32 << 20,
        large: 64 << 20,
        ranges: 100,
        listed: 1_000,
        collected: 50,
    };
}

/// What all rows share.
pub(crate) struct Run {
    pub(crate) sizes: Sizes,
    pub(crate) cas: Mount,
    /// By digest as well, large files in chunks.
    pub(crate) chunks: Mount,
    pub(crate) plain: Mount,
    pub(crate) disk: Disk,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Vec<Line>>> + 'a>>;

/// One or more lines of the table that are measured together.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Run) -> Running<'a>,
}

pub(crate) const ROWS: &[Row] = &[
    Row { name: "small", run: |run| Box::pin(small(run)) },
    Row { name: "stream", run: |run| Box::pin(stream(run)) },
    Row { name: "hasty stream", run: |run| Box::pin(hasty_stream(run)) },
    Row { name: "chunks", run: |run| Box::pin(chunks(run)) },
    Row { name: "ranges", run: |run| Box::pin(ranges(run)) },
    Row { name: "list and open", run: |run| Box::pin(list_and_open(run)) },
    Row { name: "collect", run: |run| Box::pin(collect(run)) },
];

const PIECE: u64 = 1 << 20;

fn piece(seed: u64) -> Bytes {
    let mut state = seed | 1;
    let words = (0..PIECE / 8).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.rotate_left(32).to_le_bytes()
    });
    Bytes::from(words.collect::<Vec<_>>())
}

/// Content that no other round has; most of its pieces are shared, to take little memory.
fn pieces(size: u64, round: usize) -> Vec<Bytes> {
    let shared: Vec<_> = (0..64).map(|index| piece(2 * index)).collect();
    let mut pieces: Vec<_> =
        (0..size / PIECE).map(|index| shared[(index * 29 % 61) as usize].clone()).collect();
    pieces[0] = piece(1_000_001 + 2 * round as u64);
    pieces
}

/// Content of which no piece comes twice, in any round.
fn distinct_pieces(size: u64, round: usize) -> Vec<Bytes> {
    let first = round as u64 * size;
    (0..size / PIECE).map(|index| piece(2 * (first + index))).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn seconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(Duration::as_secs_f64).collect()
}

/// The medians of what each contestant had in the rounds.
struct Rounds([Vec<f64>; 3]);

impl Rounds {
    fn new() -> Self {
        Self([const { Vec::new() }; 3])
    }

    /// The first round warms up.
    fn add(&mut self, round: usize, cas: f64, plain: f64, disk: f64) {
        if round > 0 {
            self.0.iter_mut().zip([cas, plain, disk]).for_each(|(all, value)| all.push(value));
        }
    }

    fn line(self, name: impl Into<String>, unit: Unit) -> Line {
        let [cas, plain, disk] = self.0.map(median);
        let cas = cas.unwrap_or_default();
        Line { name: name.into(), unit, cas, plain, disk, target: None }
    }
}

async fn small(run: &Run) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for at_once in [1, 8, 64] {
        let count = run.sizes.small * if at_once == 1 { 1 } else { 4 };
        let mut rates = Rounds::new();
        let mut latencies = Rounds::new();
        for round in 0..=run.sizes.rounds {
            let dir = format!("small-{at_once}-{round}");
            let cas = run.cas.write_small(&dir, count, at_once).await?;
            let plain = run.plain.write_small(&dir, count, at_once).await?;
            let disk = run.disk.write_small(&dir, count, at_once)?;
            rates.add(round, cas.rate(), plain.rate(), disk.rate());
            let typical = |timed: Timed| median(seconds(&timed.each)).unwrap_or_default();
            latencies.add(round, typical(cas), typical(plain), typical(disk));
        }
        let line = rates.line(format!("write 1 KiB, {at_once} at once"), Unit::PerSecond);
        lines.push(match at_once {
            64 => line.reaching(Target::Value(10_000.0)),
            _ => line,
        });
        lines.push(latencies.line("  time of one", Unit::Seconds));
    }
    Ok(lines)
}

/// The three that write and read large files in one round.
struct Streams<'a> {
    cas: &'a Mount,
    plain: &'a Mount,
    disk: &'a Disk,
    durable: bool,
    round: usize,
}

impl Streams<'_> {
    /// Has each of them do its work, another one first in each round.
    async fn each<T: Default>(
        &self,
        mut work: impl AsyncFnMut(usize) -> Result<T>,
    ) -> Result<[T; 3]> {
        let mut done = [(); 3].map(|()| T::default());
        for turn in 0..3 {
            let who = (turn + self.round) % 3;
            settle()?;
            done[who] = work(who).await?;
        }
        Ok(done)
    }

    async fn write(&self, key: &str, pieces: &[Bytes]) -> Result<[Duration; 3]> {
        self.each(async |who| match who {
            0 => self.cas.write_stream(key, pieces).await,
            1 => self.plain.write_stream(key, pieces).await,
            _ => self.disk.write_stream(key, pieces, self.durable),
        })
        .await
    }

    async fn read(&self, key: &str, size: u64) -> Result<[Duration; 3]> {
        let read = self.each(async |who| match who {
            0 => self.cas.read_stream(key).await,
            1 => self.plain.read_stream(key).await,
            _ => self.disk.read_stream(key),
        });
        let all = read.await?;
        assert!(all.iter().all(|(bytes, _)| *bytes == size), "a part was not read");
        Ok(all.map(|(_, time)| time))
    }

    async fn copy(&self, from: &str, to: &str) -> Result<[Duration; 3]> {
        self.each(async |who| match who {
            0 => self.cas.copy(from, to).await,
            1 => self.plain.copy(from, to).await,
            _ => self.disk.copy(from, to),
        })
        .await
    }

    async fn delete(&self, keys: &[&str]) -> Result<()> {
        let names: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.cas.delete(&names).await?;
        self.plain.delete(&names).await?;
        keys.iter().try_for_each(|key| self.disk.delete(key))?;
        collect_all(self.cas).await.map(drop)
    }
}

fn add(rounds: &mut Rounds, round: usize, times: [Duration; 3], value: impl Fn(Duration) -> f64) {
    let [cas, plain, disk] = times.map(value);
    rounds.add(round, cas, plain, disk);
}

/// Writing, reading, copying and writing again one large file.
async fn stream(run: &Run) -> Result<Vec<Line>> {
    let size = run.sizes.stream;
    let rate = |time: Duration| size as f64 / time.as_secs_f64();
    let [mut writes, mut reads, mut copies, mut again] = [(); 4].map(|()| Rounds::new());
    for round in 0..=run.sizes.rounds {
        let pieces = pieces(size, round);
        let (cas, plain, disk) = (&run.cas, &run.plain, &run.disk);
        let streams = Streams { cas, plain, disk, durable: true, round };
        add(&mut writes, round, streams.write("stream", &pieces).await?, rate);
        add(&mut reads, round, streams.read("stream", size).await?, rate);
        let copied = streams.copy("stream", "copy").await?;
        add(&mut copies, round, copied, |time| time.as_secs_f64());
        let before = run.cas.kernel().usage("/m").await?;
        add(&mut again, round, streams.write("again", &pieces).await?, rate);
        let after = run.cas.kernel().usage("/m").await?;
        assert_eq!(before.contents, after.contents, "the same content was stored again");
        streams.delete(&["stream", "copy", "again"]).await?;
    }
    let named = |what: &str| format!("{what} {} MiB", size >> 20);
    let rated = Unit::BytesPerSecond;
    Ok(vec![
        writes.line(named("write"), rated).reaching(Target::Ratio(0.9)),
        reads.line(named("read, in the page cache,"), rated).reaching(Target::Ratio(0.9)),
        copies.line(named("copy"), Unit::Seconds).reaching(Target::Value(0.005)),
        again.line(named("write the same"), rated),
    ])
}

/// Writing and reading one large file; answers the rates of both.
async fn write_and_read(
    run: &Run,
    cas: &Mount,
    plain: &Mount,
    durable: bool,
) -> Result<[Rounds; 2]> {
    let size = run.sizes.stream;
    let rate = |time: Duration| size as f64 / time.as_secs_f64();
    let [mut writes, mut reads] = [(); 2].map(|()| Rounds::new());
    for round in 0..=run.sizes.rounds {
        let pieces = distinct_pieces(size, round);
        let streams = Streams { cas, plain, disk: &run.disk, durable, round };
        add(&mut writes, round, streams.write("stream", &pieces).await?, rate);
        add(&mut reads, round, streams.read("stream", size).await?, rate);
        streams.delete(&["stream"]).await?;
    }
    Ok([writes, reads])
}

/// Large files that need not survive a power cut.
async fn hasty_stream(run: &Run) -> Result<Vec<Line>> {
    let (cas, plain) = (run.cas.hasty().await?, run.plain.hasty().await?);
    let [writes, reads] = write_and_read(run, &cas, &plain, false).await?;
    let named = |what: &str| format!("{what} {} MiB, not synced", run.sizes.stream >> 20);
    let rated = Unit::BytesPerSecond;
    Ok(vec![
        writes.line(named("write"), rated).reaching(Target::Ratio(0.9)),
        reads.line(named("read"), rated).reaching(Target::Ratio(0.9)),
    ])
}

/// Large files that are cut into chunks.
async fn chunks(run: &Run) -> Result<Vec<Line>> {
    let [writes, reads] = write_and_read(run, &run.chunks, &run.plain, true).await?;
    let named = |what: &str| format!("{what} {} MiB in chunks", run.sizes.stream >> 20);
    let rated = Unit::BytesPerSecond;
    Ok(vec![writes.line(named("write"), rated), reads.line(named("read"), rated)])
}

async fn collect_all(mount: &Mount) -> Result<u64> {
    let options = CollectOptions { delete: true, force: true };
    Ok(mount.kernel().collect("/m", &options).await?.deleted)
}

/// Random ranges of a large file: by a mount that knows nothing of it, and by the one that wrote it.
async fn ranges(run: &Run) -> Result<Vec<Line>> {
    const GROUP: u64 = 16 << 10;
    const RANGE: u64 = 4 << 10;
    let (size, count) = (run.sizes.large, run.sizes.ranges);
    let pieces = pieces(size, 0);
    run.cas.write_stream("large", &pieces).await?;
    // The copy of the refs that is due once a day is taken now, not while bytes are counted.
    run.cas.again().await?.kernel().close().await?;
    let mut lines = Vec::new();
    for (mount, who) in [(&run.cas.again().await?, "anew"), (&run.cas, "just written")] {
        // Opens what is opened once.
        mount.read_range("large", size - 1, 1).await?;
        let mut state = 7_u64;
        let (before, mut groups, begin) = (bytes_read(), 0, Instant::now());
        for _ in 0..count {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let from = (state >> 16) % (size / RANGE) * RANGE;
            let read = mount.read_range("large", from, RANGE).await?;
            let (piece, at) = (&pieces[(from / PIECE) as usize], (from % PIECE) as usize);
            assert_eq!(read, piece[at..at + RANGE as usize], "what was written");
            groups += GROUP;
        }
        let time = begin.elapsed().as_secs_f64() / count as f64;
        let name = format!("range of 4 KiB in {} MiB, {who}", size >> 20);
        lines.push(Line::alone(name, Unit::Seconds, time));
        if let (Some(before), Some(after)) = (before, bytes_read()) {
            let more = (after - before - groups) as f64;
            lines.push(Line::alone("  read beyond its group", Unit::Bytes, more / count as f64));
            let share = more / groups as f64 * 100.0;
            let line = Line::alone("  as a share", Unit::Percent, share);
            // Whoever knows nothing of the tree can not read less than 1.2 % of it.
            lines.push(if who == "anew" { line } else { line.reaching(Target::Value(1.0)) });
        }
    }
    run.cas.delete(&["large".to_owned()]).await?;
    collect_all(&run.cas).await?;
    Ok(lines)
}

async fn list_and_open(run: &Run) -> Result<Vec<Line>> {
    let count = run.sizes.listed;
    run.cas.fill("listed", count).await?;
    run.plain.fill("listed", count).await?;
    let (mut lists, mut opens) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for round in 0..=run.sizes.rounds {
        for (index, mount) in [&run.cas, &run.plain].into_iter().enumerate() {
            let begin = Instant::now();
            let fresh = mount.again().await?;
            assert_eq!(fresh.read_range("listed/7", 0, 1024).await?.len(), 1024);
            let opened = begin.elapsed();
            let (found, listed) = fresh.list("listed").await?;
            assert_eq!(found, count);
            if round > 0 {
                opens[index].push(opened.as_secs_f64());
                lists[index].push(listed.as_secs_f64());
            }
        }
    }
    let line = |name: String, times: [Vec<f64>; 2]| {
        let [cas, plain] = times.map(median);
        Line { plain, ..Line::alone(name, Unit::Seconds, cas.unwrap_or_default()) }
    };
    Ok(vec![
        line(format!("list {count} entries"), lists),
        line(format!("open with {count} files, read one"), opens),
    ])
}

/// Deleting files, and, by digest, collecting their contents.
async fn collect(run: &Run) -> Result<Vec<Line>> {
    let count = run.sizes.collected;
    let (mut deletes, mut collects) = ([const { Vec::new() }; 2], Vec::new());
    for round in 0..=run.sizes.rounds {
        let keys: Vec<_> = (0..count).map(|index| format!("gone-{round}/{index}")).collect();
        let content = |index: usize| {
            let mut content = vec![9; 32 << 10];
            content[..16].copy_from_slice(&((round * count + index) as u128).to_le_bytes());
            Bytes::from(content)
        };
        for (index, mount) in [&run.cas, &run.plain].into_iter().enumerate() {
            for (index, key) in keys.iter().enumerate() {
                mount.write(key, content(index)).await?;
            }
            let begin = Instant::now();
            mount.delete(&keys).await?;
            let rate = count as f64 / begin.elapsed().as_secs_f64();
            if round > 0 {
                deletes[index].push(rate);
            }
        }
        let begin = Instant::now();
        assert_eq!(collect_all(&run.cas).await?, count as u64);
        if round > 0 {
            collects.push(count as f64 / begin.elapsed().as_secs_f64());
        }
    }
    let [cas, plain] = deletes.map(median);
    let line = Line::alone("delete files of 32 KiB", Unit::PerSecond, cas.unwrap_or_default());
    let collects = median(collects).unwrap_or_default();
    Ok(vec![
        Line { plain, ..line },
        Line::alone("  collect their contents", Unit::PerSecond, collects),
    ])
}
