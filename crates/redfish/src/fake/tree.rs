//! The resources that machines of one shape share, by path.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Paths without a slash at their end, with their query if they have one, to resources. `{serial}` and `{uuid}` in a text stand
/// for the machine's own.
#[derive(Debug, Default)]
pub struct Tree {
    resources: BTreeMap<String, Value>,
}

impl Tree {
    /// As DMTF's mockup creator writes it: `redfish/v1/Systems/index.json` below this folder.
    pub fn from_folder(folder: &Path) -> io::Result<Tree> {
        let mut tree = Tree::default();
        tree.read(folder, "")?;
        Ok(tree)
    }

    fn read(&mut self, folder: &Path, path: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                self.read(&entry.path(), &format!("{path}/{name}"))?;
            } else if name == "index.json" {
                // What is no JSON is served by nobody; a capture holds some.
                if let Ok(resource) = serde_json::from_slice(&fs::read(entry.path())?) {
                    self.resources.insert(path.to_owned(), resource);
                }
            }
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.resources.len()
    }

    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    pub fn get(&self, path: &str) -> Option<&Value> {
        self.resources.get(path)
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.resources.keys().map(String::as_str)
    }

    /// Puts a resource at its path.
    pub fn put(&mut self, path: &str, mut resource: Value) {
        resource["@odata.id"] = json!(path);
        self.resources.insert(path.to_owned(), resource);
    }

    /// Puts a collection with these members, and them.
    pub fn put_collection(&mut self, path: &str, members: Vec<(String, Value)>) {
        let paths: Vec<String> = members.iter().map(|(id, _)| format!("{path}/{id}")).collect();
        let links: Vec<Value> = paths.iter().map(|path| json!({ "@odata.id": path })).collect();
        self.put(path, json!({ "Members@odata.count": links.len(), "Members": links }));
        for (path, (id, mut member)) in paths.iter().zip(members) {
            member["Id"] = json!(id);
            self.put(path, member);
        }
    }
}
