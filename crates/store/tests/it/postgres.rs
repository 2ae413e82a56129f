//! A PostgreSQL server of our own for one test: a cluster in a temporary folder, on a Unix socket there, started as an
//! unprivileged user when the test is root, and stopped at the end (also when the test is killed: the parent-death signal).

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Server {
    bin: PathBuf,
    dir: tempfile::TempDir,
    postmaster: Child,
}

/// From PATH, or where Debian puts it, newest first.
fn bin() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

fn id(flag: &str, user: &[&str]) -> Option<u32> {
    let output = Command::new("id").arg(flag).args(user).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok()).flatten()
}

/// PostgreSQL refuses to run as root; then `setpriv` drops to a user that can.
fn command(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((uid, gid)) = user {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
    }
    command.args(["--pdeathsig", "INT", "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Server {
    pub fn start() -> Result<Server, String> {
        let bin = bin().ok_or("no initdb and postgres in PATH or /usr/lib/postgresql/*/bin")?;
        let user = match id("-u", &[]) {
            Some(0) => ["postgres", "nobody"].iter().find_map(|&name| Some((id("-u", &[name])?, id("-g", &[name])?))),
            _ => None,
        };
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).map_err(|error| error.to_string())?;
        }
        let data = dir.path().join("data");
        let made = command(&bin.join("initdb"), user)
            .args(["--auth=trust", "--username=hoheit", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .status()
            .map_err(|error| format!("setpriv or initdb: {error}"))?;
        if !made.success() {
            return Err(format!("initdb failed ({made})"));
        }
        let postmaster = command(&bin.join("postgres"), user)
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-k"])
            .arg(dir.path())
            .spawn()
            .map_err(|error| error.to_string())?;
        let server = Server { bin, dir, postmaster };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !server.sql("postgres", "SELECT 1") {
            if Instant::now() > deadline {
                return Err("PostgreSQL did not start within 30 seconds".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn sql(&self, database: &str, sql: &str) -> bool {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-U", "hoheit", "-d", database, "-qc", sql, "-h"]).arg(self.dir.path());
        psql.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Makes an empty database; answers its URL.
    pub fn fresh_database(&self, name: &str) -> String {
        assert!(self.sql("postgres", &format!("CREATE DATABASE {name}")), "database {name}");
        format!("postgres://hoheit@localhost/{name}?host={}", self.dir.path().display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown; SIGKILL would leave its children behind.
        let _ = Command::new("kill").args(["-INT", &self.postmaster.id().to_string()]).status();
        let _ = self.postmaster.wait();
    }
}
