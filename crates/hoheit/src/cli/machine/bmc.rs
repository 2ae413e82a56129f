//! `hoheit machine bmc set`: where BMCs are and how to log in, one by hand or a whole delivery from a file.
//!
//! Passwords come from files, never from the command line, where other users of this machine could read them.

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::show;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  hoheit machine bmc set --file bmcs.csv")]
pub enum BmcCommand {
    /// Say where BMCs are. All of a file are set, or none.
    #[command(after_help = "\
Examples:
  hoheit machine bmc set --file bmcs.csv
  hoheit machine bmc set h1/r01/k01/u01 https://10.8.3.21 --user hoheit --password-file bmc.password --pin 4f0c…

A CSV has a title line and its columns in any order; pin may be left out or empty:
  machine,url,username,password,pin
  h1/r01/k01/u01,https://10.8.3.21,hoheit,correct horse,

JSON is {\"bmcs\":[{\"machine\":…,\"url\":…,\"username\":…,\"password\":…,\"pin\":…}]}, or the list alone. Without a pin the site's CA
must have signed the BMC's certificate; `hoheit machine discover URL --trust-anything` shows what to pin.")]
    Set {
        /// Its slot, as h1/r01/k01/u01, or its id.
        #[arg(value_name = "SLOT|ID", required_unless_present = "file", requires = "address")]
        machine: Option<String>,
        /// The BMC's address, as https://10.8.3.21.
        #[arg(value_name = "URL")]
        address: Option<String>,
        /// The account at the BMC.
        #[arg(long, default_value = "admin")]
        user: String,
        /// A file that holds its password.
        #[arg(long, value_name = "FILE", required_unless_present = "file")]
        password_file: Option<PathBuf>,
        /// SHA-256 of its TLS certificate, 64 hex digits.
        #[arg(long, value_name = "HEX")]
        pin: Option<String>,
        /// Many at once: CSV or JSON.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["machine", "address", "user", "password_file", "pin"])]
        file: Option<PathBuf>,
    },
}

impl BmcCommand {
    pub async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let BmcCommand::Set { machine, address, user, password_file, pin, file } = self;
        let bmcs = match (file, password_file) {
            (Some(file), _) => many(&file, &read(&file)?)?,
            (None, Some(password_file)) => {
                let password = read(&password_file)?;
                let password = password.trim_end_matches(['\r', '\n']);
                json!([{ "machine": machine, "url": address, "username": user, "password": password, "pin": pin }])
            }
            (None, None) => return Err(Failure::usage("It is not said which.").hint("name a slot, or give --file")),
        };
        let set = client.put("/api/v1/bmcs", &json!({ "bmcs": bmcs })).await?;
        show::done(as_json, &set, &format!("{} set", set["set"]))
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("{} could not be read: {error}", path.display())))
}

fn many(path: &Path, text: &str) -> Result<Value, Failure> {
    let wrong = |why: String| {
        Failure::failed(format!("{}: {why}", path.display())).hint("see `hoheit machine bmc set --help` for the form")
    };
    if !text.trim_start().starts_with(['{', '[']) {
        return csv(text).map_err(wrong);
    }
    // What the file holds is not repeated in an error: it may be a password.
    let parsed: Value = serde_json::from_str(text)
        .map_err(|error| wrong(format!("no JSON in line {}, column {}", error.line(), error.column())))?;
    match parsed {
        Value::Array(_) => Ok(parsed),
        Value::Object(mut object) if object.len() == 1 => {
            object.remove("bmcs").ok_or_else(|| wrong("it has no bmcs".to_owned()))
        }
        _ => Err(wrong("it is neither a list nor an object with bmcs alone".to_owned())),
    }
}

const COLUMNS: [&str; 5] = ["machine", "url", "username", "password", "pin"];

/// RFC 4180 within a line: a field in quotes may hold commas, and a quote is doubled.
fn csv(text: &str) -> Result<Value, String> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    let title = lines.next().ok_or("it is empty")?.0;
    let title = fields(title).ok_or("line 1: a quote is not closed")?;
    if let Some(unknown) = title.iter().find(|name| !COLUMNS.contains(&name.trim())) {
        return Err(format!(
            "line 1: no column is called {:?}; there are {}",
            show::clean(unknown),
            COLUMNS.join(", ")
        ));
    }
    for name in &COLUMNS[..4] {
        if !title.iter().any(|one| one.trim() == *name) {
            return Err(format!("line 1: the column {name} is missing"));
        }
    }
    let mut bmcs = Vec::new();
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        let fields = fields(line).ok_or(format!("line {number}: a quote is not closed, or is within a field"))?;
        if fields.len() != title.len() {
            return Err(format!("line {number}: {} fields, the title has {}", fields.len(), title.len()));
        }
        let named = title.iter().zip(fields);
        // A pin may be left out; nothing else may, and the site says so.
        let named = named.filter(|(name, field)| name.trim() != "pin" || !field.trim().is_empty());
        let object = named.map(|(name, field)| {
            let field = if name.trim() == "password" { field } else { field.trim().to_owned() };
            (name.trim().to_owned(), Value::String(field))
        });
        bmcs.push(Value::Object(object.collect()));
    }
    Ok(Value::Array(bmcs))
}

/// The fields of a line; none if its quotes do not fit.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut field = String::new();
                let mut quoted = quoted;
                loop {
                    let (part, after) = quoted.split_once('"')?;
                    field.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            quoted = more;
                        }
                        None => break (field, after),
                    }
                }
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_line() {
        let check = |line: &str, expect: Option<&[&str]>| {
            let expect = expect.map(|fields| fields.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(fields(line), expect, "{line}");
        };
        check("a,b", Some(&["a", "b"]));
        check("a,,", Some(&["a", "", ""]));
        check("", Some(&[""]));
        check(r#""a,b","c""d""#, Some(&["a,b", "c\"d"]));
        check(r#""a"#, None);
        check(r#""a"b"#, None);
    }

    #[test]
    fn a_file_of_bmcs() {
        let one = json!([{ "machine": "s", "url": "https://a", "username": "u", "password": " p,\"q " }]);
        let check = |text: &str, expect: Result<&Value, &str>| {
            let found = many(Path::new("f"), text);
            match expect {
                Ok(expect) => assert_eq!(found.as_ref().ok(), Some(expect), "{text}: {found:?}"),
                Err(part) => {
                    let what = found.unwrap_err().what;
                    assert!(what.contains(part) && !what.contains("geheim"), "{text}: {what}");
                }
            }
        };
        check("machine,url,username,password\ns,https://a,u,\" p,\"\"q \"\n\n", Ok(&one));
        check("url, machine,password,username,pin\r\nhttps://a, s,\" p,\"\"q \",u,\r\n", Ok(&one));
        check(&one.to_string(), Ok(&one));
        check(&json!({ "bmcs": one }).to_string(), Ok(&one));
        check("machine,url,username\ns,https://a,u", Err("the column password is missing"));
        check("machine,url,username,passwort\ns,https://a,u,geheim", Err("no column is called \"passwort\""));
        check("machine,url,username,password\ns,https://a,u,geheim,x", Err("line 2: 5 fields, the title has 4"));
        check("machine,url,username,password\ns,https://a,u,\"geheim", Err("line 2: a quote"));
        check("[{\"password\":\"geheim\",}]", Err("no JSON in line 1"));
        check("{\"bmc\":[]}", Err("it has no bmcs"));
        check("", Err("it is empty"));
    }
}
