//! Alarms are given where river 0.26.1 gives them, on 20 streams of 20,000 values.

use monitor::{Adwin, AdwinConfig, Ddm, Detector, PageHinkley, PageHinkleyConfig, Side};
use testkit::{assert_close, assert_same_bits};

use crate::support::{golden, number, numbers, stream};

fn alarms(detector: &mut impl Detector, values: &[f64]) -> Vec<f64> {
    let rung = values.iter().enumerate().filter(|(_, x)| detector.update(**x).is_alarm());
    rung.map(|(i, _)| i as f64).collect()
}

#[test]
fn alarms_are_where_river_gives_them() {
    let golden = golden("detectors.json");
    let all = golden.as_array().unwrap();
    assert_eq!(all.len(), 20);
    let mut n_alarms = 0;
    for (i, expected) in (0..).zip(all) {
        let values = stream(i);
        let sum = values.iter().sum::<f64>();
        assert_same_bits("the stream", &[sum], &[number(&expected["sum"])]);
        let mut check = |name: &str, found: &[f64]| {
            let alarms = numbers(&expected[name]);
            assert_eq!(found, alarms, "{name} on stream {i}");
            n_alarms += alarms.len();
        };

        let reset = AdwinConfig { reset_after: true, ..AdwinConfig::default() };
        check("adwin_reset", &alarms(&mut Adwin::new(reset).unwrap(), &values));
        let other = AdwinConfig {
            delta: 0.05,
            clock: 7,
            max_buckets: 3,
            min_part: 9,
            grace: 40,
            reset_after: true,
        };
        check("adwin_other", &alarms(&mut Adwin::new(other).unwrap(), &values));
        let mut kept = Adwin::new(AdwinConfig::default()).unwrap();
        check("adwin", &alarms(&mut kept, &values));
        let squares = kept.variance() * kept.len() as f64;
        let window = [kept.len() as f64, squares];
        let expected_window = ["adwin_width", "adwin_variance"].map(|k| number(&expected[k]));
        assert_close("window", &window, &expected_window, 1e-12, 0.0);

        let config = PageHinkleyConfig::default();
        check("page_hinkley", &alarms(&mut PageHinkley::new(config).unwrap(), &values));
        let down = PageHinkleyConfig { threshold: 15.0, delta: 0.05, side: Side::Down, ..config };
        check("page_hinkley_down", &alarms(&mut PageHinkley::new(down).unwrap(), &values));

        let bit = |x: f64| if i < 10 { x } else { f64::from(u8::from(x > 2.0)) };
        let mut ddm = Ddm::new(30, 2.0, 3.0).unwrap();
        let (mut found, mut warnings) = (Vec::new(), 0);
        for (i, &x) in values.iter().enumerate() {
            if ddm.update(bit(x)).is_alarm() {
                found.push(i as f64);
            }
            warnings += u64::from(ddm.warns());
        }
        check("ddm", &found);
        assert_eq!(Some(warnings), expected["ddm_warnings"].as_u64(), "warnings on stream {i}");
    }
    assert!(n_alarms > 500, "{n_alarms} alarms");
}

#[test]
fn the_statistic_of_adwin_is_above_one_where_a_cut_shows_a_change() {
    let config = AdwinConfig { clock: 1, ..AdwinConfig::default() };
    let mut adwin = Adwin::new(config).unwrap();
    let (mut before, mut alarm) = (0.0, false);
    for i in 0..400 {
        before = adwin.statistic();
        alarm = adwin.update(if i < 200 { 0.0 } else { 1.0 }).is_alarm();
        if alarm {
            break;
        }
        assert!(adwin.statistic() <= adwin.threshold(), "at {i}");
    }
    assert!(alarm && before > 0.5 && adwin.len() < 200, "{before} {}", adwin.len());
}
