//! Other videos, through one `ffmpeg` that decodes them to Y4M.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow, bail};

/// What a file may be, however it is called: no play list, which could name other files.
pub(super) const FORMATS: &str =
    "mov,matroska,avi,mpeg,mpegts,flv,asf,ogg,gif,h264,hevc,mjpeg,m4v,dv,ivf";

/// Most bytes that are kept of what it says.
const MAX_SAID: u64 = 4096;

/// A running decoder; it is ended when this is dropped.
pub(super) struct Ffmpeg {
    child: Child,
    said: Option<JoinHandle<Vec<u8>>>,
}

/// Its frames, and whether they came to their end.
#[derive(Debug)]
pub struct Output {
    stdout: BufReader<ChildStdout>,
    has_ended: bool,
}

impl Ffmpeg {
    /// Starts to decode a file, in brightness only or `in_colours`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(path: &Path, in_colours: bool) -> anyhow::Result<(Self, Output)> {
        Self::start_as("ffmpeg", path, in_colours)
    }

    fn start_as(program: &str, path: &Path, in_colours: bool) -> anyhow::Result<(Self, Output)> {
        // With `file:` no name is an option, or a protocol that reaches elsewhere.
        let mut input = OsString::from("file:");
        input.push(path);
        let child = Command::new(program)
            .args(["-v", "error", "-nostdin", "-protocol_whitelist", "file"])
            .args(["-format_whitelist", FORMATS, "-i"])
            .arg(input)
            .args(["-map", "0:v:0", "-f", "yuv4mpegpipe", "-strict", "-1", "-pix_fmt"])
            .args([if in_colours { "yuv444p" } else { "gray" }, "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!(
                "{}: videos other than Y4M are read with ffmpeg, which is not on this machine; install it \
                 (Debian and Ubuntu: apt-get install ffmpeg), or convert the video where it is: ffmpeg -i \
                 VIDEO -pix_fmt yuv420p VIDEO.y4m",
                path.display()
            ),
            _ => anyhow!(error).context(format!("{}: cannot start ffmpeg", path.display())),
        })?;
        let pipes = child.stdout.take().zip(child.stderr.take());
        let mut ffmpeg = Self { child, said: None };
        let (stdout, stderr) = pipes.context("ffmpeg has no output")?;
        ffmpeg.said = Some(thread::spawn(|| listen(stderr)));
        Ok((ffmpeg, Output { stdout: BufReader::with_capacity(1 << 16, stdout), has_ended: false }))
    }

    /// Whatever became of its frames: fails if it failed, or said that something was wrong.
    pub(super) fn finish(
        mut self,
        path: &Path,
        output: &Output,
        frames: anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if !output.has_ended {
            // Nobody wants the rest; dropping ends it.
            return frames;
        }
        let status = self.child.wait();
        let status = status.with_context(|| format!("{}: lost ffmpeg", path.display()))?;
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !status.success() || !said.is_empty() {
            let first = said.first().copied().unwrap_or("nothing");
            let more = if said.len() > 1 { " …" } else { "" };
            bail!(
                "{}: ffmpeg cannot decode all of the video ({status}), it says: {first}{more}; the file \
                 is damaged or cut off, or is no video: copy it anew",
                path.display()
            );
        }
        frames
    }
}

/// Starts to decode what comes live; gives also what it says.
///
/// # Errors
/// If it cannot be started.
pub(super) fn start_live(
    before: &[&str],
    input: &OsStr,
    in_colours: bool,
) -> anyhow::Result<(Child, Output, JoinHandle<Vec<u8>>)> {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(before)
        .arg("-i")
        .arg(input)
        .args(["-map", "0:v:0", "-f", "yuv4mpegpipe", "-strict", "-1", "-pix_fmt"])
        .args([if in_colours { "yuv444p" } else { "gray" }, "pipe:1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "cameras and videos are read with ffmpeg, which is not on this machine; install it (Debian and Ubuntu: \
             apt-get install ffmpeg)"
        ),
        _ => anyhow!(error).context("cannot start ffmpeg"),
    })?;
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (stdout, stderr) = pipes.context("ffmpeg has no output")?;
    let said = thread::spawn(|| listen(stderr));
    Ok((
        child,
        Output { stdout: BufReader::with_capacity(1 << 16, stdout), has_ended: false },
        said,
    ))
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // It may have ended, and then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Read for Output {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.stdout.read(out)?;
        self.has_ended |= n == 0 && !out.is_empty();
        Ok(n)
    }
}

impl BufRead for Output {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.stdout.fill_buf()?;
        self.has_ended |= bytes.is_empty();
        Ok(bytes)
    }

    fn consume(&mut self, n: usize) {
        self.stdout.consume(n);
    }
}

/// Keeps the start of what is said, and lets the rest pass, as a full pipe would halt the child.
fn listen(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    // An error ends what is said, as the end does.
    let _ = stderr.by_ref().take(MAX_SAID).read_to_end(&mut kept);
    let _ = io::copy(&mut stderr, &mut io::sink());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_it_the_message_names_the_package() {
        let started = Ffmpeg::start_as("ffmpeg-that-is-not-there", Path::new("a.mp4"), false);
        let error = started.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(
            error.starts_with("a.mp4: ") && error.contains("apt-get install ffmpeg"),
            "{error}"
        );
    }
}
