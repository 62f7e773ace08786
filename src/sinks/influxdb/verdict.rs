//! What follows from the server's answer to a write.

use serde::Deserialize;

use super::super::follow::Cause;

/// Bytes of an answer that are kept and shown.
const WHY_BYTES_MAX: usize = 300;

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it is stored.
    Stored,
    /// The server stored what it could and dropped the rest for good.
    Partly {
        /// How many lines it says it dropped.
        dropped: u64,
        /// Its words.
        why: String,
    },
    /// Lines in it are at fault; none of it is stored.
    Faulty {
        /// The server's words.
        why: String,
    },
    /// Nothing is known to be stored: keep all of it.
    Later {
        /// Who can help.
        cause: Cause,
        /// What happened.
        why: String,
    },
}

/// The form in which InfluxDB says what is wrong. Anything else between may answer 400 as well (a
/// proxy, another server), and that says nothing about the lines.
#[derive(Deserialize)]
struct Complaint {
    code: String,
    message: String,
}

/// The verdict of an answer that is not 204.
pub(super) fn of_answer(status: u16, text: &str) -> Verdict {
    let complaint = serde_json::from_str::<Complaint>(text).ok();
    let in_its_words = complaint.as_ref().map(|said| said.code.as_str());
    let words = complaint.as_ref().map_or(text, |said| &said.message);
    let why = format!("InfluxDB answers {status}: {}", shortened(words));
    match (status, in_its_words) {
        (422, Some("unprocessable entity")) if words.contains("partial write") => Verdict::Partly {
            dropped: dropped(words),
            why,
        },
        (400, Some("invalid")) | (422, Some("unprocessable entity")) | (413, Some(_)) => {
            Verdict::Faulty { why }
        }
        (408 | 429 | 500..=599, _) => Verdict::Later {
            cause: Cause::Passing,
            why,
        },
        _ => Verdict::Later {
            cause: Cause::Person,
            why,
        },
    }
}

/// The number after `dropped=`; 1 when there is none, for something was dropped.
fn dropped(words: &str) -> u64 {
    let digits = words.split_once("dropped=").map_or("", |(_, after)| after);
    let end = digits.find(|digit: char| !digit.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().unwrap_or(1)
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(WHY_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, text: &str, expected: &str) {
        let found = match of_answer(status, text) {
            Verdict::Stored => "stored".to_owned(),
            Verdict::Partly { dropped, .. } => format!("dropped {dropped}"),
            Verdict::Faulty { .. } => "faulty".to_owned(),
            Verdict::Later { cause, .. } => format!("{cause:?}"),
        };
        assert_eq!(found, expected, "{status} {text}");
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let invalid = r#"{"code":"invalid","message":"unable to parse 'x': missing fields"}"#;
        let partial = r#"{"code":"unprocessable entity",
            "message":"failure writing points to database: partial write: field type conflict dropped=7"}"#;
        let mute = r#"{"code":"unprocessable entity","message":"partial write"}"#;
        check(400, invalid, "faulty");
        check(422, partial, "dropped 7");
        check(422, mute, "dropped 1");
        check(
            413,
            r#"{"code":"request too large","message":""}"#,
            "faulty",
        );
        for status in [408, 429, 500, 502, 503, 504] {
            check(status, "", "Passing");
        }
        for status in [200, 301, 401, 403, 404, 413] {
            check(status, "", "Person");
        }
        // Whoever answers so is not InfluxDB: nothing is thrown away on its word.
        check(400, "<html>Bad Request</html>", "Person");
        check(422, "no", "Person");
    }
}
