//! The stock operator. See the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgop_operator::main(std::env::args_os())
}
