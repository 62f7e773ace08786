//! The messages of the Sparkplug B schema, as prost reads and writes them.
//!
//! Written by hand from the field numbers of Sparkplug 3.0, chapter 6: no generator, no build
//! step. Only what Davy reads or writes is declared; data sets, templates, metadata and nested
//! properties are skipped as unknown fields, which also bounds what a hostile payload can make
//! the reader allocate.
//!
//! For births, deaths and commands. Data messages go by hand: `data`, `walk`.

/// A whole message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// When it was published, ms since 1970.
    #[prost(uint64, optional, tag = "1")]
    pub timestamp: Option<u64>,
    /// What it says.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// 0–255, one more for each message of the node; none in NDEATH and NCMD.
    #[prost(uint64, optional, tag = "3")]
    pub seq: Option<u64>,
}

/// One named (or aliased) value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metric {
    /// Its name; in a birth always, in data when it has no alias.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// A number in place of the name, unique in the edge node.
    #[prost(uint64, optional, tag = "2")]
    pub alias: Option<u64>,
    /// When it was measured, ms since 1970.
    #[prost(uint64, optional, tag = "3")]
    pub timestamp: Option<u64>,
    /// Number of its [`DataType`].
    #[prost(uint32, optional, tag = "4")]
    pub datatype: Option<u32>,
    /// Out of a store: does not say what is now.
    #[prost(bool, optional, tag = "5")]
    pub is_historical: Option<bool>,
    /// There is no value.
    #[prost(bool, optional, tag = "7")]
    pub is_null: Option<bool>,
    /// Unit, range, quality and the like.
    #[prost(message, optional, tag = "9")]
    pub properties: Option<PropertySet>,
    /// The value.
    #[prost(oneof = "MetricValue", tags = "10, 11, 12, 13, 14, 15, 16")]
    pub value: Option<MetricValue>,
}

/// The value of a metric.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum MetricValue {
    /// Integers to 32 bits; signed ones in two's complement.
    #[prost(uint32, tag = "10")]
    Int(u32),
    /// Integers of 64 bits; signed ones in two's complement.
    #[prost(uint64, tag = "11")]
    Long(u64),
    /// Single.
    #[prost(float, tag = "12")]
    Float(f32),
    /// Double.
    #[prost(double, tag = "13")]
    Double(f64),
    /// A state.
    #[prost(bool, tag = "14")]
    Boolean(bool),
    /// A text.
    #[prost(string, tag = "15")]
    Text(String),
    /// Bytes.
    #[prost(bytes = "vec", tag = "16")]
    Bytes(Vec<u8>),
}

/// Keys and values, the same number of each.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertySet {
    /// Names.
    #[prost(string, repeated, tag = "1")]
    pub keys: Vec<String>,
    /// Values in the order of the names.
    #[prost(message, repeated, tag = "2")]
    pub values: Vec<PropertyValue>,
}

/// One value of a property.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertyValue {
    /// Number of its [`DataType`].
    #[prost(uint32, optional, tag = "1")]
    pub r#type: Option<u32>,
    /// There is no value.
    #[prost(bool, optional, tag = "2")]
    pub is_null: Option<bool>,
    /// The value.
    #[prost(oneof = "PropertyContent", tags = "3, 4, 5, 6, 7, 8")]
    pub value: Option<PropertyContent>,
}

/// What a property holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PropertyContent {
    /// Integers to 32 bits; signed ones in two's complement.
    #[prost(uint32, tag = "3")]
    Int(u32),
    /// Integers of 64 bits; signed ones in two's complement.
    #[prost(uint64, tag = "4")]
    Long(u64),
    /// Single.
    #[prost(float, tag = "5")]
    Float(f32),
    /// Double.
    #[prost(double, tag = "6")]
    Double(f64),
    /// A state.
    #[prost(bool, tag = "7")]
    Boolean(bool),
    /// A text.
    #[prost(string, tag = "8")]
    Text(String),
}

impl PropertySet {
    /// Adds a property.
    pub fn push(&mut self, key: &str, datatype: DataType, value: PropertyContent) {
        self.keys.push(key.to_owned());
        self.values.push(PropertyValue {
            r#type: Some(datatype.number()),
            is_null: None,
            value: Some(value),
        });
    }

    /// The value of a property; none when it is absent or null.
    pub fn get(&self, key: &str) -> Option<&PropertyContent> {
        let at = self.keys.iter().position(|known| known == key)?;
        let value = self.values.get(at)?;
        match value.is_null {
            Some(true) => None,
            _ => value.value.as_ref(),
        }
    }
}

impl PropertyContent {
    /// As a text, when it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As a finite number; integers are read as signed.
    pub fn number(&self) -> Option<f64> {
        let number = match *self {
            Self::Int(int) => f64::from(int as i32),
            Self::Long(long) => long as i64 as f64,
            Self::Float(float) => f64::from(float),
            Self::Double(double) => double,
            Self::Boolean(_) | Self::Text(_) => return None,
        };
        number.is_finite().then_some(number)
    }
}

/// What a value is (Sparkplug 3.0, 6.4.16). Arrays and later types count as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Not said, or one that Davy does not know.
    Unknown,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 8 bits.
    UInt8,
    /// Unsigned, 16 bits.
    UInt16,
    /// Unsigned, 32 bits.
    UInt32,
    /// Unsigned, 64 bits.
    UInt64,
    /// Single.
    Float,
    /// Double.
    Double,
    /// A state.
    Boolean,
    /// A text.
    String,
    /// Milliseconds since 1970.
    DateTime,
    /// A text.
    Text,
    /// A text.
    Uuid,
    /// A table. Davy does not read it.
    DataSet,
    /// Bytes.
    Bytes,
    /// Bytes of a file.
    File,
    /// A structure. Davy does not read it.
    Template,
}

/// Every type in the order of its number.
const TYPES: [DataType; 20] = [
    DataType::Unknown,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float,
    DataType::Double,
    DataType::Boolean,
    DataType::String,
    DataType::DateTime,
    DataType::Text,
    DataType::Uuid,
    DataType::DataSet,
    DataType::Bytes,
    DataType::File,
    DataType::Template,
];

impl DataType {
    /// Its number on the wire.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The type of a number; unknown for one that Davy does not know.
    pub fn from_number(number: u32) -> Self {
        TYPES.get(number as usize).copied().unwrap_or(Self::Unknown)
    }

    /// Whether its values can be readings: numbers and states.
    pub fn is_measurable(self) -> bool {
        (1..=11).contains(&self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_numbers_of_the_specification() {
        for (number, known) in TYPES.iter().enumerate() {
            assert_eq!(known.number() as usize, number);
            assert_eq!(DataType::from_number(number as u32), *known);
        }
        assert_eq!(DataType::Float.number(), 9);
        assert_eq!(DataType::Bytes.number(), 17);
        assert_eq!(DataType::from_number(34), DataType::Unknown);
    }
}
