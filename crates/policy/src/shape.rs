//! How deep a rule is, measured on its text before anything parses it.
//!
//! Why: Cedar's parser and validator recurse. In an unoptimised build, fifty nested brackets or two hundred `||` overflow
//! a thread's 2 MiB of stack, and that ends the process: a tenant could stop the control plane with a rule of 100 bytes.
//! The limits are measured, not guessed: a bracket costs about 52 KiB, a step 13 KiB, the rest 130 KiB; the worst
//! shape within them needs less than 1.5 MiB, which a test shows on a thread of that size.
//!
//! What it is not: no parser. It may count what Cedar would refuse anyway; it never counts less than what is there.

/// Brackets within brackets, the braces of `when` among them. Rules for people use four.
pub const NESTING_MAX: usize = 10;

/// `||`, `&&`, `+`, `-`, `*`, `!`, `if`, accesses (`.`) and opened `[`: what can make a syntax tree deep without
/// brackets. Forty comparisons joined by `||`; longer lists are written `["a", "b"].contains(…)`, which is flat.
pub const STEPS_MAX: usize = 80;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    pub nesting: usize,
    pub steps: usize,
}

/// Counts outside of strings and comments.
pub fn measure(text: &str) -> Shape {
    let bytes = text.as_bytes();
    let (mut shape, mut open, mut at) = (Shape::default(), 0usize, 0);
    while at < bytes.len() {
        let pair = (bytes[at], bytes.get(at + 1).copied().unwrap_or(0));
        at += match pair {
            (b'"', _) => string_len(&bytes[at..]),
            (b'/', b'/') => bytes[at..].iter().position(|&b| b == b'\n' || b == b'\r').unwrap_or(bytes.len() - at),
            (b'(' | b'{' | b'[', _) => {
                open += 1;
                shape.nesting = shape.nesting.max(open);
                shape.steps += usize::from(pair.0 == b'[');
                1
            }
            (b')' | b'}' | b']', _) => {
                open = open.saturating_sub(1);
                1
            }
            (b'|', b'|') | (b'&', b'&') => {
                shape.steps += 1;
                2
            }
            (b'+' | b'-' | b'*' | b'!' | b'.', _) => {
                shape.steps += 1;
                1
            }
            (first, _) if first.is_ascii_alphabetic() || first == b'_' => {
                let word = bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                shape.steps += usize::from(&bytes[at..at + word] == b"if");
                word
            }
            _ => 1,
        };
    }
    shape
}

/// From the opening quote to behind the closing one, or to the end.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let check = |text, nesting, steps| assert_eq!(measure(text), Shape { nesting, steps }, "{text}");
        check("", 0, 0);
        check("forbid (principal, action, resource);", 1, 0);
        check("when { (a || (b && !c)) }", 3, 3);
        check("when { [\"a\", \"b\"].contains(resource.site) }", 2, 3);
        check("if a then b else iffy + 1 - 2 * 3", 0, 4);
        check("\"((( || \\\" (((\" (a)", 1, 0); // strings do not count
        check("// ((( ||\n(a)", 1, 0); // nor do comments, which end with the line
        check("// ((( ||\r(a)", 1, 0);
        check("\"open ((((", 0, 0);
        check("\"\\", 0, 0);
        check("))))(", 1, 0);
    }
}
