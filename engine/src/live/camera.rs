//! A camera or a video: its frames are rows, through an `ffmpeg` that is started again when it ends.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;

use super::intake::Intake;
use super::source::{Gate, Source};
use crate::data::{FrameSource, Killer, LiveFrames};
use crate::job::Keep;

/// A stream without a frame for so long is started again: one that comes over a network may stop without a word.
const STALLED: Duration = Duration::from_secs(5);

/// How long the first frame may take.
const BEGINNING: Duration = Duration::from_secs(20);

/// The pauses before it is started again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// A camera or a video.
#[derive(Debug)]
pub struct Camera {
    name: String,
    source: FrameSource,
    /// What must not be shown of the address.
    secret: Option<String>,
}

/// The decoder that runs, and by when its next frame must come.
type Watched = Mutex<Option<(Killer, Instant)>>;

impl Camera {
    /// By what stands on the command line. A file is read at its own pace, but as fast as it comes where all windows
    /// are kept.
    ///
    /// # Errors
    /// If it is an address that is not read.
    pub fn new(name: String, url: &str, keep: Keep) -> anyhow::Result<Self> {
        let source = FrameSource::of(url, keep == Keep::Newest)?;
        let secret = url.split_once("://").and_then(|(_, rest)| {
            let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
            Some(user.to_owned())
        });
        Ok(Self { name, source, secret })
    }

    /// Hands frames on until there are no more; says whether any came.
    fn frames(
        &self,
        gate: &Gate<'_>,
        intake: &mut Intake<'_>,
        watched: &Watched,
    ) -> (bool, anyhow::Result<()>) {
        let config = gate.meta.run.data();
        let (killer, output) = match LiveFrames::start(&self.source, config) {
            Ok(started) => started,
            Err(error) => return (false, Err(error)),
        };
        watch(watched, Some((killer.clone(), Instant::now() + BEGINNING)));
        let mut any = false;
        let read: anyhow::Result<bool> = (|| {
            let mut frames = LiveFrames::open(output, config, &gate.meta.channels)?;
            // One that is slower than that is not started again and again.
            let most = frames
                .rate_hz()
                .map_or(STALLED, |hz| STALLED.max(Duration::from_secs_f64(10.0 / hz.max(0.01))));
            while let Some((time, row)) = frames.next_row()? {
                let now = Instant::now();
                watch(watched, Some((killer.clone(), now + most)));
                if !any {
                    any = true;
                    gate.ways.events.tell(
                        json!({ "event": "source", "source": self.name, "result": "connected" }),
                    );
                }
                if !intake.row(time, row, now) || gate.is_stopping() {
                    return Ok(true);
                }
            }
            Ok(killer.ended_well())
        })();
        watch(watched, None);
        let said = self.without_secret(killer.kill());
        let read = match read {
            Ok(true) => Ok(()),
            // It ended within a frame, or before the first, which says less than it does.
            Ok(false) | Err(_) if !said.is_empty() => Err(anyhow!("ffmpeg says: {said}")),
            Ok(false) => Err(anyhow!("ffmpeg ended")),
            Err(error) => Err(error),
        };
        (any, read)
    }

    fn without_secret(&self, said: String) -> String {
        match &self.secret {
            Some(secret) => said.replace(secret, "…"),
            None => said,
        }
    }

    fn again_and_again(&self, gate: &Gate<'_>, watched: &Watched) -> anyhow::Result<()> {
        let mut intake = gate.intake(&self.name).of_series(&self.name);
        let mut pause = PAUSES[0];
        loop {
            let (any, read) = self.frames(gate, &mut intake, watched);
            if gate.is_stopping() {
                return Ok(());
            }
            if self.source.ends() && read.is_ok() {
                intake.end();
                return Ok(());
            }
            if let (Err(error), false) = (&read, any)
                && self.source.ends()
            {
                return Err(anyhow!("{}: {error:#}", self.name));
            }
            intake.lost();
            let reason = read.map_or_else(|error| format!("{error:#}"), |()| "it ended".to_owned());
            gate.ways.events.tell(json!({
                "event": "source", "source": self.name, "result": "lost", "reason": reason,
            }));
            pause = if any { PAUSES[0] } else { (2 * pause).min(PAUSES[1]) };
            if !gate.pause(pause) {
                return Ok(());
            }
        }
    }
}

fn watch(watched: &Watched, what: Option<(Killer, Instant)>) {
    *watched.lock().unwrap_or_else(PoisonError::into_inner) = what;
}

impl Source for Camera {
    fn name(&self) -> &str {
        &self.name
    }

    fn ends(&self) -> bool {
        self.source.ends()
    }

    fn is_urgent(&self) -> bool {
        false
    }

    fn run(&mut self, gate: &Gate<'_>) -> anyhow::Result<()> {
        let (watched, done) = (Watched::default(), Mutex::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                // What waits for a frame cannot look at the clock.
                while !*done.lock().unwrap_or_else(PoisonError::into_inner) {
                    let found = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    if let Some((killer, until)) = found
                        && (gate.is_stopping() || Instant::now() > until)
                    {
                        watch(&watched, None);
                        let _said = killer.kill();
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let run = self.again_and_again(gate, &watched);
            *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
            run
        })
    }
}
