//! Logs of containers: one file a run, each line with its time and stream, as container runtimes write them:
//! `2026-11-22T10:00:00.000000000Z stdout F text`. `F` is a full line, `P` a part of a longer one.

mod line;
mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::{Feed, Stream};
