//! How long indexing and asking take: `cargo run --release -p knowledge --example speed -- [passages] [dimensions]`.
//!
//! Texts are made up of German word parts with a fixed seed, vectors of the same; so nothing here says how good answers are. What
//! it measures is ours: reading in the child, cutting, sealing, storing, indexing, asking. The embedding endpoint answers at once.

use knowledge::{
    Attributes, BoxFuture, Embed, EmbedError, Knowledge, Limits, Mode, NewCollection, NewFile, Parts, Query,
    ReaderProgram, Status,
};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use types::audit::AuditEntry;
use types::snapshot::{Project, Tenant};
use types::{AuditId, DataClass, ProjectId, TenantId, UnixMillis};

const PROJECT: ProjectId = ProjectId(1);
const PASSAGES_PER_FILE: usize = 100;
const QUESTIONS: usize = 200;

/// A generator whose numbers are the same at every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

const PARTS: &[&str] = &[
    "arbeit",
    "zeit",
    "maschine",
    "wartung",
    "vertrag",
    "daten",
    "schutz",
    "energie",
    "lager",
    "presse",
    "prüfung",
    "plan",
    "kosten",
    "sicherheit",
    "urlaub",
    "antrag",
    "leitung",
    "werk",
    "stoff",
    "technik",
    "steuerung",
    "anlage",
    "fehler",
    "druck",
    "ventil",
];

/// A word: one to three parts, and an ending, so that there are some 50,000 different ones.
fn word(dice: &mut Dice) -> String {
    let mut word: String = (0..1 + dice.below(3)).map(|_| PARTS[dice.below(PARTS.len())]).collect();
    word.push_str(["", "s", "en", "er"][dice.below(4)]);
    word
}

/// A paragraph of about 800 characters, as passages are.
fn paragraph(dice: &mut Dice) -> String {
    let mut text = String::new();
    while text.len() < 800 {
        let words: Vec<String> = (0..8 + dice.below(8)).map(|_| word(dice)).collect();
        text.push_str(&format!("Die {} ist {}. ", words[0], words[1..].join(" ")));
    }
    text
}

/// Processor time of this process and of the children it waited for, from the kernel, in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| after.split_whitespace().nth(at).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(11) + ticks(12) + ticks(13) + ticks(14)))
}

async fn site(dir: &std::path::Path) -> Result<Store, Box<dyn Error>> {
    let store = Store::open(&format!("sqlite://{}/hoheit.db", dir.display())).await?;
    let entry = |number| AuditEntry {
        id: AuditId(number),
        at: UnixMillis(0),
        actor: "bench".to_owned(),
        action: "bench".to_owned(),
        object: "bench".to_owned(),
        tenant: None,
        detail: "{}".to_owned(),
    };
    let tenant = Tenant { id: TenantId(1), name: "bench".to_owned(), budget: None };
    store.tenant_create(&tenant, &entry(1)).await?;
    let project = Project {
        id: PROJECT,
        tenant: TenantId(1),
        name: "bench".to_owned(),
        class: DataClass::Confidential,
        country: None,
        budget: None,
        limits: types::snapshot::Limits::default(),
        commitment_key: "ab".repeat(32),
    };
    store.project_create(&project, &entry(2)).await?;
    Ok(store)
}

/// Runs as the reader of documents, too, so that no other program has to be there.
fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some("read-document") {
        return knowledge::read::child(Limits::default().text_bytes_max);
    }
    let run =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| runtime.block_on(measure()));
    match run {
        Ok(Ok(())) => std::process::ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn ask(knowledge: &Knowledge, mode: Mode, text: String, embed: Embed<'_>) -> Result<(), Box<dyn Error>> {
    let query = Query { text, top: 10, mode, ..Query::default() };
    knowledge.retrieve(PROJECT, &query, Some(embed)).await?;
    Ok(())
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let number =
        |at: usize, otherwise: usize| std::env::args().nth(at).and_then(|it| it.parse().ok()).unwrap_or(otherwise);
    let (passages, dimensions) = (number(1, 10_000), number(2, 1_024));
    let dir = tempfile::tempdir()?;
    let knowledge = Knowledge::new(Parts {
        store: site(dir.path()).await?,
        kek: [9; 32],
        clock: Arc::new(|| UnixMillis(1_790_000_000_000)),
        random: Arc::new(|bytes| aws_lc_rs::rand::fill(bytes).expect("the system has random bytes")),
        reader: ReaderProgram { path: std::env::current_exe()?, args: vec!["read-document".to_owned()] },
        limits: Limits::default(),
    });
    let embed = move |texts: Vec<String>| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        let vector = |text: &String| {
            let mut dice = Dice(text.bytes().fold(7, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)));
            (0..dimensions).map(|_| (dice.next() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
        };
        let vectors = texts.iter().map(vector).collect();
        Box::pin(async move { Ok(vectors) })
    };
    let collection = knowledge.collection_create(PROJECT, NewCollection::default()).await?.id;
    let mut dice = Dice(1);
    let (began, cpu_began) = (Instant::now(), cpu());
    let (mut stored, mut files) = (0, 0_u32);
    while stored < passages {
        let text: Vec<String> = (0..PASSAGES_PER_FILE).map(|_| paragraph(&mut dice)).collect();
        let new = NewFile { name: format!("{files}.txt"), content_type: None, purpose: "assistants".to_owned() };
        let file = knowledge.file_put(PROJECT, new, text.join("\n\n").as_bytes()).await?.id;
        let attached = knowledge.attach(PROJECT, collection, file, Attributes::default(), Some(&embed)).await?;
        if attached.status != Status::Completed {
            return Err(format!("{:?}", attached.status).into());
        }
        stored += usize::try_from(attached.passages)?;
        files += 1;
    }
    let each = |what: &str, began: Instant, cpu_began: Duration, count: usize| {
        let (wall, cpu) = (began.elapsed(), cpu() - cpu_began);
        let per = cpu.as_secs_f64() * 1e6 / count as f64;
        println!(
            "{what}: {:.2} s on the wall, {:.2} s CPU, {per:.0} µs CPU each",
            wall.as_secs_f64(),
            cpu.as_secs_f64()
        );
    };
    println!("{stored} passages of {files} files, {dimensions} dimensions");
    each("put, read, cut, seal, store", began, cpu_began, stored);
    let (began, cpu_began) = (Instant::now(), cpu());
    ask(&knowledge, Mode::Hybrid, "Wartung der Maschine".to_owned(), &embed).await?;
    each("first question: open and index all", began, cpu_began, stored);
    for (mode, name) in [(Mode::Bm25, "bm25"), (Mode::Embeddings, "embeddings"), (Mode::Hybrid, "hybrid")] {
        let (began, cpu_began) = (Instant::now(), cpu());
        for _ in 0..QUESTIONS {
            let text = format!("Wie ist die {} der {} mit {}?", word(&mut dice), word(&mut dice), word(&mut dice));
            ask(&knowledge, mode, text, &embed).await?;
        }
        each(&format!("{QUESTIONS} questions, {name}"), began, cpu_began, QUESTIONS);
    }
    Ok(())
}
