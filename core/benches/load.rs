//! How long it takes to load a configuration of 100,000 alarms, and what it holds in memory.
//!
//! Budgets: `load_100k` <= 1 s and `load_100k_memory` <= 100 MB, texts → checked configuration →
//! engine, both kept. The site is the demonstration's, multiplied until it has 100,000 alarms.
//!
//! Memory is what the process has resident (`/proc/self/statm`) more than at its start, less the
//! texts: what the allocator keeps of what was freed counts too. Only the first load can be measured
//! so; the time is the median of several.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench reads files and the clock and prints; it decides nothing"
)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use davy_core::alarm::Engine;
use davy_core::config::{Config, SourceFile, check, multiply, wanted};

/// How many alarms are to be loaded.
const ALARMS: usize = 100_000;
/// Timed runs; the median counts.
const RUNS: usize = 7;
/// Bytes of a page of memory.
const PAGE: u64 = 4096;
/// Bytes of a megabyte.
const MB: f64 = 1e6;

fn main() {
    let before = resident();
    let files = site(ALARMS);
    let texts: u64 = files.iter().map(|file| file.text.len() as u64).sum();
    let mut times = Vec::new();
    let (config, engine, took) = load(&files);
    let loaded = resident();
    times.push(took);
    // One more engine, to know its part.
    let another = Engine::new(&config.points, &config.alarms);
    let of_engine = resident().saturating_sub(loaded);
    black_box(&another);
    drop(another);
    println!(
        "{} points, {} alarms; first load {:.2} s (engine {:.3} s)",
        config.points.len(),
        config.alarms.len(),
        took.0.as_secs_f64(),
        took.1.as_secs_f64()
    );
    let each = |bytes: u64, of: usize| bytes as f64 / of.max(1) as f64;
    println!(
        "engine alone: {:.1} MB, {:.0} bytes an alarm with its part of the point",
        of_engine as f64 / MB,
        each(of_engine, config.alarms.len())
    );
    black_box(&engine);
    drop((config, engine));
    for _ in 1..RUNS {
        let (config, engine, took) = load(&files);
        black_box((&config, &engine));
        times.push(took);
    }
    times.sort();
    let median = times.get(times.len() / 2).map_or(Duration::ZERO, |t| t.0);
    let memory = loaded.saturating_sub(before + texts) as f64 / MB;
    println!("load_100k: {:.2} s (goal <= 1)", median.as_secs_f64());
    println!("load_100k_memory: {memory:.1} MB (goal <= 100)");
}

/// Texts to an engine; how long all of it took, and the engine alone.
fn load(files: &[SourceFile]) -> (Config, Engine, (Duration, Duration)) {
    let start = Instant::now();
    let config = check(files).expect("the site is sound");
    let checked = start.elapsed();
    let engine = Engine::new(&config.points, &config.alarms);
    let all = start.elapsed();
    (config, engine, (all, all.saturating_sub(checked)))
}

/// The texts of a site with so many alarms at least.
fn site(alarms: usize) -> Vec<SourceFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo");
    let read = |name: &str| SourceFile {
        name: name.to_owned(),
        text: text(&folder.join(name)),
    };
    let main = read("site.toml");
    let names = wanted(&main).expect("the site names its files");
    let mut files = vec![main];
    files.extend(names.iter().map(|name| read(name)));
    let one = check(&files).expect("the demonstration is sound").alarms;
    // The alarms of the centre itself stand in it once.
    let plants = 1 + alarms.div_ceil(one.len().max(1));
    multiply(&files, plants as u32, &[]).expect("it can be multiplied")
}

fn text(path: &PathBuf) -> String {
    std::fs::read_to_string(path).expect("a file of the demonstration")
}

/// Bytes that the process has resident.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * PAGE
}
