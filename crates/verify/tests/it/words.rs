//! What the program says: one line, proved and not proved, in two languages and as JSON.

use crate::world::{World, file, key, log_signer, receipt_key, resigned};
use ledger::cosignature::Cosigner;
use ledger::hash::Hash;
use ledger::note::Note;
use ledger::receipt;

const KEYS: &str = "--jwks @jwks.json --log-key @log.vkey";

fn check(world: &World, line: &str, code: u8, parts: &[&str]) {
    let ending = world.run(line);
    let said = format!("{}{}", ending.stdout, ending.stderr);
    assert_eq!(ending.code, code, "{line}: {said}");
    for part in parts {
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    if code == 0 {
        assert_eq!(said.matches('\n').count(), 1, "one line: {said}");
    }
}

#[test]
fn a_receipt() {
    let world = World::sound();
    let one = file(1, 1);
    let id = one.trim_start_matches("export/");
    let never = "that it ran where the receipt says or that no copy exists";
    check(
        &world,
        &format!("receipt @{one}.jwt --proof @{one}.tlog-proof {KEYS}"),
        0,
        &[
            "holds: a key of site de-test signed",
            id,
            "at place 100 of 300",
            "Not proved: that everyone is shown the same log",
            never,
        ],
    );
    check(&world, &format!("receipt @{one}.jwt {KEYS}"), 0, &["that it is in the log (no --proof given)", never]);
    check(&world, &format!("receipt @{one}.jwt {KEYS} --lang de"), 0, &["hält: ", "Nicht bewiesen: ", "keine Kopie"]);
    let leaf = receipt::leaf(&receipt::parse(&world.text(&format!("{one}.jwt"))).unwrap().signing_input);
    let vkey = log_signer().vkey().to_string();
    let line = format!("proof @{one}.tlog-proof --leaf {leaf} --log-key {vkey}");
    check(&world, &line, 0, &[&format!("leaf {leaf} is in the log"), "Not proved"]);
    check(&world, &line.replace(&leaf.hex(), &Hash::ZERO.hex()), 1, &["does not hold: 1\n  [proof] "]);
    check(&world, &line.replace(&leaf.hex(), "12"), 2, &["could not check: a leaf is 64 hex digits"]);
}

#[test]
fn a_certificate_of_acceptance() {
    let world = World::sound();
    let line = format!("acceptance @machine.jwt --proof @machine.tlog-proof {KEYS}");
    let still = "that the machine is still so";
    check(
        &world,
        &line,
        0,
        &[
            "holds: a key of site de-test signed acc_00000000000000000000000001 for mach_",
            "(dgx-b200, h1/r01/k01/u01)",
            "2 serial numbers, 1 firmware versions, 1 tests passed",
            "at place 50 of 300",
            "that it is of the machine before you",
            still,
        ],
    );
    check(&world, &format!("{line} --lang de"), 0, &["hält: ", "1 bestandene", "Nicht bewiesen: ", "noch so ist"]);
    check(&world, &format!("{line} --serial G1 --serial S1"), 0, &["it names G1, S1", still]);
    check(&world, &format!("{line} --serial G1 --serial G2"), 1, &["[serial] no part", "serial number G2"]);
    check(&world, &format!("acceptance @machine.jwt {KEYS}"), 0, &["that it is in the log (no --proof given)"]);
    // A receipt is no certificate, nor is its proof one of the certificate.
    let one = file(1, 1);
    check(&world, &line.replace("@machine.jwt", &format!("@{one}.jwt")), 1, &["[acceptance]", "acceptance+jwt"]);
    check(&world, &line.replace("@machine.tlog-proof", &format!("@{one}.tlog-proof")), 1, &["[proof] "]);
    check(&world, &line.replace("@machine.jwt", "@nothing.jwt"), 2, &["could not check: cannot read"]);
    let mut changed = world.clone();
    changed.edit("machine.jwt", |jwt| jwt.replacen('A', "B", 1));
    check(&changed, &line, 1, &["[acceptance] machine.jwt: "]);
}

#[test]
fn a_chain() {
    let mut world = World::sound();
    let line = format!("chain @export {KEYS}");
    check(
        &world,
        &line,
        0,
        &[
            "holds: 12 receipts of ten_",
            "in 2 chain(s): inc_00000000000000000000000001 1..7, inc_00000000000000000000000002 1..5",
            "10 of them are in the log log.hoheit.invalid/de-test-abcd2345/2026h2 (checkpoints up to 700)",
            "that the 3 checkpoints of different sizes are one history",
            "that the 2 receipt(s) without a proof are in the log",
            "that nothing came after the last number of a chain",
        ],
    );
    for (inc, seq) in [(1, 2), (1, 3), (2, 1)] {
        world.remove(&format!("{}.jwt", file(inc, seq)));
        world.remove(&format!("{}.tlog-proof", file(inc, seq)));
    }
    world.remove("export/export.json");
    check(&world, &line, 1, &["does not hold: 2", "lacks the numbers 2 to 3", "lacks number 1"]);
    check(&world, &format!("{line} --lang de"), 1, &["hält nicht: 2", "fehlen die Nummern 2 bis 3", "fehlt Nummer 1"]);
}

/// A cut at the end cannot be seen, and the program says so each time instead of looking sure.
#[test]
fn the_cut_tail_is_admitted() {
    let mut world = World::sound();
    world.remove(&format!("{}.jwt", file(2, 5)));
    world.remove("export/export.json");
    check(&world, &format!("chain @export {KEYS}"), 0, &["that nothing came after the last number of a chain"]);
}

#[test]
fn a_log() {
    let mut world = World::sound();
    check(
        &world,
        "log @log --log-key @log.vkey",
        0,
        &["follows from its 700 entries", "that the log was never rewritten"],
    );
    let since = "log @log --log-key @log.vkey --since @checkpoint-300";
    check(&world, since, 0, &["it continues the checkpoint of 300 entries unchanged"]);
    world.put("data/admin-token", "x");
    let inside: Vec<_> = world.0.iter().map(|(path, bytes)| (format!("data/{path}"), bytes.clone())).collect();
    world.0.extend(inside);
    check(&world, "log @data --log-key @log.vkey", 0, &["700 entries"]);
    let older = world.text("checkpoint-600");
    world.put("log/checkpoint", &older);
    check(&world, "log @log --log-key @log.vkey", 0, &["tile file(s) beyond the checkpoint hold"]);
    world.put("checkpoint-300", &world.text("checkpoint-700").clone());
    check(&world, since, 1, &["[rollback] the log has 600 entries, the older checkpoint 700"]);
}

#[test]
fn witnesses() {
    let mut world = World::sound();
    let witness = |n: u8| Cosigner::new(&format!("witness.example/{n}"), key(100 + n)).unwrap();
    let one = file(1, 1);
    world.put_proof(&format!("{one}.tlog-proof"), |proof| {
        proof.checkpoint = resigned(&proof.checkpoint, |note: &mut Note| {
            note.signatures.push(witness(1).sign(note, 1_790_000_000));
        });
    });
    let line = format!("receipt @{one}.jwt --proof @{one}.tlog-proof {KEYS} --witness {}", witness(1).vkey);
    check(&world, &line, 0, &["cosigned by witness.example/1"]);
    assert!(!world.run(&line).stdout.contains("that everyone is shown the same log"));
    check(&world, &format!("{line} --witness {}", witness(2).vkey), 1, &["1 of the 2 witnesses"]);
}

#[test]
fn json() {
    let world = World::sound();
    let parsed = |line: &str| serde_json::from_str::<serde_json::Value>(&world.run(line).stdout).unwrap();
    let good = parsed(&format!("chain @export {KEYS} --json"));
    assert_eq!((good["result"].as_str(), good["exit"].as_u64()), (Some("holds"), Some(0)));
    assert!(!good["proved"].as_array().unwrap().is_empty() && !good["not_proved"].as_array().unwrap().is_empty());
    let missing = parsed("log @nowhere --log-key @log.vkey --json");
    assert_eq!((missing["result"].as_str(), missing["exit"].as_u64()), (Some("not_checked"), Some(2)));
}

/// Two keys overlap during a change of keys: receipts of both hold.
#[test]
fn keys_overlap() {
    let mut world = World::sound();
    let older = receipt::signing_input(&key(6).kid(), &crate::world::claims(crate::world::TENANT, 1, 1, Hash::ZERO));
    world.put("older.jwt", &receipt::jwt(older.unwrap().as_str(), &key(6)));
    check(&world, &format!("receipt @older.jwt {KEYS}"), 0, &["holds"]);
    world.put("jwks.json", &ledger::jwks::render(&[receipt_key().public()]));
    check(&world, &format!("receipt @older.jwt {KEYS}"), 1, &["is not in the key set"]);
}
