//! Every `scenarios/*.txt` is told and compared with the `*.out` beside it. `UPDATE_GOLDENS=1` writes them anew; read the
//! difference before you keep it.

use std::fs;
use std::path::Path;

#[test]
fn every_story_ends_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios");
    let mut stories: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.retain(|path| path.extension().is_some_and(|it| it == "txt"));
    stories.sort();
    assert!(stories.len() >= 6, "{stories:?}");
    let mut differ = Vec::new();
    for path in stories {
        let text = fs::read_to_string(&path).unwrap();
        let told = fleet::scenario::run(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = path.with_extension("out");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&golden, &told).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != told {
            differ.push(format!("{}:\n{told}", golden.display()));
        }
    }
    assert!(differ.is_empty(), "differ (UPDATE_GOLDENS=1 writes them anew):\n{}", differ.join("\n"));
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed: u64| {
        let text = format!(
            "tick 10 min\nmachines 10 behind leaf-01\ninstall\nfaults 20 a day seed {seed}\nadvance 5 d\ncount"
        );
        fleet::scenario::run(&text).unwrap()
    };
    let tail = |text: String| text.lines().skip(5).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(story(1), story(1));
    assert_ne!(tail(story(1)), tail(story(2)));
}

#[test]
fn a_mistake_names_its_line() {
    let error = fleet::scenario::run("machines 1 behind leaf-01\nbmc m2 ok\n").unwrap_err();
    assert_eq!((error.line, error.what.as_str()), (2, "no machine m2"));
}
