//! Names in bulk: `r01..r16`, `leaf-{01..32}-{1..8}`, `a, b, c`, and paths of them, `h1/r01..r08/k01..k16`. A full site is
//! 1,250 machines and 27,000 cables in 200 lines, because of this file.

/// 32 units x 32 machines x 8 rails are 8,192 names; 65,536 are more than any pattern of a site means.
pub const NAMES_MAX: usize = 65_536;
/// Lists of places in one field; each is looked up among all racks.
pub const PATHS_MAX: usize = 1_024;
/// A name stands on labels and in topics.
pub const NAME_LEN_MAX: usize = 64;

/// Why a pattern is none.
pub type Wrong = String;

/// The names that a pattern means, in order; leftmost braces vary slowest.
pub fn names(pattern: &str) -> Result<Vec<String>, Wrong> {
    let mut all = Vec::new();
    for item in split(pattern, ',') {
        let item = item.trim();
        if item.is_empty() {
            return Err(format!("{pattern:?} has an empty name"));
        }
        all.extend(item_names(item)?);
        if all.len() > NAMES_MAX {
            return Err(format!("{pattern:?} means more than {NAMES_MAX} names"));
        }
    }
    Ok(all)
}

/// A path of `depth` names: each part is `*` (`None`) or the names that it means.
pub fn paths(pattern: &str, depth: usize) -> Result<Vec<Vec<Option<Vec<String>>>>, Wrong> {
    let mut all = Vec::new();
    for item in split(pattern, ',') {
        let parts: Vec<&str> = item.trim().split('/').collect();
        if parts.len() != depth {
            let shape = ["hall", "hall/row", "hall/row/rack", "hall/row/rack/uNN"][depth.clamp(1, 4) - 1];
            return Err(format!("{:?} is not of the form {shape}", item.trim()));
        }
        let mut path = Vec::new();
        for part in parts {
            path.push(match part {
                "*" => None,
                part => Some(names(part)?),
            });
        }
        let size = path.iter().flatten().fold(1usize, |size, names| size.saturating_mul(names.len()));
        if size > NAMES_MAX || all.len() >= PATHS_MAX {
            return Err(format!("{pattern:?} means more than {NAMES_MAX} places"));
        }
        all.push(path);
    }
    Ok(all)
}

/// Puts values in for `{hall}` and the like; braces that it does not know stay.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

/// Splits outside of braces.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0u32);
    for (index, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c == at && depth == 0 => {
                parts.push(&text[begin..index]);
                begin = index + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn item_names(item: &str) -> Result<Vec<String>, Wrong> {
    if !item.contains('{')
        && let Some((from, to)) = item.split_once("..")
    {
        let cut = from.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (prefix, first) = from.split_at(cut);
        let Some(last) = to.strip_prefix(prefix) else {
            return Err(format!("{item:?} begins with {prefix:?} and ends with something else"));
        };
        return range(item, first, last)?.into_iter().map(|number| checked(format!("{prefix}{number}"))).collect();
    }
    let mut all = vec![String::new()];
    let mut rest = item;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((inside, after)) = behind.split_once('}') else {
            return Err(format!("{item:?} opens a brace and does not close it"));
        };
        let values = braces(item, inside)?;
        if all.len().saturating_mul(values.len()) > NAMES_MAX {
            return Err(format!("{item:?} means more than {NAMES_MAX} names"));
        }
        all = all.iter().flat_map(|one| values.iter().map(move |value| format!("{one}{before}{value}"))).collect();
        if all.iter().any(|one| one.len() > NAME_LEN_MAX) {
            return Err(format!("{item:?} means names of more than {NAME_LEN_MAX} characters"));
        }
        rest = after;
    }
    all.into_iter().map(|one| checked(one + rest)).collect()
}

fn braces(item: &str, inside: &str) -> Result<Vec<String>, Wrong> {
    if let Some((first, last)) = inside.split_once("..") {
        return range(item, first, last);
    }
    if inside.contains(',') {
        return Ok(inside.split(',').map(|one| one.trim().to_owned()).collect());
    }
    Err(format!("{item:?} has {{{inside}}}, which nothing here gives a value"))
}

/// `01..16`, as wide as its first number is written.
fn range(item: &str, first: &str, last: &str) -> Result<Vec<String>, Wrong> {
    let number = |text: &str| match text.len() {
        1..=9 if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<usize>().ok(),
        _ => None,
    };
    let (Some(from), Some(to)) = (number(first), number(last)) else {
        return Err(format!("{item:?} must have a number on both sides of the two dots"));
    };
    if from > to {
        return Err(format!("{item:?} goes down: {first} to {last}"));
    }
    if to - from >= NAMES_MAX {
        return Err(format!("{item:?} means more than {NAMES_MAX} names"));
    }
    let width = first.len();
    Ok((from..=to).map(|number| format!("{number:0width$}")).collect())
}

fn checked(name: String) -> Result<String, Wrong> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        return Err(format!("a name has 1 to {NAME_LEN_MAX} characters, and {:?} has {}", cut(&name), name.len()));
    }
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
        Some(c) => Err(format!("{name:?} has {c:?}; names are made of a-z, A-Z, 0-9, - and _")),
        None => Ok(name),
    }
}

/// As much of a text as a message needs.
pub fn cut(text: &str) -> String {
    text.chars().take(NAME_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_what_they_mean() {
        let check = |pattern: &str, expect: &str| assert_eq!(names(pattern).unwrap().join(" "), expect, "{pattern}");
        check("h1", "h1");
        check("r08..r11", "r08 r09 r10 r11");
        check("9..11", "9 10 11");
        check("a, b,c", "a b c");
        check("l-{1..2}-{01..02}", "l-1-01 l-1-02 l-2-01 l-2-02");
        check("x{a,b}y, z", "xay xby z");
        check("leaf-1..leaf-2", "leaf-1 leaf-2");
    }

    #[test]
    fn what_is_none_says_why() {
        let check = |pattern: &str, expect: &str| {
            let wrong = names(pattern).unwrap_err();
            assert!(wrong.contains(expect), "{pattern}: {wrong}");
        };
        check("", "empty name");
        check("a,,b", "empty name");
        check("r5..r1", "goes down");
        check("r1..k3", "something else");
        check("r..r3", "number on both sides");
        check("{hall}-a", "nothing here gives a value");
        check("a{1..2", "does not close");
        check("a b", "' '");
        check("ü", "names are made of");
        check("r1..r99999999", "more than 65536");
        check("{1..300}{1..300}", "more than 65536");
        check("r1..r18446744073709551616", "number on both sides");
        check(&"x".repeat(65), "1 to 64");
        assert_eq!(names(&"x".repeat(64)).unwrap().len(), 1);
        assert_eq!(names("1..65536").unwrap().len(), NAMES_MAX);
    }

    #[test]
    fn paths_have_their_depth() {
        assert_eq!(paths("h1/r1..r2/*", 3).unwrap()[0][1], Some(vec!["r1".to_owned(), "r2".to_owned()]));
        assert!(paths("h1/r1", 3).unwrap_err().contains("hall/row/rack"));
        assert!(paths("h1/1..300/1..300", 3).unwrap_err().contains("more than"));
    }

    #[test]
    fn templates() {
        assert_eq!(fill("{hall}-{row}-{1..2}", &[("hall", "h1"), ("row", "r2")]), "h1-r2-{1..2}");
    }
}
