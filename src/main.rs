//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments == ["driver", "files"] {
        return snapkeep::drivers::files::worker_main();
    }
    eprintln!("snapkeep: there is no command line yet");
    ExitCode::from(2)
}
