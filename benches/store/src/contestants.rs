//! Who takes part: a mount in either layout, and the bare disk.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use nexus_fs::{ByteRange, Bytes, Kernel, ListOptions, ReadOptions, VfsPath, WriteOptions};

/// Whatever a contestant fails with.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The times of single operations, and of all of them together.
pub(crate) struct Timed {
    pub(crate) total: Duration,
    pub(crate) each: Vec<Duration>,
}

impl Timed {
    pub(crate) fn rate(&self) -> f64 {
        self.each.len() as f64 / self.total.as_secs_f64()
    }
}

/// One folder, mounted at `/m`.
pub(crate) struct Mount {
    kernel: Kernel,
    folder: PathBuf,
    /// Options of the mount: its layout, and more.
    options: String,
}

fn path(key: &str) -> String {
    format!("/m/{key}")
}

impl Mount {
    pub(crate) async fn new(folder: PathBuf, options: &str) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let options = options.to_owned();
        let kernel = open(&folder, &options).await?;
        Ok(Self { kernel, folder, options })
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Another mount of the same folder, which knows nothing yet.
    pub(crate) async fn again(&self) -> Result<Self> {
        Self::new(self.folder.clone(), &self.options).await
    }

    /// Another mount of the same folder, whose writes need not survive a power cut.
    pub(crate) async fn hasty(&self) -> Result<Self> {
        let options = self.options.replace("durability=full", "durability=process");
        Self::new(self.folder.clone(), &options).await
    }

    /// Fills a directory with small files, as fast as it gets: nothing is synced meanwhile.
    pub(crate) async fn fill(&self, dir: &str, count: usize) -> Result<()> {
        let hasty = self.hasty().await?;
        write_small(&hasty.kernel, dir, count, 64).await?;
        Ok(hasty.kernel.close().await?)
    }

    /// Writes files of 1 KiB, so many under way.
    pub(crate) async fn write_small(
        &self,
        dir: &str,
        count: usize,
        at_once: usize,
    ) -> Result<Timed> {
        write_small(&self.kernel, dir, count, at_once).await
    }

    pub(crate) async fn write_stream(&self, key: &str, pieces: &[Bytes]) -> Result<Duration> {
        let begin = Instant::now();
        let mut upload = self.kernel.upload(path(key), &WriteOptions::default()).await?;
        for piece in pieces {
            upload.write(piece.clone()).await?;
        }
        upload.finish().await?;
        Ok(begin.elapsed())
    }

    /// Reads as a stream; how many bytes came, and in what time.
    pub(crate) async fn read_stream(&self, key: &str) -> Result<(u64, Duration)> {
        let begin = Instant::now();
        let mut body = self.kernel.read(path(key), &ReadOptions::default()).await?.body;
        let mut bytes = 0;
        while let Some(piece) = body.next().await {
            bytes += piece?.len() as u64;
        }
        Ok((bytes, begin.elapsed()))
    }

    pub(crate) async fn read_range(&self, key: &str, from: u64, length: u64) -> Result<Bytes> {
        let options = ReadOptions::range(ByteRange::new(from, Some(from + length))?);
        let object = self.kernel.read(path(key), &options).await?;
        Ok(object.body.bytes(length as usize).await?)
    }

    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<Duration> {
        let begin = Instant::now();
        self.kernel.copy(path(from), path(to), &Default::default()).await?;
        Ok(begin.elapsed())
    }

    /// How many entries a directory has, their sizes looked at.
    pub(crate) async fn list(&self, dir: &str) -> Result<(usize, Duration)> {
        let begin = Instant::now();
        let mut listing = self.kernel.list(path(dir), &ListOptions::default()).await?;
        let mut count = 0;
        while let Some(entry) = listing.next().await {
            count += usize::from(entry?.metadata.size.is_some());
        }
        Ok((count, begin.elapsed()))
    }

    pub(crate) async fn write(&self, key: &str, content: Bytes) -> Result<()> {
        self.kernel.write(path(key), content, &WriteOptions::default()).await?;
        Ok(())
    }

    pub(crate) async fn delete(&self, keys: &[String]) -> Result<()> {
        let targets = keys.iter().map(|key| VfsPath::parse(&path(key)).map(Into::into));
        let targets = targets.collect::<nexus_fs::Result<_>>()?;
        for deleted in self.kernel.delete_many(targets).await {
            deleted?;
        }
        Ok(())
    }
}

async fn open(folder: &std::path::Path, options: &str) -> Result<Kernel> {
    let uri = format!("local://{}?{options}", folder.display());
    Ok(nexus_fs::Builder::new().mount_at(uri, "/m")?.open().await?)
}

/// The content of one small file: no two are the same.
fn small(dir: &str, index: usize) -> Bytes {
    let mut content = vec![7; 1024];
    let name = format!("{dir} {index}");
    content[..name.len()].copy_from_slice(name.as_bytes());
    content.into()
}

async fn write_small(kernel: &Kernel, dir: &str, count: usize, at_once: usize) -> Result<Timed> {
    let begin = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|worker| {
            let (kernel, dir) = (kernel.clone(), dir.to_owned());
            tokio::spawn(async move {
                let mut each = Vec::with_capacity(count / at_once + 1);
                for index in (worker..count).step_by(at_once) {
                    let begin = Instant::now();
                    let target = path(&format!("{dir}/{index}"));
                    let content = small(&dir, index);
                    kernel.write(target, content, &WriteOptions::default()).await?;
                    each.push(begin.elapsed());
                }
                Ok::<_, nexus_fs::Error>(each)
            })
        })
        .collect();
    let mut each = Vec::with_capacity(count);
    for worker in workers {
        each.extend(worker.await??);
    }
    let total = begin.elapsed();
    Ok(Timed { total, each })
}

/// The disk, used by plain system calls.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// The median time of writing 1 KiB at the end of one file, and syncing it.
    pub(crate) fn sync_latency(&self, count: usize) -> Result<Duration> {
        let path = self.0.join("synced");
        let mut file = File::create(&path)?;
        let mut times = Vec::with_capacity(count);
        for index in 0..count {
            let begin = Instant::now();
            file.write_all(&small("synced", index))?;
            file.sync_data()?;
            times.push(begin.elapsed());
        }
        fs::remove_file(path)?;
        times.sort();
        times.get(count / 2).copied().ok_or_else(|| "nothing was synced".into())
    }

    /// Creates, writes and syncs files of 1 KiB, so many under way. Their names are not synced.
    pub(crate) fn write_small(&self, dir: &str, count: usize, at_once: usize) -> Result<Timed> {
        let folder = self.0.join(dir);
        fs::create_dir_all(&folder)?;
        let begin = Instant::now();
        let write = |worker: usize| {
            let mut each = Vec::with_capacity(count / at_once + 1);
            for index in (worker..count).step_by(at_once) {
                let begin = Instant::now();
                let mut file = File::create(folder.join(index.to_string()))?;
                file.write_all(&small(dir, index))?;
                file.sync_all()?;
                each.push(begin.elapsed());
            }
            Ok(each)
        };
        let each = std::thread::scope(|scope| {
            let write = &write;
            let workers: Vec<_> =
                (0..at_once).map(|worker| scope.spawn(move || write(worker))).collect();
            workers
                .into_iter()
                .map(|worker| {
                    worker.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
                })
                .collect::<std::io::Result<Vec<_>>>()
        })?;
        let total = begin.elapsed();
        Ok(Timed { total, each: each.concat() })
    }

    pub(crate) fn write_stream(
        &self,
        key: &str,
        pieces: &[Bytes],
        durable: bool,
    ) -> Result<Duration> {
        let begin = Instant::now();
        let mut file = File::create(self.0.join(key))?;
        for piece in pieces {
            file.write_all(piece)?;
        }
        if durable {
            file.sync_all()?;
        }
        Ok(begin.elapsed())
    }

    pub(crate) fn read_stream(&self, key: &str) -> Result<(u64, Duration)> {
        let begin = Instant::now();
        let mut file = File::open(self.0.join(key))?;
        let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((bytes, begin.elapsed())),
                read => bytes += read as u64,
            }
        }
    }

    pub(crate) fn copy(&self, from: &str, to: &str) -> Result<Duration> {
        let begin = Instant::now();
        fs::copy(self.0.join(from), self.0.join(to))?;
        File::open(self.0.join(to))?.sync_all()?;
        Ok(begin.elapsed())
    }

    pub(crate) fn delete(&self, key: &str) -> Result<()> {
        Ok(fs::remove_file(self.0.join(key))?)
    }
}

/// Has the system write what it still holds back, so that nobody pays for what another left.
pub(crate) fn settle() -> Result<()> {
    match std::process::Command::new("sync").status()?.success() {
        true => Ok(()),
        false => Err("`sync` failed".into()),
    }
}

/// Bytes that this process has read from files so far, from the page cache or not; `None` where the
/// system does not count them.
pub(crate) fn bytes_read() -> Option<u64> {
    let counters = fs::read_to_string("/proc/self/io").ok()?;
    counters.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}
