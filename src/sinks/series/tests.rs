//! The store against a model, hostile values, damage, crashes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::float_cmp, reason = "what is stored comes out exactly")]

use std::collections::BTreeMap;

use davy_core::reading::{BadCause, UncertainCause};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::columns::Columns;
use super::*;

type Model = BTreeMap<i64, (u64, Quality)>;

const TAG: &str = "TF1.GT-101";
const ALWAYS: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

struct Store {
    folder: TempDir,
    series: Series,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let series = Series::open(folder.path()).unwrap();
        Self { folder, series }
    }

    /// As after a crash: whatever was not committed is gone.
    fn reopen(self) -> Self {
        let Self { folder, series } = self;
        drop(series);
        let series = Series::open(folder.path()).unwrap();
        Self { folder, series }
    }

    fn append(&mut self, tag: &str, at: i64, value: f64, quality: Quality) {
        let point = self.series.point(tag).unwrap();
        self.series
            .append(point, Timestamp(at), value, quality)
            .unwrap();
    }

    /// `count` good readings a second apart from `from` on, in steps of 0.1.
    fn fill(&mut self, from: i64, count: i64) {
        for n in 0..count {
            self.append(TAG, from + n * 1000, (n % 7) as f64 / 10.0, Quality::Good);
        }
    }

    fn samples(&self, tag: &str) -> Found<Sample> {
        let reader = self.series.reader().unwrap();
        reader.range(tag, ALWAYS.0, ALWAYS.1, usize::MAX).unwrap()
    }

    fn count(&self, table: &str) -> i64 {
        let file = Connection::open(self.folder.path().join("series.db")).unwrap();
        file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .unwrap()
    }

    fn damage(&self, sql: &str) {
        let file = Connection::open(self.folder.path().join("series.db")).unwrap();
        assert!(file.execute(sql, []).unwrap() > 0);
    }
}

fn bits(found: &[Sample]) -> Model {
    found
        .iter()
        .map(|sample| (sample.at.0, (sample.value.to_bits(), sample.quality)))
        .collect()
}

fn qualities() -> impl Strategy<Value = Quality> {
    prop_oneof![
        8 => Just(Quality::Good),
        1 => Just(Quality::Bad(BadCause::NoAnswer)),
        1 => Just(Quality::Uncertain(UncertainCause::Calibration)),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    /// Readings in a row of the first or second tag: from, step, how many, value.
    Append(bool, i64, i64, i64, f64, Quality),
    Commit,
    Crash,
}

fn acts() -> impl Strategy<Value = Act> {
    let append = (
        any::<bool>(),
        0i64..40,
        1i64..4,
        1i64..600,
        -3i64..9,
        qualities(),
    );
    prop_oneof![
        6 => append.prop_map(|(first, from, step, count, value, quality)| {
            Act::Append(first, from * 50, step, count, value as f64 / 10.0, quality)
        }),
        3 => Just(Act::Commit),
        1 => Just(Act::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_store_is_what_was_committed(acts in prop::collection::vec(acts(), 1..40)) {
        let tags = ["a", "b"];
        let mut store = Store::new();
        let (mut pending, mut model) = (vec![], [Model::new(), Model::new()]);
        let mut cursor = 0;
        for act in acts {
            match act {
                Act::Append(first, from, step, count, value, quality) => {
                    let which = usize::from(first);
                    for n in 0..count {
                        let at = from + n * step;
                        let value = if quality.is_bad() { f64::NAN } else { value + n as f64 };
                        store.append(tags[which], at, value, quality);
                        pending.push((which, at, value, quality));
                    }
                }
                Act::Commit => {
                    cursor += 1;
                    store.series.commit(cursor).unwrap();
                    for (which, at, value, quality) in pending.drain(..) {
                        model[which].insert(at, (value.to_bits(), quality));
                    }
                }
                Act::Crash => {
                    store = store.reopen();
                    pending.clear();
                }
            }
            prop_assert_eq!(store.series.cursor(), cursor);
            for (tag, model) in tags.iter().zip(&model) {
                let found = store.samples(tag);
                prop_assert_eq!(&found.damaged, &vec![]);
                prop_assert_eq!(found.items.len(), model.len());
                prop_assert_eq!(&bits(&found.items), model);
            }
        }
        for (tag, model) in tags.iter().zip(&model) {
            check_queries(&store, tag, model)?;
        }
    }

    #[test]
    fn what_goes_into_a_chunk_comes_out(
        readings in prop::collection::btree_map(any::<i64>(), (any::<u64>(), 0u8..27), 1..300),
        single in any::<bool>(),
    ) {
        let mut columns = Columns::default();
        for (time, (value, code)) in readings {
            let value = if single {
                f64::from(f32::from_bits(value as u32))
            } else {
                f64::from_bits(value)
            };
            columns.push(time, value, code);
        }
        round_trip(&columns)?;
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(chunk::open(&bytes).is_err());
        drop(row::chunks(&bytes));
        prop_assert!(head::read(&bytes).is_err());
    }
}

/// Buckets and last samples against the model.
fn check_queries(store: &Store, tag: &str, model: &Model) -> Result<(), TestCaseError> {
    let reader = store.series.reader().unwrap();
    for (from, to, buckets) in [(0, 4000, 7), (333, 1999, 100), (-5000, 90_000, 3)] {
        let found = reader
            .buckets(tag, Timestamp(from), Timestamp(to), buckets)
            .unwrap();
        prop_assert_eq!(found.items.len(), buckets);
        for (n, bucket) in found.items.iter().enumerate() {
            let end = found.items.get(n + 1).map_or(to, |next| next.at.0);
            let inside: Vec<_> = model.range(bucket.at.0..end).map(|(_, it)| it).collect();
            let values: Vec<_> = inside
                .iter()
                .filter(|(_, quality)| !quality.is_bad())
                .map(|(bits, _)| f64::from_bits(*bits))
                .collect();
            prop_assert_eq!(bucket.count, values.len() as u64);
            prop_assert_eq!(bucket.bad, (inside.len() - values.len()) as u64);
            let not_good: Vec<_> = Quality::all()
                .filter(|one| !one.is_good() && inside.iter().any(|(_, quality)| quality == one))
                .collect();
            prop_assert_eq!(bucket.seen.not_good().collect::<Vec<_>>(), not_good);
            if values.is_empty() {
                prop_assert!(bucket.min.is_nan() && bucket.mean.is_nan());
                continue;
            }
            prop_assert_eq!(bucket.min, values.iter().copied().fold(f64::MAX, f64::min));
            prop_assert_eq!(bucket.max, values.iter().copied().fold(f64::MIN, f64::max));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            prop_assert!((bucket.mean - mean).abs() < 1e-9);
        }
    }
    for at in (-100..4200).step_by(97) {
        let expected = model.range(..=at).next_back().map(|(time, _)| *time);
        let found = reader.at(tag, Timestamp(at)).unwrap().items;
        prop_assert_eq!(found.first().map(|sample| sample.at.0), expected);
        prop_assert!(
            bits(&found)
                .iter()
                .all(|(time, it)| model.get(time) == Some(it))
        );
    }
    Ok(())
}

fn round_trip(columns: &Columns) -> Result<(), TestCaseError> {
    let bytes = chunk::encode(columns).unwrap();
    let back = chunk::open(&bytes).unwrap().decode().unwrap();
    prop_assert_eq!(&back.times, &columns.times);
    prop_assert_eq!(&back.codes, &columns.codes);
    let bits = |all: &[f64]| all.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    prop_assert_eq!(bits(&back.values), bits(&columns.values));
    Ok(())
}

#[test]
fn hostile_values_come_out_bit_for_bit() {
    let hostile = [
        -0.0,
        0.0,
        0.1,
        f64::from(0.1f32),
        f64::MIN_POSITIVE / 3.0,
        f64::from(f32::MIN_POSITIVE) / 3.0,
        f64::MAX,
        f64::MIN,
        f64::INFINITY,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        2_147_483_648.0,
        -2_147_483_649.0,
        9_007_199_254_740_993.0,
        123_456.789,
    ];
    for first in hostile {
        for second in hostile {
            let mut columns = Columns::default();
            for n in 0..300 {
                let value = if n % 3 == 0 { first } else { second };
                columns.push(n * 1000 + n % 5, value, (n % 2) as u8);
            }
            round_trip(&columns).unwrap();
        }
    }
}

#[test]
fn times_with_gaps_and_drift_come_out() {
    for drift in [0, 1, 7, 500] {
        let mut columns = Columns::default();
        for n in 0..2000i64 {
            let gap = n / 300 * 86_400_000;
            columns.push(gap + n * 1000 + n * drift / 10 + n % 7 - 3, 20.5, 0);
        }
        round_trip(&columns).unwrap();
    }
}

#[test]
fn what_was_not_committed_is_what_the_cursor_says() {
    let mut store = Store::new();
    store.fill(0, 300);
    store.series.commit(7).unwrap();
    store.fill(300_000, 300);
    let store = store.reopen();
    assert_eq!(store.series.cursor(), 7);
    assert_eq!(store.samples(TAG).items.len(), 300);
}

#[test]
fn the_cursor_never_goes_back() {
    let mut store = Store::new();
    store.series.commit(7).unwrap();
    assert!(matches!(
        store.series.commit(6),
        Err(SeriesError::CursorBack {
            found: 6,
            stored: 7
        })
    ));
}

#[test]
fn durable_follows_the_cursor_at_a_checkpoint() {
    let mut store = Store::new();
    store.fill(0, 10);
    store.series.commit(3).unwrap();
    assert_eq!(store.series.durable(), 0);
    assert!(store.series.checkpoint().unwrap());
    assert_eq!(store.series.durable(), 3);
}

#[test]
fn a_slow_point_does_not_keep_the_log_growing() {
    let mut store = Store::new();
    store.append("slow", 0, 1.5, Quality::Good);
    for batch in 0..1500 {
        store.fill(batch * 100_000, 100);
        store.series.commit(batch as u64 + 1).unwrap();
    }
    // 150,000 readings went through; the log holds its slack, some 656 rows of 100.
    let rows = store.count("head_log");
    assert!(rows < 800, "{rows} rows in the log");
    let store = store.reopen();
    assert_eq!(store.samples("slow").items.len(), 1);
    assert_eq!(store.samples(TAG).items.len(), 150_000);
    assert!(store.count("blocks") >= 8, "merged on the way");
}

#[test]
fn long_spans_answer_as_short_ones_do() {
    let mut store = Store::new();
    store.fill(0, 40_000);
    store.series.commit(1).unwrap();
    store.series.commit(2).unwrap();
    store.fill(40_000_000, 100);
    store.series.commit(3).unwrap();
    assert!(store.count("blocks") > 0);
    let reader = store.series.reader().unwrap();
    let ask = |buckets| {
        reader
            .buckets(TAG, Timestamp(0), Timestamp(41_000_000), buckets)
            .unwrap()
            .items
    };
    let (one, many) = (ask(1), ask(9_999));
    assert_eq!(one[0].count, 40_100);
    assert_eq!(
        one[0].count,
        many.iter().map(|bucket| bucket.count).sum::<u64>()
    );
    assert_eq!((one[0].min, one[0].max), (0.0, 0.6));
    assert_eq!(many.last().unwrap().count, 0, "a gap is a gap");
}

#[test]
fn a_limit_takes_the_first() {
    let mut store = Store::new();
    store.fill(0, 20_000);
    store.series.commit(1).unwrap();
    let reader = store.series.reader().unwrap();
    let found = reader
        .range(TAG, Timestamp(5_000), Timestamp(i64::MAX), 3)
        .unwrap();
    let times: Vec<_> = found.items.iter().map(|sample| sample.at.0).collect();
    assert_eq!(times, [5_000, 6_000, 7_000]);
}

#[test]
fn a_damaged_block_is_named_and_the_rest_is_served() {
    let mut store = Store::new();
    for part in 0..3 {
        store.fill(part * 1_000_000, 300);
        store.series.commit(part as u64 + 1).unwrap();
    }
    store.damage(
        "UPDATE recent SET data = CAST(substr(data, 1, 90) || x'ff' || substr(data, 92) AS BLOB)
         WHERE first = 1000000",
    );
    let found = store.samples(TAG);
    assert_eq!(found.items.len(), 600);
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(
        found.damaged[0].to_string(),
        "series of `TF1.GT-101`: block from 1000000 ms to 1299000 ms is damaged: \
         checksum does not match"
    );
    // A merge keeps it, and goes on.
    store.fill(3_000_000, 20_000);
    store.series.commit(4).unwrap();
    store.series.commit(5).unwrap();
    assert_eq!((store.count("recent"), store.series.damaged()), (0, 1));
    let found = store.samples(TAG);
    assert_eq!((found.items.len(), found.damaged.len()), (20_600, 1));
}

#[test]
fn old_rows_go_and_the_rest_stays() {
    let mut store = Store::new();
    for part in 0..6 {
        store.fill(part * 20_000_000, 20_000);
        store.series.commit(part as u64 * 2 + 1).unwrap();
        store.series.commit(part as u64 * 2 + 2).unwrap();
    }
    store.append("kept", 0, 1.0, Quality::Good);
    store.series.commit(99).unwrap();
    let limit = Timestamp(60_000_000);
    let before = |tag: &str| (tag == TAG).then_some(limit);
    let pruned = store.series.prune(before).unwrap();
    assert_eq!((pruned.readings, pruned.done), (60_000, true));
    let found = store.samples(TAG).items;
    assert_eq!(found.len(), 60_000);
    assert!(found.iter().all(|sample| sample.at >= limit));
    assert_eq!(store.samples("kept").items.len(), 1);
}

#[test]
fn too_many_buckets_are_refused() {
    let reader = Store::new().series.reader().unwrap();
    for buckets in [0, BUCKETS_MAX + 1] {
        let answer = reader.buckets(TAG, Timestamp(0), Timestamp(1), buckets);
        assert!(matches!(answer, Err(SeriesError::Query { .. })));
    }
}

#[test]
fn pruning_is_bounded_a_call_and_goes_on_where_it_ended() {
    let mut store = Store::new();
    for point in 0..5 {
        for block in 0..60 {
            let tag = format!("P{point}");
            for at in block * 256..(block + 1) * 256 {
                store.append(&tag, at, 1.0, Quality::Good);
            }
            store.series.commit(store.series.cursor() + 1).unwrap();
        }
    }
    let all = |_: &str| Some(Timestamp(i64::MAX));
    let (mut rows, mut calls) = (0, 0);
    loop {
        let pruned = store.series.prune(all).unwrap();
        assert!(pruned.readings <= 256 * 256);
        rows += pruned.readings;
        calls += 1;
        if pruned.done {
            break;
        }
    }
    assert_eq!(rows, 5 * 60 * 256);
    assert_eq!(calls, 2, "300 rows of 256 readings");
    for point in 0..5 {
        assert!(store.samples(&format!("P{point}")).items.is_empty());
    }
}
