//! Rigs that put a store through what kills stores. A rig uses a store only by the facade, as any
//! program does, damages the ground below it, and compares what the store answers afterwards with
//! what it had acknowledged.
//!
//! - [`collector`]: a collector beside writers that die, each with a clock of its own
//! - [`faults`]: system calls that fail, one at a time
//! - [`flip`]: every byte of every file damaged, one at a time
//! - [`kill`]: processes that die by SIGKILL in the middle of their work
//! - [`power`]: every state that a disk can be in after a power cut, from recorded system calls
//! - [`many`]: processes that put the same contents at the same paths
//!
//! What rigs share: [`work`] says what is done to a store and what must be there afterwards,
//! [`worker`] is the process that does it, [`check`] compares, [`census`] counts what is on the disk,
//! [`support`] has the rest.
//!
//! A rig prints one line that sums up, and what it found before that. The command fails when a rig
//! found anything.

pub mod census;
pub mod check;
pub mod collector;
pub mod faults;
pub mod flip;
pub mod kill;
pub mod many;
pub mod power;
pub mod support;
mod tree;
pub mod work;
pub mod worker;
