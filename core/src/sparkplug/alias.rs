//! Aliases that keep their tag for good.
//!
//! A message may wait in the outbox while the gateway restarts with another point table. Were an
//! alias then given to another tag, a stored pressure would be read as a gas. So the gateway keeps
//! this table beside its outbox and only ever adds to it.
//!
//! Limit: [`ALIASES_MAX`] entries; whoever changes points that often starts a new outbox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::data::WireType;

/// The first alias that is given: 0 reads as "none" in some hosts.
pub const FIRST_ALIAS: u64 = 1;

/// Entries that are kept, of tags in use and of former ones.
const ALIASES_MAX: u64 = 1_000_000;

/// Which alias stands for which tag and type, of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aliases {
    /// How many have been given.
    count: u64,
    /// Tag → the types that it has had, each with its alias.
    given: BTreeMap<String, Vec<(WireType, u64)>>,
}

impl Aliases {
    /// The alias of a tag sent as `wire`: the one that it has had, or a new one.
    ///
    /// `None` when the table is full.
    pub fn assign(&mut self, tag: &str, wire: WireType) -> Option<u64> {
        let known = self.given.get(tag).and_then(|types| {
            let found = types.iter().find(|(known, _)| *known == wire);
            found.map(|(_, alias)| *alias)
        });
        if known.is_some() {
            return known;
        }
        if self.count >= ALIASES_MAX {
            return None;
        }
        let alias = FIRST_ALIAS + self.count;
        self.count += 1;
        self.given
            .entry(tag.to_owned())
            .or_default()
            .push((wire, alias));
        Some(alias)
    }

    /// Every alias with its tag and type, former ones too.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &str, WireType)> {
        self.given.iter().flat_map(|(tag, types)| {
            let tag = tag.as_str();
            types.iter().map(move |(wire, alias)| (*alias, tag, *wire))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stays_with_its_tag_and_type() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.assign("b", WireType::Float), Some(1));
        assert_eq!(aliases.assign("a", WireType::Float), Some(2));
        let text = serde_json::to_string(&aliases).expect("json");
        let mut aliases: Aliases = serde_json::from_str(&text).expect("json");
        assert_eq!(aliases.assign("new", WireType::Float), Some(3));
        assert_eq!(aliases.assign("b", WireType::Float), Some(1));
        assert_eq!(aliases.assign("b", WireType::UInt32), Some(4));
        let mut all: Vec<_> = aliases.iter().map(|(alias, ..)| alias).collect();
        all.sort_unstable();
        assert_eq!(all, vec![1, 2, 3, 4]);
    }
}
