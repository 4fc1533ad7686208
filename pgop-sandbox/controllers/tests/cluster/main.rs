//! The controllers on the embedded API server. The test plays the kubelet: it says when pods run, end and are gone.

mod collection;
mod play;
mod services;
mod storage;
mod workloads;
