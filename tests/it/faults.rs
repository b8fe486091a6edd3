//! The embedded driver under what goes wrong around it, by the real program. Each fault is told for what
//! it is, the next operation works once it is gone, and restic, where it is installed, finds the
//! repository sound afterwards.

mod amounts;
mod damage;
mod disk;
mod kills;
mod kinds;
mod others;
mod source;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use snapkeep::drivers::{Call, Driver, Progress, ProgressSink, RestoreOrder, Restored, registry};
use snapkeep::lifecycle::snapshot::Snapshot;
use snapkeep::lifecycle::workflow::Fault;
use tokio::sync::Notify;

use crate::driver_contract::{Fixture, call, files, target};
use crate::support::wait::{Writes, living};

/// Opens a repository by the real program.
fn opened(folder: &Path, settings: &Value) -> Arc<dyn Driver> {
    let program = Path::new(env!("CARGO_BIN_EXE_snapkeep"));
    registry::open("files", settings.as_object().expect("a table"), folder, program).expect("good settings")
}

/// The fixture's repository, opened once more.
fn opened_again(fixture: &Fixture) -> Arc<dyn Driver> {
    opened(fixture.folder.path(), &json!({"path": fixture.repository()}))
}

/// Restores all of a snapshot into a folder of the fixture, and returns where the source came back.
async fn give_back(fixture: &Fixture, snapshot: &Snapshot, to: &str) -> Result<(Restored, PathBuf), Fault> {
    let to = fixture.folder.path().join(to);
    let order = RestoreOrder { target: target(snapshot), to: to.clone(), include: vec![], overwrite: false };
    let restored = fixture.driver.restore(&order, &call()).await?;
    Ok((restored, to.join(fixture.source().strip_prefix("/").expect("absolute"))))
}

/// What is mounted somewhere; unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts a file system in memory; `None` where that may not be done.
    fn memory(at: &Path, size: &str) -> Option<Mounted> {
        let options = format!("size={size}");
        Mounted::by(&["-t", "tmpfs", "-o", &options, "snapkeep-test"], at)
    }

    /// Mounts a directory a second time; `None` where that may not be done.
    fn bound(from: &Path, at: &Path) -> Option<Mounted> {
        Mounted::by(&["--bind", from.to_str().expect("UTF-8")], at)
    }

    fn by(arguments: &[&str], at: &Path) -> Option<Mounted> {
        fs::create_dir_all(at).expect("made");
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Mounted(at.to_path_buf()))
    }

    /// Mounts it again with other options. Returns whether that could be done.
    fn remount(&self, options: &str) -> bool {
        let mounted = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).output();
        mounted.expect("mount runs").status.success()
    }

    /// Takes all room from it, until the file that takes it is removed.
    fn fill(&self) -> Filler {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).expect("made");
        let zeros = vec![0; 4096];
        while file.write_all(&zeros).is_ok() {}
        Filler(path)
    }
}

/// A file that takes all room.
struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The driver processes that have something open in the fixture's folder.
fn workers(fixture: &Fixture) -> Vec<Pid> {
    let folder = fixture.folder.path().to_str().expect("UTF-8").to_owned();
    let own = std::process::id().to_string();
    living(|process| {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let below = |link: PathBuf| link.to_string_lossy().starts_with(&folder);
        !process.ends_with(&own) && open.flat_map(|fd| fd.path().read_link()).any(below)
    })
}

fn signal(fixture: &Fixture, signal: Signal) {
    for worker in workers(fixture) {
        // It may have ended since.
        let _ = kill_process(worker, signal);
    }
}

/// Returns a call during which, the first time that `when` holds, the driver process stands still while
/// `meanwhile` is done. Tells whether that came to pass.
fn stopped_when(
    fixture: &Arc<Fixture>,
    when: fn(&Progress) -> bool,
    meanwhile: impl FnOnce() + Send + 'static,
) -> (Call, Arc<AtomicBool>) {
    let (fixture, done) = (Arc::clone(fixture), Arc::new(AtomicBool::new(false)));
    let (told, meanwhile) = (Arc::clone(&done), Mutex::new(Some(meanwhile)));
    let progress = ProgressSink::new(move |progress| {
        if when(&progress)
            && let Some(meanwhile) = meanwhile.lock().expect("whole").take()
        {
            signal(&fixture, Signal::STOP);
            meanwhile();
            signal(&fixture, Signal::CONT);
            told.store(true, Ordering::SeqCst);
        }
    });
    (Call { progress, ..call() }, done)
}

/// Returns a call during which the driver process stops, the first time that `when` holds, until somebody
/// lets it go on; tells when it has.
fn stopped_for_long(fixture: &Arc<Fixture>, when: fn(&Progress) -> bool) -> (Call, Arc<Notify>) {
    let (stopped, fixture) = (Arc::new(Notify::new()), Arc::clone(fixture));
    let (told, once) = (Arc::clone(&stopped), AtomicBool::new(false));
    let progress = ProgressSink::new(move |progress| {
        if when(&progress) && !once.swap(true, Ordering::SeqCst) {
            signal(&fixture, Signal::STOP);
            told.notify_one();
        }
    });
    (Call { progress, ..call() }, stopped)
}

/// Stops the driver process as soon as it makes something in the fixture's folder, as a restore does
/// that has looked at its snapshot; then does `next`.
fn stopped_when_it_writes(fixture: &Arc<Fixture>, next: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let (writes, fixture) = (Writes::below(&[fixture.folder.path()]), Arc::clone(fixture));
    std::thread::spawn(move || {
        writes.first();
        signal(&fixture, Signal::STOP);
        next();
    })
}

/// Whether some of the data has been read or written, and not all of it.
fn half_way(progress: &Progress) -> bool {
    progress.unit == "bytes" && progress.done > 0 && progress.total.is_none_or(|total| progress.done < total)
}

/// A fixture with so many files of a quarter of a megabyte each, which no two have in common.
fn with_files(count: u64) -> Fixture {
    let fixture = files();
    for number in 0..count {
        crate::upkeep::noise(&fixture.source().join(format!("noise-{number:03}")), number, 256 << 10);
    }
    fixture
}
