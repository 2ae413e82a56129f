//! Every sentence that a check can end in, in English and German. What receipts cannot prove is said each time: a tool
//! that only says "valid" is read as saying more.

use crate::args::Lang;
use ledger::acceptance::AcceptanceError;
use ledger::checkpoint::CheckpointError;
use ledger::proof::TlogProofError;
use ledger::receipt::ReceiptError;
use types::{AcceptanceId, IncarnationId, MachineId, ReceiptId, TenantId};

const CHAINS_SHOWN: usize = 6;

/// What follows from the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proved {
    Signed { receipt: ReceiptId, site: String, tenant: TenantId },
    Accepted { certificate: AcceptanceId, site: String, machine: MachineId, kind: String, slot: String },
    Tests { passed: usize, skipped: usize, serials: usize, firmware: usize, tasks: usize },
    Serials { serials: Vec<String> },
    InLog { what: String, origin: String, index: u64, size: u64 },
    Witnessed { names: Vec<String> },
    Chains { tenant: TenantId, receipts: usize, chains: Vec<(IncarnationId, u64)> },
    Sealed { receipts: usize, origin: String, size: u64 },
    Log { origin: String, size: u64, root: String },
    Since { size: u64 },
}

/// What does not follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproved {
    /// No receipt proves these, ever.
    WhereAndCopies,
    NotInLog,
    /// A certificate says what a machine was on one day.
    StillSo,
    /// Nobody compared it with a machine.
    ThisMachine,
    WhoSigned,
    NoWitness,
    Unsealed {
        receipts: usize,
    },
    /// A chain that was cut at its end looks whole.
    TailOfChains,
    /// Several checkpoints: each proof holds, that they are one history needs the tiles.
    BetweenCheckpoints {
        sizes: usize,
    },
    /// Without an older checkpoint a log that was rewritten whole looks whole.
    Earlier,
    MeaningOfEntries,
    /// Files of the log past its checkpoint.
    PastCheckpoint {
        files: usize,
    },
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Receipt { file: String, error: ReceiptError },
    Acceptance { file: String, error: AcceptanceError },
    Serial { serial: String },
    Proof { file: String, error: TlogProofError },
    Checkpoint { file: String, error: CheckpointError },
    Name { file: String, says: ReceiptId },
    Foreign { file: String, tenant: TenantId, expected: TenantId },
    Double { file: String, other: String },
    Gap { inc: IncarnationId, first: u64, last: u64 },
    Link { file: String },
    Orphan { file: String },
    Count { stated: u64, found: u64 },
    Fork { size: u64, file: String, other: String },
    Rewritten { index: u64, file: String, other: String },
    Export { file: String, error: String },
    Tile { path: String },
    Bundle { path: String },
    Root { size: u64 },
    Rollback { older: u64, size: u64 },
    History { older: u64 },
}

impl Proved {
    pub fn text(&self, lang: Lang) -> String {
        let german = lang == Lang::De;
        match self {
            Proved::Signed { receipt, site, tenant } if german => {
                format!("ein Schlüssel des Standorts {site} hat {receipt} für {tenant} unterschrieben")
            }
            Proved::Signed { receipt, site, tenant } => {
                format!("a key of site {site} signed {receipt} for {tenant}")
            }
            Proved::Accepted { certificate, site, machine, kind, slot } if german => {
                format!(
                    "ein Schlüssel des Standorts {site} hat {certificate} für {machine} ({kind}, {slot}) unterschrieben"
                )
            }
            Proved::Accepted { certificate, site, machine, kind, slot } => {
                format!("a key of site {site} signed {certificate} for {machine} ({kind}, {slot})")
            }
            Proved::Tests { passed, skipped, serials, firmware, tasks } if german => {
                format!(
                    "er nennt {serials} Seriennummern, {firmware} Firmwarestände, {passed} bestandene und {skipped} \
                     ausgelassene Prüfungen und {tasks} Arbeitsschritte, ohne sich zu widersprechen"
                )
            }
            Proved::Tests { passed, skipped, serials, firmware, tasks } => {
                format!(
                    "it names {serials} serial numbers, {firmware} firmware versions, {passed} tests passed and \
                     {skipped} left out, and {tasks} tasks, without contradicting itself"
                )
            }
            Proved::Serials { serials } if german => format!("er nennt {}", serials.join(", ")),
            Proved::Serials { serials } => format!("it names {}", serials.join(", ")),
            Proved::InLog { what, origin, index, size } if german => {
                format!("{what} steht im Log {origin} an Stelle {index} von {size}")
            }
            Proved::InLog { what, origin, index, size } => {
                format!("{what} is in the log {origin} at place {index} of {size}")
            }
            Proved::Witnessed { names } if german => format!("mitgezeichnet von {}", names.join(", ")),
            Proved::Witnessed { names } => format!("cosigned by {}", names.join(", ")),
            Proved::Chains { tenant, receipts, chains } => {
                // A line names a few chains; a gateway that was started often has many.
                let mut list: Vec<String> =
                    chains.iter().take(CHAINS_SHOWN).map(|(inc, last)| format!("{inc} 1..{last}")).collect();
                list.extend((chains.len() > CHAINS_SHOWN).then(|| "…".to_owned()));
                let (count, list) = (chains.len(), list.join(", "));
                if german {
                    format!(
                        "{receipts} Belege von {tenant} sind unterschrieben, ohne Lücke und Doppel nummeriert und \
                         verkettet, in {count} Kette(n): {list}"
                    )
                } else {
                    format!(
                        "{receipts} receipts of {tenant} are signed, numbered without gap or double and linked, in \
                         {count} chain(s): {list}"
                    )
                }
            }
            Proved::Sealed { receipts, origin, size } if german => {
                format!("{receipts} davon stehen im Log {origin} (Prüfpunkte bis {size})")
            }
            Proved::Sealed { receipts, origin, size } => {
                format!("{receipts} of them are in the log {origin} (checkpoints up to {size})")
            }
            Proved::Log { origin, size, root } if german => {
                format!(
                    "jede Kachel des Logs {origin} folgt aus seinen {size} Einträgen, und die Wurzel {root} ist die unterschriebene"
                )
            }
            Proved::Log { origin, size, root } => {
                format!(
                    "every tile of the log {origin} follows from its {size} entries, and the root {root} is the signed one"
                )
            }
            Proved::Since { size } if german => format!("es setzt den Prüfpunkt von {size} Einträgen unverändert fort"),
            Proved::Since { size } => format!("it continues the checkpoint of {size} entries unchanged"),
        }
    }
}

impl Unproved {
    pub fn text(&self, lang: Lang) -> String {
        let german = lang == Lang::De;
        let say = |en: &str, de: &str| if german { de.to_owned() } else { en.to_owned() };
        match self {
            Unproved::WhereAndCopies => say(
                "that it ran where the receipt says or that no copy exists (a receipt proves that this key said so)",
                "dass es dort lief, wo der Beleg sagt, oder dass keine Kopie besteht (ein Beleg beweist, dass dieser \
                 Schlüssel das gesagt hat)",
            ),
            Unproved::NotInLog => {
                say("that it is in the log (no --proof given)", "dass er im Log steht (kein --proof)")
            }
            Unproved::StillSo => say(
                "that the machine is still so, and that no later certificate replaced this one",
                "dass die Maschine noch so ist und dass kein späterer Nachweis diesen ersetzt hat",
            ),
            Unproved::ThisMachine => say(
                "that it is of the machine before you (read its serial number and give it with --serial)",
                "dass er von der Maschine vor Ihnen ist (Seriennummer ablesen und mit --serial angeben)",
            ),
            Unproved::WhoSigned => {
                say("who signed the receipt (use `receipt`)", "wer den Beleg unterschrieb (dafür `receipt`)")
            }
            Unproved::NoWitness => say(
                "that everyone is shown the same log (no --witness asked for)",
                "dass alle dasselbe Log sehen (kein --witness verlangt)",
            ),
            Unproved::Unsealed { receipts } => say(
                &format!("that the {receipts} receipt(s) without a proof are in the log"),
                &format!("dass die {receipts} Belege ohne Nachweis im Log stehen"),
            ),
            Unproved::TailOfChains => say(
                "that nothing came after the last number of a chain, and that no whole chain is missing",
                "dass nach der letzten Nummer einer Kette nichts kam und dass keine ganze Kette fehlt",
            ),
            Unproved::BetweenCheckpoints { sizes } => say(
                &format!(
                    "that the {sizes} checkpoints of different sizes are one history (needs the tiles: `log --since`)"
                ),
                &format!(
                    "dass die {sizes} Prüfpunkte verschiedener Größe eine Geschichte sind (dafür `log --since` mit den Kacheln)"
                ),
            ),
            Unproved::Earlier => say(
                "that the log was never rewritten (give a checkpoint that you kept: --since)",
                "dass das Log nie umgeschrieben wurde (dafür einen aufbewahrten Prüfpunkt: --since)",
            ),
            Unproved::MeaningOfEntries => say(
                "what the entries stand for (they hide it; use `receipt`)",
                "wofür die Einträge stehen (sie verbergen es; dafür `receipt`)",
            ),
            Unproved::PastCheckpoint { files } => say(
                &format!("what {files} tile file(s) beyond the checkpoint hold"),
                &format!("was {files} Kacheldateien jenseits des Prüfpunkts enthalten"),
            ),
        }
    }
}

impl Fault {
    /// A stable word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Receipt { .. } => "receipt",
            Fault::Acceptance { .. } => "acceptance",
            Fault::Serial { .. } => "serial",
            Fault::Proof { .. } => "proof",
            Fault::Checkpoint { .. } => "checkpoint",
            Fault::Name { .. } => "name",
            Fault::Foreign { .. } => "foreign",
            Fault::Double { .. } => "double",
            Fault::Gap { .. } => "gap",
            Fault::Link { .. } => "link",
            Fault::Orphan { .. } => "orphan",
            Fault::Count { .. } => "count",
            Fault::Fork { .. } | Fault::Rewritten { .. } => "fork",
            Fault::Export { .. } => "export",
            Fault::Tile { .. } => "tile",
            Fault::Bundle { .. } => "bundle",
            Fault::Root { .. } => "root",
            Fault::Rollback { .. } => "rollback",
            Fault::History { .. } => "history",
        }
    }

    pub fn text(&self, lang: Lang) -> String {
        if lang == Lang::De { self.german() } else { self.english() }
    }

    fn english(&self) -> String {
        match self {
            Fault::Receipt { file, error } => format!("{file}: {error}"),
            Fault::Acceptance { file, error } => format!("{file}: {error}"),
            Fault::Serial { serial } => format!("no part of this certificate has the serial number {serial}"),
            Fault::Proof { file, error } => format!("{file}: {error}"),
            Fault::Checkpoint { file, error } => format!("{file}: {error}"),
            Fault::Name { file, says } => format!("{file} holds {says}: the file was renamed or swapped"),
            Fault::Foreign { file, tenant, expected } => format!("{file} is of {tenant}, the export of {expected}"),
            Fault::Double { file, other } => format!("{file} takes the place of {other} a second time"),
            Fault::Gap { inc, first, last } if first == last => format!("chain {inc} lacks number {first}"),
            Fault::Gap { inc, first, last } => format!("chain {inc} lacks the numbers {first} to {last}"),
            Fault::Link { file } => format!("{file} does not follow the receipt before it: `prev` is another leaf"),
            Fault::Orphan { file } => format!("{file} proves a receipt that is not here"),
            Fault::Count { stated, found } => format!("export.json speaks of {stated} receipts, {found} are here"),
            Fault::Fork { size, file, other } => {
                format!("{file} and {other} show two different logs of {size} entries, both signed: keep both")
            }
            Fault::Rewritten { index, file, other } => {
                format!("{file} and {other} both hold place {index}, each under a signed checkpoint: keep both")
            }
            Fault::Export { file, error } => format!("{file}: {error}"),
            Fault::Tile { path } => format!("{path} is not what the entries below it give"),
            Fault::Bundle { path } => format!("{path} is not a bundle of its width of 32-byte entries"),
            Fault::Root { size } => format!("the {size} entries do not give the signed root"),
            Fault::Rollback { older, size } => format!("the log has {size} entries, the older checkpoint {older}"),
            Fault::History { older } => {
                format!("the first {older} entries do not give the older checkpoint's root: rewritten")
            }
        }
    }

    /// What the formats' own errors say stays English: they are what one searches the specifications for.
    fn german(&self) -> String {
        match self {
            Fault::Receipt { file, error } => format!("{file}: {error}"),
            Fault::Acceptance { file, error } => format!("{file}: {error}"),
            Fault::Serial { serial } => format!("kein Teil dieses Nachweises hat die Seriennummer {serial}"),
            Fault::Proof { file, error } => format!("{file}: {error}"),
            Fault::Checkpoint { file, error } => format!("{file}: {error}"),
            Fault::Name { file, says } => format!("{file} enthält {says}: umbenannt oder vertauscht"),
            Fault::Foreign { file, tenant, expected } => format!("{file} gehört {tenant}, der Auszug {expected}"),
            Fault::Double { file, other } => format!("{file} besetzt den Platz von {other} ein zweites Mal"),
            Fault::Gap { inc, first, last } if first == last => format!("der Kette {inc} fehlt Nummer {first}"),
            Fault::Gap { inc, first, last } => format!("der Kette {inc} fehlen die Nummern {first} bis {last}"),
            Fault::Link { file } => format!("{file} folgt nicht auf den Beleg davor: `prev` nennt ein anderes Blatt"),
            Fault::Orphan { file } => format!("{file} weist einen Beleg nach, der fehlt"),
            Fault::Count { stated, found } => format!("export.json nennt {stated} Belege, hier sind {found}"),
            Fault::Fork { size, file, other } => {
                format!(
                    "{file} und {other} zeigen zwei verschiedene Logs mit {size} Einträgen, beide unterschrieben: beide aufbewahren"
                )
            }
            Fault::Rewritten { index, file, other } => {
                format!(
                    "{file} und {other} stehen beide an Stelle {index}, je unter unterschriebenem Prüfpunkt: beide aufbewahren"
                )
            }
            Fault::Export { file, error } => format!("{file}: {error}"),
            Fault::Tile { path } => format!("{path} ist nicht, was die Einträge darunter ergeben"),
            Fault::Bundle { path } => format!("{path} ist kein Bündel seiner Breite aus Einträgen von 32 Byte"),
            Fault::Root { size } => format!("die {size} Einträge ergeben nicht die unterschriebene Wurzel"),
            Fault::Rollback { older, size } => format!("das Log hat {size} Einträge, der ältere Prüfpunkt {older}"),
            Fault::History { older } => {
                format!("die ersten {older} Einträge ergeben nicht die Wurzel des älteren Prüfpunkts: umgeschrieben")
            }
        }
    }
}
