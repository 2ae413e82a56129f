//! The program `hoheit-verify`; everything is in the library beside it.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let ending = verify::run(std::env::args_os());
    // A reader that closed the pipe has read enough; the exit code still says how it ended.
    let _ = std::io::stdout().write_all(ending.stdout.as_bytes());
    let _ = std::io::stderr().write_all(ending.stderr.as_bytes());
    ExitCode::from(ending.code)
}
