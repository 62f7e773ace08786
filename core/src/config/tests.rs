//! A good configuration, ways to spoil it with the faults that each must give, the standards that
//! ship with Davy, and texts at random.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

mod strict;

use super::*;
use crate::alarm::{Condition, Setpoint, Subject, SystemCondition};
use crate::point::{ByteOrder, Encoding, RawEnds, Scaling};
use crate::reading::PointId;

const NAMES: [&str; 3] = ["site.toml", "points.csv", "standards.toml"];

const STANDARDS: [(&str, &str); 5] = [
    (
        "gas.toml",
        include_str!("../../../config/standards/gas.toml"),
    ),
    (
        "mine.toml",
        include_str!("../../../config/standards/mine.toml"),
    ),
    (
        "system.toml",
        include_str!("../../../config/standards/system.toml"),
    ),
    (
        "warning.toml",
        include_str!("../../../config/standards/warning.toml"),
    ),
    (
        "ledger.toml",
        include_str!("../../../config/standards/ledger.toml"),
    ),
];

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/config/testdata")
        .join(name)
}

fn good() -> Vec<SourceFile> {
    NAMES
        .iter()
        .map(|name| SourceFile {
            name: (*name).to_owned(),
            text: fs::read_to_string(testdata("good").join(name)).unwrap(),
        })
        .collect()
}

/// Lines that begin with `-` are taken out of the file named above them, lines with `+` put in
/// their place.
fn spoil(files: &mut [SourceFile], edits: &str) {
    let mut file = 0;
    let (mut old, mut new) = (String::new(), String::new());
    let mut lines = edits.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix('-') {
            old = format!("{old}{text}\n");
        } else if let Some(text) = line.strip_prefix('+') {
            new = format!("{new}{text}\n");
        } else {
            file = NAMES.iter().position(|name| *name == line).unwrap();
        }
        let over = lines.peek().is_none_or(|next| !next.starts_with('+'));
        if !new.is_empty() && over {
            let text = &mut files[file].text;
            assert!(text.contains(old.trim_end()), "no such text: {old}");
            *text = text.replacen(old.trim_end(), new.trim_end(), 1);
            (old, new) = (String::new(), String::new());
        }
    }
    assert!(old.is_empty(), "nothing in place of: {old}");
}

/// Each folder of `testdata/cases` says in its name what is wrong, in `edit.txt` how the good
/// configuration is spoilt, and in `expected.txt` which faults that gives.
/// `DAVY_ACCEPT=1` writes the latter anew; read the difference before committing it.
#[test]
fn each_way_to_be_wrong_gives_its_faults() {
    let mut cases = 0;
    for case in fs::read_dir(testdata("cases")).unwrap() {
        let folder = case.unwrap().path();
        let mut files = good();
        spoil(
            &mut files,
            &fs::read_to_string(folder.join("edit.txt")).unwrap(),
        );
        let faults = check(&files).expect_err(&format!("{} must be refused", folder.display()));
        let found: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let found = found.join("\n") + "\n";
        let expected = folder.join("expected.txt");
        if std::env::var_os("DAVY_ACCEPT").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        assert_eq!(found, expected, "{}", folder.display());
        cases += 1;
    }
    assert!(cases >= 20, "only {cases} cases found");
}

#[test]
fn a_good_configuration_is_what_it_says() {
    let config = check(&good()).unwrap();
    assert_eq!(config.group, "works");
    assert_eq!(
        config.gateways[0].buses[0].timeout,
        Duration::from_millis(300)
    );
    assert_eq!(config.gateways[0].annunciator.as_ref().unwrap().unit, 9);
    assert_eq!(config.sources[0].level, Some(2));
    assert_eq!(config.sources[1].level, None);
    let gas = &config.points[0];
    assert_eq!(
        (gas.tag.as_str(), gas.period),
        ("TF.gas", Duration::from_secs(1))
    );
    let loop_of = RawEnds {
        low: 0.0,
        high: 4095.0,
    };
    assert_eq!(gas.register.scaling, Scaling::Loop(loop_of));
    assert_eq!(gas.register.order, ByteOrder::Abcd);
    assert_eq!(config.points[1].name.en, "Pump, spare");
    assert_eq!(config.points[2].register.order, ByteOrder::Cdab);
    assert_eq!(config.points[3].register.encoding, Encoding::BitOf(3));
}

#[test]
fn limits_come_first_then_loss_of_view_then_the_gateways() {
    let config = check(&good()).unwrap();
    let names: Vec<_> = config
        .alarms
        .iter()
        .map(|alarm| alarm.name.as_str())
        .collect();
    let expected = "TF.gas.gas1 TF.gas.gas2 FACE.ch4.hh FACE.ch4.mine_alarm FACE.ch4.mine_cut \
        TF.gas.loss_of_view TF.pump.loss_of_view FACE.ch4.loss_of_view \
        FACE.ch4.fault.loss_of_view gw/gas.loss_of_view gw/mine.loss_of_view gw.loss_of_view \
        gw.clock_offset gw.gap gw.duplicate_identity gw.unusable gw.outbox_loss \
        centre.sink_behind centre.stood_still centre.cut_off centre.host_clock";
    assert_eq!(names.join(" "), expected);
    assert_eq!(config.alarms[2].subject, Subject::Point(PointId(2)));
    let gap = &config.alarms[13];
    assert_eq!(gap.subject, Subject::Gateway("gw".to_owned()));
    assert_eq!(gap.condition, Condition::System(SystemCondition::Gap));
}

#[test]
fn the_sites_own_limit_replaces_the_presets_and_nothing_else() {
    let config = check(&good()).unwrap();
    let limit = |index: usize| match config.alarms[index].condition {
        Condition::Limit(limit) => (limit.setpoint, limit.limit, limit.reset),
        Condition::System(_) => panic!("no limit"),
    };
    assert_eq!(limit(0), (Setpoint::Gas1, 0.8, 0.7));
    assert_eq!(limit(1), (Setpoint::Gas2, 2.0, 1.8));
    assert_eq!(limit(4), (Setpoint::MineCut, 1.5, 1.0));
    assert_eq!(
        config.alarms[0].figure_source.en,
        "the site's own rationalisation"
    );
}

#[test]
fn a_position_is_known_from_the_presets_or_from_the_main_file() {
    let mut files = good();
    let pump = "\"Pump, spare\",pump,";
    files[1].text = files[1].text.replace(pump, &format!("{pump}longwall.T1"));
    assert!(check(&files).is_ok(), "of a preset of another kind");
    files[1].text = files[1].text.replace("pump,longwall.T1", "pump,pump-house");
    assert!(check(&files).is_err());
    files[0].text = format!("positions = [\"pump-house\"]\n{}", files[0].text);
    let config = check(&files).unwrap();
    assert_eq!(config.points[1].position.as_deref(), Some("pump-house"));
    assert!(check(&multiply(&files, 2, &[]).unwrap()).is_ok());
}

#[test]
fn the_main_file_names_the_others() {
    assert_eq!(
        wanted(&good()[0]).unwrap(),
        ["points.csv", "standards.toml"]
    );
    let nothing = SourceFile {
        name: "site.toml".to_owned(),
        text: String::new(),
    };
    assert_eq!(wanted(&nothing).unwrap_err().len(), 2);
    assert!(!check(&[]).unwrap_err().is_empty());
}

#[test]
fn an_instrument_that_acts_in_reverse_is_accepted() {
    for (signal, expected) in [
        ("4-20mA", Scaling::Loop as fn(RawEnds) -> Scaling),
        ("linear", Scaling::Linear),
    ] {
        let mut files = good();
        let edit = format!("points.csv\n-4-20mA,0,4095\n+{signal},4095,0\n");
        spoil(&mut files, &edit);
        let config = check(&files).unwrap();
        let (low, high) = (4095.0, 0.0);
        let ends = RawEnds { low, high };
        assert!(ends.is_reversed());
        assert_eq!(config.points[0].register.scaling, expected(ends));
    }
}

#[test]
fn columns_in_any_order_and_a_spreadsheets_habits_are_read() {
    let mut files = good();
    let rows: Vec<String> = files[1]
        .text
        .lines()
        .map(|line| {
            let (first, rest) = line.split_once(',').unwrap();
            format!("{rest},{first}\r\n")
        })
        .collect();
    let before = check(&files).unwrap();
    files[1].text = format!("\u{feff}{}{}\r\n\r\n", rows.concat(), ",".repeat(18));
    assert_eq!(check(&files).unwrap(), before);
}

/// One point for each preset that ships, with a range that suits it; the tags of these points and
/// their presets.
fn site_of_all_presets() -> (Vec<SourceFile>, Vec<(String, toml::Value)>) {
    let mut files = good();
    files.truncate(2);
    let list: Vec<_> = STANDARDS
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let list = format!("[{}]", list.join(", "));
    files[0].text = files[0].text.replace("[\"standards.toml\"]", &list);
    files[0].text = files[0].text.replace("\"anything\"", "\"cl2_gas1\"");
    let mut all = Vec::new();
    for (name, text) in STANDARDS {
        files.push(SourceFile {
            name: name.to_owned(),
            text: text.to_owned(),
        });
        let table: toml::Table = text.parse().unwrap();
        let presets = table.get("preset").and_then(toml::Value::as_array);
        for (index, preset) in presets.into_iter().flatten().enumerate() {
            let get = |key| {
                preset
                    .get(key)
                    .and_then(toml::Value::as_str)
                    .unwrap_or_default()
            };
            let (kind, position, unit) = (get("kind"), get("position"), get("unit"));
            if preset.get("every_position").is_some() {
                continue;
            }
            let tag = format!("{name}.{index}");
            let row = format!(
                "{tag},点,Point,{kind},{position},{unit},0,100,TF,gw,gas,1s,input_registers,0,u16,,none,,\n"
            );
            files[1].text += &row;
            all.push((tag, preset.clone()));
        }
    }
    (files, all)
}

#[test]
fn every_preset_of_the_standards_loads() {
    let (files, presets) = site_of_all_presets();
    let limits = presets
        .iter()
        .map(|(_, preset)| preset["limit"].as_array().unwrap().len());
    // Each methane sensor takes 3.0 % besides.
    let methane = presets
        .iter()
        .filter(|(_, preset)| preset["kind"].as_str() == Some("ch4"));
    let limits: usize = limits.sum::<usize>() + methane.count();
    let kinds: BTreeSet<_> = presets
        .iter()
        .filter_map(|(_, preset)| preset["kind"].as_str())
        .collect();
    let config = check(&files).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let of_limits = |alarm: &&AlarmDefinition| matches!(alarm.condition, Condition::Limit(_));
    // Two points of the good configuration have two limits, one of them another at every position.
    assert_eq!(config.alarms.iter().filter(of_limits).count(), limits + 5);
    for kind in [
        "cl2",
        "nh3",
        "h2s",
        "co",
        "combustible",
        "o2",
        "ch4",
        "air_speed",
    ] {
        assert!(kinds.contains(kind), "no preset for {kind}");
    }
}

#[test]
fn methane_is_set_as_in_table_19() {
    let text = STANDARDS[1].1;
    let table: toml::Table = text.parse().unwrap();
    let row = |position: &str| -> Vec<f64> {
        let presets = table["preset"].as_array().unwrap();
        let preset = presets.iter().find(|preset| {
            preset["kind"].as_str() == Some("ch4")
                && preset.get("position").and_then(toml::Value::as_str) == Some(position)
        });
        preset.unwrap()["limit"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|limit| ["limit", "reset"].map(|key| limit[key].as_float().unwrap()))
            .collect()
    };
    assert_eq!(row("longwall.T0"), [1.0, 1.0, 1.5, 1.0]);
    assert_eq!(row("longwall.T2"), [1.0, 1.0, 1.0, 1.0]);
    assert_eq!(row("longwall.T3"), [0.5, 0.5, 0.5, 0.5]);
    assert_eq!(row("heading.T1"), [1.0, 1.0, 1.5, 1.0]);
    assert_eq!(row("main_return"), [0.75, 0.75]);
    assert_eq!(
        row("drilling"),
        [1.5, 1.0, 1.5, 1.0],
        "resets below its alarm"
    );
    assert_eq!(row("belt_shaft"), [0.5, 0.5, 0.75, 0.5]);
    assert_eq!(row("temporary_pump"), [0.5, 0.5, 1.0, 0.5]);
}

/// Order 21 art. 5(8), wherever the sensor is.
#[test]
fn methane_has_its_three_percent_at_every_position() {
    let hh = |config: &Config| {
        let limits = config
            .alarms
            .iter()
            .filter_map(|alarm| match alarm.condition {
                Condition::Limit(limit) if alarm.name == "FACE.ch4.hh" => Some(limit.limit),
                _ => None,
            });
        limits.collect::<Vec<_>>()
    };
    assert_eq!(hh(&check(&good()).unwrap()), [3.0]);
    let own = |limit: f64| {
        let mut files = good();
        let limit = format!(
            "[[limit]]\npoint = \"FACE.ch4\"\nsetpoint = \"hh\"\nlimit = {limit}\ndeadband = 0.1\n\
             on_delay = \"0s\"\noff_delay = \"1min\"\nlatch = true\npriority = 1\n\
             shelvable = false\nguidance = \"anything\"\n\
             figure_source = {{ zh = \"本单位\", en = \"the site's own\" }}\n"
        );
        files[0].text += &limit;
        check(&files)
    };
    assert_eq!(hh(&own(2.5).unwrap()), [2.5], "a stricter one of its own");
    let lax = own(3.01).unwrap_err();
    assert_eq!(lax.len(), 2, "{lax:?}");
    assert!(lax[0].allowed.contains("3 or less"), "{}", lax[0]);
    let mut files = good();
    let (every, both) = (
        "every_position = true",
        "every_position = true\nposition = \"T1\"",
    );
    files[2].text = files[2].text.replace(every, both);
    let faults = check(&files).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].what.contains("`position`"), "{}", faults[0]);
}

/// A rule that names a limit which no preset has would never do anything.
#[test]
fn the_rules_of_the_standards_name_limits_that_there_are() {
    let mut rules = Vec::new();
    let mut limits = BTreeSet::new();
    let word = |table: &toml::Value, key: &str| table[key].as_str().unwrap().to_owned();
    for (_, text) in STANDARDS {
        let table: toml::Table = text.parse().unwrap();
        let presets = table.get("preset").and_then(toml::Value::as_array);
        for preset in presets.into_iter().flatten() {
            for limit in preset["limit"].as_array().unwrap() {
                limits.insert((word(preset, "kind"), word(limit, "setpoint")));
            }
        }
        let warning = table.get("warning").and_then(|rules| rules.get("limit"));
        let ledger = table
            .get("ledger")
            .and_then(|rules| rules["major"].get("limit"));
        for list in [warning, ledger].into_iter().flatten() {
            let named = list.as_array().unwrap().iter();
            rules.extend(named.map(|rule| (word(rule, "kind"), word(rule, "setpoint"))));
        }
    }
    assert_eq!(rules.len(), 2);
    for rule in rules {
        assert!(limits.contains(&rule), "{rule:?}");
    }
}

#[test]
fn a_multiplied_site_holds_the_first_plant_unchanged_and_its_copies() {
    let one = check(&good()).unwrap();
    let three = check(&multiply(&good(), 3, &[("东区", "East works")]).unwrap()).unwrap();
    assert_eq!(three.points[..one.points.len()], one.points[..]);
    assert_eq!(three.gateways[..1], one.gateways[..]);
    // The centre's own four are not multiplied.
    assert_eq!(three.alarms.len(), 3 * (one.alarms.len() - 4) + 4);
    let copy = &three.points[2 * one.points.len()];
    assert_eq!(
        (copy.tag.as_str(), copy.gateway.as_str()),
        ("P3.TF.gas", "p3-gw")
    );
    assert_eq!(copy.source.as_deref(), Some("P3.TF"));
    let names = |plant: usize| {
        let (source, gateway) = (
            &three.sources[plant * one.sources.len()],
            &three.gateways[plant * one.gateways.len()],
        );
        [&source.name.zh, &source.name.en, &gateway.name.zh].map(String::as_str)
    };
    assert_eq!(
        names(0),
        [
            &one.sources[0].name.zh,
            &one.sources[0].name.en,
            &one.gateways[0].name.zh
        ]
    );
    for (name, first) in names(2).iter().zip(names(0)) {
        assert!(
            name.starts_with("3# ") || name.starts_with("Plant 3: "),
            "{name}"
        );
        assert!(name.ends_with(first), "{name}");
    }
    // The second has a name; its units bear it too, since their alarms have no tag to tell them by.
    for (name, first) in names(1).iter().zip(names(0)) {
        let wanted = [format!("东区 · {first}"), format!("East works: {first}")];
        assert!(wanted.iter().any(|one| one == name), "{name}");
    }
    let unit = |plant: usize| {
        let gateway = &three.gateways[plant * one.gateways.len()];
        gateway.buses[0].units[0].name.zh.clone()
    };
    assert_eq!(unit(1), format!("东区 · {}", unit(0)));
    assert_eq!(unit(2), format!("3# {}", unit(0)));
    // What many alarms have in common is kept once.
    let of_view = |alarm: &&AlarmDefinition| alarm.name.ends_with(".loss_of_view");
    let views: Vec<_> = three.alarms.iter().filter(of_view).collect();
    assert!(views.len() > 3);
    for alarm in &views {
        assert!(std::sync::Arc::ptr_eq(&alarm.guidance, &views[0].guidance));
        assert!(std::sync::Arc::ptr_eq(
            &alarm.figure_source,
            &views[0].figure_source
        ));
    }
    let own = three
        .alarms
        .iter()
        .find(|alarm| alarm.name == "P3.TF.gas.gas1");
    assert_eq!(
        own.unwrap().figure_source.en,
        "the site's own rationalisation"
    );
    assert_eq!(check(&multiply(&good(), 1, &[]).unwrap()), Ok(one));
    assert!(multiply(&good(), 0, &[]).is_err());
}

#[test]
fn every_fault_says_where_it_is_and_comes_once() {
    let mut files = good();
    for file in &mut files {
        file.text = file.text.replace('1', "x");
    }
    let faults = check(&files).unwrap_err();
    assert!(faults.is_sorted());
    assert_eq!(faults.iter().collect::<BTreeSet<_>>().len(), faults.len());
    assert!(
        NAMES
            .iter()
            .all(|name| faults.iter().any(|fault| fault.file == *name))
    );
}

#[test]
fn deep_nesting_is_a_fault_and_not_the_end_of_the_stack() {
    for text in [
        "a=".to_owned() + &"[".repeat(100_000),
        "a.".repeat(100_000) + "a=1",
    ] {
        let mut files = good();
        files[0].text = text;
        assert!(check(&files).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_panics(texts in prop::collection::vec("\\PC*|[\\[\\]a-z=\"{}.,\n]*", 0..4)) {
        let files: Vec<_> = texts
            .into_iter()
            .zip(NAMES)
            .map(|(text, name)| SourceFile { name: name.to_owned(), text })
            .collect();
        prop_assert!(check(&files).is_err());
        prop_assert!(multiply(&files, 2, &[]).is_err());
    }

    #[test]
    fn no_spoilt_text_panics(
        file in 0usize..3,
        from in 0.0f64..1.0,
        length in 0usize..12,
        put in "[\\[\\]0-9a-z=\"'{}.,\\-\n\r\u{0}氯]{0,6}",
    ) {
        let mut files = good();
        let characters: Vec<char> = files[file].text.chars().collect();
        let start = (characters.len() as f64 * from) as usize;
        let end = (start + length).min(characters.len());
        files[file].text = characters[..start]
            .iter()
            .copied()
            .chain(put.chars())
            .chain(characters[end..].iter().copied())
            .collect();
        match check(&files) {
            Ok(config) => {
                for alarm in &config.alarms {
                    if let Condition::Limit(limit) = alarm.condition {
                        prop_assert!(limit.limit.is_finite() && limit.reset.is_finite());
                    }
                }
            }
            Err(faults) => prop_assert!(!faults.is_empty()),
        }
    }
}
