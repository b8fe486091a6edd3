//! A set-up with many policies, as an operator would have it in one folder.

use std::fs;
use std::path::{Path, PathBuf};

use snapkeep::lifecycle::time::Timestamp;

/// Makes the folder: settings, two repositories, a channel, and policies that are due in some hours
/// at the earliest, so that nothing begins while something else is measured.
pub fn make(folder: &Path, policies: usize, now: Timestamp) -> PathBuf {
    for part in ["policies.d", "repositories.d", "channels.d"] {
        fs::create_dir_all(folder.join(part)).expect("a folder");
    }
    let settings = folder.join("snapkeep.toml");
    let write = |path: &Path, text: &str| fs::write(path, text).expect("written");
    write(&settings, "jobs_max = 200\n");
    for name in ["left", "right"] {
        // It takes whatever it is asked and never answers.
        let text = "driver = \"exec\"\ncommand = [\"sleep\", \"3600\"]\neffects_max = 64\n";
        write(&folder.join("repositories.d").join(format!("{name}.toml")), text);
    }
    write(&folder.join("channels.d/journal.toml"), "[log]\nlevel = \"warn\"\n");
    for index in 0..policies {
        let text = policy(index, &format!("what team {} keeps", index % 40), now);
        write(&folder.join("policies.d").join(format!("{}.toml", name(index))), &text);
    }
    settings
}

/// Returns the name of a policy.
pub fn name(index: usize) -> String {
    format!("service-{index:05}")
}

/// Returns a policy much like the samples: 960 different times, and a path of its own.
pub fn policy(index: usize, description: &str, now: Timestamp) -> String {
    let hour_now = now.seconds() / 3600 % 24;
    let hour = (hour_now + 4 + (index / 60 % 16) as i64) % 24;
    let (minute, team) = (index % 60, index % 40);
    let zone = if index % 4 < 2 { "UTC" } else { "Europe/Berlin" };
    let (name, repository) = (name(index), if index.is_multiple_of(2) { "left" } else { "right" });
    format!(
        r#"# Every night, and a week of nights kept.
description = "Nightly copy of {description}"

[creation]
time_limit = "1h"               # of the whole run; 24h unless given
[creation.schedule.cron]
expression = "{minute} {hour} * * *"        # minute, hour, day of month, month, day of week
timezone = "{zone}"     # UTC unless given

[deletion]                      # without it nothing is ever deleted
time_limit = "1h"
[deletion.condition]
max_age = "7d"                  # snapshots older than this go …
max_count = 21                  # … and the oldest beyond this many,
min_count = 7                   # but so many good ones stay whatever their age

[snapshot_config]
repository = "{repository}"            # a file in repositories.d
date_format = "yyyy-MM-dd-HH:mm"
paths = ["/srv/{name}"]
[snapshot_config.metadata]      # labels on every snapshot
team = "team-{team}"

[notification]
channel.id = "journal"          # a file in channels.d
"#
    )
}
