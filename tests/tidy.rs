//! Rules of the house that a test can check: what code may name, how long files are, that figures
//! have a source, that documents point at things that exist.
//!
//! It reads what git tracks and nothing else. Each rule lists every place that breaks it. Limits:
//! it reads text, not syntax; comments are told from code line by line.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use davy_core::config::{SourceFile, check, wanted};

/// Longest file, tests left out.
const LINES_MAX: usize = 500;

/// Files that are longer for now, with the length that they may not grow beyond. A ratchet: a file
/// that has become shorter must lower its figure or leave the list.
const LONG: &[(&str, usize)] = &[];

/// Lines by which a file may be shorter than its figure in `LONG` before the figure is stale.
const LONG_SLACK: usize = 60;

/// One file that git tracks.
struct File {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is(&self, ending: &str) -> bool {
        self.path.ends_with(ending)
    }

    fn under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// Lines of a Rust file that are neither comments nor tests, each with its number.
    fn code(&self) -> Vec<(usize, &str)> {
        let lines = without_tests(&self.text);
        let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
        code.map(|(number, line)| (number, line.split(" // ").next().unwrap_or(line)))
            .collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file that git tracks.
fn files() -> Vec<File> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git ls-files failed");
    let paths = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let texts = paths.split_terminator('\0').filter_map(|path| {
        let text = fs::read_to_string(root().join(path)).ok()?;
        Some(File {
            path: path.to_owned(),
            text,
        })
    });
    let files: Vec<File> = texts.collect();
    assert!(files.len() > 50, "only {} files are tracked", files.len());
    files
}

/// The lines before the test module that stands at the end of a file.
fn without_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let opens = |(number, line): &(usize, &str)| {
        line.trim() == "#[cfg(test)]"
            && (lines.iter().skip(number + 1))
                .find(|next| !next.starts_with("#["))
                .is_some_and(|next| next.contains("mod ") && next.ends_with('{'))
    };
    let end = lines.iter().copied().enumerate().find(opens);
    let end = end.map_or(lines.len(), |(number, _)| number);
    lines
        .into_iter()
        .take(end)
        .enumerate()
        .map(|(number, line)| (number + 1, line))
}

/// Rust files that hold no tests: not under `tests/` or `benches/`, and not declared as a module
/// under `cfg(test)`.
fn sources(files: &[File]) -> Vec<&File> {
    let mut tests = BTreeSet::new();
    for file in files.iter().filter(|file| file.is(".rs")) {
        let path = Path::new(&file.path);
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = match stem {
            "lib" | "main" | "mod" => parent.to_owned(),
            _ => parent.join(stem),
        };
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            let module = pair[1]
                .strip_suffix(';')
                .and_then(|line| line.rsplit(' ').next());
            if let Some(module) = module {
                tests.insert(folder.join(module).to_string_lossy().into_owned());
            }
        }
    }
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|test| path.starts_with(&format!("{test}/")) || path == format!("{test}.rs"))
            || ["tests", "benches"].iter().any(|folder| {
                path.starts_with(&format!("{folder}/")) || path.contains(&format!("/{folder}/"))
            })
            || path.ends_with("/tests.rs")
    };
    let rust = files.iter().filter(|file| file.is(".rs"));
    rust.filter(|file| !is_test(&file.path)).collect()
}

/// Whether `word` stands in `line` with no letter, digit or `_` beside it.
fn names(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let edge = |c: Option<char>| part(c);
    line.match_indices(word).any(|(at, _)| {
        let before =
            word.starts_with(char::is_alphanumeric) && edge(line[..at].chars().next_back());
        let after =
            word.ends_with(char::is_alphanumeric) && edge(line[at + word.len()..].chars().next());
        !before && !after
    })
}

/// The places at which one of `words` is named in the code of `files`.
fn naming<'a>(files: impl Iterator<Item = &'a File>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.code() {
            let named = words.iter().filter(|word| names(line, word));
            found.extend(named.map(|word| format!("{}:{number}: `{word}`", file.path)));
        }
    }
    found
}

#[track_caller]
fn none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn what_decides_names_no_runtime_file_socket_clock_or_log() {
    let files = files();
    let pure = |file: &&&File| {
        let path = file.path.as_str();
        let names = ["gateway/src/plan", "gateway/src/decode"];
        file.under("core/src/") || names.iter().any(|name| path.starts_with(name))
    };
    let sources = sources(&files);
    let pure: Vec<&File> = sources.iter().filter(pure).copied().collect();
    assert!(pure.len() > 30, "only {} files decide", pure.len());
    let banned = [
        "tokio",
        "async",
        "await",
        "futures",
        "std::fs",
        "std::net",
        "std::io",
        "std::process",
        "std::thread",
        "std::env",
        "File::open",
        "TcpStream",
        "UdpSocket",
        "SystemTime",
        "Instant",
        "rusqlite",
        "reqwest",
        "rumqttc",
        "tracing",
        "log",
        "println!",
        "eprintln!",
        "rand",
        "thread_rng",
        "HashMap::new",
        "RandomState",
    ];
    // Maps of the standard library iterate in an order of chance; `HashMap` is allowed for lookups
    // only with a hasher of its own, so the constructor stands in the list.
    none("what decides is pure", &naming(pure.into_iter(), &banned));
}

#[test]
fn only_clock_files_read_a_clock() {
    let files = files();
    let sources = sources(&files);
    let others = sources.into_iter().filter(|file| !file.is("/clock.rs"));
    let banned = [
        "SystemTime::now",
        "std::time::Instant",
        "Instant::now",
        "Utc::now",
        "clock_gettime",
    ];
    none("only clock.rs reads a clock", &naming(others, &banned));
}

#[test]
fn the_edge_never_writes_to_a_sensor() {
    let files = files();
    let sources = sources(&files);
    let edge: Vec<&File> = sources
        .into_iter()
        .filter(|file| file.under("gateway/src/"))
        .collect();
    let doors = ["gateway/src/modbus/reader.rs", "gateway/src/annunciator.rs"];
    let inside = |file: &&&File| doors.contains(&file.path.as_str());
    let behind = |file: &&&File| {
        let door = doors.contains(&file.path.as_str());
        !door && !file.under("gateway/src/modbus/") && !file.under("gateway/src/simulator/")
    };
    // Rust's own traits are called Writer as well; the library's is what is meant.
    let banned = [
        "Writer",
        "Request::",
        ".call(",
        "tokio_modbus",
        "WriteSingleCoil",
        "WriteMultipleCoils",
        "WriteSingleRegister",
        "WriteMultipleRegisters",
        "MaskWriteRegister",
        "ReadWriteMultipleRegisters",
        "write_single_coil",
        "write_single_register",
        "write_multiple_coils",
        "write_multiple_registers",
        "Custom",
    ];
    none(
        "the edge never writes",
        &naming(edge.iter().filter(behind).copied(), &banned),
    );

    let requests = |path: &str| -> BTreeSet<String> {
        let file = edge.iter().filter(inside).find(|file| file.path == path);
        let code = file.unwrap_or_else(|| panic!("{path} is gone")).code();
        let lines = code
            .iter()
            .flat_map(|(_, line)| line.split("Request::").skip(1));
        lines
            .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect())
            .collect()
    };
    let reads = [
        "ReadCoils",
        "ReadDiscreteInputs",
        "ReadHoldingRegisters",
        "ReadInputRegisters",
    ];
    assert_eq!(
        requests(doors[0]),
        reads.map(String::from).into(),
        "function codes 01 to 04"
    );
    let siren = ["ReadCoils", "WriteSingleCoil"].map(String::from);
    assert_eq!(
        requests(doors[1]),
        siren.into(),
        "one coil, and its read-back"
    );
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let files = files();
    let long: BTreeMap<&str, usize> = LONG.iter().copied().collect();
    let mut found = Vec::new();
    for file in sources(&files) {
        let lines = without_tests(&file.text).count();
        let allowed = long.get(file.path.as_str()).copied().unwrap_or(LINES_MAX);
        if lines > allowed {
            found.push(format!("{}: {lines} lines; allowed: {allowed}", file.path));
        } else if allowed > LINES_MAX && lines + LONG_SLACK < allowed {
            found.push(format!(
                "{}: {lines} lines; lower its {allowed} in LONG",
                file.path
            ));
        }
    }
    let gone = long
        .keys()
        .filter(|path| !files.iter().any(|file| file.path == **path));
    found.extend(gone.map(|path| format!("{path}: is in LONG and gone")));
    for file in files
        .iter()
        .filter(|file| file.is(".vue") || file.is(".ts"))
    {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            found.push(format!(
                "{}: {lines} lines; allowed: {LINES_MAX}",
                file.path
            ));
        }
    }
    for file in files
        .iter()
        .filter(|file| file.is(".rs") && !file.text.starts_with("//! "))
    {
        found.push(format!("{}: does not open with `//! `", file.path));
    }
    none("files are short and open with what they do", &found);
}

/// Words that stand directly between `before` and `after` in a line.
fn words_between<'a>(line: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let ends = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    line.match_indices(before)
        .map(|(at, _)| &line[at + before.len()..])
        .filter_map(|rest| ends(rest).map(|end| (&rest[..end], &rest[end..])))
        .filter(|(word, rest)| !word.is_empty() && rest.starts_with(after))
        .map(|(word, _)| word)
        .collect()
}

#[test]
fn files_of_the_engine_stand_in_their_order() {
    let files = files();
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let engine = find("core/src/alarm/engine.rs").expect("the engine is there");
    let modules = engine.code();
    let modules = modules
        .iter()
        .flat_map(|(_, line)| words_between(line, "mod ", ";"));
    let parts: Vec<_> = modules
        .filter_map(|module| {
            let part = find(&format!("core/src/alarm/engine/{module}.rs"))?;
            Some((module, part))
        })
        .collect();
    assert!(parts.len() > 10, "only {} files are named", parts.len());
    // What each file adds to the engine itself.
    let mut home = BTreeMap::new();
    for (place, (_, part)) in parts.iter().enumerate() {
        let code = part.code();
        let methods = code.iter().skip_while(|(_, line)| *line != "impl Engine {");
        for (_, line) in methods.take_while(|(_, line)| *line != "}") {
            for method in words_between(line, "    fn ", "(")
                .iter()
                .chain(&words_between(line, ") fn ", "("))
            {
                home.insert(*method, place);
            }
        }
    }
    let mut found = Vec::new();
    for (place, (_, part)) in parts.iter().enumerate() {
        for (number, line) in part.code() {
            let below = |word: &str| {
                let named = parts.iter().position(|(module, _)| *module == word);
                named.is_some_and(|other| other > place)
            };
            let named = words_between(line, "super::", "");
            let called = words_between(line, "self.", "(");
            let calls_below = called
                .iter()
                .any(|word| home.get(word).is_some_and(|at| *at > place));
            if calls_below || named.into_iter().any(below) {
                found.push(format!("{}:{number}: {}", part.path, line.trim()));
            }
        }
    }
    none("a file of the engine names only those above it", &found);
}

#[test]
fn names_say_what_a_thing_does() {
    let files = files();
    let empty = [
        "util", "utils", "manager", "helper", "helpers", "common", "misc",
    ];
    let mut found: Vec<String> = Vec::new();
    for file in files
        .iter()
        .filter(|file| [".rs", ".ts", ".vue"].iter().any(|e| file.is(e)))
    {
        let mut parts = file.path.split(['/', '.', '_']);
        if parts.any(|part| empty.contains(&part.to_lowercase().as_str())) {
            found.push(file.path.clone());
        }
        for (number, line) in file.code() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let bad = words.filter(|word| {
                [
                    concat!("Man", "ager"),
                    concat!("Hel", "per"),
                    concat!("Ut", "il"),
                    concat!("Ut", "ils"),
                ]
                .iter()
                .any(|end| word.ends_with(end))
            });
            found.extend(bad.map(|word| format!("{}:{number}: `{word}`", file.path)));
        }
    }
    none("no name that says nothing", &found);
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_switched_off() {
    let files = files();
    let marks = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
    ];
    let ignore = concat!("#[ign", "ore");
    let mut found = Vec::new();
    for file in files
        .iter()
        .filter(|file| !file.is("Cargo.lock") && !file.is("package-lock.json"))
    {
        for (number, line) in file.text.lines().enumerate() {
            let left = marks.iter().any(|mark| names(line, mark));
            if left || (file.is(".rs") && line.trim_start().starts_with(ignore)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("nothing is left for later", &found);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let files = files();
    let banned = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tm", "p/"),
        concat!("cra", "tes.io"),
        concat!("registry.", "npm"),
        concat!("npm", "mirror"),
        concat!("py", "pi.org"),
        concat!("pythonhosted", ".org"),
        concat!("proxy.", "golang"),
        concat!("deb.", "debian.org"),
        concat!("PRIVATE", " KEY"),
    ];
    let crates = format!("registry+https://github.com/rust-lang/{}-index", banned[4]);
    let mut found = Vec::new();
    for file in &files {
        let lock = file.is("Cargo.lock");
        for (number, line) in file.text.lines().enumerate() {
            let source = lock && line == format!("source = \"{crates}\"");
            let foreign = lock && line.starts_with("source = ") && !source;
            let named = !source && banned.iter().any(|word| line.contains(word));
            let resolved = file.is("package-lock.json") && line.contains("\"resolved\":");
            if named || foreign || resolved {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("no machine's path, no registry's host", &found);
}

#[test]
fn every_package_takes_the_lints_of_the_house() {
    let files = files();
    let manifests = files.iter().filter(|file| file.is("Cargo.toml"));
    let bare = manifests.filter(|file| !file.text.contains("[lints]\nworkspace = true"));
    let bare: Vec<String> = bare.map(|file| file.path.clone()).collect();
    none("every package has `[lints] workspace = true`", &bare);
}

/// Collects tables that hold a figure and have no source, neither their own nor from above.
fn unsourced(path: &str, value: &toml::Value, sourced: bool, found: &mut Vec<String>) {
    let said = |table: &toml::Table| {
        let source = table.get("figure_source").and_then(toml::Value::as_table);
        source.is_some_and(|source| source.contains_key("zh") && source.contains_key("en"))
    };
    match value {
        toml::Value::Table(table) => {
            let sourced = sourced || said(table);
            let figure = |value: &toml::Value| match value {
                toml::Value::Integer(_) | toml::Value::Float(_) => true,
                toml::Value::String(text) => text.starts_with(|c: char| c.is_ascii_digit()),
                _ => false,
            };
            // Every limit says its own source; other figures may have one for a group of them.
            let limit_without = table.contains_key("setpoint") && !said(table);
            if limit_without || (!sourced && table.values().any(figure)) {
                found.push(path.to_owned());
            }
            for (key, value) in table.iter().filter(|(key, _)| *key != "guidance") {
                unsourced(&format!("{path}.{key}"), value, sourced, found);
            }
        }
        toml::Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                unsourced(&format!("{path}[{place}]"), value, sourced, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_figure_of_the_presets_has_a_source() {
    let files = files();
    let presets = |file: &&File| file.under("config/standards/") || file.is("/presets.toml");
    let mut found = Vec::new();
    let mut looked = 0;
    for file in files
        .iter()
        .filter(presets)
        .filter(|file| file.under("config/"))
    {
        looked += 1;
        let table: toml::Table = file
            .text
            .parse()
            .unwrap_or_else(|e| panic!("{}: {e}", file.path));
        unsourced(&file.path, &toml::Value::Table(table), false, &mut found);
    }
    assert!(looked >= 5, "only {looked} files of presets");
    none("every figure has a source", &found);
}

#[test]
fn every_configuration_file_is_loaded_and_sound() {
    let files = files();
    let mut used = BTreeSet::new();
    for file in files
        .iter()
        .filter(|file| file.under("config/") && file.is("/site.toml"))
    {
        let folder = Path::new(&file.path).parent().expect("a file has a folder");
        let main = SourceFile {
            name: "site.toml".into(),
            text: file.text.clone(),
        };
        let mut texts = vec![main.clone()];
        for name in wanted(&main).unwrap_or_else(|faults| panic!("{}: {faults:?}", file.path)) {
            let path = root().join(folder).join(&name);
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
            let path = path.canonicalize().expect("it was read");
            used.insert(path);
            texts.push(SourceFile { name, text });
        }
        used.insert(
            root()
                .join(&file.path)
                .canonicalize()
                .expect("git tracks it"),
        );
        match check(&texts) {
            Ok(config) => assert!(!config.alarms.is_empty(), "{}: no alarm", file.path),
            Err(faults) => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                panic!("{}:\n  {}", file.path, faults.join("\n  "));
            }
        }
    }
    // Files of other kinds have a test of their own, which names them.
    let tested = |path: &str| {
        let mut rust = files.iter().filter(|file| file.is(".rs"));
        rust.any(|file| file.text.contains(path))
    };
    let idle = files.iter().filter(|file| {
        let configures = file.is(".toml") || file.is(".csv");
        let path = root().join(&file.path);
        let loaded = used.contains(&path.canonicalize().unwrap_or(path));
        file.under("config/") && configures && !loaded && !tested(&file.path)
    });
    let idle: Vec<String> = idle.map(|file| file.path.clone()).collect();
    none("every file under config/ is loaded by a test", &idle);
}

/// The documents that a reader starts from.
fn documents(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.is(".md"))
}

#[test]
fn links_of_documents_lead_somewhere() {
    let files = files();
    let mut found = Vec::new();
    for file in documents(&files) {
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        let targets = file
            .text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets {
            let path = target.split('#').next().unwrap_or_default();
            let outside = path.is_empty() || path.contains("://");
            if !outside && !root().join(folder).join(path).exists() {
                found.push(format!("{}: `{target}`", file.path));
            }
        }
    }
    let names: Vec<&str> = documents(&files).map(|file| file.path.as_str()).collect();
    for name in [
        "README.md",
        "README.zh-CN.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
    ] {
        assert!(names.contains(&name), "{name} is gone");
    }
    none("links lead to files that exist", &found);
}

#[test]
fn commands_of_documents_exist() {
    let files = files();
    let makefiles = files
        .iter()
        .filter(|file| file.path == "Makefile" || file.is(".mk"));
    let targets: BTreeSet<&str> = makefiles
        .flat_map(|file| file.text.lines())
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(targets, _)| targets.split_whitespace())
        .collect();
    let mut found = Vec::new();
    for file in documents(&files).chain(files.iter().filter(|file| file.path == ".ci/run")) {
        for line in file.text.lines() {
            let commands = line.split('`').chain([line]);
            let made = commands.filter_map(|part| part.trim().strip_prefix("make "));
            let target = made.filter_map(|rest| rest.split_whitespace().next());
            let unknown = target.filter(|target| !targets.contains(target));
            found.extend(unknown.map(|target| format!("{}: `make {target}`", file.path)));
        }
    }
    none("commands exist", &found);
}

#[test]
fn the_map_names_every_module_of_the_first_level() {
    let files = files();
    let map = files
        .iter()
        .find(|file| file.path == "ARCHITECTURE.md")
        .expect("there is a map");
    let mut found = Vec::new();
    for library in ["core/src/lib.rs", "gateway/src/lib.rs", "src/lib.rs"] {
        let file = files.iter().find(|file| file.path == library);
        let file = file.unwrap_or_else(|| panic!("{library} is gone"));
        let folder = library.trim_end_matches("lib.rs");
        for module in file
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod "))
        {
            let module = module.trim_end_matches(';');
            let (file, inner) = (format!("{folder}{module}.rs"), format!("{folder}{module}/"));
            if !map.text.contains(&file) && !map.text.contains(&inner) {
                found.push(format!("`{file}` or `{inner}`"));
            }
        }
    }
    let paths = map.text.split('`').skip(1).step_by(2);
    let inside = |path: &&str| {
        [
            "core/", "gateway/", "src/", "console/", "config/", "tests/", "benches/",
        ]
        .iter()
        .any(|top| path.starts_with(top))
    };
    let gone = paths
        .filter(inside)
        .filter(|path| !root().join(path).exists());
    found.extend(gone.map(|path| format!("`{path}` does not exist")));
    none("ARCHITECTURE.md is the map of what is there", &found);
}
