//! No update allocates.

use allocation_counter::measure;
use monitor::Conformal;

use crate::laws::detectors;

#[test]
fn updates_do_not_allocate() {
    for (name, mut detector) in detectors() {
        let mut alarms = 0;
        let found = measure(|| {
            for i in 0..20_000 {
                let x = f64::from(u8::from((i % 5 == 0) == (i / 1000 % 2 == 0)));
                alarms += usize::from(detector.update(x).is_alarm());
            }
        });
        assert!(alarms > 3, "{name}: {alarms} alarms");
        assert_eq!(found.count_total, 0, "{name}");
    }
    let conformal = Conformal::new(&[0.1, 0.2, 0.3]).unwrap();
    let mut classes = 0;
    let found = measure(|| classes = conformal.set(&[0.5, 0.9, 0.1], 0.3).count());
    assert_eq!((found.count_total, classes), (0, 1));
}
