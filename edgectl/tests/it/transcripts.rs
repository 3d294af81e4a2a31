//! Transcripts of `tests/cmd`.

#[test]
fn transcripts_are_what_the_command_prints() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
