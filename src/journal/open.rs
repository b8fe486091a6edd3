//! What is made sure of before the first statement: the directory, the file, the settings, the
//! schema, and who we are.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use rustix::fs::FallocateFlags;

use crate::lifecycle::hex::hex;

use super::error::{JournalError, OpenError};
use super::lock::Lock;
use super::migrate::{self, MIGRATIONS, Migration};
use super::{FILE, backup, check};

/// The installation of every journal in memory.
pub(super) const INSTALLATION_IN_MEMORY: &str = "00000000000000000000000000000000";

/// Space to fall back on when the disk is full.
const RESERVE: &str = "reserve";
/// Enough to settle thousands of runs, little enough for any disk.
const RESERVE_BYTES: u64 = 4 << 20;
/// With less than this free no new run begins: the log alone may grow to as much before it is cut.
const FREE_BYTES_MIN: u64 = 16 << 20;

/// Pages kept in memory by each connection: the upper levels of every index fit. What is below them
/// the system has in memory anyway.
const CACHE_KIB: i64 = 512;
/// The same until the next quiet moment, once a commit has been large: a page that does not fit is put
/// into the log before its time, read again and written again. A thousand beginnings take about 1,200 KiB.
const CACHE_LARGE_KIB: i64 = 4 << 10;
/// Another program that holds the journal for longer than this is an error.
const BUSY_MAX_MS: u32 = 5_000;
/// The log is cut to this after it was larger.
const LOG_BYTES_MAX: i64 = 16 << 20;
/// Pages in the log before it is written back. A log that is written over again costs a commit half of what one
/// costs that grows, so it is to be short.
const CHECKPOINT_PAGES: i64 = 1_000;
/// The same until the next quiet moment, once a commit has been large: as many as the log keeps when it is
/// cut. A thousand beginnings and all that follows from them take a thousand pages and more, and none of them
/// should wait for the file itself.
const CHECKPOINT_LARGE_PAGES: i64 = 3_500;
/// More than there are statements, so that none is prepared twice.
const STATEMENTS_MAX: usize = 128;

/// File systems on which SQLite's locks and its shared memory cannot be trusted, by `statfs` type.
const NETWORK_FILE_SYSTEMS: [(u32, &str); 14] = [
    (0x0000_6969, "nfs"),
    (0x0000_517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0000_564c, "ncp"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
];

/// Makes the state directory, or makes sure that an existing one can hold a journal.
pub(super) fn directory(directory: &Path) -> Result<(), OpenError> {
    let shown = directory.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| JournalError::file("make", directory, error))?;
    let file_system = rustix::fs::statfs(directory)
        .map_err(|error| JournalError::file("look at", directory, error.into()))?
        .f_type as u32;
    if let Some((_, name)) = NETWORK_FILE_SYSTEMS.iter().find(|(number, _)| *number == file_system) {
        let text = format!("{shown} is on a network file system ({name}), where a journal is not safe");
        return Err(OpenError::Unsuitable(text));
    }
    let mode = fs::metadata(directory).map_err(|error| JournalError::file("look at", directory, error))?.permissions();
    if mode.mode() & 0o077 == 0 {
        return Ok(());
    }
    if mode.mode() & 0o022 != 0 {
        let text = format!("{shown} can be written by others; `chmod 700` makes it safe");
        return Err(OpenError::Unsuitable(text));
    }
    // Only one that is ours alone: who names a shared directory by mistake must not lose access to it.
    if directory.join(FILE).exists() || is_empty(directory)? {
        fs::set_permissions(directory, Permissions::from_mode(0o700))
            .map_err(|error| JournalError::file("protect", directory, error))?;
    }
    Ok(())
}

/// Opens the file for writing, whole and of the present schema.
pub(super) fn writer(directory: &Path, lock: &Lock, migrations: &[Migration]) -> Result<Connection, OpenError> {
    let path = directory.join(FILE);
    let size = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let log = directory.join(format!("{FILE}-wal")).exists();
            if lock.has_journal() || log || !backup::backups(directory)?.is_empty() {
                return Err(OpenError::Missing(directory.display().to_string()));
            }
            0
        }
        Err(error) => return Err(JournalError::file("look at", &path, error).into()),
    };
    if size == 0 && lock.has_journal() && path.exists() {
        return Err(OpenError::Corrupt(format!("{} is empty", path.display())));
    }
    // SQLite gives its log the same mode.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
        .map_err(|error| JournalError::file("open", &path, error))?;

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags).map_err(JournalError::from)?;
    settle_in(&connection)?;
    // Until it is known to be whole nothing is written into it, not even on the way out.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(JournalError::from)?;
    let schema = migrate::schema(&connection, migrations)?;
    if schema == 0 && lock.has_journal() {
        return Err(OpenError::Corrupt(format!("{} holds no journal", path.display())));
    }
    check::refuse_damaged(&connection, check::Depth::Quick)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(JournalError::from)?;
    for (name, value) in [("journal_mode", "wal"), ("synchronous", "full")] {
        connection.pragma_update(None, name, value).map_err(JournalError::from)?;
    }
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX).map_err(JournalError::from)?;
    if schema > 0 && schema < migrate::known(migrations) {
        check::refuse_damaged(&connection, check::Depth::Whole)?;
        backup::before_migration(&connection, directory, schema)?;
    }
    migrate::migrate(&mut connection, migrations, schema)?;
    Ok(connection)
}

/// Opens a journal's file for reading, as far as that goes.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let connection = file_for_reading(path)?;
    migrate::schema(&connection, MIGRATIONS)?;
    Ok(connection)
}

/// Opens a file for reading, whatever its schema.
pub(super) fn file_for_reading(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.display().to_string()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(JournalError::from)?;
    settle_in(&connection)?;
    Ok(connection)
}

/// Opens a journal in memory.
pub(super) fn memory() -> Result<Connection, OpenError> {
    let mut connection = Connection::open_in_memory().map_err(JournalError::from)?;
    settle_in(&connection)?;
    migrate::migrate(&mut connection, MIGRATIONS, 0)?;
    Ok(connection)
}

/// What every connection is set to.
fn settle_in(connection: &Connection) -> Result<(), JournalError> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // A statement is planned once, not again for every value bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "busy_timeout", BUSY_MAX_MS)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    room_usual(connection)
}

/// Keeps few pages in memory and in the log, and gives back the memory beyond them.
pub(super) fn room_usual(connection: &Connection) -> Result<(), JournalError> {
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection.pragma_update(None, "cache_size", -CACHE_KIB)?)
}

/// Lets the pages of a large commit stay in memory, and in the log, until [`room_usual`].
pub(super) fn room_large(connection: &Connection) -> Result<(), JournalError> {
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_LARGE_PAGES)?;
    Ok(connection.pragma_update(None, "cache_size", -CACHE_LARGE_KIB)?)
}

/// Counts this opening, and makes the identity at the first. Returns the epoch.
pub(super) fn raise_epoch(
    connection: &mut Connection,
    machine: &str,
    new_installation: &str,
) -> Result<u64, JournalError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "insert into instance (one, installation, machine, epoch) values (1, ?1, ?2, 0)
            on conflict (one) do nothing",
        params![new_installation, machine],
    )?;
    // Another program than the one that wrote here last, or a journal that was put back: of no repository
    // is it known that a look at it shows what it did (G15).
    let version = env!("CARGO_PKG_VERSION");
    let known = transaction.query_row("select version from instance", [], |row| row.get::<_, String>(0))?;
    if known != version {
        transaction.execute("update workflows set unlooked = 1 where kind = 'deletion'", [])?;
        transaction.execute("update instance set version = ?1", [version])?;
    }
    let epoch: i64 =
        transaction.query_row("update instance set epoch = epoch + 1 returning epoch", [], |row| row.get(0))?;
    transaction.commit()?;
    super::load::unsigned(epoch)
}

/// Whether the journal belongs to another machine. Where either has no identity nothing can be said.
pub(super) fn machine_changed(connection: &Connection, machine: &str) -> Result<bool, JournalError> {
    let stored: Option<String> =
        connection.query_row("select machine from instance", [], |row| row.get(0)).optional()?;
    Ok(stored.is_some_and(|stored| !stored.is_empty() && !machine.is_empty() && stored != machine))
}

/// Returns this machine's identity; empty where it has none.
pub(super) fn machine() -> String {
    let text = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let text = text.trim();
    // 32 hex digits. An image that is still to be started the first time says `uninitialized`.
    if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) { text.to_string() } else { String::new() }
}

/// Returns an identity that nobody else has.
pub(super) fn new_installation() -> Result<String, JournalError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| JournalError::file("read", path, error))?;
    Ok(hex(&bytes))
}

/// Makes the reserve where there is room for it. Where there is none it is missing, and
/// [`has_reserve`] says so.
pub(super) fn reserve(directory: &Path) {
    let path = directory.join(RESERVE);
    if has_reserve(directory) {
        return;
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let taken = file.and_then(|file| {
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
        file.sync_all()
    });
    if taken.is_err() {
        // Half a reserve would only take what little there is.
        let _ = fs::remove_file(&path);
    }
}

/// Whether there is room for another run, reserve included.
pub(super) fn room(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    let space = rustix::fs::statvfs(directory).map_err(|error| format!("failed to look at {shown}: {error}"))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < FREE_BYTES_MIN {
        let (free, least) = (free >> 20, FREE_BYTES_MIN >> 20);
        return Err(format!("{free} MiB are free for the journal in {shown}, and {least} MiB are the least"));
    }
    reserve(directory);
    if has_reserve(directory) { Ok(()) } else { Err(format!("{shown} has no room for the reserve of the journal")) }
}

/// Whether the reserve is there.
pub(super) fn has_reserve(directory: &Path) -> bool {
    fs::metadata(directory.join(RESERVE)).is_ok_and(|metadata| metadata.len() >= RESERVE_BYTES)
}

/// Gives the reserve back to the disk. Returns whether there was one.
pub(super) fn release_reserve(directory: &Path) -> Result<bool, JournalError> {
    let path = directory.join(RESERVE);
    match fs::remove_file(&path) {
        Ok(()) => {
            sync_directory(directory)?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(JournalError::file("remove", &path, error)),
    }
}

/// Makes names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), JournalError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| JournalError::file("sync", directory, error))
}

fn is_empty(directory: &Path) -> Result<bool, JournalError> {
    let entries = fs::read_dir(directory).map_err(|error| JournalError::file("read", directory, error))?;
    Ok(entries.count() == 0)
}
