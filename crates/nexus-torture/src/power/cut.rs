//! Which power cuts are made of a recording: points, and images at each.

use std::collections::HashSet;

use nexus_fs::{Digest, Hasher};

use super::image::{Plan, image};
use super::replay::{Recording, Replay, Step};
use crate::support::{Result, Rng};
use crate::tree::Tree;
use crate::work::Lanes;

/// Images of one point, in one pass over a recording.
const AT_A_POINT: u64 = 4;

/// A pass that made fewer new images than one in so many is the last.
const WORTH: u64 = 5;

/// A power cut: the disk, and what was acknowledged before.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// What the disk is left with.
    pub(crate) tree: Tree,
    /// What has to be there.
    pub(crate) lanes: Lanes,
    /// When it was cut, and how.
    pub(crate) about: String,
    /// The number of events before.
    pub(crate) point: usize,
}

/// The power cuts of a recording.
pub(crate) struct Cuts<'a> {
    recording: &'a Recording,
    lanes: Lanes,
    images: u64,
    rng: Rng,
    seen: HashSet<Digest>,
}

impl<'a> Cuts<'a> {
    /// So many images of a recording, which began with these lanes.
    pub(crate) fn new(recording: &'a Recording, lanes: Lanes, images: u64, seed: u64) -> Self {
        Self { recording, lanes, images, rng: Rng::new(seed), seen: HashSet::new() }
    }

    /// How many were asked for.
    pub(crate) fn images(&self) -> u64 {
        self.images
    }

    /// Hands over each cut, until `take` answers that it wants no more. There are fewer than were
    /// asked for when the recording has no more that differ.
    ///
    /// # Errors
    /// When the recording can not be replayed.
    pub(crate) fn make(mut self, mut take: impl FnMut(Cut) -> bool) -> Result {
        let points = self.points()?;
        let mut left = self.images;
        for pass in 0.. {
            let wanted = (left.div_ceil(AT_A_POINT) as usize).min(points.len());
            let chosen = self.choose(&points, wanted);
            let before = left;
            let more = self.pass(&chosen, pass, &mut left, &mut take)?;
            if !more || left == 0 || (before - left) * WORTH < before.min(wanted as u64) {
                break;
            }
        }
        Ok(())
    }

    /// The positions after which something is different.
    fn points(&self) -> Result<Vec<usize>> {
        let mut replay = Replay::new(self.recording)?;
        let mut points = vec![0];
        while let Some(step) = replay.step()? {
            if step != Step::Nothing {
                points.push(replay.position());
            }
        }
        Ok(points)
    }

    /// So many of the points, in order.
    fn choose(&mut self, points: &[usize], wanted: usize) -> Vec<usize> {
        let mut needed = wanted;
        let mut chosen = Vec::new();
        for (index, point) in points.iter().enumerate() {
            if self.rng.index(points.len() - index) < needed {
                needed -= 1;
                chosen.push(*point);
            }
        }
        chosen
    }

    /// Images at each of these points; answers whether more are wanted.
    fn pass(
        &mut self,
        points: &[usize],
        pass: usize,
        left: &mut u64,
        take: &mut impl FnMut(Cut) -> bool,
    ) -> Result<bool> {
        let mut replay = Replay::new(self.recording)?;
        let mut lanes = self.lanes.clone();
        let mut plans = (0..).map(|index: usize| Plan::ALL[(index + pass) % Plan::ALL.len()]);
        for point in points {
            while replay.position() < *point {
                if let Some(Step::Said(line)) = replay.step()? {
                    lanes.absorb(line.trim_end())?;
                }
            }
            // With nothing on its way there is one image only.
            let images = if replay.disk.is_clean() { 1 } else { AT_A_POINT };
            for plan in plans.by_ref().take(images as usize) {
                let tree = image(&replay.disk, plan, &mut self.rng);
                if *left == 0 || !self.seen.insert(identity(&tree, &lanes)) {
                    continue;
                }
                *left -= 1;
                let about = format!("cut after event {point}, {plan:?}; last: {}", replay.about());
                let cut = Cut { tree, lanes: lanes.clone(), about, point: *point };
                if !take(cut) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn identity(tree: &Tree, lanes: &Lanes) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(tree.digest().as_bytes());
    hasher.update(format!("{lanes:?}").as_bytes());
    hasher.finish()
}
