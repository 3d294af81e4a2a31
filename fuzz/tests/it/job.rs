//! Job files.

use edgectl::job::Job;
use edgectl_fuzz::Campaign;

#[test]
fn jobs() {
    Campaign::new("jobs", 5000)
        .damaged("job.toml", "job")
        .run(|folder, _| Job::read(&folder.join("job.toml")).is_ok());
}
