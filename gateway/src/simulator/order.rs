//! Faults by a line of text: `leak TF.CL2-T2 0.6`, `silent tank-farm/nh3-gas`, `clear …`.
//!
//! Pure: a line in, an [`Order`] or the reason why it is none out. Units are written
//! `gateway/device`, points and equipment by their name.

use std::time::Duration;

use davy_core::config::parse_duration;
use thiserror::Error;

use super::fault::{Fault, Target};

/// What may be typed, one a line.
pub const HELP: &str = "\
silent GATEWAY/UNIT            no answer
late GATEWAY/UNIT 2s           the right answer, too late
exception GATEWAY/UNIT 4       a Modbus exception to everything
garbage GATEWAY/UNIT           bytes that are no frame
wrong-id GATEWAY/UNIT          the answer under another transaction id
cut GATEWAY/UNIT               half an answer, then the end
stuck TAG                      the value stays
broken-wire TAG                0 mA
short TAG                      22.5 mA
calibrate TAG 2.0              test gas that reads so much, with the calibration bit
leak TF.CL2-T2 0.6             g/s out of a tank; about 0.3 is level 1 near by, 0.6 level 2
overfill TF.CL2-T2             a tank
trip R101.P-03                 cooling pump; also R101.M-01, M1501.main_fan1, M1501.heading.fan1
clear GATEWAY/UNIT|TAG|EQUIPMENT
help";

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// A fault begins.
    Inject(Target, Fault),
    /// Every fault of what bears this name ends.
    Clear(Vec<Target>),
    /// Say what may be typed.
    Help,
}

/// Why a line is no order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The first word.
    #[error("`{found}` is no order; `help` lists them")]
    Verb {
        /// As typed.
        found: String,
    },
    /// The name.
    #[error("`{verb}` needs {needed}; found `{found}`")]
    Name {
        /// The order.
        verb: String,
        /// What is needed.
        needed: &'static str,
        /// As typed.
        found: String,
    },
    /// The figure.
    #[error("`{verb}` needs {needed} behind the name; found `{found}`")]
    Figure {
        /// The order.
        verb: String,
        /// What is needed.
        needed: &'static str,
        /// As typed.
        found: String,
    },
}

/// Reads a line; none for an empty one.
pub fn parse(line: &str) -> Result<Option<Order>, OrderError> {
    let mut words = line.split_whitespace();
    let Some(verb) = words.next() else {
        return Ok(None);
    };
    let name = words.next().unwrap_or_default();
    let figure = words.next().unwrap_or_default();
    let order = match verb {
        "help" => Order::Help,
        "clear" => Order::Clear(named(name)?),
        _ => {
            let fault = fault(verb, figure)?;
            let target = target(verb, name, &fault)?;
            Order::Inject(target, fault)
        }
    };
    Ok(Some(order))
}

fn fault(verb: &str, figure: &str) -> Result<Fault, OrderError> {
    let wrong = |needed| OrderError::Figure {
        verb: verb.to_owned(),
        needed,
        found: figure.to_owned(),
    };
    let number = |needed| {
        let number = figure.parse::<f64>().ok();
        number
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| wrong(needed))
    };
    Ok(match verb {
        "silent" => Fault::SilentUnit,
        "late" => Fault::LateReply {
            by: parse_duration(figure)
                .filter(|by| *by <= Duration::from_mins(1))
                .ok_or_else(|| wrong("a time up to `60s`"))?,
        },
        "exception" => Fault::Exception {
            code: figure
                .parse()
                .map_err(|_| wrong("an exception code, 1 to 255"))?,
        },
        "garbage" => Fault::Garbage,
        "wrong-id" => Fault::WrongTransactionId,
        "cut" => Fault::CutMidFrame,
        "stuck" => Fault::StuckValue,
        "broken-wire" => Fault::BrokenWire,
        "short" => Fault::ShortCircuit,
        "calibrate" => Fault::CalibrationGas {
            peak: number("what the gas reads, above 0")?,
        },
        "leak" => Fault::Leak {
            grams_per_s: number("grams a second, above 0")?,
        },
        "overfill" => Fault::Overfill,
        "trip" => Fault::Trip,
        _ => {
            return Err(OrderError::Verb {
                found: verb.to_owned(),
            });
        }
    })
}

fn target(verb: &str, name: &str, fault: &Fault) -> Result<Target, OrderError> {
    let candidates = named(name).unwrap_or_default();
    candidates
        .into_iter()
        .find(|target| fault.suits(target))
        .ok_or_else(|| OrderError::Name {
            verb: verb.to_owned(),
            needed: "the name of what it happens to, a unit as `gateway/unit`",
            found: name.to_owned(),
        })
}

/// Everything that may bear a name: a unit has a slash in it, points and equipment have none.
fn named(name: &str) -> Result<Vec<Target>, OrderError> {
    match name.split_once('/') {
        Some((gateway, device)) => Ok(vec![Target::unit(gateway, device)]),
        None if name.is_empty() => Err(OrderError::Name {
            verb: "clear".to_owned(),
            needed: "the name of a unit, a point or a piece of equipment",
            found: String::new(),
        }),
        None => Ok(vec![Target::point(name), Target::equipment(name)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_help_is_an_order() {
        for line in HELP.lines() {
            let typed = line.split("  ").next().unwrap_or_default();
            let typed = typed.split('|').next().unwrap_or_default();
            assert!(matches!(parse(typed), Ok(Some(_))), "{line}");
        }
    }

    #[test]
    fn an_order_names_its_target_by_what_the_fault_happens_to() {
        let leak = parse("leak TF.CL2-T2 0.6");
        let expected = Order::Inject(
            Target::equipment("TF.CL2-T2"),
            Fault::Leak { grams_per_s: 0.6 },
        );
        assert_eq!(leak, Ok(Some(expected)));
        let silent = parse("  silent  tank-farm/nh3-gas ");
        let expected = Order::Inject(Target::unit("tank-farm", "nh3-gas"), Fault::SilentUnit);
        assert_eq!(silent, Ok(Some(expected)));
    }

    #[test]
    fn what_is_no_order_says_why() {
        for (line, why) in [
            ("explode x", "`explode` is no order"),
            ("leak T1", "`leak` needs grams a second, above 0"),
            ("leak T1 -1", "found `-1`"),
            ("late a/b 5h", "a time up to `60s`"),
            ("silent tank-farm", "a unit as `gateway/unit`"),
            ("clear", "the name of a unit"),
        ] {
            let error = parse(line).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains(why)), "{line}");
        }
        assert_eq!(parse(" "), Ok(None));
    }
}
