//! The rig `power`: a worker is recorded by its system calls; for a power cut at any of them, the
//! states that the disk may be left in are made and opened, and compared with what the worker had
//! acknowledged until then.
//!
//! - `record`, `parse`, `call`: what a process did, from the log of `strace`
//! - `model`, `replay`: which of it is durable when
//! - `image`: a state that a power cut leaves
//! - `cut`: which states are made of a recording
//! - `inspect`: opens them, on several threads
//!
//! Every second store had files before it was recorded. Opening a store that was cut off is recorded and cut
//! off in its turn, and opening what that left once more. A control with
//! `durability=process`, which promises nothing against power cuts, has to lose something: a rig
//! that does not see that sees nothing.

mod call;
mod cut;
mod image;
mod inspect;
mod model;
mod parse;
mod record;
mod replay;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Instant;

use self::cut::{Cut, Cuts};
use self::inspect::{Report, Site};
use self::replay::Recording;
use crate::check::Fault;
use crate::support::{self, Result, Rng, Scratch};
use crate::work::Lanes;
use crate::worker;

/// What the rig is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many images are opened, those of crashed recoveries included.
    #[arg(long, default_value_t = 2_000)]
    pub images: u64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Options of the mount URI.
    #[arg(long, default_value = "layout=cas")]
    pub uri_options: String,
    /// The largest content, in bytes; images are written out whole. Above 4 MiB content is cut where the
    /// mount cuts it.
    #[arg(long, default_value_t = 160 << 10)]
    pub most: u32,
    /// How many operations run beside each other.
    #[arg(long, default_value_t = 3)]
    pub lanes: usize,
    /// Operations a lane, in one recording.
    #[arg(long, default_value_t = 40)]
    pub ops: u64,
    /// How many images are opened at once.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Where to work, instead of in memory.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// The most images of one recording.
const A_RECORDING: u64 = 4_000;

/// Images of the control.
const CONTROL: u64 = 200;

/// Images of a recovery.
const A_RECOVERY: u64 = 40;

/// Operations a lane before a recording, in a store that is not empty then.
const FILLING: u64 = 30;

/// Runs the rig; answers whether all is well.
///
/// # Errors
/// When nothing can be recorded, or a recording can not be understood.
pub fn run(options: &Options) -> Result<bool> {
    let begin = Instant::now();
    let scratch = Scratch::new(options.dir.as_deref())?;
    let mut rig = Rig { options, scratch: scratch.path(), sites: 0, rng: Rng::new(options.seed) };
    let control = rig.control()?;
    let (mut works, mut recoveries) = (Report::default(), Report::default());
    let mut left = options.images;
    while left > 0 {
        let share = left.min(A_RECORDING);
        let of_recoveries = share / 4;
        let mut work = rig.work(share - of_recoveries)?;
        let mut recovery =
            rig.recoveries(std::mem::take(&mut work.samples), of_recoveries / 2, 1)?;
        let again = std::mem::take(&mut recovery.samples);
        recovery.add(rig.recoveries(again, of_recoveries - of_recoveries / 2, 0)?);
        // One recording has no more than so many images that differ.
        left -= (work.images + recovery.images).clamp(1, left);
        works.add(work);
        recoveries.add(recovery);
    }
    let blind = control.tally.of(Fault::Lost) == 0;
    if blind {
        support::complain("power: the control lost nothing: this rig does not see losses");
    }
    let mut all = works.clone();
    all.add(recoveries.clone());
    support::say(&format!(
        "power: {} images at {} cut points ({} of {} crashed recoveries); {}; control: {} of {} \
         images lost something (seed {}, {:.1} s)",
        all.images,
        all.points,
        recoveries.images,
        recoveries.recordings,
        all.tally,
        control.tally.of(Fault::Lost),
        control.images,
        options.seed,
        begin.elapsed().as_secs_f64(),
    ));
    let found = all.tally.total() > 0;
    if found {
        support::complain(&format!(
            "power: stores with findings are in {}",
            scratch.keep().display()
        ));
    }
    Ok(!found && !blind)
}

struct Rig<'a> {
    options: &'a Options,
    scratch: &'a Path,
    sites: u64,
    rng: Rng,
}

impl Rig<'_> {
    /// A directory of its own for one recording and its images.
    fn site(&mut self, name: &str, uri_options: &str, silent: bool) -> Result<Site> {
        self.sites += 1;
        let name = format!("{name}-{}", self.sites);
        let dir = self.scratch.join(&name);
        std::fs::create_dir(&dir)?;
        let (uri_options, threads) = (uri_options.to_owned(), self.options.threads);
        Ok(Site { name, dir, uri_options, threads, silent })
    }

    /// A worker for the store of a site, which has these lanes.
    fn worker(&mut self, site: &Site, lanes: &Lanes, ops: u64) -> Result<worker::Options> {
        let state = site.dir.join("state");
        std::fs::write(&state, lanes.to_text())?;
        Ok(worker::Options {
            dir: site.dir.join("store"),
            uri_options: site.uri_options.clone(),
            seed: self.rng.next_u64(),
            lanes: lanes.0.len(),
            first: 0,
            end: lanes.0.len(),
            ops: Some(ops),
            most: self.options.most,
            care: support::care(&site.uri_options),
            careless: false,
            state,
        })
    }

    /// Records a worker on the store of a site, which has these lanes.
    fn record(&mut self, site: &Site, lanes: &Lanes, ops: u64) -> Result<Recording> {
        record::record(&std::env::current_exe()?, &self.worker(site, lanes, ops)?, &site.dir)
    }

    /// Has a worker work on the store of a site, to its end.
    fn fill(&mut self, site: &Site, lanes: &mut Lanes, ops: u64) -> Result {
        let output = self.worker(site, lanes, ops)?.start(0)?.wait_with_output()?;
        let said = String::from_utf8(output.stdout)?;
        said.lines().try_for_each(|line| lanes.absorb(line))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("a worker failed ({})", output.status).into()),
        }
    }

    /// A store without promises.
    fn control(&mut self) -> Result<Report> {
        let mut options: Vec<_> = self
            .options
            .uri_options
            .split('&')
            .filter(|option| !option.is_empty() && !option.starts_with("durability="))
            .collect();
        options.push("durability=process");
        let site = self.site("control", &options.join("&"), true)?;
        self.new_store(&site, 0, 10, CONTROL, 0)
    }

    /// An empty store and one that is not, worked on and cut.
    fn work(&mut self, images: u64) -> Result<Report> {
        let mut report = Report::default();
        for (filling, images) in [(0, images.div_ceil(2)), (FILLING, images / 2)] {
            let site = self.site("work", &self.options.uri_options, false)?;
            let samples = images.div_ceil(3 * A_RECOVERY);
            report.add(self.new_store(&site, filling, self.options.ops, images, samples)?);
        }
        Ok(report)
    }

    fn new_store(
        &mut self,
        site: &Site,
        filling: u64,
        ops: u64,
        images: u64,
        samples: u64,
    ) -> Result<Report> {
        std::fs::create_dir(site.dir.join("store"))?;
        let mut lanes = Lanes::new(self.options.lanes);
        if filling > 0 {
            self.fill(site, &mut lanes, filling)?;
        }
        let recording = self.record(site, &lanes, ops)?;
        std::fs::remove_dir_all(site.dir.join("store"))?;
        let cuts = Cuts::new(&recording, lanes, images, self.rng.next_u64());
        site.inspect(cuts, samples)
    }

    /// Stores that were cut off, opened and worked on a little, and cut again; keeps so many images of each.
    fn recoveries(&mut self, samples: Vec<Cut>, images: u64, keep: u64) -> Result<Report> {
        let mut report = Report::default();
        let count = samples.len() as u64;
        for (index, sample) in samples.into_iter().enumerate() {
            let index = index as u64;
            let share = images * (index + 1) / count - images * index / count;
            let site = self.site("recovery", &self.options.uri_options, false)?;
            // What is there, without changing it: the image is made twice.
            let Some(lanes) = site.settle(&sample)? else { continue };
            sample.tree.store(&site.dir.join("store"))?;
            let recording = self.record(&site, &lanes, 2)?;
            std::fs::remove_dir_all(site.dir.join("store"))?;
            let cuts = Cuts::new(&recording, lanes, share, self.rng.next_u64());
            report.add(site.inspect(cuts, keep)?);
        }
        Ok(report)
    }
}
