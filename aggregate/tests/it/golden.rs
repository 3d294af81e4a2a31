//! Every rule against plain numpy code in f64: `tests/golden/make_golden.py`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aggregate::{
    Limit, Options, Reducer, ServerStep, TensorData, TensorRef, Update, WeightFile, next_clip,
    nova_steps, write_file,
};

use crate::support::{Folder, from_node, keep_going, values, with};

const TENSORS: [&str; 2] = ["w", "v"];
const N_UPDATES: usize = 11;

struct Golden {
    file: WeightFile,
    folder: Folder,
}

impl Golden {
    fn new() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rules.safetensors");
        let golden = Self { file: WeightFile::open(path).unwrap(), folder: Folder::new() };
        golden.save("base");
        (0..N_UPDATES).for_each(|i| {
            golden.save(&format!("update.{i}"));
        });
        golden
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        values(self.file.path(), name)
    }

    /// Writes the two tensors of that prefix to a file of that name.
    fn save(&self, prefix: &str) -> PathBuf {
        let names = TENSORS.map(|t| format!("{prefix}/{t}"));
        let data = names.clone().map(|name| self.file.read_f32(&name).unwrap());
        let shapes = names.map(|name| self.file.tensor(&name).unwrap().shape.clone());
        let tensors: Vec<_> = (0..2)
            .map(|i| TensorRef {
                name: TENSORS[i],
                shape: &shapes[i],
                data: TensorData::F32(&data[i]),
            })
            .collect();
        self.folder.save(prefix, &tensors)
    }

    /// The first `n` updates, with their weights.
    fn updates(&self, n: usize) -> Vec<Update> {
        let weights = self.numbers("weights");
        (0..n)
            .map(|i| {
                // Where a rule is undecided the first node counts.
                let path = self.folder.path(&format!("update.{i}"));
                from_node(&format!("{i:02}"), &path, weights[i])
            })
            .collect()
    }

    fn options(&self, reducer: Reducer) -> Options {
        let base = Some(self.folder.path("base"));
        with(&Options { base, ..keep_going() }, |r| {
            r.reduce = reducer;
            r.max_deviation = Limit::OFF;
        })
    }

    /// Merges, with the base and, where the rule has no need of it, without; compares with a case.
    #[track_caller]
    fn check(&self, case: &str, updates: &[Update], options: &Options) {
        self.check_once(case, updates, options);
        if !options.rules.reduce.needs_base() && options.rules.bucket.is_none() {
            self.check_once(case, updates, &Options { base: None, ..options.clone() });
        }
    }

    #[track_caller]
    fn check_once(&self, case: &str, updates: &[Update], options: &Options) {
        let report = self.folder.merge(updates, options).unwrap();
        assert!(report.summary.rejected.is_empty());
        for tensor in TENSORS {
            let name = format!("{case}/{tensor}");
            let expected = self.numbers(&name);
            let found = values(&self.folder.path("out"), tensor);
            // The result is an f32: half a unit in its last place, and a little.
            close(&name, &found, &expected, 6.1e-8);
        }
        if self.file.tensor(&format!("{case}/selected")).is_some() {
            let selected = self.numbers(&format!("{case}/selected"));
            let mut found: Vec<f64> = report
                .summary
                .admitted
                .iter()
                .filter(|a| a.share > 0.0)
                .map(|a| a.path.extension().unwrap().to_str().unwrap().parse().unwrap())
                .collect();
            found.sort_by(f64::total_cmp);
            assert_eq!(found, selected, "{case}");
        }
    }
}

#[track_caller]
fn close(name: &str, found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let excess = |(f, e): (&f64, &f64)| (f - e).abs() / (relative * e.abs() + 1e-12);
    let worst = found.iter().zip(expected).map(excess).enumerate();
    let worst = worst.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert!(
        worst.1 <= 1.0,
        "{name}: element {} is {} instead of {}",
        worst.0,
        found[worst.0],
        expected[worst.0]
    );
}

impl Golden {
    /// Every case of a reducer: its name, the rule, and the updates.
    fn cases(&self) -> Vec<(&'static str, Reducer, Vec<Update>)> {
        let number = |name: &str| self.numbers(name)[0];
        let all = self.updates(N_UPDATES);
        let mut cases = Vec::new();
        let mut add = |case, rule: &str, updates: &[Update]| {
            cases.push((case, rule.parse().unwrap(), updates.to_vec()));
        };
        add("mean", "mean", &all);
        let max_norm = number("norm-clipped-mean/max_norm");
        add("norm-clipped-mean", &format!("norm-clipped-mean:max_norm={max_norm:e}"), &all);
        add("norm-clipped-mean-auto", "norm-clipped-mean", &all);
        add("median", "median", &all);
        add("median-even", "median", &all[..10]);
        add("trimmed-mean", "trimmed-mean:trim=0.2", &all);
        add("trimmed-mean-even", "trimmed-mean:trim=0.3", &all[..10]);
        add("krum", "krum:byzantine=4", &all);
        add("multi-krum", "multi-krum:byzantine=3,keep=5", &all);
        add("bulyan", "bulyan:byzantine=2", &all);
        add("geometric-median", "geometric-median:steps=1000,smoothing=1e-6", &all);
        add("geometric-median-8", "geometric-median:steps=8,smoothing=1e-6", &all);
        let radius = number("centred-clipping/radius");
        add("centred-clipping", &format!("centred-clipping:radius={radius:e}"), &all);
        add("centred-clipping-auto", "centred-clipping:steps=5", &all);
        let steps = self.numbers("fednova/steps");
        for (case, momentum, lr_mu) in [
            ("fednova-plain", 0.0, 0.0),
            ("fednova-momentum", 0.9, 0.0),
            ("fednova-proximal", 0.0, 0.02),
        ] {
            let of = |(update, &steps): (&Update, &f64)| Update {
                steps: nova_steps(steps as u64, momentum, lr_mu),
                ..update.clone()
            };
            add(case, "nova", &all.iter().zip(&steps).map(of).collect::<Vec<_>>());
        }
        let losses = self.numbers("q-fedavg/losses");
        let of = |(update, &loss): (&Update, &f64)| Update { loss: Some(loss), ..update.clone() };
        let stated: Vec<Update> = all.iter().zip(&losses).map(of).collect();
        add("q-fedavg", "q-fedavg:q=1,lr=0.1", &stated);
        add("q-fedavg-half", "q-fedavg:q=0.5,lr=0.01", &stated);
        add("q-fedavg-0", "q-fedavg:q=0", &stated);
        let ages = self.numbers("fedbuff/ages");
        let of = |(update, &age): (&Update, &f64)| Update { age: age as u64, ..update.clone() };
        add("fedbuff", "buffered:exponent=0.5", &all.iter().zip(&ages).map(of).collect::<Vec<_>>());
        add("fedasync", "async:alpha=0.6,exponent=0.5", &[Update { age: 3, ..all[0].clone() }]);
        add("ties", "ties:density=0.3,scale=0.7", &all);
        add("dare", "dare:density=0.3,scale=0.7,seed=9", &all);
        add("slerp", "slerp:t=0.3", &all[..2]);
        let wide = ["slerp.0", "slerp.1"].map(|name| Update::new(self.save(name), 1.0));
        add("slerp-wide", "slerp:t=0.3", &wide);
        cases
    }
}

#[test]
fn every_rule_has_its_numbers() {
    let golden = Golden::new();
    let cases = golden.cases();
    for name in Reducer::NAMES {
        assert!(cases.iter().any(|(_, rule, _)| rule.name() == name), "{name} has no case");
    }
    for (case, reducer, updates) in cases {
        golden.check(case, &updates, &golden.options(reducer));
    }
}

#[test]
fn ten_rounds_of_every_server_step() {
    let golden = Golden::new();
    let start = golden.file.read_f32("server/start").unwrap();
    let deltas = golden.numbers("server/deltas");
    let (beta1, beta2, tau) = (0.9, 0.99, 1e-3);
    let bias_correction = true;
    let cases = [
        ("sgd", ServerStep::Sgd { lr: 0.7, momentum: 0.9, nesterov: false }),
        ("sgd-nesterov", ServerStep::Sgd { lr: 0.7, momentum: 0.9, nesterov: true }),
        ("adagrad", ServerStep::Adagrad { lr: 0.1, tau }),
        ("adam", ServerStep::Adam { lr: 0.03, beta1, beta2, tau, bias_correction: false }),
        ("adam-corrected", ServerStep::Adam { lr: 0.03, beta1, beta2, tau: 1e-8, bias_correction }),
        ("yogi", ServerStep::Yogi { lr: 0.03, beta1, beta2, tau }),
        (
            "adamw",
            ServerStep::AdamW { lr: 0.03, beta1, beta2: 0.999, tau: 1e-8, weight_decay: 0.1 },
        ),
        ("lion", ServerStep::Lion { lr: 0.01, beta1, beta2, weight_decay: 0.1 }),
        ("feddyn", ServerStep::Dyn { alpha: 0.1, population: 5 }),
    ];
    for name in ServerStep::NAMES.iter().filter(|name| **name != "replace") {
        assert!(cases.iter().any(|(_, step)| step.name() == *name), "{name} has no numbers");
    }
    for (case, step) in cases {
        let folder = Folder::new();
        let n = start.len();
        // In f64, so that the update is the model plus the change, to the bit or nearly so.
        let mut model: Vec<f64> = start.iter().map(|&v| v.into()).collect();
        let save = |name: &str, values: &[f64]| {
            let tensor = TensorRef { name: "w", shape: &[n], data: TensorData::F64(values) };
            let path = folder.path(name);
            write_file(&path, &[tensor], &BTreeMap::new()).unwrap();
            path
        };
        save("out", &model);
        let expected = golden.numbers(&format!("server/{case}"));
        for (round, (delta, expected)) in
            deltas.chunks_exact(n).zip(expected.chunks_exact(n)).enumerate()
        {
            let moved: Vec<f64> = model.iter().zip(delta).map(|(x, d)| x + d).collect();
            // FedDyn counts nodes: three of five.
            let n_nodes = if case == "feddyn" { 3 } else { 1 };
            let updates: Vec<Update> = (0..n_nodes)
                .map(|node| Update::new(save(&format!("node{node}"), &moved), 1.0))
                .collect();
            let options = Options {
                base: Some(folder.path("out")),
                state_in: Some(folder.path("state")),
                state_out: Some(folder.path("state")),
                ..keep_going()
            };
            let options = with(&options, |r| r.server = step);
            folder.merge(&updates, &options).unwrap();
            model = folder.merged();
            let name = format!("{case}, round {}", round + 1);
            // Movements are f32.
            let worst = model.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst <= 1e-6, "{name}: off by {worst}");
        }
    }
}

#[test]
fn the_clipping_norm_follows_the_quantile() {
    let golden = Golden::new();
    let norms = golden.numbers("adaptive/norms");
    for (case, mut clip) in [("adaptive/clips", 0.1), ("adaptive/clips_from_1", 1.0)] {
        let mut clips = vec![clip];
        for norms in norms.chunks_exact(9) {
            let below = norms.iter().filter(|&&norm| norm <= clip).count() as f64 / 9.0;
            clip = next_clip(clip, below, 0.5, 0.2);
            clips.push(clip);
        }
        close(case, &clips, &golden.numbers(case), 1e-12);
    }
}
