//! Processes that xtask starts: run to the end, or kept until dropped. Each is ended by its own id, never by name.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to stop cleanly before it is killed: its own drain limit and a reserve.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// A server in the background. Dropping it stops it.
pub struct Server {
    child: Child,
    pub log: PathBuf,
}

impl Server {
    /// Starts it with its output in `log`. `setpriv` lets the kernel end it if xtask is killed; where there is none it
    /// is started directly, and only that last resort is missing.
    pub fn start(mut command: Command, log: &Path) -> Result<Server> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        if found("setpriv").is_some() {
            let mut wrapped = Command::new("setpriv");
            wrapped.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => wrapped.env(name, value),
                    None => wrapped.env_remove(name),
                };
            }
            if let Some(folder) = command.get_current_dir() {
                wrapped.current_dir(folder);
            }
            command = wrapped;
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Server { child, log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says yes; fails if the server ends or the time is over, with the end of its log.
    pub fn wait_until(&mut self, patience: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begin = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once ({status}):\n{}", self.log_end());
            }
            if begin.elapsed() > patience {
                bail!("it did not serve within {} s:\n{}", patience.as_secs(), self.log_end());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// SIGKILL: it gets no chance to end well.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; how it ended. Killed, and so not well, if it takes longer than it may.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.terminate();
        Ok(self.child.wait()?)
    }

    /// Asks it to end, and kills it if it does not.
    fn terminate(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in between; then there is nothing to stop.
            let _sent = kill_process(pid, Signal::TERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < STOP_PATIENCE {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }

    /// The last lines it wrote.
    pub fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// Runs to the end with the terminal's own output; fails if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs to the end; its standard output. Fails with its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{} failed ({}):\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("its output is not text")
}

/// The command as one line, program by its last name.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut line = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Where a program lies in PATH; Debian keeps servers in `/usr/sbin`, which a person's PATH may lack.
pub fn found(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Cargo, as it called us.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(crate::root::path());
    cargo
}
