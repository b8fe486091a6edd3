//! Ports for programs that bind them themselves, or that nobody is to listen on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// More than all tests of a run take, with what other programs listen on.
const TRIES_MAX: u16 = 4_000;
/// Other runs at the same time begin elsewhere.
const RUNS: u32 = 16;

/// Returns an address of this machine that nobody listens on. No other test is given it, and the kernel gives it to no
/// connection and no listener that takes any: between now and its use it stays free.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("Linux");
    let lowest: u16 = range.split_whitespace().next().and_then(|port| port.parse().ok()).expect("a range");
    let begin = (std::process::id() % RUNS) as u16 * (TRIES_MAX / RUNS as u16);
    for _ in 0..TRIES_MAX {
        let below = (begin + NEXT.fetch_add(1, Ordering::SeqCst)) % TRIES_MAX + 1;
        let address =
            SocketAddr::from((Ipv4Addr::LOCALHOST, lowest.checked_sub(below).expect("ports below the range")));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("nothing is free in {TRIES_MAX} ports below {lowest}");
}
