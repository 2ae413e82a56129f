//! `hoheit site apply|show`: the site file to the control plane, and back. The control plane reads and judges it; what is
//! wrong with a file is said here as it says it.

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::show;
use fleet::site;
use serde_json::{Value, json};
use std::path::Path;

/// Lines of each kind that a person reads; `--json` has all.
const LINES_MAX: usize = 12;

pub async fn run(
    client: &Client,
    file: &Path,
    serials: Option<&Path>,
    dry_run: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let open = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            Failure::failed(format!("{}: {error}", path.display()))
                .hint("name a site file; sites/small/site.toml is one")
        })
    };
    let text = open(file)?;
    let beside = site::serials_file(&text).map(|name| file.with_file_name(name)).filter(|path| path.is_file());
    let serials = serials.or(beside.as_deref()).map(open).transpose()?;
    let body = json!({ "text": text, "serials": serials, "dry_run": dry_run });
    let applied = client.put("/api/v1/site", &body).await.map_err(|failure| match failure.code.as_deref() {
        Some("invalid_request") => {
            failure.hint(format!("`hoheit site check {}` says all, without a site", file.display()))
        }
        Some("conflict") => failure.hint("retire what must go first, or leave it in the file"),
        _ => failure,
    })?;
    show::done(as_json, &applied, &said(&applied, dry_run))?;
    match applied["refused"].as_array() {
        Some(refused) if !refused.is_empty() => {
            Err(Failure::failed("It would be refused.").hint("settle what is refused first; nothing was applied"))
        }
        _ => Ok(()),
    }
}

fn said(applied: &Value, dry_run: bool) -> String {
    let count = |name: &str| applied[name].as_array().map_or(0, Vec::len);
    let counts = format!("{} added, {} changed, {} removed", count("added"), count("changed"), count("removed"));
    let mut text = match applied["version"].as_u64() {
        Some(version) => format!("applied as version {version}: {counts}"),
        None if dry_run => format!("would be applied: {counts}"),
        None => "nothing changes".to_owned(),
    };
    for (name, sign) in
        [("added", "+"), ("changed", "~"), ("removed", "-"), ("refused", "refused:"), ("warnings", "warning:")]
    {
        let lines = applied[name].as_array().map_or(&[][..], Vec::as_slice);
        for line in lines.iter().take(LINES_MAX) {
            text += &format!("\n  {sign} {}", show::text(line));
        }
        if lines.len() > LINES_MAX {
            text += &format!("\n  {sign} … and {} more", lines.len() - LINES_MAX);
        }
    }
    if applied["version"].is_u64() {
        text += "\nnext: hoheit fleet watch, hoheit task list";
    }
    text
}

pub async fn show(client: &Client, as_json: bool) -> Result<(), Failure> {
    let site = client.get("/api/v1/site").await.map_err(|failure| match failure.is_not_found() {
        true => Failure::failed("No site file is applied.").hint("hoheit site apply site.toml"),
        false => failure,
    })?;
    if as_json {
        return show::json(&site);
    }
    let serials = site["serials"].as_str().map_or(0, |text| text.lines().count());
    let (version, digest) = (show::text(&site["version"]), show::text(&site["digest"]));
    let at = show::time(&site["applied_at"]);
    show::line(&format!("# version {version}, applied {at}, {digest}, {serials} lines of serial numbers\n"))?;
    show::line(show::clean(&site["text"].as_str().unwrap_or_default().replace('\t', "    ")).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_it() {
        let slots: Vec<String> = (1..=LINES_MAX + 2).map(|i| format!("h1/r01/k01/u{i:02}")).collect();
        let applied = json!({ "version": 3, "added": slots, "changed": ["h1/r02/k01/u01: suite: a -> b"], "removed": [],
            "refused": [], "warnings": ["line 3: a rack stands empty"] });
        let text = said(&applied, false);
        assert!(
            text.starts_with("applied as version 3: 14 added, 1 changed, 0 removed\n  + h1/r01/k01/u01\n"),
            "{text}"
        );
        assert!(text.contains("\n  + … and 2 more\n  ~ h1/r02/k01/u01: suite: a -> b\n  warning: line 3"), "{text}");
        let nothing =
            json!({ "version": null, "added": [], "changed": [], "removed": [], "refused": [], "warnings": [] });
        assert_eq!(said(&nothing, false), "nothing changes");
        assert_eq!(said(&nothing, true), "would be applied: 0 added, 0 changed, 0 removed");
    }
}
