//! `site.toml` as it is written: tables with patterns in them, each with its place. Nothing is looked up here; that is
//! `resolve`'s. Every table is read by itself, so that one wrong field hides no other.

use super::problem::{Lines, Place, Problems};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Visitor};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Munich's file has 12 kB; 4 MB would be a site written out machine by machine, forty times over.
pub const SITE_BYTES_MAX: usize = 4 << 20;
/// The format that this code reads.
pub const FORMAT: i64 = 1;

pub(super) type Text = Spanned<String>;

/// A table and where it begins.
#[derive(Debug)]
pub(super) struct At<T> {
    pub at: Place,
    pub it: T,
}

#[derive(Debug, Default)]
pub(super) struct Document {
    pub site: Option<At<Head>>,
    pub halls: Vec<At<Halls>>,
    pub rack_kinds: Vec<At<RackKind>>,
    pub feeds: Vec<At<Feeds>>,
    pub cooling: Vec<At<Coolers>>,
    pub rows: Vec<At<Rows>>,
    pub racks: Vec<At<Racks>>,
    pub kinds: Vec<At<Kind>>,
    pub units: Vec<At<Units>>,
    pub machines: Vec<At<Machines>>,
    pub switches: Vec<At<Switches>>,
    pub uplinks: Vec<At<Uplinks>>,
    pub cabling: Vec<At<Cabling>>,
    pub cables: Vec<At<Cable>>,
    pub zones: Vec<At<Zones>>,
    pub robots: Vec<At<Robots>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub name: Text,
    /// What the grid gives, in sum.
    pub power_w: Option<Spanned<u64>>,
    /// A CSV with `slot,part,serial`, beside this file.
    pub serials: Option<Text>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Halls {
    pub names: Text,
    pub power_w: Option<u64>,
    pub floor_kg_per_m2: Option<Spanned<f64>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RackKind {
    pub name: Text,
    pub height_u: u32,
    pub empty_kg: Spanned<f64>,
    pub load_kg_max: Spanned<f64>,
    pub footprint_m2: Option<Spanned<f64>>,
    /// What one side of the rack's power distribution gives.
    pub feed_w: u64,
    /// Heat that can be taken out of it.
    pub cooling_w: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Feeds {
    pub names: Text,
    pub power_w: u64,
    pub fed_by: Option<Text>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Coolers {
    pub names: Text,
    pub hall: Text,
    /// Of each.
    pub cooling_w: u64,
    /// How many of them may stand still.
    #[serde(default)]
    pub spare: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sides {
    pub a: Text,
    pub b: Option<Text>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rows {
    pub hall: Text,
    pub rows: Text,
    pub racks: Text,
    pub rack_kind: Text,
    pub feeds: Sides,
}

#[derive(Debug, Deserialize)]
pub(super) struct Racks {
    pub racks: Text,
    pub rack_kind: Option<Text>,
    pub feeds: Option<Sides>,
    pub load_kg_max: Option<Spanned<f64>>,
    /// Why nothing may stand here.
    pub blocked: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Kind {
    pub name: Text,
    pub height_u: u32,
    pub mass_kg: Spanned<f64>,
    pub max_w: u64,
    pub typical_w: u64,
    pub psus: u32,
    pub psu_w: u64,
    /// How many power supplies carry it at `max_w`.
    pub psus_needed: u32,
    /// Ports that the cable plan must cover.
    pub ports: Option<Text>,
    #[serde(default)]
    pub parts: BTreeMap<String, u32>,
    #[serde(default)]
    pub firmware: BTreeMap<String, String>,
    /// Whether it must boot as signed.
    pub secure_boot: Option<bool>,
    pub suite: Option<Text>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Units {
    pub names: Text,
    /// Shared out evenly among the names, in order.
    pub racks: Text,
    pub kind: Text,
    /// The lowest unit of each machine.
    pub slots: Text,
    /// How many machines each of them must have, in sum.
    pub machines: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Machines {
    pub slots: Text,
    pub kind: Option<Text>,
    pub unit: Option<Text>,
    pub suite: Option<Text>,
    #[serde(default)]
    pub firmware: BTreeMap<String, String>,
    #[serde(default)]
    pub serials: BTreeMap<String, Text>,
    /// False: out of service, for good.
    pub wanted: Option<bool>,
    /// True: no machine in this slot, whatever its unit says.
    #[serde(default)]
    pub empty: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Switches {
    pub names: Text,
    pub role: super::Role,
    pub ports: u32,
    #[serde(default)]
    pub power_w: u64,
    pub mass_kg: Option<Spanned<f64>>,
    pub height_u: Option<u32>,
    /// Where they stand: rack by rack, filled from the first slot.
    pub racks: Option<Text>,
    pub slots: Option<Text>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Uplinks {
    /// Variables for `from` and `to`: one round each.
    #[serde(default)]
    pub each: BTreeMap<String, Text>,
    pub from: Text,
    pub to: Text,
    /// Between each of `from` and each of `to`.
    pub cables: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Cabling {
    pub kind: Text,
    pub ports: Text,
    /// The switch, with `{hall}`, `{row}`, `{rack}`, `{unit}`, and `{rail}`: which of `ports` it is.
    pub to: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct Cable {
    pub machine: Text,
    pub port: Text,
    pub switch: Text,
    pub switch_port: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Zones {
    pub name: Text,
    pub racks: Text,
}

/// Where robots may drive; one that is not named drives everywhere.
#[derive(Debug, Deserialize)]
pub(super) struct Robots {
    pub manufacturer: Text,
    /// Serial numbers, as their topics have them.
    pub names: Text,
    /// Halls, rows or racks.
    pub zones: Text,
}

const SECTIONS: &str = "site, halls, rack_kinds, feeds, cooling, rows, racks, kinds, units, machines, switches, uplinks, \
                        cabling, cables, zones, robots";

/// Reads as much as can be read.
pub(super) fn read(text: &str, lines: &Lines<'_>, problems: &mut Problems) -> Document {
    let mut document = Document::default();
    if text.len() > SITE_BYTES_MAX {
        let what = format!("the file has {} bytes, more than {SITE_BYTES_MAX}", text.len());
        problems.error(Place::START, "too_large", what, "use patterns (r01..r16) instead of one table per machine");
        return document;
    }
    let (tables, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = error.span().map_or(Place::START, |span| lines.place(&span));
        problems.error(place, "syntax", one_line(error.message()), "correct the TOML here");
    }
    for (name, value) in tables.into_inner() {
        let at = lines.place(&name.span());
        let mut of = Section { lines, problems, name: name.get_ref().as_ref().to_owned() };
        match of.name.as_str() {
            "format" => of.format(value),
            "site" => document.site = of.table(value),
            "halls" => document.halls = of.tables(value),
            "rack_kinds" => document.rack_kinds = of.tables(value),
            "feeds" => document.feeds = of.tables(value),
            "cooling" => document.cooling = of.tables(value),
            "rows" => document.rows = of.tables(value),
            "racks" => document.racks = of.tables(value),
            "kinds" => document.kinds = of.tables(value),
            "units" => document.units = of.tables(value),
            "machines" => document.machines = of.tables(value),
            "switches" => document.switches = of.tables(value),
            "uplinks" => document.uplinks = of.tables(value),
            "cabling" => document.cabling = of.tables(value),
            "cables" => document.cables = of.tables(value),
            "zones" => document.zones = of.tables(value),
            "robots" => document.robots = of.tables(value),
            other => {
                let what = format!("there is no section {:?}", super::pattern::cut(other));
                problems.error(at, "unknown_section", what, format!("one of {SECTIONS}"));
            }
        }
    }
    document
}

struct Section<'a, 'b> {
    lines: &'a Lines<'b>,
    problems: &'a mut Problems,
    name: String,
}

impl Section<'_, '_> {
    fn tables<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Vec<At<T>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => items.into_iter().filter_map(|item| self.table(item)).collect(),
            _ => {
                let (at, name) = (self.lines.place(&span), &self.name);
                let what = format!("{name} must be a list of tables");
                self.problems.error(at, "not_a_list", what, format!("write [[{name}]] with two brackets"));
                Vec::new()
            }
        }
    }

    fn table<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<At<T>> {
        let at = self.lines.place(&value.span());
        let fields = fields_of::<T>();
        let keys = value.get_ref().as_table().into_iter().flat_map(|table| table.keys());
        for key in keys.filter(|key| !fields.contains(&key.get_ref().as_ref())) {
            let what = format!("[[{}]] has no field {:?}", self.name, super::pattern::cut(key.get_ref()));
            let place = self.lines.place(&key.span());
            self.problems.error(place, "unknown_field", what, format!("one of {}", fields.join(", ")));
        }
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(it) => Some(At { at, it }),
            Err(error) => {
                let place = error.span().map_or(at, |span| self.lines.place(&span));
                let what = format!("[[{}]]: {}", self.name, one_line(error.message()));
                self.problems.error(place, "wrong_field", what, "docs/site.md lists the fields of each section");
                None
            }
        }
    }

    fn format(&mut self, value: Spanned<DeValue<'_>>) {
        let at = self.lines.place(&value.span());
        if i64::deserialize(ValueDeserializer::from(value)).ok() != Some(FORMAT) {
            let what = format!("this is not format {FORMAT}");
            self.problems.error(at, "format", what, format!("write format = {FORMAT}, or use a newer hoheit"));
        }
    }
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', ", ")
}

/// The fields of a table, as serde knows them: so that each unknown one is said, with its own line.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It always fails: it was asked for the names only.
    let _ = T::deserialize(Probe(&mut fields));
    fields
}

struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> serde::Deserializer<'de> for Probe<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("no table"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(serde::de::Error::custom("the fields are known now"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
