//! `pgo`: everything is in the library.

use std::io::{stderr, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    pgop_cli::run(
        std::env::args_os(),
        &pgop_cli::Env::of_process(),
        &mut stdout(),
        &mut stderr(),
    )
    .into()
}
