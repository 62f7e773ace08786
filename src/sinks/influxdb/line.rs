//! A reading as a line of InfluxDB's line protocol.

use std::fmt::Write as _;

use davy_core::point::Point;
use davy_core::reading::{Lane, Reading};

/// The measurement of every reading.
const MEASUREMENT: &str = "reading";

/// Most bytes of a line beside its head: a value of 24 characters, a time of 20, the words.
pub(super) const BYTES_MAX: usize = 128;

/// Measurement and tags of a point, in the order of their names as the server likes it.
pub(super) fn head(point: &Point) -> String {
    let mut head = MEASUREMENT.to_owned();
    let source = point.source.as_deref().unwrap_or_default();
    let tags = [
        ("gateway", point.gateway.as_str()),
        ("kind", &point.kind),
        ("source", source),
        ("tag", &point.tag),
    ];
    for (key, value) in tags {
        // A tag without a value is a fault of the line.
        if !value.is_empty() {
            head.push(',');
            head.push_str(key);
            head.push('=');
            escape(&mut head, value);
        }
    }
    head
}

/// Commas, equals signs and spaces are escaped; a line break would end the line, so it becomes a
/// space. A backslash is one only before those three or at the end, where it would escape what
/// follows: there it is written as a slash.
fn escape(out: &mut String, value: &str) {
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ',' | '=' | ' ' => out.extend(['\\', character]),
            character if character.is_control() => out.push_str("\\ "),
            '\\' => {
                let next = characters.peek();
                let ends = next
                    .is_none_or(|next| matches!(next, ',' | '=' | ' ' | '\\') || next.is_control());
                out.push(if ends { '/' } else { '\\' });
            }
            _ => out.push(character),
        }
    }
}

/// Appends one line. A value that is no number is left out: the quality says why.
pub(super) fn write(out: &mut String, head: &str, reading: &Reading, lane: Lane) {
    out.push_str(head);
    out.push(' ');
    let lane = match lane {
        Lane::Live => "live",
        Lane::Historical => "historical",
    };
    let (code, at) = (reading.quality.code(), reading.sampled_at.0);
    // Writing to a string cannot fail.
    if reading.value.is_finite() {
        write!(out, "value={:?},", reading.value).unwrap_or_default();
    }
    writeln!(out, "quality={code}i,lane=\"{lane}\" {at}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use davy_core::reading::{BadCause, PointId, Quality, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn line(value: f64, quality: Quality) -> String {
        let mut out = String::new();
        let reading = Reading::new(PointId(0), value, quality, Timestamp(5));
        write(&mut out, "reading,tag=T", &reading, Lane::Live);
        out
    }

    #[test]
    fn a_value_is_a_float_and_none_is_left_out() {
        let good = |value| line(value, Quality::Good);
        assert_eq!(
            good(1.5),
            "reading,tag=T value=1.5,quality=0i,lane=\"live\" 5\n"
        );
        assert_eq!(
            good(2.0),
            "reading,tag=T value=2.0,quality=0i,lane=\"live\" 5\n"
        );
        assert_eq!(
            good(1e300),
            "reading,tag=T value=1e300,quality=0i,lane=\"live\" 5\n"
        );
        let none = line(f64::NAN, Quality::Bad(BadCause::NoAnswer));
        assert_eq!(none, "reading,tag=T quality=20i,lane=\"live\" 5\n");
    }

    #[test]
    fn what_would_end_a_tag_is_escaped() {
        let escaped = |value| {
            let mut out = String::new();
            escape(&mut out, value);
            out
        };
        assert_eq!(escaped("a b,c=d"), "a\\ b\\,c\\=d");
        assert_eq!(escaped("罐区.GT-101"), "罐区.GT-101");
        assert_eq!(escaped("a\nb"), "a\\ b");
        assert_eq!(escaped("a\\"), "a/");
        assert_eq!(escaped("a\\ b"), "a/\\ b");
        assert_eq!(escaped("a\\b"), "a\\b");
    }

    proptest! {
        #[test]
        fn no_name_breaks_a_line(name in "\\PC*|[a\\\\ ,=\n\"]*") {
            let mut out = String::new();
            escape(&mut out, &name);
            let mut escaped = false;
            for character in out.chars() {
                prop_assert!(character != '\n');
                prop_assert!(escaped || !matches!(character, ',' | '=' | ' '), "{out}");
                escaped = character == '\\' && !escaped;
            }
            prop_assert!(!out.ends_with('\\'));
        }

        #[test]
        fn a_line_is_no_longer_than_said(bits in any::<u64>(), at in any::<i64>()) {
            let mut out = String::new();
            let reading = Reading::new(
                PointId(0), f64::from_bits(bits), Quality::Good, Timestamp(at),
            );
            write(&mut out, "", &reading, Lane::Historical);
            prop_assert!(out.len() <= BYTES_MAX);
        }
    }
}
