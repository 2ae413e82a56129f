//! The table: one line per way of cheating or damaging, with the command that finds it, the exit code, and the kind of
//! fault, so that a case is not rejected for a reason other than its own.

use crate::world::{STRANGER, TENANT, World, chain, claims, file, input, key, log_signer, receipt_key, resigned};
use ledger::hash::{Hash, b64url, from_b64url};
use ledger::log::LogSigner;
use ledger::receipt;
use proptest::prelude::*;
use types::ReceiptId;

const KEYS: &str = "--jwks @jwks.json --log-key @log.vkey --json";

#[derive(Clone, Copy, Debug)]
enum Command {
    /// Receipt 1 of boot 1 with its proof.
    Receipt,
    /// The proof of it alone, by its file.
    Proof,
    Chain,
    Log,
    /// Against the checkpoint of 300 entries.
    Since,
}

impl Command {
    fn line(self) -> String {
        let one = file(1, 1);
        match self {
            Command::Receipt => format!("receipt @{one}.jwt --proof @{one}.tlog-proof {KEYS}"),
            Command::Proof => format!("proof @{one}.tlog-proof --receipt @{one}.jwt --log-key @log.vkey --json"),
            Command::Chain => format!("chain @export {KEYS}"),
            Command::Log => "log @log --log-key @log.vkey --json".to_owned(),
            Command::Since => "log @log --log-key @log.vkey --since @checkpoint-300 --json".to_owned(),
        }
    }
}

fn check(name: &str, world: &World, command: Command, code: u8, kind: &str) {
    let ending = world.run(&command.line());
    let json: serde_json::Value = serde_json::from_str(&ending.stdout).unwrap_or_else(|_| panic!("{name}: {ending:?}"));
    assert_eq!(ending.code, code, "{name} by {command:?}: {json}");
    let kinds: Vec<&str> = json["faults"].as_array().into_iter().flatten().filter_map(|f| f["kind"].as_str()).collect();
    match code {
        0 => assert_eq!(json["result"], "holds", "{name}"),
        1 => assert!(kinds.contains(&kind), "{name} by {command:?}: {json}"),
        _ => assert_eq!((json["result"].as_str(), kinds.len()), (Some("not_checked"), 0), "{name}"),
    }
    assert!(code == 0 || json["proved"].as_array().is_none_or(Vec::is_empty), "{name}: {json}");
}

/// Replaces a part of a JWT (0 header, 1 claims) by its text after `change`; the signature stays.
fn reencode(world: &mut World, part: usize, change: impl Fn(&str) -> String) {
    world.edit(&format!("{}.jwt", file(1, 1)), |jwt| {
        let mut parts: Vec<String> = jwt.split('.').map(str::to_owned).collect();
        let text = String::from_utf8(from_b64url(&parts[part]).unwrap()).unwrap();
        parts[part] = b64url(change(&text).as_bytes());
        parts.join(".")
    });
}

fn claim(world: &mut World, from: &str, to: &str) {
    reencode(world, 1, |text| text.replacen(from, to, 1));
}

fn header(world: &mut World, from: &str, to: &str) {
    reencode(world, 0, |text| text.replacen(from, to, 1));
}

fn jwt(inc: u128, seq: u64) -> String {
    format!("{}.jwt", file(inc, seq))
}

fn proof(inc: u128, seq: u64) -> String {
    format!("{}.tlog-proof", file(inc, seq))
}

type Case = (&'static str, Command, u8, &'static str, fn(&mut World));

#[rustfmt::skip]
const CASES: &[Case] = &[
    // A receipt's claims.
    ("site changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"site\":\"de-test\"", "\"site\":\"fr-test\"")),
    ("issuer changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"iss\":\"de-test\"", "\"iss\":\"fr-test\"")),
    ("country changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"country\":\"DE\"", "\"country\":\"US\"")),
    ("tokens changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"output\":34", "\"output\":33")),
    ("cost changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"cost_micro_eur\":56", "\"cost_micro_eur\":0")),
    ("data class changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"internal\"", "\"secret\"")),
    ("outcome changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"completed\"", "\"refused\"")),
    ("deciding rule changed", Command::Receipt, 1, "receipt", |w| claim(w, "internal-in-europe", "public-anywhere")),
    ("opening changed", Command::Receipt, 1, "receipt", |w| claim(w, "\"opening\":\"", "\"opening\":\"A")),
    ("a claim added", Command::Receipt, 1, "receipt", |w| claim(w, "{", "{\"note\":1,")),
    ("a claim twice", Command::Receipt, 1, "receipt", |w| claim(w, "{", "{\"seq\":9,")),
    ("claims re-encoded with a space", Command::Receipt, 1, "receipt", |w| claim(w, "{", "{ ")),
    ("claims in another order", Command::Receipt, 1, "receipt", |w| reencode(w, 1, |text| {
        let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        let parts: Vec<String> = value.iter().rev().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        format!("{{{}}}", parts.join(","))
    })),
    // Its header and signature.
    ("alg none, signature gone", Command::Receipt, 1, "receipt", |w| {
        header(w, "EdDSA", "none");
        w.edit(&jwt(1, 1), |text| text[..=text.rfind('.').unwrap()].to_owned());
    }),
    ("alg none, signature kept", Command::Receipt, 1, "receipt", |w| header(w, "EdDSA", "none")),
    ("alg HS256 with the public key as secret", Command::Receipt, 1, "receipt", |w| {
        use jsonwebtoken::{Algorithm, EncodingKey, Header};
        let mut header = Header::new(Algorithm::HS256);
        (header.typ, header.kid) = (Some("receipt+jwt".into()), Some(receipt_key().kid()));
        let secret = EncodingKey::from_secret(&receipt_key().public());
        let token = jsonwebtoken::encode(&header, &claims(TENANT, 1, 1, Hash::ZERO), &secret).unwrap();
        w.put(&jwt(1, 1), &token);
    }),
    ("typ changed", Command::Receipt, 1, "receipt", |w| header(w, "receipt+jwt", "JWT")),
    ("typ changed and signed again", Command::Receipt, 1, "receipt", |w| {
        header(w, "receipt+jwt", "statement+jwt");
        w.edit(&jwt(1, 1), |text| receipt::jwt(text.rsplit_once('.').unwrap().0, &receipt_key()));
    }),
    ("kid of another key of the set", Command::Receipt, 1, "receipt", |w| header(w, &receipt_key().kid(), &key(6).kid())),
    ("kid of no key of the set", Command::Receipt, 1, "receipt", |w| header(w, &receipt_key().kid(), "0000000000000000")),
    ("key brought along in the header", Command::Receipt, 1, "receipt", |w| header(w, "{", "{\"jwk\":{},")),
    ("signed by another key under our kid", Command::Receipt, 1, "receipt", |w| {
        w.edit(&jwt(1, 1), |text| receipt::jwt(text.rsplit_once('.').unwrap().0, &key(8)));
    }),
    ("signed by an older key that is no longer trusted", Command::Receipt, 1, "receipt", |w| {
        let older = receipt::signing_input(&key(5).kid(), &claims(TENANT, 1, 1, Hash::ZERO)).unwrap().0;
        w.put(&jwt(1, 1), &receipt::jwt(&older, &key(5)));
    }),
    ("signature truncated", Command::Receipt, 1, "receipt", |w| w.edit(&jwt(1, 1), |t| t[..t.len() - 6].to_owned())),
    ("signature gone", Command::Receipt, 1, "receipt", |w| w.edit(&jwt(1, 1), |t| t.rsplit_once('.').unwrap().0.to_owned())),
    ("signature of another receipt", Command::Receipt, 1, "receipt", |w| {
        let other = w.text(&jwt(1, 2)).rsplit_once('.').unwrap().1.to_owned();
        w.edit(&jwt(1, 1), |text| format!("{}.{other}", text.rsplit_once('.').unwrap().0));
    }),
    ("receipt is empty", Command::Receipt, 1, "receipt", |w| w.put(&jwt(1, 1), "")),
    ("receipt is not text", Command::Receipt, 1, "receipt", |w| { w.0.insert(jwt(1, 1), vec![0xff; 300]); }),
    ("key set without the key", Command::Receipt, 1, "receipt", |w| w.put("jwks.json", &ledger::jwks::render(&[key(6).public()]))),
    // A proof.
    ("proof of another receipt", Command::Receipt, 1, "proof", |w| w.swap(&proof(1, 1), &proof(1, 2))),
    ("wrong leaf index", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.index += 1)),
    ("index past the size", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.index += 700)),
    ("proof hash flipped", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.hashes[3].0[9] ^= 1)),
    ("proof hash dropped", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| { p.hashes.pop(); })),
    ("proof hash too many", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.hashes.push(Hash::ZERO))),
    ("proof hashes swapped", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.hashes.swap(0, 1))),
    ("other log's checkpoint", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| {
        let other = LogSigner::new("log.other.invalid/x", key(2)).unwrap();
        p.checkpoint = other.checkpoint(&ledger::checkpoint::Checkpoint::open(&p.checkpoint, log_signer().vkey()).unwrap().head());
    })),
    ("other key under the log's name", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| {
        let thief = LogSigner::new(log_signer().origin(), key(2)).unwrap();
        p.checkpoint = thief.checkpoint(&ledger::checkpoint::Checkpoint::open(&p.checkpoint, log_signer().vkey()).unwrap().head());
    })),
    ("checkpoint size changed", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.checkpoint = p.checkpoint.replacen("\n300\n", "\n301\n", 1))),
    ("checkpoint of another size of the same log", Command::Proof, 1, "proof", |w| {
        let other = w.text("checkpoint-600");
        w.put_proof(&proof(1, 1), |p| p.checkpoint = other.clone());
    }),
    ("checkpoint signature flipped", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.checkpoint = resigned(&p.checkpoint, |n| n.signatures[0].bytes[20] ^= 1))),
    ("checkpoint signature gone", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.checkpoint = resigned(&p.checkpoint, |n| n.signatures.clear()))),
    ("extra line in the checkpoint", Command::Proof, 1, "proof", |w| w.put_proof(&proof(1, 1), |p| p.checkpoint = p.checkpoint.replacen("\n\n", "\nextra line\n\n", 1))),
    ("extra line after the signatures", Command::Proof, 1, "proof", |w| w.edit(&proof(1, 1), |t| format!("{t}extra line\n"))),
    ("extra line among the hashes", Command::Proof, 1, "proof", |w| w.edit(&proof(1, 1), |t| t.replacen("\n\n", "\nextra line\n\n", 1))),
    ("proof of another version", Command::Proof, 1, "proof", |w| w.edit(&proof(1, 1), |t| t.replace("@v1", "@v2"))),
    ("proof is cut", Command::Proof, 1, "proof", |w| w.edit(&proof(1, 1), |t| t[..t.len() / 2].to_owned())),
    ("receipt of the proof is garbage", Command::Proof, 1, "receipt", |w| w.put(&jwt(1, 1), "a.b.c")),
    // An export.
    ("a receipt in the middle dropped", Command::Chain, 1, "gap", |w| { w.remove(&jwt(1, 3)); w.remove(&proof(1, 3)); }),
    ("the first receipt dropped", Command::Chain, 1, "gap", |w| { w.remove(&jwt(2, 1)); w.remove(&proof(2, 1)); }),
    ("the last receipt dropped, its proof forgotten", Command::Chain, 1, "orphan", |w| w.remove(&jwt(1, 7))),
    ("the last receipt dropped, export.json forgotten", Command::Chain, 1, "count", |w| { w.remove(&jwt(1, 7)); w.remove(&proof(1, 7)); }),
    ("a receipt doubled under another name", Command::Chain, 1, "double", |w| { let t = w.text(&jwt(1, 3)); w.put("export/copy.jwt", &t); }),
    ("a copy is not named as its receipt", Command::Chain, 1, "name", |w| { let t = w.text(&jwt(1, 3)); w.put("export/copy.jwt", &t); }),
    ("a number issued twice", Command::Chain, 1, "double", |w| {
        let mut twin = claims(TENANT, 1, 3, Hash::ZERO);
        twin.jti = ReceiptId(99);
        w.put_receipt(&input(&twin));
    }),
    ("order changed: two receipts swapped", Command::Chain, 1, "name", |w| w.swap(&jwt(1, 3), &jwt(1, 4))),
    ("order changed and signed again", Command::Chain, 1, "link", |w| { w.resign(&jwt(2, 4), |c| c.seq = 5); w.resign(&jwt(2, 5), |c| c.seq = 4); }),
    ("prev of another receipt, signed again", Command::Chain, 1, "link", |w| w.resign(&jwt(2, 5), |c| c.prev = Hash([9; 32]).b64url())),
    ("a receipt rewritten and signed again", Command::Chain, 1, "link", |w| w.resign(&jwt(2, 4), |c| c.usage.output = 1)),
    ("a sealed receipt rewritten and signed again", Command::Chain, 1, "proof", |w| w.resign(&jwt(1, 7), |c| c.usage.output = 1)),
    ("first receipt with a prev", Command::Chain, 1, "link", |w| w.resign(&jwt(2, 1), |c| c.prev = Hash([9; 32]).b64url())),
    ("number zero", Command::Chain, 1, "link", |w| {
        let mut zero = claims(TENANT, 2, 0, Hash::ZERO);
        zero.jti = ReceiptId(99);
        w.put_receipt(&input(&zero));
    }),
    ("foreign tenant's receipt added", Command::Chain, 1, "foreign", |w| w.put_receipt(&chain(STRANGER, 1, 1)[0])),
    ("foreign tenant's receipts without export.json", Command::Chain, 1, "foreign", |w| { w.remove("export/export.json"); w.put_receipt(&chain(STRANGER, 1, 1)[0]); }),
    ("export.json names another tenant", Command::Chain, 1, "foreign", |w| w.edit("export/export.json", |t| t.replace(&TENANT.to_string(), &STRANGER.to_string()))),
    ("export.json is garbage", Command::Chain, 1, "export", |w| w.put("export/export.json", "{")),
    ("one signature broken", Command::Chain, 1, "receipt", |w| w.flip(&jwt(1, 5), 40)),
    ("proofs of two receipts swapped", Command::Chain, 1, "proof", |w| w.swap(&proof(1, 5), &proof(1, 6))),
    ("fork: two logs of one size", Command::Chain, 1, "fork", |w| {
        let leaf = receipt::leaf(&input(&receipt::parse(&w.text(&jwt(1, 1))).unwrap().claims));
        let forked = w.forked_proof(leaf, 100, 300).render();
        w.put(&proof(1, 1), &forked);
    }),
    ("fork: two receipts at one place", Command::Chain, 1, "fork", |w| {
        let leaf = receipt::leaf(&input(&receipt::parse(&w.text(&jwt(1, 1))).unwrap().claims));
        let forked = w.forked_proof(leaf, 160, 299).render();
        w.put(&proof(1, 1), &forked);
    }),
    ("folder without receipts", Command::Chain, 2, "", |w| w.0.retain(|path, _| !path.ends_with(".jwt"))),
    ("folder is missing", Command::Chain, 2, "", |w| w.0.retain(|path, _| !path.starts_with("export/"))),
    // A log.
    ("hash tile truncated", Command::Log, 1, "tile", |w| { w.0.get_mut("log/tile/0/001").unwrap().truncate(8_191); }),
    ("hash tile flipped", Command::Log, 1, "tile", |w| w.flip("log/tile/0/000", 77)),
    ("partial hash tile flipped", Command::Log, 1, "tile", |w| w.flip("log/tile/0/002.p/188", 5_000)),
    ("upper hash tile flipped", Command::Log, 1, "tile", |w| w.flip("log/tile/1/000.p/2", 33)),
    ("older partial tile shows another history", Command::Log, 1, "tile", |w| w.flip("log/tile/0/001.p/44", 3)),
    ("older partial bundle shows another history", Command::Log, 1, "tile", |w| w.flip("log/tile/entries/001.p/44", 3)),
    ("a wider tile shows another history", Command::Log, 1, "tile", |w| { w.0.insert("log/tile/0/002.p/200".into(), vec![1; 6_400]); }),
    ("entry bundle flipped", Command::Log, 1, "root", |w| w.flip("log/tile/entries/000", 500)),
    ("entry bundle and its tile changed together", Command::Log, 1, "root", |w| {
        w.flip("log/tile/entries/000", 2);
        let entry = w.0["log/tile/entries/000"][2..34].to_vec();
        w.0.get_mut("log/tile/0/000").unwrap()[..32].copy_from_slice(&ledger::hash::leaf_hash(&entry).0);
    }),
    ("entry bundle truncated", Command::Log, 1, "bundle", |w| { w.0.get_mut("log/tile/entries/001").unwrap().truncate(8_000); }),
    ("entry bundle lacks an entry", Command::Log, 1, "bundle", |w| { w.0.get_mut("log/tile/entries/001").unwrap().truncate(34 * 255); }),
    ("entry of another length", Command::Log, 1, "bundle", |w| w.flip("log/tile/entries/000", 1)),
    ("entry bundles swapped", Command::Log, 1, "root", |w| w.swap("log/tile/entries/000", "log/tile/entries/001")),
    ("checkpoint's root changed", Command::Log, 1, "checkpoint", |w| w.edit("log/checkpoint", |t| t.replacen("\n700\n", "\n699\n", 1))),
    ("checkpoint of another key", Command::Log, 1, "checkpoint", |w| w.put("log/checkpoint", &LogSigner::new(log_signer().origin(), key(2)).unwrap().checkpoint(&ledger::tree::TreeHead::EMPTY))),
    ("checkpoint of another log", Command::Log, 1, "checkpoint", |w| w.put("log/checkpoint", &LogSigner::new("log.other.invalid/x", key(1)).unwrap().checkpoint(&ledger::tree::TreeHead::EMPTY))),
    ("checkpoint signed over another root", Command::Log, 1, "root", |w| w.put("log/checkpoint", &log_signer().checkpoint(&ledger::tree::TreeHead { size: 700, root: Hash([4; 32]) }))),
    ("checkpoint signed past the entries", Command::Log, 2, "", |w| w.put("log/checkpoint", &log_signer().checkpoint(&ledger::tree::TreeHead { size: 701, root: Hash([4; 32]) }))),
    ("rollback of the checkpoint", Command::Since, 1, "rollback", |w| { let older = log_signer().checkpoint(&ledger::tree::TreeHead::EMPTY); w.put("log/checkpoint", &older); }),
    ("older checkpoint of another history", Command::Since, 1, "history", |w| w.put("checkpoint-300", &log_signer().checkpoint(&ledger::tree::TreeHead { size: 300, root: Hash([4; 32]) }))),
    ("fork with the same size", Command::Since, 1, "history", |w| w.put("checkpoint-300", &log_signer().checkpoint(&ledger::tree::TreeHead { size: 700, root: Hash([4; 32]) }))),
    ("older checkpoint's signature flipped", Command::Since, 1, "checkpoint", |w| w.edit("checkpoint-300", |t| resigned(t, |n| n.signatures[0].bytes[0] ^= 1))),
    ("hash tile missing", Command::Log, 2, "", |w| w.remove("log/tile/0/001")),
    ("upper tile missing", Command::Log, 2, "", |w| w.remove("log/tile/1/000.p/2")),
    ("entry bundle missing", Command::Log, 2, "", |w| w.remove("log/tile/entries/001")),
    ("tile missing and another flipped", Command::Log, 1, "tile", |w| { w.remove("log/tile/0/001"); w.flip("log/tile/0/000", 7); }),
    ("checkpoint missing", Command::Log, 2, "", |w| w.remove("log/checkpoint")),
    ("older checkpoint missing", Command::Since, 2, "", |w| w.remove("checkpoint-300")),
    // What the user brings.
    ("receipt missing", Command::Receipt, 2, "", |w| w.remove(&jwt(1, 1))),
    ("proof missing", Command::Receipt, 2, "", |w| w.remove(&proof(1, 1))),
    ("key set missing", Command::Receipt, 2, "", |w| w.remove("jwks.json")),
    ("key set is garbage", Command::Receipt, 2, "", |w| w.put("jwks.json", "[]")),
    ("key set with a kid that is not its key's", Command::Receipt, 2, "", |w| w.edit("jwks.json", |t| t.replace(&receipt_key().kid(), &key(8).kid()))),
    ("log key missing", Command::Log, 2, "", |w| w.remove("log.vkey")),
    ("log key mistyped", Command::Log, 2, "", |w| w.edit("log.vkey", |t| t.replacen("abcd2345", "abcd2346", 1))),
];

#[test]
fn what_was_not_touched_holds() {
    let world = World::sound();
    for command in [Command::Receipt, Command::Proof, Command::Chain, Command::Log, Command::Since] {
        check("untouched", &world, command, 0, "");
    }
}

#[test]
fn every_mutation_is_rejected() {
    let sound = World::sound();
    for (name, command, code, kind, change) in CASES {
        let mut world = sound.clone();
        change(&mut world);
        check(name, &world, *command, *code, kind);
    }
    let rejected = CASES.iter().filter(|case| case.2 == 1).count();
    assert!(rejected >= 80, "{rejected} kinds of mutation");
}

/// The same export as one file of lines: every way of cheating is found there too, but for those that are about names of
/// files (a line has none) and proofs without a receipt (a line holds both).
#[test]
fn every_mutation_of_an_export_is_rejected_in_a_bundle() {
    let sound = World::sound();
    check("untouched", &sound.clone().bundled(), Command::Chain, 0, "");
    let of_files = ["name", "orphan", ""];
    let cases = CASES.iter().filter(|case| matches!(case.1, Command::Chain) && !of_files.contains(&case.3));
    for (name, command, code, kind, change) in cases {
        let mut world = sound.clone();
        change(&mut world);
        check(name, &world.bundled(), *command, *code, kind);
    }
    let bundled = |change: fn(&str) -> String| {
        let mut world = sound.clone().bundled();
        world.edit("export/receipts.jsonl", change);
        world
    };
    check("a line that is no JSON", &bundled(|text| format!("{text}{{\n")), Command::Chain, 1, "export");
    check("a line without a receipt", &bundled(|text| format!("{text}{{}}\n")), Command::Chain, 1, "export");
    check("the last line cut", &bundled(|text| text[..text.len() - 100].to_owned()), Command::Chain, 1, "export");
    check(
        "the last line gone",
        &bundled(|text| text[..=text.trim_end().rfind('\n').unwrap()].to_owned()),
        Command::Chain,
        1,
        "count",
    );
    let mut both = sound.clone().bundled();
    both.put(&jwt(1, 3), &sound.text(&jwt(1, 3)));
    check("a receipt in a line and in a file", &both, Command::Chain, 1, "double");
}

/// Changes that must *not* be rejected: what the formats allow.
#[test]
fn what_may_differ_holds() {
    type Allowed = (&'static str, Command, fn(&mut World));
    let allowed: &[Allowed] = &[
        ("a line end after the receipt", Command::Receipt, |w| w.edit(&jwt(1, 1), |text| format!("{text}\n"))),
        ("alg by RFC 9864's name, signed so", Command::Receipt, |w| {
            w.remove(&proof(1, 1));
            let head = w.text(&jwt(1, 1));
            let rest = head.clone();
            let header = String::from_utf8(from_b64url(head.split('.').next().unwrap()).unwrap()).unwrap();
            let body = rest.split('.').nth(1).unwrap().to_owned();
            let text = format!("{}.{body}", b64url(header.replace("EdDSA", "Ed25519").as_bytes()));
            w.put(&jwt(1, 1), &receipt::jwt(&text, &receipt_key()));
            let forked = w.forked_proof(receipt::leaf(&text), 5, 9).render();
            w.put(&proof(1, 1), &forked);
        }),
        ("a signature of an unknown witness", Command::Proof, |w| {
            w.put_proof(&proof(1, 1), |p| {
                let witness = ledger::cosignature::Cosigner::new("witness.example/w", key(9)).unwrap();
                p.checkpoint = resigned(&p.checkpoint, |n| n.signatures.push(witness.sign(n, 1_790_000_000)));
            })
        }),
        ("extra in the proof", Command::Proof, |w| w.put_proof(&proof(1, 1), |p| p.extra = Some(b"hint".to_vec()))),
        ("no export.json", Command::Chain, |w| w.remove("export/export.json")),
        ("export.json without a count", Command::Chain, |w| {
            w.put("export/export.json", &format!("{{\"tenant\":\"{TENANT}\"}}"))
        }),
        ("no proofs at all", Command::Chain, |w| w.0.retain(|path, _| !path.ends_with(".tlog-proof"))),
        ("other files in the export", Command::Chain, |w| w.put("export/README", "hello")),
        ("older partial tiles deleted", Command::Log, |w| {
            w.remove("log/tile/0/001.p/44");
            w.remove("log/tile/entries/001.p/44");
        }),
        ("an append that is not published yet", Command::Log, |w| {
            let older = w.text("checkpoint-600");
            w.put("log/checkpoint", &older);
        }),
        ("partial tile gone, the full one there", Command::Log, |w| {
            let older = w.text("checkpoint-300");
            w.put("log/checkpoint", &older);
            w.remove("log/tile/0/001.p/44");
            w.remove("log/tile/entries/001.p/44");
        }),
        ("an empty log", Command::Log, |w| {
            w.0.retain(|path, _| !path.starts_with("log/tile"));
            w.put("log/checkpoint", &log_signer().checkpoint(&ledger::tree::TreeHead::EMPTY));
        }),
    ];
    let sound = World::sound();
    for (name, command, change) in allowed {
        let mut world = sound.clone();
        change(&mut world);
        check(name, &world, *command, 0, "");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One byte of a receipt, changed to anything: never accepted.
    #[test]
    fn no_changed_byte_of_a_receipt_verifies(place: prop::sample::Index, byte: u8) {
        let mut world = small();
        let bytes = world.0.get_mut(&jwt(1, 1)).unwrap();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        prop_assert_eq!(world.run(&Command::Receipt.line()).code, 1);
    }

    /// One byte of a proof, changed to anything: rejected, or it says exactly what it said before.
    #[test]
    fn no_changed_byte_of_a_proof_proves_something_else(place: prop::sample::Index, byte: u8) {
        let mut world = small();
        let before = world.run(&Command::Proof.line());
        let bytes = world.0.get_mut(&proof(1, 1)).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let after = world.run(&Command::Proof.line());
        prop_assert!(after.code == 1 || after == before, "{:?}", after);
    }
}

/// Only what `receipt` and `proof` read.
fn small() -> World {
    let keep = [jwt(1, 1), proof(1, 1), "jwks.json".to_owned(), "log.vkey".to_owned()];
    let mut world = World::sound();
    world.0.retain(|path, _| keep.contains(path));
    world
}
