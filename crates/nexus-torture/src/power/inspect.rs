//! Opens what power cuts leave, on several threads, and counts what is wrong.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::cut::{Cut, Cuts};
use crate::check::{self, Tally};
use crate::support::{self, Result};
use crate::work::Lanes;

/// How many findings are told in full.
const TOLD: u64 = 4;

/// What was found in the images of one or more recordings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// How many recordings were cut.
    pub(crate) recordings: u64,
    /// How many images were opened.
    pub(crate) images: u64,
    /// At how many points of the recordings.
    pub(crate) points: u64,
    /// What was wrong.
    pub(crate) tally: Tally,
    /// Some of the images, to go on with.
    pub(crate) samples: Vec<Cut>,
}

impl Report {
    /// Adds another.
    pub(crate) fn add(&mut self, other: Self) {
        self.recordings += other.recordings;
        self.images += other.images;
        self.points += other.points;
        self.tally.merge(&other.tally);
        self.samples.extend(other.samples);
    }
}

/// A directory in which the images of one recording are opened.
pub(crate) struct Site {
    /// What it is called in reports.
    pub(crate) name: String,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Options of the mount URI.
    pub(crate) uri_options: String,
    /// How many images are opened at once.
    pub(crate) threads: usize,
    /// Whether findings are only counted.
    pub(crate) silent: bool,
}

impl Site {
    /// Opens all images of a recording; keeps about `samples` of them.
    ///
    /// # Errors
    /// When the recording can not be replayed, or an image can not be written.
    pub(crate) fn inspect(&self, cuts: Cuts<'_>, samples: u64) -> Result<Report> {
        let tally = Mutex::new((Tally::default(), 0));
        let mut report = Report { recordings: 1, ..Report::default() };
        let every = (cuts.images() / samples.max(1)).max(1);
        let mut points = HashSet::new();
        let (send, receive) = sync_channel::<(u64, Cut)>(self.threads * 2);
        let receive = Mutex::new(receive);
        std::thread::scope(|scope| -> Result {
            let workers: Vec<_> = (0..self.threads)
                .map(|_| scope.spawn(|| self.open_all(&receive, &tally)))
                .collect();
            let made = cuts.make(|cut| {
                report.images += 1;
                points.insert(cut.point);
                if samples > 0 && report.images.is_multiple_of(every) {
                    report.samples.push(cut.clone());
                }
                send.send((report.images, cut)).is_ok()
            });
            drop(send);
            for worker in workers {
                worker.join().map_err(|_| "a thread that opened images panicked")??;
            }
            made
        })?;
        report.points = points.len() as u64;
        report.tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner).0;
        Ok(report)
    }

    fn open_all(&self, cuts: &Mutex<Receiver<(u64, Cut)>>, tally: &Mutex<(Tally, u64)>) -> Result {
        let runtime = support::runtime()?;
        loop {
            let next = cuts.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((number, cut)) = next else { return Ok(()) };
            let dir = self.dir.join(format!("image-{number}"));
            cut.tree.store(&dir)?;
            let mut lanes = cut.lanes.clone();
            let findings = runtime.block_on(check::visit(&dir, &self.uri_options, &mut lanes));
            std::fs::remove_dir_all(&dir)?;
            if findings.is_empty() {
                continue;
            }
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.0.add(&findings);
            tally.1 += 1;
            if !self.silent && tally.1 <= TOLD {
                // As it was found, before it was opened.
                cut.tree.store(&dir)?;
                support::complain(&format!("power: {}: image {number}: {}", self.name, cut.about));
                for (fault, text) in &findings.0 {
                    support::complain(&format!("    {}: {text}", fault.as_str()));
                }
            }
        }
    }

    /// What an image holds, with nothing in flight; `None` when it does not hold what it must, which
    /// is counted where it was opened first.
    ///
    /// # Errors
    /// When the image can not be written.
    pub(crate) fn settle(&self, cut: &Cut) -> Result<Option<Lanes>> {
        let dir = self.dir.join("settled");
        cut.tree.store(&dir)?;
        let mut lanes = cut.lanes.clone();
        let visit = check::visit(&dir, &self.uri_options, &mut lanes);
        let findings = support::runtime()?.block_on(visit);
        std::fs::remove_dir_all(&dir)?;
        Ok(findings.is_empty().then_some(lanes))
    }
}
