//! What could not be tested, told where it is seen: the runner shows nothing of tests that pass.

use std::fs::File;
use std::io::Write;

/// Names the file that takes a line for everything that was not tested.
const SKIPS: &str = "SNAPKEEP_SKIPS";

/// Tells what is not tested and why, to whoever watches and to the file.
pub fn not_tested(what: &str) {
    tell(&format!("NOT TESTED: {what}"));
    if let Some(path) = std::env::var_os(SKIPS) {
        let file = File::options().append(true).create(true).open(&path);
        // A skip that is not seen is what the file is there against.
        file.and_then(|mut file| writeln!(file, "{what}")).expect("the file that SNAPKEEP_SKIPS names");
    }
}

/// Tells something past the capturing of test output.
pub fn tell(line: &str) {
    // Nobody to tell is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}
