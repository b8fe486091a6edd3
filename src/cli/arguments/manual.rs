//! What may be typed about the manual, and what shells and editors are told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::manual::keys::File;

/// Which page, or where to.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// The page, such as snapkeep-policy.5 or restore; without it they are listed
    #[arg(value_name = "PAGE")]
    pub page: Option<String>,

    /// Write every page into this directory, each as NAME.SECTION; what they replace is gone
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    pub to: Option<PathBuf>,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// For /usr/share/bash-completion/completions/snapkeep
    Bash,
    /// For /usr/share/zsh/vendor-completions/_snapkeep
    Zsh,
    /// For /usr/share/fish/vendor_completions.d/snapkeep.fish
    Fish,
}

/// A file that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaWord {
    /// A file in policies.d
    Policy,
    /// A file in repositories.d
    Repository,
    /// A file in channels.d
    Channel,
    /// snapkeep.toml
    Settings,
}

impl SchemaWord {
    /// Returns the file it is about.
    pub fn file(self) -> File {
        match self {
            SchemaWord::Policy => File::Policy,
            SchemaWord::Repository => File::Repository,
            SchemaWord::Channel => File::Channel,
            SchemaWord::Settings => File::Settings,
        }
    }
}
