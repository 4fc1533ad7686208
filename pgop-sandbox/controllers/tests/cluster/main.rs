//! The controllers on the embedded API server. The test plays the kubelet: it says when pods run, end and are gone.

// A test that can't go on fails; and a `json!` value given as an argument reads better without a `&`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

mod collection;
mod play;
mod services;
mod storage;
mod week;
mod workloads;
