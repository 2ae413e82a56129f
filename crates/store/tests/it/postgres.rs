//! A PostgreSQL server of our own for one test: a cluster in a temporary folder, on a Unix socket there, started as an
//! unprivileged user when the test is root, and stopped at the end (also when the test is killed: the parent-death signal).

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Server {
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
fn command(program: &Path, user: Option<(u32, u32)>, log: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((uid, gid)) = user {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log in a temporary folder");
    command.args(["--pdeathsig", "INT", "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}

impl Server {
    /// The error says why there is none to start; one that is there and does not start fails the test.
    pub async fn start() -> Result<Server, String> {
        let bin = bin().ok_or("no initdb and postgres in PATH or /usr/lib/postgresql/*/bin")?;
        let user = match id("-u", &[]) {
            Some(0) => {
                let known = |&name| Some((id("-u", &[name])?, id("-g", &[name])?));
                Some(["postgres", "nobody"].iter().find_map(known).ok_or("no unprivileged user to run PostgreSQL as")?)
            }
            _ => None,
        };
        Command::new("setpriv").arg("--version").output().map_err(|error| format!("setpriv: {error}"))?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).expect("root may give a folder away");
        }
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        let made = command(&bin.join("initdb"), user, &log)
            .args(["--auth=trust", "--username=hoheit", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .status();
        let read_log = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(made.is_ok_and(|status| status.success()), "initdb failed: {}", read_log());
        let postmaster = command(&bin.join("postgres"), user, &log)
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-k"])
            .arg(dir.path())
            .spawn()
            .expect("setpriv ran a moment ago");
        let server = Server { dir, postmaster };
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = PgConnection::connect(&server.url("postgres")).await {
            assert!(Instant::now() < deadline, "PostgreSQL did not start: {error}: {}", read_log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://hoheit@localhost/{database}?host={}", self.dir.path().display())
    }

    /// Makes an empty database; answers its URL.
    pub async fn fresh_database(&self, name: &str) -> String {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("the server runs");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.expect("each name is used once");
        self.url(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown; SIGKILL would leave its children behind.
        let _ = Command::new("kill").args(["-INT", &self.postmaster.id().to_string()]).status();
        let _ = self.postmaster.wait();
    }
}
