//! What may be typed about policies as JSON.

use std::path::PathBuf;

use clap::Args;

/// Whose policies to take, and where to put them.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// A file of JSON, - for standard input, or the address of a server: https://host:9200
    #[arg(value_name = "FILE|URL|-")]
    pub from: String,

    /// Write the files into this directory, not into policies.d of the configuration
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,

    /// The policy's name; of several, OLD=NEW renames one, and may be given several times
    #[arg(long = "name", value_name = "NAME|OLD=NEW")]
    pub names: Vec<String>,

    /// Replace files that are there and say something else
    #[arg(long)]
    pub overwrite: bool,

    /// Check everything, write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// The user at the server; the password is asked for, or read from standard input
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// The file that holds the password, in one line
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,

    /// The file that holds a bearer token, in one line
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,

    /// Trust the certificates in this file, in PEM, and not this system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}
