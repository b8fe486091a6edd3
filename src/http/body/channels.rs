//! What is said of channels.

use serde::{Deserialize, Serialize};

use super::ProblemBody;

/// Where notices go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelsBody {
    /// The channels in force, by name.
    pub channels: Vec<ChannelBody>,
    /// What is wrong with files of channels that never were in force.
    pub problems: Vec<ProblemBody>,
}

/// A channel in force. What it knows of whoever is at the other end, and secrets, are not in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelBody {
    /// Its name.
    pub name: String,
    /// `log`, `mail`, `webhook`, `ping` or `command`.
    pub kind: String,
    /// The file it was read from.
    pub file: String,
    /// A notice that could not be delivered for so long is given up; as written.
    pub give_up_after: String,
    /// What goes on is told again after this; as written.
    pub repeat_after: Option<String>,
    /// When it is not told.
    pub quiet_hours: Option<QuietHoursBody>,
    /// Which policies name it.
    pub policies: Vec<String>,
    /// Whether it is told what is about the daemon, and of policies that name nobody.
    #[serde(default)]
    pub is_default: bool,
    /// How many notices it has not taken yet.
    pub waiting: u64,
    /// How many of those that are kept it never took.
    pub undeliverable: u64,
    /// What is wrong with its file.
    pub problems: Vec<ProblemBody>,
}

/// Hours of every day in which a channel is not told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuietHoursBody {
    /// As in `22:00`.
    pub from: String,
    /// As in `07:00`.
    pub until: String,
    /// By whose clocks.
    pub timezone: String,
    /// Of which events it is told all the same.
    pub except: Vec<String>,
}

/// What came of trying a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriedBody {
    /// Whether the message was taken.
    pub delivered: bool,
    /// What was answered, where it was.
    pub answer: Option<String>,
    /// Why it was not, where it was not.
    pub why: Option<String>,
    /// When it is worth trying again, where it was not: `later`, `after SPAN`, or `changed`, when a person has
    /// changed something.
    pub again: Option<String>,
    /// What was said (`> `) and heard (`< `), line by line.
    pub conversation: Vec<String>,
}
