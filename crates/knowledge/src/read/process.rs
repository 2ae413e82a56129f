//! The parent's side of the child: started with an empty environment, given the bytes, waited for so long, and believed only as far
//! as its output is a document of bounded size.

use super::child::NO_BOUNDS;
use super::{Document, Finding, Said};
use crate::Limits;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// The program that runs [`super::child`]: `hoheit` with `read-document`.
#[derive(Debug, Clone)]
pub struct ReaderProgram {
    pub path: PathBuf,
    pub args: Vec<String>,
}

/// What JSON adds to a text at worst: six bytes for a control character, and text has few of them; beyond twice the text's limit
/// the child is not to be believed.
const OUTPUT_PER_TEXT: u64 = 2;
const OUTPUT_BESIDE_TEXT: u64 = 1 << 20;

pub(crate) struct Reader {
    program: ReaderProgram,
    wall_max: Duration,
    output_bytes_max: u64,
    at_once: Semaphore,
}

impl Reader {
    pub(crate) fn new(program: ReaderProgram, limits: &Limits) -> Reader {
        Reader {
            program,
            wall_max: limits.read_wall_max,
            output_bytes_max: limits.text_bytes_max as u64 * OUTPUT_PER_TEXT + OUTPUT_BESIDE_TEXT,
            at_once: Semaphore::new(limits.readers_max),
        }
    }

    /// Reads a file in a child. The outer error is ours: the program did not run.
    pub(crate) async fn read(&self, bytes: Vec<u8>) -> io::Result<Result<Document, Finding>> {
        if bytes.is_empty() {
            return Ok(Err(Finding::Empty));
        }
        let _turn = self.at_once.acquire().await.map_err(io::Error::other)?;
        let mut child = Command::new(&self.program.path)
            .args(&self.program.args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let talk = tokio::time::timeout(self.wall_max, talk(&mut child, bytes, self.output_bytes_max));
        let Ok(heard) = talk.await else {
            child.kill().await?;
            return Ok(Err(Finding::TooSlow));
        };
        let Some((status, output)) = heard? else {
            child.kill().await?;
            return Ok(Err(Finding::TooMuchText));
        };
        understand(status, &output)
    }
}

/// Bytes in, output out, both at once: either pipe may be full. None: it says more than it may.
async fn talk(child: &mut Child, bytes: Vec<u8>, output_bytes_max: u64) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the child has no pipes"));
    };
    let give = async move {
        // A child that stops reading has its reasons; its output or its end tells them.
        let _ = input.write_all(&bytes).await;
    };
    let hear = async move {
        let mut heard = Vec::new();
        output.take(output_bytes_max + 1).read_to_end(&mut heard).await.map(|_| heard)
    };
    let ((), heard) = tokio::join!(give, hear);
    let heard = heard?;
    if heard.len() as u64 > output_bytes_max {
        return Ok(None);
    }
    Ok(Some((child.wait().await?, heard)))
}

fn understand(status: ExitStatus, output: &[u8]) -> io::Result<Result<Document, Finding>> {
    const SIGABRT: i32 = 6;
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    if status.success() {
        return Ok(match serde_json::from_slice(output) {
            Ok(Said::Document(document)) => Ok(document),
            Ok(Said::Finding(finding)) => Err(finding),
            Err(_) => Err(Finding::Crashed),
        });
    }
    match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(NO_BOUNDS) => Err(io::Error::other("the child cannot limit itself")),
        // Rust's allocator aborts when the kernel gives no more memory.
        (_, Some(SIGABRT)) => Ok(Err(Finding::TooMuchMemory)),
        // SIGKILL: the hard limit of processor time, or the kernel's answer to a machine without memory.
        (_, Some(SIGXCPU | SIGKILL)) => Ok(Err(Finding::TooSlow)),
        (_, Some(_)) => Ok(Err(Finding::Crashed)),
        // It ran and is not our child program, or cannot write.
        _ => Err(io::Error::other(format!("the child ended with {status}"))),
    }
}
