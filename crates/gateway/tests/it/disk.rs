//! A disk of which a test decides when a record becomes durable, and how much room is left. Otherwise it is the real one.

use journal::{Disk, DiskFile, RealDisk};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Clone)]
pub struct GatedDisk(Arc<Gate>);

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    free: AtomicU64,
}

#[derive(Default)]
struct State {
    closed: bool,
    waiting: usize,
    passed: u64,
}

/// While this lives, nothing becomes durable. Dropped, also by a test that fails, it opens the gate.
pub struct Closed(Arc<Gate>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().closed = false;
        self.0.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.closed).unwrap();
        state.waiting -= 1;
    }

    fn passed(&self) {
        self.state.lock().unwrap().passed += 1;
        self.changed.notify_all();
    }
}

impl GatedDisk {
    pub fn new() -> Self {
        GatedDisk(Arc::new(Gate { state: Mutex::default(), changed: Condvar::new(), free: AtomicU64::new(u64::MAX) }))
    }

    pub fn close(&self) -> Closed {
        self.0.state.lock().unwrap().closed = true;
        Closed(self.0.clone())
    }

    /// Waits until so many batches of records are durable.
    pub async fn until_passed(&self, count: u64) {
        self.until(move |state| state.passed >= count).await;
    }

    /// Waits until a batch of records stands before the closed gate.
    pub async fn until_held(&self) {
        self.until(|state| state.closed && state.waiting > 0).await;
    }

    async fn until(&self, done: impl Fn(&State) -> bool) {
        for _ in 0..20_000 {
            if done(&self.0.state.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("the disk never came to what the test waits for");
    }

    pub fn passed(&self) -> u64 {
        self.0.state.lock().unwrap().passed
    }

    /// What the file system says is free.
    pub fn set_free(&self, bytes: u64) {
        self.0.free.store(bytes, Ordering::Relaxed);
    }
}

impl Disk for GatedDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile { file: RealDisk.create(path)?, gate: self.0.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile { file: RealDisk.open(path)?, gate: self.0.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        Ok(RealDisk.free_bytes(dir)?.min(self.0.free.load(Ordering::Relaxed)))
    }
}

struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl DiskFile for GatedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.file.set_size(bytes)
    }

    /// Only the writer's batches end in this one: each is durable when the gate has let it pass.
    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()?;
        self.gate.passed();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
