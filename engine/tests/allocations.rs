//! A line on its way to an answer allocates nothing once series run: alone in its binary, as it counts what the
//! process allocates.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use attn_core::{Encoder, EncoderConfig, Task};
use engine::checkpoint::{Checkpoint, Meta};
use engine::job::{Job, Keep, Late, WindowConfig};
use engine::live::{
    Counters, Events, HandOver, Heard, Intake, Level, ModelFile, Next, Outbox, Plan, Queue, Ready,
    Server, Tracks, Ways, tap,
};
use engine::run::Run;
use preprocess::{MovingAverage, Pipeline, Rows, Stage, ZScore};

/// A model of two channels, with a window of 20 rows at every third.
fn model() -> ModelFile {
    let window = WindowConfig { len: Some(20), stride: Some(3), ..WindowConfig::default() };
    let steps = vec![MovingAverage { len: 3 }.into(), ZScore {}.into()];
    let names = ["x", "y"].map(str::to_owned);
    let training = Rows::of_series(2, None, vec![0.0, 1.0, 2.0, 3.0, 5.0, 7.0, -1.0, -2.0]);
    let stage = Stage { names: names.to_vec(), rate_hz: None };
    let pipeline = Pipeline::fit(&steps, &stage, vec![training]).expect("fitted");
    let config = EncoderConfig {
        channels: 2,
        seq_len: 20,
        d_model: 16,
        n_heads: 2,
        task: Task::Classification { n_classes: 3 },
        ..EncoderConfig::default()
    };
    let encoder = Encoder::new(config.clone()).expect("valid");
    let job = Job { window, preprocess: steps, ..Job::default() };
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    let run = Run::check(job, None).expect("a sound job");
    let meta = Meta::new(config, (classes, names.to_vec()), pipeline, run);
    let params = encoder.init(1);
    ModelFile {
        hash: "0".repeat(64),
        bytes: [].into(),
        checkpoint: Checkpoint { meta, encoder, params, control: None },
    }
}

/// Lines of some series in turn: objects, or a table.
fn lines(from: u32, to: u32, is_table: bool) -> Vec<String> {
    let line = |i: u32| {
        let (series, t) = (i % 3, i / 3);
        let x = f64::from(t * 7919 % 101) / 50.0 - 1.0;
        let mut line = String::new();
        if is_table {
            write!(line, "series-{series},{t},{x},{}", 0.5 - x)
        } else {
            write!(line, "{{\"series\":\"series-{series}\",\"t\":{t},\"x\":{x},\"y\":{}}}", 0.5 - x)
        }
        .expect("written");
        line
    };
    (from..to).map(line).collect()
}

#[test]
fn a_line_becomes_an_answer_without_allocating() {
    let model = model();
    let meta = &model.checkpoint.meta;
    for is_table in [false, true] {
        let (queue, outbox) = (Queue::new(Keep::Newest), Outbox::new(3, false, 0));
        let (counters, models) = (Counters::default(), HandOver::default());
        let (events, _receiver) = Events::new();
        let plan = Plan::of(meta, Some(5.0), true).expect("it can answer on a stream");
        let (level, abstain) = (Level::default(), Level::default());
        let (tap, truths, watched) = tap(plan.width(), 3, false);
        let ways = Ways {
            queue: &queue,
            outbox: &outbox,
            counters: &counters,
            events: &events,
            truths: &truths,
        };
        let tracks = Tracks::new(plan);
        let thin = Arc::clone(tracks.thin());
        let tracks = Mutex::new(tracks);
        let mut intake = Intake::new(meta, "stdin", &tracks, ways);
        let server = Server {
            queue: &queue,
            outbox: &outbox,
            models: &models,
            counters: &counters,
            deadline: Some(Duration::from_hours(1)),
            late: Late::Drop,
            probs: true,
            slow: 1.0,
            abstain: &abstain,
            level: &level,
            tap: Some(&tap),
        };
        let mut ready = Box::new(Ready::new(&model));
        let mut written = Vec::with_capacity(1 << 16);
        let (mut n_answers, mut n_fresh) = (0, 0);
        let mut pass = |lines: &[String]| {
            for line in lines {
                intake.line(line.as_bytes(), Instant::now()).expect("a table as it should be");
                // Three windows may wait, one a series.
                while let Some(due) = queue.try_pop() {
                    server.one(due, &mut ready);
                    written.clear();
                    n_answers += outbox.take(&mut written, 1 << 16).lines;
                    let Next::Heard(Heard::Window(seen)) = watched.next(Duration::ZERO) else {
                        panic!("it is handed on")
                    };
                    n_fresh += u64::from(seen.is_fresh);
                    watched.give_back(seen);
                }
            }
            (n_answers, n_fresh)
        };
        if is_table {
            pass(&["series,t,x,y".to_owned()]);
        }
        pass(&lines(0, 600, is_table));
        let later = lines(600, 3000, is_table);
        let mut of_all = (0, 0);
        let counted = measure(|| of_all = pass(&later));
        assert_eq!(counted.count_total, 0, "{counted:?}");
        // Of windows of 20 rows at every third, each seventh shares none with the last.
        assert_eq!(of_all, (3 * ((1000 - 20) / 3 + 1), 3 * ((1000 - 20) / 21 + 1)));
        // Under load every fourth is due, of series that take turns, and each second of these shares none.
        thin.set(4);
        let later = lines(3000, 6000, is_table);
        let mut of_some = (0, 0);
        let counted = measure(|| of_some = pass(&later));
        assert_eq!(counted.count_total, 0, "{counted:?}");
        let mut expected = of_all;
        for series in 0..3 {
            let mut used = 986;
            for window in (327..=660).filter(|window| (window + series) % 4 == 0) {
                expected.0 += 1;
                if 3 * window >= used {
                    (expected.1, used) = (expected.1 + 1, 3 * window + 20);
                }
            }
        }
        assert_eq!(of_some, expected);
        assert_eq!(thin.left_out(), 3 * 334 - (of_some.0 - of_all.0));
        // The counter sees allocations.
        assert!(measure(|| drop(std::hint::black_box(vec![1_u8; 100]))).count_total > 0);
    }
}
