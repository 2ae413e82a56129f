//! What `dcgmi diag -r N -j` prints, as one result. The layout moved between versions, so this reads what all have: somewhere below,
//! objects that carry a test's `name` and, in it, `results` with a `status`.

use fleet::observed::TestOutcome;
use serde_json::Value;

/// Passed only if something passed, nothing failed, and the program itself ended well.
pub fn judge(text: &str, status: bool) -> (TestOutcome, String) {
    let Some(json) = text
        .find('{')
        .and_then(|from| serde_json::Deserializer::from_str(&text[from..]).into_iter::<Value>().next()?.ok())
    else {
        return (TestOutcome::Failed, format!("dcgmi printed no JSON: {}", crate::report::last(text, 400)));
    };
    let mut tests = Tests::default();
    tests.read(&json, "");
    let mut text = format!("{} passed, {} skipped", tests.passed, tests.skipped);
    if !tests.failed.is_empty() {
        text = format!("{text}, failed: {}", tests.failed.join("; "));
    }
    let good = status && tests.failed.is_empty() && tests.passed > 0;
    (if good { TestOutcome::Passed } else { TestOutcome::Failed }, text)
}

#[derive(Default)]
struct Tests {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Tests {
    fn read(&mut self, value: &Value, name: &str) {
        match value {
            Value::Array(items) => items.iter().for_each(|it| self.read(it, name)),
            Value::Object(fields) => {
                let name = fields.get("name").and_then(Value::as_str).unwrap_or(name);
                if let Some(status) = fields.get("status").and_then(Value::as_str) {
                    self.count(status, name, fields);
                }
                fields.values().for_each(|it| self.read(it, name));
            }
            _ => {}
        }
    }

    fn count(&mut self, status: &str, name: &str, fields: &serde_json::Map<String, Value>) {
        match status.to_ascii_lowercase().as_str() {
            "pass" => self.passed += 1,
            "skip" | "notrun" | "not run" => self.skipped += 1,
            other => {
                let gpu = fields.get("gpu_id").or_else(|| fields.get("entity_id")).map(|it| format!(" GPU {it}"));
                self.failed.push(format!("{name}{} {other}", gpu.unwrap_or_default()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diag(status: &str) -> String {
        format!(
            r#"some warning
            {{"DCGM GPU Diagnostic": {{"test_categories": [
                {{"category": "Deployment", "tests": [{{"name": "Denylist", "results": [{{"status": "Pass"}}]}}]}},
                {{"category": "Stress", "tests": [{{"name": "Memtest", "results": [
                    {{"gpu_id": "0", "status": "Pass"}}, {{"gpu_id": "3", "status": "{status}"}}]}}]}}]}}}}
            trailing words"#
        )
    }

    #[test]
    fn verdicts() {
        assert_eq!(judge(&diag("Pass"), true), (TestOutcome::Passed, "3 passed, 0 skipped".into()));
        assert_eq!(judge(&diag("Skip"), true).0, TestOutcome::Passed);
        let (outcome, text) = judge(&diag("Fail"), true);
        assert_eq!(outcome, TestOutcome::Failed);
        assert!(text.contains("Memtest GPU \"3\" fail"), "{text}");
        assert_eq!(judge(&diag("Pass"), false).0, TestOutcome::Failed, "the program failed");
        assert_eq!(judge("{}", true).0, TestOutcome::Failed, "nothing was tested");
        assert_eq!(judge("no daemon", false).0, TestOutcome::Failed);
    }
}
