//! What may be typed about keys.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print what is needed to get data back: where the repository is, its key, and the commands
    ///
    /// The key is on it where it goes to a terminal, or to the file named by --to, and nowhere else.
    /// Print it, keep it away from this machine.
    Sheet {
        /// The repository; may be left out where there is only one
        #[arg(value_name = "REPOSITORY")]
        repository: Option<String>,

        /// Write it into this file, which must not be there yet; - prints it, whoever may be reading
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },

    /// List the keys that open a repository
    List {
        /// The repository
        #[arg(value_name = "REPOSITORY")]
        repository: String,
    },

    /// Let a second key open a repository, such as one that is kept in a safe
    Add {
        /// The repository
        #[arg(value_name = "REPOSITORY")]
        repository: String,

        /// The file that holds the new key, in one line
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },

    /// Replace the key in use by a new one; the old one opens nothing afterwards
    ///
    /// At every moment the key file holds a key that opens the repository. A rotation that was
    /// interrupted goes on when it is asked for again.
    Rotate {
        /// The repository
        #[arg(value_name = "REPOSITORY")]
        repository: String,
    },

    /// Take a key away; never the one in use
    Remove {
        /// The repository
        #[arg(value_name = "REPOSITORY")]
        repository: String,

        /// The key, or the beginning of it, as `key list` shows it
        #[arg(value_name = "KEY")]
        key: String,
    },
}
