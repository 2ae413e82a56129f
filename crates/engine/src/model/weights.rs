//! Safetensors files: every header is checked against the file's real length before one byte of weights is read, then
//! each tensor is read by itself into memory. No mapping, hence no `unsafe` and no signal when a file shrinks while it
//! is served; the price is that start takes as long as reading the file. Weights become 32-bit floats: candle's CPU
//! kernels are built for them.

use crate::error::LoadError;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// The format's own limit for its JSON header (100 MB).
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// One tensor that a model needs: its name and the shape it must have.
pub(crate) type Expected = (String, Vec<usize>);

/// The weight files of one folder with the place of every tensor in them.
pub(crate) struct Weights {
    pub(crate) files: Vec<PathBuf>,
    places: BTreeMap<String, Place>,
}

struct Place {
    file: usize,
    dtype: String,
    shape: Vec<usize>,
    start: u64,
    len: u64,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Finds and checks the weight files of a folder: one `model.safetensors`, or the shards that its index names.
    pub(crate) fn open(folder: &Path) -> Result<Self, LoadError> {
        let index_path = folder.join("model.safetensors.index.json");
        let single = folder.join("model.safetensors");
        let mut wanted = BTreeMap::new();
        let files = if index_path.is_file() {
            let text = std::fs::read(&index_path).map_err(|e| LoadError::io(&index_path, e))?;
            let index: Index = serde_json::from_slice(&text)
                .map_err(|e| LoadError::damaged(&index_path, format!("is not a safetensors index: {e}")))?;
            let names: BTreeSet<&String> = index.weight_map.values().collect();
            if let Some(name) = names.iter().find(|n| n.contains(['/', '\\']) || n.starts_with('.')) {
                return Err(LoadError::damaged(&index_path, format!("names a file outside its folder ({name:?})")));
            }
            let files = names.iter().map(|n| folder.join(n)).collect();
            wanted = index.weight_map;
            files
        } else if single.is_file() {
            vec![single]
        } else {
            return Err(LoadError::missing(
                &single,
                "is not there, and neither is model.safetensors.index.json",
                "Give a folder with safetensors weights (files named .bin or .pth must be converted first) or a GGUF file",
            ));
        };
        let mut weights = Self { files, places: BTreeMap::new() };
        for file in 0..weights.files.len() {
            weights.read_header(file)?;
        }
        for (tensor, file) in wanted {
            if !weights.places.get(&tensor).is_some_and(|p| weights.files[p.file].ends_with(&file)) {
                let what = format!("promises tensor {tensor:?} in {file}, which does not hold it");
                return Err(LoadError::damaged(&index_path, what));
            }
        }
        Ok(weights)
    }

    fn read_header(&mut self, file: usize) -> Result<(), LoadError> {
        let path = self.files[file].clone();
        if !path.is_file() {
            let remedy = "Copy the missing shard into the folder";
            return Err(LoadError::missing(&path, "is named by the index and is not there", remedy));
        }
        let io = |e| LoadError::io(&path, e);
        let mut source = std::fs::File::open(&path).map_err(io)?;
        let file_bytes = source.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        if file_bytes < 8 {
            return Err(LoadError::damaged(&path, format!("is cut short: {file_bytes} bytes hold no header")));
        }
        source.read_exact(&mut length).map_err(io)?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > HEADER_BYTES_MAX {
            return Err(LoadError::damaged(&path, format!("is no safetensors file: a header of {header_bytes} bytes")));
        }
        let Some(data_bytes) = (file_bytes - 8).checked_sub(header_bytes) else {
            let what = format!("is cut short: its header is {header_bytes} bytes, the file only {file_bytes}");
            return Err(LoadError::damaged(&path, what));
        };
        let mut text = vec![0; usize::try_from(header_bytes).expect("at most 100 MB")];
        source.read_exact(&mut text).map_err(io)?;
        let mut header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&text)
            .map_err(|e| LoadError::damaged(&path, format!("has a header that is not JSON: {e}")))?;
        header.remove("__metadata__");
        for (name, entry) in header {
            let entry: Entry = serde_json::from_value(entry)
                .map_err(|e| LoadError::damaged(&path, format!("describes tensor {name:?} wrongly: {e}")))?;
            let (start, end) = entry.data_offsets;
            let len = end.checked_sub(start).ok_or_else(|| {
                LoadError::damaged(&path, format!("describes tensor {name:?} wrongly: it ends before it starts"))
            })?;
            if end > data_bytes {
                let what = format!("is cut short: tensor {name:?} ends at byte {end} of {data_bytes}");
                return Err(LoadError::damaged(&path, what));
            }
            let elements = entry.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
            if let Some(width) = width(&entry.dtype)
                && elements.and_then(|n| n.checked_mul(width)) != Some(len)
            {
                let what = format!("gives tensor {name:?} shape {:?} but {len} bytes", entry.shape);
                return Err(LoadError::damaged(&path, what));
            }
            let place = Place { file, dtype: entry.dtype, shape: entry.shape, start: 8 + header_bytes + start, len };
            self.places.insert(name, place);
        }
        Ok(())
    }

    /// Whether a tensor of this name exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The folder's first weight file: what an error about the whole names.
    pub(crate) fn path(&self) -> &Path {
        &self.files[0]
    }

    /// Reads exactly the expected tensors, each checked for its shape before it is read. `prefix` is put before each
    /// name when looking it up and dropped in the result.
    pub(crate) fn read(&self, expected: &[Expected], prefix: &str) -> Result<HashMap<String, Tensor>, LoadError> {
        for (name, shape) in expected {
            let full = format!("{prefix}{name}");
            let Some(place) = self.places.get(&full) else {
                return Err(LoadError::Damaged {
                    path: self.path().to_owned(),
                    what: format!("lacks tensor {full:?}, which config.json asks for"),
                    remedy: "Use the config.json and the weights of the same model".into(),
                });
            };
            if place.shape != *shape {
                return Err(LoadError::Damaged {
                    path: self.files[place.file].clone(),
                    what: format!("tensor {full:?} has shape {:?}, and config.json asks for {shape:?}", place.shape),
                    remedy: "Use the config.json and the weights of the same model".into(),
                });
            }
        }
        let mut sources = HashMap::new();
        let mut tensors = HashMap::new();
        for (name, shape) in expected {
            let place = &self.places[&format!("{prefix}{name}")];
            let path = &self.files[place.file];
            let source = match sources.entry(place.file) {
                std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(std::fs::File::open(path).map_err(|e| LoadError::io(path, e))?)
                }
            };
            let dtype = candle_dtype(&place.dtype).ok_or_else(|| {
                let what =
                    format!("holds tensor {name:?} as {}, and only F32, F16, BF16 and F64 can be run", place.dtype);
                LoadError::unsupported(path, what, "Use the model's unquantised safetensors, or a GGUF file")
            })?;
            let mut bytes = vec![0; usize::try_from(place.len).expect("no longer than the file")];
            source.seek(SeekFrom::Start(place.start)).map_err(|e| LoadError::io(path, e))?;
            source.read_exact(&mut bytes).map_err(|e| LoadError::io(path, e))?;
            let tensor = Tensor::from_raw_buffer(&bytes, dtype, shape, &Device::Cpu)
                .and_then(|t| t.to_dtype(DType::F32))
                .map_err(|e| LoadError::damaged(path, format!("tensor {name:?} cannot be read: {e}")))?;
            tensors.insert(name.clone(), tensor);
        }
        Ok(tensors)
    }
}

/// Bytes per element; `None` for types that this engine does not read (their length is then checked by no one else).
fn width(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        "U8" | "I8" | "BOOL" => 1,
        _ => return None,
    })
}

fn candle_dtype(dtype: &str) -> Option<DType> {
    Some(match dtype {
        "F64" => DType::F64,
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        _ => return None,
    })
}
