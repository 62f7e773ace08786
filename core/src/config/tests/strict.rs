//! A site's own limit in the place of each fixed one of the standards that ship with Davy: equal it
//! is taken, and weaker in any one of its terms it is refused.

use super::*;
use crate::config::duration;

/// One limit of a preset, as written there, and the point that takes it.
struct Fixed {
    tag: String,
    limit: toml::Table,
}

impl Fixed {
    fn text(&self, key: &str) -> &str {
        self.limit[key].as_str().unwrap()
    }

    fn number(&self, key: &str) -> f64 {
        self.limit[key].as_float().unwrap()
    }

    fn is_high(&self) -> bool {
        !matches!(self.text("setpoint"), "l" | "ll")
    }

    /// A little to the side where the process is worse.
    fn worse(&self, value: f64) -> f64 {
        value + if self.is_high() { 0.01 } else { -0.01 }
    }

    fn duration(&self, key: &str, change: impl Fn(Duration) -> Duration) -> toml::Value {
        let duration = duration::parse(self.text(key)).unwrap();
        duration::write(change(duration)).into()
    }

    /// The site's own limit, equal to it but for one term; none when that can be no weaker.
    fn weakened(&self, term: &str) -> Option<toml::Table> {
        let mut own = self.limit.clone();
        own.remove("fixed");
        own.insert("point".into(), self.tag.clone().into());
        let second = Duration::from_secs(1);
        let weaker: toml::Value = match term {
            "limit" => self.worse(self.number("limit")).into(),
            "reset" => {
                let own_reset = own.remove("reset").and_then(|reset| reset.as_float());
                let reset = own_reset.unwrap_or_else(|| {
                    let deadband = own.remove("deadband").unwrap().as_float().unwrap();
                    self.number("limit") - if self.is_high() { deadband } else { -deadband }
                });
                self.worse(reset).into()
            }
            "on_delay" => self.duration(term, |delay| delay + second),
            "off_delay" => self.duration(term, |delay| delay.saturating_sub(second)),
            "latch" => self.limit[term].as_bool()?.then_some(false)?.into(),
            "shelvable" => (!self.limit[term].as_bool()?).then_some(true)?.into(),
            "priority" => (self.limit[term].as_integer()? + 1).into(),
            _ => return Some(own),
        };
        own.insert(term.into(), weaker);
        Some(own)
    }
}

/// A point for each preset, and the fixed limits.
fn all() -> (Vec<SourceFile>, Vec<Fixed>) {
    let (files, presets) = site_of_all_presets();
    let mut fixed = Vec::new();
    for (tag, preset) in presets {
        for limit in preset["limit"].as_array().unwrap() {
            let limit = limit.as_table().unwrap().clone();
            if limit["fixed"].as_bool().unwrap() {
                let tag = tag.clone();
                fixed.push(Fixed { tag, limit });
            }
        }
    }
    (files, fixed)
}

/// The faults of a site with these limits of its own.
fn faults(files: &[SourceFile], own: Vec<toml::Table>) -> Vec<Fault> {
    let mut files = files.to_vec();
    let list: toml::Table = [("limit".to_owned(), toml::Value::from(own))]
        .into_iter()
        .collect();
    files[0].text += &toml::to_string(&list).unwrap();
    check(&files).err().unwrap_or_default()
}

#[test]
fn a_limit_of_a_standard_cannot_be_weakened_in_any_term() {
    let (mut files, fixed) = all();
    let (main, own) = files[0].text.split_once("[[limit]]").unwrap();
    assert!(
        own.contains("rationalisation"),
        "the last table is its own limit"
    );
    files[0].text = main.to_owned();
    assert!(fixed.len() > 80, "{}", fixed.len());
    let equal = fixed.iter().filter_map(|limit| limit.weakened("nothing"));
    assert_eq!(faults(&files, equal.collect()), []);
    for term in [
        "limit",
        "reset",
        "on_delay",
        "off_delay",
        "latch",
        "priority",
        "shelvable",
    ] {
        let weakened = |limit: &Fixed| limit.weakened(term);
        let found = faults(&files, fixed.iter().filter_map(weakened).collect());
        let mut tried = 0;
        for limit in fixed.iter().filter(|limit| weakened(limit).is_some()) {
            let what = format!("point `{}`, {}, {term}", limit.tag, limit.text("setpoint"));
            let source = limit.limit["figure_source"]["en"].as_str().unwrap();
            let is_told = found
                .iter()
                .any(|fault| fault.what == what && fault.allowed.ends_with(&format!("({source})")));
            assert!(is_told, "{what} may be weakened");
            tried += 1;
        }
        assert!(tried > 30, "only {tried} of {term}");
    }
}

#[test]
fn what_a_standard_leaves_to_the_site_may_be_changed() {
    let (files, presets) = site_of_all_presets();
    let free = presets.iter().flat_map(|(tag, preset)| {
        let limits = preset["limit"].as_array().unwrap().iter();
        let free = limits.filter(|limit| limit["fixed"].as_bool() == Some(false));
        free.map(|limit| Fixed {
            tag: tag.clone(),
            limit: limit.as_table().unwrap().clone(),
        })
    });
    let own: Vec<_> = free.filter_map(|limit| limit.weakened("limit")).collect();
    assert!(!own.is_empty());
    assert_eq!(faults(&files, own), []);
}
