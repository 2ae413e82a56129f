//! German or English, by their small words. Not a detector of languages: a text in another one, or of names and numbers, is
//! neither, and is then indexed as both.

/// Words that one of the two languages uses all the time and the other hardly ever.
const GERMAN: &[&str] = &[
    "aber", "als", "am", "auch", "auf", "aus", "bei", "beim", "bis", "das", "dem", "den", "der", "des", "die", "durch",
    "ein", "eine", "einem", "einen", "einer", "eines", "es", "für", "ich", "ihr", "im", "ist", "kann", "mit", "muss",
    "müssen", "nach", "nicht", "nur", "oder", "ohne", "sich", "sie", "sind", "über", "um", "und", "unter", "vom",
    "von", "vor", "warum", "welche", "welcher", "welches", "wenn", "wer", "werden", "wie", "wird", "wo", "zu", "zum",
    "zur", "zwischen", "wann", "dürfen", "darf",
];
const ENGLISH: &[&str] = &[
    "about", "after", "and", "any", "are", "as", "at", "be", "before", "been", "by", "can", "do", "does", "for",
    "from", "has", "have", "how", "if", "into", "is", "it", "its", "may", "must", "no", "not", "of", "on", "or", "our",
    "shall", "should", "than", "that", "the", "their", "there", "this", "to", "we", "what", "when", "where", "which",
    "who", "why", "with", "without", "you", "your",
];

/// Words looked at: a page tells what a book is written in.
const WORDS_MAX: usize = 2_000;

/// `de`, `en`, or neither.
pub(crate) fn of(text: &str) -> Option<&'static str> {
    let (mut german, mut english) = (0_u32, 0_u32);
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(WORDS_MAX) {
        let lower = word.to_lowercase();
        german += u32::from(GERMAN.contains(&lower.as_str()) || lower.contains(['ä', 'ö', 'ü', 'ß']));
        english += u32::from(ENGLISH.contains(&lower.as_str()));
    }
    match (german, english) {
        (0, 0) => None,
        (german, english) if german >= 2 * english => Some("de"),
        (german, english) if english >= 2 * german => Some("en"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn languages() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(super::of(text), expect, "{text}");
        check("Die Wartung erfolgt alle 500 Stunden.", Some("de"));
        check("The machine is serviced every 500 hours.", Some("en"));
        check("Wer darf Überstunden anordnen?", Some("de"));
        check("Who may order overtime?", Some("en"));
        check("MX-400, 12 bar, 3 kW", None);
        check("The Betriebsrat is heard before die Kündigung von Mitarbeitern", None);
        check("", None);
    }
}
