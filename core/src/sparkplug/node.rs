//! Node commands and node data: rebirth, committed, resend; stored, lost, backlog.
//!
//! Path: the centre says by NCMD what it has committed (the gateway frees it), what it asks for
//! again, and when it needs new births. The gateway says by NDATA what its outbox keeps and has
//! lost, and sends its backlog as compressed bundles.
//!
//! Invariants: a command that is not known is counted and has no effect; none can make the reader
//! fail but one whose bytes or JSON are broken. Limits: [`RUNS_MAX`] runs with [`RANGES_MAX`]
//! ranges each.

use serde::{Deserialize, Serialize};

use super::birth::{count, number_metric, own_metric, pack_payload, read_stored, unpack_payload};
use super::names;
use super::payload::{DataType, Metric, MetricValue};
use super::walk::NUMBER_MAX;
use super::wire::WireError;
use crate::delivery::{RANGES_MAX, RUNS_MAX, Ranges, Stored};
use crate::reading::Timestamp;

/// Messages of one run: `{"run":1,"ranges":[[first,last],…]}`, ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRanges {
    /// The run.
    pub run: u64,
    /// Its messages.
    pub ranges: Ranges,
}

/// The same as it came: nothing about it is known yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRunRanges {
    run: u64,
    ranges: Vec<(u64, u64)>,
}

/// What a host asks of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send all births again.
    Rebirth,
    /// These are committed: free them.
    Committed(Vec<RunRanges>),
    /// These are missing: send them again if they are still stored.
    Resend(Vec<RunRanges>),
}

/// Commands of one message, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Those that Davy's gateway knows.
    pub known: Vec<Command>,
    /// How many it does not know.
    pub unknown: usize,
    /// The outbox that they are for: another one must free nothing by them.
    pub instance: Option<String>,
}

/// What a gateway says of itself between births.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeData {
    /// What the outbox still keeps.
    pub stored: Option<Vec<Stored>>,
    /// Messages that the outbox had to give up, in all.
    pub lost: Option<u64>,
    /// What was asked for again and is not kept any more.
    pub gone: Option<Vec<RunRanges>>,
    /// A compressed bundle of stored messages (zstd over `BundleWriter`'s bytes).
    pub backlog: Option<Vec<u8>>,
}

/// NCMD. It has no `seq`. `instance` is the outbox whose numbers the commands speak of.
pub fn build_commands(at: Timestamp, instance: Option<&str>, commands: &[Command]) -> Vec<u8> {
    let instance = instance.map(|instance| {
        let value = Some(MetricValue::Text(instance.to_owned()));
        own_metric(names::INSTANCE, at, DataType::String, value)
    });
    let metrics = commands.iter().map(|command| {
        let (name, runs) = match command {
            Command::Rebirth => {
                let value = Some(MetricValue::Boolean(true));
                return own_metric(names::REBIRTH, at, DataType::Boolean, value);
            }
            Command::Committed(runs) => (names::COMMITTED, runs),
            Command::Resend(runs) => (names::RESEND, runs),
        };
        let text = serde_json::to_string(runs).unwrap_or_default();
        own_metric(name, at, DataType::String, Some(MetricValue::Text(text)))
    });
    pack_payload(at, None, instance.into_iter().chain(metrics).collect())
}

/// Reads NCMD of any host.
pub fn read_commands(bytes: &[u8]) -> Result<Commands, WireError> {
    let payload = unpack_payload("command", bytes)?;
    let mut commands = Commands::default();
    for metric in &payload.metrics {
        if let (Some(names::INSTANCE), Some(MetricValue::Text(text))) =
            (metric.name.as_deref(), &metric.value)
        {
            commands.instance = Some(text.clone());
            continue;
        }
        match read_command(metric)? {
            Some(command) => commands.known.push(command),
            None => commands.unknown += 1,
        }
    }
    Ok(commands)
}

fn read_command(metric: &Metric) -> Result<Option<Command>, WireError> {
    let command = match (metric.name.as_deref(), &metric.value) {
        (Some(names::REBIRTH), Some(MetricValue::Boolean(true))) => Command::Rebirth,
        (Some(names::COMMITTED), Some(MetricValue::Text(text))) => {
            Command::Committed(read_runs(names::COMMITTED, text)?)
        }
        (Some(names::RESEND), Some(MetricValue::Text(text))) => {
            Command::Resend(read_runs(names::RESEND, text)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(command))
}

/// Ranges come from outside: they are put in order and joined, and refused when they are none.
fn read_runs(what: &'static str, text: &str) -> Result<Vec<RunRanges>, WireError> {
    let json = |reason: String| WireError::Json { what, reason };
    let raw: Vec<RawRunRanges> =
        serde_json::from_str(text).map_err(|error| json(error.to_string()))?;
    if raw.len() > RUNS_MAX {
        let found = raw.len();
        return Err(json(format!("{found} runs; at most {RUNS_MAX} allowed")));
    }
    raw.into_iter()
        .map(|RawRunRanges { run, ranges: raw }| {
            if raw.len() > RANGES_MAX {
                let found = raw.len();
                return Err(json(format!(
                    "run {run} has {found} ranges; at most {RANGES_MAX} allowed"
                )));
            }
            let mut ranges = Ranges::default();
            for (first, last) in raw {
                if first == 0 || first > last || last > NUMBER_MAX {
                    return Err(json(format!(
                        "run {run} has {first} to {last}; allowed are ranges from 1 upwards"
                    )));
                }
                ranges.insert_range(first, last);
            }
            Ok(RunRanges { run, ranges })
        })
        .collect()
}

/// NDATA: what is given, by name. A backlog is marked historical.
pub fn build_node_data(at: Timestamp, seq: u8, data: &NodeData) -> Vec<u8> {
    let mut metrics = Vec::new();
    if let Some(stored) = &data.stored {
        let text = serde_json::to_string(stored).unwrap_or_default();
        let value = Some(MetricValue::Text(text));
        metrics.push(own_metric(names::STORED, at, DataType::String, value));
    }
    if let Some(lost) = data.lost {
        metrics.push(number_metric(names::LOST, at, lost));
    }
    if let Some(gone) = &data.gone {
        let text = serde_json::to_string(gone).unwrap_or_default();
        let value = Some(MetricValue::Text(text));
        metrics.push(own_metric(names::GONE, at, DataType::String, value));
    }
    if let Some(backlog) = &data.backlog {
        let value = Some(MetricValue::Bytes(backlog.clone()));
        let mut metric = own_metric(names::BACKLOG, at, DataType::Bytes, value);
        metric.is_historical = Some(true);
        metrics.push(metric);
    }
    pack_payload(at, Some(seq), metrics)
}

/// Reads what Davy's gateway says of itself; other metrics in the message are passed over.
pub fn read_node_data(bytes: &[u8]) -> Result<NodeData, WireError> {
    let payload = unpack_payload("node data", bytes)?;
    let mut data = NodeData::default();
    for metric in payload.metrics {
        match (metric.name.as_deref(), metric.value) {
            (Some(names::STORED), Some(MetricValue::Text(text))) => {
                data.stored = Some(read_stored(&text)?);
            }
            (Some(names::LOST), value) => data.lost = count(names::LOST, value.as_ref())?,
            (Some(names::GONE), Some(MetricValue::Text(text))) => {
                data.gone = Some(read_runs(names::GONE, &text)?);
            }
            (Some(names::BACKLOG), Some(MetricValue::Bytes(bytes))) => data.backlog = Some(bytes),
            _ => {}
        }
    }
    Ok(data)
}
