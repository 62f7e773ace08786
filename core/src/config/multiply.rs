//! Makes a configuration of many plants out of one, to try loads on.
//!
//! Plant 1 is the given site. Plant *k* is its copy with `P{k}.` before tags and sources and
//! `p{k}-` before gateways. The name of its plant stands before the names of gateways, units and
//! sources; tags say it already. Texts in, texts out: what comes out is checked like any other.

use toml::{Table, Value};

use super::fault::{Faults, Place, quote};
use super::site;
use super::{Fault, SourceFile};

/// Most plants. A thousand demonstrations hold the 300,000 points of a province.
const PLANTS_MAX: u32 = 1_000;

/// Name of a plant in Chinese and in English.
pub type PlantName = (&'static str, &'static str);

/// The texts of a site that holds the given one `plants` times. `names` are those of the plants
/// from the second on; what has none is numbered.
///
/// The point tables are multiplied in place, standards stay as they are, and the main file is
/// written anew (without its comments).
///
/// # Errors
///
/// Those of a configuration that does not check, and a count that is not 1 to 1,000.
pub fn multiply(
    files: &[SourceFile],
    plants: u32,
    names: &[PlantName],
) -> Result<Vec<SourceFile>, Vec<Fault>> {
    super::check(files)?;
    let mut faults = Faults::default();
    let place = Place {
        file: files.first().map_or("", |file| &file.name).into(),
        line: 0,
    };
    if !(1..=PLANTS_MAX).contains(&plants) {
        faults.add(&place, "plants", plants, format!("1 to {PLANTS_MAX}"));
        return Err(faults.sorted());
    }
    let listed = files.first().and_then(|main| {
        let document = super::fields::Document::parse(main, &mut faults)?;
        Some(site::named(&mut document.root(), &mut faults))
    });
    let tables = listed.unwrap_or_default().points;
    let mut multiplied = Vec::with_capacity(files.len());
    for (index, file) in files.iter().enumerate() {
        let text = if index == 0 {
            multiply_main(&file.text, plants, names)
        } else if tables.contains(&file.name) {
            multiply_table(&file.text, plants)
        } else {
            Ok(file.text.clone())
        };
        match text {
            Ok(text) => multiplied.push(SourceFile {
                name: file.name.clone(),
                text,
            }),
            Err(message) => faults.add(&place, quote(&file.name), message, "a file to multiply"),
        }
    }
    if faults.is_empty() {
        Ok(multiplied)
    } else {
        Err(faults.sorted())
    }
}

/// Names a thing of one plant.
type Prefix = fn(u32, &str) -> String;

fn prefix_upper(plant: u32, name: &str) -> String {
    format!("P{plant}.{name}")
}

fn prefix_lower(plant: u32, name: &str) -> String {
    format!("p{plant}-{name}")
}

/// What a plant is called, Chinese and English.
fn called(plant: u32, names: &[PlantName]) -> [(&'static str, String); 2] {
    let place = usize::try_from(plant).unwrap_or(usize::MAX);
    let (zh, en) = match names.get(place.saturating_sub(2)) {
        Some((zh, en)) => (format!("{zh} · "), format!("{en}: ")),
        None => (format!("{plant}# "), format!("Plant {plant}: ")),
    };
    [("zh", zh), ("en", en)]
}

/// Writes what the plant is called before the name of a thing, and before those of its units.
fn name_plant(called: &[(&str, String)], item: &mut Value) {
    for (language, plant) in called {
        let name = item.get_mut("name").and_then(|name| name.get_mut(language));
        if let Some(Value::String(name)) = name {
            name.insert_str(0, plant);
        }
    }
    for inner in ["bus", "unit"] {
        let inner = item.get_mut(inner).and_then(Value::as_array_mut);
        for thing in inner.into_iter().flatten().filter(|thing| thing.is_table()) {
            name_plant(called, thing);
        }
    }
}

fn multiply_main(text: &str, plants: u32, names: &[PlantName]) -> Result<String, String> {
    let mut main: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let lists: [(&str, &str, Prefix); 3] = [
        ("gateway", "id", prefix_lower),
        ("source", "id", prefix_upper),
        ("limit", "point", prefix_upper),
    ];
    for (list, key, prefix) in lists {
        let Some(Value::Array(items)) = main.get_mut(list) else {
            continue;
        };
        let first = items.clone();
        for plant in 2..=plants {
            for item in &first {
                let mut item = item.clone();
                if let Some(Value::String(id)) = item.get_mut(key) {
                    *id = prefix(plant, id);
                }
                name_plant(&called(plant, names), &mut item);
                items.push(item);
            }
        }
    }
    toml::to_string(&main).map_err(|error| error.to_string())
}

fn multiply_table(text: &str, plants: u32) -> Result<String, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let rows: Result<Vec<_>, _> = reader.records().collect();
    let rows = rows.map_err(|error| error.to_string())?;
    let mut writer = csv::WriterBuilder::new()
        .flexible(true)
        .from_writer(Vec::new());
    writer
        .write_record(&header)
        .map_err(|error| error.to_string())?;
    for plant in 1..=plants {
        for row in &rows {
            let fields = row.iter().zip(&header).map(|(field, column)| match column {
                _ if plant == 1 || field.is_empty() => field.to_owned(),
                "tag" | "source" => prefix_upper(plant, field),
                "gateway" => prefix_lower(plant, field),
                _ => field.to_owned(),
            });
            writer
                .write_record(fields)
                .map_err(|error| error.to_string())?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
