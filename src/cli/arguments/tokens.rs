//! What may be typed about tokens.

use clap::{Args, Subcommand, ValueEnum};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once: it cannot be shown again
    Add(TokenAddArguments),

    /// List the tokens there are, what they allow, and when each was used last
    List,

    /// Let nobody in by a token any more
    Remove {
        /// The token's name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// What token to make.
#[derive(Debug, Args)]
pub struct TokenAddArguments {
    /// What to call it: letters, digits, dots, dashes and underscores
    #[arg(value_name = "NAME")]
    pub name: String,

    /// What its bearer may do
    #[arg(long, value_name = "ROLE")]
    pub role: RoleWord,

    /// Till when: a day (2027-01-31), a point in time (2027-01-31T12:00:00Z) or a span from now (90d); without
    /// it, till the token is removed
    #[arg(long, value_name = "TIME|SPAN")]
    pub expires: Option<String>,
}

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    /// Look, and change nothing
    Viewer,
    /// Also run, stop, verify, hold and approve
    Operator,
    /// Everything
    Admin,
}

impl RoleWord {
    /// Returns the word that the daemon knows.
    pub fn word(self) -> &'static str {
        match self {
            RoleWord::Viewer => "viewer",
            RoleWord::Operator => "operator",
            RoleWord::Admin => "admin",
        }
    }
}
