//! Files of all kinds, good and bad, through the real child. Whatever a file is, the answer is passages, or a finding that says
//! what to do; the file itself stays.

use crate::bed::{Bed, OURS, THEIRS, add, collection, put};
use crate::documents::{self, docx, lines, pdf, placed, zip};
use knowledge::{Attributes, Finding, Knowledge, KnowledgeError, Limits, ReaderProgram, Status};
use std::time::Duration;
use types::{CollectionId, Passage};

struct Reads {
    _bed: Bed,
    knowledge: Knowledge,
    collection: CollectionId,
}

impl Reads {
    async fn new() -> Reads {
        Reads::with(Limits::default(), crate::bed::reader()).await
    }

    async fn with(limits: Limits, reader: ReaderProgram) -> Reads {
        let bed = Bed::new().await;
        let knowledge = bed.knowledge_with(|parts| {
            parts.limits = limits;
            parts.reader = reader;
        });
        let collection = collection(&knowledge, OURS, "c").await;
        Reads { _bed: bed, knowledge, collection }
    }

    async fn passages(&self, name: &str, bytes: &[u8]) -> Vec<Passage> {
        let attached = add(&self.knowledge, OURS, self.collection, (name, bytes), None).await;
        assert_eq!(attached.status, Status::Completed, "{name}");
        self.knowledge.passages(OURS, self.collection, attached.file).await.unwrap()
    }

    async fn text(&self, name: &str, bytes: &[u8]) -> String {
        let passages = self.passages(name, bytes).await;
        passages.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join("\n\n")
    }

    /// The finding's code; and the file is there as it was.
    async fn finding(&self, name: &str, bytes: &[u8]) -> String {
        let attached = add(&self.knowledge, OURS, self.collection, (name, bytes), None).await;
        let Status::Failed { code, message } = attached.status else { panic!("{name}: {:?}", attached.status) };
        assert!(message.len() > 20 && message.contains(['.', ':']), "{message}");
        assert_eq!(self.knowledge.file_content(OURS, attached.file).await.unwrap(), bytes, "{name}");
        assert_eq!(self.knowledge.passages(OURS, self.collection, attached.file).await.unwrap(), []);
        code
    }
}

#[tokio::test]
async fn pdf_pages_lines_words_and_parted_words() {
    let reads = Reads::new().await;
    let first = lines(&[
        "Die Größe der Presse ist dem Wartungs-",
        "intervall und der Ein-",
        "und Ausgangsleistung zu entnehmen.",
        "",
    ]);
    let second = placed(&["Wörter", "werden", "einzeln", "gesetzt."]);
    let pdf = documents::bytes(documents::pdf_of(vec![first, vec![], second], Some("Pressen & Öle")));
    let passages = reads.passages("whatever.txt", &pdf).await;
    let text = "Die Größe der Presse ist dem Wartungsintervall und der Ein-\nund Ausgangsleistung zu entnehmen.";
    assert_eq!(passages[0].text, format!("{text}\n\nWörter werden einzeln gesetzt."));
    assert_eq!((passages[0].title.as_str(), passages[0].page), ("Pressen & Öle", Some(1)));
    // A long one: passages say their pages.
    let page: Vec<String> = (0..30).map(|n| format!("Satz {n} handelt von Druck und Temperatur der Anlage.")).collect();
    let page: Vec<&str> = page.iter().map(String::as_str).collect();
    let passages = reads.passages("b.pdf", &documents::pdf(&[&page, &page])).await;
    assert_eq!(passages.first().unwrap().page, Some(1));
    assert_eq!(passages.last().unwrap().page, Some(2));
}

#[tokio::test]
async fn docx_paragraphs_tables_and_what_was_deleted() {
    let reads = Reads::new().await;
    let p = |runs: &str| format!("<w:p>{runs}</w:p>");
    let t = |text: &str| format!("<w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r>");
    let body = [
        p(&[t("Die Pause "), t("dauert 30&#160;Minuten &amp; ist"), t(" unbezahlt.")].concat()),
        p(&format!("<w:del><w:r><w:delText>gestrichen</w:delText></w:r></w:del><w:ins>{}</w:ins>", t("eingefügt"))),
        p("<w:r><w:instrText>HYPERLINK geheim</w:instrText></w:r><w:r><w:br/></w:r>"),
        format!("<w:tbl><w:tr><w:tc>{}</w:tc><w:tc>{}</w:tc></w:tr></w:tbl>", p(&t("Montag")), p(&t("frei"))),
        p(&format!("<w:r><w:lastRenderedPageBreak/></w:r>{}", t("Zweite Seite."))),
    ];
    let passages = reads.passages("a.docx", &docx(&body.concat())).await;
    let text = passages[0].text.replace('\u{a0}', "~");
    assert_eq!(text, "Die Pause dauert 30~Minuten & ist unbezahlt.\n\neingefügt\n\nMontag | frei \n\nZweite Seite.");
    assert_eq!((passages[0].title.as_str(), passages[0].page), ("Betrieb & Ordnung", Some(1)));
}

#[tokio::test]
async fn html_markdown_text_and_tables() {
    let reads = Reads::new().await;
    let html = "<!doctype html><title>Wiki</title><script>alert('SCRIPT-CANARY')</script><h1>Öle</h1><p onclick=\"x('ON-CANARY')\">\
                Öl 46 <b>wird</b> getauscht.</p><style>STYLE-CANARY</style><noscript>NOSCRIPT-CANARY</noscript>";
    assert_eq!(reads.text("page.pdf", html.as_bytes()).await, "Öle\n\nÖl 46 wird getauscht.");
    assert_eq!(reads.text("a.md", b"# Titel\n\n- eins\n- zwei").await, "# Titel\n\n- eins\n- zwei");
    assert_eq!(reads.text("old.txt", b"Gr\xf6\xdfe in Windows-1252").await, "Größe in Windows-1252");
    assert_eq!(reads.text("x", b"Teil;Preis\nA;1\nB;2\n").await, "Teil: A; Preis: 1.\nTeil: B; Preis: 2.");
}

#[tokio::test]
async fn bad_files_are_told_what_to_do() {
    let reads = Reads::new().await;
    let large = vec![b' '; 2 << 20];
    let swollen = docx(&format!("<w:p><w:r><w:t>{}</w:t></w:r></w:p>", "a".repeat(2 << 20)));
    let nested = docx(&"<w:sdt>".repeat(100_000));
    let inner = zip(&[("a.txt", b"x")]);
    let ole_locked = [
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(),
        &[0; 600],
        b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0",
    ]
    .concat();
    let garbage: Vec<u8> = (0..4_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let entity = docx("<w:p><w:r><w:t>&lol;</w:t></w:r></w:p>");
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty.pdf", b"", "empty_file"),
        ("blank.txt", &large, "no_text"),
        ("scan.pdf", &pdf(&[&[], &[]]), "no_text"),
        ("locked.pdf", &documents::pdf_locked("secret"), "encrypted_file"),
        ("locked.docx", &documents::zip_locked(&[("word/document.xml", b"<x/>")]), "encrypted_file"),
        ("locked-by-word.docx", &ole_locked, "encrypted_file"),
        ("bomb.pdf", &documents::pdf_bomb(), "bomb_file"),
        ("bomb.docx", &swollen, "bomb_file"),
        ("deep.docx", &nested, "damaged_file"),
        ("entity.docx", &entity, "no_text"),
        ("cut.docx", &docx("<w:p>")[..200], "damaged_file"),
        ("torn.docx", &zip(&[("word/document.xml", b"<w:p><w:t>x</w:p>")]), "damaged_file"),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj\n<<", "damaged_file"),
        ("picture.pdf", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "unsupported_file"),
        ("program.docx", b"\x7fELF\x02\x01\x01\0\0", "unsupported_file"),
        ("garbage.txt", &garbage, "unsupported_file"),
        ("letter.doc", &[b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[0; 99]].concat(), "unsupported_file"),
        ("letter.docx", b"{\\rtf1 Hallo}", "unsupported_file"),
        ("sheet.docx", &zip(&[("xl/workbook.xml", b"<x/>")]), "unsupported_file"),
        ("two.zip", &zip(&[("inner.zip", &inner), ("b.txt", b"x")]), "archive_file"),
        ("nothing.zip", &zip(&[]), "archive_file"),
        ("a.gz", b"\x1f\x8b\x08\0\0", "archive_file"),
    ];
    for (name, bytes, code) in cases {
        assert_eq!(reads.finding(name, bytes).await, *code, "{name}");
    }
    // One that only forbids printing opens without a password, as everywhere.
    let open = documents::pdf_locked("");
    assert_eq!(reads.text("open.pdf", &open).await, "Geheimnis hinter Schloss und Riegel.");
}

#[tokio::test]
async fn a_document_has_so_much_text_and_no_more() {
    let most = Limits::default().text_bytes_max;
    let reads = Reads::new().await;
    assert_eq!(reads.finding("long.txt", &b"a ".repeat(most / 2 + 1)).await, "too_much_text");
}

/// Damaged in every way that a byte can be: the parent always has an answer of a known kind.
#[tokio::test]
async fn damaged_files_never_break_the_parent() {
    let reads = Reads::new().await;
    let good_pdf = pdf(&[&["Eine Seite mit Text.", "Noch eine Zeile."]]);
    let good_docx = docx("<w:p><w:r><w:t>Ein Absatz.</w:t></w:r></w:p>");
    let mut seed = 7_u32;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    for round in 0..24 {
        for good in [&good_pdf, &good_docx] {
            let mut bad = good.clone();
            for _ in 0..=round % 6 {
                let at = next(bad.len());
                bad[at] = next(256) as u8;
            }
            if round % 4 == 3 {
                bad.truncate(next(good.len()) + 1);
            }
            let attached = add(&reads.knowledge, OURS, reads.collection, ("bad", &bad), None).await;
            assert!(!matches!(attached.status, Status::Processing), "{attached:?}");
        }
    }
}

fn shell(script: &str) -> ReaderProgram {
    ReaderProgram { path: "/bin/sh".into(), args: vec!["-c".to_owned(), script.to_owned()] }
}

/// A child that was taken over, or is not ours, gets nothing out of its parent but a finding.
#[tokio::test]
async fn what_a_child_can_do_to_its_parent() {
    let check = async |script: &str, finding: Finding| {
        let limits = Limits { read_wall_max: Duration::from_secs(20), text_bytes_max: 1 << 20, ..Limits::default() };
        let reads = Reads::with(limits, shell(script)).await;
        assert_eq!(reads.finding("a.txt", &[b'a'; 300_000]).await, finding.code(), "{script}");
    };
    // It says what it likes, dies, or says more than it may.
    check("echo nonsense", Finding::Crashed).await;
    check("exit 0", Finding::Crashed).await;
    check("kill -SEGV $$", Finding::Crashed).await;
    check("kill -ABRT $$", Finding::TooMuchMemory).await;
    check("kill -XCPU $$", Finding::TooSlow).await;
    check("exec yes", Finding::TooMuchText).await;
    // It sees nothing of its parent's environment.
    let finding = "'{\"finding\":\"encrypted\"}'";
    check(&format!("[ -z \"$CARGO_MANIFEST_DIR$HOME$CARGO_PKG_NAME\" ] && echo {finding}"), Finding::Encrypted).await;
    // It does not end, and does not read.
    let limits = Limits { read_wall_max: Duration::from_millis(50), ..Limits::default() };
    let reads = Reads::with(limits, shell("exec sleep 600")).await;
    assert_eq!(reads.finding("a.txt", &[b'a'; 300_000]).await, "too_slow");
}

/// No program to read with is our fault, not the document's: the call fails, and the next one that has a program reads it.
#[tokio::test]
async fn without_a_reader_nothing_is_lost() {
    let bed = Bed::new().await;
    let missing = ReaderProgram { path: "/nonexistent/reader".into(), args: Vec::new() };
    for broken in [missing, shell("exit 3"), shell("exit 1")] {
        let knowledge = bed.knowledge_with(|parts| parts.reader = broken);
        let ours = collection(&knowledge, THEIRS, "c").await;
        let file = put(&knowledge, THEIRS, "a.txt", b"Ein Satz.").await;
        let error = knowledge.attach(THEIRS, ours, file, Attributes::default(), None).await.unwrap_err();
        assert!(matches!(error, KnowledgeError::Reader(_)) && error.code() == types::Code::Internal, "{error:?}");
        assert_eq!(knowledge.attached(THEIRS, ours, file).await.unwrap().status, Status::Processing);
        let done = bed.knowledge().attach(THEIRS, ours, file, Attributes::default(), None).await.unwrap();
        assert_eq!(done.status, Status::Completed);
    }
}

/// The bounds as the kernel keeps them, seen from within: this test runs itself again in a process of its own.
#[test]
fn the_child_has_no_files_no_network_and_little_memory() {
    let me = std::env::current_exe().unwrap();
    let within = std::process::Command::new(me)
        .args(["--exact", "reading::within_bounds", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&within.stdout);
    assert!(within.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&within.stderr));
}

#[test]
#[ignore = "bounds the process that it runs in; started by the test above"]
fn within_bounds() {
    use rustix::process::{Resource, getrlimit};
    let loopback = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = loopback.local_addr().unwrap();
    assert!(std::fs::File::open("/etc/hostname").is_ok() && std::net::TcpStream::connect(address).is_ok());
    assert!(Vec::<u8>::new().try_reserve_exact(1 << 30).is_ok());
    knowledge::read::bounds::apply().unwrap();
    assert!(std::fs::File::open("/etc/hostname").is_err());
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
    assert!(Vec::<u8>::new().try_reserve_exact(1 << 30).is_err());
    assert!(Vec::<u8>::new().try_reserve_exact(64 << 20).is_ok());
    for (resource, expect) in [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Cpu, 20), (Resource::Nproc, 0)] {
        let limit = getrlimit(resource);
        assert_eq!((limit.current, limit.maximum), (Some(expect), Some(expect)));
    }
}

/// The child bounds itself before it reads: it may write no file, not even one that its parent opened for it.
#[test]
fn the_child_program_is_bounded() {
    use std::os::unix::process::ExitStatusExt as _;
    const SIGXFSZ: i32 = 25;
    let dir = tempfile::tempdir().unwrap();
    let document = dir.path().join("a.txt");
    std::fs::write(&document, "Ein Satz.").unwrap();
    let output = std::fs::File::create(dir.path().join("out")).unwrap();
    let mut child = std::process::Command::new(crate::bed::reader().path);
    let ended = child.stdin(std::fs::File::open(document).unwrap()).stdout(output).status().unwrap();
    assert_eq!(ended.signal(), Some(SIGXFSZ), "{ended}");
}
