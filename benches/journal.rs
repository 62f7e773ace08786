//! What an append costs: groups of 100 entries of 1.8 kB, hashed, chained and synced.
//!
//! Prints rows a second, CPU a row of the loop's thread, the latency of a commit, and how far the
//! write-ahead log grew. The disk's own sync is measured beside it. No goal is defended here: the
//! goals are those of the whole path.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench reads a clock and prints its figures"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use davy::journal::verify::verify;
use davy::journal::{Journal, Kind, NewEntry};
use davy_core::reading::Timestamp;

/// As 100 readings in one message.
const ENTRY_BYTES: usize = 1800;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    print_syncs(folder.path())?;
    for (name, group, groups) in [("single", 1, 3_000), ("group_100", 100, 2_000)] {
        let folder = folder.path().join(name);
        let (mut journal, _) = Journal::open(&folder)?;
        append(name, &mut journal, group, groups)?;
        let begin = Instant::now();
        let verified = verify(&folder, &[], |_, _| {})?;
        let rows = verified.entries as f64 / begin.elapsed().as_secs_f64();
        println!("journal_{name}_verify: {rows:.0} rows/s");
    }
    Ok(())
}

fn append(
    name: &str,
    journal: &mut Journal,
    group: usize,
    groups: usize,
) -> Result<(), Box<dyn Error>> {
    let mut input = vec![0_u8; ENTRY_BYTES];
    for (at, byte) in input.iter_mut().enumerate() {
        *byte = (at.wrapping_mul(2_654_435_761) >> 7) as u8;
    }
    let entry = NewEntry {
        now: Timestamp(1),
        kind: Kind::Message,
        input: &input,
        effects: b"",
    };
    let entries = vec![entry; group];
    let mut latencies = Vec::with_capacity(groups);
    let mut log_bytes_max = 0;
    let (begin, cpu) = (Instant::now(), thread_cpu()?);
    for _ in 0..groups {
        let begin = Instant::now();
        journal.append(&entries, &[])?;
        latencies.push(begin.elapsed());
        log_bytes_max = log_bytes_max.max(journal.checkpoints().log_bytes);
    }
    let (wall, cpu) = (begin.elapsed(), thread_cpu()?.saturating_sub(cpu));
    let rows = (group * groups) as f64;
    println!(
        "journal_{name}_rate: {:.0} rows/s",
        rows / wall.as_secs_f64()
    );
    println!(
        "journal_{name}_cpu: {:.2} µs a row",
        cpu.as_secs_f64() * 1e6 / rows
    );
    print_latencies(&format!("journal_{name}_commit"), &mut latencies);
    let counters = journal.checkpoints();
    println!(
        "journal_{name}_log: {} MiB at most, {} passive checkpoints, {} restarts, {} failed",
        log_bytes_max >> 20,
        counters.passive,
        counters.restarts,
        counters.failed
    );
    Ok(())
}

/// What the disk takes to sync a group's bytes, without SQLite.
fn print_syncs(folder: &Path) -> Result<(), Box<dyn Error>> {
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let bytes = vec![7_u8; 100 * ENTRY_BYTES];
    let mut latencies = Vec::new();
    for _ in 0..500 {
        let begin = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        latencies.push(begin.elapsed());
    }
    print_latencies("disk_sync", &mut latencies);
    fs::remove_file(path)?;
    Ok(())
}

fn print_latencies(name: &str, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let at = |percent: usize| {
        let place = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        latencies
            .get(place)
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
            * 1e3
    };
    println!(
        "{name}: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        at(50),
        at(99),
        at(100)
    );
}

/// CPU time of this thread, as the kernel counts it.
fn thread_cpu() -> Result<Duration, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(first.parse()?))
}
