//! A site in memory: two tenants, two boots of a gateway, a log of several tiles, a tenant's export. Cases change it and
//! write it to a folder of their own.

use ledger::hash::{Hash, sha256};
use ledger::log::{self, LogSigner};
use ledger::note::Note;
use ledger::proof::TlogProof;
use ledger::receipt;
use ledger::tile::TileSource;
use ledger::tree::TreeHead;
use ledger::{SigningKey, acceptance};
use std::collections::BTreeMap;
use std::ffi::OsString;
use types::{IncarnationId, ReceiptClaims, ReceiptId, TenantId};
use verify::Ending;

pub const ORIGIN: &str = "log.hoheit.invalid/de-test-abcd2345/2026h2";
pub const TENANT: TenantId = TenantId(0xa);
pub const STRANGER: TenantId = TenantId(0xb);

/// The log's sizes after each sealing; a receipt is proved under the first that holds it.
const SIZES: [u64; 3] = [300, 600, 700];

/// The place of the machine's certificate in the log.
const CERTIFICATE: usize = 50;

/// A machine's certificate, as it was signed.
pub fn certificate() -> String {
    let firmware = std::collections::BTreeMap::from([("BMC".to_owned(), "24.01".to_owned())]);
    let claims = serde_json::json!({
        "iss": "de-test", "jti": "acc_00000000000000000000000001", "iat": 1_795_000_000,
        "machine": "mach_00000000000000000000000001", "kind": "dgx-b200", "slot": "h1/r01/k01/u01",
        "occasion": "installation", "serials": {"chassis": "S1", "gpu1": "G1"},
        "firmware": firmware, "firmware_digest": acceptance::firmware_digest(&firmware),
        "suite": "dgx-b200", "validated_at": 1_795_000_000_000i64,
        "tests": [{"name": "memory", "outcome": "passed", "threshold": "", "value": ""}],
        "work": [], "opening": Hash([3; 32]).b64url()
    });
    acceptance::signing_input(&receipt_key().kid(), &serde_json::from_value(claims).unwrap()).unwrap()
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

pub fn receipt_key() -> SigningKey {
    key(7)
}

pub fn log_signer() -> LogSigner {
    LogSigner::new(ORIGIN, key(1)).unwrap()
}

/// Files by path; what a case changes.
#[derive(Clone, Default)]
pub struct World(pub BTreeMap<String, Vec<u8>>);

impl TileSource for World {
    type Error = String;
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(&format!("log/{path}")).cloned().ok_or_else(|| path.to_owned())
    }
}

/// Claims number `seq` of a chain.
pub fn claims(tenant: TenantId, inc: u128, seq: u64, prev: Hash) -> ReceiptClaims {
    let id = ReceiptId((tenant.0 << 64) | (inc << 32) | u128::from(seq));
    serde_json::from_value(serde_json::json!({
        "iss": "de-test", "jti": id, "iat": 1_795_000_000, "sub": tenant,
        "project": "prj_00000000000000000000000001", "key": "key_00000000000000000000000001",
        "dialect": "openai", "operation": "chat.completions", "model": "nano", "data_class": "internal",
        "served_by": {
            "endpoint": "end_00000000000000000000000001", "provider": "Hoheit", "jurisdiction": "DE",
            "operator": "Hoheit", "site": "de-test", "country": "DE", "machine": "eng_00000000000000000000000001",
            "retention": "none", "attestation": "none"
        },
        "policy": {"digest": "sha256:00", "permit": true, "rules": ["internal-in-europe"]},
        "usage": {"input": 12, "cached": 0, "output": 34, "reasoning": 0}, "usage_source": "engine",
        "price_book": "sha256:00", "cost_micro_eur": 56, "outcome": "completed",
        "received_at": 1_795_000_000_123i64, "ended_at": 1_795_000_001_456i64,
        "request_commitment": Hash([1; 32]).b64url(),
        "opening": sha256(&[&id.0.to_be_bytes()]).b64url(),
        "inc": IncarnationId(inc), "seq": seq, "prev": prev.b64url()
    }))
    .unwrap()
}

pub fn input(claims: &ReceiptClaims) -> String {
    receipt::signing_input(&receipt_key().kid(), claims).unwrap().0
}

/// A chain's signing inputs, linked.
pub fn chain(tenant: TenantId, inc: u128, length: u64) -> Vec<String> {
    let mut prev = Hash::ZERO;
    let link = |seq| {
        let text = input(&claims(tenant, inc, seq, prev));
        prev = receipt::leaf(&text);
        text
    };
    (1..=length).map(link).collect()
}

impl World {
    /// The world as it should be. Tenant A has a chain of 7 and one of 5; the last two of it are not sealed yet.
    pub fn sound() -> World {
        let mut world = World::default();
        let ours: Vec<String> = [chain(TENANT, 1, 7), chain(TENANT, 2, 5)].concat();
        let sealed = &ours[..10];
        // Receipts of others around ours: 0..3 are the stranger's, ours lie at 100, 170, 240 and so on.
        let mut leaves: Vec<Hash> = (0..SIZES[2]).map(|n| sha256(&[b"other", &n.to_be_bytes()])).collect();
        chain(STRANGER, 1, 3).iter().zip(&mut leaves).for_each(|(text, leaf)| *leaf = receipt::leaf(text));
        let place = |n: usize| 100 + 60 * n;
        sealed.iter().enumerate().for_each(|(n, text)| leaves[place(n)] = receipt::leaf(text));

        leaves[CERTIFICATE] = acceptance::leaf(&certificate());

        let mut head = TreeHead::EMPTY;
        for size in SIZES {
            let appended = log::append(&head, &world, &leaves[head.size as usize..size as usize]).unwrap();
            world.0.extend(appended.files.into_iter().map(|(path, bytes)| (format!("log/{path}"), bytes)));
            head = appended.head;
            let note = log_signer().checkpoint(&head);
            world.put(&format!("checkpoint-{size}"), &note);
            world.put("log/checkpoint", &note);
            for (n, text) in sealed.iter().enumerate().filter(|(n, _)| (place(*n) as u64) < size) {
                let file = format!("export/{}.tlog-proof", receipt::claims_of(text).unwrap().jti);
                if !world.0.contains_key(&file) {
                    let proof = log::prove(place(n) as u64, &note, size, &world).unwrap();
                    world.put(&file, &proof.render());
                }
            }
        }
        ours.iter().for_each(|text| world.put_receipt(text));
        world.put("machine.jwt", &acceptance::jwt(&certificate(), &receipt_key()));
        let note = world.text(&format!("checkpoint-{}", SIZES[0]));
        let proof = log::prove(CERTIFICATE as u64, &note, SIZES[0], &world).unwrap();
        world.put("machine.tlog-proof", &proof.render());
        world.put("export/export.json", &format!("{{\"tenant\":\"{TENANT}\",\"receipts\":12}}"));
        world.put("jwks.json", &ledger::jwks::render(&[key(6).public(), receipt_key().public()]));
        world.put("log.vkey", &format!("{}\n", log_signer().vkey()));
        world
    }

    pub fn put(&mut self, path: &str, text: &str) {
        self.0.insert(path.to_owned(), text.as_bytes().to_vec());
    }

    pub fn put_receipt(&mut self, signing_input: &str) {
        let id = receipt::claims_of(signing_input).unwrap().jti;
        self.put(&format!("export/{id}.jwt"), &receipt::jwt(signing_input, &receipt_key()));
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.0[path].clone()).unwrap()
    }

    pub fn edit(&mut self, path: &str, change: impl Fn(&str) -> String) {
        let (before, path) = (self.text(path), path.to_owned());
        let after = change(&before);
        assert_ne!(before, after, "the case changes nothing in {path}");
        self.0.insert(path, after.into_bytes());
    }

    pub fn flip(&mut self, path: &str, place: usize) {
        self.0.get_mut(path).unwrap_or_else(|| panic!("no {path}"))[place] ^= 1;
    }

    pub fn remove(&mut self, path: &str) {
        assert!(self.0.remove(path).is_some(), "no {path}");
    }

    /// The export as one file of lines.
    pub fn bundled(mut self) -> World {
        let jwts: Vec<String> =
            self.0.keys().filter(|path| path.starts_with("export/") && path.ends_with(".jwt")).cloned().collect();
        let mut lines = String::new();
        for path in jwts {
            let proof = path.replace(".jwt", ".tlog-proof");
            let jwt = String::from_utf8_lossy(&self.0[&path]).into_owned();
            let proof = self.0.remove(&proof).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            lines += &format!("{}\n", serde_json::json!({ "jwt": jwt, "proof": proof }));
            self.remove(&path);
        }
        self.put("export/receipts.jsonl", &lines);
        self
    }

    pub fn swap(&mut self, one: &str, two: &str) {
        let (a, b) = (self.0[one].clone(), self.0[two].clone());
        self.0.insert(one.to_owned(), b);
        self.0.insert(two.to_owned(), a);
    }

    pub fn proof(&self, path: &str) -> TlogProof {
        TlogProof::parse(&self.text(path)).unwrap()
    }

    pub fn put_proof(&mut self, path: &str, change: impl Fn(&mut TlogProof)) {
        let mut proof = self.proof(path);
        change(&mut proof);
        self.put(path, &proof.render());
    }

    /// Opens claims, changes them and has the operator's own key sign again: what a signature cannot find.
    pub fn resign(&mut self, path: &str, change: impl Fn(&mut ReceiptClaims)) {
        let mut claims = receipt::parse(&self.text(path)).unwrap().claims;
        change(&mut claims);
        self.put(path, &receipt::jwt(&input(&claims), &receipt_key()));
    }

    /// A second log of the same key and size, with other entries but for `leaf` at `index`.
    pub fn forked_proof(&self, leaf: Hash, index: u64, size: u64) -> TlogProof {
        let mut other = World::default();
        let mut leaves: Vec<Hash> = (0..size).map(|n| sha256(&[b"fork", &n.to_be_bytes()])).collect();
        leaves[index as usize] = leaf;
        let appended = log::append(&TreeHead::EMPTY, &other, &leaves).unwrap();
        other.0.extend(appended.files.into_iter().map(|(path, bytes)| (format!("log/{path}"), bytes)));
        log::prove(index, &log_signer().checkpoint(&appended.head), size, &other).unwrap()
    }

    /// Runs a command line with this world as the current folder; `@` before a word means a path in it.
    pub fn run(&self, line: &str) -> Ending {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in &self.0 {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let word = |word: &str| match word.strip_prefix('@') {
            Some(path) => dir.path().join(path).into_os_string(),
            None => OsString::from(word),
        };
        verify::run(["hoheit-verify"].into_iter().chain(line.split(' ')).map(word))
    }
}

/// The name of receipt `seq` of boot `inc` of our tenant, without extension.
pub fn file(inc: u128, seq: u64) -> String {
    format!("export/{}", claims(TENANT, inc, seq, Hash::ZERO).jti)
}

/// A checkpoint note with other signatures.
pub fn resigned(note: &str, change: impl Fn(&mut Note)) -> String {
    let mut note = Note::parse(note).unwrap();
    change(&mut note);
    note.to_string()
}
