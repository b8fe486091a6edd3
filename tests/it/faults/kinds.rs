//! Everything that a directory can hold, kept and given back, and the same by restic.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::fs::{FileType, Mode, XattrFlags, makedev};
use snapkeep::lifecycle::snapshot::Status;

use super::give_back;
use crate::driver_contract::{create, files};
use crate::support::skips::not_tested;
use crate::upkeep::{restic_agrees, restore_by_restic};

/// What there is to be known of each entry, by the bytes of its path.
fn all_of(root: &Path) -> BTreeMap<Vec<u8>, String> {
    fn walk(root: &Path, path: &Path, found: &mut BTreeMap<Vec<u8>, String>) {
        let meta = fs::symlink_metadata(path).expect("there");
        let kind = meta.file_type();
        let mut text =
            format!("{:o} {}:{} {}.{}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        if kind.is_file() {
            let sum = fs::read(path)
                .expect("readable")
                .iter()
                .fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
            text.push_str(&format!(" {} bytes, {sum:x}, {} names", meta.len(), meta.nlink()));
        } else if kind.is_symlink() {
            text.push_str(&format!(" to {:?}", fs::read_link(path).expect("a link")));
        } else if kind.is_block_device() || kind.is_char_device() {
            text.push_str(&format!(" device {:x}", meta.rdev()));
        }
        let mut names = vec![0; 4096];
        let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
        let mut attributes: Vec<_> = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        attributes.sort();
        for name in attributes {
            let mut value = vec![0; 70_000];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).expect("an attribute");
            text.push_str(&format!(" {}={:?}", String::from_utf8_lossy(name), &value[..length]));
        }
        let below = path.strip_prefix(root).expect("below").as_os_str().as_bytes().to_vec();
        found.insert(below, text);
        if kind.is_dir() {
            for entry in fs::read_dir(path).expect("readable") {
                walk(root, &entry.expect("an entry").path(), found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// Fills a folder with everything; what cannot be had here is told.
fn fill(source: &Path) {
    let at = |bytes: &[u8]| source.join(OsStr::from_bytes(bytes));
    fs::create_dir_all(at(b"folder \xff\xfe/below")).expect("made");
    for name in [b"latin \xe9".as_slice(), b"\x01\x02", b"new\nline", b"back\\slash", b"\"quoted\"", b"-n", b"\xf0\x9f"]
    {
        fs::write(at(name), name).expect("written");
        fs::write(at(b"folder \xff\xfe/below").join(OsStr::from_bytes(name)), "also here").expect("written");
    }
    fs::write(at(&[b'l'; 255]), "as long as a name may be").expect("written");
    std::os::unix::fs::symlink(OsStr::from_bytes(b"to \xff nothing"), at(b"link \xff")).expect("linked");
    fs::hard_link(at(b"latin \xe9"), at(b"folder \xff\xfe/twin \xe9")).expect("linked");
    let pipe = rustix::fs::mknodat(rustix::fs::CWD, at(b"pipe \xff"), FileType::Fifo, Mode::from_raw_mode(0o620), 0);
    pipe.expect("made");
    drop(UnixListener::bind(at(b"socket")).expect("bound"));
    fs::write(at(b"attributes"), "words").expect("written");
    for (name, value) in
        [("user.note", b"kept \xff".to_vec()), ("user.empty", Vec::new()), ("user.long", vec![7; 2000])]
    {
        if let Err(error) = rustix::fs::setxattr(at(b"attributes"), name, &value, XattrFlags::empty()) {
            not_tested(&format!("the extended attribute {name}: {error}"));
        }
    }
    if rustix::process::geteuid().is_root() {
        for (name, kind, mode) in [("null", FileType::CharacterDevice, 0o666), ("disk", FileType::BlockDevice, 0o640)] {
            let device = if kind == FileType::BlockDevice { makedev(7, 99) } else { makedev(1, 3) };
            let made = rustix::fs::mknodat(rustix::fs::CWD, source.join(name), kind, Mode::from_raw_mode(mode), device);
            if let Err(error) = made {
                not_tested(&format!("the device {name}: {error}"));
            }
        }
        std::os::unix::fs::chown(at(b"attributes"), Some(12_345), Some(54_321)).expect("given away");
        let cap = [1u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        if let Err(error) = rustix::fs::setxattr(at(b"attributes"), "security.capability", &cap, XattrFlags::empty()) {
            not_tested(&format!("a file's capabilities: {error}"));
        }
        let link = rustix::fs::lsetxattr(at(b"link \xff"), "trusted.note", b"of a link", XattrFlags::empty());
        if let Err(error) = link {
            not_tested(&format!("an extended attribute of a link: {error}"));
        }
    } else {
        not_tested("devices and other owners, because tests do not run as root");
    }
    fs::create_dir(at(b"lists")).expect("made");
    fs::write(at(b"lists/page"), "words").expect("written");
    let lists =
        Command::new("setfacl").args(["-m", "u:12345:rwx,g:54321:r,m::rx,d:u:12345:rw"]).arg(at(b"lists")).output();
    let page = Command::new("setfacl").args(["-m", "u:12345:rw,g:54321:---"]).arg(at(b"lists/page")).output();
    if !lists.is_ok_and(|lists| lists.status.success()) || !page.is_ok_and(|page| page.status.success()) {
        not_tested("access control lists, because there is no setfacl or no file system that has them");
    }
    // A list that new files inherit, and a file that was there before it.
    fs::write(at(b"lists/inherits"), "words").expect("written");
    let holes = fs::File::create(at(b"holes")).expect("made");
    holes.set_len(9 << 20).expect("sparse");
    std::os::unix::fs::FileExt::write_all_at(&holes, b"in the middle", 5 << 20).expect("written");
    let nothing = fs::File::create(at(b"nothing but a hole")).expect("made");
    nothing.set_len(3 << 20).expect("sparse");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for name in [b"folder \xff\xfe/below".as_slice(), b"folder \xff\xfe", b"lists", b""] {
        fs::File::open(at(name)).and_then(|file| file.set_modified(long_ago)).expect("set");
    }
}

#[tokio::test]
async fn everything_a_directory_can_hold_comes_back_also_by_restic() {
    let fixture = files();
    let source = fixture.source();
    fill(&source);
    let made = create(&fixture, "a-1").await.expect("made");
    assert_eq!(made.snapshot.status, Status::Good, "{made:?}");
    assert!(!made.message.unwrap_or_default().contains("changed"), "nothing did");
    let was = all_of(&source);
    if rustix::process::geteuid().is_root() {
        let attributes = &was[b"attributes".as_slice()];
        assert!(attributes.contains("security.capability") && attributes.contains("user.empty"), "{attributes}");
    }
    let (_, back) = give_back(&fixture, &made.snapshot, "back").await.expect("restored");
    let differing = |is: &BTreeMap<Vec<u8>, String>| {
        let paths: std::collections::BTreeSet<_> = was.keys().chain(is.keys()).collect();
        let differ = paths.into_iter().filter(|path| was.get(*path) != is.get(*path));
        let shown = |path: &Vec<u8>| std::ffi::OsString::from_vec(path.clone());
        differ.map(|path| format!("{:?}: {:?} is {:?}", shown(path), was.get(path), is.get(path))).collect::<Vec<_>>()
    };
    assert_eq!(differing(&all_of(&back)), Vec::<String>::new());
    for (name, bytes) in [("holes", 9 << 20), ("nothing but a hole", 3 << 20)] {
        let metadata = fs::metadata(back.join(name)).expect("there");
        assert!(metadata.len() == bytes && metadata.blocks() * 512 < 4 << 20, "{name}: {} blocks", metadata.blocks());
    }
    // All of it is the same when it is asked for again.
    let (again, _) = give_back(&fixture, &made.snapshot, "back").await.expect("restored");
    assert_eq!(again.bytes, 0, "{again:?}");
    assert_eq!(differing(&all_of(&back)), Vec::<String>::new());
    restic_agrees(&fixture);
    let to = fixture.folder.path().join("by-restic");
    if restore_by_restic(&fixture, &made.snapshot, &to) {
        let mut is = all_of(&to.join(source.strip_prefix("/").expect("absolute")));
        // restic 0.14 makes no sockets, and reads where a link leads to as UTF-8; later ones do better.
        for known in [b"socket".as_slice(), b"link \xff"] {
            is.insert(known.to_vec(), was[known].clone());
        }
        assert_eq!(differing(&is), Vec::<String>::new());
    }
}
